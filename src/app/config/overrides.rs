//! What the command line says instead of the file.

use std::num::NonZeroU32;
use std::str::FromStr;

use super::problem::Source;
use super::raw::{RawConfig, RawSerial, RawUdp};

/// Values from flags; what is not given leaves the file's word standing. They are checked as the file's are.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub broker: Option<String>,
    /// Where a broker of the gateway's own is to listen.
    pub embedded_broker: Option<String>,
    pub udp: Vec<String>,
    pub serial: Vec<SerialFlag>,
    pub mode: Option<String>,
    pub data_dir: Option<String>,
    pub log: Option<String>,
    pub log_format: Option<String>,
}

/// `--serial PORT[,baud=N][,framing=F]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialFlag {
    port: String,
    baud: Option<NonZeroU32>,
    framing: Option<String>,
}

impl Overrides {
    /// Writes the flags over the file. A list from flags replaces the whole list of the file.
    pub(super) fn apply(&self, raw: &mut RawConfig, source: &mut Source<'_>) {
        let Self { broker, embedded_broker, udp, serial, mode, data_dir, log, log_format } = self;
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
            raw.serial = serial.iter().map(SerialFlag::as_section).collect();
            source.replaced(&["serial"], "--serial");
        }
        if let Some(address) = embedded_broker {
            raw.broker.be_embedded(address);
            source.replaced(&["broker"], "--embedded-broker");
        }
    }
}

impl SerialFlag {
    fn as_section(&self) -> RawSerial {
        RawSerial { baud: self.baud, framing: self.framing.clone(), ..RawSerial::named(&self.port) }
    }
}

impl FromStr for SerialFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let port = parts.next().unwrap_or_default().to_owned();
        if port.is_empty() {
            return Err("the port's name comes first, as in /dev/ttyUSB0,baud=57600".into());
        }
        let mut flag = Self { port, baud: None, framing: None };
        for part in parts {
            match part.split_once('=') {
                Some(("baud", baud)) => {
                    let wrong = |_| format!("baud={baud} is not a baud rate; write a number, as in baud=57600");
                    flag.baud = Some(baud.parse().map_err(wrong)?);
                }
                Some(("framing", framing)) => flag.framing = Some(framing.to_owned()),
                _ => return Err(format!("{part:?} is unknown; behind the port stand baud=N and framing=F")),
            }
        }
        Ok(flag)
    }
}
