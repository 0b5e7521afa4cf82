//! A will is published when its client is lost, and at no other time.

use std::collections::BTreeMap;

use super::super::vocabulary::Mark;
use super::Violation;
use super::account::Accounts;
use super::shadow::Will;
use crate::core::{Instant, Mode, Notice};

/// How often a will was due.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    times: u32,
    /// Of these, how often nothing was stored of it yet, or ever.
    unstored: u32,
    /// How often it may have been lost in a crash.
    excused: u32,
}

/// Whether a will outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// When what was written by now is stored.
    Stored,
    Never,
}

#[derive(Debug, Default)]
pub(super) struct Wills {
    due: BTreeMap<Mark, Due>,
    /// How often the gateway had to publish one, marked or empty.
    announced: u32,
    expected: u32,
    /// In transparent mode the broker publishes the will whenever a connection breaks, whatever its client does, and
    /// says nothing when it refuses one.
    is_exact: bool,
    /// When each will that is to be stored was due, since the last crash.
    written: Vec<(Instant, Mark)>,
}

impl Wills {
    pub(super) fn new(mode: Mode) -> Self {
        Self { is_exact: mode == Mode::Aggregating, ..Self::default() }
    }

    /// Takes a notice, and the will that is due by it.
    pub(super) fn see_notice(&mut self, now: Instant, notice: &Notice, due: Option<Will>, keeping: Keeping) {
        if matches!(notice, Notice::WillPublished { .. } | Notice::WillDropped { .. }) {
            self.announced += 1;
        }
        if let Some(will) = due {
            self.expected += 1;
            if let Some(mark) = will.mark {
                let due = self.due.entry(mark).or_default();
                due.times += 1;
                due.unstored += 1;
                if keeping == Keeping::Stored {
                    self.written.push((now, mark));
                }
            }
        }
    }

    /// The process is gone, and the next one finds what was stored until `stored`. Of a client that was not stored as
    /// lost it may find so again.
    pub(super) fn see_crash(&mut self, stored: Instant) {
        for (at, mark) in std::mem::take(&mut self.written) {
            if at <= stored
                && let Some(due) = self.due.get_mut(&mark)
            {
                due.unstored -= 1;
            }
        }
        for due in self.due.values_mut() {
            due.excused += std::mem::take(&mut due.unstored);
        }
    }

    pub(super) fn close(&self, accounts: &Accounts, dropped: u64) -> Result<(), Violation> {
        if !self.is_exact {
            return Ok(());
        }
        if self.announced != self.expected {
            return Err(Violation(format!("{} wills were due, {} were announced", self.expected, self.announced)));
        }
        let mut missing = 0;
        for (mark, account) in accounts.iter() {
            let due = self.due.get(&mark).copied().unwrap_or_default();
            if account.arrivals == 0 && account.copies > 0 && due.times == 0 {
                return Err(Violation(format!("the will {mark:?} was published, and its client was not lost")));
            }
            missing += u64::from(due.times.saturating_sub(account.copies + account.refusals + due.excused));
        }
        if missing > dropped {
            return Err(Violation(format!("{missing} wills never reached the broker; {dropped} were dropped")));
        }
        Ok(())
    }
}
