//! From the broker to clients: everybody gets what they subscribed to, in order, as often as its QoS says, and
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::broker::{Word, matches};
use super::super::net::Place;
use super::super::step::{Cause, Step};
use super::super::vocabulary::Mark;
use super::account::Accounts;
use super::at_risk::AtRisk;
use super::shadow::{Shadow, Wanted, filter_of};
use super::{ClientNumber, Violation};
use crate::core::topics::{TopicFilter, TopicName};
use crate::core::{BrokerCommand, BrokerEvent, ClientPhase, ConnId, Instant, Mode, Notice, PacketId, SubscriptionId};
use crate::wire::{Message, PubAck, Publish, Qos, QosField, ReturnCode, Subscribe, TopicRef, Unsubscribe};

/// How far apart the copies of one message can arrive, for the subscriptions that brought it.
const COPIES_APART: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Downlink {
    routing: Routing,
    handed: BTreeMap<(Audience, Mark), Handed>,
    /// Whose connection each one is; the gateway's own is nobody's.
    owners: BTreeMap<ConnId, ClientNumber>,
    count: u64,
    books: BTreeMap<ClientNumber, Book>,
    /// Who asked for the subscription; nobody if the gateway renewed it of its own accord.
    askers: BTreeMap<SubscriptionId, Option<ClientNumber>>,
    /// Retained messages that clients might have got in former sessions. One that had ended when the process died may go
    /// on in the next.
    former_replays: BTreeMap<(ClientNumber, Mark), u32>,
    /// Messages that a person was told will not arrive.
    excused: BTreeMap<(ClientNumber, TopicName), u32>,
    at_risk: AtRisk,
    /// To which process QoS 2 messages have come first, by the packet ids they keep.
    packets: BTreeMap<(Audience, Mark, PacketId), u32>,
    /// Processes that have died.
    crashes: u32,
    /// The number of the last message before the last crash: what is older may have got out of order.
    disordered: u64,
}

/// How it is known for whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routing {
    /// By the subscriptions that the broker names.
    Ids,
    /// By the topic: the broker says nothing.
    Topics,
    /// By the connection it comes over; and whatever comes is for its client, every copy.
    Connections,
}

/// All clients, or the one whose connection it is.
type Audience = Option<ClientNumber>;

/// How a message came to the gateway.
#[derive(Debug)]
struct Handed {
    /// One, unless it is a will whose topic has been changed since: the broker may still retain it under the former.
    topics: BTreeSet<TopicName>,
    first: Instant,
    last: Instant,
    /// Its place in the order of all live messages.
    number: u64,
    copies: u32,
    /// Of these, the ones that each subscription brought.
    brought: BTreeMap<TopicFilter, u32>,
}

/// One client's session.
#[derive(Debug, Default)]
struct Book {
    /// Messages at QoS 1 and 2 that it must get.
    owed: BTreeMap<Mark, TopicName>,
    /// Of these, the ones that it has unsubscribed from since, or asked for at QoS 0: they are on their way to it, but not
    /// over a crash.
    unwanted: BTreeSet<Mark>,
    /// Live messages that it has taken, or that may pass it by.
    settled: BTreeSet<Mark>,
    /// How often it has taken them at QoS 2.
    received: BTreeMap<(Mark, Replay), u32>,
    sent: BTreeMap<(Mark, Replay), u32>,
    /// Retained messages that it may get, for having subscribed.
    replays: BTreeMap<Mark, u32>,
    /// The number of the last message on each topic.
    last: BTreeMap<TopicName, u64>,
    /// Messages that it has not taken for want of a topic id, and may get once more.
    healings: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Replay {
    Live,
    Retained,
}

impl Handed {
    /// How often the client may get the message: once for each time that one of its subscriptions brought it. Where
    /// the broker does not name them, a copy cannot be told from a further message.
    fn times(&self, shadow: &Shadow, routing: Routing) -> u32 {
        if routing != Routing::Ids {
            return self.copies;
        }
        let of_client = |filter: &TopicFilter| shadow.wanted.iter().any(|wanted| wanted.filter == *filter);
        let brought = self.brought.iter().filter(|(filter, _)| of_client(filter)).map(|(_, times)| *times);
        // Which of its subscriptions counts may have changed from one copy to the next; and one that is not answered yet
        // counts beside the others.
        let meanwhile = |time: Instant| self.first <= time && time <= self.last;
        let changed = |wanted: &Wanted| {
            let is_answered_before = wanted.answered.or(wanted.until).is_some_and(|answered| answered < self.first);
            (wanted.from <= self.last && !is_answered_before) || wanted.until.is_some_and(meanwhile)
        };
        if shadow.wanted.iter().any(changed) { brought.sum() } else { brought.max().unwrap_or(0) }
    }
}

impl Book {
    /// These may pass the client by.
    fn excuse(&mut self, lost: &BTreeSet<Mark>) {
        for mark in lost {
            if self.owed.remove(mark).is_some() {
                self.settled.insert(*mark);
            }
        }
    }
}

impl Downlink {
    pub(super) fn new(mode: Mode, has_ids: bool) -> Self {
        let routing = match (mode, has_ids) {
            (Mode::Transparent, _) => Routing::Connections,
            (Mode::Aggregating, true) => Routing::Ids,
            (Mode::Aggregating, false) => Routing::Topics,
        };
        Self {
            routing,
            handed: BTreeMap::new(),
            owners: BTreeMap::new(),
            count: 0,
            books: BTreeMap::new(),
            askers: BTreeMap::new(),
            former_replays: BTreeMap::new(),
            excused: BTreeMap::new(),
            at_risk: AtRisk::default(),
            packets: BTreeMap::new(),
            crashes: 0,
            disordered: 0,
        }
    }

