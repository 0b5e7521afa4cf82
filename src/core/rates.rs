//! Limits on how often something may happen, in fixed memory.

use std::time::Duration;

use super::Instant;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Lets a number of things happen per second, and as many at once after a quiet second.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u32,
    /// Millionths of a token, so that every microsecond adds a whole number of them.
    filled: u64,
    updated: Instant,
}

/// Limits the answers to senders that are unknown: one a second to each sender, and a number per second to all.
///
/// The table of senders has a fixed size, so that forged addresses cannot make it grow. Two senders that share a slot
/// share its one answer a second: the limit for each is kept, and the later one is answered when it tries again.
#[derive(Clone, Debug)]
pub struct Strays {
    total: TokenBucket,
    /// By hash of the sender: from when on the next answer may go there.
    quiet_until: Box<[Instant]>,
}

impl TokenBucket {
    /// Creates a bucket that is full; with 0 per second nothing is ever let through.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, filled: u64::from(per_second) * MICROS_PER_SECOND, updated: Instant::ORIGIN }
    }

    /// Takes one token, or returns `false` if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        match self.filled.checked_sub(MICROS_PER_SECOND) {
            Some(rest) => {
                self.filled = rest;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Instant) {
        let rate = u64::from(self.per_second);
        // One second fills the bucket, so a longer one adds nothing, and neither product can overflow.
        let elapsed = (now - self.updated).min(Duration::from_secs(1));
        let gained = u64::from(elapsed.subsec_micros()) + elapsed.as_secs() * MICROS_PER_SECOND;
        self.filled = (self.filled + gained * rate).min(rate * MICROS_PER_SECOND);
        self.updated = self.updated.max(now);
    }
}

impl Strays {
    /// How long a sender waits for the next answer.
    const PER_SENDER: Duration = Duration::from_secs(1);
    /// 32 KiB. At the default of 1,000 answers a second a quarter of the slots is taken at any time.
    const SLOTS: usize = 4_096;

    pub fn new(total_per_second: u32) -> Self {
        Self {
            total: TokenBucket::new(total_per_second),
            quiet_until: vec![Instant::ORIGIN; Self::SLOTS].into_boxed_slice(),
        }
    }

    /// Returns whether the sender with this hash may be answered now, and counts the answer if so.
    ///
    /// All bits of the hash should differ between senders, in a way that a sender cannot foresee.
    pub fn may_answer(&mut self, now: Instant, key_hash: u64) -> bool {
        let slot = &mut self.quiet_until[key_hash as usize % Self::SLOTS];
        let may = *slot <= now && self.total.take(now);
        if may {
            *slot = now + Self::PER_SENDER;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(millis))
    }

    fn taken(bucket: &mut TokenBucket, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(now)).count()
    }

    #[test]
    fn a_full_bucket_lets_one_second_worth_through_at_once() {
        let mut bucket = TokenBucket::new(10);
        assert_eq!(taken(&mut bucket, at(0), 100), 10);
        assert!(!bucket.take(at(99)));
        assert!(bucket.take(at(100)));
        assert!(!bucket.take(at(100)));
        assert_eq!(taken(&mut bucket, at(600), 100), 5);
        assert_eq!(taken(&mut bucket, at(3_600_000), 100), 10, "a long silence saves up one second, no more");
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_through() {
        let mut bucket = TokenBucket::new(0);
        assert!(!bucket.take(at(0)));
        assert!(!bucket.take(at(1_000_000)));
    }

    #[test]
    fn the_largest_rate_does_not_overflow() {
        let mut bucket = TokenBucket::new(u32::MAX);
        assert!(bucket.take(at(0)));
        assert!(bucket.take(Instant::from_origin(Duration::MAX)));
        assert!(bucket.take(Instant::from_origin(Duration::MAX)));
    }

    #[test]
    fn frequent_tries_do_not_lose_fractions_of_a_token() {
        let mut bucket = TokenBucket::new(3);
        assert_eq!(taken(&mut bucket, at(0), 10), 3);
        let micros = |n| Instant::from_origin(Duration::from_micros(n));
        let through = (1..=1_000_000).filter(|n| bucket.take(micros(*n))).count();
        assert_eq!(through, 3);
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_twice_the_rate(
            rate in 0..20u32,
            gaps in prop::collection::vec(0..300u64, 1..300),
        ) {
            let mut bucket = TokenBucket::new(rate);
            let mut now = 0;
            let mut through = Vec::new();
            for gap in gaps {
                now += gap;
                if bucket.take(at(now)) {
                    through.push(now);
                }
            }
            for (index, start) in through.iter().enumerate() {
                let within = through[index..].iter().take_while(|time| **time < start + 1_000).count();
                prop_assert!(within <= 2 * rate as usize);
            }
        }
    }

    #[test]
    fn one_sender_is_answered_once_a_second() {
        let mut strays = Strays::new(1_000);
        let answered: Vec<u64> = (0..3_000).filter(|millis| strays.may_answer(at(*millis), 7)).collect();
        assert_eq!(answered, [0, 1_000, 2_000]);
    }

    #[test]
    fn another_sender_is_answered_at_once() {
        let mut strays = Strays::new(1_000);
        assert!(strays.may_answer(at(0), 7));
        assert!(strays.may_answer(at(0), 8));
        assert!(!strays.may_answer(at(0), 7));
    }

    #[test]
    fn a_sender_that_shares_a_slot_waits_and_is_answered() {
        let mut strays = Strays::new(1_000);
        let other = 7 + Strays::SLOTS as u64;
        assert!(strays.may_answer(at(0), 7));
        assert!(!strays.may_answer(at(999), other));
        assert!(strays.may_answer(at(1_000), other));
        assert!(!strays.may_answer(at(1_001), 7), "forged neighbours do not buy a second answer");
    }

    #[test]
    fn all_senders_together_keep_to_the_total() {
        let mut strays = Strays::new(10);
        assert_eq!((0..1_000).filter(|sender| strays.may_answer(at(0), *sender)).count(), 10);
        assert_eq!((0..1_000).filter(|sender| strays.may_answer(at(500), *sender)).count(), 5);
    }

    #[test]
    fn a_sender_that_the_total_refused_is_answered_as_soon_as_there_is_room() {
        let mut strays = Strays::new(1);
        assert!(strays.may_answer(at(0), 1));
        assert!(!strays.may_answer(at(500), 2));
        assert!(strays.may_answer(at(1_000), 2));
    }

    #[test]
    fn with_a_total_of_zero_nobody_is_answered() {
        assert!(!Strays::new(0).may_answer(at(0), 1));
    }
}
