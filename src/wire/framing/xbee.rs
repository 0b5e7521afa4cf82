//! Digi's XBee radio modules in API mode: ZigBee modules, and 802.15.4 modules.

use std::time::Duration;

use super::residue::Residue;
use super::{Coder, Destination, Direction, Flow, FrameSize, NodeAddress, NoiseReason, Scheme, Sink, WrongAddress};

mod api;
mod envelope;

pub(super) use api::status_in_words;

use api::Api;
use envelope::{Escaping, Parsed};

pub(super) const SCHEME: Scheme = Scheme {
    name: "xbee",
    gap: Duration::from_millis(500),
    // A ZigBee module takes 54 to 84 octets and an 802.15.4 module 100, which its setting NP tells.
    frame_size: FrameSize { default: 72, longest: envelope::MAX_DATA - api::LONGEST_HEADER },
    // The modules have a few buffers, and a receipt may take seconds while the network looks for the node.
    flow: Some(Flow { unconfirmed: 4, patience: Duration::from_secs(5) }),
    sole_node: NodeAddress::Long(1),
    coder: |received, max_frame| Box::new(Xbee::new(received, Escaping::Off, max_frame)),
};

pub(super) const SCHEME_ESCAPED: Scheme = Scheme {
    name: "xbee-escaped",
    coder: |received, max_frame| Box::new(Xbee::new(received, Escaping::On, max_frame)),
    ..SCHEME
};

/// Octets of the API frames that carry no message, such as the answer to a network discovery.
const LONGEST_OTHER: usize = 128;

/// Slides over the stream as the raw framing does: in mode 1 a false start is found out only by its checksum, and the
/// frames behind it must not be lost with it.
#[derive(Debug)]
struct Xbee {
    api: Api,
    escaping: Escaping,
    max_data: usize,
    /// The octets from the first place on where an API frame may yet start; not much more than the longest of them.
    held: Vec<u8>,
    /// Reused by every frame.
    data: Vec<u8>,
    residue: Residue,
}

/// What becomes of octets that are so far a frame.
#[derive(Clone, Copy, Debug)]
enum Unfinished {
    Waits,
    IsGivenUp,
}

impl Xbee {
    fn new(received: Direction, escaping: Escaping, max_frame: usize) -> Self {
        Self {
            api: Api::new(received, escaping, max_frame),
            escaping,
            max_data: max_frame.saturating_add(api::LONGEST_HEADER).max(LONGEST_OTHER),
            held: Vec::new(),
            data: Vec::new(),
            residue: Residue::default(),
        }
    }

    /// Takes what can be decided from the front of the octets held.
    fn scan(&mut self, unfinished: Unfinished, sink: &mut Sink<'_>) {
        let mut start = 0;
        while start < self.held.len() {
            let rest = &self.held[start..];
            let reason = match envelope::parse(rest, self.escaping, self.max_data, &mut self.data) {
                Parsed::Whole { octets } => match self.api.read(&self.data) {
                    Ok(content) => {
                        self.residue.flush(sink);
                        self.api.take(content, sink);
                        start += octets;
                        continue;
                    }
                    Err(reason) => reason,
                },
                Parsed::Unfinished => match unfinished {
                    Unfinished::Waits => break,
                    Unfinished::IsGivenUp => NoiseReason::Unfinished,
                },
                Parsed::Impossible(reason) => reason,
            };
            self.residue.push(rest[0], reason, sink);
            start += 1;
        }
        self.held.drain(..start);
    }
}

impl Coder for Xbee {
    fn feed(&mut self, octets: &[u8], sink: &mut Sink<'_>) {
        self.held.extend_from_slice(octets);
        self.scan(Unfinished::Waits, sink);
    }

    fn idle(&mut self, sink: &mut Sink<'_>) {
        self.scan(Unfinished::IsGivenUp, sink);
        self.residue.flush(sink);
    }

    fn is_partial(&self) -> bool {
        !self.held.is_empty() || !self.residue.is_empty()
    }

    fn encode(&mut self, node: Destination, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WrongAddress> {
        let mut data = Vec::with_capacity(api::LONGEST_HEADER + frame.len());
        self.api.write(node, frame, &mut data)?;
        envelope::write(&data, self.escaping, out);
        Ok(())
    }
}
