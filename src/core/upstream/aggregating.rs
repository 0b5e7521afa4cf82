//! Aggregating mode: all clients share one MQTT connection, and the gateway does for them what a broker would.

use std::collections::{BTreeMap, BTreeSet};

use super::covers::{self, Cover, Covers};
use super::filters::{Audience, FilterKey, Filters, Recipient};
use super::held::{Held, Holding};
use super::line::Line;
use super::tokens::{Pending, Tokens};
use crate::core::sessions::SessionKey;
use crate::core::topics::TopicFilter;
use crate::core::{BrokerCommand, ConnId, Instant, Message, Notice, Outputs, SubscribeOutcome, SubscriptionId};
use crate::wire::Qos;

/// Subscriptions that may be on their way at once when all are renewed; the rest follow as answers come.
const RENEWALS_AT_ONCE: usize = 64;

/// What is asked for upstream where the broker does not name the subscriptions of a copy. Some brokers send one copy,
/// at the QoS of whichever subscription they find first; each client gets it at its own QoS in any case.
const WIDEST_QOS: Qos = Qos::ExactlyOnce;

/// The merged subscriptions of all clients.
#[derive(Debug, Default)]
pub(super) struct Aggregating {
    filters: Filters,
    copies: Copies,
    /// In use while copies are unnamed.
    covers: Covers,
    /// The upstream filters that the broker has been asked for and has not answered about, while copies are unnamed.
    asked: BTreeMap<SubscriptionId, TopicFilter>,
    /// Upstream filters to give up once the wider one that takes their place has been granted.
    replaced: BTreeMap<SubscriptionId, Vec<TopicFilter>>,
    /// Upstream filters of former days that the broker may still have, to be given up like the replaced ones.
    leftovers: Vec<TopicFilter>,
    /// Filters that the broker has to be asked for again.
    renewals: BTreeSet<FilterKey>,
    renewals_asked: usize,
}

/// Whether the broker says which subscriptions a copy of a message is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Copies {
    /// By subscription identifiers (MQTT 5), so overlapping filters do no harm.
    #[default]
    Named,
    /// It does not (MQTT 3.1.1), so no two filters upstream may overlap.
    Unnamed,
}

