//! MQTT-SN 1.2 on the wire: bytes to values and back. Pure; knows nothing of sessions.
#![deny(clippy::disallowed_methods)]

mod fields;
pub mod framing;
mod ids;
mod message;

pub use fields::{FilterRef, Qos, QosField, ReturnCode, TopicRef};
pub use ids::{GwId, MsgId, TopicId};
pub use message::*;

/// Why a frame is no MQTT-SN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("shorter than 2 octets")]
    TooShort,
}
