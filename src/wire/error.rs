//! Why octets are no message, and why a message cannot become octets.

use thiserror::Error;

use super::{BodySize, MsgId, MsgType};

/// Why a frame is no MQTT-SN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("the message's length is {found}; the shortest has 2 octets")]
    TooShort { found: usize },
    #[error("the message's length is {found}; its long header alone has 4 octets")]
    LongHeaderTruncated { found: usize },
    #[error("Length says {stated}, but counts itself and MsgType, so {least} is the least")]
    LengthTooSmall { stated: usize, least: usize },
    #[error("Length says {stated}, but the message has {found} octets")]
    LengthMismatch { stated: usize, found: usize },
    #[error("message type {code:02X} is reserved")]
    ReservedType { code: u8 },
    #[error("a forwarder encapsulation (type FE) stands where a bare message is wanted")]
    Encapsulated,
    #[error("{msg_type} has a body of length {found}; it must be {wanted}")]
    BodySize { msg_type: MsgType, found: usize, wanted: BodySize },
    #[error("{msg_type} has a topic field of length {found}; its topic id type needs 2 octets")]
    TopicFieldSize { msg_type: MsgType, found: usize },
    #[error("{msg_type} has topic id type 3, which is reserved")]
    ReservedTopicIdType { msg_type: MsgType, msg_id: MsgId },
    #[error("the encapsulation's Length says {stated}; it counts up to the end of the node id, so 4 is the least")]
    EnvelopeTooShort { stated: usize },
    #[error("the encapsulation's Length says {stated}, but no more than {found} are there")]
    EnvelopeTruncated { stated: usize, found: usize },
    #[error("the encapsulation has no wireless node id")]
    EmptyNodeId,
    #[error("the encapsulation holds no message")]
    EmptyEnvelope,
    #[error("encapsulations are nested deeper than {max}")]
    NestedTooDeep { max: usize },
}

impl DecodeError {
    /// Returns a short name of the kind of error, for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::LongHeaderTruncated { .. } => "long_header_truncated",
            Self::LengthTooSmall { .. } => "length_too_small",
            Self::LengthMismatch { .. } => "length_mismatch",
            Self::ReservedType { .. } => "reserved_type",
            Self::Encapsulated => "encapsulated",
            Self::BodySize { .. } => "body_size",
            Self::TopicFieldSize { .. } => "topic_field_size",
            Self::ReservedTopicIdType { .. } => "reserved_topic_id_type",
            Self::EnvelopeTooShort { .. } => "envelope_too_short",
            Self::EnvelopeTruncated { .. } => "envelope_truncated",
            Self::EmptyNodeId => "empty_node_id",
            Self::EmptyEnvelope => "empty_envelope",
            Self::NestedTooDeep { .. } => "nested_too_deep",
        }
    }
}

/// Why a message cannot be put into octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("{msg_type} would have {length} octets; Length cannot say more than 65535")]
    MessageTooLong { msg_type: MsgType, length: usize },
    #[error("a wireless node id has 1 to 252 octets, not {found}")]
    NodeIdSize { found: usize },
}
