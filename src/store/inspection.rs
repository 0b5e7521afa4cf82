//! A look at a data directory that leaves it as it is.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::directory::{FILE, LOCK, holder};
use super::guard::guarded;
use super::redb::{RedbEngine, RedbReader};
use super::{OpenError, Restored, Store, Trouble, read_all};

/// What a data directory is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// There is no store in it yet, and one can be made.
    Vacant,
    /// It belongs to a process that runs.
    InUse { holder: Option<u32> },
    /// Its file was not closed in order. It is repaired when it is opened.
    Unclean,
    /// It can be opened.
    Ready(Restored),
}

impl Store {
    /// Looks at a directory, which need not be there, and changes nothing.
    pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
        let disk = |error: io::Error| OpenError::disk(dir, error.into());
        may_write(nearest(dir)).map_err(disk)?;
        if !dir.try_exists().map_err(disk)? {
            return Ok(Inspection::Vacant);
        }
        if let Some(lock) = taken_lock(dir).map_err(disk)? {
            return Ok(Inspection::InUse { holder: holder(lock) });
        }
        let file = dir.join(FILE);
        if !file.try_exists().map_err(disk)? {
            return Ok(Inspection::Vacant);
        }
        may_write(&file).map_err(disk)?;
        // To open it for reading only tells who else has it, and whether it was closed in order; whether it is whole is
        // found out at the start, and now on a copy.
        let state = guarded(|| RedbReader::open(&file).map(drop));
        if state == Err(Trouble::InUse) {
            return Ok(Inspection::InUse { holder: None });
        }
        let read = guarded(|| Ok(read_all(&RedbEngine::rehearse(&file)?, dir)));
        let (restored, _) = read.map_err(|trouble| OpenError::disk(dir, trouble))??;
        Ok(if state == Err(Trouble::NeedsRepair) { Inspection::Unclean } else { Inspection::Ready(restored) })
    }
}

/// Returns the lock if another process has it.
fn taken_lock(dir: &Path) -> io::Result<Option<File>> {
    let file = match File::open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        // It is let go of at once, when the file is closed.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(file)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns the directory, or the one nearest to it that is there.
fn nearest(dir: &Path) -> &Path {
    let is_there = |dir: &&Path| !dir.as_os_str().is_empty() && dir.exists();
    dir.ancestors().find(is_there).unwrap_or_else(|| Path::new("."))
}

#[cfg(unix)]
fn may_write(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    if fs::metadata(path)?.is_dir() {
        Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?)
    } else {
        Ok(access(path, Access::READ_OK | Access::WRITE_OK)?)
    }
}

#[cfg(not(unix))]
fn may_write(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().readonly() { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;
    use crate::core::StoreToken;
    use crate::store::StoreSettings;
    use crate::store::tests::samples;

    /// Every file with its content and when it was changed.
    fn snapshot(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let read = |path: &Path| (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap());
        files.map(|file| (file.file_name().to_string_lossy().into_owned(), read(&file.path()))).collect()
    }

    #[test]
    fn a_directory_that_is_not_there_is_vacant_and_is_not_made() {
        let home = TempDir::new().unwrap();
        let dir = home.path().join("a/b");
        assert_eq!(Store::inspect(&dir).unwrap(), Inspection::Vacant);
        assert!(!home.path().join("a").exists());
        assert_eq!(Store::inspect(home.path()).unwrap(), Inspection::Vacant);
        assert_eq!(snapshot(home.path()), BTreeMap::new());
    }

    #[test]
    fn the_process_that_has_it_is_named() {
        let home = TempDir::new().unwrap();
        let (_store, _) = Store::open(home.path(), StoreSettings::default()).unwrap();
        let holder = Some(std::process::id());
        assert_eq!(Store::inspect(home.path()).unwrap(), Inspection::InUse { holder });
    }

    #[test]
    fn what_is_in_it_is_read_and_left_as_it_is() {
        let home = TempDir::new().unwrap();
        let (store, _) = Store::open(home.path(), StoreSettings::default()).unwrap();
        store.submit(samples::every_kind().into_iter().map(crate::core::StoreOp::Put).collect(), StoreToken(1));
        store.close().unwrap();
        let before = snapshot(home.path());
        let Inspection::Ready(restored) = Store::inspect(home.path()).unwrap() else { panic!("it is not ready") };
        assert_eq!(restored.records.len(), samples::every_kind().len());
        assert_eq!(snapshot(home.path()), before);
    }

    #[test]
    fn what_stands_in_the_way_of_a_directory_is_told() {
        let home = TempDir::new().unwrap();
        fs::write(home.path().join("file"), "x").unwrap();
        let error = Store::inspect(&home.path().join("file/data")).unwrap_err();
        assert!(error.to_string().contains("ot a directory"), "{error}");
        fs::create_dir(home.path().join("data")).unwrap();
        fs::write(home.path().join("data").join(FILE), "not ours").unwrap();
        assert!(matches!(Store::inspect(&home.path().join("data")), Err(OpenError::Disk { .. })));
    }
}
