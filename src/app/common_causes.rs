//! What many clients run into for one and the same reason, which is not their own: one line of the log for the first of
//! them, and a count of the others every few seconds.

use std::fmt;
use std::time::Duration;

use tracing::warn;

use crate::core::{Bound, ConnectRefusal, Instant, LossReason, Notice, Outdated, Refused};

/// How long the others are counted before the count is said.
const PERIOD: Duration = Duration::from_secs(5);

/// The causes that are at work, each with what has been left out because of it. There are fewer than ten.
#[derive(Debug, Default)]
pub(super) struct CommonCauses {
    at_work: Vec<AtWork>,
}

#[derive(Debug)]
struct AtWork {
    cause: Cause,
    since: Instant,
    left_out: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Connect(ConnectRefusal),
    Request(Refused),
    Anonymous(Refused),
    Loss(LossReason),
    TooOld(Bound),
}

impl CommonCauses {
    /// Returns whether a notice has a line of its own. If not it is counted.
    pub(super) fn may_speak(&mut self, now: Instant, notice: &Notice) -> bool {
        let Some(cause) = Cause::of(notice) else { return true };
        self.sum_up(now);
        if let Some(known) = self.at_work.iter_mut().find(|known| known.cause == cause) {
            known.left_out += 1;
            return false;
        }
        self.at_work.push(AtWork { cause, since: now, left_out: 0 });
        true
    }

    /// Returns when a count is to be said, if there is any.
    pub(super) fn due(&self) -> Option<Instant> {
        let counted = self.at_work.iter().filter(|known| known.left_out > 0);
        counted.map(|known| known.since + PERIOD).min()
    }

    /// Says the counts that are due. A cause that goes on is only counted from then on.
    pub(super) fn sum_up(&mut self, now: Instant) {
        self.at_work.retain_mut(|known| {
            if known.since + PERIOD > now {
                return true;
            }
            let goes_on = known.left_out > 0;
            known.tell();
            known.since = now;
            goes_on
        });
    }

    /// Says all counts: nothing more comes.
    pub(super) fn close(&mut self) {
        self.at_work.drain(..).for_each(|mut known| known.tell());
    }
}

impl AtWork {
    fn tell(&mut self) {
        if self.left_out > 0 {
            warn!("{} more in {} s: {}", self.left_out, PERIOD.as_secs(), self.cause);
            self.left_out = 0;
        }
    }
}

impl Cause {
    fn of(notice: &Notice) -> Option<Self> {
        match notice {
            Notice::ConnectRefused { why, .. } => is_common_to_connects(*why).then_some(Self::Connect(*why)),
            Notice::Refused { what, .. } => is_common_to_requests(*what).then_some(Self::Request(*what)),
            Notice::AnonymousRefused { what: what @ Refused::AnonymousRate, .. } => Some(Self::Anonymous(*what)),
            Notice::ClientLost { reason: reason @ LossReason::BrokerGone, .. } => Some(Self::Loss(*reason)),
            Notice::Outdated { bound, why: Outdated::TooOld, .. } => Some(Self::TooOld(*bound)),
            Notice::Outdated { why: Outdated::Superseded, .. }
            | Notice::AnonymousRefused { .. }
            | Notice::ClientLost { .. }
            | Notice::ClientConnected { .. }
            | Notice::ClientMoved { .. }
            | Notice::ClientReplaced { .. }
            | Notice::ClientAwake { .. }
            | Notice::ClientAsleep { .. }
            | Notice::ClientDisconnected { .. }
            | Notice::HandshakeAbandoned { .. }
            | Notice::WillPublished { .. }
            | Notice::WillDropped { .. }
            | Notice::SessionExpired { .. }
            | Notice::SessionForgotten { .. }
            | Notice::Undeliverable { .. }
            | Notice::Unacknowledged { .. }
            | Notice::QueueOverflow { .. }
            | Notice::SubscriptionLost { .. }
            | Notice::KeptRefused { .. }
            | Notice::KeptHandedOver { .. }
            | Notice::GatewayHeard { .. }
            | Notice::GatewayGone { .. }
            | Notice::Stray { .. }
            | Notice::Malformed { .. } => None,
        }
    }
}

