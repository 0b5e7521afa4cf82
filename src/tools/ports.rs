//! `ports`: the serial ports of this machine, with the names to put into a configuration.

use std::io::{self, Write};

use serde::Serialize;

use super::machine::MachineArgs;
use crate::links::serial::{Holder, Inventory, PortError, PortInfo, PortState};

/// What is to be listed, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct PortsArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

/// Lists the ports.
pub fn run(args: &PortsArgs, out: &mut impl Write) -> io::Result<()> {
    let inventory = args.machine.inventory();
    let ports = found(&inventory);
    if args.json {
        let entries: Vec<Entry<'_>> = ports.iter().map(|(port, state)| Entry::new(port, state)).collect();
        serde_json::to_writer_pretty(&mut *out, &entries)?;
        return writeln!(out);
    }
    table(&ports, out)
}

type Found = (PortInfo, PortState);

fn found(inventory: &Inventory) -> Vec<Found> {
    let ports = inventory.ports().into_iter();
    ports.map(|port| (inventory.state(&port), port)).map(|(state, port)| (port, state)).collect()
}

const HEADINGS: [&str; COLUMNS] = ["DEVICE", "USB", "SERIAL NO.", "PRODUCT", "STATE", "NAME TO USE"];
const COLUMNS: usize = 6;

fn table(ports: &[Found], out: &mut impl Write) -> io::Result<()> {
    let is_likely = |(port, state): &&Found| port.usb.is_some() && *state == PortState::Free;
    let Some((example, _)) = ports.iter().find(is_likely).or_else(|| ports.first()) else {
        return writeln!(
            out,
            "There is no serial port at present. Is the dongle plugged in, and does its cable carry data? \
             (On Linux `sudo dmesg | tail` shows what the system has seen of it.)"
        );
    };
    let rows: Vec<[String; COLUMNS]> = ports.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str()).chain([HEADINGS[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    for row in [HEADINGS.map(str::to_owned)].iter().chain(&rows) {
        let line: Vec<String> =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    writeln!(out)?;
    for (port, state) in ports {
        if let Some(trouble) = trouble(port, state) {
            writeln!(out, "{trouble}")?;
        }
    }
    let name = example.proposed_name();
    writeln!(out, "To find out what a device speaks:  mqttsn-gateway probe {name}")?;
    writeln!(out, "To run the gateway on it:          mqttsn-gateway --serial {name},baud=9600,framing=raw")
}

fn row((port, state): &Found) -> [String; COLUMNS] {
    let usb = port.usb.as_ref();
    let text = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    [
        port.device.display().to_string(),
        text(usb.map(|usb| usb.ids.to_string())),
        text(usb.and_then(|usb| usb.serial.clone())),
        text(usb.map(|usb| usb.label())),
        in_words(state),
        port.proposed_name(),
    ]
}

fn in_words(state: &PortState) -> String {
    match state {
        PortState::Free => "free".to_owned(),
        PortState::InUse(holders) => {
            let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
            format!("in use by {}", holders.join(", "))
        }
        PortState::NoPermission { .. } => "no permission".to_owned(),
    }
}

/// What stands in the way and can be removed.
fn trouble(port: &PortInfo, state: &PortState) -> Option<String> {
    let name = port.device.display().to_string();
    match state {
        PortState::NoPermission { group } => {
            Some(PortError::NoPermission { port: name, group: group.clone() }.to_string())
        }
        PortState::InUse(holders) if holders.iter().any(Holder::is_modem_manager) => {
            Some(PortError::Busy { port: name, holders: holders.clone() }.to_string())
        }
        PortState::InUse(_) | PortState::Free => None,
    }
}

/// A port, for programs.
#[derive(Serialize)]
struct Entry<'a> {
    device: String,
    /// What to put into a configuration.
    name: String,
    usb: Option<UsbEntry<'a>>,
    state: &'static str,
    holders: Vec<HolderEntry<'a>>,
    /// The group that may open it, if we may not.
    group: Option<&'a str>,
}

#[derive(Serialize)]
struct UsbEntry<'a> {
    vendor: String,
    product: String,
    serial: Option<&'a str>,
    manufacturer: Option<&'a str>,
    product_name: Option<&'a str>,
    interface: Option<u8>,
}

#[derive(Serialize)]
struct HolderEntry<'a> {
    process: u32,
    name: &'a str,
}

