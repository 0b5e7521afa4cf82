//! The store as a whole: over a disk in memory that fails as it is told, and over files.

use std::path::Path;
use std::time::Duration;

use super::engine::Opener;
use super::pace::Pace;
use super::*;
use crate::core::{RecordKey, SessionNumber};

mod files;
mod flaky_file;
mod memory;
mod prefixes;
pub(super) mod samples;

use memory::{Disk, Fault};
use samples::{every_kind, queued};

/// Tries again at once, so that no test waits.
const AT_ONCE: Pace = Pace {
    commit_every: Duration::ZERO,
    enough: 0,
    retry: Duration::ZERO,
    longest_retry: Duration::ZERO,
    remind: Duration::MAX,
};

fn start(opener: Opener) -> (Store, Restored) {
    start_with(opener, AT_ONCE, usize::MAX)
}

fn start_with(opener: Opener, pace: Pace, max_backlog: usize) -> (Store, Restored) {
    Store::start(Path::new("/data"), pace, max_backlog, opener).expect("the store opens")
}

fn put(session: u64, place: u64) -> StoreOp {
    StoreOp::Put(queued(session, place, b"on"))
}

fn delete(session: u64, place: u64) -> StoreOp {
    StoreOp::Delete(RecordKey::Queued(SessionNumber(session), place))
}

impl Store {
    fn next(&mut self) -> StoreEvent {
        self.events.blocking_recv().expect("the store lives")
    }

    /// Waits until a token is reported, and returns what was reported before.
    fn wait_for(&mut self, token: u64) -> Vec<StoreEvent> {
        let mut before = Vec::new();
        loop {
            match self.next() {
                StoreEvent::Stored(stored) if stored >= StoreToken(token) => return before,
                event => before.push(event),
            }
        }
    }
}

#[test]
fn what_was_stored_is_there_after_a_restart_sessions_first() {
    let disk = Disk::default();
    let (mut store, restored) = start(disk.opener());
    assert_eq!(restored, Restored { fresh: true, ..Restored::default() });
    store.submit(every_kind().into_iter().rev().map(StoreOp::Put).collect(), StoreToken(1));
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(1)));
    store.close().expect("nothing is left");

    let (_store, restored) = start(disk.opener());
    assert_eq!(restored, Restored { records: every_kind(), ..Restored::default() });
}

#[test]
fn links_and_broker_are_kept_beside_the_records() {
    let disk = Disk::default();
    let (store, _) = start(disk.opener());
    let links = vec![(1, "udp [::]:1883".to_owned()), (2, "serial /dev/ttyUSB0".to_owned())];
    store.set_links(&links);
    store.set_broker("mqtt://broker/gateway");
    store.set_session(BrokerSession::Doubtful);
    store.close().unwrap();

    let (store, restored) = start(disk.opener());
    assert_eq!(restored.session, BrokerSession::Doubtful);
    assert_eq!((restored.links, restored.broker.as_deref()), (links, Some("mqtt://broker/gateway")));
    assert!(restored.records.is_empty());
    store.set_broker("mqtt://broker/gateway");
    let commits = disk.written().len();
    store.close().unwrap();
    assert_eq!(disk.written().len(), commits, "what is there already is not written again");
}

#[test]
fn everything_that_comes_while_a_commit_runs_goes_into_the_next_one() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    disk.hold();
    store.submit(vec![put(1, 0)], StoreToken(1));
    disk.wait_for_commits(2);
    for place in 1..=100 {
        store.submit(vec![put(1, place)], StoreToken(place + 1));
    }
    disk.release();
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(1)));
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(101)));
    assert_eq!(disk.written(), [1, 1, 100], "the format, the first message, the others");
}

#[test]
fn a_record_that_comes_and_goes_between_two_commits_never_touches_the_disk() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    store.submit(vec![put(1, 0), delete(1, 0)], StoreToken(1));
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(1)));
    store.submit(vec![put(2, 0), put(2, 1), StoreOp::ForgetSession(SessionNumber(2))], StoreToken(2));
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(2)));
    store.submit(Vec::new(), StoreToken(3));
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(3)));
    assert_eq!(store.stats(), StoreStats { ops: 5, ..StoreStats::default() });
    store.close().unwrap();
    assert_eq!(disk.written(), [1], "nothing but the format");
}

