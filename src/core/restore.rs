//! Taking up where a former process left off.
//!
//! Records are read as strictly as frames: what cannot be right is dropped and counted. A client that was connected is
//! connected again without noticing; it has its full time to say something, because nobody could hear it meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::gateway::Gateway;
use super::journal::is_durable;
use super::session::Session;
use super::sessions::SessionKey;
use super::{
    ExchangeProgress, ExchangeRecord, Instant, Outputs, QueuedRecord, Record, RecordKey, SessionNumber, SessionRecord,
    Token, UpstreamRecord,
};

/// What was found in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub sessions: usize,
    pub subscriptions: usize,
    /// Messages that wait for clients.
    pub queued: usize,
    /// Messages that wait for the broker.
    pub kept: usize,
    /// Records that belong to nothing, or make no sense. They are deleted.
    pub dropped: usize,
}

/// The messages that connections to the broker remember from before, by what became of them.
#[derive(Debug)]
struct Fates {
    under_way: BTreeSet<Token>,
    completed: BTreeSet<Token>,
}

/// What became of a QoS 2 message that was handed to a connection.
enum Fate {
    /// The connection goes on with it and tells how it ends.
    UnderWay,
    /// The broker has it.
    Completed,
    /// The broker never got it, or has forgotten it.
    Lost,
}

impl Gateway {
    /// Takes back what is in the store. To be called before anything else, and its outputs carried out like any
    /// others. `under_way` are the tokens that connections to the broker still remember.
    pub fn restore(
        &mut self,
        now: Instant,
        records: Vec<Record>,
        under_way: impl IntoIterator<Item = Token>,
        out: &mut Outputs,
    ) -> Restored {
        let mut restored = Restored::default();
        let mut fates = Fates { under_way: under_way.into_iter().collect(), completed: BTreeSet::new() };
        let mut keys = BTreeMap::new();
        let (mut later, mut queued, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            self.skip_numbers(&record);
            match record {
                Record::Session(record) => {
                    let number = record.number;
                    match self.restore_session(now, record) {
                        Some(key) => _ = keys.insert(number, key),
                        None => self.drop_record(RecordKey::Session(number), &mut restored, out),
                    }
                }
                Record::Completed(token) => _ = fates.completed.insert(token),
                Record::Queued(record) => queued.push(record),
                Record::Upstream(record) => kept.push(record),
                Record::Filter(record) => {
                    if !self.upstream.restore_filter(&record) {
                        self.drop_record(RecordKey::Filter(record.filter), &mut restored, out);
                    }
                }
                Record::Arrival(record) if record.session == SessionNumber::GATEWAY => {
                    self.upstream.restore_arrival(&record);
                }
                // The connections' own; they have read it already.
                Record::Checkpoint(_) => {}
                record @ (Record::Topic(_) | Record::Subscription(_) | Record::Exchange(_) | Record::Arrival(_)) => {
                    later.push(record);
                }
            }
        }
        restored.sessions = keys.len();
        for record in later {
            if !self.restore_belonging(&keys, &mut fates, record.clone(), &mut restored, out) {
                self.drop_record(record.key(), &mut restored, out);
            }
        }
        queued.sort_unstable_by_key(|record| record.place);
        for record in queued {
            let key = RecordKey::Queued(record.session, record.place);
            if self.restore_queued(now, &keys, record) {
                restored.queued += 1;
            } else {
                self.drop_record(key, &mut restored, out);
            }
        }
        kept.sort_unstable_by_key(|record| record.place);
        for record in kept {
            let key = RecordKey::Upstream(record.place);
            if !self.restore_kept(now, &mut fates, record, out) {
                self.drop_record(key, &mut restored, out);
            }
        }
        restored.kept = self.upstream.kept();
        for token in fates.completed {
            self.journal.delete(out, RecordKey::Completed(token));
        }
        for key in keys.into_values() {
            self.with_session(now, key, out, Session::take_up);
        }
        restored
    }

    fn drop_record(&mut self, key: RecordKey, restored: &mut Restored, out: &mut Outputs) {
        restored.dropped += 1;
        self.journal.delete(out, key);
    }

    /// Returns nothing if the client has a session already.
    fn restore_session(&mut self, now: Instant, record: SessionRecord) -> Option<SessionKey> {
        if self.sessions.by_client(&record.client_id).is_some() {
            return None;
        }
        let prefix = self.settings.topic_prefix.of_client(&record.client_id);
        let expiry = self.settings.timers.session_expiry;
        let mut route = None;
        let key = self.sessions.insert(|key| {
            let session = Session::restore(now, key, record, prefix, expiry);
            route = session.route().cloned();
            session
        });
        if let Some(route) = route {
            self.sessions.bind(&route, key);
        }
        Some(key)
    }

