//! A machine for tests: a `dev` and a `sys` in a folder of their own, into which adapters are plugged.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Inventory;

pub(super) struct Machine {
    root: TempDir,
}

/// What an adapter says of itself.
pub(super) struct Adapter {
    pub(super) vendor: &'static str,
    pub(super) product: &'static str,
    pub(super) serial: Option<&'static str>,
}

pub(super) const CP2102: Adapter = Adapter { vendor: "10c4", product: "ea60", serial: Some("0001") };
pub(super) const CH340: Adapter = Adapter { vendor: "1a86", product: "7523", serial: None };

impl Machine {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["dev/serial/by-id", "sys/class/tty", "sys/devices", "proc"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    pub(super) fn inventory(&self) -> Inventory {
        Inventory::below(self.root.path())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Plugs an adapter in, whose octets come and go at `terminal`.
    pub(super) fn plug(&self, name: &str, terminal: &Path, adapter: &Adapter) {
        let usb = self.path(&format!("sys/devices/usb1/{name}-device"));
        let interface = usb.join("1-1:1.0");
        fs::create_dir_all(interface.join(name)).unwrap();
        let attribute =
            |folder: &Path, name: &str, value: &str| fs::write(folder.join(name), format!("{value}\n")).unwrap();
        attribute(&usb, "idVendor", adapter.vendor);
        attribute(&usb, "idProduct", adapter.product);
        attribute(&usb, "manufacturer", "Acme");
        attribute(&usb, "product", "Serial Dongle");
        attribute(&interface, "bInterfaceNumber", "00");
        if let Some(serial) = adapter.serial {
            attribute(&usb, "serial", serial);
            symlink(format!("../../{name}"), self.by_id(serial)).unwrap();
        }
        self.terminal(name, &interface.join(name));
        symlink(terminal, self.path(&format!("dev/{name}"))).unwrap();
    }

    /// Pulls an adapter out.
    pub(super) fn pull(&self, name: &str, adapter: &Adapter) {
        fs::remove_dir_all(self.path(&format!("sys/class/tty/{name}"))).unwrap();
        fs::remove_file(self.path(&format!("dev/{name}"))).unwrap();
        if let Some(serial) = adapter.serial {
            fs::remove_file(self.by_id(serial)).unwrap();
        }
    }

    /// Makes a terminal known to the system, with the device behind it.
    pub(super) fn terminal(&self, name: &str, device: &Path) {
        let terminal = self.path(&format!("sys/class/tty/{name}"));
        fs::create_dir_all(&terminal).unwrap();
        symlink(device, terminal.join("device")).unwrap();
    }

    pub(super) fn by_id(&self, serial: &str) -> PathBuf {
        self.path(&format!("dev/serial/by-id/usb-Acme_Serial_Dongle_{serial}-if00-port0"))
    }

    /// Starts a process that has a device open.
    pub(super) fn hold(&self, process: u32, command: &str, device: &Path) {
        let process = self.path(&format!("proc/{process}"));
        fs::create_dir_all(process.join("fd")).unwrap();
        fs::write(process.join("comm"), format!("{command}\n")).unwrap();
        symlink(device.canonicalize().unwrap(), process.join("fd/3")).unwrap();
    }
}
