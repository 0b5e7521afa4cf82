//! Serial ports as Linux shows them below `/sys/class/tty`, with the lasting names that udev gives below `/dev/serial`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::inventory::{PortInfo, UsbDevice, actual};
use super::name::{UsbIds, hex_id};

/// Finds the ports of the machine whose `dev` and `sys` are below `root`.
pub(super) fn ports(root: &Path) -> Vec<PortInfo> {
    let devices = root.join("dev");
    let lasting = lasting_names(&devices.join("serial"));
    let terminals = fs::read_dir(root.join("sys/class/tty")).into_iter().flatten().flatten();
    terminals
        .filter_map(|terminal| {
            let device = devices.join(terminal.file_name());
            (is_serial(&terminal.path()) && device.exists()).then(|| PortInfo {
                lasting: lasting.get(&actual(&device)).cloned(),
                usb: usb_device(&terminal.path().join("device")),
                device,
            })
        })
        .collect()
}

/// Consoles and pseudo-terminals have no device behind them. The old names `ttyS0` to `ttyS31` always have one, and a
/// type other than 0 only where there is a chip.
fn is_serial(terminal: &Path) -> bool {
    terminal.join("device").exists() && text(&terminal.join("type")).is_none_or(|kind| kind != "0")
}

/// By what an adapter is, and for adapters that cannot be told apart by the socket that they are plugged into.
fn lasting_names(folder: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let mut names = BTreeMap::new();
    for kind in ["by-id", "by-path"] {
        let links = fs::read_dir(folder.join(kind)).into_iter().flatten().flatten();
        let mut links: Vec<PathBuf> = links.map(|link| link.path()).collect();
        links.sort();
        for link in links {
            if let Ok(device) = link.canonicalize() {
                names.entry(device).or_insert(link);
            }
        }
    }
    names
}

/// The terminal's device lies somewhere below the interface of its USB device, and that below the device itself.
fn usb_device(device: &Path) -> Option<UsbDevice> {
    let device = device.canonicalize().ok()?;
    let usb = device.ancestors().find(|folder| folder.join("idVendor").exists())?;
    let interface = device.ancestors().find_map(|folder| text(&folder.join("bInterfaceNumber")));
    let id = |name: &str| hex_id(&text(&usb.join(name))?);
    Some(UsbDevice {
        ids: UsbIds { vendor: id("idVendor")?, product: id("idProduct")? },
        serial: text(&usb.join("serial")),
        manufacturer: text(&usb.join("manufacturer")),
        product: text(&usb.join("product")),
        interface: interface.and_then(|number| u8::from_str_radix(&number, 16).ok()),
    })
}

/// Reads an attribute. What a device says of itself need not be fit for a terminal.
fn text(attribute: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(attribute).ok()?).replace(|c: char| c.is_control(), " ");
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