fn is_common_to_connects(why: ConnectRefusal) -> bool {
    match why {
        ConnectRefusal::TooManyClients { .. }
        | ConnectRefusal::BrokerDown
        | ConnectRefusal::BrokerSilent
        | ConnectRefusal::StoreFails => true,
        ConnectRefusal::ProtocolId(_)
        | ConnectRefusal::EmptyClientId
        | ConnectRefusal::UnreadableClientId
        | ConnectRefusal::LongClientId { .. }
        | ConnectRefusal::GatewaysOwnId
        | ConnectRefusal::WillTopic { .. }
        | ConnectRefusal::WillQos
        | ConnectRefusal::ByBroker { .. } => false,
    }
}

fn is_common_to_requests(what: Refused) -> bool {
    let common = [
        Refused::TooManyPublishes,
        Refused::BrokerDown,
        Refused::SubscribeWithoutBroker,
        Refused::BrokerBusy,
        Refused::SubscribeLost,
        Refused::StoreFails,
        Refused::NotKept,
        Refused::TooManyKept,
    ];
    common.contains(&what)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "clients were refused: {why}"),
            Self::Request(what) => write!(f, "requests of clients were refused: {what}"),
            Self::Anonymous(what) => write!(f, "publishes without connection were dropped: {what}"),
            Self::Loss(reason) => write!(f, "clients are lost: {reason}"),
            Self::TooOld(Bound::ForBroker) => f.write_str(
                "accepted messages were dropped: they waited longer for the broker than max_age of [outage]",
            ),
            Self::TooOld(Bound::ForClient) => f.write_str(
                "messages for devices were dropped: they waited longer than max_age of their [[queue]] rule",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topics::TopicName;
    use crate::core::{LinkAddress, LinkId, Peer};

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn refused(why: ConnectRefusal) -> Notice {
        let peer = Peer { link: LinkId(0), address: LinkAddress::NONE };
        Notice::ConnectRefused { client_id: b"c1".to_vec(), peer, why }
    }

    #[test]
    fn the_first_is_said_and_the_others_are_counted_while_it_goes_on() {
        let mut causes = CommonCauses::default();
        let notice = refused(ConnectRefusal::BrokerDown);
        assert!(causes.may_speak(at(0), &notice));
        assert_eq!(causes.due(), None);
        assert!((0..300).all(|_| !causes.may_speak(at(1), &notice)));
        assert_eq!((causes.due(), causes.at_work[0].left_out), (Some(at(5)), 300));
        causes.sum_up(at(5));
        assert_eq!(causes.due(), None);
        assert!(!causes.may_speak(at(9), &notice), "it goes on");
        causes.sum_up(at(10));
        assert!(causes.may_speak(at(15), &notice), "it was over for a while");
    }

    #[test]
    fn each_cause_is_counted_for_itself() {
        let mut causes = CommonCauses::default();
        assert!(causes.may_speak(at(0), &refused(ConnectRefusal::BrokerDown)));
        assert!(causes.may_speak(at(0), &refused(ConnectRefusal::TooManyClients { limit: 7 })));
        assert!(!causes.may_speak(at(0), &refused(ConnectRefusal::BrokerDown)));
    }

    #[test]
    fn what_is_a_client_s_own_doing_is_always_said() {
        let mut causes = CommonCauses::default();
        assert!((0..10).all(|_| causes.may_speak(at(0), &refused(ConnectRefusal::EmptyClientId))));
    }

    #[test]
    fn messages_that_grow_too_old_are_counted_by_whom_they_wait_for() {
        let mut causes = CommonCauses::default();
        let outdated = |bound, why| Notice::Outdated {
            client_id: "c1".into(),
            topic: TopicName::parse(b"a").unwrap(),
            bound,
            why,
        };
        assert!(causes.may_speak(at(0), &outdated(Bound::ForBroker, Outdated::TooOld)));
        assert!(causes.may_speak(at(0), &outdated(Bound::ForClient, Outdated::TooOld)));
        assert!((0..9).all(|_| !causes.may_speak(at(1), &outdated(Bound::ForBroker, Outdated::TooOld))));
        assert_eq!(causes.at_work.iter().map(|known| known.left_out).collect::<Vec<_>>(), [9, 0]);
    }

    #[test]
    fn a_count_names_the_cause() {
        let cause = Cause::of(&refused(ConnectRefusal::BrokerDown)).unwrap();
        assert_eq!(cause.to_string(), "clients were refused: there is no connection to the broker");
    }
}
