//! What becomes of a connection that could not be made or broke: whether the session goes on, when to try again and in
//! which version, and what the core is told.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Driver, Over, Phase, Setup};
use crate::broker::failure::{Failure, Moment, cut_short_hint};
use crate::broker::ledger::Ledger;
use crate::broker::line::Line;
use crate::broker::purpose::{Attempt, Purpose};
use crate::broker::versions::next_version;
use crate::core::BrokerEvent;
use crate::mqtt::Version;

/// A connection that held this long was a good one: the next attempt after it comes soon.
const STABLE: Duration = Duration::from_secs(30);

/// Connections that the broker ended soon after they were made, after which it looks like more than bad luck.
const CUT_SHORT_OFTEN: u32 = 3;

/// That the gateway's own connection stays down is reported again after this time.
const REMINDER: Duration = Duration::from_secs(60);

impl Driver {
    pub(super) fn on_failure(&mut self, failure: &Failure) -> Result<(), Over> {
        let now = Instant::now();
        let (moment, attempt) = match self.line {
            Line::Up { since, .. } => {
                self.session.disconnected();
                let early = now.duration_since(since) < STABLE;
                if !early {
                    self.backoff.reset();
                    self.cut_short = 0;
                }
                let suspicious = early && failure.may_be_the_packet();
                self.cut_short += u32::from(suspicious);
                (Moment::Up, if suspicious { self.broke_early() } else { Attempt::Resume })
            }
            Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. } | Line::Parting(_) => {
                self.session.outbound.excuse();
                self.setup.ledger.iter().for_each(Ledger::excuse);
                (Moment::Connecting, Attempt::Resume)
            }
        };
        // What is too large would be repeated in vain. As a new message it is refused.
        let attempt = if matches!(failure, Failure::TooLarge) { Attempt::Afresh } else { attempt };
        self.line = Line::Resting { until: now };
        if self.phase != Phase::Running {
            return Err(Over);
        }
        let Setup { conn, settings, proven, .. } = &self.setup;
        let mut reason = failure.explain(moment, self.version, settings);
        if self.cut_short >= CUT_SHORT_OFTEN && moment == Moment::Up {
            reason.push_str(&cut_short_hint(settings));
        }
        let version = self.version;
        self.version = next_version(settings.protocol, version, proven.get(), moment, failure);
        if self.version == Version::V311 && version == Version::V5 {
            debug!(conn = conn.0, "{reason}; trying {}", self.version);
            return Ok(());
        }
        let pause = self.backoff.pause();
        debug!(conn = conn.0, "{reason}; next attempt in {pause:?}");
        self.line = Line::Resting { until: now + pause };
        match attempt {
            Attempt::Resume => {}
            Attempt::Afresh => self.begin_afresh(failure, &reason),
        }
        self.report(now, moment, reason, failure);
        Ok(())
    }

    /// Gives the session up. What was under way is sent again, as far as that is allowed, or answered with `Lost`.
    fn begin_afresh(&mut self, failure: &Failure, reason: &str) {
        let cause = match failure {
            Failure::TooLarge => "a message under way has become too large for the broker",
            Failure::Io(_)
            | Failure::Tls(_)
            | Failure::Refused(_)
            | Failure::Closed
            | Failure::TimedOut
            | Failure::Silent
            | Failure::Disconnected { .. }
            | Failure::NotKept(_)
            | Failure::Garbage(_) => "the broker ends one connection after the other with the same packet under way",
        };
        let Setup { conn, purpose, ledger, .. } = &self.setup;
        warn!(conn = conn.0, "{cause}: the session begins anew, and what was under way is sent again ({reason})");
        self.session.outbound.session_lost(&mut self.session.out);
        if let Some(ledger) = ledger {
            ledger.forget();
        }
        self.stage = purpose.stage(ledger.as_ref());
    }

    /// Asks who is suspected of what the broker ended the connection for.
    fn broke_early(&mut self) -> Attempt {
        let attempt = self.session.outbound.broke_early();
        let earlier = self.setup.ledger.as_ref().is_some_and(Ledger::broke_early);
        if earlier { Attempt::Afresh } else { attempt }
    }

    /// Tells the core that the connection is down. Whether a client may connect hangs on each single attempt; of the
    /// gateway's own connection the core hears at once, when the reason changes, and now and then.
    fn report(&mut self, now: Instant, moment: Moment, reason: String, failure: &Failure) {
        match self.setup.purpose {
            Purpose::Client(_) => {}
            Purpose::Gateway | Purpose::Probe => {
                let known = self.reported.as_ref().is_some_and(|(at, former)| {
                    moment == Moment::Connecting && *former == reason && now.duration_since(*at) < REMINDER
                });
                if known {
                    return;
                }
                self.reported = Some((now, reason.clone()));
            }
        }
        self.session.out.push(BrokerEvent::Down { reason, refusal: failure.refusal(self.standing) });
    }
}
