//! Messages that the gateway has answered for and the broker does not have yet.
//!
//! They go out in the order in which they came, a few at a time, so that a broker that has just come back is not
//! buried; and while one of a client's waits, its next ones wait behind it: see `turns`.

mod turns;

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use self::turns::Turns;
use super::line::Line;
use super::tokens::{Pending, Tokens};
use crate::core::context::Means;
use crate::core::journal::Journal;
use crate::core::notice::{Bound, Notice, Outdated};
use crate::core::outage::{OutagePolicy, OutageRules, OutageSettings};
use crate::core::topics::TopicName;
use crate::core::{
    BrokerCommand, Instant, Message, MessageRecord, Outputs, PublishOutcome, Record, RecordKey, Stats, StoreToken,
    Token, UpstreamRecord,
};
use crate::wire::Qos;

/// Kept messages that may be on their way to the broker at once.
const WINDOW: usize = 64;

/// The messages, by their place.
#[derive(Debug)]
pub(super) struct Kept {
    rules: OutageRules,
    entries: BTreeMap<u64, Entry>,
    turns: Turns,
    /// The newest of each topic of which only that is kept.
    latest: HashMap<TopicName, u64, RandomState>,
    /// Those that wait no longer than up to a time, soonest first.
    expiring: BTreeSet<(Instant, u64)>,
    octets: usize,
    under_way: usize,
    handover: Handover,
}

/// What has become of the messages since the broker was there last.
#[derive(Debug, Default)]
struct Handover {
    /// When the broker came back first to messages that waited for it.
    since: Option<Instant>,
    messages: usize,
    superseded: usize,
}

#[derive(Debug)]
struct Entry {
    /// Who sent it; nobody is empty.
    client: ByteString,
    message: Message,
    expires: Option<Instant>,
    policy: OutagePolicy,
    /// QoS 2: what it is handed to the connection under, whenever that is.
    token: Option<Token>,
    /// What must be stored before it goes out.
    written: StoreToken,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    UnderWay,
}

/// Why a message was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declined {
    /// As many as allowed are kept.
    Full,
    /// What comes on this topic is not to be kept.
    ByRule,
}

impl Kept {
    pub(super) fn new(settings: &OutageSettings) -> Self {
        Self {
            rules: OutageRules::new(settings),
            entries: BTreeMap::new(),
            turns: Turns::default(),
            latest: HashMap::default(),
            expiring: BTreeSet::new(),
            octets: 0,
            under_way: 0,
            handover: Handover::default(),
        }
    }

    /// Whether something of this client waits: what it sends now must not overtake that.
    pub(super) fn holds(&self, client: &ByteString) -> bool {
        self.turns.holds(client)
    }