    pub(super) fn see_opened(&mut self, conn: ConnId, client: ClientNumber) {
        self.owners.insert(conn, client);
    }

    /// The gateway's process is gone. What it had sent may go out again; what it alone had is lost.
    pub(super) fn see_crash(&mut self, now: Instant) {
        self.owners.clear();
        // Nobody knows any more who it was.
        self.askers.values_mut().for_each(|asker| *asker = None);
        let is_recent = |(_, handed): &(&(Audience, Mark), &Handed)| now - handed.last < COPIES_APART;
        let recent = self.handed.iter().filter(is_recent).map(|((_, mark), _)| *mark);
        let lost = self.at_risk.crash(recent);
        for book in self.books.values_mut() {
            book.sent.clear();
            book.last.clear();
            book.excuse(&lost);
            let unwanted = std::mem::take(&mut book.unwanted);
            book.excuse(&unwanted);
        }
        self.disordered = self.count;
        self.crashes += 1;
    }

    pub(super) fn see_command(
        &mut self,
        step: &Step,
        conn: ConnId,
        command: &BrokerCommand,
        homes: &BTreeMap<Place, ClientNumber>,
    ) {
        if let BrokerCommand::Ack { delivery } = command {
            self.at_risk.acknowledged(conn, *delivery);
        }
        if let BrokerCommand::Subscribe { id, .. } = command {
            let asker = match &step.cause {
                Cause::Frame { from, .. } => homes.get(from).copied(),
                Cause::Word { .. }
                | Cause::Deadline
                | Cause::Stored(_)
                | Cause::StoreFailing
                | Cause::Restart(_)
                | Cause::Crash => None,
            };
            self.askers.insert(*id, asker);
        }
    }

    /// Takes a message from the broker: whoever has subscribed is owed it.
    pub(super) fn hear_word(
        &mut self,
        now: Instant,
        conn: ConnId,
        word: &Word,
        shadows: &[Shadow],
        accounts: &Accounts,
    ) {
        if let (BrokerEvent::Up { session_present: false, .. }, Some(client)) = (&word.event, self.owners.get(&conn)) {
            // What the client has not acknowledged was kept for it by the broker, which has forgotten it.
            self.books.entry(*client).or_default().owed.clear();
        }
        self.hear_of_session(conn, &word.event);
        let BrokerEvent::Message { message, subscriptions, delivery, origin } = &word.event else { return };
        let Some(mark) = Mark::read(&message.payload) else { return };
        if let Some(delivery) = delivery {
            self.at_risk.handed(conn, *delivery, mark);
        }
        let audience = self.owners.get(&conn).copied();
        if audience.is_none() && self.routing == Routing::Connections {
            return;
        }
        self.count += 1;
        let number = self.count;
        let new =
            || Handed { topics: BTreeSet::new(), first: now, last: now, number, copies: 0, brought: BTreeMap::new() };
        let handed = self.handed.entry((audience, mark)).or_insert_with(new);
        handed.last = now;
        if !handed.topics.contains(&message.topic) {
            handed.topics.insert(message.topic.clone());
        }
        let retained = message.retain;
        // What comes again to another process is known by its packet id, which a further message may get again.
        let is_counted = origin.is_none_or(|origin| {
            let first = self.packets.entry((audience, mark, origin.packet)).or_insert(self.crashes);
            if !origin.duplicate {
                *first = self.crashes;
            }
            *first == self.crashes
        });
        if !retained && is_counted {
            if handed.copies == 0 {
                handed.number = number;
            }
            handed.copies += 1;
            for filter in &word.brought_by {
                *handed.brought.entry(filter.clone()).or_default() += 1;
            }
        }
        let is_addressed = |client| audience.is_none_or(|audience| audience == client);
        for (client, shadow) in shadows.iter().enumerate() {
            if !shadow.is_served() || !is_addressed(client) {
                continue;
            }
            let book = self.books.entry(client).or_default();
            if retained {
                let asked = |id: &SubscriptionId| {
                    self.askers.get(id).is_some_and(|asker| asker.is_none_or(|asker| asker == client))
                };
                if self.routing != Routing::Ids || subscriptions.iter().any(asked) {
                    *book.replays.entry(mark).or_default() += 1;
                }
                continue;
            }
            let brings = |filter: &TopicFilter| match self.routing {
                Routing::Ids | Routing::Connections => word.brought_by.contains(filter),
                Routing::Topics => matches(filter, &message.topic),
            };
            let before = |since: Instant| since <= word.made;
            let granted = shadow.granted.iter().filter(|(filter, (_, since))| brings(filter) && before(*since));
            let granted = granted.map(|(_, (qos, _))| message.qos.min(*qos)).max();
            if granted.is_some_and(|granted| granted > Qos::AtMostOnce)
                && shadow.is_abiding
                && accounts.get(mark).is_some()
                && !book.settled.contains(&mark)
            {
                book.owed.entry(mark).or_insert_with(|| message.topic.clone());
            }
        }
    }

