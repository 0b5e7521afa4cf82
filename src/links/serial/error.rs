//! Why a port cannot be opened, in words that say what to do.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a serial port cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("there is no serial port {port}; {}", list_ports(.others))]
    NotFound { port: String, others: Vec<String> },
    #[error("no permission to open {port}; {}", how_to_get_permission(port, group.as_deref()))]
    NoPermission { port: String, group: Option<String> },
    #[error("{port} is in use by {}", list_holders(port, .holders))]
    Busy { port: String, holders: Vec<Holder> },
    #[error("{port} is no serial port")]
    NotSerial { port: String },
    #[error("{port} has no hardware behind it; {}", list_ports(.others))]
    NoHardware { port: String, others: Vec<String> },
    #[error("{port} cannot do {baud} baud; usual rates are 9600, 38400, 57600 and 115200")]
    BaudRate { port: String, baud: u32 },
    #[error("cannot open {port}: {reason}")]
    Other { port: String, reason: String },
}

/// A process that has a port open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    pub name: String,
}

impl PortError {
    /// Makes an error of what the system said.
    pub(super) fn from_system(port: &str, error: &io::Error) -> Self {
        let name = port.to_owned();
        match error.raw_os_error() {
            Some(ENOENT | ENXIO | ENODEV) => Self::NotFound { port: name, others: known_ports() },
            Some(EACCES | EPERM) => Self::NoPermission { port: name, group: group_of(port) },
            Some(EBUSY) => Self::Busy { port: name, holders: holders_of(port) },
            Some(EIO) => Self::NoHardware { port: name, others: known_ports() },
            Some(ENOTTY) => Self::NotSerial { port: name },
            Some(_) | None => Self::Other { port: name, reason: error.to_string() },
        }
    }

    /// Makes an error of what the library said about a port that exists and may be opened.
    pub(super) fn from_serialport(port: &str, baud: u32, error: serialport::Error) -> Self {
        let name = port.to_owned();
        match error.kind {
            // The library says so when it did not get its lock. Only on Windows it can be a port that is not there.
            serialport::ErrorKind::NoDevice if cfg!(windows) => Self::NotFound { port: name, others: known_ports() },
            serialport::ErrorKind::NoDevice => Self::Busy { port: name, holders: holders_of(port) },
            serialport::ErrorKind::InvalidInput => Self::BaudRate { port: name, baud },
            serialport::ErrorKind::Io(io::ErrorKind::NotFound) => Self::NotFound { port: name, others: known_ports() },
            serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
                Self::Busy { port: name, holders: Vec::new() }
            }
            serialport::ErrorKind::Io(_) | serialport::ErrorKind::Unknown => {
                Self::Other { port: name, reason: error.description }
            }
        }
    }
}

// The numbers are the same on all Unix systems.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const ENOTTY: i32 = 25;

/// Where udev keeps names that stay the same whatever the order of plugging in.
const STABLE_NAMES: &str = "/dev/serial/by-id";

/// Lists the serial ports of this machine, by the stable name where there is one.
pub fn known_ports() -> Vec<String> {
    let mut stable: Vec<PathBuf> =
        fs::read_dir(STABLE_NAMES).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    stable.sort();
    let named: Vec<PathBuf> = stable.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    let others = serialport::available_ports().unwrap_or_default().into_iter().map(|port| port.port_name);
    let mut ports: Vec<String> = stable.iter().map(|path| path.display().to_string()).collect();
    ports.extend(others.filter(|port| !named.iter().any(|named| named == Path::new(port))));
    ports
}

fn list_ports(ports: &[String]) -> String {
    /// Names in one message; machines with dozens of `ttyS` exist.
    const SHOWN: usize = 8;
    match ports {
        [] => "this machine has none at present: is the device plugged in?".to_owned(),
        ports if ports.len() > SHOWN => {
            format!("there are {} and {} more", ports[..SHOWN].join(", "), ports.len() - SHOWN)
        }
        ports => format!("there are {}", ports.join(", ")),
    }
}

