//! What can be seen of a client from outside.

use std::fmt;

use super::Peer;

/// One client's session at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientStatus<'a> {
    pub client_id: &'a str,
    pub phase: ClientPhase,
    /// Where the client is reached, unless it is away.
    pub peer: Option<Peer>,
    /// Topic names with an id.
    pub topics: usize,
    pub subscriptions: usize,
    /// QoS 1 and 2 publishes that are not done with.
    pub publishes: usize,
    /// Messages that the client has yet to get, with the one on its way.
    pub queued: usize,
    /// Octets of topic and payload of those that wait.
    pub queued_octets: usize,
}

/// Where a client is in its life (MQTT-SN 1.2 figure 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientPhase {
    /// Has asked to connect and been asked for its will.
    Handshake,
    Active,
    Asleep,
    /// Fetching its messages before it sleeps on.
    Awake,
    /// Disconnected or lost; its persistent session is kept.
    Away,
}

impl fmt::Display for ClientPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Handshake => "handshake",
            Self::Active => "active",
            Self::Asleep => "asleep",
            Self::Awake => "awake",
            Self::Away => "away",
        })
    }
}