impl<'a> Entry<'a> {
    fn new(port: &'a PortInfo, state: &'a PortState) -> Self {
        let (word, holders, group) = match state {
            PortState::Free => ("free", &[][..], None),
            PortState::InUse(holders) => ("in use", holders.as_slice(), None),
            PortState::NoPermission { group } => ("no permission", &[][..], group.as_deref()),
        };
        Self {
            device: port.device.display().to_string(),
            name: port.proposed_name(),
            usb: port.usb.as_ref().map(|usb| UsbEntry {
                vendor: format!("{:04x}", usb.ids.vendor),
                product: format!("{:04x}", usb.ids.product),
                serial: usb.serial.as_deref(),
                manufacturer: usb.manufacturer.as_deref(),
                product_name: usb.product.as_deref(),
                interface: usb.interface,
            }),
            state: word,
            holders: holders.iter().map(|Holder { process, name }| HolderEntry { process: *process, name }).collect(),
            group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::serial::{UsbDevice, UsbIds};

    fn dongle(device: &str, serial: Option<&str>) -> PortInfo {
        PortInfo {
            device: device.into(),
            lasting: None,
            usb: Some(UsbDevice {
                ids: UsbIds { vendor: 0x10c4, product: 0xea60 },
                serial: serial.map(str::to_owned),
                manufacturer: Some("Silicon Labs".to_owned()),
                product: Some("CP2102".to_owned()),
                interface: Some(0),
            }),
        }
    }

    fn shown(ports: &[Found]) -> String {
        let mut out = Vec::new();
        table(ports, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ports_stand_in_a_table_with_the_name_to_use() {
        let modem_manager = Holder { process: 812, name: "ModemManager".to_owned() };
        let plain = PortInfo { device: "/dev/ttyS0".into(), lasting: None, usb: None };
        let text = shown(&[
            (dongle("/dev/ttyUSB0", Some("0001")), PortState::Free),
            (dongle("/dev/ttyUSB1", None), PortState::InUse(vec![modem_manager])),
            (plain, PortState::NoPermission { group: Some("dialout".to_owned()) }),
        ]);
        let first_lines: Vec<&str> = text.lines().take(4).collect();
        assert_eq!(
            first_lines,
            [
                "DEVICE        USB        SERIAL NO.  PRODUCT              STATE                                 NAME TO USE",
                "/dev/ttyUSB0  10c4:ea60  0001        Silicon Labs CP2102  free                                  usb:10c4:ea60:0001",
                "/dev/ttyUSB1  10c4:ea60  -           Silicon Labs CP2102  in use by ModemManager (process 812)  /dev/ttyUSB1",
                "/dev/ttyS0    -          -           -                    no permission                         /dev/ttyS0",
            ]
        );
        assert!(text.contains("systemctl stop ModemManager") && text.contains("usermod -aG dialout"), "{text}");
        assert!(text.contains("mqttsn-gateway probe usb:10c4:ea60:0001\n"), "{text}");
    }

    #[test]
    fn a_machine_without_ports_is_told_so() {
        assert!(shown(&[]).starts_with("There is no serial port at present."));
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let holder = Holder { process: 7, name: "minicom".to_owned() };
        let (port, state) = (dongle("/dev/ttyUSB0", Some("0001")), PortState::InUse(vec![holder]));
        let entry = serde_json::to_value(Entry::new(&port, &state)).unwrap();
        let expected = serde_json::json!({
            "device": "/dev/ttyUSB0",
            "name": "usb:10c4:ea60:0001",
            "usb": {
                "vendor": "10c4",
                "product": "ea60",
                "serial": "0001",
                "manufacturer": "Silicon Labs",
                "product_name": "CP2102",
                "interface": 0,
            },
            "state": "in use",
            "holders": [{ "process": 7, "name": "minicom" }],
            "group": null,
        });
        assert_eq!(entry, expected);
    }
}
