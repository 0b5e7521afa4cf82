//! What every session was like each time that something was written: after a crash the last that was stored counts.

use std::collections::VecDeque;

use super::shadow::Shadow;
use crate::core::{Instant, StoreToken};

#[derive(Debug)]
pub(super) struct Moments {
    /// The last moment that is stored.
    stored: Moment,
    /// Later ones, oldest first.
    unstored: VecDeque<Moment>,
}

#[derive(Clone, Debug)]
pub(super) struct Moment {
    token: StoreToken,
    pub(super) at: Instant,
    pub(super) shadows: Vec<Shadow>,
}

impl Moments {
    /// A process begins.
    pub(super) fn new(now: Instant, shadows: &[Shadow]) -> Self {
        let stored = Moment { token: StoreToken::default(), at: now, shadows: shadows.to_vec() };
        Self { stored, unstored: VecDeque::new() }
    }

    /// Something is being written.
    pub(super) fn note(&mut self, now: Instant, token: StoreToken, shadows: &[Shadow]) {
        self.unstored.push_back(Moment { token, at: now, shadows: shadows.to_vec() });
    }

    pub(super) fn note_stored(&mut self, token: StoreToken) {
        while self.unstored.front().is_some_and(|moment| moment.token <= token) {
            self.stored = self.unstored.pop_front().unwrap_or_else(|| self.stored.clone());
        }
    }

    /// Returns when the oldest of what is not stored was written: nobody has waited for the store since before that.
    pub(super) fn oldest_unstored(&self) -> Option<Instant> {
        self.unstored.front().map(|moment| moment.at)
    }

    /// Returns the last moment that is stored.
    pub(super) fn stored(&self) -> &Moment {
        &self.stored
    }
}
