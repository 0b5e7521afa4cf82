//! The configuration: read from a file, overridden by flags, checked once; what comes out needs no further checking.

mod check;
mod limits;
mod links;
mod mistakes;
mod multicast;
mod outage;
mod overrides;
mod problem;
mod raw;
mod topics;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytestring::ByteString;

use crate::broker::{BrokerSettings, ClientSettings};
pub use crate::core::Mode;
use crate::core::topics::TopicName;
use crate::core::{Limits, LinkId, LinkSettings, OutageSettings, PrefixTemplate, QueueRule, Settings, Timers};
use crate::links::{LinkConfig, SerialSettings, UdpSettings};
use crate::ops::logging::LogFormat;
use crate::wire::{GwId, TopicId};

pub use limits::{ChangedLimit, Queues, changed as changed_limits};
pub use outage::Keeping;
pub use overrides::Overrides;
pub use problem::ConfigError;

use problem::Source;
use raw::RawConfig;

/// The file that is read from the working directory when none is named.
pub const DEFAULT_FILE: &str = "gateway.toml";

/// What the gateway is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, if any.
    pub file: Option<PathBuf>,
    pub gw_id: GwId,
    pub name: String,
    pub mode: Mode,
    pub broker: BrokerSettings,
    pub devices: Devices,
    /// Where the gateway runs a broker of its own, if it does; `broker` is then completed when that broker listens.
    pub embedded_broker: Option<SocketAddr>,
    /// UDP listeners come first, then serial ports; [`LinkId`]s count through both.
    pub udp: Vec<Udp>,
    pub serial: Vec<Serial>,
    pub predefined: BTreeMap<TopicId, TopicName>,
    pub topic_prefix: PrefixTemplate,
    pub keeping: Keeping,
    /// Messages while the broker is away.
    pub outage: OutageSettings,
    pub queue: Vec<QueueRule>,
    pub timers: Timers,
    /// How long the gateway rests under load, to take what comes meanwhile together.
    pub gather: Duration,
    pub limits: Limits,
    pub queues: Queues,
    pub log: Log,
}

/// As whom devices come to the broker over connections of their own: in mode "transparent".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// `{client_id}` in it stands for the device's own.
    pub client_id: String,
    /// In place of the gateway's, with the same placeholder; the password is the gateway's.
    pub username: Option<String>,
}

/// One UDP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    pub settings: UdpSettings,
    pub link: LinkSettings,
}

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial {
    pub settings: SerialSettings,
    pub link: LinkSettings,
    /// Which of `baud` and `framing` nobody has chosen: the first things to look at when a device stays silent.
    pub assumed: Vec<&'static str>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level or a filter in the syntax of `RUST_LOG`.
    pub level: String,
    pub format: LogFormat,
}

impl Config {
    /// Reads the named file, or `gateway.toml` in the working directory if there is one, or else the defaults; then
    /// applies the flags.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        match file {
            Some(file) => Self::read(file, overrides),
            None if Path::new(DEFAULT_FILE).exists() => Self::read(Path::new(DEFAULT_FILE), overrides),
            None => Self::parse("the defaults", "", overrides),
        }
    }

    fn read(file: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::unreadable(&name, &error))?;
        let config = Self::parse(&name, &text, overrides)?;
        Ok(Self { file: Some(file.to_owned()), ..config })
    }

    fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut source = Source::new(file, text);
        let mut raw = source.read::<RawConfig>()?;
        overrides.apply(&mut raw, &mut source);
        check::check(raw).map_err(|problem| source.locate(problem))
    }

    /// Returns what the core is told.
    pub fn core_settings(&self) -> Settings {
        let links = self.udp.iter().map(|udp| udp.link).chain(self.serial.iter().map(|serial| serial.link));
        Settings {
            gw_id: self.gw_id,
            mode: self.mode,
            topic_prefix: self.topic_prefix.clone(),
            durability: self.keeping.durability,
            outage: self.outage.clone(),
            queue: self.queue.clone(),
            timers: self.timers,
            limits: self.limits,
            predefined: self.predefined.clone(),
            links: link_ids().zip(links).collect(),
            reserved_client_id: self.reserved_client_id().map(ByteString::from),
            hash_seed: fastrand::u64(..),
        }
    }

    /// Returns the client id that no device may have, because it would be the gateway's own at the broker.
    fn reserved_client_id(&self) -> Option<String> {
        match self.mode {
            Mode::Aggregating => None,
            Mode::Transparent => {
                let client_id = self.devices.client_id.clone();
                ClientSettings { client_id, ..ClientSettings::default() }.client_called(&self.broker.client_id)
            }
        }
    }

    /// Returns the links to open.
    pub fn links(&self) -> Vec<(LinkId, LinkConfig)> {
        let udp = self.udp.iter().map(|udp| LinkConfig::Udp(udp.settings.clone()));
        let serial = self.serial.iter().map(|serial| LinkConfig::Serial(serial.settings.clone()));
        link_ids().zip(udp.chain(serial)).collect()
    }
}

fn link_ids() -> impl Iterator<Item = LinkId> {
    (0..=u16::MAX).map(LinkId)
}

#[cfg(test)]
mod tests;