fn how_to_get_permission(port: &str, group: Option<&str>) -> String {
    match group {
        Some(group) if group != "root" => format!(
            "it belongs to the group \"{group}\": `sudo usermod -aG {group} $USER`, then log in again \
             (for a service: SupplementaryGroups={group})"
        ),
        Some(_) | None => format!("`ls -l {port}` shows who may; a udev rule with GROUP=\"dialout\" lets others"),
    }
}

fn list_holders(port: &str, holders: &[Holder]) -> String {
    let mut text = match holders {
        [] => format!("another program, which `sudo fuser -v {port}` names; often it is ModemManager"),
        _ => String::new(),
    };
    for (position, Holder { process, name }) in holders.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{name} (process {process})");
    }
    if holders.iter().any(|holder| holder.process == std::process::id()) {
        text.push_str("; does the port stand twice in the configuration?");
    } else if holders.iter().any(|holder| holder.name == "ModemManager") {
        text.push_str(
            "; `sudo systemctl stop ModemManager`, or a udev rule with ENV{ID_MM_DEVICE_IGNORE}=\"1\", frees it",
        );
    }
    text
}

/// Returns the name of the group that a device belongs to.
#[cfg(unix)]
fn group_of(port: &str) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let id = fs::metadata(port).ok()?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(not(unix))]
fn group_of(_port: &str) -> Option<String> {
    None
}

/// Finds the processes that have a device open, as far as we may look.
pub fn holders_of(port: &str) -> Vec<Holder> {
    let Ok(device) = fs::canonicalize(port) else {
        return Vec::new();
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
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
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        let port = || "/dev/ttyUSB0".to_owned();
        let holder = |process, name: &str| Holder { process, name: name.to_owned() };
        for (error, text) in [
            (
                PortError::NotFound { port: port(), others: vec!["/dev/ttyACM0".to_owned(), "/dev/ttyS0".to_owned()] },
                "there is no serial port /dev/ttyUSB0; there are /dev/ttyACM0, /dev/ttyS0",
            ),
            (
                PortError::NotFound { port: port(), others: vec![] },
                "there is no serial port /dev/ttyUSB0; this machine has none at present: is the device plugged in?",
            ),
            (
                PortError::NoPermission { port: port(), group: Some("dialout".to_owned()) },
                "no permission to open /dev/ttyUSB0; it belongs to the group \"dialout\": \
                 `sudo usermod -aG dialout $USER`, then log in again (for a service: SupplementaryGroups=dialout)",
            ),
            (
                PortError::Busy { port: port(), holders: vec![holder(7, "minicom"), holder(8, "cat")] },
                "/dev/ttyUSB0 is in use by minicom (process 7), cat (process 8)",
            ),
            (
                PortError::Busy { port: port(), holders: vec![holder(std::process::id(), "gateway")] },
                &format!(
                    "/dev/ttyUSB0 is in use by gateway (process {}); does the port stand twice in the configuration?",
                    std::process::id()
                ),
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
        let modem_manager = PortError::Busy { port: port(), holders: vec![holder(9, "ModemManager")] };
        assert!(modem_manager.to_string().contains("systemctl stop ModemManager"), "{modem_manager}");
        let many = PortError::NotFound { port: port(), others: vec!["x".to_owned(); 32] };
        assert!(many.to_string().ends_with("and 24 more"), "{many}");
    }

    #[cfg(unix)]
    #[test]
    fn the_group_of_a_device_is_found() {
        use std::os::unix::fs::MetadataExt;

        let gid = fs::metadata("/dev/null").unwrap().gid();
        let group = group_of("/dev/null").unwrap();
        assert!(fs::read_to_string("/etc/group").unwrap().contains(&format!("{group}:x:{gid}:")), "{group}");
    }
}
