//! SLIP (RFC 1055), without a checksum or with a CRC-16/XMODEM behind the frame.

use std::fmt;
use std::time::Duration;

use super::packet::Packet;
use super::plausible::{Verdict, judge};
use super::{
    Coder, Destination, Direction, Found, FrameSize, NodeAddress, NoiseReason, Received, Scheme, Sink, WrongAddress,
    crc,
};

pub(super) const SCHEME: Scheme = Scheme {
    name: "slip",
    gap: GAP,
    frame_size: FrameSize::OF_A_WIRE,
    flow: None,
    sole_node: NodeAddress::None,
    coder: |direction, max_frame| Box::new(Slip::new(Plain { direction }, max_frame, TYPE_AT)),
};

pub(super) const SCHEME_WITH_CRC: Scheme = Scheme {
    name: "slip-crc",
    gap: GAP,
    frame_size: FrameSize::OF_A_WIRE,
    flow: None,
    sole_node: NodeAddress::None,
    coder: |_, max_frame| Box::new(Slip::new(Checked, max_frame.saturating_add(crc::OCTETS), TYPE_AT)),
};

/// END resynchronises by itself; the gap only keeps a frame without its END from spoiling the next one.
pub(super) const GAP: Duration = Duration::from_millis(500);

/// Where a message has its type.
const TYPE_AT: usize = 1;

const END: u8 = 0xC0;
const ESC: u8 = 0xDB;
const ESC_END: u8 = 0xDC;
const ESC_ESC: u8 = 0xDD;

/// What stands between two ENDs.
pub(super) trait Content: fmt::Debug {
    /// Gives what is in it, or says why there is nothing.
    fn open(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), NoiseReason>;
    /// Appends what a frame becomes.
    fn seal(&mut self, node: Destination, frame: &[u8], content: &mut Vec<u8>) -> Result<(), WrongAddress>;
}

/// Takes content out of a stream, and puts it in.
#[derive(Debug)]
pub(super) struct Slip<C> {
    inside: C,
    packet: Packet,
    escape: Escape,
}

/// Whether the last octet was an ESC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Pending,
}

impl<C> Slip<C> {
    pub(super) fn new(inside: C, max_content: usize, type_at: usize) -> Self {
        Self { inside, packet: Packet::new(max_content, type_at), escape: Escape::No }
    }
}

impl<C: Content> Slip<C> {
    fn end(&mut self, sink: &mut Sink<'_>) {
        let Self { inside, packet, escape } = self;
        if *escape == Escape::Pending {
            packet.spoil(NoiseReason::BadEscape);
        }
        *escape = Escape::No;
        // Frames have an END on both sides, so that between two frames there is an empty one.
        if packet.is_empty() {
            return;
        }
        let opened = packet.spoilt().map_or_else(|| inside.open(packet.content(), sink), Err);
        match opened {
            Ok(()) => packet.restart(),
            Err(reason) => packet.give_up(reason, sink),
        }
    }
}

impl<C: Content> Coder for Slip<C> {
    fn feed(&mut self, octets: &[u8], sink: &mut Sink<'_>) {
        for &octet in octets {
            if octet == END {
                self.end(sink);
                continue;
            }
            self.packet.count();
            match (self.escape, octet) {
                (Escape::No, ESC) => self.escape = Escape::Pending,
                (Escape::No, plain) => self.packet.push(plain, sink),
                (Escape::Pending, escaped) => {
                    self.escape = Escape::No;
                    match escaped {
                        ESC_END => self.packet.push(END, sink),
                        ESC_ESC => self.packet.push(ESC, sink),
                        _ => self.packet.spoil(NoiseReason::BadEscape),
                    }
                }
            }
        }
    }

    fn idle(&mut self, sink: &mut Sink<'_>) {
        self.escape = Escape::No;
        if self.is_partial() {
            self.packet.give_up(NoiseReason::Unfinished, sink);
        }
    }

    fn is_partial(&self) -> bool {
        !self.packet.is_empty()
    }

    fn encode(&mut self, node: Destination, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WrongAddress> {
        let mut content = Vec::with_capacity(frame.len() + 16);
        self.inside.seal(node, frame, &mut content)?;
        enclose(&content, out);
        Ok(())
    }
}

/// Writes END first, too: it closes whatever noise the line picked up before, and some firmware waits for it.
pub(super) fn enclose(content: &[u8], out: &mut Vec<u8>) {
    out.push(END);
    for &octet in content {
        match octet {
            END => out.extend_from_slice(&[ESC, ESC_END]),
            ESC => out.extend_from_slice(&[ESC, ESC_ESC]),
            plain => out.push(plain),
        }
    }
    out.push(END);
}

/// A frame and nothing else. What tells it from noise is that it looks like a message of the direction.
#[derive(Debug)]
struct Plain {
    direction: Direction,
}

impl Content for Plain {
    fn open(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), NoiseReason> {
        if judge(content, self.direction, content.len()) != Verdict::Frame(content.len()) {
            return Err(NoiseReason::NotAMessage);
        }
        sink(Found::Frame(Received::bare(content)));
        Ok(())
    }

    fn seal(&mut self, node: Destination, frame: &[u8], content: &mut Vec<u8>) -> Result<(), WrongAddress> {
        node.without_address()?;
        content.extend_from_slice(frame);
        Ok(())
    }
}

/// A frame and its checksum.
#[derive(Debug)]
struct Checked;

impl Content for Checked {
    fn open(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), NoiseReason> {
        sink(Found::Frame(Received::bare(crc::frame(content)?)));
        Ok(())
    }

    fn seal(&mut self, node: Destination, frame: &[u8], content: &mut Vec<u8>) -> Result<(), WrongAddress> {
        node.without_address()?;
        content.extend_from_slice(frame);
        crc::append(content, 0);
        Ok(())
    }
}
