//! A will is published when its client is lost, and at no other time.

use std::collections::BTreeMap;

use super::super::vocabulary::Mark;
use super::Violation;
use super::account::Accounts;
use super::shadow::Will;
use crate::core::{Mode, Notice, Stats};

#[derive(Debug, Default)]
pub(super) struct Wills {
    /// How often each will was due.
    due: BTreeMap<Mark, u32>,
    /// How often the gateway had to publish one, marked or empty.
    announced: u32,
    expected: u32,
    /// In transparent mode the broker publishes the will whenever a connection breaks, whatever its client does, and
    /// says nothing when it refuses one.
    is_exact: bool,
}

impl Wills {
    pub(super) fn new(mode: Mode) -> Self {
        Self { is_exact: mode == Mode::Aggregating, ..Self::default() }
    }

    /// Takes a notice, and the will that is due by it.
    pub(super) fn see_notice(&mut self, notice: &Notice, due: Option<Will>) {
        if matches!(notice, Notice::WillPublished { .. } | Notice::WillDropped { .. }) {
            self.announced += 1;
        }
        if let Some(will) = due {
            self.expected += 1;
            if let Some(mark) = will.mark {
                *self.due.entry(mark).or_default() += 1;
            }
        }
    }

    pub(super) fn close(&self, accounts: &Accounts, stats: &Stats) -> Result<(), Violation> {
        if !self.is_exact {
            return Ok(());
        }
        if self.announced != self.expected {
            return Err(Violation(format!("{} wills were due, {} were announced", self.expected, self.announced)));
        }
        let mut missing = 0;
        for (mark, account) in accounts.iter() {
            let due = self.due.get(&mark).copied().unwrap_or(0);
            if account.arrivals == 0 && account.copies > 0 && due == 0 {
                return Err(Violation(format!("the will {mark:?} was published, and its client was not lost")));
            }
            missing += u64::from(due.saturating_sub(account.copies + account.refusals));
        }
        if missing > stats.wills_dropped {
            return Err(Violation(format!(
                "{missing} wills never reached the broker; {} were dropped",
                stats.wills_dropped
            )));
        }
        Ok(())
    }
}
