//! The framings of serial lines as a dongle has them, written once more and by hand: our own are not their own judge.

use super::frame::take_first;

/// How frames stand on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Raw,
    Slip,
    SlipCrc,
    CobsCrc,
    Xbee,
    XbeeEscaped,
    Aquila,
}

/// What a dongle was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    pub to: To,
    pub frame: Vec<u8>,
    /// What the dongle says when it has sent the frame.
    pub receipt: Vec<u8>,
}

/// Whom a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The wire has no addresses.
    WhoeverListens,
    Node(u16),
    Everyone,
}

/// In front of the number of a node in the long addresses.
const XBEE_PREFIX: [u8; 6] = [0x00, 0x13, 0xA2, 0x00, 0x40, 0xAA];

impl Wire {
    pub const ALL: [Self; 7] =
        [Self::Raw, Self::Slip, Self::SlipCrc, Self::CobsCrc, Self::Xbee, Self::XbeeEscaped, Self::Aquila];

    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Slip => "slip",
            Self::SlipCrc => "slip-crc",
            Self::CobsCrc => "cobs-crc",
            Self::Xbee => "xbee",
            Self::XbeeEscaped => "xbee-escaped",
            Self::Aquila => "aquila",
        }
    }

    /// Writes a frame from this node as a dongle does.
    pub fn up(self, node: u16, frame: &[u8]) -> Vec<u8> {
        let [high, low] = node.to_be_bytes();
        match self {
            Self::Raw => frame.to_vec(),
            Self::Slip => slip(frame),
            Self::SlipCrc => slip(&with_crc(frame)),
            Self::CobsCrc => [&[0], &cobs(&with_crc(frame))[..], &[0]].concat(),
            Self::Xbee | Self::XbeeEscaped => {
                let header = [&[0x90], &XBEE_PREFIX[..], &[high, low, high, low, 0x01]].concat();
                self.api_frame(&[&header, frame].concat())
            }
            Self::Aquila => {
                let length = u8::try_from(frame.len() + 5).expect("the radio carries less");
                slip(&with_crc(&[&[0xC4, 0xBE, length, 0xFE, 0x01, low, high], frame].concat()))
            }
        }
    }

    /// Takes what the gateway gave the dongle first off a stream of octets.
    pub fn take_first(self, stream: &mut Vec<u8>) -> Option<Given> {
        match self {
            Self::Raw => take_raw(stream).map(|frame| given(To::WhoeverListens, &frame, &[])),
            Self::Slip => take_slip(stream).map(|frame| given(To::WhoeverListens, &frame, &[])),
            Self::SlipCrc => take_slip(stream).map(|content| given(To::WhoeverListens, &without_crc(&content), &[])),
            Self::CobsCrc => {
                let content = take_between(stream, 0)?;
                Some(given(To::WhoeverListens, &without_crc(&uncobs(&content)), &[]))
            }
            Self::Xbee | Self::XbeeEscaped => self.take_api_frame(stream).map(|data| self.transmitted(&data)),
            Self::Aquila => take_slip(stream).map(|content| sent_by_aquila(&without_crc(&content))),
        }
    }

    /// Reads a transmit request.
    fn transmitted(self, data: &[u8]) -> Given {
        let [0x10, id, address @ ..] = data else { panic!("no transmit request: {data:02x?}") };
        let (address, rest) = address.split_at(8);
        let ([high, low, _radius, 0], frame) = rest.split_at(4) else { panic!("no options: {data:02x?}") };
        let to = match address.strip_prefix(&XBEE_PREFIX) {
            Some(node) => To::Node(u16::from_be_bytes(node.try_into().expect("eight octets less six"))),
            None => {
                assert_eq!(address, [0, 0, 0, 0, 0, 0, 0xFF, 0xFF]);
                To::Everyone
            }
        };
        given(to, frame, &self.api_frame(&[0x8B, *id, *high, *low, 0, 0, 0]))
    }

    fn api_frame(self, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).expect("short frames").to_be_bytes();
        let sum = 0xFF - data.iter().fold(0_u8, |sum, octet| sum.wrapping_add(*octet));
        let mut octets = vec![0x7E];
        for octet in [&length[..], data, &[sum]].concat() {
            if self == Self::XbeeEscaped && [0x7E, 0x7D, 0x11, 0x13].contains(&octet) {
                octets.extend([0x7D, octet ^ 0x20]);
            } else {
                octets.push(octet);
            }
        }
        octets
    }

    fn take_api_frame(self, stream: &mut Vec<u8>) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        let mut octets = stream.iter().enumerate().skip(1);
        while let Some((at, &octet)) = octets.next() {
            plain.push(match octet {
                0x7D if self == Self::XbeeEscaped => octets.next()?.1 ^ 0x20,
                _ => octet,
            });
            let [high, low, data @ .., sum] = &plain[..] else { continue };
            if data.len() == usize::from(u16::from_be_bytes([*high, *low])) {
                assert_eq!(data.iter().fold(*sum, |sum, octet| sum.wrapping_add(*octet)), 0xFF);
                let data = data.to_vec();
                let escaped = usize::from(stream[at] == 0x7D && self == Self::XbeeEscaped);
                assert_eq!(stream.drain(..=at + escaped).next(), Some(0x7E));
                return Some(data);
            }
        }
        None
    }
}