    /// Takes a client's frame.
    pub(super) fn hear(&mut self, now: Instant, client: ClientNumber, message: &Message<'_>) {
        if let Message::Unsubscribe(Unsubscribe { topic, .. }) | Message::Subscribe(Subscribe { topic, .. }) = message
            && let Some(filter) = filter_of(*topic)
        {
            // Which copy is the one to be delivered changes while they are on their way.
            let audience = self.audience(client);
            let is_under_way =
                |mark: Mark| self.handed.get(&(audience, mark)).is_some_and(|handed| now - handed.first < COPIES_APART);
            // What the broker has yet to send again finds nobody who wants it, or at QoS 0 only, where it may get lost.
            let gives_up = if let Message::Subscribe(subscribe) = message {
                subscribe.qos == QosField::Level(Qos::AtMostOnce)
            } else {
                true
            };
            let is_too_late = |mark: Mark| gives_up && self.at_risk.is_to_come_again(mark);
            let book = self.books.entry(client).or_default();
            let Book { owed, settled, unwanted, .. } = book;
            if gives_up {
                unwanted.extend(owed.iter().filter(|(_, topic)| matches(&filter, topic)).map(|(mark, _)| *mark));
            }
            owed.retain(|mark, topic| {
                let is_excused = matches(&filter, topic) && (is_under_way(*mark) || is_too_late(*mark));
                settled.extend(is_excused.then_some(*mark));
                !is_excused
            });
        }
        if let Message::PubAck(PubAck { return_code: ReturnCode::InvalidTopicId, .. }) = message {
            self.books.entry(client).or_default().healings += 1;
        }
    }

    pub(super) fn see_publish(
        &mut self,
        client: ClientNumber,
        publish: &Publish<'_>,
        shadow: &Shadow,
        accounts: &Accounts,
    ) -> Result<(), Violation> {
        let Some(mark) = Mark::read(publish.data) else { return Ok(()) };
        if accounts.get(mark).is_none() {
            return Ok(());
        }
        let Some(handed) = self.handed.get(&(self.audience(client), mark)) else {
            return Err(Violation(format!("{mark:?} goes out, and the broker never sent it")));
        };
        let may_be_meant = |topic: &&TopicName| match publish.topic {
            TopicRef::Normal(id) => shadow.allows(id, topic),
            TopicRef::Predefined(_) | TopicRef::Short(_) => true,
            TopicRef::Reserved(_) => false,
        };
        let topics: Vec<&TopicName> = handed.topics.iter().filter(may_be_meant).collect();
        if topics.is_empty() {
            let (sent, known) = (&handed.topics, &shadow.topics);
            return Err(Violation(format!("{mark:?} of {sent:?} goes out under {:?}: {known:?}", publish.topic)));
        }
        let concerns = |filter: &TopicFilter| topics.iter().any(|topic| matches(filter, topic));
        let was_wanted = shadow.wanted.iter().any(|wanted| {
            let meanwhile = wanted.from <= handed.last && wanted.until.is_none_or(|until| until >= handed.first);
            meanwhile && concerns(&wanted.filter)
        });
        // On a client's own connection nothing is sorted out that is on its way when the client unsubscribes; and one
        // that connects anew in the same words keeps the connection.
        let was_wanted_before = || {
            let wanted = shadow.wanted.iter().map(|wanted| &wanted.filter);
            wanted.chain(&shadow.wanted_before).any(concerns)
        };
        let is_excused = self.routing == Routing::Connections && was_wanted_before();
        if !was_wanted && !is_excused {
            return Err(Violation(format!("{mark:?} of {topics:?} goes to a client that did not want it")));
        }
        if publish.dup {
            return Ok(());
        }
        let book = self.books.entry(client).or_default();
        let replay = if publish.retain { Replay::Retained } else { Replay::Live };
        let sent = book.sent.entry((mark, replay)).or_default();
        *sent += 1;
        let allowed = match replay {
            Replay::Live => handed.times(shadow, self.routing),
            Replay::Retained => {
                let former = self.former_replays.get(&(client, mark)).filter(|_| self.disordered > 0);
                book.replays.get(&mark).copied().unwrap_or(0) + former.copied().unwrap_or(0)
            }
        };
        if *sent > allowed + book.healings {
            return Err(Violation(format!("{mark:?} goes out {sent} times; the broker sent it {allowed} times")));
        }
        let is_in_order = handed.copies == 1 && handed.number > self.disordered;
        if let [topic] = topics[..]
            && replay == Replay::Live
            && is_in_order
            && book.healings == 0
        {
            let last = book.last.insert(topic.clone(), handed.number);
            if last.is_some_and(|last| last > handed.number) {
                return Err(Violation(format!("{mark:?} of {topic:?} goes out after a later one")));
            }
        }
        Ok(())
    }

