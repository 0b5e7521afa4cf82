//! What of a connection's MQTT session has to survive the process, and the octets it is kept in.
//!
//! Only QoS 2 is in it. A QoS 1 message without its PUBACK is sent again by whoever answers for it, and the core renews
//! its subscriptions by itself.
//!
//! The octets, all numbers big-endian: the version; the newest packet id; the number of outgoing exchanges and each of
//! them (packet id, flags, token if there is one, and before PUBREL topic and payload behind their lengths); the number
//! of incoming exchanges and the packet id of each.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use bytestring::ByteString;
use thiserror::Error;

use crate::core::topics::{TopicError, TopicName};
use crate::core::{Message, Token};
use crate::wire::Qos;

const VERSION: u8 = 1;

const HAS_TOKEN: u8 = 1;
const RELEASED: u8 = 1 << 1;
const RETAIN: u8 = 1 << 2;

/// One connection's QoS 2 exchanges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The packet id that was given out last.
    pub(in crate::broker) newest: u16,
    /// In the order in which the messages were sent first.
    pub(in crate::broker) outgoing: Vec<Outgoing>,
    /// Packet ids of messages that were answered with PUBREC and not released yet.
    pub(in crate::broker) incoming: Vec<u16>,
}

/// A message on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Outgoing {
    pub(in crate::broker) packet: u16,
    pub(in crate::broker) token: Option<Token>,
    pub(in crate::broker) progress: Progress,
}

/// How far an outgoing exchange is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Progress {
    /// The broker may have the message.
    Sent(Message),
    /// The broker has it, and was told PUBREL.
    Released,
}

/// Why octets are no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    #[error("a checkpoint of version {0}; this program reads version {VERSION}")]
    Version(u8),
    #[error("a checkpoint that ends too early")]
    Truncated,
    #[error("a checkpoint with {0} octets too many")]
    Trailing(usize),
    #[error("a checkpoint with the packet id {0} where it cannot be")]
    Packet(u16),
    #[error("a checkpoint with the flags {0:#04x}")]
    Flags(u8),
    #[error("a checkpoint with a topic that is none: {0}")]
    Topic(TopicError),
}

impl Checkpoint {
    /// Returns the tokens of the messages that are under way to the broker. The connection that takes the checkpoint up
    /// answers for each of them.
    ///
    /// # Errors
    ///
    /// What makes `octets` unreadable. A connection that finds them so begins with a new session at the broker.
    pub fn tokens(octets: &Bytes) -> Result<Vec<Token>, CheckpointError> {
        Ok(Self::decode(octets)?.outgoing.into_iter().filter_map(|exchange| exchange.token).collect())
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut octets = BytesMut::new();
        octets.put_u8(VERSION);
        octets.put_u16(self.newest);
        octets.put_u16(count(self.outgoing.len()));
        self.outgoing.iter().for_each(|exchange| exchange.encode(&mut octets));
        octets.put_u16(count(self.incoming.len()));
        self.incoming.iter().for_each(|packet| octets.put_u16(*packet));
        octets.freeze()
    }

    pub(super) fn decode(octets: &Bytes) -> Result<Self, CheckpointError> {
        let mut rest = octets.clone();
        let version = take(&mut rest, 1)?.get_u8();
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        let newest = take(&mut rest, 2)?.get_u16();
        let mut outgoing: Vec<Outgoing> = Vec::new();
        for _ in 0..take(&mut rest, 2)?.get_u16() {
            let exchange = Outgoing::decode(&mut rest)?;
            if exchange.packet == 0 || outgoing.iter().any(|other| other.packet == exchange.packet) {
                return Err(CheckpointError::Packet(exchange.packet));
            }
            outgoing.push(exchange);
        }
        let mut incoming = Vec::new();
        for _ in 0..take(&mut rest, 2)?.get_u16() {
            let packet = take(&mut rest, 2)?.get_u16();
            if packet == 0 {
                return Err(CheckpointError::Packet(packet));
            }
            incoming.push(packet);
        }
        match rest.len() {
            0 => Ok(Self { newest, outgoing, incoming }),
            octets => Err(CheckpointError::Trailing(octets)),
        }
    }
}

