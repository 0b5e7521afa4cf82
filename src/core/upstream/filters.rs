//! The filters of all clients, merged for one connection: who subscribed to what, and who gets which message.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;

use super::overlaps::{self, Candidate, Overlaps, Role, Standing};
use super::replayed::{Replayed, Turn};
use crate::core::sessions::SessionKey;
use crate::core::topics::{TopicFilter, Tree};
use crate::core::{Instant, Message, SubscriptionId};
use crate::wire::Qos;

/// How long after a SUBSCRIBE the broker's retained messages are still taken for its answer.
///
/// With subscription identifiers this only bounds memory. Without them (MQTT 3.1.1) it decides who gets a retained
/// message; five seconds are ten times the slowest replay we saw from Mosquitto with 10,000 retained messages.
pub(super) const REPLAY_WINDOW: Duration = Duration::from_secs(5);
/// How long messages that the broker had queued before it granted a SUBSCRIBE may carry the identifier before.
const FORMER_ID_WINDOW: Duration = Duration::from_secs(60);
/// Replays remembered per filter. A thousand clients that subscribe to one filter at once stay far below.
const REPLAYS: usize = 10_000;

/// A filter's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilterKey(usize);

#[cfg(test)]
impl FilterKey {
    pub(super) fn for_test(place: usize) -> Self {
        Self(place)
    }
}

/// A session that gets a message, and the most it may get it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct Recipient {
    pub(in crate::core) session: SessionKey,
    pub(in crate::core) qos: Qos,
}

/// Who hears the retained messages that a SUBSCRIBE brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// The client that asked.
    One(SessionKey),
    /// Everyone: the broker had forgotten the subscription, and what it retains may have changed since.
    All,
}

#[derive(Debug, Default)]
pub(super) struct Filters {
    filters: Slab<Filter>,
    tree: Tree<FilterKey>,
    by_id: HashMap<SubscriptionId, FilterKey, RandomState>,
    last_id: SubscriptionId,
    last_turn: Turn,
    /// In use while copies do not name their subscriptions.
    replayed: Replayed,
    /// In use while they do.
    overlaps: Overlaps,
    // Reused by every message.
    matched: Vec<FilterKey>,
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Filter {
    filter: TopicFilter,
    /// In ascending order of the session.
    subscribers: Vec<Subscriber>,
    /// The SUBSCRIBEs sent for this filter, oldest first. Live messages carry the id of the last one granted.
    replays: VecDeque<Replay>,
    /// The SUBSCRIBE since which the broker has held the filter, at this QoS or a higher one.
    held: Option<(SubscriptionId, Qos)>,
}

#[derive(Clone, Copy, Debug)]
struct Subscriber {
    session: SessionKey,
    qos: Qos,
    /// What it has asked for last; the same as `qos` if the broker has answered.
    wanted: Qos,
    standing: Standing,
}

#[derive(Clone, Copy, Debug)]
struct Replay {
    id: SubscriptionId,
    turn: Turn,
    audience: Audience,
    since: Instant,
    standing: Standing,
}

impl Filters {
    /// Adds a subscriber, or changes what it asks for, until the broker has answered.
    pub(super) fn add(&mut self, filter: &TopicFilter, session: SessionKey, qos: Qos) -> FilterKey {
        let key = self.tree.get(filter.as_str()).unwrap_or_else(|| {
            let (subscribers, replays) = (Vec::new(), VecDeque::new());
            let new = Filter { filter: filter.clone(), subscribers, replays, held: None };
            let key = FilterKey(self.filters.insert(new));
            self.tree.insert(filter.as_str(), key);
            key
        });
        let subscribers = &mut self.filters[key.0].subscribers;
        match subscribers.binary_search_by_key(&session, |subscriber| subscriber.session) {
            Ok(index) => subscribers[index].wanted = qos,
            Err(index) => {
                subscribers.insert(index, Subscriber { session, qos, wanted: qos, standing: Standing::Pending });
            }
        }
        key
    }

