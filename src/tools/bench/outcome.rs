//! What came of a run.

use std::time::Duration;

use super::plan::{Downlink, Plan};
use super::tally::{Flow, Tally};
use crate::core::Instant;

/// Share of a core above which the load generator may be what limits a run.
const BUSY: f64 = 0.9;

/// Everything that one run measured.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    /// When the measurement began.
    pub(super) began: Instant,
    /// From the first CONNECT until every device had joined.
    pub(super) joining: Duration,
    /// What the gateway's CPU time refers to: the measurement, with the time until all had arrived.
    pub(super) measured: Duration,
    pub(super) gateway_cpu: Option<Duration>,
    /// The load generator's own share of a core while it sent.
    pub(super) own_share: Option<f64>,
    pub(super) memory: Memory,
    /// Datagrams that were lost in the queue of the gateway's socket.
    pub(super) dropped: Option<u64>,
    /// Octets that the gateway wrote to the disk until the devices had ended.
    pub(super) written: Option<u64>,
}

/// Octets of memory that the gateway used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Before the first client connected.
    pub(super) before: Option<u64>,
    /// When all had, and nothing else had happened.
    pub(super) connected: Option<u64>,
    pub(super) after: Option<u64>,
    /// Since the process began.
    pub(super) peak: Option<u64>,
}

impl Outcome {
    /// Returns the flows in which something was sent, with their names.
    pub(super) fn flows(&self) -> impl Iterator<Item = (&'static str, &Flow)> {
        let Tally { connects, pings, up, down, .. } = &self.tally;
        let all = [("connect", connects), ("ping", pings), ("up", up), ("down", down)];
        all.into_iter().filter(|(_, flow)| flow.sent > 0)
    }

    /// Returns how many messages of a flow went through in a second: from the beginning until the last was through.
    pub(super) fn rate(&self, flow: &Flow) -> Option<f64> {
        let last = flow.last_completed()?;
        // What came through before the measurement began belongs to the joining.
        let span = if last > self.began { last - self.began } else { self.joining };
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
        let messages = flow.completed() as f64;
        (!span.is_zero()).then(|| messages / span.as_secs_f64())
    }

    /// Returns how many units of work the gateway's CPU time is divided by: messages, or connects; `None` if the devices
    /// did nothing while it was measured.
    pub(super) fn work(&self) -> Option<(u64, &'static str)> {
        let messages = self.tally.up.completed() + self.tally.down.completed();
        let collected_later = matches!(self.plan.down, Some(Downlink::Queued(_)));
        match self.plan.duration {
            Duration::ZERO => Some((self.tally.connects.acknowledged, "connect")),
            _ if messages == 0 || collected_later => None,
            _ => Some((messages, "message")),
        }
    }

    /// Returns the gateway's CPU time for one unit of work, in microseconds.
    pub(super) fn cpu_each(&self) -> Option<f64> {
        let (units, _) = self.work().filter(|(units, _)| *units > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
        self.gateway_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / units as f64)
    }

    /// Returns how many messages of the devices were acknowledged in a second, whatever arrived.
    pub(super) fn acknowledged_rate(&self) -> Option<f64> {
        let span = self.tally.up.last_acknowledged? - self.began;
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
        let messages = self.tally.up.acknowledged as f64;
        (!span.is_zero()).then(|| messages / span.as_secs_f64())
    }

    /// Returns the share of a core that the gateway used.
    pub(super) fn cpu_share(&self) -> Option<f64> {
        (!self.measured.is_zero())
            .then(|| self.gateway_cpu.map(|cpu| cpu.as_secs_f64() / self.measured.as_secs_f64()))?
    }

    /// Returns the octets of memory for each client.
    pub(super) fn memory_each(&self) -> Option<u64> {
        let grown = self.memory.connected?.saturating_sub(self.memory.before?);
        Some(grown / u64::from(self.plan.clients.max(1)))
    }

    /// Whether the load generator may be what limited the run.
    pub(super) fn is_generator_limited(&self) -> bool {
        self.own_share.is_some_and(|share| share >= BUSY)
    }
}
