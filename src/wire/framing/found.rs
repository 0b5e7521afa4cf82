//! What a [`Codec`](super::Codec) finds in the stream.

use std::fmt;

use super::NodeAddress;

/// What was found in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Frame(Received<'a>),
    /// A line of text between the frames, such as a dongle's boot banner, without its line end and colours; or what a
    /// dongle says by a number that its framing has words for.
    Text(&'a str),
    Noise(Noise<'a>),
    /// The dongle has dealt with a frame that was sent to it.
    Receipt(Receipt),
    /// Octets that the framing wants written to the line, as they are and before any frame.
    Answer(&'a [u8]),
}

/// A frame, and what the framing knows about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// At a gateway's end the node that sent it, at a node's end the node that it is for.
    pub node: NodeAddress,
    pub reach: Reach,
    pub signal: Option<Signal>,
    /// One MQTT-SN message, with its forwarder encapsulation if it has one.
    pub frame: &'a [u8],
}

impl<'a> Received<'a> {
    /// A frame of which the framing knows nothing.
    pub(super) fn bare(frame: &'a [u8]) -> Self {
        Self { node: NodeAddress::None, reach: Reach::One, signal: None, frame }
    }
}

/// Whom a frame was meant for, as the framing says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    One,
    Everyone,
}

/// How well the radio heard a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Received signal strength.
    pub rssi_dbm: i16,
    /// Link quality, on the radio's own scale.
    pub lqi: Option<u8>,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rssi_dbm, lqi } = self;
        write!(f, "{rssi_dbm} dBm")?;
        lqi.map_or(Ok(()), |lqi| write!(f, ", LQI {lqi}"))
    }
}

/// What became of a frame that was handed to a dongle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is on the air, or as far as the dongle can tell with its node.
    Taken,
    Refused(Refusal),
}

/// Why a dongle did not deliver a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the dongle answered NACK")]
    Nack,
    /// An XBee's delivery status.
    #[error("XBee delivery status {status:02x}, {}", super::xbee::status_in_words(*.status))]
    XbeeStatus { status: u8 },
}

/// Octets that are neither frame nor text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise<'a> {
    /// How many there were.
    pub octets: usize,
    /// The first of them, 16 at most.
    pub first: &'a [u8],
    /// What was wrong with the first of them.
    pub reason: NoiseReason,
}

impl Noise<'_> {
    /// The octets of a run that are shown.
    pub const MAX_FIRST: usize = 16;
}

/// Why octets are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoiseReason {
    #[error("no MQTT-SN message")]
    NotAMessage,
    #[error("the line went quiet in the middle of a frame")]
    Unfinished,
    #[error("wrong checksum")]
    BadChecksum,
    #[error("invalid escape sequence")]
    BadEscape,
    #[error("longer than the longest frame allowed")]
    TooLong,
}
