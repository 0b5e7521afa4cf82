//! The engine: a file of redb, which is never overwritten where it counts and has a checksum on every page.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, Durability, ReadOnlyDatabase, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    TableError, TableHandle, WriteTransaction,
};

use super::batch::{Batch, Change};
use super::engine::{Engine, Outcome, Shelf};
use super::key::SessionKeys;
use super::label::Label;
use super::trouble::Trouble;
use super::watched::{SyncWatch, Watched};

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// Octets of pages kept in memory, at most half of them for what is being written; redb's default is 1 GiB. The system's
/// page cache has what was written anyway, nothing is read after the start, and small devices have little memory. What
/// finds no room while a commit grows goes to the file at once, which costs time and no more.
const CACHE: usize = 1 << 20;

/// A redb file that is open for writing. While it is open no other process can open it.
#[derive(Debug)]
pub(super) struct RedbEngine {
    database: Database,
    /// Where the file was found, if it is one.
    path: Option<PathBuf>,
}

/// A redb file that is open for reading.
pub(super) struct RedbReader {
    database: ReadOnlyDatabase,
}

/// Whether the file has to be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// What is missing is made.
    Any,
    /// A file that has vanished must not be replaced by an empty one.
    Existing,
}

impl RedbEngine {
    pub(super) fn open(path: &Path, expect: Expect, watch: &SyncWatch) -> Result<Self, Trouble> {
        let file = options(expect).open(path)?;
        let engine = Self::on(FileBackend::new(file).map_err(trouble)?, watch)?;
        Ok(Self { path: Some(path.to_owned()), ..engine })
    }

    /// Opens a copy of the file in memory, with all that the opening of the file itself would find and repair. The file
    /// stays as it is.
    pub(super) fn rehearse(path: &Path) -> Result<Self, Trouble> {
        let octets = fs::read(path)?;
        let copy = InMemoryBackend::new();
        copy.set_len(octets.len() as u64)?;
        copy.write(0, &octets)?;
        drop(octets);
        Self::on(copy, &SyncWatch::default())
    }

    /// Opens a database on something that acts like a file. `watch` is that of its former openings.
    pub(super) fn on(file: impl StorageBackend, watch: &SyncWatch) -> Result<Self, Trouble> {
        let file = Watched::new(file, watch)?;
        let mut builder = builder();
        // Reads the whole file. Without it redb trusts a file that was closed in order, and may panic on one that was
        // damaged since. Everything is read at the start anyway.
        builder.set_check_integrity_on_open(true);
        let engine = Self { database: builder.create_with_backend(file).map_err(trouble)?, path: None };
        check_tables(&engine.database)?;
        Ok(engine)
    }
}

impl RedbReader {
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        let reader = Self { database: builder().open_read_only(path).map_err(trouble)? };
        check_tables(&reader.database)?;
        Ok(reader)
    }
}

impl Engine for RedbEngine {
    fn commit(&mut self, batch: &Batch) -> Result<Outcome, Trouble> {
        let mut transaction = self.database.begin_write().map_err(trouble)?;
        // One commit is one fsync. Saving the allocator's state with each of them (quick repair) would cost a second
        // fsync and more pages, to save a walk through the file after a crash, which happens at every start anyway.
        transaction.set_durability(Durability::Immediate).map_err(trouble)?;
        let mut outcome = change_records(&transaction, batch)?;
        if batch.labels().next().is_some() {
            let mut table = transaction.open_table(META).map_err(trouble)?;
            for (label, value) in batch.labels() {
                if table.get(label.name()).map_err(trouble)?.is_none_or(|there| there.value() != value) {
                    table.insert(label.name(), value).map_err(trouble)?;
                    outcome = Outcome::Written;
                }
            }
        }
        match outcome {
            Outcome::Written => transaction.commit().map_err(trouble)?,
            Outcome::Unchanged => transaction.abort().map_err(trouble)?,
        }
        // A file that was deleted goes on to be written without an error, and nobody will ever read it.
        match &self.path {
            Some(path) if !path.try_exists()? => Err(Trouble::Gone),
            Some(_) | None => Ok(outcome),
        }
    }
}

fn change_records(transaction: &WriteTransaction, batch: &Batch) -> Result<Outcome, Trouble> {
    let mut outcome = Outcome::Unchanged;
    let mut table = transaction.open_table(RECORDS).map_err(trouble)?;
    for session in batch.forgotten() {
        let keys = SessionKeys::of(session);
        let forget = |_: &[u8], _: &[u8]| {
            outcome = Outcome::Written;
            false
        };
        table.retain_in(keys.octets(), forget).map_err(trouble)?;
    }
    for (key, change) in batch.changes() {
        let changed = match change {
            Change::Put(value) => {
                let same = table.get(key.octets()).map_err(trouble)?.is_some_and(|there| there.value() == &value[..]);
                if !same {
                    table.insert(key.octets(), &value[..]).map_err(trouble)?;
                }
                !same
            }
            Change::Remove => table.remove(key.octets()).map_err(trouble)?.is_some(),
        };
        if changed {
            outcome = Outcome::Written;
        }
    }
    Ok(outcome)
}

impl Shelf for RedbEngine {
    fn read(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Trouble> {
        read(&self.database, visit)
    }

    fn label(&self, label: Label) -> Result<Option<Box<[u8]>>, Trouble> {
        read_label(&self.database, label)
    }
}

impl Shelf for RedbReader {
    fn read(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Trouble> {
        read(&self.database, visit)
    }

    fn label(&self, label: Label) -> Result<Option<Box<[u8]>>, Trouble> {
        read_label(&self.database, label)
    }
}

fn read(database: &impl ReadableDatabase, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Trouble> {
    let transaction = database.begin_read().map_err(trouble)?;
    match transaction.open_table(RECORDS) {
        Ok(table) => {
            for entry in table.iter().map_err(trouble)? {
                let (key, value) = entry.map_err(trouble)?;
                visit(key.value(), value.value());
            }
            Ok(())
        }
        Err(TableError::TableDoesNotExist(_)) => Ok(()),
        Err(error) => Err(trouble(error)),
    }
}

fn read_label(database: &impl ReadableDatabase, label: Label) -> Result<Option<Box<[u8]>>, Trouble> {
    let transaction = database.begin_read().map_err(trouble)?;
    match transaction.open_table(META) {
        Ok(table) => Ok(table.get(label.name()).map_err(trouble)?.map(|value| value.value().into())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(trouble(error)),
    }
}

/// Refuses a database of another program: a new one has no tables, ours has the one with the labels.
fn check_tables(database: &impl ReadableDatabase) -> Result<(), Trouble> {
    let transaction = database.begin_read().map_err(trouble)?;
    let names: Vec<String> = transaction.list_tables().map_err(trouble)?.map(|table| table.name().to_owned()).collect();
    if names.is_empty() || names.iter().any(|name| name == META.name()) { Ok(()) } else { Err(Trouble::NotOurs) }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn options(expect: Expect) -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).truncate(false).create(expect == Expect::Any);
    // What devices say is nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn trouble(error: impl Into<redb::Error>) -> Trouble {
    use redb::Error;
    match error.into() {
        Error::Io(error) => Trouble::from(error),
        Error::Corrupted(what) => Trouble::Damaged(what),
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => Trouble::InUse,
        Error::RepairAborted => Trouble::NeedsRepair,
        Error::UpgradeRequired(version) => Trouble::OtherFile(version),
        Error::TableTypeMismatch { .. } | Error::TableIsMultimap(_) | Error::TypeDefinitionChanged { .. } => {
            Trouble::NotOurs
        }
        other => Trouble::Other(other.to_string()),
    }
}
