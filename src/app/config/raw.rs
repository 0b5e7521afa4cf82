//! The configuration file as it is written: one struct for each section, one field for each key.
//!
//! What a default is, is said here once; `gateway.toml` repeats it, and a test compares the two.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

use super::limits::RawLimits;
use super::outage;
use crate::core::{Durability, LinkSettings, OutageSettings, Timers};
use crate::links::UdpSettings;
use crate::links::serial::Inventory;
use crate::store::StoreSettings;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) gateway: RawGateway,
    pub(super) broker: RawBroker,
    /// `None` is the default listener; `udp = []` is no listener.
    pub(super) udp: Option<Vec<RawUdp>>,
    pub(super) serial: Vec<RawSerial>,
    pub(super) store: RawStore,
    pub(super) outage: RawOutage,
    pub(super) queue: Vec<RawQueue>,
    pub(super) predefined: BTreeMap<String, String>,
    pub(super) timers: RawTimers,
    pub(super) limits: RawLimits,
    pub(super) log: RawLog,
    /// From the command line only: where the serial ports are looked for.
    #[serde(skip)]
    pub(super) inventory: Inventory,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGateway {
    pub(super) id: u8,
    pub(super) name: String,
    pub(super) mode: String,
    pub(super) data_dir: String,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBroker {
    pub(super) url: String,
    /// From the command line only: where a broker of the gateway's own listens.
    #[serde(skip)]
    pub(super) embedded: Option<String>,
    pub(super) protocol: String,
    pub(super) client_id: String,
    pub(super) topic_prefix: String,
    pub(super) device_client_id: String,
    pub(super) device_username: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) password_file: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) keep_alive: Span,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUdp {
    pub(super) listen: String,
    pub(super) max_frame: usize,
    pub(super) receive_buffer: usize,
    pub(super) send_buffer: usize,
    pub(super) batch: usize,
    pub(super) qos_minus_one: bool,
    pub(super) multicast: Vec<String>,
    pub(super) multicast_interfaces: Vec<String>,
    pub(super) multicast_ttl: u8,
    pub(super) advertise: SpanOrNever,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSerial {
    pub(super) port: String,
    pub(super) baud: Option<NonZeroU32>,
    pub(super) framing: Option<String>,
    pub(super) format: Option<String>,
    pub(super) flow_control: Option<String>,
    pub(super) dtr: Option<bool>,
    pub(super) rts: Option<bool>,
    pub(super) max_frame: Option<usize>,
    pub(super) gap: Option<Span>,
    pub(super) receive_gap: Option<Span>,
    pub(super) settle: Option<Span>,
    pub(super) reopen_after: Option<Span>,
    pub(super) reopen_at_most: Option<Span>,
    pub(super) send_queue: Option<usize>,
    pub(super) qos_minus_one: Option<bool>,
    pub(super) advertise: Option<SpanOrNever>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStore {
    pub(super) on_failure: String,
    pub(super) commit_every: Span,
    pub(super) commit_bytes: u64,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOutage {
    pub(super) policy: String,
    pub(super) qos0: String,
    pub(super) max_age: SpanOrNever,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) topic: Vec<RawOutageTopic>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutageTopic {
    pub(super) filter: String,
    pub(super) policy: Option<String>,
    pub(super) qos0: Option<String>,
    pub(super) max_age: Option<SpanOrNever>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQueue {
    pub(super) filter: String,
    pub(super) policy: Option<String>,
    pub(super) max_age: Option<SpanOrNever>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTimers {
    pub(super) t_retry: Span,
    pub(super) n_retry: u8,
    pub(super) t_wait: Span,
    pub(super) keep_alive_tolerance: f64,
    pub(super) idle_limit: SpanOrNever,
    pub(super) session_expiry: Span,
    pub(super) broker_wait: Span,
    pub(super) link_wait: Span,
    pub(super) gather: Span,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) level: String,
    pub(super) format: String,
}

impl Default for RawGateway {
    fn default() -> Self {
        Self { id: 1, name: "gateway-1".into(), mode: "aggregating".into(), data_dir: "data".into() }
    }
}

impl Default for RawBroker {
    fn default() -> Self {
        Self {
            url: "mqtt://localhost:1883".into(),
            embedded: None,
            protocol: "auto".into(),
            client_id: "mqttsn-{name}".into(),
            topic_prefix: String::new(),
            device_client_id: "{client_id}".into(),
            device_username: None,
            username: None,
            password: None,
            password_file: None,
            ca: None,
            cert: None,
            key: None,
            keep_alive: Span(Duration::from_secs(60)),
        }
    }
}

impl RawBroker {
    /// Turns to the gateway's own broker, which knows no users and no TLS.
    pub(super) fn be_embedded(&mut self, address: &str) {
        let Self { client_id, topic_prefix, device_client_id, .. } = std::mem::take(self);
        *self =
            Self { client_id, topic_prefix, device_client_id, embedded: Some(address.to_owned()), ..Self::default() };
    }
}

impl Default for RawUdp {
    fn default() -> Self {
        let UdpSettings { listen, receive_buffer, send_buffer, batch, multicast } =
            UdpSettings::new((Ipv6Addr::UNSPECIFIED, 1883).into());
        let LinkSettings { max_frame, qos_minus_one, advertise } = LinkSettings::default();
        Self {
            listen: listen.to_string(),
            max_frame,
            receive_buffer,
            send_buffer,
            batch,
            qos_minus_one,
            multicast: multicast.groups.iter().map(ToString::to_string).collect(),
            multicast_interfaces: multicast.interfaces,
            multicast_ttl: multicast.ttl,
            advertise: SpanOrNever(advertise),
        }
    }
}

impl RawSerial {
    /// A port of which nothing but the name is said.
    pub(super) fn named(port: &str) -> Self {
        Self { port: port.into(), ..Self::default() }
    }
}

impl Default for RawStore {
    fn default() -> Self {
        let StoreSettings { commit_every, commit_bytes, .. } = StoreSettings::default();
        let on_failure = outage::failure_name(Durability::Strict).into();
        Self { on_failure, commit_every: Span(commit_every), commit_bytes: commit_bytes as u64 }
    }
}

impl Default for RawOutage {
    fn default() -> Self {
        let OutageSettings { messages, octets, max_age, policy, qos0, rules: _ } = OutageSettings::default();
        Self {
            policy: outage::policy_name(policy).into(),
            qos0: outage::policy_name(qos0).into(),
            max_age: SpanOrNever(max_age),
            messages: messages as u64,
            bytes: octets as u64,
            topic: Vec::new(),
        }
    }
}

/// By default; docs/performance.md has what shorter and longer ones do.
const GATHER: Duration = Duration::from_micros(500);

impl Default for RawTimers {
    fn default() -> Self {
        let Timers {
            t_retry,
            n_retry,
            t_wait,
            keep_alive_tolerance,
            idle_limit,
            session_expiry,
            broker_wait,
            link_wait,
        } = Timers::default();
        Self {
            t_retry: Span(t_retry),
            n_retry,
            t_wait: Span(t_wait),
            keep_alive_tolerance,
            idle_limit: SpanOrNever(idle_limit),
            session_expiry: Span(session_expiry),
            broker_wait: Span(broker_wait),
            link_wait: Span(link_wait),
            gather: Span(GATHER),
        }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".into(), format: "text".into() }
    }
}

/// A duration in words: `"10s"`, `"1h 30m"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

/// A duration in words, or `"never"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpanOrNever(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

impl<'de> Deserialize<'de> for SpanOrNever {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanOrNeverVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        humantime::parse_duration(text).map(Span).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct SpanOrNeverVisitor;

impl Visitor<'_> for SpanOrNeverVisitor {
    type Value = SpanOrNever;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, in quotes, or \"never\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SpanOrNever, E> {
        match text {
            "never" => Ok(SpanOrNever(None)),
            _ => humantime::parse_duration(text)
                .map(|span| SpanOrNever(Some(span)))
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}
