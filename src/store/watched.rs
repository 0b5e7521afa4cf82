//! A file whose failed syncs are not forgotten.
//!
//! After a failed fsync Linux takes the pages for clean: the program reads what it wrote, the disk does not have it, and
//! the next fsync succeeds without writing it. A commit on top of that would be reported as durable and rest on nothing.
//! So before the file is used again all of it is written once more. Only a sync that fails while the program ends stays
//! unknown to the program that starts next.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{BackendError, StorageBackend};

/// Whether the file has to be written again, for all that open it one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct SyncWatch(Arc<AtomicBool>);

#[derive(Debug)]
pub(super) struct Watched<B> {
    file: B,
    watch: SyncWatch,
}

impl<B: StorageBackend> Watched<B> {
    pub(super) fn new(file: B, watch: &SyncWatch) -> io::Result<Self> {
        let watched = Self { file, watch: watch.clone() };
        if watch.0.load(Ordering::Relaxed) {
            watched.write_again()?;
            watch.0.store(false, Ordering::Relaxed);
        }
        Ok(watched)
    }

    /// Writes what is read, octet for octet. If that is cut short, nothing is worse than it was.
    fn write_again(&self) -> io::Result<()> {
        const AT_ONCE: usize = 1 << 16;
        let mut buffer = vec![0; AT_ONCE];
        let length = self.file.len()?;
        for offset in (0..length).step_by(AT_ONCE) {
            let rest = usize::try_from(length - offset).unwrap_or(AT_ONCE).min(AT_ONCE);
            self.file.read(offset, &mut buffer[..rest])?;
            self.file.write(offset, &buffer[..rest])?;
        }
        self.file.sync_data()
    }
}

impl<B: StorageBackend> StorageBackend for Watched<B> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.watch.0.store(true, Ordering::Relaxed))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