#[test]
fn a_record_that_is_being_written_is_removed_from_the_disk() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    disk.hold();
    store.submit(vec![put(1, 0), put(2, 0), put(3, 0)], StoreToken(1));
    disk.wait_for_commits(2);
    store.submit(vec![delete(1, 0), StoreOp::ForgetSession(SessionNumber(2))], StoreToken(2));
    disk.release();
    store.wait_for(2);
    drop(store);
    assert_eq!(start(disk.opener()).1.records, [queued(3, 0, b"on")]);
}

#[test]
fn a_session_is_forgotten_with_all_that_belongs_to_it_and_nothing_else() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    let (ours, others): (Vec<Record>, Vec<Record>) = every_kind()
        .into_iter()
        .chain([queued(2, 1, b"2"), queued(4, 1, b"4")])
        .partition(|record| record.key().session() == Some(SessionNumber(3)));
    store.submit(ours.into_iter().chain(others.clone()).map(StoreOp::Put).collect(), StoreToken(1));
    store.wait_for(1);
    store.submit(vec![StoreOp::ForgetSession(SessionNumber(3)), put(3, 77)], StoreToken(2));
    store.wait_for(2);
    drop(store);
    let mut expected = others;
    expected.push(queued(3, 77, b"on"));
    expected.sort_by_key(|record| Key::of(&record.key()));
    assert_eq!(start(disk.opener()).1.records, expected);
}

#[test]
fn a_commit_that_fails_is_made_again_until_it_works() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    disk.fail([Fault::Refuse, Fault::Refuse, Fault::Lock, Fault::Refuse]);
    store.submit(vec![put(1, 0)], StoreToken(1));
    let StoreEvent::Failing { reason, remedy } = store.next() else { panic!("trouble is reported") };
    assert_eq!(reason, "nothing can be written to the store in /data: the disk is full");
    assert!(remedy.starts_with("free space on the disk of /data"), "{remedy}");
    assert_eq!(store.next(), StoreEvent::Stored(StoreToken(1)), "trouble of the same kind is reported once");
    assert_eq!(store.next(), StoreEvent::Recovered);
    assert_eq!(store.stats().failures, 5);
}

#[test]
fn other_trouble_is_reported_anew() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    disk.fail([Fault::Refuse, Fault::Panic, Fault::Panic]);
    store.submit(vec![put(1, 0)], StoreToken(1));
    let reported = store.wait_for(1);
    let reasons: Vec<&str> = reported
        .iter()
        .map(|event| match event {
            StoreEvent::Failing { reason, .. } => reason.rsplit_once(": ").unwrap().1,
            StoreEvent::Stored(_) | StoreEvent::Recovered => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(reasons, ["the disk is full", "the engine was told to"]);
}

#[test]
fn what_comes_and_goes_while_the_disk_is_full_takes_no_memory() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    store.submit(vec![put(1, 0)], StoreToken(1));
    store.wait_for(1);
    disk.set_dead(true);
    let mut backlogs = Vec::new();
    for round in 0..50 {
        store.submit(vec![put(1, round + 1)], StoreToken(2));
        let failures = store.stats().failures;
        while store.stats().failures < failures + 2 {
            std::thread::yield_now();
        }
        store.submit(vec![delete(1, round + 1), delete(1, 0)], StoreToken(2));
        backlogs.push(store.stats().backlog);
    }
    assert!(backlogs.iter().all(|bytes| *bytes <= 1000), "{backlogs:?}");
    disk.set_dead(false);
    store.wait_for(2);
    drop(store);
    assert!(start(disk.opener()).1.records.is_empty());
}

