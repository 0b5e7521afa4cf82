//! MQTT-SN 1.2 on the wire: bytes to values and back. Pure; knows nothing of sessions.
//!
//! [`Envelope::open`] takes a forwarder's wrapper off a frame, [`Message::decode`] reads the message inside,
//! [`Message::objection`] tells what a readable message says that the protocol forbids.
#![deny(clippy::disallowed_methods, clippy::wildcard_enum_match_arm)]

mod body;
mod envelope;
mod error;
mod field;
mod fields;
mod flags;
pub mod framing;
mod header;
mod ids;
mod message;
mod objection;
#[cfg(test)]
mod properties;
mod reader;
mod table;
mod text;
#[cfg(test)]
mod vectors;

pub use envelope::{Envelope, Layer};
pub use error::{DecodeError, EncodeError};
pub use field::Field;
pub use fields::{FilterRef, Qos, QosField, ReturnCode, TopicRef};
pub use flags::{Flags, TopicIdType};
pub use header::{Header, HeaderForm};
pub use ids::{GwId, MsgId, TopicId};
pub use message::*;
pub use objection::Objection;
pub use table::{BodySize, Message, MsgType};
pub use text::Quoted;
