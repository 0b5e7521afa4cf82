//! What the command line says instead of the file.

use super::problem::Source;
use super::raw::{RawConfig, RawSerial, RawUdp};
use crate::links::SerialArgument;
use crate::links::serial::Inventory;

/// Values from flags; what is not given leaves the file's word standing. They are checked as the file's are.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub broker: Option<String>,
    /// Where a broker of the gateway's own is to listen.
    pub embedded_broker: Option<String>,
    pub udp: Vec<String>,
    pub serial: Vec<SerialArgument>,
    pub mode: Option<String>,
    pub data_dir: Option<String>,
    pub log: Option<String>,
    pub log_format: Option<String>,
    /// The machine whose serial ports are meant, if not this one.
    pub inventory: Inventory,
}

impl Overrides {
    /// Writes the flags over the file. A list from flags replaces the whole list of the file.
    pub(super) fn apply(&self, raw: &mut RawConfig, source: &mut Source<'_>) {
        let Self { broker, embedded_broker, udp, serial, mode, data_dir, log, log_format, inventory } = self;
        let mut set = |slot: &mut String, value: &Option<String>, path, flag| {
            if let Some(value) = value {
                slot.clone_from(value);
                source.replaced(path, flag);
            }
        };
        set(&mut raw.broker.url, broker, &["broker", "url"], "--broker");
        set(&mut raw.gateway.mode, mode, &["gateway", "mode"], "--mode");
        set(&mut raw.gateway.data_dir, data_dir, &["gateway", "data_dir"], "--data-dir");
        set(&mut raw.log.level, log, &["log", "level"], "--log or RUST_LOG");
        set(&mut raw.log.format, log_format, &["log", "format"], "--log-format");
        if !udp.is_empty() {
            raw.udp = Some(udp.iter().map(|listen| RawUdp { listen: listen.clone(), ..RawUdp::default() }).collect());
            source.replaced(&["udp"], "--udp");
        }
        if !serial.is_empty() {
            raw.serial = serial.iter().map(section).collect();
            source.replaced(&["serial"], "--serial");
        }
        raw.inventory.clone_from(inventory);
        if let Some(address) = embedded_broker {
            raw.broker.be_embedded(address);
            source.replaced(&["broker"], "--embedded-broker");
        }
    }
}

fn section(argument: &SerialArgument) -> RawSerial {
    let SerialArgument { port, baud, framing } = argument;
    RawSerial { baud: *baud, framing: framing.clone(), ..RawSerial::named(&port.to_string()) }
}
