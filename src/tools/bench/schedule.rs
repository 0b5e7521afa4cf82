//! When messages are due that come at a fixed rate, shared out among many senders in turn.

use std::time::Duration;

use crate::core::Instant;

/// Message `k` of all is due `k / rate` after the start and belongs to sender `k % senders`, whose `k / senders`-th it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Instant,
    end: Instant,
    rate: f64,
    senders: u32,
    /// The next one that nobody has been told of.
    next: u64,
}

impl Schedule {
    pub(super) fn new(start: Instant, duration: Duration, rate: f64, senders: u32) -> Self {
        Self { start, end: start + duration, rate, senders: senders.max(1), next: 0 }
    }

    /// Returns when the next message is due; `None` after the end.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due(self.next)
    }

    /// Takes the next message if it is due: its sender, its number among that sender's, and when it was due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(u32, u32, Instant)> {
        let due = self.next_due().filter(|due| *due <= now)?;
        let senders = u64::from(self.senders);
        let sender = u32::try_from(self.next % senders).ok()?;
        let number = u32::try_from(self.next / senders).ok()?;
        self.next += 1;
        Some((sender, number, due))
    }

    /// Returns when this message of one sender was due, if that has been and is not over.
    pub(super) fn overdue(&self, sender: u32, number: u32, now: Instant) -> Option<Instant> {
        let index = u64::from(number) * u64::from(self.senders) + u64::from(sender);
        (index < self.next && now < self.end).then(|| self.due(index)).flatten()
    }

    /// Returns how many messages have come due.
    pub(super) fn come_due(&self) -> u64 {
        self.next
    }

    fn due(&self, index: u64) -> Option<Instant> {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
        let after = Duration::try_from_secs_f64(index as f64 / self.rate).ok()?;
        Some(self.start + after).filter(|due| *due < self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn messages_come_due_evenly_and_in_turn_until_the_end() {
        let mut schedule = Schedule::new(at(1_000), Duration::from_millis(500), 10.0, 2);
        assert_eq!(schedule.pop(at(999)), None);
        let popped: Vec<_> = std::iter::from_fn(|| schedule.pop(at(5_000))).collect();
        let expected = [(0, 0, at(1_000)), (1, 0, at(1_100)), (0, 1, at(1_200)), (1, 1, at(1_300)), (0, 2, at(1_400))];
        assert_eq!(popped, expected);
        assert_eq!(schedule.next_due(), None);
        assert_eq!(schedule.come_due(), 5);
    }

    #[test]
    fn a_sender_that_was_busy_learns_when_its_message_was_due() {
        let mut schedule = Schedule::new(at(0), Duration::from_secs(10), 1_000.0, 10);
        while schedule.pop(at(100)).is_some() {}
        assert_eq!(schedule.overdue(3, 2, at(100)), Some(at(23)));
        assert_eq!(schedule.overdue(3, 10, at(100)), None, "not due yet");
        assert_eq!(schedule.overdue(3, 2, at(10_000)), None, "over");
    }
}
