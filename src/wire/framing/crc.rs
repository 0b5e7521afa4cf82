//! The checksum behind each frame of `slip-crc`, `cobs-crc` and `aquila`: CRC-16/XMODEM, low octet first.

use crc::{CRC_16_XMODEM, Crc};

use super::{MIN_FRAME, NoiseReason};

/// Octets that the checksum adds.
pub(super) const OCTETS: usize = 2;

static XMODEM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Appends the checksum of what stands in `content` from `start` on.
pub(super) fn append(content: &mut Vec<u8>, start: usize) {
    let sum = XMODEM.checksum(&content[start..]);
    content.extend_from_slice(&sum.to_le_bytes());
}

/// Returns what stands in front of the checksum, if it is right.
pub(super) fn verified(content: &[u8]) -> Result<&[u8], NoiseReason> {
    match content.split_last_chunk::<OCTETS>() {
        Some((checked, sum)) if checked.len() >= MIN_FRAME && XMODEM.checksum(checked) == u16::from_le_bytes(*sum) => {
            Ok(checked)
        }
        Some(_) | None => Err(NoiseReason::BadChecksum),
    }
}

/// Returns the frame in front of the checksum, if it is right and this can be a frame.
///
/// Zeros in front of anything do not change this checksum, and what COBS makes of a damaged code may begin with one. No
/// frame does: it begins with its Length.
pub(super) fn frame(content: &[u8]) -> Result<&[u8], NoiseReason> {
    verified(content).and_then(|frame| if frame.starts_with(&[0]) { Err(NoiseReason::NotAMessage) } else { Ok(frame) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_is_met() {
        let mut content = b"123456789".to_vec();
        append(&mut content, 0);
        assert_eq!(content[9..], [0xC3, 0x31]);
        assert_eq!(verified(&content), Ok(&b"123456789"[..]));
        content[0] ^= 1;
        assert_eq!(verified(&content), Err(NoiseReason::BadChecksum));
        assert_eq!(verified(&[0, 0, 0]), Err(NoiseReason::BadChecksum));
    }

    #[test]
    fn a_zero_in_front_is_no_frame_although_the_checksum_is_right() {
        let mut content = vec![2, 0x16];
        append(&mut content, 0);
        assert_eq!(frame(&content), Ok(&[2, 0x16][..]));
        content.insert(0, 0);
        assert_eq!(verified(&content), Ok(&[0, 2, 0x16][..]));
        assert_eq!(frame(&content), Err(NoiseReason::NotAMessage));
    }
}
