//! What can be seen of clients from outside, and the one thing that can be done about them.

use std::fmt;

use super::gateway::Gateway;
use super::session::Session;
use super::topics::{TopicFilter, TopicName};
use super::{Instant, Message, Outputs, Peer, WillRecord};
use crate::wire::{Qos, TopicId};

/// One client's session at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientStatus<'a> {
    /// Where the session stands in the table. No other one stands there at the same time.
    pub place: u32,
    pub client_id: &'a str,
    pub phase: ClientPhase,
    /// Whether the session is kept while the client is away.
    pub is_persistent: bool,
    /// Where the client is reached, unless it is away.
    pub peer: Option<Peer>,
    /// When the client was last heard, unless it is away.
    pub heard: Option<Instant>,
    /// When the client is lost if it says nothing more, or the session of one that is away ends.
    pub until: Option<Instant>,
    /// Topic names with an id.
    pub topics: usize,
    pub subscriptions: usize,
    /// QoS 1 and 2 publishes that are not done with.
    pub publishes: usize,
    /// Messages that the client has yet to get, with the one on its way.
    pub queued: usize,
    /// Octets of topic and payload of those that wait.
    pub queued_octets: usize,
    /// Messages of the client that the gateway has answered for and keeps for the broker.
    pub kept: usize,
}

/// What a client's session holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDetails<'a> {
    pub status: ClientStatus<'a>,
    pub will: Option<WillRecord>,
    pub topics: Vec<(TopicId, &'a TopicName)>,
    /// Each with the QoS that the client asked for.
    pub subscriptions: Vec<(&'a TopicFilter, Qos)>,
    /// What the client has yet to get, in order, each with the moment from which it is not sent any more.
    pub queue: Vec<(&'a Message, Option<Instant>)>,
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

impl Gateway {
    /// Returns the state of every client that has a session, connected or not, in the order of their places.
    ///
    /// It walks through all sessions: made for people who ask, not for every frame.
    pub fn clients(&self) -> impl Iterator<Item = ClientStatus<'_>> {
        self.clients_from(0)
    }

    /// Returns the same from one place on, for those who ask bit by bit.
    pub fn clients_from(&self, place: u32) -> impl Iterator<Item = ClientStatus<'_>> {
        self.sessions.iter_from(place).filter_map(|session| self.status(session))
    }

    /// Returns what the session of a client holds, if there is one.
    pub fn client(&self, client_id: &str) -> Option<ClientDetails<'_>> {
        let session = self.sessions.get(self.sessions.by_client(client_id)?)?;
        Some(session.details(self.status(session)?))
    }

    fn status<'a>(&'a self, session: &'a Session) -> Option<ClientStatus<'a>> {
        let kept = self.upstream.kept_of(session.client_id());
        Some(ClientStatus { kept, ..session.status()? })
    }

    /// Ends a client's session at the wish of those who run the gateway.
    pub(super) fn forget(&mut self, now: Instant, client_id: &str, out: &mut Outputs) {
        if let Some(key) = self.sessions.by_client(client_id) {
            self.with_session(now, key, out, Session::forget);
        }
    }
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