impl Outgoing {
    fn encode(&self, octets: &mut BytesMut) {
        let (released, retain) = match &self.progress {
            Progress::Sent(message) => (0, if message.retain { RETAIN } else { 0 }),
            Progress::Released => (RELEASED, 0),
        };
        octets.put_u16(self.packet);
        octets.put_u8(released | retain | if self.token.is_some() { HAS_TOKEN } else { 0 });
        if let Some(Token(number)) = self.token {
            octets.put_u64(number);
        }
        match &self.progress {
            Progress::Sent(message) => {
                let topic = message.topic.as_str().as_bytes();
                octets.put_u32(length(topic));
                octets.put_slice(topic);
                octets.put_u32(length(&message.payload));
                octets.put_slice(&message.payload);
            }
            Progress::Released => {}
        }
    }

    fn decode(rest: &mut Bytes) -> Result<Self, CheckpointError> {
        let packet = take(rest, 2)?.get_u16();
        let flags = take(rest, 1)?.get_u8();
        if flags & !(HAS_TOKEN | RELEASED | RETAIN) != 0 {
            return Err(CheckpointError::Flags(flags));
        }
        let token = if flags & HAS_TOKEN == 0 { None } else { Some(Token(take(rest, 8)?.get_u64())) };
        if flags & RELEASED != 0 {
            return Ok(Self { packet, token, progress: Progress::Released });
        }
        let topic = ByteString::try_from(take_long(rest)?);
        let topic = topic.map_err(|_| TopicError::NotUtf8).and_then(TopicName::from_shared);
        let message = Message {
            topic: topic.map_err(CheckpointError::Topic)?,
            payload: take_long(rest)?,
            qos: Qos::ExactlyOnce,
            retain: flags & RETAIN != 0,
        };
        Ok(Self { packet, token, progress: Progress::Sent(message) })
    }
}

fn count(items: usize) -> u16 {
    u16::try_from(items).expect("an exchange has a packet id of its own, and there are 65535")
}

fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).expect("an MQTT packet has less than 2^28 octets")
}

fn take(rest: &mut Bytes, octets: usize) -> Result<Bytes, CheckpointError> {
    if rest.len() < octets {
        return Err(CheckpointError::Truncated);
    }
    Ok(rest.split_to(octets))
}

fn take_long(rest: &mut Bytes) -> Result<Bytes, CheckpointError> {
    let octets = take(rest, 4)?.get_u32();
    take(rest, usize::try_from(octets).map_err(|_| CheckpointError::Truncated)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let topic = TopicName::parse(b"a/b").unwrap();
        let message = Message { topic, payload: "23.5".into(), qos: Qos::ExactlyOnce, retain: true };
        Checkpoint {
            newest: 9,
            outgoing: vec![
                Outgoing { packet: 8, token: Some(Token(1 << 63 | 5)), progress: Progress::Sent(message.clone()) },
                Outgoing { packet: 3, token: Some(Token(4)), progress: Progress::Released },
                Outgoing { packet: 9, token: None, progress: Progress::Sent(Message { retain: false, ..message }) },
            ],
            incoming: vec![1, 65_535],
        }
    }

    #[test]
    fn what_was_encoded_is_decoded_as_it_was() {
        for checkpoint in [checkpoint(), Checkpoint::default()] {
            assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint));
        }
        assert_eq!(Checkpoint::tokens(&checkpoint().encode()), Ok(vec![Token(1 << 63 | 5), Token(4)]));
    }

    #[test]
    fn a_checkpoint_that_is_cut_anywhere_is_refused() {
        let octets = checkpoint().encode();
        for end in 0..octets.len() {
            assert_eq!(Checkpoint::decode(&octets.slice(..end)), Err(CheckpointError::Truncated), "{end}");
        }
    }

    #[test]
    fn what_no_checkpoint_can_hold_is_refused() {
        let change = |position: usize, octet: u8| {
            let mut octets = checkpoint().encode().to_vec();
            octets[position] = octet;
            Checkpoint::decode(&octets.into()).unwrap_err()
        };
        assert_eq!(change(0, 2), CheckpointError::Version(2));
        assert_eq!(change(6, 0), CheckpointError::Packet(0));
        assert_eq!(change(6, 3), CheckpointError::Packet(3));
        assert_eq!(change(7, 0x0D), CheckpointError::Flags(0x0D));
        assert!(matches!(change(20, 0xFF), CheckpointError::Topic(_)));
        let trailing: Bytes = [&checkpoint().encode()[..], b"x"].concat().into();
        assert_eq!(Checkpoint::decode(&trailing), Err(CheckpointError::Trailing(1)));
    }
}
