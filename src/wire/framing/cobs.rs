//! COBS between zero octets, with a CRC-16/XMODEM behind the frame.

use std::time::Duration;

use super::packet::Packet;
use super::{
    Coder, Destination, Found, FrameSize, NodeAddress, NoiseReason, Received, Scheme, Sink, WrongAddress, crc,
};

pub(super) const SCHEME: Scheme = Scheme {
    name: "cobs-crc",
    // A zero octet resynchronises by itself; the gap only keeps a frame without one from spoiling the next.
    gap: Duration::from_millis(500),
    frame_size: FrameSize::OF_A_WIRE,
    flow: None,
    sole_node: NodeAddress::None,
    coder: |_, max_frame| Box::new(Cobs::new(max_frame)),
};

const DELIMITER: u8 = 0;
/// Where the type of a message is: behind the first code and Length. Of ADVERTISE, whose type is 0, a code stands there.
const TYPE_AT: usize = 2;

#[derive(Debug)]
struct Cobs {
    packet: Packet,
    max_frame: usize,
}

impl Cobs {
    fn new(max_frame: usize) -> Self {
        // The delimiter that is counted here has its use: some encoders end a run of 254 octets with a code.
        let max_content = corncobs::max_encoded_len(max_frame.saturating_add(crc::OCTETS));
        Self { packet: Packet::new(max_content, TYPE_AT), max_frame }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        let Self { packet, max_frame } = self;
        if packet.is_empty() {
            return;
        }
        let opened = packet.spoilt().map_or_else(|| open(packet.content(), *max_frame, sink), Err);
        match opened {
            Ok(()) => packet.restart(),
            Err(reason) => packet.give_up(reason, sink),
        }
    }
}

/// Decodes into a copy: what turns out to be noise is told as it was on the line.
fn open(content: &[u8], max_frame: usize, sink: &mut Sink<'_>) -> Result<(), NoiseReason> {
    let mut decoded = content.to_vec();
    let length = corncobs::decode_in_place(&mut decoded).map_err(|_| NoiseReason::BadEscape)?;
    let frame = crc::frame(&decoded[..length])?;
    if frame.len() > max_frame {
        return Err(NoiseReason::TooLong);
    }
    sink(Found::Frame(Received::bare(frame)));
    Ok(())
}

impl Coder for Cobs {
    fn feed(&mut self, octets: &[u8], sink: &mut Sink<'_>) {
        for &octet in octets {
            if octet == DELIMITER {
                self.end(sink);
            } else {
                self.packet.count();
                self.packet.push(octet, sink);
            }
        }
    }

    fn idle(&mut self, sink: &mut Sink<'_>) {
        if self.is_partial() {
            self.packet.give_up(NoiseReason::Unfinished, sink);
        }
    }

    fn is_partial(&self) -> bool {
        !self.packet.is_empty()
    }

    /// Writes a delimiter first, too: it closes whatever noise the line picked up before.
    fn encode(&mut self, node: Destination, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WrongAddress> {
        node.without_address()?;
        let mut content = frame.to_vec();
        crc::append(&mut content, 0);
        out.push(DELIMITER);
        // It writes the one behind by itself.
        corncobs::encode(&content, out);
        Ok(())
    }
}
