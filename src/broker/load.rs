//! How many commands wait for a connection, counted without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many commands wait: counted up where they are submitted, down where they are sent.
#[derive(Debug)]
pub(super) struct Load {
    waiting: AtomicUsize,
    limit: usize,
    /// Places after the limit, for what is worse to refuse.
    beyond: usize,
}

impl Load {
    pub(super) fn new(limit: usize, beyond: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), limit, beyond }
    }

    /// Takes a place in the queue if one is free.
    pub(super) fn enter(&self) -> bool {
        self.enter_below(self.limit)
    }

    /// Takes a place in the queue or beyond its limit if one is free.
    pub(super) fn enter_beyond(&self) -> bool {
        self.enter_below(self.limit.saturating_add(self.beyond))
    }

    fn enter_below(&self, limit: usize) -> bool {
        let fits = self.waiting.fetch_add(1, Ordering::Relaxed) < limit;
        if !fits {
            self.leave();
        }
        fits
    }

    pub(super) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// The limit of the queue.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
