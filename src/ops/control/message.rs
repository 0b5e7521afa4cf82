//! What is asked and answered.

use serde::{Deserialize, Serialize};

/// What a running gateway can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The sessions, a page at a time: from this place on, 0 for the first.
    Sessions { from: u32 },
    /// All about one session.
    Session { client_id: String },
    /// The end of a session.
    Forget { client_id: String },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// A page of the sessions. `next` is where the next page begins; without it this was the last.
    Sessions {
        sessions: Vec<SessionSummary>,
        next: Option<u32>,
    },
    Session(Box<SessionDetails>),
    /// No client of that name has a session.
    NoSession,
    /// The session has ended, and nothing of it is kept any more.
    Forgotten {
        /// Messages of the client that were accepted, and that the broker gets all the same.
        kept_for_broker: usize,
    },
    Problem {
        text: String,
    },
}

/// A session in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    pub client_id: String,
    pub state: SessionState,
    /// Whether the session is kept while the client is away.
    pub persistent: bool,
    /// Where the client is reached, unless it is away.
    pub address: Option<String>,
    /// Since when nothing has been heard of the client.
    pub silent_seconds: Option<u64>,
    /// How long it may stay silent, or away, until it is lost, or its session ends.
    pub seconds_left: Option<u64>,
    /// Topic names with an id.
    pub topics: usize,
    pub subscriptions: usize,
    /// QoS 1 and 2 publishes of the client that are not done with.
    pub publishes: usize,
    /// Messages that wait for the client.
    pub queued: usize,
    /// Octets of topic and payload of those.
    pub queued_octets: usize,
    /// Messages of the client that wait for the broker.
    pub kept_for_broker: usize,
}

/// A session with what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDetails {
    #[serde(flatten)]
    pub summary: SessionSummary,
    pub will: Option<WillTerms>,
    pub topic_names: Vec<TopicName>,
    pub filters: Vec<SubscribedFilter>,
    /// The messages that wait, the next one first. A long queue is cut off.
    pub queue: Vec<QueuedMessage>,
}

/// Where a client is in its life (MQTT-SN 1.2 figure 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Has asked to connect, and has been asked for its will or waits for the broker.
    Connecting,
    Active,
    Asleep,
    /// Fetching its messages before it sleeps on.
    Awake,
    Away,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WillTerms {
    pub topic: String,
    pub qos: u8,
    pub retain: bool,
    /// Of the message.
    pub octets: usize,
}

/// A topic name and its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicName {
    pub id: u16,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribedFilter {
    pub filter: String,
    pub qos: u8,
}

/// A message that waits for its client. What it says is nobody else's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedMessage {
    pub topic: String,
    pub qos: u8,
    /// Of the payload.
    pub octets: usize,
    /// Until it is dropped, if it may become too old.
    pub seconds_left: Option<u64>,
}

impl SessionState {
    /// Returns its name, as it stands in JSON too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Active => "active",
            Self::Asleep => "asleep",
            Self::Awake => "awake",
            Self::Away => "away",
        }
    }
}
