//! One field of a message as it stands on the wire: what encoding, tracing and explaining have in common.

use super::{Flags, GwId, MsgId, ReturnCode, TopicId};

/// One field of a message's body (MQTT-SN 1.2 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// The flags octet; the message gives a meaning only to the bits in `used`.
    Flags {
        value: Flags,
        used: Flags,
    },
    GwId(GwId),
    GwAdd(&'a [u8]),
    Duration(u16),
    Radius(u8),
    ProtocolId(u8),
    ClientId(&'a [u8]),
    ReturnCode(ReturnCode),
    TopicId(TopicId),
    /// A topic's name of two octets, in the place of a topic id.
    ShortTopic([u8; 2]),
    TopicName(&'a [u8]),
    MsgId(MsgId),
    WillTopic(&'a [u8]),
    WillMsg(&'a [u8]),
    Data(&'a [u8]),
}

impl Field<'_> {
    /// Returns the specification's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flags { .. } => "Flags",
            Self::GwId(_) => "GwId",
            Self::GwAdd(_) => "GwAdd",
            Self::Duration(_) => "Duration",
            Self::Radius(_) => "Radius",
            Self::ProtocolId(_) => "ProtocolId",
            Self::ClientId(_) => "ClientId",
            Self::ReturnCode(_) => "ReturnCode",
            Self::TopicId(_) => "TopicId",
            Self::ShortTopic(_) | Self::TopicName(_) => "TopicName",
            Self::MsgId(_) => "MsgId",
            Self::WillTopic(_) => "WillTopic",
            Self::WillMsg(_) => "WillMsg",
            Self::Data(_) => "Data",
        }
    }

    /// Returns the field's octets.
    #[expect(clippy::len_without_is_empty, reason = "a size on the wire; the field is no collection")]
    pub fn len(&self) -> usize {
        match self {
            Self::Flags { .. } | Self::GwId(_) | Self::Radius(_) | Self::ProtocolId(_) | Self::ReturnCode(_) => 1,
            Self::Duration(_) | Self::TopicId(_) | Self::ShortTopic(_) | Self::MsgId(_) => 2,
            Self::GwAdd(octets)
            | Self::ClientId(octets)
            | Self::TopicName(octets)
            | Self::WillTopic(octets)
            | Self::WillMsg(octets)
            | Self::Data(octets) => octets.len(),
        }
    }

    /// Appends the field's octets.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Flags { value, .. } => out.push(value.bits()),
            Self::GwId(GwId(octet)) | Self::Radius(octet) | Self::ProtocolId(octet) => out.push(octet),
            Self::ReturnCode(code) => out.push(code.into()),
            Self::Duration(number) | Self::TopicId(TopicId(number)) | Self::MsgId(MsgId(number)) => {
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::ShortTopic(name) => out.extend_from_slice(&name),
            Self::GwAdd(octets)
            | Self::ClientId(octets)
            | Self::TopicName(octets)
            | Self::WillTopic(octets)
            | Self::WillMsg(octets)
            | Self::Data(octets) => out.extend_from_slice(octets),
        }
    }
}
