//! What durability costs: messages that are kept and forgotten again, by how many at a time, and what that writes.
//!
//! `cargo bench --bench store`. The files lie in the target directory: what counts is the disk below it.
#![expect(clippy::print_stdout, reason = "its output is what a benchmark is for")]

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use mqttsn_gateway::core::{
    MessageRecord, QueuePolicy, QueuedRecord, Record, RecordKey, SessionNumber, StoreOp, StoreToken,
};
use mqttsn_gateway::store::{Store, StoreEvent, StoreSettings};
use mqttsn_gateway::wire::Qos;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const BATCHES: &[u64] = &[1, 10, 100, 1000];

fn main() {
    memory();
    for batch in BATCHES {
        octets_written(*batch);
    }
    divan::main();
}

/// A batch of messages of 100 octets at QoS 1 is kept; when that is durable, it is forgotten.
#[divan::bench(args = BATCHES, max_time = 3)]
fn keep_and_forget(bencher: Bencher<'_, '_>, batch: u64) {
    let mut bench = Bench::new();
    bencher.counter(ItemsCount::new(batch)).bench_local(move || bench.keep_and_forget(batch));
}

/// The same, where nobody waits in between: what the desk costs the core.
#[divan::bench(args = BATCHES, max_time = 3)]
fn keep_and_forget_without_waiting(bencher: Bencher<'_, '_>, batch: u64) {
    let mut bench = Bench::new();
    bencher.counter(ItemsCount::new(batch)).bench_local(move || {
        bench.submit((0..batch).map(keep));
        bench.submit((0..batch).map(forget));
    });
}

/// A store with a hundred sessions in it, opened and read.
#[divan::bench(max_time = 3)]
fn open(bencher: Bencher<'_, '_>) {
    let mut bench = Bench::new();
    bench.submit((0..10_000).map(keep));
    bench.settle();
    let Bench { store, dir, .. } = bench;
    drop(store);
    bencher.bench_local(|| Store::open(dir.path(), settings()).expect("the store opens"));
}

struct Bench {
    store: Store,
    runtime: Runtime,
    token: StoreToken,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (store, _) = Store::open(dir.path(), settings()).expect("the store opens");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        Self { store, runtime, token: StoreToken(0), dir }
    }

    fn keep_and_forget(&mut self, batch: u64) {
        self.submit((0..batch).map(keep));
        self.settle();
        self.submit((0..batch).map(forget));
        self.settle();
    }

    fn submit(&mut self, ops: impl Iterator<Item = StoreOp>) {
        self.token.0 += 1;
        self.store.submit(ops.collect(), self.token);
    }

    fn settle(&mut self) {
        while self.runtime.block_on(self.store.next_event()) != StoreEvent::Stored(self.token) {}
    }
}

fn settings() -> StoreSettings {
    StoreSettings { commit_every: Duration::ZERO, ..StoreSettings::default() }
}

fn keep(place: u64) -> StoreOp {
    let message = MessageRecord {
        topic: "plant/hall-3/temperature".into(),
        payload: Bytes::from_static(&[b'x'; 100]),
        qos: Qos::AtLeastOnce,
        retain: false,
    };
    StoreOp::Put(Record::Queued(QueuedRecord {
        session: SessionNumber(place % 100),
        place,
        message,
        policy: QueuePolicy::DropOldest,
        expires: None,
        sent_as: None,
        released: false,
    }))
}

fn forget(place: u64) -> StoreOp {
    StoreOp::Delete(RecordKey::Queued(SessionNumber(place % 100), place))
}

/// Prints how much memory a store takes that has been written to.
fn memory() {
    let before = resident();
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.keep_and_forget(10);
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        println!("memory of an open store after 200 commits: {} KiB", after.saturating_sub(before));
    }
}

/// Prints what a message costs in writing, from being kept to being forgotten.
fn octets_written(batch: u64) {
    let mut bench = Bench::new();
    bench.keep_and_forget(batch);
    let rounds = (1000 / batch).max(3);
    let before = written();
    (0..rounds).for_each(|_| bench.keep_and_forget(batch));
    if let (Some(before), Some(after)) = (before, written()) {
        println!("{batch:>5} at a time: {:>6} octets written per message", (after - before) / (rounds * batch));
    }
}

/// Returns what this process has written so far, where the system counts it.
fn written() -> Option<u64> {
    proc_number("/proc/self/io", "wchar:")
}

/// Returns the memory of this process in KiB, where the system counts it.
fn resident() -> Option<u64> {
    proc_number("/proc/self/status", "VmRSS:")
}

fn proc_number(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
