//! What can be wrong with a disk, and what to do about it.

use std::io;
use std::path::Path;

/// Why the store could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("the disk is full")]
    Full,
    #[error("the disk quota is used up")]
    Quota,
    #[error("the file is larger than the system allows")]
    TooLarge,
    #[error("the file system is read-only")]
    ReadOnly,
    #[error("no permission")]
    NoPermission,
    #[error("the file is gone")]
    Gone,
    #[error("it is not a directory")]
    NoDirectory,
    #[error("another program has the file open")]
    InUse,
    #[error("the file was not closed in order and needs repair")]
    NeedsRepair,
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("the file holds something else")]
    NotOurs,
    #[error("the file is in the format {0} of the database, which this version cannot read")]
    OtherFile(u8),
    #[error("{0}")]
    Other(String),
}

impl Trouble {
    /// Says what a person can do, for a store in `dir`.
    pub fn remedy(&self, dir: &Path) -> String {
        let shown = dir.display();
        match self {
            Self::Full => format!("free space on the disk of {shown} (`df -h {shown}` shows how much there is)"),
            Self::Quota => format!("raise the quota of the user that the gateway runs as, or free space in {shown}"),
            Self::TooLarge => "raise the limit of the size of files (`ulimit -f`, LimitFSIZE= in a service)".to_owned(),
            Self::ReadOnly => format!(
                "a disk with errors is often mounted read-only: see `dmesg`, then mount it for writing, or name \
                 another directory than {shown} in data_dir"
            ),
            Self::NoPermission => {
                format!("let the user that the gateway runs as read and write {shown} and the files in it")
            }
            Self::Gone => format!("was {shown} deleted or unmounted? Bring it back, or start the gateway again"),
            Self::NoDirectory => "name another place in data_dir, or move away what is there".to_owned(),
            Self::InUse => format!("end the other program (`fuser -v {shown}/*` names it)"),
            Self::NeedsRepair => "start the gateway once: it repairs the file".to_owned(),
            Self::Damaged(_) | Self::NotOurs => format!(
                "restore the directory {shown} from a backup, or move it away and start the gateway again: it begins \
                 with an empty store, and devices connect anew"
            ),
            Self::OtherFile(_) => "use the version of the gateway that wrote the file, or a newer one".to_owned(),
            Self::Other(_) => format!("check the disk of {shown} (`dmesg` shows its errors)"),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull => Self::Full,
            io::ErrorKind::QuotaExceeded => Self::Quota,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::NoPermission,
            io::ErrorKind::NotFound => Self::Gone,
            // Only directories are made where something may be already.
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NoDirectory,
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".to_owned()),
            io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_put_in_words_with_a_remedy() {
        let cases = [
            (io::ErrorKind::StorageFull, "the disk is full", "free space on the disk of /data"),
            (io::ErrorKind::QuotaExceeded, "the disk quota is used up", "raise the quota"),
            (io::ErrorKind::FileTooLarge, "the file is larger than the system allows", "raise the limit"),
            (io::ErrorKind::ReadOnlyFilesystem, "the file system is read-only", "a disk with errors is often mounted"),
            (io::ErrorKind::PermissionDenied, "no permission", "let the user that the gateway runs as read and write"),
            (io::ErrorKind::NotFound, "the file is gone", "was /data deleted or unmounted?"),
            (io::ErrorKind::UnexpectedEof, "the file is damaged: it ends too early", "restore the directory /data"),
        ];
        for (kind, words, remedy) in cases {
            let trouble = Trouble::from(io::Error::from(kind));
            assert_eq!(trouble.to_string(), words);
            assert!(trouble.remedy(Path::new("/data")).starts_with(remedy), "{trouble:?}");
        }
    }
}
