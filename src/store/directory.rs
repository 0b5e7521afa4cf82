//! The directory of a store: the file, and the lock that says whose it is.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::open_error::OpenError;

pub(super) const FILE: &str = "store.redb";
pub(super) const LOCK: &str = "store.lock";

/// A directory that belongs to this process until it is dropped.
///
/// The database locks its file as well, but lets go of it when it is opened anew after an error. The lock is the
/// system's and ends with the process; what the file says, the number of the process, is for people only.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Missing where nothing can be written, and so nobody has ever locked it.
    _lock: Option<File>,
}

impl Directory {
    /// Takes a directory, which is made if it is missing.
    pub(super) fn lock(path: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(|error| OpenError::disk(path, error.into()))?;
        Self::take(path)
    }

    /// Takes a directory that has a store in it, to read that.
    pub(super) fn find(path: &Path) -> Result<Self, OpenError> {
        match path.join(FILE).try_exists() {
            Ok(true) => Self::take_to_read(path),
            Ok(false) => Err(OpenError::Missing { dir: path.to_owned() }),
            Err(error) => Err(OpenError::disk(path, error.into())),
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Makes durable that the files are there: the database only does so with what is in them.
    pub(super) fn sync(&self) -> io::Result<()> {
        if !cfg!(unix) {
            // Elsewhere a directory cannot be opened, and need not be.
            return Ok(());
        }
        if let Some(parent) = self.path.canonicalize()?.parent() {
            // The directory itself may be new. Where its parent is out of reach somebody else has made it.
            let _ = File::open(parent).and_then(|parent| parent.sync_all());
        }
        File::open(&self.path)?.sync_all()
    }

    fn take(path: &Path) -> Result<Self, OpenError> {
        let file = open_lock(path).map_err(|error| OpenError::disk(path, error.into()))?;
        let file = lock(path, file)?;
        // A full disk is no reason not to start: the number is a courtesy.
        let _ = name_holder(&file);
        Ok(Self { path: path.to_owned(), _lock: Some(file) })
    }

    /// Where nothing may be written, the lock that is there is enough.
    fn take_to_read(path: &Path) -> Result<Self, OpenError> {
        let disk = |error: io::Error| OpenError::disk(path, error.into());
        let file = match open_lock(path) {
            Ok(file) => Some(file),
            Err(error) if may_not_write(&error) => match File::open(path.join(LOCK)) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(disk(error)),
            },
            Err(error) => return Err(disk(error)),
        };
        let file = file.map(|file| lock(path, file)).transpose()?;
        Ok(Self { path: path.to_owned(), _lock: file })
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path.join(LOCK))
}

fn may_not_write(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Returns the file, locked.
fn lock(path: &Path, file: File) -> Result<File, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: path.to_owned(), holder: holder(file) }),
        Err(TryLockError::Error(error)) => Err(OpenError::disk(path, error.into())),
    }
}

fn name_holder(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Returns the process that has named itself in the lock.
pub(super) fn holder(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
