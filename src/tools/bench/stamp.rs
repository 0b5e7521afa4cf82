//! What every payload of a run begins with: whose message it is, which one, and when it was due.

use std::time::Duration;

use crate::core::Instant;

/// Joins a message that arrives to the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Drawn for each run, so that messages of an earlier one are not counted.
    pub(super) run: u32,
    /// Who sent it; or for whom it is, on its way to a device.
    pub(super) device: u32,
    /// Counts from 0, for each device.
    pub(super) sequence: u32,
    /// When it was sent first. At a fixed rate: when it was due, so that a queue in front of the sender shows as latency.
    pub(super) due: Instant,
}

impl Stamp {
    /// Octets of a stamp: no payload is shorter.
    pub(super) const OCTETS: usize = 20;

    /// Makes the payload begin with the stamp. A payload that is too short gets none.
    pub(super) fn write(&self, payload: &mut [u8]) {
        let Some(head) = payload.first_chunk_mut::<{ Self::OCTETS }>() else { return };
        let micros = u64::try_from(self.due.since_origin().as_micros()).unwrap_or(u64::MAX);
        head[..4].copy_from_slice(&self.run.to_be_bytes());
        head[4..8].copy_from_slice(&self.device.to_be_bytes());
        head[8..12].copy_from_slice(&self.sequence.to_be_bytes());
        head[12..].copy_from_slice(&micros.to_be_bytes());
    }

    /// Reads the stamp of a payload.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let (device, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let micros = u64::from_be_bytes(*rest.first_chunk()?);
        Some(Self {
            run: u32::from_be_bytes(*run),
            device: u32::from_be_bytes(*device),
            sequence: u32::from_be_bytes(*sequence),
            due: Instant::from_origin(Duration::from_micros(micros)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_from_a_payload_of_any_length_that_holds_it() {
        let due = Instant::from_origin(Duration::from_micros(123_456_789));
        let stamp = Stamp { run: 1, device: 2, sequence: u32::MAX, due };
        for octets in [Stamp::OCTETS, 32, 1_000] {
            let mut payload = vec![0xAA; octets];
            stamp.write(&mut payload);
            assert_eq!(Stamp::read(&payload), Some(stamp));
        }
        assert_eq!(Stamp::read(&[0; Stamp::OCTETS - 1]), None);
    }
}