#[test]
fn a_writer_hears_when_its_changes_are_durable() {
    let disk = Disk::default();
    let (store, _) = start(disk.opener());
    disk.hold();
    let writer = store.writer();
    let mut writing = std::pin::pin!(writer.write(vec![put(1, 0), delete(1, 5)]));
    disk.wait_for_commits(2);
    let waker = std::task::Waker::noop();
    assert!(writing.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    disk.release();
    block_on(writing).expect("the disk works");
    store.close().unwrap();
    assert_eq!(block_on(writer.write(vec![put(1, 1)])), Err(Failed::Closed));
    assert_eq!(start(disk.opener()).1.records, [queued(1, 0, b"on")]);
}

#[test]
fn changes_of_both_kinds_become_durable_in_the_order_of_the_calls() {
    let disk = Disk::default();
    let (store, _) = start(disk.opener());
    let writer = store.writer();
    let first = writer.write(vec![put(1, 0)]);
    store.submit(vec![StoreOp::Put(queued(1, 0, b"off"))], StoreToken(1));
    let last = writer.write(vec![StoreOp::Put(queued(1, 0, b"last"))]);
    block_on(last).unwrap();
    block_on(first).unwrap();
    drop(store);
    assert_eq!(start(disk.opener()).1.records, [queued(1, 0, b"last")]);
}

#[test]
fn a_writer_hears_of_trouble_at_once_and_its_changes_stay_in_line() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    disk.set_dead(true);
    let writer = store.writer();
    assert_eq!(block_on(writer.write(vec![put(1, 0)])), Err(Failed::Disk(Trouble::Full)));
    assert_eq!(block_on(writer.write(vec![put(1, 1)])), Err(Failed::Disk(Trouble::Full)));
    disk.set_dead(false);
    store.submit(Vec::new(), StoreToken(1));
    store.wait_for(1);
    drop(store);
    assert_eq!(start(disk.opener()).1.records, [queued(1, 0, b"on"), queued(1, 1, b"on")]);
}

#[test]
fn more_than_may_wait_is_refused_and_reported() {
    let disk = Disk::default();
    let (mut store, _) = start_with(disk.opener(), AT_ONCE, 100);
    disk.hold();
    store.submit(vec![put(1, 0)], StoreToken(1));
    disk.wait_for_commits(2);
    store.submit(vec![put(1, 1)], StoreToken(2));
    let StoreEvent::Failing { reason, .. } = store.next() else { panic!("the backlog is reported") };
    assert!(reason.ends_with("wait to be written to the store in /data, and 0 KiB may"), "{reason}");
    assert_eq!(block_on(store.writer().write(vec![put(1, 2)])), Err(Failed::Backlog));
    assert_eq!(store.stats().refused, 1);
    disk.release();
    store.wait_for(2);
    assert_eq!(store.next(), StoreEvent::Recovered);
    block_on(store.writer().write(vec![put(1, 2)])).expect("there is room again");
}

#[test]
fn closing_on_a_dead_disk_gives_up_and_says_so() {
    let disk = Disk::default();
    let (store, _) = start(disk.opener());
    disk.set_dead(true);
    store.submit(vec![put(1, 0)], StoreToken(1));
    assert_eq!(store.close(), Err(Failed::Disk(Trouble::Full)));
}

#[test]
fn records_that_cannot_be_read_are_named_and_left_alone() {
    let disk = Disk::default();
    let (mut store, _) = start(disk.opener());
    store.submit(vec![put(1, 0)], StoreToken(1));
    store.wait_for(1);
    drop(store);
    let strange = Key::from_octets(b"\x10\0\0\0\0\0\0\0\x01\x00");
    let mut batch = Batch::default();
    batch.change(strange, batch::Change::Put(b"\xff\xff\xff".as_slice().into()));
    disk.opener()().unwrap().commit(&batch).unwrap();

    let (store, restored) = start(disk.opener());
    assert_eq!(restored.records, [queued(1, 0, b"on")]);
    assert_eq!(restored.unreadable.len(), 1);
    assert!(restored.unreadable[0].to_string().starts_with("session 1: "), "{}", restored.unreadable[0]);
    drop(store);
    assert_eq!(start(disk.opener()).1.unreadable.len(), 1);
}

#[test]
fn a_store_of_another_format_is_refused_in_words() {
    for (format, words) in [(FORMAT + 1, "from a newer version of the gateway (format 2"), (0, "never released")] {
        let disk = Disk::default();
        let mut batch = Batch::default();
        batch.set_label(Label::Format, Box::new(format.to_be_bytes()));
        disk.opener()().unwrap().commit(&batch).unwrap();
        let error = Store::start(Path::new("/data"), AT_ONCE, 0, disk.opener()).unwrap_err().to_string();
        assert!(error.starts_with("the store in /data is ") && error.contains(words), "{error}");
        assert!(error.contains("move the directory away"), "{error}");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
