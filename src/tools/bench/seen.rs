//! Which messages of one device have arrived.

/// Sequence numbers that have been seen: one bit for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    bits: Vec<u64>,
}

impl Seen {
    /// Notes a number below `sent`; returns whether it is there for the first time, or `None` if it was never sent.
    ///
    /// `sent` bounds the memory, whatever numbers arrive.
    pub(super) fn note(&mut self, sequence: u32, sent: u32) -> Option<bool> {
        if sequence >= sent {
            return None;
        }
        let (word, bit) = ((sequence / 64) as usize, 1 << (sequence % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let is_new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        Some(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_in_any_order() {
        let mut seen = Seen::default();
        for sequence in [70, 0, 63, 64, 1] {
            assert_eq!(seen.note(sequence, 71), Some(true));
            assert_eq!(seen.note(sequence, 71), Some(false));
        }
    }

    #[test]
    fn a_number_that_was_never_sent_costs_no_memory() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(u32::MAX, 5), None);
        assert!(seen.bits.is_empty());
    }
}
