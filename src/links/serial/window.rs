//! How many frames a dongle may have that it has not confirmed.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::wire::framing::Flow;

/// The frames on their way into a dongle. Which receipt belongs to which frame does not matter: each makes room for one.
#[derive(Debug)]
pub(super) struct Window {
    flow: Option<Flow>,
    /// When each frame counts as lost, the first one first.
    overdue_at: VecDeque<Instant>,
}

impl Window {
    /// Makes a window that is never full if the dongle confirms nothing.
    pub(super) fn new(flow: Option<Flow>) -> Self {
        Self { flow, overdue_at: VecDeque::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.flow.is_some_and(|flow| self.overdue_at.len() >= flow.unconfirmed)
    }

    /// Notes a frame that is sent now.
    pub(super) fn send(&mut self, now: Instant) {
        if let Some(flow) = self.flow {
            self.overdue_at.push_back(now + flow.patience);
        }
    }

    /// Notes a receipt. One that nobody waits for, as a dongle may send when it starts, changes nothing.
    pub(super) fn confirm(&mut self) {
        self.overdue_at.pop_front();
    }

    /// Returns when the frame that was sent first counts as lost.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        self.overdue_at.front().copied()
    }

    /// Gives up the frames whose time has come, and returns how many.
    pub(super) fn give_up_overdue(&mut self, now: Instant) -> u64 {
        let mut given_up = 0;
        while self.next_overdue().is_some_and(|at| at <= now) {
            self.overdue_at.pop_front();
            given_up += 1;
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_receipt_makes_room_and_so_does_time() {
        let mut window = Window::new(Some(Flow { unconfirmed: 2, patience: PATIENCE }));
        let now = Instant::now();
        window.confirm();
        window.send(now);
        assert!(!window.is_full());
        window.send(now + PATIENCE / 2);
        assert!(window.is_full());
        window.confirm();
        assert!(!window.is_full());
        window.send(now + PATIENCE);
        assert_eq!(window.give_up_overdue(now + PATIENCE), 0);
        assert_eq!(window.next_overdue(), Some(now + PATIENCE / 2 + PATIENCE));
        assert_eq!(window.give_up_overdue(now + 2 * PATIENCE), 2);
        assert_eq!(window.next_overdue(), None);
    }

    #[test]
    fn without_receipts_there_is_always_room() {
        let mut window = Window::new(None);
        (0..100).for_each(|_| window.send(Instant::now()));
        assert!(!window.is_full());
        assert_eq!(window.next_overdue(), None);
    }
}