impl Aggregating {
    /// Adds a subscriber. Returns what has to be asked of the broker.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        owner: SessionKey,
        filter: &TopicFilter,
        qos: Qos,
    ) -> (SubscriptionId, TopicFilter, Qos) {
        let key = self.filters.add(filter, owner, qos);
        let id = self.filters.asked(key, Audience::One(owner), now);
        match self.copies {
            Copies::Named => {
                let qos = self.filters.demand(key).map_or(qos, |(_, qos)| qos);
                (id, filter.clone(), qos)
            }
            Copies::Unnamed => {
                let Cover { filter, replaces, .. } = self.covers.cover(key, filter);
                if !replaces.is_empty() {
                    self.replaced.insert(id, replaces);
                }
                self.asked.insert(id, filter.clone());
                (id, filter, WIDEST_QOS)
            }
        }
    }

    /// Takes the broker's answer for one subscriber. Returns what the subscriber is told.
    pub(super) fn subscribed(
        &mut self,
        out: &mut Outputs,
        id: SubscriptionId,
        filter: &TopicFilter,
        owner: Option<SessionKey>,
        outcome: SubscribeOutcome,
    ) -> SubscribeOutcome {
        if let SubscribeOutcome::Granted(qos) = outcome {
            self.concerned(id).into_iter().for_each(|key| self.filters.holds(key, id, qos));
        }
        let answer = match (owner, self.filters.find(filter), outcome) {
            // The subscription may have been ended before the broker's answer came.
            (None, _, _) | (_, None, _) => SubscribeOutcome::Lost,
            (Some(owner), Some(key), SubscribeOutcome::Granted(qos)) => {
                let granted = self.filters.granted(key, owner, qos);
                granted.map_or(SubscribeOutcome::Lost, SubscribeOutcome::Granted)
            }
            (Some(owner), Some(key), SubscribeOutcome::Refused(_) | SubscribeOutcome::Lost) => {
                // What was asked for in vain is no subscription, though the broker may hold one all the same. One that
                // was granted before stays as it was.
                if !self.filters.keep_granted(key, owner) {
                    self.leave(out, key, owner);
                }
                outcome
            }
        };
        // Only now, because what was refused must not be asked for again on behalf of others.
        self.replace(out, id, outcome);
        self.give_up_needless(out, id, outcome);
        answer
    }

    /// Ends a session's subscription to a filter, and the broker's if it was the last.
    pub(super) fn unsubscribe(&mut self, out: &mut Outputs, owner: SessionKey, filter: &TopicFilter) {
        if let Some(key) = self.filters.find(filter) {
            self.leave(out, key, owner);
        }
    }

    /// The broker has forgotten all subscriptions, and tells copies apart as `copies` says from now on.
    pub(super) fn forgotten(&mut self, copies: Copies) {
        self.copies = copies;
        self.covers = Covers::default();
        self.replaced.clear();
        self.leftovers.clear();
        self.filters.lapse();
        self.renewals = self.filters.keys().collect();
        if copies == Copies::Unnamed {
            for key in &self.renewals {
                if let Some((filter, _)) = self.filters.demand(*key) {
                    self.covers.cover(*key, filter);
                }
            }
        }
    }

    /// Takes back a subscriber of a former process.
    pub(super) fn restore(&mut self, owner: SessionKey, filter: &TopicFilter, qos: Qos) {
        self.filters.restore(filter, owner, qos);
    }

    /// The broker has kept the session over a restart of the gateway, and holds `held`. What is missing is asked for,
    /// and what nobody needs any more given up.
    pub(super) fn resume(&mut self, out: &mut Outputs, copies: Copies, held: &Held, now: Instant) {
        self.copies = copies;
        self.covers = Covers::default();
        let keys: Vec<FilterKey> = self.filters.keys().collect();
        for (_, Holding { granted, others }) in held.iter() {
            self.filters.skip(granted.iter().chain(others));
        }
        if copies == Copies::Unnamed {
            for key in &keys {
                if let Some((filter, _)) = self.filters.demand(*key) {
                    self.covers.cover(*key, filter);
                }
            }
        }
        for key in keys {
            let upstream = match copies {
                Copies::Named => self.filters.demand(key).map(|(filter, _)| filter.clone()),
                Copies::Unnamed => self.covers.filter_of(key).cloned(),
            };
            let holding = upstream.and_then(|filter| held.get(&filter));
            match (holding, copies) {
                (Some(holding), Copies::Named) => {
                    self.filters.remember(key, &holding.others, now);
                    match holding.granted {
                        Some(id) => self.filters.resume(key, id, now),
                        None => _ = self.renewals.insert(key),
                    }
                }
                (Some(Holding { granted: Some(_), .. }), Copies::Unnamed) => {
                    let id = self.filters.asked(key, Audience::All, now);
                    self.filters.renewed(key, id);
                }
                (Some(Holding { granted: None, .. }) | None, _) => _ = self.renewals.insert(key),
            }
        }
        let is_needed = |filter: &TopicFilter| match copies {
            Copies::Named => self.filters.find(filter).is_some(),
            Copies::Unnamed => self.covers.contains(filter),
        };
        let outdated = held.iter().map(|(filter, _)| filter).filter(|filter| !is_needed(filter)).cloned();
        // Where something else is asked for in its place, one goes when that has been granted.
        let awaited = |key: &FilterKey| self.covers.filter_of(*key).cloned();
        let awaited: Vec<TopicFilter> = self.renewals.iter().filter_map(awaited).collect();
        let overlaps = |filter: &TopicFilter| awaited.iter().any(|other| covers::overlap(filter, other));
        let (leftovers, needless) = outdated.partition(overlaps);
        self.leftovers = leftovers;
        self.give_up(out, needless);
    }

    /// Takes the broker's answer to a renewal.
    pub(super) fn renewed(&mut self, out: &mut Outputs, id: SubscriptionId, outcome: SubscribeOutcome) {
        self.renewals_asked = self.renewals_asked.saturating_sub(1);
        let key = self.filters.by_id(id);
        let concerned = self.concerned(id);
        self.give_up_needless(out, id, outcome);
        let outdated = self.replaced.remove(&id).unwrap_or_default();
        match outcome {
            SubscribeOutcome::Granted(_) => {
                self.give_up(out, outdated);
                concerned.into_iter().for_each(|key| self.filters.renewed(key, id));
            }
            SubscribeOutcome::Lost => {
                self.leftovers.extend(outdated);
                self.renewals.extend(concerned);
                self.give_up_leftovers(out);
            }
            SubscribeOutcome::Refused(reason) => {
                self.give_up(out, outdated);
                if let Some((filter, _)) = key.and_then(|key| self.filters.demand(key)) {
                    out.notice(Notice::SubscriptionLost { filter: filter.clone(), reason });
                }
            }
        }
    }

    /// Asks the broker for filters it has forgotten, a few at a time.
    pub(super) fn renew(&mut self, out: &mut Outputs, line: &Line, tokens: &mut Tokens, now: Instant) {
        while line.is_up() && self.renewals_asked < RENEWALS_AT_ONCE {
            let Some(key) = self.renewals.pop_first() else { return };
            let Some((filter, qos)) = self.filters.demand(key) else { continue };
            let filter = filter.clone();
            let id = self.filters.asked(key, Audience::All, now);
            let (filter, qos) = match self.copies {
                Copies::Named => (filter, qos),
                Copies::Unnamed => {
                    let Cover { filter, members, .. } = self.covers.cover(key, &filter);
                    let outdated: Vec<_> = self.leftovers.extract_if(.., |old| covers::overlap(old, &filter)).collect();
                    if !outdated.is_empty() {
                        self.replaced.insert(id, outdated);
                    }
                    self.asked.insert(id, filter.clone());
                    for other in members.iter().filter(|member| **member != key) {
                        self.filters.asked(*other, Audience::All, now);
                        self.renewals.remove(other);
                    }
                    (filter, WIDEST_QOS)
                }
            };
            let token = tokens.issue(Pending::Renewal { id });
            self.renewals_asked += 1;
            out.command(line.conn(), BrokerCommand::Subscribe { token, filter, qos, id });
        }
    }

    /// Finds who gets a message from the broker.
    pub(super) fn recipients(
        &mut self,
        now: Instant,
        message: &Message,
        ids: &[SubscriptionId],
        found: &mut Vec<Recipient>,
    ) {
        // The broker clears the flag on live messages (MQTT 3.1.1 §3.3.1.3), so what has it is a replay.
        if message.retain {
            self.filters.retained(message, ids, now, found);
        } else {
            self.filters.live(message, ids, found);
        }
    }

    /// A wider filter has taken the place of others, or has been refused: then all are asked for again without it.
    fn replace(&mut self, out: &mut Outputs, id: SubscriptionId, outcome: SubscribeOutcome) {
        let Some(replaced) = self.replaced.remove(&id) else { return };
        match outcome {
            SubscribeOutcome::Granted(_) => self.give_up(out, replaced),
            SubscribeOutcome::Refused(_) | SubscribeOutcome::Lost => {
                let others = std::mem::take(&mut self.replaced).into_values().flatten();
                let upstream: Vec<TopicFilter> = others.chain(replaced).chain(self.covers.filters().cloned()).collect();
                self.forgotten(self.copies);
                self.leftovers = upstream.into_iter().filter(|filter| !self.covers.contains(filter)).collect();
                self.give_up_leftovers(out);
            }
        }
    }

    /// The filters that an answer of the broker is for: where one filter upstream stands for many, all of them.
    fn concerned(&self, id: SubscriptionId) -> Vec<FilterKey> {
        let members = self.asked.get(&id).map_or(&[][..], |asked| self.covers.members(asked));
        members.iter().copied().chain(self.filters.by_id(id)).collect()
    }

    /// What nothing takes the place of goes now; the rest when what takes its place has been granted.
    fn give_up_leftovers(&mut self, out: &mut Outputs) {
        let needless = self.leftovers.extract_if(.., |filter| !self.covers.overlaps(filter)).collect();
        self.give_up(out, needless);
    }

    /// The broker has granted what nobody needs any more: it was asked before the broker forgot everything, and the
    /// connection repeated the question, or while others still needed it.
    fn give_up_needless(&mut self, out: &mut Outputs, id: SubscriptionId, outcome: SubscribeOutcome) {
        let Some(filter) = self.asked.remove(&id) else { return };
        let is_granted = matches!(outcome, SubscribeOutcome::Granted(_));
        let goes_later = self.replaced.values().flatten().chain(&self.leftovers).any(|outdated| *outdated == filter);
        if is_granted && self.copies == Copies::Unnamed && !goes_later {
            self.give_up(out, vec![filter]);
        }
    }

    /// Ends upstream what is not wanted any more; what has come to be wanted again stays.
    fn give_up(&self, out: &mut Outputs, outdated: Vec<TopicFilter>) {
        for filter in outdated.into_iter().filter(|filter| !self.covers.contains(filter)) {
            out.command(ConnId::OWN, BrokerCommand::Unsubscribe { filter });
        }
    }

    fn leave(&mut self, out: &mut Outputs, key: FilterKey, owner: SessionKey) {
        let Some(filter) = self.filters.remove(key, owner) else { return };
        self.renewals.remove(&key);
        let upstream = match self.copies {
            Copies::Named => Some(filter),
            Copies::Unnamed => self.covers.remove(key),
        };
        if let Some(filter) = upstream {
            out.command(ConnId::OWN, BrokerCommand::Unsubscribe { filter });
            self.give_up_leftovers(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topics::TopicName;
    use crate::core::{BrokerOffer, BrokerReason, Output};

    const ONE: SessionKey = SessionKey(1);
    const TWO: SessionKey = SessionKey(2);
    const REFUSED: SubscribeOutcome = SubscribeOutcome::Refused(BrokerReason(0x87));

    /// The subscriptions of a gateway whose broker speaks MQTT 3.1.1.
    struct Gateway {
        shared: Aggregating,
        line: Line,
        tokens: Tokens,
        out: Outputs,
    }

    impl Gateway {
        fn new() -> Self {
            let mut line = Line::new(ConnId::OWN);
            let max_qos = Qos::ExactlyOnce;
            line.up(false, BrokerOffer { max_qos, retain: true, subscription_ids: false, max_packet: None });
            let mut shared = Aggregating::default();
            shared.forgotten(Copies::Unnamed);
            Self { shared, line, tokens: Tokens::default(), out: Outputs::default() }
        }

        /// Subscribes, and has the broker answer. Returns what was asked of the broker.
        fn subscribe(&mut self, text: &str, session: SessionKey, qos: Qos, outcome: SubscribeOutcome) -> String {
            let filter = filter(text);
            let (id, asked, _) = self.shared.subscribe(Instant::ORIGIN, session, &filter, qos);
            self.shared.subscribed(&mut self.out, id, &filter, Some(session), outcome);
            asked.as_str().to_owned()
        }

        /// The connection is made again, and the broker has kept its session.
        fn reconnect(&mut self) {
            let max_qos = Qos::ExactlyOnce;
            self.line.up(true, BrokerOffer { max_qos, retain: true, subscription_ids: false, max_packet: None });
        }

        /// Asks for what has to be asked for again; the broker grants it. Returns what was said to the broker.
        fn renew(&mut self) -> Vec<String> {
            let mut said = Vec::new();
            self.shared.renew(&mut self.out, &self.line, &mut self.tokens, Instant::ORIGIN);
            while !self.out.is_empty() {
                for output in std::mem::take(&mut self.out.queue) {
                    let Output::Broker { command, .. } = output else { panic!("{output:?}") };
                    if let BrokerCommand::Subscribe { filter, qos, id, .. } = command {
                        said.push(format!("+{}", filter.as_str()));
                        self.shared.renewed(&mut self.out, id, SubscribeOutcome::Granted(qos));
                    } else if let BrokerCommand::Unsubscribe { filter } = command {
                        said.push(format!("-{}", filter.as_str()));
                    } else {
                        panic!("{command:?}");
                    }
                }
            }
            said
        }
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_renewed_wide_filter_renews_all_that_it_stands_for() {
        let mut gateway = Gateway::new();
        assert_eq!(gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce)), "a/b");
        assert_eq!(gateway.subscribe("#", ONE, Qos::AtMostOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce)), "#");
        gateway.out.clear();
        gateway.shared.forgotten(Copies::Unnamed);
        assert_eq!(gateway.renew(), ["+#"]);

        let mut found = Vec::new();
        let topic = TopicName::parse(b"a/b").unwrap();
        let message = Message { topic, payload: "x".into(), qos: Qos::AtLeastOnce, retain: false };
        gateway.shared.recipients(Instant::ORIGIN, &message, &[], &mut found);
        assert_eq!(found, [Recipient { session: ONE, qos: Qos::AtLeastOnce }]);
    }

    #[test]
    fn a_wide_filter_that_is_refused_leaves_the_others_theirs() {
        let mut gateway = Gateway::new();
        gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
        assert_eq!(gateway.subscribe("#", TWO, Qos::AtLeastOnce, REFUSED), "#");
        assert_eq!(gateway.renew(), ["+a/b", "-#"]);
        assert_eq!(gateway.renew(), [""; 0]);
    }

    #[test]
    fn upstream_filters_of_former_days_go_when_what_takes_their_place_is_granted() {
        let mut gateway = Gateway::new();
        gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
        // Two wider ones after the other, and the first has not been answered when the second is lost.
        let first = gateway.shared.subscribe(Instant::ORIGIN, ONE, &filter("a/+"), Qos::AtLeastOnce).0;
        let second = gateway.shared.subscribe(Instant::ORIGIN, TWO, &filter("#"), Qos::AtLeastOnce).0;
        gateway.shared.subscribed(&mut gateway.out, second, &filter("#"), Some(TWO), SubscribeOutcome::Lost);
        let granted = SubscribeOutcome::Granted(Qos::AtLeastOnce);
        gateway.shared.subscribed(&mut gateway.out, first, &filter("a/+"), Some(ONE), granted);
        assert_eq!(gateway.renew(), ["+a/+", "-a/b", "-#"]);
    }

    #[test]
    fn what_the_broker_grants_when_nobody_needs_it_any_more_is_given_up() {
        let mut gateway = Gateway::new();
        gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
        gateway.subscribe("#", TWO, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
        let (id, asked, _) = gateway.shared.subscribe(Instant::ORIGIN, ONE, &filter("c"), Qos::AtLeastOnce);
        assert_eq!(asked, filter("#"));
        gateway.shared.unsubscribe(&mut gateway.out, TWO, &filter("#"));
        gateway.shared.forgotten(Copies::Unnamed);
        gateway.out.clear();
        assert_eq!(gateway.renew(), ["+a/b", "+c"]);
        let granted = SubscribeOutcome::Granted(Qos::AtLeastOnce);
        assert_eq!(gateway.shared.subscribed(&mut gateway.out, id, &filter("c"), Some(ONE), granted), granted);
        assert_eq!(gateway.renew(), ["-#"]);
    }

    #[test]
    fn an_upstream_filter_of_former_days_stays_if_it_is_wanted_again() {
        let granted = SubscribeOutcome::Granted(Qos::AtLeastOnce);
        let mut gateway = Gateway::new();
        gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, granted);
        gateway.line.down();
        gateway.subscribe("#", TWO, Qos::AtLeastOnce, SubscribeOutcome::Lost);
        gateway.reconnect();
        assert_eq!(gateway.subscribe("#", TWO, Qos::AtLeastOnce, granted), "#");
        assert_eq!(gateway.renew(), ["-a/b", "+#"]);
    }

    #[test]
    fn a_replaced_upstream_filter_stays_if_it_is_wanted_again() {
        let granted = SubscribeOutcome::Granted(Qos::AtLeastOnce);
        let mut gateway = Gateway::new();
        gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, granted);
        let (id, ..) = gateway.shared.subscribe(Instant::ORIGIN, TWO, &filter("a/+"), Qos::AtLeastOnce);
        gateway.shared.unsubscribe(&mut gateway.out, TWO, &filter("a/+"));
        gateway.shared.unsubscribe(&mut gateway.out, ONE, &filter("a/b"));
        assert_eq!(gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, granted), "a/b");
        gateway.shared.subscribed(&mut gateway.out, id, &filter("a/+"), None, granted);
        assert_eq!(gateway.renew(), ["-a/+", "-a/+"]);
    }

    #[test]
    fn an_upstream_filter_of_former_days_goes_with_the_last_that_waits_for_its_successor() {
        let mut gateway = Gateway::new();
        gateway.subscribe("a/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
        gateway.line.down();
        assert_eq!(gateway.subscribe("#", TWO, Qos::AtLeastOnce, SubscribeOutcome::Lost), "#");
        gateway.shared.unsubscribe(&mut gateway.out, ONE, &filter("a/b"));
        gateway.reconnect();
        assert_eq!(gateway.renew(), ["-a/b", "-#"]);
    }

    #[test]
    fn filters_that_share_one_upstream_are_asked_for_again_whoever_of_them_has_left() {
        for leaver in ["a/+", "+/b"] {
            let mut gateway = Gateway::new();
            gateway.subscribe("a/+", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
            gateway.subscribe("+/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
            gateway.out.clear();
            gateway.shared.forgotten(Copies::Unnamed);
            gateway.shared.unsubscribe(&mut gateway.out, ONE, &filter(leaver));
            assert_eq!(gateway.renew(), ["++/+"], "without {leaver}");
        }
    }

    #[test]
    fn a_lost_renewal_is_repeated_though_the_filter_that_stood_for_all_has_left() {
        for leaver in ["a/+", "+/b"] {
            let mut gateway = Gateway::new();
            gateway.subscribe("a/+", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
            gateway.subscribe("+/b", ONE, Qos::AtLeastOnce, SubscribeOutcome::Granted(Qos::AtLeastOnce));
            gateway.out.clear();
            gateway.shared.forgotten(Copies::Unnamed);
            gateway.shared.renew(&mut gateway.out, &gateway.line, &mut gateway.tokens, Instant::ORIGIN);
            let Some(Output::Broker { command: BrokerCommand::Subscribe { id, .. }, .. }) = gateway.out.queue.pop()
            else {
                panic!("{:?}", gateway.out);
            };
            gateway.shared.unsubscribe(&mut gateway.out, ONE, &filter(leaver));
            gateway.shared.renewed(&mut gateway.out, id, SubscribeOutcome::Lost);
            assert_eq!(gateway.renew(), ["++/+"], "without {leaver}");
        }
    }
}
