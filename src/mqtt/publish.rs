//! PUBLISH (MQTT 5 §3.3).

use mqtt_protocol_core::mqtt::packet::{Properties, PropertiesParse as _, Property};

use super::Version;
use super::frames::{Frame, variable_octets, write_header, write_variable};
use super::packet::PacketError;
use crate::wire::Qos;

/// The first octet without flags.
const PUBLISH: u8 = 0x30;
const RETAIN: u8 = 1;
const DUP: u8 = 1 << 3;

/// Property id and four octets (MQTT 5 §3.3.2.3.3).
const EXPIRY_OCTETS: usize = 5;
const EXPIRY: u8 = 0x02;

/// A message as it goes over the connection. Nobody has looked at its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub duplicate: bool,
    pub qos: Qos,
    pub retain: bool,
    pub topic: &'a [u8],
    /// 0 at QoS 0.
    pub packet: u16,
    pub payload: &'a [u8],
    /// Seconds; MQTT 5 only.
    pub expires_in: Option<u32>,
    /// The ids of the subscriptions that brought it. Only the broker of an MQTT 5 connection sends such.
    pub subscriptions: Vec<u32>,
}

impl<'a> Publish<'a> {
    /// Writes the packet. What is longer than MQTT's longest packet the caller refuses before.
    pub fn write(&self, version: Version, out: &mut Vec<u8>) {
        let expires_in = self.expires_in.filter(|_| version == Version::V5);
        let properties = expires_in.map_or(0, |_| EXPIRY_OCTETS);
        let packet_id = if self.qos == Qos::AtMostOnce { 0 } else { 2 };
        let extra = match version {
            Version::V5 => variable_octets(properties) + properties,
            Version::V311 => 0,
        };
        let flags = if self.retain { RETAIN } else { 0 } | if self.duplicate { DUP } else { 0 };
        let length = 2 + self.topic.len() + packet_id + extra + self.payload.len();
        out.reserve(5 + length);
        write_header(PUBLISH | flags | self.qos.number() << 1, length, out);
        out.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
        out.extend_from_slice(self.topic);
        if packet_id > 0 {
            out.extend_from_slice(&self.packet.to_be_bytes());
        }
        match version {
            Version::V5 => {
                write_variable(properties, out);
                if let Some(seconds) = expires_in {
                    out.push(EXPIRY);
                    out.extend_from_slice(&seconds.to_be_bytes());
                }
            }
            Version::V311 => {}
        }
        out.extend_from_slice(self.payload);
    }

    pub(super) fn read(version: Version, frame: Frame<'a>) -> Result<Self, PacketError> {
        const MALFORMED: PacketError = PacketError::Malformed("PUBLISH");
        let qos = match frame.first >> 1 & 0b11 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return Err(MALFORMED),
        };
        let (length, rest) = frame.body.split_at_checked(2).ok_or(MALFORMED)?;
        let length = usize::from(length[0]) << 8 | usize::from(length[1]);
        let (topic, rest) = rest.split_at_checked(length).ok_or(MALFORMED)?;
        let (packet, rest) = match qos {
            Qos::AtMostOnce => (0, rest),
            Qos::AtLeastOnce | Qos::ExactlyOnce => match *rest {
                // No packet has the id 0 (MQTT 5 §2.2.1).
                [high, low, ref rest @ ..] if high | low != 0 => (u16::from_be_bytes([high, low]), rest),
                _ => return Err(MALFORMED),
            },
        };
        let mut publish = Self {
            duplicate: frame.first & DUP != 0,
            qos,
            retain: frame.first & RETAIN != 0,
            topic,
            packet,
            payload: rest,
            expires_in: None,
            subscriptions: Vec::new(),
        };
        match version {
            Version::V5 => publish.read_properties()?,
            Version::V311 => {}
        }
        Ok(publish)
    }

    /// Takes the properties off the front of the payload.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other properties are of no use to a device")]
    fn read_properties(&mut self) -> Result<(), PacketError> {
        // Hardly a message has any.
        if let [0, payload @ ..] = self.payload {
            self.payload = payload;
            return Ok(());
        }
        let (properties, octets) = Properties::parse(self.payload).map_err(PacketError::library("PUBLISH"))?;
        self.payload = &self.payload[octets..];
        for property in properties {
            match property {
                Property::SubscriptionIdentifier(id) => self.subscriptions.push(id.val()),
                Property::MessageExpiryInterval(seconds) => self.expires_in = Some(seconds.val()),
                // We allow none (MQTT 5 §3.1.2.11.5).
                Property::TopicAlias(_) => return Err(PacketError::Malformed("PUBLISH with a topic alias")),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(qos: Qos) -> Publish<'static> {
        Publish {
            duplicate: true,
            qos,
            retain: true,
            topic: b"a/b",
            packet: if qos == Qos::AtMostOnce { 0 } else { 7 },
            payload: b"payload",
            expires_in: None,
            subscriptions: Vec::new(),
        }
    }

    fn read(version: Version, octets: &[u8]) -> Result<Publish<'_>, PacketError> {
        let (frame, rest) = Frame::cut(octets, usize::MAX).unwrap().unwrap();
        assert!(rest.is_empty());
        Publish::read(version, frame)
    }

    #[test]
    fn what_was_written_is_read_as_it_was() {
        for version in [Version::V5, Version::V311] {
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let mut octets = Vec::new();
                publish(qos).write(version, &mut octets);
                assert_eq!(read(version, &octets), Ok(publish(qos)), "{version}");
            }
        }
        let mut octets = Vec::new();
        let expiring = Publish { expires_in: Some(9), ..publish(Qos::AtLeastOnce) };
        expiring.write(Version::V5, &mut octets);
        assert_eq!(read(Version::V5, &octets), Ok(expiring));
    }

    #[test]
    fn it_is_on_the_wire_as_the_specification_has_it() {
        let mut octets = Vec::new();
        publish(Qos::ExactlyOnce).write(Version::V311, &mut octets);
        assert_eq!(octets, [&[0x3D, 14, 0, 3][..], b"a/b", &[0, 7], b"payload"].concat());
        octets.clear();
        publish(Qos::AtMostOnce).write(Version::V5, &mut octets);
        assert_eq!(octets, [&[0x39, 13, 0, 3][..], b"a/b", &[0], b"payload"].concat());
    }

    #[test]
    fn the_ids_of_subscriptions_are_read_and_other_properties_passed_over() {
        // A user property between two subscription ids.
        let octets = [&[0x30, 17, 0, 1, b'a', 12, 0x0B, 5, 0x26, 0, 1, b'k', 0, 1, b'v', 0x0B, 0x80, 1][..], b"x"];
        let octets = octets.concat();
        let read = read(Version::V5, &octets).unwrap();
        assert_eq!((read.subscriptions, read.payload), (vec![5, 128], &b"x"[..]));
    }

    #[test]
    fn a_malformed_publish_is_refused() {
        for octets in [
            &[0x36, 5, 0, 1, b'a', 0, 1][..], // QoS 3
            &[0x30, 1, 0],                    // no topic length
            &[0x30, 3, 0, 9, b'a'],           // a topic longer than the packet
            &[0x32, 4, 0, 1, b'a', 0],        // half a packet id
            &[0x32, 5, 0, 1, b'a', 0, 0],     // packet id 0
        ] {
            assert!(read(Version::V311, octets).is_err(), "{octets:02x?}");
        }
        assert!(read(Version::V5, &[0x30, 3, 0, 1, b'a']).is_err(), "no properties");
        assert!(read(Version::V5, &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1]).is_err(), "a topic alias");
    }
}
