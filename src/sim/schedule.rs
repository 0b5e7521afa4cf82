//! The virtual clock, and what is going to happen.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::Instant;

/// Events in the order of their time; those of the same time in the order in which they were entered.
#[derive(Debug)]
pub(super) struct Schedule<E> {
    now: Instant,
    entered: u64,
    events: BTreeMap<(Instant, u64), E>,
}

impl<E> Schedule<E> {
    pub(super) fn new() -> Self {
        Self { now: Instant::ORIGIN, entered: 0, events: BTreeMap::new() }
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Enters an event; one in the past happens now.
    pub(super) fn at(&mut self, time: Instant, event: E) {
        self.entered += 1;
        self.events.insert((time.max(self.now), self.entered), event);
    }

    pub(super) fn after(&mut self, delay: Duration, event: E) {
        self.at(self.now + delay, event);
    }

    /// Takes out the events that will not happen any more.
    pub(super) fn retain(&mut self, happens: impl Fn(&E) -> bool) {
        self.events.retain(|_, event| happens(event));
    }

    /// Returns when the next event happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.events.keys().next().map(|(time, _)| *time)
    }

    /// Lets time pass up to `time`. No event may lie before it.
    pub(super) fn pass_to(&mut self, time: Instant) {
        self.now = self.now.max(time);
    }

    /// Lets time pass up to the next event, and takes it.
    pub(super) fn pop(&mut self) -> Option<E> {
        let ((time, _), event) = self.events.pop_first()?;
        self.pass_to(time);
        Some(event)
    }
}
