//! What goes into a client and what comes out.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::core::topics::{TopicFilter, TopicName};
use crate::wire::{
    DecodeError, FilterRef, MsgId, MsgType, Publish, Qos, QosField, Quoted, ReturnCode, TopicId, TopicRef,
};

/// What a client is told before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    pub client_id: String,
    pub clean_session: bool,
    /// Seconds; 0 is unsupervised.
    pub keep_alive: u16,
    /// How long an answer may take before the message is sent again (T_retry, MQTT-SN 1.2 §7.2).
    pub t_retry: Duration,
    /// How often a message is sent again before the gateway counts as gone (N_retry).
    pub n_retry: u8,
    /// Octets of the largest frame that the link carries, 65,535 at most.
    pub max_frame: usize,
    pub will: Option<Will>,
}

/// What the gateway publishes when it loses the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub topic: TopicName,
    pub message: Bytes,
    pub qos: Qos,
    pub retain: bool,
}

/// How a message names its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    Name(TopicName),
    Predefined(TopicId),
    Short([u8; 2]),
}

/// How a subscription names its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    Name(TopicFilter),
    Predefined(TopicId),
    Short([u8; 2]),
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub topic: Topic,
    pub payload: Bytes,
    pub qos: QosField,
    pub retain: bool,
}

/// What a client can be asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Connect,
    /// Publishes, after a REGISTER if the topic's name has no id yet. QoS -1 needs no connection.
    Publish(Publication),
    Subscribe {
        filter: Filter,
        qos: Qos,
    },
    Unsubscribe(Filter),
    /// Sleeps, and wakes up now and then to take what has come, until [`Request::Disconnect`].
    Sleep(SleepPlan),
    Disconnect,
}

/// How a client sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepPlan {
    /// How long the gateway waits for the next wake-up before the client is lost, at least.
    pub seconds: u16,
    pub wake_every: Duration,
}

/// Why a request was not taken; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    #[error("the client is not connected")]
    NotConnected,
    #[error("the client is connected, or about to be")]
    AlreadyConnected,
    #[error("the client waits for the answer to its last request")]
    Busy,
    #[error("QoS -1 has no registered topics: name the topic by a predefined id or as a short name of 2 octets")]
    TopicNeedsSession,
    #[error("{message} would have {octets} octets; this link carries {limit} in one frame")]
    TooLarge { message: MsgType, octets: usize, limit: usize },
}

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Send(Vec<u8>),
    Event(Event),
}

/// What a client has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Connected,
    /// The publication is settled: sent at QoS -1 and 0, acknowledged at QoS 1 and 2.
    Published,
    Subscribed {
        granted: QosField,
    },
    Unsubscribed,
    /// A message for one of our subscriptions. The acknowledgement follows it in the outputs.
    Message(Delivery),
    /// The open request came to nothing. Refused [`Operation::Connect`], the client is not connected.
    Refused(Refusal),
    /// The client sleeps: for the first time, or again after a wake-up.
    Asleep,
    /// The session ended as we asked.
    Disconnected,
    /// The session ended without our asking; an open request is void.
    Lost(Loss),
    /// A frame that is no MQTT-SN message; it was dropped.
    Malformed(DecodeError),
}

/// A message from the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub topic: Topic,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
    pub msg_id: MsgId,
}

/// How a session was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Loss {
    /// The gateway sent DISCONNECT: it does not know us, or it has ended the session.
    #[error("the gateway ended the session")]
    EndedByGateway,
    /// A message was sent N_retry times again and never answered.
    #[error("the gateway did not answer {to}, sent {times} times")]
    NoAnswer { to: MsgType, times: u16 },
}

/// The gateway's no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the gateway refused {operation}: {}", self.reason())]
pub struct Refusal {
    pub operation: Operation,
    pub code: ReturnCode,
}

/// What the gateway refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Connect,
    Register,
    Publish,
    Subscribe,
}

impl Refusal {
    fn reason(&self) -> String {
        let code = u8::from(self.code);
        let words = match (self.code, self.operation) {
            (ReturnCode::Congestion, _) => {
                "congestion; it is full or cannot reach its broker: try again in a few minutes"
            }
            (ReturnCode::InvalidTopicId, _) => "invalid topic id; is that id among its predefined topics?",
            (ReturnCode::NotSupported, Operation::Connect) => {
                "not supported; is the client id one that its broker takes?"
            }
            (ReturnCode::NotSupported, Operation::Register) => "not supported; may a client publish under this name?",
            (ReturnCode::NotSupported, Operation::Publish) => {
                "not supported; are this topic, size and QoS allowed there?"
            }
            (ReturnCode::NotSupported, Operation::Subscribe) => {
                "not supported; is this a valid filter, and allowed there?"
            }
            (ReturnCode::Reserved(_), _) => "for a reason that MQTT-SN 1.2 does not know",
            (ReturnCode::Accepted, _) => "accepted",
        };
        format!("{words} (return code {code})")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Register => "the topic name",
            Self::Publish => "the message",
            Self::Subscribe => "the subscription",
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(filter) => f.write_str(filter.as_str()),
            Self::Predefined(id) => write!(f, "predefined topic {id}"),
            Self::Short(name) => write!(f, "short topic {}", Quoted(name)),
        }
    }
}

impl Filter {
    /// Returns the one topic name that the filter matches, if it is sent by name and can match no more.
    pub(super) fn as_name(&self) -> Option<TopicName> {
        match self {
            Self::Name(filter) => filter.as_name(),
            Self::Predefined(_) | Self::Short(_) => None,
        }
    }

    pub(super) fn as_ref(&self) -> FilterRef<'_> {
        match self {
            Self::Name(filter) => FilterRef::Name(filter.as_str().as_bytes()),
            Self::Predefined(id) => FilterRef::Predefined(*id),
            Self::Short(name) => FilterRef::Short(*name),
        }
    }
}

impl Publication {
    /// Returns whether the gateway answers it: QoS 1 and 2.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.qos.level().is_some_and(|qos| qos > Qos::AtMostOnce)
    }

    pub(super) fn message(&self, topic: TopicRef, msg_id: MsgId, dup: bool) -> Publish<'_> {
        Publish { dup, qos: self.qos, retain: self.retain, topic, msg_id, data: &self.payload }
    }
}
