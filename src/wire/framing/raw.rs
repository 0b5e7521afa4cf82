//! The raw framing: messages back to back, told apart by their own Length.

use std::time::Duration;

use super::plausible::{Verdict, judge};
use super::residue::Residue;
use super::{
    Coder, Destination, Direction, Found, FrameSize, NodeAddress, NoiseReason, Received, Scheme, Sink, WrongAddress,
};

pub(super) const SCHEME: Scheme = Scheme {
    name: "raw",
    // Firmware writes header and payload in two steps, and radios pause between air packets.
    gap: Duration::from_millis(200),
    frame_size: FrameSize::OF_A_WIRE,
    flow: None,
    sole_node: NodeAddress::None,
    coder: |direction, max_frame| Box::new(Raw::new(direction, max_frame)),
};

/// Slides over the stream: where no frame can start, one octet is given up and the next one tried.
///
/// Giving up more, in the belief that a header was right and only its frame damaged, loses the intact frames that
/// follow an octet lost.
#[derive(Debug)]
struct Raw {
    direction: Direction,
    max_frame: usize,
    /// The octets from the first place on where a frame may yet start; fewer than `max_frame` between calls.
    held: Vec<u8>,
    residue: Residue,
}

impl Raw {
    fn new(direction: Direction, max_frame: usize) -> Self {
        Self { direction, max_frame, held: Vec::new(), residue: Residue::default() }
    }

    /// Takes what can be decided from the front of the octets held.
    fn scan(&mut self, unfinished: Unfinished, sink: &mut Sink<'_>) {
        let mut start = 0;
        while start < self.held.len() {
            let rest = &self.held[start..];
            let reason = match judge(rest, self.direction, self.max_frame) {
                _ if self.residue.continues_as_text(rest) => NoiseReason::NotAMessage,
                Verdict::Frame(length) if self.may_end(&rest[length..], unfinished) => {
                    self.residue.flush(sink);
                    sink(Found::Frame(Received::bare(&rest[..length])));
                    start += length;
                    continue;
                }
                Verdict::Unfinished => match unfinished {
                    Unfinished::Waits if rest.len() < self.max_frame => break,
                    Unfinished::Waits => NoiseReason::TooLong,
                    Unfinished::IsGivenUp => NoiseReason::Unfinished,
                },
                Verdict::Frame(_) | Verdict::Impossible => NoiseReason::NotAMessage,
            };
            self.residue.push(rest[0], reason, sink);
            start += 1;
        }
        self.held.drain(..start);
    }

    /// Returns whether a frame may end in front of `rest`. Behind a false header it is a find by chance if no frame
    /// follows, a piece of the payload of a message that has lost an octet.
    fn may_end(&self, rest: &[u8], unfinished: Unfinished) -> bool {
        match unfinished {
            Unfinished::Waits => true,
            Unfinished::IsGivenUp => judge(rest, self.direction, self.max_frame) != Verdict::Impossible,
        }
    }
}

/// What becomes of octets that are so far a frame.
#[derive(Clone, Copy)]
enum Unfinished {
    Waits,
    IsGivenUp,
}

impl Coder for Raw {
    fn feed(&mut self, mut octets: &[u8], sink: &mut Sink<'_>) {
        while !octets.is_empty() {
            let room = self.max_frame - self.held.len();
            let (taken, later) = octets.split_at(room.min(octets.len()));
            self.held.extend_from_slice(taken);
            self.scan(Unfinished::Waits, sink);
            octets = later;
        }
    }

    /// Gives up octet by octet, until nothing is held: whole frames may stand behind a false header, and nothing that
    /// is older than the gap may swallow the beginning of the frame that comes next.
    fn idle(&mut self, sink: &mut Sink<'_>) {
        self.scan(Unfinished::IsGivenUp, sink);
        self.residue.flush(sink);
    }

    fn is_partial(&self) -> bool {
        !self.held.is_empty() || !self.residue.is_empty()
    }

    fn encode(&mut self, node: Destination, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WrongAddress> {
        node.without_address()?;
        out.extend_from_slice(frame);
        Ok(())
    }
}
