//! When the disk is written to, and tried again.

use std::time::{Duration, Instant};

use super::StoreSettings;

/// Commits that may follow each other at once after a rest: as many as a QoS 2 exchange of a device waits for.
const AT_ONCE: u32 = 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) commit_every: Duration,
    /// So many octets do not wait for their time.
    pub(super) enough: usize,
    /// The first pause after a failure. Each that follows is twice as long.
    pub(super) retry: Duration,
    pub(super) longest_retry: Duration,
    /// How often trouble that lasts is reported again.
    pub(super) remind: Duration,
}

impl From<StoreSettings> for Pace {
    fn from(settings: StoreSettings) -> Self {
        Self {
            commit_every: settings.commit_every,
            enough: settings.commit_bytes,
            retry: Duration::from_secs(1),
            // Opening the file anew reads all of it.
            longest_retry: Duration::from_secs(60),
            remind: Duration::from_secs(3600),
        }
    }
}

/// Counts the commits against the time: on average there is one in `commit_every`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit {
    commit_every: Duration,
    /// Up to then the commits so far have used up the time.
    spent_until: Option<Instant>,
}

impl Credit {
    pub(super) fn new(commit_every: Duration) -> Self {
        Self { commit_every, spent_until: None }
    }

    /// Returns how long the next commit has to wait.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let ahead = self.spent_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        ahead.saturating_sub(self.commit_every * (AT_ONCE - 1))
    }

    /// Notes a commit. One that did not wait for its time is not made up for by later ones.
    pub(super) fn spend(&mut self, now: Instant) {
        let latest = now + self.commit_every * (AT_ONCE - 1);
        let from = self.spent_until.map_or(now, |until| until.clamp(now, latest));
        self.spent_until = Some(from + self.commit_every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(20);

    #[test]
    fn after_a_rest_some_commits_follow_at_once_and_then_one_at_a_time() {
        let mut credit = Credit::new(EVERY);
        let mut now = Instant::now();
        for _ in 0..2 {
            for _ in 0..AT_ONCE {
                assert_eq!(credit.wait(now), Duration::ZERO);
                credit.spend(now);
            }
            for _ in 0..10 {
                assert_eq!(credit.wait(now), EVERY);
                now += EVERY;
                assert_eq!(credit.wait(now), Duration::ZERO);
                credit.spend(now);
            }
            now += EVERY * AT_ONCE;
        }
    }

    #[test]
    fn commits_that_did_not_wait_for_their_time_leave_no_debt() {
        let mut credit = Credit::new(EVERY);
        let now = Instant::now();
        (0..100).for_each(|_| credit.spend(now));
        assert_eq!(credit.wait(now), EVERY);
    }

    #[test]
    fn without_a_time_between_them_commits_never_wait() {
        let mut credit = Credit::new(Duration::ZERO);
        let now = Instant::now();
        (0..100).for_each(|_| credit.spend(now));
        assert_eq!(credit.wait(now), Duration::ZERO);
    }
}
