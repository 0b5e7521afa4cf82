//! Finds the packets of QoS 2 exchanges in a stream of MQTT octets, as they come in chunks of any size.
//!
//! Everything else is passed over without being copied. The session on one side is trusted and the broker on the
//! other is not, so from the broker no more than the first octets of a short packet are ever collected.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::mqtt::Version;

/// Which way the octets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToBroker,
    FromBroker,
}

/// A packet of a QoS 2 exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Only on the way to the broker.
    Publish {
        packet: u16,
        retain: bool,
        topic: Bytes,
        payload: Bytes,
    },
    /// With its reason code; 0 where there is none (MQTT 5 §3.5.2.1).
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
}

/// Watches one direction of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    version: Version,
    direction: Direction,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In the first octet and the remaining length: the first octet once it was there, the length so far, and how many
    /// of its octets were there.
    Header { first: Option<u8>, length: usize, octets: u32 },
    /// In a packet of interest: its first octet, how much of it is still to be collected, how much there is after that.
    Inside { first: u8, collect: usize, after: usize, octets: BytesMut },
    /// In what is of no interest.
    Passing { left: usize },
    /// This is not MQTT. The link will end the connection.
    Lost,
}

/// Packet types (MQTT 5 §2.1.2).
const PUBLISH: u8 = 3;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

/// Packet id and reason code.
const ANSWER: usize = 3;

/// Octets of the longest remaining length (MQTT 5 §1.5.5).
const LENGTH_OCTETS: u32 = 4;

impl Watch {
    pub(super) fn new(version: Version, direction: Direction) -> Self {
        Self { version, direction, place: Place::START }
    }

    /// Takes the next octets of the stream, and tells of each packet whose last octet of interest is among them.
    pub(super) fn take(&mut self, mut octets: &[u8], mut tell: impl FnMut(Seen)) {
        while let Some((next, rest)) = octets.split_first() {
            match &mut self.place {
                Place::Header { first: first @ None, .. } => {
                    *first = Some(*next);
                    octets = rest;
                }
                Place::Header { first: Some(first), length, octets: taken } => {
                    octets = rest;
                    *length |= usize::from(next & 0x7F) << (7 * *taken);
                    *taken += 1;
                    if next & 0x80 == 0 {
                        self.place = place_inside(*first, *length, self.direction);
                    } else if *taken == LENGTH_OCTETS {
                        self.place = Place::Lost;
                    }
                }
                Place::Inside { first, collect, after, octets: collected } => {
                    let (part, rest) = octets.split_at((*collect).min(octets.len()));
                    collected.extend_from_slice(part);
                    *collect -= part.len();
                    octets = rest;
                    if *collect == 0 {
                        if let Some(seen) = read(*first, collected.split().freeze(), self.version) {
                            tell(seen);
                        }
                        self.place = Place::passing(*after);
                    }
                }
                Place::Passing { left } => {
                    let passed = (*left).min(octets.len());
                    self.place = Place::passing(*left - passed);
                    octets = &octets[passed..];
                }
                Place::Lost => return,
            }
        }
    }
}

impl Place {
    const START: Self = Self::Header { first: None, length: 0, octets: 0 };

    fn passing(left: usize) -> Self {
        if left == 0 { Self::START } else { Self::Passing { left } }
    }
}

fn place_inside(first: u8, length: usize, direction: Direction) -> Place {
    let collect = match (first >> 4, direction) {
        (PUBLISH, Direction::ToBroker) if first & 0b0110 == 0b0100 => length,
        (PUBREC | PUBREL | PUBCOMP, _) => length.min(ANSWER),
        _ => 0,
    };
    match collect {
        0 => Place::passing(length),
        _ => Place::Inside { first, collect, after: length - collect, octets: BytesMut::new() },
    }
}

fn read(first: u8, mut octets: Bytes, version: Version) -> Option<Seen> {
    match first >> 4 {
        PUBLISH => {
            let topic_length = usize::from(octets.try_get_u16().ok()?);
            let topic = take(&mut octets, topic_length)?;
            let packet = octets.try_get_u16().ok()?;
            match version {
                Version::V5 => {
                    let properties = variable(&mut octets)?;
                    take(&mut octets, properties)?;
                }
                Version::V311 => {}
            }
            Some(Seen::Publish { packet, retain: first & 1 == 1, topic, payload: octets })
        }
        PUBREC => {
            let packet = octets.try_get_u16().ok()?;
            Some(Seen::PubRec { packet, reason: octets.try_get_u8().unwrap_or(0) })
        }
        PUBREL => Some(Seen::PubRel { packet: octets.try_get_u16().ok()? }),
        PUBCOMP => Some(Seen::PubComp { packet: octets.try_get_u16().ok()? }),
        _ => None,
    }
}