    /// A client has taken a message.
    pub(super) fn received(
        &mut self,
        client: ClientNumber,
        mark: Mark,
        qos: Qos,
        retain: bool,
        shadow: &Shadow,
    ) -> Result<(), Violation> {
        let times = self.handed.get(&(self.audience(client), mark));
        let times = times.map_or(0, |handed| handed.times(shadow, self.routing));
        let book = self.books.entry(client).or_default();
        if !retain {
            book.owed.remove(&mark);
            book.settled.insert(mark);
        }
        if qos < Qos::ExactlyOnce {
            return Ok(());
        }
        let replay = if retain { Replay::Retained } else { Replay::Live };
        let received = book.received.entry((mark, replay)).or_default();
        *received += 1;
        let allowed = if retain { book.replays.get(&mark).copied().unwrap_or(0) } else { times };
        // What was on its way when the session ended is counted as one.
        if shadow.is_abiding && *received > allowed.max(1) {
            return Err(Violation(format!("client {client} has got {mark:?} {received} times at QoS 2")));
        }
        Ok(())
    }

    /// A client has lost its memory, or wants a new session.
    pub(super) fn forgot(&mut self, client: ClientNumber) {
        self.books.entry(client).or_default().received.clear();
    }

    /// Nothing is owed any more.
    pub(super) fn session_ended(&mut self, client: ClientNumber) {
        for (mark, times) in self.books.remove(&client).unwrap_or_default().replays {
            *self.former_replays.entry((client, mark)).or_default() += times;
        }
        self.excused.retain(|(excused, _), _| *excused != client);
    }

    pub(super) fn see_notice(&mut self, client: ClientNumber, notice: &Notice) {
        if let Notice::Undeliverable { topic, .. } = notice {
            *self.excused.entry((client, topic.clone())).or_default() += 1;
        }
    }

    pub(super) fn close(&self, shadows: &[Shadow], overflows: u64) -> Result<(), Violation> {
        let missing = self.missing(shadows);
        if missing.len() as u64 > overflows {
            return Err(Violation(format!("these never arrived, and {overflows} were dropped: {missing:?}")));
        }
        Ok(())
    }

    /// Another process hears first whether the broker has kept what was not acknowledged.
    fn hear_of_session(&mut self, conn: ConnId, event: &BrokerEvent) {
        let BrokerEvent::Up { session_present: false, .. } = event else { return };
        let lost = self.at_risk.session_lost(conn);
        for book in self.books.values_mut() {
            book.excuse(&lost);
        }
    }

    fn audience(&self, client: ClientNumber) -> Audience {
        (self.routing == Routing::Connections).then_some(client)
    }

    fn missing(&self, shadows: &[Shadow]) -> Vec<(ClientNumber, Mark)> {
        let mut excused = self.excused.clone();
        let mut missing = Vec::new();
        // Who has not come back cannot have got anything.
        let is_there = |client: ClientNumber| shadows[client].phase != Some(ClientPhase::Away);
        for (client, book) in self.books.iter().filter(|(client, _)| is_there(**client)) {
            for (mark, topic) in &book.owed {
                match excused.get_mut(&(*client, topic.clone())) {
                    Some(count) if *count > 0 => *count -= 1,
                    Some(_) | None => missing.push((*client, *mark)),
                }
            }
        }
        missing
    }
}
