//! Cutting a stream of MQTT octets into packets (MQTT 5 §2.1).

use thiserror::Error;

/// Octets of the longest remaining length (MQTT 5 §1.5.5).
const LENGTH_OCTETS: usize = 4;

/// One packet as it lies in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first: u8,
    /// What follows the remaining length.
    pub body: &'a [u8],
}

/// Why a stream cannot be cut any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("a packet whose length makes no sense")]
    Length,
    #[error("a packet of {octets} octets, which are more than the {largest} that are taken")]
    TooLarge { octets: usize, largest: usize },
}

impl<'a> Frame<'a> {
    /// Cuts the packet off that `octets` begin with, and returns it with what follows; `None` while it is not there yet.
    ///
    /// # Errors
    ///
    /// As soon as its header is there: what is longer than `largest` is never waited for.
    pub fn cut(octets: &'a [u8], largest: usize) -> Result<Option<(Self, &'a [u8])>, FrameError> {
        let Some((&first, rest)) = octets.split_first() else { return Ok(None) };
        let Some((length, rest)) = variable(rest).ok_or(FrameError::Length)? else { return Ok(None) };
        let whole = octets.len() - rest.len() + length;
        if whole > largest {
            return Err(FrameError::TooLarge { octets: whole, largest });
        }
        Ok(rest.split_at_checked(length).map(|(body, rest)| (Self { first, body }, rest)))
    }
}

/// Reads a variable byte integer and returns it with what follows: `None` if it is none, `Some(None)` if it is not
/// whole yet.
#[expect(clippy::option_option, reason = "the outer is whether it can become one, the inner whether it is there")]
pub(super) fn variable(octets: &[u8]) -> Option<Option<(usize, &[u8])>> {
    let mut value = 0;
    for (position, octet) in octets.iter().take(LENGTH_OCTETS).enumerate() {
        value |= usize::from(octet & 0x7F) << (7 * position);
        if octet & 0x80 == 0 {
            return Some(Some((value, &octets[position + 1..])));
        }
    }
    (octets.len() < LENGTH_OCTETS).then_some(None)
}

/// Writes the first octet of a packet and the length of what follows.
pub(super) fn write_header(first: u8, length: usize, out: &mut Vec<u8>) {
    out.push(first);
    write_variable(length, out);
}

pub(super) fn write_variable(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let more = if value < 0x80 { 0 } else { 0x80 };
        out.push((value & 0x7F) as u8 | more);
        value >>= 7;
        if value == 0 {
            return;
        }
    }
}

/// How many octets [`write_variable`] writes.
pub(super) fn variable_octets(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_cut_off_when_it_is_there() {
        let stream = [0x40, 2, 0, 7, 0xD0, 0, 0x30];
        let (frame, rest) = Frame::cut(&stream, 100).unwrap().unwrap();
        assert_eq!(frame, Frame { first: 0x40, body: &[0, 7] });
        let (frame, rest) = Frame::cut(rest, 100).unwrap().unwrap();
        assert_eq!((frame, rest), (Frame { first: 0xD0, body: &[] }, &[0x30][..]));
        assert_eq!(Frame::cut(rest, 100), Ok(None));
        for end in 0..4 {
            assert_eq!(Frame::cut(&stream[..end], 100), Ok(None));
        }
    }

    #[test]
    fn a_packet_that_is_too_large_is_refused_before_it_is_there() {
        let header = [0x30, 0x80, 0x01];
        assert_eq!(Frame::cut(&header, 131), Ok(None));
        assert_eq!(Frame::cut(&header, 130), Err(FrameError::TooLarge { octets: 131, largest: 130 }));
        assert_eq!(Frame::cut(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], usize::MAX), Err(FrameError::Length));
    }

    #[test]
    fn a_length_is_read_as_it_was_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut octets = Vec::new();
            write_variable(value, &mut octets);
            assert_eq!(octets.len(), variable_octets(value));
            assert_eq!(variable(&octets), Some(Some((value, &[][..]))));
        }
    }
}
