//! Fields that several messages share: quality of service, topic references, return codes (MQTT-SN 1.2 §5.3).

use super::TopicId;

/// A quality of service that MQTT knows too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    AtMostOnce,
    AtLeastOnce,
    ExactlyOnce,
}

impl Qos {
    /// Returns the level's number.
    pub fn number(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
}

/// The two QoS bits of the flags octet: MQTT's three levels, and -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QosField {
    Level(Qos),
    /// QoS -1: a PUBLISH without a session (MQTT-SN 1.2 §6.8). Only PUBLISH may carry it.
    MinusOne,
}

impl QosField {
    /// Returns MQTT's level, or `None` for -1.
    pub fn level(self) -> Option<Qos> {
        match self {
            Self::Level(qos) => Some(qos),
            Self::MinusOne => None,
        }
    }
}

impl From<Qos> for QosField {
    fn from(qos: Qos) -> Self {
        Self::Level(qos)
    }
}

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicRef {
    Normal(TopicId),
    Predefined(TopicId),
    /// The two octets are the topic's name.
    Short([u8; 2]),
    /// Topic id type 11b, which the protocol reserves; kept so that it can be refused with a return code.
    Reserved(TopicId),
}

impl TopicRef {
    /// Returns the two octets on the wire, which PUBACK and SUBACK echo whatever their type.
    pub fn octets(self) -> TopicId {
        match self {
            Self::Normal(id) | Self::Predefined(id) | Self::Reserved(id) => id,
            Self::Short(name) => TopicId(u16::from_be_bytes(name)),
        }
    }
}

/// How a SUBSCRIBE or UNSUBSCRIBE names its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterRef<'a> {
    /// A topic name or a filter with wildcards; not yet known to be UTF-8.
    Name(&'a [u8]),
    Predefined(TopicId),
    Short([u8; 2]),
}

/// A return code (MQTT-SN 1.2 §5.3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReturnCode {
    Accepted,
    Congestion,
    InvalidTopicId,
    NotSupported,
    /// 04 and above: reserved, read as a rejection and never sent.
    Reserved(u8),
}

impl From<u8> for ReturnCode {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Accepted,
            1 => Self::Congestion,
            2 => Self::InvalidTopicId,
            3 => Self::NotSupported,
            reserved => Self::Reserved(reserved),
        }
    }
}

impl From<ReturnCode> for u8 {
    fn from(code: ReturnCode) -> Self {
        match code {
            ReturnCode::Accepted => 0,
            ReturnCode::Congestion => 1,
            ReturnCode::InvalidTopicId => 2,
            ReturnCode::NotSupported => 3,
            ReturnCode::Reserved(code) => code,
        }
    }
}
