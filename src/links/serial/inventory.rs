//! The serial ports of this machine: their lasting names, the USB adapters behind them, and who holds them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::holders::{self, Holder};
use super::name::{PortName, UsbIds, UsbMatch};
use super::{PortError, permission};

/// What the system says of its serial ports, read anew at every question. The machine's own by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Where `dev`, `sys` and `proc` are.
    root: PathBuf,
}

/// A serial port of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// As the system counts it at present: `/dev/ttyUSB0`, `COM3`.
    pub device: PathBuf,
    /// The name that stays the same however often the adapter is plugged in again, if the system gives one.
    pub lasting: Option<PathBuf>,
    pub usb: Option<UsbDevice>,
}

/// A USB device, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbDevice {
    pub ids: UsbIds,
    /// Cheap adapters have none.
    pub serial: Option<String>,
    pub manufacturer: Option<String>,
    pub product: Option<String>,
    /// Which of the device's interfaces the port is; some adapters have several ports.
    pub interface: Option<u8>,
}

/// Whether a port could be opened, as far as can be seen without opening it: that resets most boards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    Free,
    InUse(Vec<Holder>),
    /// We may not open it; the group may that it belongs to.
    NoPermission {
        group: Option<String>,
    },
}

impl Default for Inventory {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Inventory {
    /// Looks at a machine whose `dev`, `sys` and `proc` are below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the serial ports, in the order of their names.
    pub fn ports(&self) -> Vec<PortInfo> {
        let mut ports = system::ports(&self.root);
        ports.sort_by_key(|port| natural(&port.device));
        ports
    }

    /// Returns what is known of the port behind a device's name, if that is one of [`Inventory::ports`].
    pub fn describe(&self, device: &Path) -> Option<PortInfo> {
        let wanted = actual(device);
        self.ports().into_iter().find(|port| actual(&port.device) == wanted)
    }

    /// Returns what the port can be expected to say when it is opened.
    pub fn state(&self, port: &PortInfo) -> PortState {
        let holders = self.holders(&port.device);
        if !holders.is_empty() {
            return PortState::InUse(holders);
        }
        match permission::may_open(&port.device) {
            true => PortState::Free,
            false => PortState::NoPermission { group: permission::group_of(&port.device) },
        }
    }

    /// Returns the processes that have the device open, as far as we may look.
    pub fn holders(&self, device: &Path) -> Vec<Holder> {
        holders::of(&self.root.join("proc"), device)
    }

    /// Finds the device that a name means at present. A device that is not there under its name is looked for by what
    /// it was when it was last open.
    pub(super) fn resolve(&self, name: &PortName, former: Option<&UsbDevice>) -> Result<PathBuf, PortError> {
        match name {
            PortName::Device(device) => {
                let device = PathBuf::from(device);
                match former {
                    Some(former) if !device.exists() => Ok(self.moved(former).unwrap_or(device)),
                    Some(_) | None => Ok(device),
                }
            }
            PortName::Usb(wanted) => self.only_match(wanted),
            PortName::Tcp { .. } => Ok(PathBuf::from(name.to_string())),
        }
    }

    /// Returns the names of all ports, those that find them again where there are such.
    pub(super) fn names(&self) -> Vec<String> {
        self.ports().iter().map(PortInfo::proposed_name).collect()
    }

    /// Finds an adapter again whose number has changed. Only one that can be told from others of its kind.
    fn moved(&self, former: &UsbDevice) -> Option<PathBuf> {
        former.serial.as_ref()?;
        let mut same = self.ports().into_iter().filter(|port| {
            let usb = port.usb.as_ref();
            usb.is_some_and(|usb| {
                (usb.ids, &usb.serial, usb.interface) == (former.ids, &former.serial, former.interface)
            })
        });
        let found = same.next()?;
        same.next().is_none().then_some(found.device)
    }

