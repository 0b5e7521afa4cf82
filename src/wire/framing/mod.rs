//! Serial framings: where in a stream of octets a frame begins and ends, and whose it is. Pure, incremental, of bounded
//! memory.
//!
//! A serial line loses octets, flips bits and carries a dongle's boot text between the frames. A [`Codec`] takes the
//! octets as they come, in any slices, and gives what it found: frames, lines of text, noise, and what the framing
//! itself has to say to the other end. The other way it writes frames as they stand on the line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

mod aquila;
mod cobs;
mod crc;
mod found;
mod node;
mod packet;
mod plausible;
mod raw;
mod residue;
mod slip;
mod xbee;

pub use found::{Found, Noise, NoiseReason, Reach, Receipt, Received, Refusal, Signal};
pub use node::{Destination, NodeAddress, WrongAddress};

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
    /// COBS, a zero octet on both sides of each frame, and the checksum of [`Framing::SlipCrc`].
    CobsCrc,
    /// The API of Digi's XBee radio modules, mode 1: nodes have addresses, and each frame a receipt.
    Xbee,
    /// The same in mode 2: what could be mistaken for the beginning of a frame is escaped.
    XbeeEscaped,
    /// The radio dongles of the Aquila project: SLIP with a CRC, node addresses, signal strength and receipts.
    Aquila,
}

impl Framing {
    /// Every framing, in the order in which to list them to a person.
    pub const ALL: [Self; 7] =
        [Self::Raw, Self::Slip, Self::SlipCrc, Self::CobsCrc, Self::Xbee, Self::XbeeEscaped, Self::Aquila];

    /// Returns the name that stands in the configuration.
    pub fn name(self) -> &'static str {
        self.scheme().name
    }

    /// Returns what its dongles carry.
    pub fn frame_size(self) -> FrameSize {
        self.scheme().frame_size
    }

    /// Returns the address by which a client at the far end of a line goes: it is node and dongle in one.
    pub fn sole_node(self) -> NodeAddress {
        self.scheme().sole_node
    }

    fn scheme(self) -> Scheme {
        match self {
            Self::Raw => raw::SCHEME,
            Self::Slip => slip::SCHEME,
            Self::SlipCrc => slip::SCHEME_WITH_CRC,
            Self::CobsCrc => cobs::SCHEME,
            Self::Xbee => xbee::SCHEME,
            Self::XbeeEscaped => xbee::SCHEME_ESCAPED,
            Self::Aquila => aquila::SCHEME,
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

/// Octets of the frames that the dongles of a framing take, without what the framing adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSize {
    /// Of the largest frame to send them unless the settings of the line say otherwise.
    pub default: usize,
    /// Of the largest frame that none of them could carry; what is longer does harm.
    pub longest: usize,
}

impl FrameSize {
    /// A line without a radio: one octet of Length by default, whatever MQTT-SN can name if asked for.
    const OF_A_WIRE: Self = Self { default: 255, longest: 65_535 };
}

/// How many frames may be on their way into a dongle that sends a receipt for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Frames without a receipt. The next one has to wait.
    pub unconfirmed: usize,
    /// How long to wait for a receipt before it counts as lost.
    pub patience: Duration,
}

/// Which way the frames travel: only some types of message make sense in either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a client or forwarder; what a gateway receives.
    Uplink,
    /// From a gateway; what a client receives.
    Downlink,
}

/// One end of one line: takes the frames of one direction out of the stream, and writes those of the other.
///
/// Call [`feed`](Self::feed) with whatever the line gave. When it has been quiet for [`gap`](Self::gap) while
/// [`is_partial`](Self::is_partial), call [`idle`](Self::idle): what is held then will never become a frame.
#[derive(Debug)]
pub struct Codec {
    coder: Box<dyn Coder + Send>,
    gap: Duration,
    flow: Option<Flow>,
}

impl Codec {
    /// Makes the end that receives frames of `received`. It holds at most about `max_frame` octets, and gives no frame
    /// longer than that.
    pub fn new(framing: Framing, received: Direction, max_frame: usize) -> Self {
        let scheme = framing.scheme();
        let flow = match received {
            // Who sends downlink is in front of a dongle; who sends uplink is one.
            Direction::Uplink => scheme.flow,
            Direction::Downlink => None,
        };
        Self { coder: (scheme.coder)(received, max_frame.max(MIN_FRAME)), gap: scheme.gap, flow }
    }

    /// Takes the next octets of the stream and gives `sink` what they complete.
    pub fn feed(&mut self, octets: &[u8], mut sink: impl FnMut(Found<'_>)) {
        self.coder.feed(octets, &mut sink);
    }

    /// Gives up what is unfinished, because the line has been quiet.
    pub fn idle(&mut self, mut sink: impl FnMut(Found<'_>)) {
        self.coder.idle(&mut sink);
    }

    /// Returns whether octets are held that [`idle`](Self::idle) would give up.
    pub fn is_partial(&self) -> bool {
        self.coder.is_partial()
    }

    /// Returns the silence after which an unfinished frame is given up, unless the settings of the line say otherwise.
    pub fn gap(&self) -> Duration {
        self.gap
    }

    /// Returns how frames sent must wait for receipts; `None` where there are none.
    pub fn flow(&self) -> Option<Flow> {
        self.flow
    }

    /// Appends a frame to `out` as it stands on the line, or nothing if this framing has no such address.
    ///
    /// A gateway's end addresses a node; a node's end says which node it is.
    pub fn encode(&mut self, node: Destination, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WrongAddress> {
        self.coder.encode(node, frame, out)
    }
}

/// The shortest MQTT-SN message: Length and MsgType.
const MIN_FRAME: usize = 2;

/// What makes up a framing. A new one is a file with this constant, and a row in [`Framing`].
struct Scheme {
    name: &'static str,
    gap: Duration,
    frame_size: FrameSize,
    flow: Option<Flow>,
    sole_node: NodeAddress,
    coder: fn(Direction, usize) -> Box<dyn Coder + Send>,
}

/// What a framing does; the methods are those of [`Codec`].
trait Coder: fmt::Debug {
    fn feed(&mut self, octets: &[u8], sink: &mut Sink<'_>);
    fn idle(&mut self, sink: &mut Sink<'_>);
    fn is_partial(&self) -> bool;
    fn encode(&mut self, node: Destination, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WrongAddress>;
}

type Sink<'s> = dyn FnMut(Found<'_>) + 's;

#[cfg(test)]
mod tests;