    /// Returns how many messages of this client wait or are on their way.
    pub(super) fn of(&self, client: &ByteString) -> usize {
        self.turns.of(client)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a message over. QoS 0 is kept in the store too where a rule asks for it.
    pub(super) fn take(
        &mut self,
        means: &mut Means<'_>,
        line: &Line,
        client: ByteString,
        message: Message,
    ) -> Result<(), Declined> {
        let Means { now, out, journal, settings, stats } = means;
        let (now, settings) = (*now, &settings.outage);
        let terms = self.rules.terms(settings, &message.topic, message.qos, now);
        // What only waits for its turn behind others is not subject to the outage's rules.
        let policy = match terms.policy {
            OutagePolicy::Drop if line.is_up() => OutagePolicy::Keep,
            OutagePolicy::Drop => return Err(Declined::ByRule),
            policy @ (OutagePolicy::Keep | OutagePolicy::Latest) => policy,
        };
        if !self.has_room(settings, &message, policy) {
            self.drop_expired(now, out, journal, stats);
            if !self.has_room(settings, &message, policy) {
                return Err(Declined::Full);
            }
        }
        if let Some((place, older)) = self.superseded(&message, policy) {
            out.notice(older.outdated(Outdated::Superseded));
            stats.superseded += 1;
            self.handover.superseded += 1;
            self.remove(out, journal, place);
        }
        let place = journal.number();
        let token = (message.qos == Qos::ExactlyOnce).then(|| journal.token());
        let (written, state) = (StoreToken::default(), State::Waiting);
        let mut entry = Entry { client, message, expires: terms.expires, policy, token, written, state };
        entry.written = journal.put(out, entry.record(place));
        self.insert(place, entry);
        stats.kept += 1;
        Ok(())
    }

    /// Takes over a message that is on its way to the broker already, under `token`, if there is room for it. Returns its
    /// place.
    pub(super) fn adopt(
        &mut self,
        means: &mut Means<'_>,
        client: ByteString,
        message: Message,
        token: Token,
    ) -> Option<u64> {
        let Means { now, out, journal, settings, stats } = means;
        if !self.has_room(&settings.outage, &message, OutagePolicy::Keep) {
            self.drop_expired(*now, out, journal, stats);
            if !self.has_room(&settings.outage, &message, OutagePolicy::Keep) {
                return None;
            }
        }
        stats.kept += 1;
        let place = journal.number();
        let token = (message.qos == Qos::ExactlyOnce).then_some(token);
        let (policy, written, state) = (OutagePolicy::Keep, StoreToken::default(), State::Waiting);
        let mut entry = Entry { client, message, expires: None, policy, token, written, state };
        entry.written = journal.put(out, entry.record(place));
        self.insert(place, entry);
        self.set_off(place);
        Some(place)
    }

    /// Takes back what a former process kept. Returns whether it makes sense.
    pub(super) fn restore(&mut self, settings: &OutageSettings, now: Instant, record: UpstreamRecord) -> bool {
        let UpstreamRecord { place, client, message, expires, token } = record;
        let Ok(message) = message.into_message() else { return false };
        let terms = self.rules.terms(settings, &message.topic, message.qos, now);
        // A clock that was wrong must not keep a message for longer than one may wait.
        let expires = expires.map(|at| terms.expires.map_or(at, |latest| at.min(latest)));
        let (policy, written, state) = (terms.policy, StoreToken::default(), State::Waiting);
        self.insert(place, Entry { client, message, expires, policy, token, written, state });
        true
    }

    /// Notes that the message in this place is on its way already: its connection remembers it from before.
    pub(super) fn set_under_way(&mut self, place: u64) {
        self.set_off(place);
    }

    /// The broker is back: what waits goes out from now on. What was on its way is answered for if the broker has lost
    /// the session.
    pub(super) fn begin_handover(&mut self, now: Instant, session_present: bool) {
        if !session_present {
            self.turns.session_lost();
        }
        if !self.entries.is_empty() {
            self.handover.since.get_or_insert(now);
        }
    }

    /// Sends as many as may be on their way. When all have arrived that waited when the broker came back, and those
    /// behind them, that is said once.
    pub(super) fn drain(&mut self, means: &mut Means<'_>, line: &Line, tokens: &mut Tokens) {
        self.send_waiting(means, line, tokens);
        if self.entries.is_empty()
            && let Handover { since: Some(since), messages, superseded } = std::mem::take(&mut self.handover)
            && messages > 0
        {
            means.out.notice(Notice::KeptHandedOver { messages, superseded, took: means.now - since });
        }
    }

    /// Sends those whose turn it is, and none that is not stored: one that is to arrive once must not go out before that,
    /// and the others not before it.
    fn send_waiting(&mut self, means: &mut Means<'_>, line: &Line, tokens: &mut Tokens) {
        let Means { now, out, journal, stats, .. } = means;
        while line.is_up() && self.under_way < WINDOW {
            let first = self.turns.first().and_then(|place| Some((place, self.entries.get(&place)?)));
            let Some((place, entry)) = first else { return };
            if journal.awaits(entry.written) {
                return;
            }
            if !self.turns.may_go(&entry.client, place, entry.message.qos) {
                continue;
            }
            if entry.expires.is_some_and(|at| at <= *now) {
                out.notice(entry.outdated(Outdated::TooOld));
                stats.expired += 1;
                self.remove(out, journal, place);
                continue;
            }
            let message = match line.fit(entry.message.clone()) {
                Ok(message) => message,
                Err(why) if why.may_pass() => return,
                Err(_) => {
                    stats.publish_refused += 1;
                    out.notice(Notice::KeptRefused { topic: entry.message.topic.clone(), reason: None });
                    self.remove(out, journal, place);
                    continue;
                }
            };
            let expires_in = entry.expires.map(|at| at - *now);
            let pending = Pending::Kept { place };
            let token = match entry.token {
                Some(token) => tokens.issue_as(token, pending),
                None => tokens.issue(pending),
            };
            self.set_off(place);
            out.command(line.conn(), BrokerCommand::Publish { token: Some(token), message, expires_in });
        }
    }

    /// Takes the broker's answer. Returns whether the connection had no room, so that going on has to wait.
    pub(super) fn answered(&mut self, means: &mut Means<'_>, place: u64, outcome: PublishOutcome) -> Answered {
        let Means { out, journal, stats, .. } = means;
        self.arrive(place);
        match outcome {
            PublishOutcome::Accepted => {
                // At QoS 0 it was counted when it was taken.
                let acknowledged = self.entries.get(&place).is_some_and(|entry| entry.message.qos > Qos::AtMostOnce);
                stats.published += u64::from(acknowledged);
                self.handover.messages += 1;
                self.remove(out, journal, place);
            }
            PublishOutcome::Refused(reason) => {
                stats.publish_refused += 1;
                if let Some(entry) = self.entries.get(&place) {
                    let topic = entry.message.topic.clone();
                    out.notice(Notice::KeptRefused { topic, reason: Some(reason) });
                }
                self.remove(out, journal, place);
            }
            PublishOutcome::Busy | PublishOutcome::Lost => {
                if let Some(entry) = self.entries.get_mut(&place) {
                    entry.state = State::Waiting;
                    self.turns.come_back(place);
                }
                if outcome == PublishOutcome::Busy {
                    return Answered::NoRoom;
                }
            }
        }
        Answered::GoOn
    }

    /// Notes that the message in this place is on its way to the broker.
    fn set_off(&mut self, place: u64) {
        let Some(entry) = self.entries.get_mut(&place) else { return };
        entry.state = State::UnderWay;
        self.under_way += 1;
        self.turns.set_off(&entry.client, place, entry.message.qos);
    }

    /// Notes that the message in this place is on its way no more, whatever became of it.
    fn arrive(&mut self, place: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(entry) = self.entries.get(&place) {
            self.turns.arrived(&entry.client, place);
        }
    }

    fn has_room(&self, settings: &OutageSettings, message: &Message, policy: OutagePolicy) -> bool {
        let freed = self.superseded(message, policy).map(|(_, entry)| octets(&entry.message));
        self.entries.len() - usize::from(freed.is_some()) < settings.messages
            && self.octets - freed.unwrap_or(0) + octets(message) <= settings.octets
    }

    /// Returns the message whose place a new one takes, if only the newest of its topic is kept.
    fn superseded(&self, message: &Message, policy: OutagePolicy) -> Option<(u64, &Entry)> {
        let place = self.latest.get(&message.topic).filter(|_| policy == OutagePolicy::Latest)?;
        self.entries.get(place).filter(|entry| entry.state == State::Waiting).map(|entry| (*place, entry))
    }

    fn drop_expired(&mut self, now: Instant, out: &mut Outputs, journal: &mut Journal, stats: &mut Stats) {
        let outdated = self.expiring.range(..=(now, u64::MAX)).map(|(_, place)| *place);
        let waits = |place: &u64| self.entries.get(place).is_some_and(|entry| entry.state == State::Waiting);
        for place in outdated.filter(waits).collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get(&place) {
                out.notice(entry.outdated(Outdated::TooOld));
            }
            stats.expired += 1;
            self.remove(out, journal, place);
        }
    }