    fn only_match(&self, wanted: &UsbMatch) -> Result<PathBuf, PortError> {
        let ports = self.ports();
        let mut fitting: Vec<&PortInfo> =
            ports.iter().filter(|port| port.usb.as_ref().is_some_and(|usb| usb.fits(wanted))).collect();
        match (fitting.pop(), fitting.is_empty()) {
            (Some(only), true) => Ok(only.device.clone()),
            (Some(last), false) => {
                fitting.push(last);
                let fitting = fitting.iter().map(|port| port.to_string()).collect();
                Err(PortError::Ambiguous { port: wanted.to_string(), fitting })
            }
            (None, _) => {
                let others = ports.iter().map(ToString::to_string).collect();
                Err(PortError::NotFound { port: wanted.to_string(), others })
            }
        }
    }
}

impl PortInfo {
    /// Returns the name to put into a configuration: one that finds the port again, if there is one.
    pub fn proposed_name(&self) -> String {
        match (&self.lasting, &self.usb) {
            (Some(lasting), _) => lasting.display().to_string(),
            (None, Some(usb)) if usb.serial.is_some() => usb.as_match().to_string(),
            (None, Some(_) | None) => self.device.display().to_string(),
        }
    }
}

/// The port's name, and how its adapter would be matched: `/dev/ttyUSB0 (usb:10c4:ea60:0001)`.
impl fmt::Display for PortInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.device.display())?;
        match &self.usb {
            Some(usb) => write!(f, " ({})", usb.as_match()),
            None => Ok(()),
        }
    }
}

impl UsbDevice {
    pub fn fits(&self, wanted: &UsbMatch) -> bool {
        self.ids == wanted.ids && (wanted.serial.is_none() || wanted.serial == self.serial)
    }

    /// Returns the match that fits this device, and no other if it has a serial number.
    pub fn as_match(&self) -> UsbMatch {
        UsbMatch { ids: self.ids, serial: self.serial.clone() }
    }

    /// Returns how the device calls itself: manufacturer and product, without saying anything twice.
    pub fn label(&self) -> String {
        match (&self.manufacturer, &self.product) {
            (Some(manufacturer), Some(product)) if product.starts_with(manufacturer.as_str()) => product.clone(),
            (Some(manufacturer), Some(product)) => format!("{manufacturer} {product}"),
            (Some(only), None) | (None, Some(only)) => only.clone(),
            (None, None) => String::new(),
        }
    }
}

/// Returns the device behind all links, or the name itself if there is none.
pub(super) fn actual(device: &Path) -> PathBuf {
    device.canonicalize().unwrap_or_else(|_| device.to_owned())
}

/// Sorts `ttyUSB10` behind `ttyUSB9`.
fn natural(device: &Path) -> (String, u64) {
    let name = device.to_string_lossy();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), name[stem.len()..].parse().unwrap_or(0))
}

#[cfg(target_os = "linux")]
use super::sysfs as system;

