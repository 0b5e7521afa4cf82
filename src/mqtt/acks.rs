//! The acknowledgements of PUBLISH. As far as they are used they look the same in both versions: a packet id, and in
//! MQTT 5 a reason code behind it, which may be left out when it is 0 (MQTT 5 §3.4.2.1).

use super::Version;
use super::packet::PacketError;

/// An acknowledgement to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    /// PUBCOMP for a message that is not known (any more). Only MQTT 5 can say so.
    PubCompNotFound,
}

/// MQTT 5 §3.7.2.1: packet identifier not found.
const NOT_FOUND: u8 = 0x92;

impl Ack {
    /// Writes it for the message with this packet id.
    pub fn write(self, version: Version, packet: u16, out: &mut Vec<u8>) {
        let [high, low] = packet.to_be_bytes();
        let first = match self {
            Self::PubAck => 0x40,
            Self::PubRec => 0x50,
            Self::PubRel => 0x62,
            Self::PubComp => 0x70,
            Self::PubCompNotFound => match version {
                Version::V5 => return out.extend_from_slice(&[0x70, 3, high, low, NOT_FOUND]),
                Version::V311 => 0x70,
            },
        };
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

/// Reads packet id and reason code.
pub(super) fn read(version: Version, body: &[u8]) -> Result<(u16, u8), PacketError> {
    match (version, body) {
        (_, &[high, low]) => Ok((u16::from_be_bytes([high, low]), 0)),
        (Version::V5, &[high, low, reason, ..]) => Ok((u16::from_be_bytes([high, low]), reason)),
        (Version::V311 | Version::V5, _) => Err(PacketError::Malformed("an acknowledgement")),
    }
}
