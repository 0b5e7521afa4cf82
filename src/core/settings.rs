//! What the core is told before it starts: checked values only, with durations and limits as types.

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;

use super::limits::Limits;
use super::outage::OutageSettings;
use super::topics::TopicName;
use super::{Durability, LinkId, PrefixTemplate, QueueRule};
use crate::wire::{GwId, TopicId};

/// Everything that shapes the core's behaviour.
#[derive(Clone, Debug)]
pub struct Settings {
    pub gw_id: GwId,
    pub mode: Mode,
    pub timers: Timers,
    pub limits: Limits,
    /// Pre-defined topic ids, the same for every client.
    pub predefined: BTreeMap<TopicId, TopicName>,
    /// What stands in front of every client's topics at the broker.
    pub topic_prefix: PrefixTemplate,
    /// Whether anything outlives the process.
    pub durability: Durability,
    /// What becomes of messages for the broker while it is away. Only with a store.
    pub outage: OutageSettings,
    /// How messages wait for clients; the first rule that matches a topic decides.
    pub queue: Vec<QueueRule>,
    /// By link; a link that is not listed has [`LinkSettings::default`].
    pub links: BTreeMap<LinkId, LinkSettings>,
    /// A client id that would be the gateway's own at the broker; the broker would throw one of the two out.
    pub reserved_client_id: Option<ByteString>,
    /// Decides which unknown senders share a place in the table that limits the answers to them. Random in the field,
    /// so that nobody can choose an address to silence another one; fixed where a run must be had again.
    pub hash_seed: u64,
}

/// How clients reach the broker (MQTT-SN 1.2 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All over one MQTT connection.
    Aggregating,
    /// Each over an MQTT connection of its own.
    Transparent,
}

/// The protocol's timers and counters (MQTT-SN 1.2 §7.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timers {
    /// How long an answer to a message of ours may take before it is sent again.
    pub t_retry: Duration,
    /// How often it is sent again before the client counts as lost.
    pub n_retry: u8,
    /// How long a client that answered "congestion" is left alone, unless it says something first; and one that is
    /// alive and does not acknowledge what was sent to it.
    pub t_wait: Duration,
    /// Silence of this many keep-alive periods makes a client lost.
    pub keep_alive_tolerance: f64,
    /// Silence after which a client that connected with keep-alive 0 is lost; `None`: never.
    pub idle_limit: Option<Duration>,
    /// How long a client waits for its own connection to the broker: at CONNECT for CONNACK, and later, when the
    /// connection has broken, until it is told DISCONNECT. Only in transparent mode.
    pub broker_wait: Duration,
    /// How long a client whose link is down is kept as a sleeper is, whatever its keep-alive.
    pub link_wait: Duration,
    /// How long the persistent session of a client that is away is kept.
    pub session_expiry: Duration,
}

/// What is particular to one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Octets of the largest MQTT-SN frame that the link carries downwards.
    pub max_frame: usize,
    /// Whether QoS -1 publishes are taken.
    pub qos_minus_one: bool,
    /// How often ADVERTISE goes out; `None`: never.
    pub advertise: Option<Duration>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t_retry: Duration::from_secs(10),
            n_retry: 3,
            t_wait: Duration::from_secs(300),
            keep_alive_tolerance: 1.5,
            idle_limit: Some(Duration::from_secs(24 * 3600)),
            broker_wait: Duration::from_secs(30),
            link_wait: Duration::from_secs(3600),
            session_expiry: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self { max_frame: 1_400, qos_minus_one: true, advertise: None }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gw_id: GwId(1),
            mode: Mode::Aggregating,
            timers: Timers::default(),
            limits: Limits::default(),
            predefined: BTreeMap::new(),
            topic_prefix: PrefixTemplate::default(),
            durability: Durability::Nothing,
            outage: OutageSettings::default(),
            queue: Vec::new(),
            links: BTreeMap::new(),
            reserved_client_id: None,
            hash_seed: 0,
        }
    }
}
