//! Sending again what goes unanswered (MQTT-SN 1.2 §6.13).

use std::time::Duration;

use super::io::Loss;
use crate::core::Instant;
use crate::wire::MsgType;

/// The clock of one unanswered message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    due: Instant,
    interval: Duration,
    sent: u16,
    limit: u16,
}

/// What is to be done about an unanswered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Wait,
    SendAgain,
    GiveUp,
}

impl Retry {
    /// Starts with a message that goes out now and may be sent `n_retry` times again.
    pub(super) fn new(now: Instant, interval: Duration, n_retry: u8) -> Self {
        Self { due: now + interval, interval, sent: 1, limit: 1 + u16::from(n_retry) }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Returns what to say when a message was given up.
    pub(super) fn no_answer_to(&self, to: MsgType) -> Loss {
        Loss::NoAnswer { to, times: self.sent }
    }

    /// Decides, and counts on that [`Verdict::SendAgain`] is obeyed.
    pub(super) fn poll(&mut self, now: Instant) -> Verdict {
        if now < self.due {
            return Verdict::Wait;
        }
        if self.sent >= self.limit {
            return Verdict::GiveUp;
        }
        self.sent += 1;
        self.due = now + self.interval;
        Verdict::SendAgain
    }
}
