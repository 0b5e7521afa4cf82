//! A machine with serial dongles, as Linux shows them: `dev`, `sys` and `proc` in a folder of their own. The dongles'
//! octets come and go through pseudo-terminals that socat makes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Node;
use super::process::{PATIENCE, Process};

pub struct Machine {
    root: TempDir,
}

/// An adapter in a USB socket.
pub struct Adapter {
    serial: &'static str,
    /// The system's number for it: `ttyUSB0`.
    name: String,
    socat: Process,
    node_end: PathBuf,
}

impl Machine {
    /// A machine without a dongle.
    pub fn new() -> Self {
        let root = TempDir::new().expect("a temporary directory");
        for folder in ["dev/serial/by-id", "sys/class/tty", "sys/devices"] {
            fs::create_dir_all(root.path().join(folder)).expect("a temporary folder");
        }
        symlink("/proc", root.path().join("proc")).expect("a temporary folder");
        Self { root }
    }

    /// What the program needs to find the dongles of this machine.
    pub fn flags(&self) -> [String; 2] {
        ["--sysroot".to_owned(), self.root.path().display().to_string()]
    }

    pub fn device(&self, name: &str) -> PathBuf {
        self.root.path().join("dev").join(name)
    }

    /// The lasting name of the dongle with this serial number.
    pub fn by_id(&self, serial: &str) -> PathBuf {
        self.device(&format!("serial/by-id/usb-Acme_Radio_Dongle_{serial}-if00-port0"))
    }

    /// Plugs in the dongle with this serial number; the system calls it by this name.
    pub fn plug(&self, serial: &'static str, name: &str) -> Adapter {
        let node_end = self.root.path().join(format!("{name}-node"));
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        let mut command = Command::new("socat");
        command.args(["-d", "-d", &end(&self.device(name)), &end(&node_end)]);
        let socat = Process::start("socat", &mut command);
        socat.wait_for("starting data transfer loop");
        self.announce(serial, name);
        Adapter { serial, name: name.to_owned(), socat, node_end }
    }

    /// Pulls a dongle out.
    pub fn pull(&self, mut dongle: Adapter) {
        fs::remove_file(self.by_id(dongle.serial)).expect("it is plugged in");
        fs::remove_dir_all(self.terminal(&dongle.name)).expect("it is plugged in");
        dongle.socat.terminate();
        dongle.socat.wait_for_end(PATIENCE);
    }

    fn announce(&self, serial: &str, name: &str) {
        let usb = self.root.path().join("sys/devices").join(name);
        let interface = usb.join("1-1:1.0");
        fs::create_dir_all(interface.join(name)).expect("a temporary folder");
        let attribute = |folder: &Path, name: &str, value: &str| {
            fs::write(folder.join(name), format!("{value}\n")).expect("a temporary file");
        };
        attribute(&usb, "idVendor", "10c4");
        attribute(&usb, "idProduct", "ea60");
        attribute(&usb, "manufacturer", "Acme");
        attribute(&usb, "product", "Radio Dongle");
        attribute(&usb, "serial", serial);
        attribute(&interface, "bInterfaceNumber", "00");
        fs::create_dir_all(self.terminal(name)).expect("a temporary folder");
        symlink(interface.join(name), self.terminal(name).join("device")).expect("a temporary folder");
        symlink(format!("../../{name}"), self.by_id(serial)).expect("a temporary folder");
    }

    fn terminal(&self, name: &str) -> PathBuf {
        self.root.path().join("sys/class/tty").join(name)
    }
}

impl Adapter {
    /// The device behind the dongle, framing raw.
    pub fn node(&self) -> Node {
        Node::serial(&self.node_end)
    }

    /// Where the octets of the device behind the dongle come and go.
    pub fn node_end(&self) -> &Path {
        &self.node_end
    }
}