    /// Takes back a subscriber of a former process: the broker had granted it.
    pub(super) fn restore(&mut self, filter: &TopicFilter, session: SessionKey, qos: Qos) {
        let key = self.add(filter, session, qos);
        if let Some(subscriber) = self.subscriber(key, session) {
            subscriber.standing = Standing::Lapsed;
        }
    }

    /// The broker still holds the filter, under this number.
    pub(super) fn resume(&mut self, key: FilterKey, id: SubscriptionId, now: Instant) {
        self.remember(key, &[id], now);
        self.renewed(key, id);
    }

    /// Messages for the filter may carry these numbers, which a former process chose.
    pub(super) fn remember(&mut self, key: FilterKey, ids: &[SubscriptionId], now: Instant) {
        let Some(filter) = self.filters.get_mut(key.0) else { return };
        for id in ids {
            let (audience, turn, standing) = (Audience::All, self.last_turn, Standing::Pending);
            filter.replays.push_back(Replay { id: *id, turn, audience, since: now, standing });
            self.by_id.insert(*id, key);
        }
    }

    /// Does not give these numbers to anyone else.
    pub(super) fn skip<'a>(&mut self, ids: impl Iterator<Item = &'a SubscriptionId>) {
        self.last_id = ids.copied().fold(self.last_id, SubscriptionId::max);
    }

    /// Notes that a SUBSCRIBE goes out now that brings this filter's retained messages. Returns its number: a client that
    /// repeats what was granted last has the same again, so that nothing changes.
    pub(super) fn asked(&mut self, key: FilterKey, audience: Audience, now: Instant) -> SubscriptionId {
        let turn = self.last_turn.next();
        self.last_turn = turn;
        if let Some(last) = self.filters.get_mut(key.0).and_then(|filter| filter.replays.back_mut())
            && last.standing == Standing::Active
            && matches!(audience, Audience::One(_))
            && last.audience == audience
        {
            (last.turn, last.since) = (turn, now);
            return last.id;
        }
        let id = self.fresh_id();
        let Some(filter) = self.filters.get_mut(key.0) else { return id };
        while let Some(replay) = filter.take_superseded(now) {
            self.by_id.remove(&replay.id);
        }
        filter.replays.push_back(Replay { id, turn, audience, since: now, standing: Standing::Pending });
        self.by_id.insert(id, key);
        id
    }

    /// Returns the filter that a SUBSCRIBE was for, while its id may still come with messages.
    pub(super) fn by_id(&self, id: SubscriptionId) -> Option<FilterKey> {
        self.by_id.get(&id).copied()
    }

    /// Returns a filter and the highest QoS that one of its subscribers asked for.
    pub(super) fn demand(&self, key: FilterKey) -> Option<(&TopicFilter, Qos)> {
        let filter = self.filters.get(key.0)?;
        let qos = filter.subscribers.iter().map(|subscriber| subscriber.wanted).max().unwrap_or(Qos::AtMostOnce);
        Some((&filter.filter, qos))
    }

    /// Notes that the broker holds a filter since this SUBSCRIBE, whoever has asked: what it had forgotten is back for all
    /// that it was granted before.
    pub(super) fn holds(&mut self, key: FilterKey, id: SubscriptionId, granted: Qos) {
        if let Some(filter) = self.filters.get_mut(key.0) {
            filter.note_granted(id, granted);
        }
    }

    /// Notes that the broker has granted a subscriber's SUBSCRIBE. Returns what this subscriber may have.
    pub(super) fn granted(&mut self, key: FilterKey, session: SessionKey, granted: Qos) -> Option<Qos> {
        let subscriber = self.subscriber(key, session)?;
        subscriber.standing = Standing::Active;
        subscriber.qos = subscriber.wanted.min(granted);
        subscriber.wanted = subscriber.qos;
        Some(subscriber.qos)
    }

