//! Chance: every choice in the world, from a seed or from the octets of a fuzzer.

use std::time::Duration;

/// A source of choices. The same source gives the same choices on every machine.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
    /// What a fuzzer chose, the next octet last; `None` if everything comes from the seed.
    octets: Option<Vec<u8>>,
}

impl Dice {
    pub fn from_seed(seed: u64) -> Self {
        Self { state: seed, octets: None }
    }

    /// Takes one octet per choice. When they are used up the dice go on as if from a fixed seed.
    pub fn from_octets(octets: &[u8]) -> Self {
        Self { state: 0, octets: Some(octets.iter().rev().copied().collect()) }
    }

    /// Returns dice of their own for a part of the world, so that the rest is the same with and without it. From a
    /// fuzzer they take the last quarter of its octets.
    pub(super) fn split_off(&mut self) -> Self {
        let octets = self.octets.as_mut().map(|octets| octets.drain(..octets.len() / 4).collect());
        Self { state: !self.state, octets }
    }

    /// Returns whether there were octets to choose from and none is left.
    pub(super) fn is_used_up(&self) -> bool {
        self.octets.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns a number under `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let scaled = u64::from(self.draw()) * bound as u64;
        usize::try_from(scaled >> 32).unwrap_or(0)
    }

    /// Returns `true` in so many of a thousand cases.
    pub(super) fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1_000) < permille as usize
    }

    /// Returns a duration between both, to the millisecond.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_millis();
        least + Duration::from_millis(self.below(usize::try_from(span).unwrap_or(0) + 1) as u64)
    }

    /// Chooses one; there must be one.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.draw().to_be_bytes()[0]
    }

    /// A fuzzer's octet decides the highest bits: enough for most choices, and it sees what each octet does.
    fn draw(&mut self) -> u32 {
        let word = self.next_word();
        match self.octets.as_mut().and_then(Vec::pop) {
            Some(octet) => u32::from(octet) << 24 | word >> 8,
            None => word,
        }
    }

    /// SplitMix64, upper half.
    fn next_word(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_choices() {
        let draw = |seed| {
            let mut dice = Dice::from_seed(seed);
            (0..5).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn octets_decide_until_they_are_used_up() {
        let mut dice = Dice::from_octets(&[0, 255, 128]);
        assert_eq!([dice.below(256), dice.below(256), dice.below(4)], [0, 255, 2]);
        assert!(dice.is_used_up());
        assert!(dice.below(10) < 10);
    }

    #[test]
    fn a_choice_is_within_its_bounds() {
        let mut dice = Dice::from_seed(1);
        let (least, most) = (Duration::from_millis(5), Duration::from_millis(7));
        assert!((0..100).all(|_| (least..=most).contains(&dice.between(least, most))));
        assert_eq!(dice.below(0), 0);
        assert!(!dice.chance(0));
    }
}