    fn insert(&mut self, place: u64, entry: Entry) {
        self.octets += octets(&entry.message);
        self.turns.add(&entry.client, place);
        self.expiring.extend(entry.expires.map(|at| (at, place)));
        if entry.policy == OutagePolicy::Latest {
            self.latest.insert(entry.message.topic.clone(), place);
        }
        self.entries.insert(place, entry);
    }

    fn remove(&mut self, out: &mut Outputs, journal: &mut Journal, place: u64) {
        let Some(entry) = self.entries.remove(&place) else { return };
        journal.delete(out, RecordKey::Upstream(place));
        if let Some(at) = entry.expires {
            self.expiring.remove(&(at, place));
        }
        self.octets -= octets(&entry.message);
        if self.latest.get(&entry.message.topic) == Some(&place) {
            self.latest.remove(&entry.message.topic);
        }
        self.turns.remove(&entry.client, place);
    }
}

/// What an answer means for the messages behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    GoOn,
    /// The connection had no room: what it has not taken is to be tried again later.
    NoRoom,
}

impl Entry {
    fn record(&self, place: u64) -> Record {
        let Self { client, message, expires, token, .. } = self;
        let message = MessageRecord::from(message);
        Record::Upstream(UpstreamRecord { place, client: client.clone(), message, expires: *expires, token: *token })
    }