    /// Notes that the broker has granted the filter again, for all its subscribers.
    pub(super) fn renewed(&mut self, key: FilterKey, id: SubscriptionId) {
        let Some(filter) = self.filters.get_mut(key.0) else { return };
        let wanted = filter.subscribers.iter().map(|subscriber| subscriber.wanted).max();
        filter.note_granted(id, wanted.unwrap_or(Qos::AtMostOnce));
    }

    /// Notes that the broker has forgotten every filter.
    pub(super) fn lapse(&mut self) {
        for (_, filter) in &mut self.filters {
            filter.held = None;
            let granted = filter.subscribers.iter_mut().filter(|subscriber| subscriber.standing == Standing::Active);
            granted.for_each(|subscriber| subscriber.standing = Standing::Lapsed);
        }
    }

    /// Leaves a subscriber what it had been granted before it asked anew. Returns whether there was anything.
    pub(super) fn keep_granted(&mut self, key: FilterKey, session: SessionKey) -> bool {
        let granted = self.subscriber(key, session).filter(|subscriber| subscriber.standing != Standing::Pending);
        granted.map(|subscriber| subscriber.wanted = subscriber.qos).is_some()
    }

    /// Takes a subscriber away. Returns the filter if it was the last one.
    pub(super) fn remove(&mut self, key: FilterKey, session: SessionKey) -> Option<TopicFilter> {
        let filter = self.filters.get_mut(key.0)?;
        if let Ok(index) = filter.subscribers.binary_search_by_key(&session, |subscriber| subscriber.session) {
            filter.subscribers.remove(index);
        }
        if !filter.subscribers.is_empty() {
            return None;
        }
        let filter = self.filters.remove(key.0);
        self.tree.remove(filter.filter.as_str());
        for replay in &filter.replays {
            self.by_id.remove(&replay.id);
        }
        Some(filter.filter)
    }

    /// Returns the filter's place, if anyone has subscribed to it.
    pub(super) fn find(&self, filter: &TopicFilter) -> Option<FilterKey> {
        self.tree.get(filter.as_str())
    }