fn given(to: To, frame: &[u8], receipt: &[u8]) -> Given {
    Given { to, frame: frame.to_vec(), receipt: receipt.to_vec() }
}

fn sent_by_aquila(content: &[u8]) -> Given {
    let [0x05, 0xFE, 0x01, low, high, frame @ ..] = content else { panic!("nothing to send: {content:02x?}") };
    assert!(frame.len() <= 59, "the firmware's buffer has 59 octets");
    let to = match u16::from_le_bytes([*low, *high]) {
        0xFFFF => To::Everyone,
        node => To::Node(node),
    };
    given(to, frame, &slip(&with_crc(&[0, 0, 2, 1])))
}

/// Takes a frame by its Length. That of an encapsulated one does not count the message inside.
fn take_raw(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [length, msg_type, ..] = stream[..] else { return None };
    let header = if msg_type == 0xFE { usize::from(length) } else { 0 };
    let mut inner = stream.get(header..)?.to_vec();
    let message = take_first(&mut inner)?;
    Some(stream.drain(..header + message.len()).collect())
}

fn slip(content: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xC0];
    for octet in content {
        match octet {
            0xC0 => octets.extend([0xDB, 0xDC]),
            0xDB => octets.extend([0xDB, 0xDD]),
            _ => octets.push(*octet),
        }
    }
    octets.push(0xC0);
    octets
}

fn take_slip(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let mut octets = take_between(stream, 0xC0)?.into_iter();
    while let Some(octet) = octets.next() {
        content.push(match octet {
            0xDB => match octets.next() {
                Some(0xDC) => 0xC0,
                Some(0xDD) => 0xDB,
                other => panic!("an escape before {other:02x?}"),
            },
            _ => octet,
        });
    }
    Some(content)
}

/// Takes the first octets that stand between two delimiters.
fn take_between(stream: &mut Vec<u8>, delimiter: u8) -> Option<Vec<u8>> {
    let start = stream.iter().position(|octet| *octet != delimiter)?;
    let length = stream[start..].iter().position(|octet| *octet == delimiter)?;
    let content = stream[start..start + length].to_vec();
    stream.drain(..=start + length);
    Some(content)
}

/// COBS, without the delimiters, for at most 253 octets.
fn cobs(content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 254);
    content.split(|octet| *octet == 0).fold(Vec::new(), |mut octets, run| {
        octets.push(u8::try_from(run.len() + 1).expect("checked above"));
        octets.extend_from_slice(run);
        octets
    })
}

fn uncobs(mut octets: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let [code, rest @ ..] = octets {
        let (run, rest) = rest.split_at(usize::from(*code) - 1);
        content.extend_from_slice(run);
        if *code < 0xFF && !rest.is_empty() {
            content.push(0);
        }
        octets = rest;
    }
    content
}

fn with_crc(content: &[u8]) -> Vec<u8> {
    [content, &crc(content).to_le_bytes()].concat()
}

fn without_crc(content: &[u8]) -> Vec<u8> {
    let (content, sum) = content.split_at(content.len() - 2);
    assert_eq!(crc(content).to_le_bytes(), sum, "{content:02x?}");
    content.to_vec()
}

/// CRC-16/XMODEM, bit by bit.
fn crc(octets: &[u8]) -> u16 {
    octets.iter().fold(0, |sum, octet| {
        (0..8)
            .fold(sum ^ (u16::from(*octet) << 8), |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 })
    })
}

#[test]
fn the_framings_of_the_tests_are_those_of_real_dongles() {
    fn octets(digits: &str) -> Vec<u8> {
        super::frame::octets(digits)
    }
    // The captured rows of fixtures/serial/frames.tsv.
    assert_eq!(crc(b"123456789"), 0x31C3);
    assert_eq!(Wire::SlipCrc.up(0, &octets("090c0000010000c0db")), octets("c0090c0000010000dbdcdbdd7815c0"));
    assert_eq!(Wire::CobsCrc.up(0, &octets("080c00000100007e")), octets("0003080c01020101047e5ca500"));
    let node = Wire::Aquila.take_first(&mut octets("c005fe0103000305007958c0")).unwrap();
    assert_eq!(node, given(To::Node(3), &octets("030500"), &octets("c0000002014376c0")));
    let all = Wire::Aquila.take_first(&mut octets("c005fe01ffff050001000ffbf6c0")).unwrap();
    assert_eq!((all.to, all.frame), (To::Everyone, octets("050001000f")));
    let all = Wire::XbeeEscaped.take_first(&mut octets("7e007d311001000000000000fffffffe0000030201ed")).unwrap();
    assert_eq!((all.to, all.frame), (To::Everyone, octets("030201")));
    assert_eq!(Wire::XbeeEscaped.up(0xBBCC, &octets("030100")), octets("7e000f90007d33a20040aabbccbbcc01030100bd"));
}
