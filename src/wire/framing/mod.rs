//! Serial framings: where in a stream of octets a frame begins and ends. Pure, incremental, of bounded memory.
//!
//! A serial line loses octets, flips bits and carries a dongle's boot text between the frames. A [`Decoder`] takes
//! the octets as they come, in any slices, and gives what it found: frames, lines of text, and noise.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

mod plausible;
mod raw;
mod residue;
mod slip;

/// How frames are marked on a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Framing {
    /// MQTT-SN messages back to back; their own Length delimits them. What nearly all firmware speaks.
    #[default]
    Raw,
    /// SLIP (RFC 1055): frames between END octets, no checksum.
    Slip,
    /// SLIP with a CRC-16/XMODEM, low octet first, behind each frame. The one that survives a bad line.
    SlipCrc,
}

impl Framing {
    /// Every framing, in the order in which to list them to a person.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Slip, Self::SlipCrc];

    /// Returns the name that stands in the configuration.
    pub fn name(self) -> &'static str {
        self.scheme().name
    }

    fn scheme(self) -> Scheme {
        match self {
            Self::Raw => raw::SCHEME,
            Self::Slip => slip::SCHEME,
            Self::SlipCrc => slip::SCHEME_WITH_CRC,
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no framing's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown framing \"{name}\"; known are {}", Framing::ALL.map(Framing::name).join(", "))]
pub struct UnknownFraming {
    pub name: String,
}

impl FromStr for Framing {
    type Err = UnknownFraming;

    fn from_str(name: &str) -> Result<Self, UnknownFraming> {
        Self::ALL
            .into_iter()
            .find(|framing| framing.name() == name)
            .ok_or_else(|| UnknownFraming { name: name.to_owned() })
    }
}

/// Which way the frames travel: only some types of message make sense in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a client or forwarder; what a gateway receives.
    Uplink,
    /// From a gateway; what a client receives.
    Downlink,
}

/// What a decoder found in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A frame: one MQTT-SN message, with its forwarder encapsulation if it has one.
    Frame(&'a [u8]),
    /// A line of text between the frames, such as a dongle's boot banner; without its line end and colours.
    Text(&'a str),
    Noise(Noise<'a>),
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

/// Takes the frames of one direction of one line out of the stream.
///
/// Call [`feed`](Self::feed) with whatever the line gave. When it has been quiet for [`gap`](Self::gap) while
/// [`is_partial`](Self::is_partial), call [`idle`](Self::idle): what is held then will never become a frame.
#[derive(Debug)]
pub struct Decoder {
    deframer: Box<dyn Deframe + Send>,
    gap: Duration,
}

impl Decoder {
    /// Makes a decoder that holds at most about `max_frame` octets, and gives no frame longer than that.
    pub fn new(framing: Framing, direction: Direction, max_frame: usize) -> Self {
        let scheme = framing.scheme();
        Self { deframer: (scheme.deframer)(direction, max_frame.max(MIN_FRAME)), gap: scheme.gap }
    }

    /// Takes the next octets of the stream and gives `sink` what they complete.
    pub fn feed(&mut self, octets: &[u8], mut sink: impl FnMut(Found<'_>)) {
        self.deframer.feed(octets, &mut sink);
    }

    /// Gives up what is unfinished, because the line has been quiet.
    pub fn idle(&mut self, mut sink: impl FnMut(Found<'_>)) {
        self.deframer.idle(&mut sink);
    }

    /// Returns whether octets are held that [`idle`](Self::idle) would give up.
    pub fn is_partial(&self) -> bool {
        self.deframer.is_partial()
    }

    /// Returns the silence after which an unfinished frame is given up, unless the settings of the line say otherwise.
    pub fn gap(&self) -> Duration {
        self.gap
    }
}

/// Appends one frame to `out` as it stands on the line.
pub fn encode(framing: Framing, frame: &[u8], out: &mut Vec<u8>) {
    (framing.scheme().encode)(frame, out);
}

/// The shortest MQTT-SN message: Length and MsgType.
const MIN_FRAME: usize = 2;

/// What makes up a framing. A new one is a file with this constant, and a row in [`Framing`].
struct Scheme {
    name: &'static str,
    gap: Duration,
    deframer: fn(Direction, usize) -> Box<dyn Deframe + Send>,
    encode: fn(&[u8], &mut Vec<u8>),
}

/// The receiving half of a framing; the methods are those of [`Decoder`].
trait Deframe: fmt::Debug {
    fn feed(&mut self, octets: &[u8], sink: &mut Sink<'_>);
    fn idle(&mut self, sink: &mut Sink<'_>);
    fn is_partial(&self) -> bool;
}

type Sink<'s> = dyn FnMut(Found<'_>) + 's;

#[cfg(test)]
mod tests;
