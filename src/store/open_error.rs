//! Why a store cannot be opened, in words that say what to do.

use std::path::{Path, PathBuf};

use super::format::FORMAT;
use super::trouble::Trouble;

/// Why a store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the store in {}: {trouble}; {}", .dir.display(), .trouble.remedy(.dir))]
    Disk { dir: PathBuf, trouble: Trouble },
    #[error(
        "the store in {} is in use by {}, and two gateways cannot share one: end the other gateway, or give this one a \
         data_dir of its own",
        .dir.display(), holder_words(*.holder)
    )]
    InUse { dir: PathBuf, holder: Option<u32> },
    #[error(
        "the store in {} is from a newer version of the gateway (format {found}, and this one knows {FORMAT}): use that \
         version, or move the directory away to begin with an empty store",
        .dir.display()
    )]
    Newer { dir: PathBuf, found: u32 },
    #[error(
        "the store in {} is from a version of the gateway that was never released (format {found}, and this one knows \
         {FORMAT}): move the directory away to begin with an empty store",
        .dir.display()
    )]
    Older { dir: PathBuf, found: u32 },
    #[error("there is no store in {}: is that the data_dir of a gateway that has run?", .dir.display())]
    Missing { dir: PathBuf },
}

impl OpenError {
    pub(super) fn disk(dir: &Path, trouble: Trouble) -> Self {
        let dir = dir.to_owned();
        match trouble {
            Trouble::InUse => Self::InUse { dir, holder: None },
            Trouble::Full
            | Trouble::Quota
            | Trouble::TooLarge
            | Trouble::ReadOnly
            | Trouble::NoPermission
            | Trouble::Gone
            | Trouble::NoDirectory
            | Trouble::NeedsRepair
            | Trouble::Damaged(_)
            | Trouble::NotOurs
            | Trouble::OtherFile(_)
            | Trouble::Other(_) => Self::Disk { dir, trouble },
        }
    }
}

fn holder_words(process: Option<u32>) -> String {
    match process {
        Some(process) => format!("process {process}"),
        None => "another process".to_owned(),
    }
}