    /// Returns whether the record belongs to a session and makes sense.
    fn restore_belonging(
        &mut self,
        keys: &BTreeMap<SessionNumber, SessionKey>,
        fates: &mut Fates,
        record: Record,
        restored: &mut Restored,
        out: &mut Outputs,
    ) -> bool {
        let Some(key) = record.key().session().and_then(|number| keys.get(&number).copied()) else { return false };
        let Some(session) = self.sessions.get_mut(key) else { return false };
        match record {
            Record::Topic(record) => session.restore_topic(record),
            Record::Subscription(record) => {
                let Some((filter, qos)) = session.restore_subscription(&record) else { return false };
                self.upstream.restore_subscription(key, &filter, qos);
                restored.subscriptions += 1;
                true
            }
            Record::Exchange(mut record) => {
                if let ExchangeProgress::AtBroker(token) = record.progress {
                    match fates.of(token) {
                        Fate::UnderWay => self.upstream.expect_publish(token, key),
                        Fate::Completed => {
                            record.progress = ExchangeProgress::Received;
                            self.journal.put(out, Record::Exchange(record.clone()));
                            self.journal.delete(out, RecordKey::Completed(token));
                        }
                        // The client has heard nothing and asks again.
                        Fate::Lost => {
                            self.journal.delete(out, RecordKey::Exchange(record.session, record.msg_id));
                            return true;
                        }
                    }
                }
                session.restore_exchange(&record);
                true
            }
            Record::Arrival(record) => {
                self.upstream.restore_arrival(&record);
                true
            }
            Record::Session(_)
            | Record::Queued(_)
            | Record::Checkpoint(_)
            | Record::Upstream(_)
            | Record::Filter(_)
            | Record::Completed(_) => false,
        }
    }

    /// Returns whether the record belongs to a session and makes sense.
    fn restore_queued(
        &mut self,
        now: Instant,
        keys: &BTreeMap<SessionNumber, SessionKey>,
        record: QueuedRecord,
    ) -> bool {
        let Self { sessions, queue_rules, .. } = self;
        let session = keys.get(&record.session).and_then(|key| sessions.get_mut(*key));
        session.is_some_and(|session| session.restore_queued(record, |topic| queue_rules.terms(topic, now).expires))
    }

    /// Returns whether the record makes sense.
    fn restore_kept(&mut self, now: Instant, fates: &mut Fates, record: UpstreamRecord, out: &mut Outputs) -> bool {
        let (place, token) = (record.place, record.token);
        match token.map_or(Fate::Lost, |token| fates.of(token)) {
            Fate::Lost => self.upstream.restore_kept(&self.settings.outage, now, record, None),
            Fate::UnderWay => self.upstream.restore_kept(&self.settings.outage, now, record, token),
            Fate::Completed => {
                self.journal.delete(out, RecordKey::Upstream(place));
                if let Some(token) = token {
                    self.journal.delete(out, RecordKey::Completed(token));
                }
                true
            }
        }
    }

    /// No number that a former process gave out may be given out again.
    fn skip_numbers(&mut self, record: &Record) {
        if let Some(SessionNumber(number)) = record.key().session() {
            self.journal.skip(number);
        }
        match record {
            Record::Queued(record) => self.journal.skip(record.place),
            Record::Upstream(UpstreamRecord { place, token, .. }) => {
                self.journal.skip(*place);
                token.iter().for_each(|token| self.journal.skip(token.0));
            }
            Record::Exchange(ExchangeRecord { progress: ExchangeProgress::AtBroker(token), .. })
            | Record::Completed(token)
                if is_durable(*token) =>
            {
                self.journal.skip(token.0);
            }
            Record::Session(_)
            | Record::Topic(_)
            | Record::Subscription(_)
            | Record::Exchange(_)
            | Record::Arrival(_)
            | Record::Filter(_)
            | Record::Checkpoint(_)
            | Record::Completed(_) => {}
        }
    }
}

impl Fates {
    fn of(&mut self, token: Token) -> Fate {
        if self.completed.remove(&token) {
            Fate::Completed
        } else if self.under_way.contains(&token) {
            Fate::UnderWay
        } else {
            Fate::Lost
        }
    }
}
