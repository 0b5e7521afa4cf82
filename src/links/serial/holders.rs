//! Who has a port open.

use std::fmt;
use std::fs;
use std::path::Path;

use super::inventory::actual;

/// A process that has a port open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    pub name: String,
}

impl Holder {
    /// Whether it is the program that takes every new port for a modem.
    pub fn is_modem_manager(&self) -> bool {
        self.name == "ModemManager"
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.process)
    }
}

/// Finds the processes that have a device open, as far as we may look: those of other users are seen only by root.
pub(super) fn of(proc: &Path, device: &Path) -> Vec<Holder> {
    let device = actual(device);
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let mut holders: Vec<Holder> = processes
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
            descriptors.any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == device)).then(
                || {
                    let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                    Holder { process, name: name.trim().to_owned() }
                },
            )
        })
        .collect();
    holders.sort_by_key(|holder| holder.process);
    holders
}
