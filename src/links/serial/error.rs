//! Why a port cannot be opened, in words that say what to do.

use std::io;
use std::path::Path;

use super::holders::Holder;
use super::inventory::Inventory;
use super::permission;

/// Why a serial port cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("there is no serial port {port}; {}", list_ports(.others))]
    NotFound { port: String, others: Vec<String> },
    #[error("{port} fits more than one port: {}; add the serial number, or name the port itself", .fitting.join(", "))]
    Ambiguous { port: String, fitting: Vec<String> },
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
    #[error(
        "nobody listens on {port}; is the serial server running, and is the port the one that hands raw octets through?"
    )]
    ServerRefuses { port: String },
    #[error("{port} does not answer; is the serial server switched on, and is the address right?")]
    ServerSilent { port: String },
    #[error(
        "the host of {port} is not known; is its name right? An address does as well, as in tcp://192.168.1.20:4000"
    )]
    ServerUnknown { port: String },
    #[error("cannot open {port}: {reason}")]
    Other { port: String, reason: String },
}

impl PortError {
    /// Makes an error of what the system said about `device`, which people know as `port`.
    pub(super) fn from_system(port: &str, device: &Path, inventory: &Inventory, error: &io::Error) -> Self {
        let port = port.to_owned();
        match error.raw_os_error() {
            Some(ENOENT | ENXIO | ENODEV) => Self::NotFound { port, others: inventory.names() },
            Some(EACCES | EPERM) => Self::NoPermission { port, group: permission::group_of(device) },
            Some(EBUSY) => Self::Busy { port, holders: inventory.holders(device) },
            Some(EIO) => Self::NoHardware { port, others: inventory.names() },
            Some(ENOTTY) => Self::NotSerial { port },
            Some(_) | None => Self::Other { port, reason: error.to_string() },
        }
    }

    /// Makes an error of what the library said about a port that exists and may be opened.
    pub(super) fn from_serialport(
        port: &str,
        device: &Path,
        inventory: &Inventory,
        baud: u32,
        error: serialport::Error,
    ) -> Self {
        let port = port.to_owned();
        match error.kind {
            // The library says so when it did not get its lock. Only on Windows it can be a port that is not there.
            serialport::ErrorKind::NoDevice if cfg!(windows) => Self::NotFound { port, others: inventory.names() },
            serialport::ErrorKind::NoDevice => Self::Busy { port, holders: inventory.holders(device) },
            serialport::ErrorKind::InvalidInput => Self::BaudRate { port, baud },
            serialport::ErrorKind::Io(io::ErrorKind::NotFound) => Self::NotFound { port, others: inventory.names() },
            serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => Self::Busy { port, holders: Vec::new() },
            serialport::ErrorKind::Io(_) | serialport::ErrorKind::Unknown => {
                Self::Other { port, reason: error.description }
            }
        }
    }

    /// Makes an error of what came of connecting to a serial server.
    pub(super) fn from_network(port: &str, error: &io::Error) -> Self {
        let port = port.to_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ServerRefuses { port },
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::ServerSilent { port }
            }
            _ => Self::Other { port, reason: error.to_string() },
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

fn list_ports(ports: &[String]) -> String {
    /// Names in one message; machines with dozens of ports exist.
    const SHOWN: usize = 8;
    match ports {
        [] => "this machine has none at present: is the device plugged in?".to_owned(),
        [only] => format!("there is {only}"),
        _ if ports.len() > SHOWN => format!("there are {} and {} more", ports[..SHOWN].join(", "), ports.len() - SHOWN),
        _ => format!("there are {}", ports.join(", ")),
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
    let names = holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let remedy = if holders.is_empty() {
        return format!("another program, which `sudo fuser -v {port}` names; often it is ModemManager");
    } else if holders.iter().any(|holder| holder.process == std::process::id()) {
        "; does the port stand twice in the configuration?"
    } else if holders.iter().any(Holder::is_modem_manager) {
        "; `sudo systemctl stop ModemManager`, or a udev rule with ENV{ID_MM_DEVICE_IGNORE}=\"1\", frees it"
    } else {
        ""
    };
    names + remedy
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
                PortError::NotFound { port: port(), others: vec!["/dev/ttyACM0".to_owned()] },
                "there is no serial port /dev/ttyUSB0; there is /dev/ttyACM0",
            ),
            (
                PortError::NotFound { port: port(), others: vec![] },
                "there is no serial port /dev/ttyUSB0; this machine has none at present: is the device plugged in?",
            ),
            (
                PortError::Ambiguous { port: "usb:10c4:ea60".to_owned(), fitting: vec!["a".into(), "b".into()] },
                "usb:10c4:ea60 fits more than one port: a, b; add the serial number, or name the port itself",
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
}
