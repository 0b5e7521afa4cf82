//! A file for redb in memory: writes fail when told to, space runs out, and a power cut takes what was not synced.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

use super::{Opener, RedbEngine, SyncWatch};

/// A disk with one file on it.
#[derive(Clone, Debug, Default)]
pub(super) struct FlakyFile {
    content: Arc<Mutex<Content>>,
    watch: SyncWatch,
}

#[derive(Debug, Default)]
struct Content {
    /// As the program sees it.
    seen: Vec<u8>,
    /// As the platter has it, without `unsynced`.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// So many more changes work, then one fails.
    fail_after: Option<u32>,
    fail_sync: bool,
    capacity: Option<usize>,
    power: Power,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Power {
    #[default]
    On,
    Off,
}

/// The file as one database has it open.
#[derive(Debug)]
struct Handle(FlakyFile);

impl FlakyFile {
    /// Returns what opens a database on the file.
    pub(super) fn opener(&self) -> Opener {
        let file = self.clone();
        Box::new(move || Ok(Box::new(RedbEngine::on(Handle(file.clone()), &file.watch)?)))
    }

    /// Lets one change fail after so many that work.
    pub(super) fn fail_after(&self, changes: u32) {
        self.lock().fail_after = Some(changes);
    }

    /// Lets the next sync fail, after which nobody but a reader knows what was written: as Linux does it.
    pub(super) fn fail_sync(&self) {
        self.lock().fail_sync = true;
    }

    /// Sets how long the file can become; None is as long as it likes.
    pub(super) fn set_capacity(&self, capacity: Option<usize>) {
        self.lock().capacity = capacity;
    }

    pub(super) fn len(&self) -> usize {
        self.lock().seen.len()
    }

    /// Ends all writing, and keeps of what was not synced what chance keeps.
    pub(super) fn cut(&self, seed: u64) {
        let mut content = self.lock();
        content.power = Power::Off;
        let mut dice = fastrand::Rng::with_seed(seed);
        for change in std::mem::take(&mut content.unsynced) {
            if dice.bool() {
                change.apply(&mut content.durable);
            }
        }
        content.seen = content.durable.clone();
    }

    /// Gives the power back, and lets nothing fail any more.
    pub(super) fn power(&self) {
        let mut content = self.lock();
        content.power = Power::On;
        content.fail_after = None;
        content.fail_sync = false;
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }
}

impl Content {
    fn change(&mut self, change: Change) -> io::Result<()> {
        self.step()?;
        let end = change.end();
        if self.capacity.is_some_and(|capacity| end > capacity) && end > self.seen.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change.apply(&mut self.seen);
        self.unsynced.push(change);
        Ok(())
    }

    fn step(&mut self) -> io::Result<()> {
        if self.power == Power::Off {
            return Err(io::Error::other("no power"));
        }
        match self.fail_after {
            Some(0) => {
                self.fail_after = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(left) => self.fail_after = Some(left - 1),
            None => {}
        }
        Ok(())
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length, 0),
            Self::Write(offset, octets) => {
                file.resize(file.len().max(offset + octets.len()), 0);
                file[*offset..offset + octets.len()].copy_from_slice(octets);
            }
        }
    }

    fn end(&self) -> usize {
        match self {
            Self::Length(length) => *length,
            Self::Write(offset, octets) => offset + octets.len(),
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock();
        let from = usize::try_from(offset).expect("a small file");
        let octets = content.seen.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(octets);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().change(Change::Length(usize::try_from(length).expect("a small file")))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.0.lock();
        content.step()?;
        let content = &mut *content;
        if std::mem::take(&mut content.fail_sync) {
            content.unsynced.clear();
            return Err(io::Error::other("the disk does not answer"));
        }
        content.unsynced.drain(..).for_each(|change| change.apply(&mut content.durable));
        Ok(())
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("a small file");
        self.0.lock().change(Change::Write(offset, octets.to_vec()))
    }

    // One test is one process: there is nobody to lock out.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
