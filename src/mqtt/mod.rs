//! MQTT packets, 3.1.1 and 5: octets to values and back. Pure.
//!
//! PUBLISH and its acknowledgements are nearly all of the traffic. They are read where they lie and written straight
//! into the buffer that goes to the network (`publish`, `acks`); a topic of the broker's that is no UTF-8 is passed on,
//! because refusing the packet would end the connection, and the broker would send it again. All other packets are the
//! library's (`v4`, `v5`): they are few, and full of properties.
//!
//! The library's connection is not used. It keeps each message a second time; it counts down the broker's receive
//! maximum for messages that it repeats without having counted them up, which with overflow checks is a panic; it
//! repeats more of them than the receive maximum allows; and it takes PUBREC with "no matching subscribers" for a
//! refusal. What it would do for us the connection does itself (`broker`), where the messages are anyway.

mod acks;
mod connect;
mod frames;
mod library;
mod packet;
mod publish;
mod v4;
mod v5;

pub use acks::Ack;
pub use connect::{ConnAck, Connect, Will};
pub use frames::{Frame, FrameError};
pub use packet::{Packet, PacketError};
pub use publish::Publish;

use crate::wire::Qos;

/// A version of MQTT that the broker was found to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V5,
    V311,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V5 => "MQTT 5",
            Self::V311 => "MQTT 3.1.1",
        })
    }
}

/// Writes SUBSCRIBE for one filter. Only MQTT 5 carries the subscription's id.
///
/// # Errors
///
/// [`PacketError::Unwritable`] if MQTT has no such filter.
pub fn write_subscribe(
    version: Version,
    packet: u16,
    filter: &str,
    qos: Qos,
    id: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), PacketError> {
    match version {
        Version::V5 => v5::write_subscribe(packet, filter, qos, id, out),
        Version::V311 => v4::write_subscribe(packet, filter, qos, out),
    }
}

/// Writes UNSUBSCRIBE for one filter.
///
/// # Errors
///
/// [`PacketError::Unwritable`] if MQTT has no such filter.
pub fn write_unsubscribe(version: Version, packet: u16, filter: &str, out: &mut Vec<u8>) -> Result<(), PacketError> {
    match version {
        Version::V5 => v5::write_unsubscribe(packet, filter, out),
        Version::V311 => v4::write_unsubscribe(packet, filter, out),
    }
}

/// Writes PINGREQ.
pub fn write_pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xC0, 0]);
}

/// Writes DISCONNECT. With an expiry an MQTT 5 broker keeps the session for so many seconds, and not for as long as
/// CONNECT had it.
pub fn write_disconnect(version: Version, session_expiry: Option<u32>, out: &mut Vec<u8>) {
    match (version, session_expiry) {
        // Reason 0, five octets of properties: the session expiry interval (MQTT 5 §3.14.2.2.2).
        (Version::V5, Some(seconds)) => {
            out.extend_from_slice(&[0xE0, 7, 0, 5, 0x11]);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        (Version::V5, None) | (Version::V311, _) => out.extend_from_slice(&[0xE0, 0]),
    }
}
