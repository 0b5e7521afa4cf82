//! What is counted and timed in a run, one flow of messages at a time.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::core::Instant;

/// Everything that one run counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// CONNECT and CONNACK.
    pub(super) connects: Flow,
    /// PINGREQ and PINGRESP.
    pub(super) pings: Flow,
    /// From the devices to the broker.
    pub(super) up: Flow,
    /// From the broker to the devices.
    pub(super) down: Flow,
    /// Sessions that the gateway ended, or did not answer for any more.
    pub(super) sessions_lost: u64,
    /// Frames that the system did not take: its buffers were full, or the peer was not there.
    pub(super) unsent_frames: u64,
}

/// Messages of one kind in one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// Whether somebody counts at the other end. Without, nothing arrives, and nothing is known to be lost.
    pub(super) watched: bool,
    /// Whether whoever sends is told of the end of the exchange.
    pub(super) answered: bool,
    /// Messages that should arrive; one message to a hundred subscribers is a hundred.
    pub(super) sent: u64,
    /// Messages that were due and never sent, because their sender still waited for an answer.
    pub(super) withheld: u64,
    /// Messages whose exchange with their sender is complete. Says nothing of their arrival.
    pub(super) acknowledged: u64,
    /// Messages that came out at the other end for the first time.
    pub(super) arrived: u64,
    /// Messages that came out once more.
    pub(super) duplicated: u64,
    /// Frames sent again because no answer came.
    pub(super) retransmitted: u64,
    /// Answers with a return code other than "accepted".
    pub(super) refused: u64,
    /// Messages given up: no answer, however often they were sent.
    pub(super) abandoned: u64,
    /// From the first frame to the last answer.
    pub(super) until_acknowledged: Latencies,
    /// From the first frame to the arrival at the other end.
    pub(super) until_arrived: Latencies,
    /// When something was last acknowledged, and last arrived.
    pub(super) last_acknowledged: Option<Instant>,
    pub(super) last_arrived: Option<Instant>,
}

impl Flow {
    pub(super) fn acknowledge(&mut self, since: Instant, now: Instant) {
        self.acknowledged += 1;
        self.until_acknowledged.record(now - since);
        self.last_acknowledged = Some(now);
    }

    pub(super) fn arrive(&mut self, since: Instant, now: Instant) {
        self.arrived += 1;
        self.until_arrived.record(now - since);
        self.last_arrived = Some(now);
    }

    /// Returns how many messages went through: those that arrived; where nobody counts them, those acknowledged.
    pub(super) fn completed(&self) -> u64 {
        if self.watched { self.arrived } else { self.acknowledged }
    }

    /// Returns when the last message went through.
    pub(super) fn last_completed(&self) -> Option<Instant> {
        if self.watched { self.last_arrived } else { self.last_acknowledged }
    }

    /// Returns the messages that were sent and did not arrive, `None` where nobody counts.
    pub(super) fn lost(&self) -> Option<u64> {
        self.watched.then(|| self.sent.saturating_sub(self.arrived))
    }
}

/// How long things took, to the microsecond and three digits.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// What takes longer counts as this long.
    const LONGEST: Duration = Duration::from_secs(600);

    pub(super) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency));
    }

    /// Returns the latency that this share of all is not above, `None` if there are none.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(share)))
    }

    pub(super) fn max(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.max()))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        let longest = micros(Self::LONGEST);
        Self(Histogram::new_with_bounds(1, longest, 3).expect("1 to 600,000,000 in three digits are valid bounds"))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_origin(Duration::from_micros(micros))
    }

    #[test]
    fn an_acknowledgement_is_no_arrival() {
        let mut flow = Flow::default();
        flow.acknowledge(at(10), at(30));
        assert_eq!((flow.acknowledged, flow.arrived), (1, 0));
        assert_eq!(flow.until_acknowledged.max(), Some(Duration::from_micros(20)));
        assert_eq!(flow.until_arrived.max(), None);
    }

    #[test]
    fn what_is_acknowledged_and_never_arrives_is_lost() {
        let mut flow = Flow { watched: true, sent: 2, ..Flow::default() };
        flow.acknowledge(at(0), at(1));
        flow.acknowledge(at(0), at(2));
        flow.arrive(at(0), at(3));
        assert_eq!((flow.completed(), flow.last_completed(), flow.lost()), (1, Some(at(3)), Some(1)));
    }

    #[test]
    fn where_nobody_counts_arrivals_nothing_is_known_to_be_lost() {
        let mut flow = Flow { sent: 2, ..Flow::default() };
        flow.acknowledge(at(0), at(1));
        assert_eq!((flow.completed(), flow.last_completed(), flow.lost()), (1, Some(at(1)), None));
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_recorded() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
        assert_eq!(latencies.quantile(0.5), Some(Duration::from_micros(500)));
        assert_eq!(latencies.quantile(0.99), Some(Duration::from_micros(990)));
        assert_eq!(latencies.max(), Some(Duration::from_micros(1_000)));
        latencies.record(Duration::from_secs(10_000));
        assert!(latencies.max() <= Some(Latencies::LONGEST + Duration::from_secs(1)));
    }
}
