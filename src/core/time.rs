//! The core's own time: an argument, never a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in microseconds since an origin that the driver chooses. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ORIGIN: Self = Self(0);

    /// Returns the moment that lies `since_origin` after the origin.
    pub fn from_origin(since_origin: Duration) -> Self {
        Self(micros(since_origin))
    }

    /// Returns how long after the origin this moment lies.
    pub fn since_origin(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Returns the earliest of some moments, if there is any.
    ///
    /// Every frame asks for it several times, and a loop takes a third of the instructions that a chain of iterators does.
    pub fn earliest<const N: usize>(moments: [Option<Self>; N]) -> Option<Self> {
        let mut earliest: Option<Self> = None;
        for moment in moments {
            if earliest.is_none_or(|earliest| moment.is_some_and(|moment| moment < earliest)) {
                earliest = moment;
            }
        }
        earliest
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(micros(later)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_moment_is_found_wherever_it_stands() {
        let at = |micros| Some(Instant(micros));
        assert_eq!(Instant::earliest([]), None);
        assert_eq!(Instant::earliest([None, None]), None);
        assert_eq!(Instant::earliest([None, at(2), None]), at(2));
        for moments in [[at(1), at(2), at(3)], [at(3), at(1), at(2)], [at(2), at(3), at(1)]] {
            assert_eq!(Instant::earliest(moments), at(1));
        }
    }
}
