//! Sessions as a stopped gateway has left them in its store.

use std::collections::BTreeMap;

use bytestring::ByteString;

use crate::core::{
    Instant, LinkAddress, PresenceRecord, QueuedRecord, Record, RouteRecord, SessionNumber, SessionRecord,
};
use crate::links::udp;
use crate::ops::control::{
    QueuedMessage, SessionDetails, SessionState, SessionSummary, SubscribedFilter, TopicName, WillTerms,
};
use crate::store::Restored;

/// All sessions in a store.
pub(super) struct Stored {
    sessions: BTreeMap<SessionNumber, SessionDetails>,
    by_client: BTreeMap<ByteString, SessionNumber>,
    /// Messages kept for the broker whose sender's session has ended.
    ownerless: usize,
}

impl Stored {
    pub(super) fn new(restored: Restored, now: Instant) -> Self {
        let Restored { records, links, .. } = restored;
        let mut stored = Self { sessions: BTreeMap::new(), by_client: BTreeMap::new(), ownerless: 0 };
        for record in records {
            stored.add(record, &links, now);
        }
        stored
    }

    pub(super) fn list(&self) -> Vec<SessionSummary> {
        self.sessions.values().map(|session| session.summary.clone()).collect()
    }

    /// Returns how many messages are kept for the broker whose senders have no session any more.
    pub(super) fn ownerless(&self) -> usize {
        self.ownerless
    }

    pub(super) fn show(&self, client_id: &str) -> Option<SessionDetails> {
        self.sessions.values().find(|session| session.summary.client_id == client_id).cloned()
    }

    /// Returns a session's number, and how many of its client's messages wait for the broker.
    pub(super) fn find(&self, client_id: &str) -> Option<(SessionNumber, usize)> {
        let (number, session) = self.sessions.iter().find(|(_, session)| session.summary.client_id == client_id)?;
        Some((*number, session.summary.kept_for_broker))
    }

    /// A session comes before what belongs to it; what belongs to none is not shown.
    fn add(&mut self, record: Record, links: &[(u16, String)], now: Instant) {
        if let Record::Session(record) = record {
            self.by_client.insert(record.client_id.clone(), record.number);
            self.sessions.insert(record.number, session(record, links, now));
            return;
        }
        let session = if let Record::Upstream(kept) = &record {
            self.by_client.get(&kept.client).and_then(|number| self.sessions.get_mut(number))
        } else {
            record.key().session().and_then(|number| self.sessions.get_mut(&number))
        };
        let Some(session) = session else {
            self.ownerless += usize::from(matches!(record, Record::Upstream(_)));
            return;
        };
        let summary = &mut session.summary;
        match record {
            Record::Topic(topic) => {
                summary.topics += 1;
                session.topic_names.push(TopicName { id: topic.id, name: topic.name.to_string() });
            }
            Record::Subscription(subscription) => {
                summary.subscriptions += 1;
                let (filter, qos) = (subscription.filter.to_string(), subscription.qos.number());
                session.filters.push(SubscribedFilter { filter, qos });
            }
            Record::Queued(queued) => {
                summary.queued += 1;
                summary.queued_octets += queued.message.topic.len() + queued.message.payload.len();
                session.queue.push(message(&queued, now));
            }
            Record::Exchange(_) => summary.publishes += 1,
            Record::Upstream(_) => summary.kept_for_broker += 1,
            // What the gateway needs to go on with the broker.
            Record::Session(_)
            | Record::Arrival(_)
            | Record::Filter(_)
            | Record::Checkpoint(_)
            | Record::Completed(_) => {}
        }
    }
}

fn session(record: SessionRecord, links: &[(u16, String)], now: Instant) -> SessionDetails {
    let SessionRecord { number: _, client_id, clean, presence, will, last_msg_id: _ } = record;
    let (state, address, seconds_left) = match presence {
        // They have their full time again when the gateway is back.
        PresenceRecord::Active { route, .. } => (SessionState::Active, Some(address(&route, links)), None),
        PresenceRecord::Asleep { route, .. } => (SessionState::Asleep, Some(address(&route, links)), None),
        PresenceRecord::Away { expires } => (SessionState::Away, None, Some((expires - now).as_secs())),
    };
    SessionDetails {
        summary: SessionSummary {
            client_id: client_id.to_string(),
            state,
            persistent: !clean,
            address,
            silent_seconds: None,
            seconds_left,
            topics: 0,
            subscriptions: 0,
            publishes: 0,
            queued: 0,
            queued_octets: 0,
            kept_for_broker: 0,
        },
        will: will.map(|will| WillTerms {
            topic: will.topic.to_string(),
            qos: will.qos.number(),
            retain: will.retain,
            octets: will.payload.len(),
        }),
        topic_names: Vec::new(),
        filters: Vec::new(),
        queue: Vec::new(),
    }
}

fn message(queued: &QueuedRecord, now: Instant) -> QueuedMessage {
    QueuedMessage {
        topic: queued.message.topic.to_string(),
        qos: queued.message.qos.number(),
        octets: queued.message.payload.len(),
        seconds_left: queued.expires.map(|at| (at - now).as_secs()),
    }
}

/// A link is known by its name in the configuration: `udp [::]:1883`, `serial /dev/ttyUSB0`.
fn address(route: &RouteRecord, links: &[(u16, String)]) -> String {
    let name = links.iter().find(|(id, _)| *id == route.link).map_or("an unknown link", |(_, name)| name.as_str());
    match LinkAddress::new(&route.address).and_then(udp::socket_address) {
        Some(address) if name.starts_with("udp ") => format!("UDP {address}"),
        Some(_) | None => name.to_owned(),
    }
}
