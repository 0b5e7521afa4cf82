//! The store on a real file, and what can be wrong with it.

use std::fs;

use super::flaky_file::FlakyFile;
use super::*;

fn open(dir: &Path) -> Result<(Store, Restored), OpenError> {
    Store::open(dir, StoreSettings { commit_every: Duration::ZERO, ..StoreSettings::default() })
}

/// Makes a store with one record of every kind.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, restored) = open(dir.path()).unwrap();
    assert!(restored.fresh);
    store.submit(every_kind().into_iter().map(StoreOp::Put).collect(), StoreToken(1));
    store.wait_for(1);
    store.close().unwrap();
    dir
}

fn refusal(dir: &Path) -> String {
    open(dir).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_was_stored_is_in_the_file_after_a_restart() {
    let dir = filled();
    let (store, restored) = open(dir.path()).unwrap();
    assert_eq!(restored, Restored { records: every_kind(), ..Restored::default() });
    drop(store);
    assert_eq!(Store::read_only(dir.path()).unwrap().records, every_kind());
}

#[test]
fn a_directory_that_is_missing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("a/b");
    drop(open(&below).unwrap());
    assert!(!open(&below).unwrap().1.fresh);
}

#[test]
fn a_second_gateway_is_told_who_has_the_directory() {
    let dir = filled();
    let (_store, _) = open(dir.path()).unwrap();
    let expected = format!(
        "the store in {} is in use by process {}, and two gateways cannot share one: end the other gateway, or give \
         this one a data_dir of its own",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(refusal(dir.path()), expected);
    assert_eq!(Store::read_only(dir.path()).unwrap_err().to_string(), expected);
}

#[test]
fn reading_where_there_is_no_store_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::read_only(dir.path()).unwrap_err();
    assert_eq!(error, OpenError::Missing { dir: dir.path().to_owned() });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_of_another_program_is_refused_and_left_alone() {
    let dir = filled();
    let file = dir.path().join("store.redb");
    for content in [&b"#!/bin/sh\n"[..], &[0x5a; 200_000]] {
        fs::write(&file, content).unwrap();
        let words = refusal(dir.path());
        assert!(words.starts_with(&format!("cannot open the store in {}: ", dir.path().display())), "{words}");
        assert!(words.contains("restore the directory") && words.contains("from a backup"), "{words}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let dir = filled();
    let file = dir.path().join("store.redb");
    fs::remove_file(&file).unwrap();
    let theirs = ::redb::TableDefinition::<u64, u64>::new("theirs");
    let database = ::redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(theirs).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(refusal(dir.path()).contains("the file holds something else"));
}

#[test]
fn a_file_that_is_cut_short_or_scribbled_over_makes_nobody_panic() {
    let dir = filled();
    let file = dir.path().join("store.redb");
    let whole = fs::read(&file).unwrap();
    let mut dice = fastrand::Rng::with_seed(7);
    let mut refused = 0;
    for round in 0..60 {
        let mut damaged = whole.clone();
        if round % 2 == 0 {
            damaged.truncate(dice.usize(1..whole.len()));
        } else {
            for _ in 0..dice.usize(1..40) {
                let at = dice.usize(..whole.len() - 64);
                dice.fill(&mut damaged[at..at + 64]);
            }
        }
        fs::write(&file, &damaged).unwrap();
        // Those who only look at it see what they can, and `check` says what the start will say.
        _ = Store::read_only(dir.path());
        assert_eq!(fs::read(&file).unwrap(), damaged);
        let inspected = Store::inspect(dir.path()).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(fs::read(&file).unwrap(), damaged);
        let opened = open(dir.path());
        assert_eq!(inspected, opened.as_ref().map(|_| ()).map_err(ToString::to_string));
        match opened {
            // The damage lies where nothing is, or the records before the last commit are whole.
            Ok((_, restored)) => assert!(restored.unreadable.is_empty()),
            Err(error) => {
                assert!(error.to_string().starts_with("cannot open the store in "), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "only {refused} were refused");
}

#[test]
fn a_directory_that_is_a_file_is_refused_in_words() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(refusal(file.path()).starts_with(&format!("cannot open the store in {}: ", file.path().display())));
}

#[test]
fn a_store_that_was_not_closed_in_order_is_repaired_and_can_be_read() {
    let dir = filled();
    let copy = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    store.submit(vec![put(8, 8)], StoreToken(1));
    store.wait_for(1);
    // As it is while the gateway runs, and so after its death.
    fs::copy(dir.path().join("store.redb"), copy.path().join("store.redb")).unwrap();
    drop(store);
    assert!(Store::read_only(copy.path()).unwrap().records.contains(&queued(8, 8, b"on")));
    assert!(open(copy.path()).unwrap().1.records.contains(&queued(8, 8, b"on")));
}

#[test]
fn a_disk_that_is_full_is_reported_and_writing_goes_on_when_there_is_space() {
    let file = FlakyFile::default();
    let (mut store, _) = start(file.opener());
    store.submit(vec![put(1, 0)], StoreToken(1));
    store.wait_for(1);
    file.set_capacity(Some(file.len()));
    let large: &'static [u8] = Box::leak(vec![7; 4000].into_boxed_slice());
    let mut token = 1;
    loop {
        token += 1;
        store.submit(vec![StoreOp::Put(queued(2, token, large))], StoreToken(token));
        match store.next() {
            StoreEvent::Stored(_) => {}
            StoreEvent::Failing { reason, .. } => {
                assert_eq!(reason, "nothing can be written to the store in /data: the disk is full");
                break;
            }
            StoreEvent::Recovered => panic!("nothing had failed"),
        }
    }
    store.submit(vec![delete(1, 0)], StoreToken(token + 1));
    file.set_capacity(None);
    store.wait_for(token + 1);
    assert_eq!(store.next(), StoreEvent::Recovered);
    drop(store);
    let expected: Vec<Record> = (2..=token).map(|place| queued(2, place, large)).collect();
    assert_eq!(start(file.opener()).1.records, expected);
}

#[test]
fn what_is_written_to_a_file_that_was_deleted_is_not_reported_as_stored() {
    let dir = filled();
    let (mut store, _) = open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("store.redb")).unwrap();
    store.submit(vec![put(8, 8)], StoreToken(1));
    let StoreEvent::Failing { reason, .. } = store.next() else { panic!("it is stored") };
    assert_eq!(reason, format!("nothing can be written to the store in {}: the file is gone", dir.path().display()));
}

#[test]
fn what_is_stored_after_a_failed_sync_survives_a_power_cut() {
    let file = FlakyFile::default();
    let (mut store, _) = start(file.opener());
    file.fail_sync();
    store.submit(vec![put(1, 0)], StoreToken(1));
    store.wait_for(1);
    file.cut(0);
    drop(store);
    file.power();
    assert_eq!(start(file.opener()).1.records, [queued(1, 0, b"on")]);
}

#[cfg(unix)]
#[test]
fn a_file_that_nobody_may_write_is_refused_in_words() {
    use std::os::unix::fs::PermissionsExt;
    let dir = filled();
    let file = dir.path().join("store.redb");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::File::options().write(true).open(&file).is_ok() {
        // Root may write everything.
        return;
    }
    let words = refusal(dir.path());
    assert!(words.contains("no permission; let the user that the gateway runs as read and write"), "{words}");
}