fn take(octets: &mut Bytes, length: usize) -> Option<Bytes> {
    (octets.len() >= length).then(|| octets.split_to(length))
}

/// Reads a variable byte integer (MQTT 5 §1.5.5).
fn variable(octets: &mut Bytes) -> Option<usize> {
    let mut value = 0;
    for position in 0..LENGTH_OCTETS {
        let octet = octets.try_get_u8().ok()?;
        value |= usize::from(octet & 0x7F) << (7 * position);
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: Version, direction: Direction, octets: &[u8]) -> Vec<Seen> {
        let whole = by_chunks(version, direction, octets, octets.len().max(1));
        for size in 1..octets.len() {
            assert_eq!(by_chunks(version, direction, octets, size), whole, "in chunks of {size}");
        }
        whole
    }

    fn by_chunks(version: Version, direction: Direction, octets: &[u8], size: usize) -> Vec<Seen> {
        let (mut watch, mut found) = (Watch::new(version, direction), Vec::new());
        octets.chunks(size).for_each(|chunk| watch.take(chunk, |packet| found.push(packet)));
        found
    }

    fn publish(packet: u16, retain: bool, payload: &'static [u8]) -> Seen {
        Seen::Publish { packet, retain, topic: "a/b".into(), payload: Bytes::from_static(payload) }
    }

    #[test]
    fn publishes_at_qos_2_are_found_among_others() {
        let octets = [
            &[0x10, 3, 1, 2, 3][..],                              // CONNECT
            &[0x35, 9, 0, 3, b'a', b'/', b'b', 1, 2, b'x', b'y'], // QoS 2, retain
            &[0x32, 8, 0, 3, b'a', b'/', b'b', 1, 3, b'x'],       // QoS 1
            &[0x30, 6, 0, 3, b'a', b'/', b'b', b'x'],             // QoS 0
            &[0xC0, 0],                                           // PINGREQ
            &[0x3C, 7, 0, 3, b'a', b'/', b'b', 1, 4],             // QoS 2, DUP
        ]
        .concat();
        let found = [publish(0x0102, true, b"xy"), publish(0x0104, false, b"")];
        assert_eq!(seen(Version::V311, Direction::ToBroker, &octets), found);
        assert_eq!(seen(Version::V311, Direction::FromBroker, &octets), []);
    }

    #[test]
    fn properties_are_passed_over_in_mqtt_5() {
        let octets = [0x34, 14, 0, 3, b'a', b'/', b'b', 0, 1, 5, 2, 0, 0, 0, 9, b'x'];
        assert_eq!(seen(Version::V5, Direction::ToBroker, &octets), [publish(1, false, b"x")]);
    }

    #[test]
    fn a_long_packet_is_found_whole() {
        let mut octets = vec![0x34, 0xAC, 0x02, 0, 3, b'a', b'/', b'b', 0, 1];
        octets.extend([b'x'; 293]);
        octets.extend([0x62, 2, 0, 1]);
        let found = [publish(1, false, &[b'x'; 293]), Seen::PubRel { packet: 1 }];
        assert_eq!(seen(Version::V311, Direction::ToBroker, &octets), found);
    }

    #[test]
    fn answers_are_found_with_their_reasons() {
        let octets = [
            &[0x50, 2, 0, 1][..],
            &[0x50, 3, 0, 2, 0x87],
            &[0x50, 9, 0, 3, 0x97, 5, 1, 2, 3, 4, 5],
            &[0x62, 2, 0, 4],
            &[0x70, 3, 0, 5, 0x92],
        ]
        .concat();
        let found = [
            Seen::PubRec { packet: 1, reason: 0 },
            Seen::PubRec { packet: 2, reason: 0x87 },
            Seen::PubRec { packet: 3, reason: 0x97 },
            Seen::PubRel { packet: 4 },
            Seen::PubComp { packet: 5 },
        ];
        assert_eq!(seen(Version::V5, Direction::FromBroker, &octets), found);
    }

    #[test]
    fn octets_that_are_not_mqtt_are_left_alone() {
        assert_eq!(seen(Version::V5, Direction::FromBroker, &[0x50, 0xFF, 0xFF, 0xFF, 0xFF, 0x50, 2, 0, 1]), []);
        assert_eq!(
            seen(Version::V5, Direction::FromBroker, &[0x50, 1, 0, 0x50, 0, 0x70, 2, 0, 1]),
            [Seen::PubComp { packet: 1 }]
        );
        assert_eq!(seen(Version::V5, Direction::ToBroker, &[0x34, 3, 0, 9, b'a']), []);
    }
}
