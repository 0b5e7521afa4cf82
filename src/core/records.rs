//! What outlives the process: records, and the operations on them that the core asks for.
//!
//! The core says what to keep and never how. Records are plain values; what comes back after a restart is checked as
//! strictly as what comes from a network.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::topics::{TopicError, TopicName};
use super::{Instant, Message, QueuePolicy, Token};
use crate::wire::Qos;

/// One change of what is kept. Changes take effect in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Keep the record, in place of the one with the same key.
    Put(Record),
    /// Forget the record; there need not be one.
    Delete(RecordKey),
    /// Forget everything about a session.
    ForgetSession(SessionNumber),
}

/// Names a moment in the stream of [`StoreOp`]s: everything asked for before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreToken(pub u64);

/// A session's number in the store. Unlike a client id none is ever used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionNumber(pub u64);

impl SessionNumber {
    /// Stands for the gateway itself where a record belongs to no client.
    pub const GATEWAY: Self = Self(0);
}

/// What a record is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    Session(SessionNumber),
    Topic(SessionNumber, u16),
    Subscription(SessionNumber, ByteString),
    Queued(SessionNumber, u64),
    Exchange(SessionNumber, u16),
    Arrival(SessionNumber, u16),
    Upstream(u64),
    Filter(ByteString),
    Checkpoint(SessionNumber),
    Completed(Token),
}

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    Session(SessionRecord),
    Topic(TopicRecord),
    Subscription(SubscriptionRecord),
    Queued(QueuedRecord),
    Exchange(ExchangeRecord),
    Arrival(ArrivalRecord),
    Upstream(UpstreamRecord),
    Filter(FilterRecord),
    /// What a broker connection has under way. Written by the connection.
    Checkpoint(CheckpointRecord),
    /// The broker has taken over the QoS 2 message that was handed to a connection under this token. Written by the
    /// connection, in one commit with its own state, and deleted by the core.
    Completed(Token),
}

/// A client's session. Its topics, subscriptions and messages are records of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub number: SessionNumber,
    pub client_id: ByteString,
    /// The CleanSession flag of the last CONNECT.
    pub clean: bool,
    pub presence: PresenceRecord,
    pub will: Option<WillRecord>,
    /// The last message id that the gateway chose towards the client.
    pub last_msg_id: u16,
}

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PresenceRecord {
    /// Connected; `silence` is how long it may say nothing, in microseconds.
    Active {
        route: RouteRecord,
        silence: Option<u64>,
    },
    Asleep {
        route: RouteRecord,
        silence: Option<u64>,
    },
    Away {
        expires: Instant,
    },
}

/// The way back to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    pub link: u16,
    pub address: Bytes,
    pub wrapper: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WillRecord {
    pub topic: ByteString,
    pub payload: Bytes,
    #[serde(with = "level")]
    pub qos: Qos,
    pub retain: bool,
}

/// A normal topic id of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    pub session: SessionNumber,
    pub id: u16,
    pub name: ByteString,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    pub session: SessionNumber,
    pub filter: ByteString,
    #[serde(with = "level")]
    pub qos: Qos,
    pub naming: NamingRecord,
}

/// How the client named the topic when it subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamingRecord {
    Name,
    Predefined(u16),
    Short,
}

/// A message that waits for a client, or is on its way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRecord {
    pub session: SessionNumber,
    /// Its place: messages go out in ascending order.
    pub place: u64,
    pub message: MessageRecord,
    /// How it waits: the queue rule's policy, as it was when the message came.
    pub policy: QueuePolicy,
    pub expires: Option<Instant>,
    /// The message id it was sent with.
    pub sent_as: Option<u16>,
    /// QoS 2: the client has the message, and PUBREL is what is left.
    pub released: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    pub topic: ByteString,
    pub payload: Bytes,
    #[serde(with = "level")]
    pub qos: Qos,
    pub retain: bool,
}

/// A QoS 2 publish of a client whose PUBREL has not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRecord {
    pub session: SessionNumber,
    pub msg_id: u16,
    pub topic_id: u16,
    /// Tells the message from another one under the same id.
    pub content: u64,
    pub progress: ExchangeProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangeProgress {
    /// Handed to the broker connection under this token; the client has heard nothing yet.
    AtBroker(Token),
    /// Answered with PUBREC.
    Received,
}

/// A QoS 2 message from the broker that was taken over. It stands until the broker uses its packet id anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalRecord {
    /// Whose connection it came on.
    pub session: SessionNumber,
    pub packet: u16,
    pub content: u64,
}

/// A message on its way up that the gateway has answered for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRecord {
    /// Its place: messages of one client go out in ascending order.
    pub place: u64,
    /// The client id of the one that sent it, in whatever session; empty for nobody's at QoS -1.
    pub client: ByteString,
    pub message: MessageRecord,
    pub expires: Option<Instant>,
    /// QoS 2: the token that it was handed to the broker connection under.
    pub token: Option<Token>,
}

/// A filter that the broker was asked for on the shared connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRecord {
    pub filter: ByteString,
    /// The number that its messages carry, once it was granted; 0 where the broker sends none.
    pub granted: Option<u32>,
}

impl From<&Message> for MessageRecord {
    fn from(message: &Message) -> Self {
        let Message { topic, payload, qos, retain } = message;
        Self { topic: topic.as_shared().clone(), payload: payload.clone(), qos: *qos, retain: *retain }
    }
}

impl MessageRecord {
    /// Returns the message, or why it cannot have been one.
    pub(super) fn into_message(self) -> Result<Message, TopicError> {
        let Self { topic, payload, qos, retain } = self;
        Ok(Message { topic: TopicName::from_shared(topic)?, payload, qos, retain })
    }
}

/// What a broker connection needs to go on with its MQTT session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Whose connection: the gateway's own or a client's.
    pub session: SessionNumber,
    /// In the connection's own form.
    pub octets: Bytes,
}

impl Record {
    /// Returns what the record is found by.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Session(record) => RecordKey::Session(record.number),
            Self::Topic(record) => RecordKey::Topic(record.session, record.id),
            Self::Subscription(record) => RecordKey::Subscription(record.session, record.filter.clone()),
            Self::Queued(record) => RecordKey::Queued(record.session, record.place),
            Self::Exchange(record) => RecordKey::Exchange(record.session, record.msg_id),
            Self::Arrival(record) => RecordKey::Arrival(record.session, record.packet),
            Self::Upstream(record) => RecordKey::Upstream(record.place),
            Self::Filter(record) => RecordKey::Filter(record.filter.clone()),
            Self::Checkpoint(record) => RecordKey::Checkpoint(record.session),
            Self::Completed(token) => RecordKey::Completed(*token),
        }
    }
}

impl RecordKey {
    /// Returns the session that the record goes with, if it goes with one.
    pub fn session(&self) -> Option<SessionNumber> {
        match self {
            Self::Session(session)
            | Self::Topic(session, _)
            | Self::Subscription(session, _)
            | Self::Queued(session, _)
            | Self::Exchange(session, _)
            | Self::Arrival(session, _)
            | Self::Checkpoint(session) => Some(*session),
            Self::Upstream(_) | Self::Filter(_) | Self::Completed(_) => None,
        }
    }
}

/// QoS as its number.
mod level {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::wire::Qos;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(qos: &Qos, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Qos, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            2 => Ok(Qos::ExactlyOnce),
            other => Err(D::Error::custom(format_args!("{other} is no QoS"))),
        }
    }
}