/// Systems that are asked through the library.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    use serialport::SerialPortType;

    use super::{PortInfo, UsbDevice, UsbIds};

    pub(super) fn ports(_root: &Path) -> Vec<PortInfo> {
        let ports = serialport::available_ports().unwrap_or_default();
        ports
            .into_iter()
            .map(|port| PortInfo {
                device: port.port_name.into(),
                lasting: None,
                usb: match port.port_type {
                    SerialPortType::UsbPort(usb) => Some(UsbDevice {
                        ids: UsbIds { vendor: usb.vid, product: usb.pid },
                        serial: usb.serial_number,
                        manufacturer: usb.manufacturer,
                        product: usb.product,
                        interface: None,
                    }),
                    SerialPortType::PciPort | SerialPortType::BluetoothPort | SerialPortType::Unknown => None,
                },
            })
            .collect()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::{self, File};

    use super::super::machine::{Adapter, CH340, CP2102, Machine};
    use super::*;

    /// A device file for an adapter to lead to.
    fn terminal(machine: &Machine, name: &str) -> PathBuf {
        let path = machine.path(name);
        File::create(&path).unwrap();
        path
    }

    fn find(machine: &Machine, name: &str) -> Result<PathBuf, PortError> {
        machine.inventory().resolve(&name.parse().unwrap(), None)
    }

    #[test]
    fn adapters_are_listed_in_the_order_of_their_numbers_with_what_they_say_of_themselves() {
        let machine = Machine::new();
        machine.plug("ttyUSB10", &terminal(&machine, "a"), &CH340);
        machine.plug("ttyUSB2", &terminal(&machine, "b"), &CP2102);
        let ports = machine.inventory().ports();
        let [cp2102, ch340] = ports.as_slice() else { panic!("{ports:?}") };
        assert_eq!(cp2102.device, machine.path("dev/ttyUSB2"));
        assert_eq!(cp2102.lasting, Some(machine.by_id("0001")));
        let usb = cp2102.usb.as_ref().unwrap();
        assert_eq!((usb.as_match().to_string().as_str(), usb.interface), ("usb:10c4:ea60:0001", Some(0)));
        assert_eq!(usb.label(), "Acme Serial Dongle");
        assert_eq!(cp2102.proposed_name(), machine.by_id("0001").display().to_string());
        assert_eq!(ch340.device, machine.path("dev/ttyUSB10"));
        assert_eq!(ch340.usb.as_ref().unwrap().as_match().to_string(), "usb:1a86:7523");
        assert_eq!(ch340.proposed_name(), machine.path("dev/ttyUSB10").display().to_string());
    }

    #[test]
    fn consoles_and_sockets_without_a_chip_are_no_ports() {
        let machine = Machine::new();
        fs::create_dir_all(machine.path("sys/class/tty/tty0")).unwrap();
        fs::create_dir_all(machine.path("sys/devices/platform")).unwrap();
        for (name, kind) in [("ttyS0", "4"), ("ttyS1", "0")] {
            terminal(&machine, &format!("dev/{name}"));
            machine.terminal(name, &machine.path("sys/devices/platform"));
            fs::write(machine.path(&format!("sys/class/tty/{name}/type")), kind).unwrap();
        }
        let ports = machine.inventory().ports();
        let [port] = ports.as_slice() else { panic!("{ports:?}") };
        assert_eq!((port.device.clone(), port.usb.clone()), (machine.path("dev/ttyS0"), None));
    }

    #[test]
    fn an_adapter_is_found_by_what_it_is() {
        let machine = Machine::new();
        machine.plug("ttyUSB0", &terminal(&machine, "a"), &CH340);
        machine.plug("ttyUSB1", &terminal(&machine, "b"), &CP2102);
        assert_eq!(find(&machine, "usb:10c4:ea60"), Ok(machine.path("dev/ttyUSB1")));
        assert_eq!(find(&machine, "usb:10c4:ea60:0001"), Ok(machine.path("dev/ttyUSB1")));
        assert_eq!(find(&machine, "usb:1a86:7523"), Ok(machine.path("dev/ttyUSB0")));
        let error = find(&machine, "usb:10c4:ea60:0002").unwrap_err().to_string();
        assert!(error.starts_with("there is no serial port usb:10c4:ea60:0002; there are "), "{error}");
        assert!(error.ends_with("/dev/ttyUSB1 (usb:10c4:ea60:0001)"), "{error}");
    }

    #[test]
    fn two_adapters_that_fit_are_told_apart_by_the_user() {
        let machine = Machine::new();
        machine.plug("ttyUSB0", &terminal(&machine, "a"), &CP2102);
        machine.plug("ttyUSB1", &terminal(&machine, "b"), &Adapter { serial: Some("0002"), ..CP2102 });
        let error = find(&machine, "usb:10c4:ea60").unwrap_err();
        let PortError::Ambiguous { fitting, .. } = &error else { panic!("{error:?}") };
        assert!(fitting[0].ends_with("(usb:10c4:ea60:0001)") && fitting[1].ends_with("(usb:10c4:ea60:0002)"));
        assert_eq!(find(&machine, "usb:10c4:ea60:0002"), Ok(machine.path("dev/ttyUSB1")));
    }

    #[test]
    fn an_adapter_with_a_serial_number_is_found_again_under_another_number() {
        let machine = Machine::new();
        let (there, gone) = (terminal(&machine, "a"), machine.path("dev/ttyUSB0"));
        machine.plug("ttyUSB0", &there, &CP2102);
        let former = machine.inventory().describe(&gone).unwrap().usb.unwrap();
        let name = PortName::Device(gone.display().to_string());
        machine.pull("ttyUSB0", &CP2102);
        assert_eq!(machine.inventory().resolve(&name, Some(&former)), Ok(gone.clone()));
        machine.plug("ttyUSB1", &there, &CP2102);
        assert_eq!(machine.inventory().resolve(&name, Some(&former)), Ok(machine.path("dev/ttyUSB1")));
        assert_eq!(machine.inventory().resolve(&name, None), Ok(gone.clone()));
        let nameless = UsbDevice { serial: None, ..former };
        assert_eq!(machine.inventory().resolve(&name, Some(&nameless)), Ok(gone));
    }

    #[test]
    fn the_state_of_a_port_names_its_holders() {
        let machine = Machine::new();
        machine.plug("ttyUSB0", &terminal(&machine, "a"), &CP2102);
        let inventory = machine.inventory();
        let port = inventory.ports().remove(0);
        assert_eq!(inventory.state(&port), PortState::Free);
        machine.hold(12, "ModemManager", &port.device);
        let holder = Holder { process: 12, name: "ModemManager".to_owned() };
        assert_eq!(inventory.state(&port), PortState::InUse(vec![holder.clone()]));
        let error = PortError::Busy { port: "x".to_owned(), holders: vec![holder] };
        assert!(error.to_string().contains("systemctl stop ModemManager"), "{error}");
    }
}
