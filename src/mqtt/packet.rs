//! What a broker sends.

use mqtt_protocol_core::mqtt::result_code::MqttError;
use thiserror::Error;

use super::frames::Frame;
use super::{ConnAck, Publish, Version, acks, v4, v5};

/// A packet from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    ConnAck(ConnAck),
    Publish(Publish<'a>),
    PubAck {
        packet: u16,
        reason: u8,
    },
    PubRec {
        packet: u16,
        reason: u8,
    },
    PubRel {
        packet: u16,
    },
    PubComp {
        packet: u16,
    },
    /// With the answer to the first filter: granted QoS, or a reason code of MQTT 5 from 0x80 on (§3.9.3).
    SubAck {
        packet: u16,
        reason: u8,
    },
    UnsubAck {
        packet: u16,
    },
    PingResp,
    /// MQTT 5 only.
    Disconnect {
        reason: u8,
        text: Option<String>,
    },
}

/// Why octets are no packet, or a packet cannot become octets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    #[error("{0} that is malformed")]
    Malformed(&'static str),
    #[error("{packet} that is malformed ({problem})")]
    Library { packet: &'static str, problem: MqttError },
    #[error("a packet of type {0} that no broker sends")]
    Unexpected(u8),
    #[error("{packet} cannot be written ({problem})")]
    Unwritable { packet: &'static str, problem: MqttError },
}

impl<'a> Packet<'a> {
    /// Reads a packet from the broker.
    ///
    /// # Errors
    ///
    /// What is wrong with it. After that nothing the connection brings makes sense.
    pub fn read(version: Version, frame: Frame<'a>) -> Result<Self, PacketError> {
        let body = frame.body;
        // MQTT 5 §2.1.2.
        match frame.first >> 4 {
            2 => match version {
                Version::V5 => v5::read_connack(body),
                Version::V311 => v4::read_connack(body),
            }
            .map(Self::ConnAck),
            3 => Publish::read(version, frame).map(Self::Publish),
            4 => acks::read(version, body).map(|(packet, reason)| Self::PubAck { packet, reason }),
            5 => acks::read(version, body).map(|(packet, reason)| Self::PubRec { packet, reason }),
            6 => acks::read(version, body).map(|(packet, _)| Self::PubRel { packet }),
            // Its one failure, "packet identifier not found", answers a repeated PUBREL: the exchange was complete.
            7 => acks::read(version, body).map(|(packet, _)| Self::PubComp { packet }),
            9 => match version {
                Version::V5 => v5::read_suback(body),
                Version::V311 => v4::read_suback(body),
            }
            .map(|(packet, reason)| Self::SubAck { packet, reason }),
            // The reasons make no difference to anybody.
            11 => acks::read(version, body).map(|(packet, _)| Self::UnsubAck { packet }),
            13 => Ok(Self::PingResp),
            14 if version == Version::V5 => {
                v5::read_disconnect(body).map(|(reason, text)| Self::Disconnect { reason, text })
            }
            kind => Err(PacketError::Unexpected(kind)),
        }
    }
}

impl PacketError {
    pub(super) fn library(packet: &'static str) -> impl Fn(MqttError) -> Self {
        move |problem| Self::Library { packet, problem }
    }

    pub(super) fn unwritable(packet: &'static str) -> impl Fn(MqttError) -> Self {
        move |problem| Self::Unwritable { packet, problem }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(version: Version, octets: &[u8]) -> Result<Packet<'_>, PacketError> {
        Packet::read(version, Frame::cut(octets, usize::MAX).unwrap().unwrap().0)
    }

    #[test]
    fn acknowledgements_are_read_with_and_without_a_reason() {
        for version in [Version::V5, Version::V311] {
            assert_eq!(read(version, &[0x40, 2, 1, 2]), Ok(Packet::PubAck { packet: 0x0102, reason: 0 }));
            assert_eq!(read(version, &[0x50, 2, 0, 9]), Ok(Packet::PubRec { packet: 9, reason: 0 }));
            assert_eq!(read(version, &[0x62, 2, 0, 9]), Ok(Packet::PubRel { packet: 9 }));
            assert_eq!(read(version, &[0x70, 2, 0, 9]), Ok(Packet::PubComp { packet: 9 }));
            assert_eq!(read(version, &[0xD0, 0]), Ok(Packet::PingResp));
            assert!(read(version, &[0x40, 1, 0]).is_err());
        }
        assert!(read(Version::V311, &[0x40, 3, 0, 9, 0x87]).is_err(), "3.1.1 has no reasons");
        assert_eq!(read(Version::V5, &[0x40, 4, 0, 9, 0x87, 0]), Ok(Packet::PubAck { packet: 9, reason: 0x87 }));
        assert_eq!(read(Version::V5, &[0x50, 3, 0, 9, 0x10]), Ok(Packet::PubRec { packet: 9, reason: 0x10 }));
    }

    #[test]
    fn the_answer_to_a_subscribe_is_its_first_reason() {
        assert_eq!(read(Version::V5, &[0x90, 4, 0, 9, 0, 2]), Ok(Packet::SubAck { packet: 9, reason: 2 }));
        assert_eq!(read(Version::V311, &[0x90, 3, 0, 9, 0x80]), Ok(Packet::SubAck { packet: 9, reason: 0x80 }));
        assert_eq!(read(Version::V5, &[0xB0, 4, 0, 9, 0, 0x11]), Ok(Packet::UnsubAck { packet: 9 }));
        assert!(read(Version::V5, &[0x90, 3, 0, 9, 0]).is_err(), "no reason at all");
    }

    #[test]
    fn a_disconnect_says_why_in_mqtt_5_and_does_not_exist_in_3_1_1() {
        let text = [&[0xE0, 8, 0x8B, 6, 0x1F, 0, 3][..], b"bye"].concat();
        assert_eq!(read(Version::V5, &text), Ok(Packet::Disconnect { reason: 0x8B, text: Some("bye".to_owned()) }));
        assert_eq!(read(Version::V5, &[0xE0, 0]), Ok(Packet::Disconnect { reason: 0, text: None }));
        assert_eq!(read(Version::V311, &[0xE0, 0]), Err(PacketError::Unexpected(14)));
    }

    #[test]
    fn a_connack_tells_the_brokers_limits() {
        let octets = [0x20, 13, 1, 0, 10, 0x21, 0, 20, 0x24, 1, 0x25, 0, 0x13, 0, 30];
        let Ok(Packet::ConnAck(connack)) = read(Version::V5, &octets) else { panic!() };
        assert!(connack.session_present && !connack.retain && connack.subscription_ids);
        assert_eq!((connack.receive_maximum, connack.keep_alive), (20, Some(30)));
        let Ok(Packet::ConnAck(refused)) = read(Version::V311, &[0x20, 2, 0, 5]) else { panic!() };
        assert_eq!(refused.reason, 0x87);
        assert!(read(Version::V5, &[0x20, 2, 0, 1]).is_err(), "3.1.1 has no properties");
        assert!(read(Version::V5, &[0x20, 6, 0, 0, 3, 0x21, 0, 0]).is_err(), "a receive maximum of 0");
    }

    proptest! {
        #[test]
        fn nothing_that_a_broker_sends_panics(octets: Vec<u8>, first: u8) {
            let body = octets.as_slice();
            for version in [Version::V5, Version::V311] {
                let _any = Packet::read(version, Frame { first, body });
            }
            let _any = Frame::cut(body, 1 << 20);
        }
    }
}