    /// Returns every filter's place, in a stable order.
    pub(super) fn keys(&self) -> impl Iterator<Item = FilterKey> + '_ {
        self.filters.iter().map(|(index, _)| FilterKey(index))
    }

    /// Finds who gets a live message.
    ///
    /// A broker sends one copy for each overlapping subscription of a connection, or one for all; each copy names
    /// the subscriptions that it stands for. A session that several of its filters lead to gets the message
    /// with the copy for its best filter only: once, at the highest QoS ([`overlaps`] has the exception).
    ///
    /// Without `ids` (MQTT 3.1.1) every copy is taken for the only one.
    pub(super) fn live(&mut self, message: &Message, ids: &[SubscriptionId], found: &mut Vec<Recipient>) {
        self.matched.clear();
        self.tree.matches(message.topic.as_str(), &mut self.matched);
        let brought_by = |key: FilterKey| ids.is_empty() || ids.iter().any(|id| self.by_id.get(id) == Some(&key));

        if let [only] = self.matched[..] {
            if brought_by(only) {
                found.extend(self.filters[only.0].subscribers.iter().map(|subscriber| subscriber.recipient()));
            }
            if message.qos > Qos::AtMostOnce {
                self.overlaps.pass(ids);
            }
            return;
        }
        self.candidates.clear();
        for &key in &self.matched {
            let role = if brought_by(key) { Role::Brought } else { Role::Matches };
            let filter = &self.filters[key.0];
            let since = filter.held.map(|(since, _)| since).unwrap_or_default();
            for subscriber in &filter.subscribers {
                if role == Role::Brought || subscriber.standing == Standing::Active {
                    let Subscriber { qos, wanted, standing, .. } = *subscriber;
                    let (recipient, assured) = (subscriber.recipient(), qos.min(wanted));
                    self.candidates.push(Candidate { recipient, filter: key, since, assured, standing, role });
                }
            }
        }
        match message.qos {
            Qos::AtMostOnce => overlaps::sort_out_unassured(&mut self.candidates, found),
            Qos::AtLeastOnce | Qos::ExactlyOnce => {
                let content = self.replayed.content(message);
                self.overlaps.sort_out(content, ids, &mut self.candidates, found);
            }
        }
    }

    /// Finds who gets a retained message that the broker replays after a SUBSCRIBE.
    ///
    /// Without `ids` it goes to all who asked for a matching filter a moment ago and have not had it since they asked.
    pub(super) fn retained(
        &mut self,
        message: &Message,
        ids: &[SubscriptionId],
        now: Instant,
        found: &mut Vec<Recipient>,
    ) {
        if ids.is_empty() {
            self.matched.clear();
            self.tree.matches(message.topic.as_str(), &mut self.matched);
            let content = self.replayed.content(message);
            let given = self.replayed.given_until(content);
            for key in &self.matched {
                let filter = &self.filters[key.0];
                let is_due = |replay: &&Replay| now - replay.since <= REPLAY_WINDOW && given < Some(replay.turn);
                filter.replays.iter().filter(is_due).for_each(|replay| filter.audience(replay.audience, found));
            }
            if !found.is_empty() {
                self.replayed.note(content, self.last_turn, now);
            }
        } else {
            for id in ids {
                let Some(filter) = self.by_id.get(id).and_then(|key| self.filters.get(key.0)) else { continue };
                if let Some(replay) = filter.replays.iter().rev().find(|replay| replay.id == *id) {
                    filter.audience(replay.audience, found);
                }
            }
        }
        found.sort_unstable_by_key(|recipient| (recipient.session, std::cmp::Reverse(recipient.qos)));
        found.dedup_by_key(|recipient| recipient.session);
    }

    fn subscriber(&mut self, key: FilterKey, session: SessionKey) -> Option<&mut Subscriber> {
        let subscribers = &mut self.filters.get_mut(key.0)?.subscribers;
        let index = subscribers.binary_search_by_key(&session, |subscriber| subscriber.session).ok()?;
        subscribers.get_mut(index)
    }

    fn fresh_id(&mut self) -> SubscriptionId {
        loop {
            self.last_id = match self.last_id {
                SubscriptionId::MAX => SubscriptionId(1),
                SubscriptionId(last) => SubscriptionId(last + 1),
            };
            if !self.by_id.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Filter {
    fn note_granted(&mut self, id: SubscriptionId, qos: Qos) {
        if self.held.is_none_or(|(_, held)| qos > held) {
            self.held = Some((id, qos));
            // One that was granted more than this stays lapsed: another of its filters may bring it more.
            let is_back = |subscriber: &&mut Subscriber| {
                subscriber.standing == Standing::Lapsed && subscriber.qos.min(subscriber.wanted) <= qos
            };
            self.subscribers.iter_mut().filter(is_back).for_each(|subscriber| subscriber.standing = Standing::Active);
        }
        if let Some(replay) = self.replays.iter_mut().rev().find(|replay| replay.id == id) {
            replay.standing = Standing::Active;
        }
    }

    /// Takes out a SUBSCRIBE whose id no message carries any more.
    ///
    /// Its id stays in force until the broker has granted a later one, and some time longer for what was queued by
    /// then. In a list that is full, one that is surely not in force has to go before its time.
    fn take_superseded(&mut self, now: Instant) -> Option<Replay> {
        let is_old = |replay: &&Replay| now - replay.since > FORMER_ID_WINDOW;
        let is_granted = |replay: &Replay| replay.standing == Standing::Active;
        if self.replays.iter().skip(1).take_while(is_old).any(is_granted) {
            return self.replays.pop_front();
        }
        if self.replays.len() < REPLAYS {
            return None;
        }
        let second_is_granted = self.replays.get(1).is_some_and(is_granted);
        self.replays.remove(if second_is_granted { 0 } else { 1 })
    }

    fn audience(&self, audience: Audience, found: &mut Vec<Recipient>) {
        let hears = |subscriber: &&Subscriber| match audience {
            Audience::One(session) => subscriber.session == session,
            Audience::All => true,
        };
        found.extend(self.subscribers.iter().filter(hears).map(Subscriber::recipient));
    }
}

impl Subscriber {
    fn recipient(&self) -> Recipient {
        Recipient { session: self.session, qos: self.qos }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topics::TopicName;

    const ONE: SessionKey = SessionKey(1);
    const TWO: SessionKey = SessionKey(2);

    #[derive(Default)]
    struct Table(Filters);

    impl Table {
        /// Subscribes and has the broker grant it. Returns the subscription's id.
        fn grant(&mut self, filter: &str, session: SessionKey, qos: Qos) -> SubscriptionId {
            let (key, id) = self.ask(filter, session, qos);
            self.0.holds(key, id, qos);
            assert_eq!(self.0.granted(key, session, qos), Some(qos));
            id
        }

        fn ask(&mut self, filter: &str, session: SessionKey, qos: Qos) -> (FilterKey, SubscriptionId) {
            let key = self.0.add(&TopicFilter::parse(filter.as_bytes()).unwrap(), session, qos);
            (key, self.0.asked(key, Audience::One(session), Instant::ORIGIN))
        }

        fn live(&mut self, topic: &str, ids: &[SubscriptionId]) -> Vec<(SessionKey, Qos)> {
            let mut found = Vec::new();
            let topic = TopicName::parse(topic.as_bytes()).unwrap();
            let message = Message { topic, payload: "x".into(), qos: Qos::ExactlyOnce, retain: false };
            self.0.live(&message, ids, &mut found);
            found.iter().map(|recipient| (recipient.session, recipient.qos)).collect()
        }

        fn retained(&mut self, topic: &str, ids: &[SubscriptionId], after: Duration) -> Vec<SessionKey> {
            let mut found = Vec::new();
            let topic = TopicName::parse(topic.as_bytes()).unwrap();
            let message = Message { topic, payload: "x".into(), qos: Qos::AtMostOnce, retain: true };
            self.0.retained(&message, ids, Instant::from_origin(after), &mut found);
            found.iter().map(|recipient| recipient.session).collect()
        }
    }

    #[test]
    fn a_client_that_repeats_its_subscribe_has_the_same_number_unless_another_has_asked_since() {
        let mut table = Table::default();
        let first = table.grant("a", ONE, Qos::AtMostOnce);
        assert_eq!(table.grant("a", ONE, Qos::AtLeastOnce), first);
        assert_eq!(table.retained("a", &[first], Duration::ZERO), [ONE]);
        let other = table.grant("a", TWO, Qos::AtMostOnce);
        let again = table.grant("a", ONE, Qos::AtMostOnce);
        assert!(again != first && again != other);
        assert_eq!(table.retained("a", &[again], Duration::ZERO), [ONE]);
        let (_, unanswered) = table.ask("b", ONE, Qos::AtMostOnce);
        assert_ne!(table.grant("b", ONE, Qos::AtMostOnce), unanswered);
    }

    #[test]
    fn each_copy_for_overlapping_filters_reaches_only_those_it_was_sent_for() {
        let mut table = Table::default();
        let wide = table.grant("iot/#", ONE, Qos::AtMostOnce);
        let narrow = table.grant("iot/+/led", TWO, Qos::AtLeastOnce);
        assert_eq!(table.live("iot/a/led", &[wide]), [(ONE, Qos::AtMostOnce)]);
        assert_eq!(table.live("iot/a/led", &[narrow]), [(TWO, Qos::AtLeastOnce)]);
        // A broker that merges copies names both subscriptions in one.
        assert_eq!(table.live("iot/a/led", &[wide, narrow]), [(ONE, Qos::AtMostOnce), (TWO, Qos::AtLeastOnce)]);
    }

    #[test]
    fn a_client_with_overlapping_filters_gets_a_message_once_and_at_the_highest_qos() {
        let mut table = Table::default();
        let low = table.grant("a/#", ONE, Qos::AtMostOnce);
        let high = table.grant("a/+", ONE, Qos::ExactlyOnce);
        assert_eq!(table.live("a/b", &[low]), []);
        assert_eq!(table.live("a/b", &[high]), [(ONE, Qos::ExactlyOnce)]);
        assert_eq!(table.live("a/b/c", &[low]), [(ONE, Qos::AtMostOnce)]);
    }

    #[test]
    fn a_filter_the_broker_has_not_granted_yet_takes_no_message_from_one_it_has() {
        let mut table = Table::default();
        let granted = table.grant("a/#", ONE, Qos::AtMostOnce);
        let (_, asked) = table.ask("a/+", ONE, Qos::ExactlyOnce);
        assert_eq!(table.live("a/b", &[granted]), [(ONE, Qos::AtMostOnce)]);
        assert_eq!(table.live("a/b", &[asked]), [], "the copy for the granted filter is the one that counts");
    }

    #[test]
    fn retained_messages_reach_only_the_client_whose_subscribe_brought_them() {
        let mut table = Table::default();
        let first = table.grant("a/#", ONE, Qos::AtLeastOnce);
        let second = table.grant("a/#", TWO, Qos::AtLeastOnce);
        assert_eq!(table.retained("a/b", &[second], Duration::ZERO), [TWO]);
        assert_eq!(table.retained("a/b", &[first], Duration::ZERO), [ONE]);
    }

    #[test]
    fn without_identifiers_retained_messages_reach_those_who_subscribed_a_moment_ago() {
        let mut table = Table::default();
        table.grant("a/#", ONE, Qos::AtLeastOnce);
        assert_eq!(table.retained("a/b", &[], REPLAY_WINDOW), [ONE]);
        assert_eq!(table.retained("a/c", &[], REPLAY_WINDOW + Duration::from_micros(1)), []);
    }

    #[test]
    fn the_last_subscriber_takes_the_filter_with_it() {
        let mut table = Table::default();
        let id = table.grant("a/b", ONE, Qos::AtLeastOnce);
        table.grant("a/b", TWO, Qos::AtLeastOnce);
        let key = table.0.by_id(id).unwrap();
        assert_eq!(table.0.remove(key, ONE), None);
        assert_eq!(table.0.remove(key, TWO).unwrap().as_str(), "a/b");
        assert_eq!(table.0.by_id(id), None);
        assert_eq!(table.live("a/b", &[]), []);
    }

    #[test]
    fn a_shared_filter_is_asked_for_at_the_highest_qos_of_its_subscribers() {
        let mut table = Table::default();
        table.grant("a/b", ONE, Qos::ExactlyOnce);
        let key = table.0.add(&TopicFilter::parse(b"a/b").unwrap(), TWO, Qos::AtMostOnce);
        assert_eq!(table.0.demand(key).unwrap().1, Qos::ExactlyOnce);
    }

    #[test]
    fn a_qos_that_was_asked_for_in_vain_takes_no_message_from_a_better_filter() {
        let mut table = Table::default();
        let low = table.grant("a/#", ONE, Qos::AtMostOnce);
        let high = table.grant("a/+", ONE, Qos::AtLeastOnce);
        let (key, _) = table.ask("a/#", ONE, Qos::ExactlyOnce);
        assert_eq!(table.0.demand(key).unwrap().1, Qos::ExactlyOnce);
        for _ in ["while the broker has not answered", "after it has refused"] {
            assert_eq!(table.live("a/b", &[low]), []);
            assert_eq!(table.live("a/b", &[high]), [(ONE, Qos::AtLeastOnce)]);
            assert!(table.0.keep_granted(key, ONE));
        }
        assert_eq!(table.0.demand(key).unwrap().1, Qos::AtMostOnce);
    }
}