    fn outdated(&self, why: Outdated) -> Notice {
        let (client_id, topic) = (self.client.clone(), self.message.topic.clone());
        Notice::Outdated { client_id, topic, bound: Bound::ForBroker, why }
    }
}

fn octets(message: &Message) -> usize {
    message.topic.as_str().len() + message.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{BrokerOffer, ConnId, Durability, Output, Settings, StoreToken};

    struct Rig {
        kept: Kept,
        line: Line,
        tokens: Tokens,
        journal: Journal,
        out: Outputs,
        settings: Settings,
        stats: Stats,
    }

    impl Rig {
        fn new() -> Self {
            let settings = Settings::default();
            let mut line = Line::new(ConnId::OWN);
            let max_qos = Qos::ExactlyOnce;
            line.up(true, BrokerOffer { max_qos, retain: true, subscription_ids: true, max_packet: None });
            Self {
                kept: Kept::new(&settings.outage),
                line,
                tokens: Tokens::default(),
                journal: Journal::new(Durability::Strict),
                out: Outputs::default(),
                settings,
                stats: Stats::default(),
            }
        }

        fn take(&mut self, payload: &'static str, qos: Qos) {
            let topic = TopicName::parse(b"a").unwrap();
            let message = Message { topic, payload: payload.into(), qos, retain: false };
            let Self { kept, line, journal, out, settings, stats, .. } = self;
            let mut means = Means { now: Instant::ORIGIN, out, journal, settings, stats };
            kept.take(&mut means, line, "c".into(), message).unwrap();
        }

        fn stored(&mut self, token: u64) {
            self.journal.on_stored(&mut self.out, StoreToken(token));
        }

        /// Returns what goes out.
        fn drain(&mut self) -> Vec<String> {
            let Self { kept, line, tokens, journal, out, settings, stats } = self;
            out.clear();
            kept.drain(&mut Means { now: Instant::ORIGIN, out, journal, settings, stats }, line, tokens);
            let payload = |output| {
                let Output::Broker { command: BrokerCommand::Publish { message, .. }, .. } = output else {
                    return None;
                };
                Some(String::from_utf8(message.payload.to_vec()).unwrap())
            };
            out.queue.drain(..).filter_map(payload).collect()
        }
    }

    #[test]
    fn a_message_goes_out_when_it_is_stored_and_none_before_an_earlier_one() {
        let mut rig = Rig::new();
        rig.take("1", Qos::ExactlyOnce);
        rig.take("2", Qos::ExactlyOnce);
        rig.take("3", Qos::ExactlyOnce);
        assert_eq!(rig.drain(), [""; 0]);
        rig.stored(2);
        assert_eq!(rig.drain(), ["1", "2"]);
        rig.stored(3);
        assert_eq!(rig.drain(), ["3"]);
    }
}
