//! A simulated MQTT broker, together with the connections that the gateway's shell would keep to it.

mod connection;
mod ledger;
mod matching;
mod session;
mod temper;

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;

use super::dice::Dice;
use crate::core::topics::{TopicFilter, TopicName};
use crate::core::{
    BrokerCommand, BrokerEvent, BrokerReason, ConnId, ConnectSpec, Instant, Message, PublishOutcome, SubscribeOutcome,
};
use crate::wire::Qos;

use connection::{Connection, Stage};
use ledger::Change;
pub(super) use ledger::{Entry, Ledger};
pub(super) use matching::matches;
use session::{Copy, Session};
pub(super) use temper::{Overlap, Temper};

/// The client id of the gateway itself.
const OWN: ByteString = ByteString::from_static("gateway");
/// Topics that the broker lets nobody publish or subscribe to.
const FORBIDDEN: &str = "forbidden/";
const NOT_AUTHORISED: BrokerReason = BrokerReason(0x87);
const PACKET_TOO_LARGE: BrokerReason = BrokerReason(0x95);
const QUOTA_EXCEEDED: BrokerReason = BrokerReason(0x97);

#[derive(Debug)]
pub(super) struct Broker {
    temper: Temper,
    connections: BTreeMap<ConnId, Connection>,
    /// What the broker keeps for clients without a connection, by client id.
    sessions: BTreeMap<ByteString, Session>,
    /// What connections of a former process have kept, until they are made again.
    ledgers: BTreeMap<ByteString, Ledger>,
    persistence: Persistence,
    retained: BTreeMap<TopicName, Message>,
    /// Messages taken over from the gateway since [`Broker::take_accepted`].
    accepted: Vec<Message>,
}

/// Whether the gateway's connections keep anything across the end of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Nothing,
    Ledgers,
}

/// Something that happens at the broker or on the way to it. One from before the connection broke does not happen.
#[derive(Debug)]
pub(super) enum Task {
    /// A command reaches the broker.
    Sees { conn: ConnId, era: u64 },
    /// An event reaches the gateway; without an era it is the connection's own doing.
    Says { conn: ConnId, era: Option<u64>, word: Word },
    /// The connection is back.
    Restore { conn: ConnId },
    /// A connection has something for its ledger.
    Keeps(Entry),
}

/// What comes of a task.
#[derive(Debug)]
pub(super) enum Outcome {
    Nothing,
    /// The gateway hears this.
    Heard {
        conn: ConnId,
        word: Word,
    },
    /// This is to be written into the store; [`Broker::kept`] when it is.
    Keeps(Entry),
}

/// An event; with a message the subscriptions that brought it, and when: more than the gateway is told.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) event: BrokerEvent,
    pub(super) brought_by: Vec<TopicFilter>,
    /// When the broker sent the message on its way; it may have waited since.
    pub(super) made: Instant,
}

/// What happens when.
pub(super) type Agenda = Vec<(Instant, Task)>;

impl Broker {
    pub(super) fn new(temper: Temper, persistence: Persistence) -> Self {
        Self {
            temper,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            persistence,
            retained: BTreeMap::new(),
            accepted: Vec::new(),
        }
    }

    pub(super) fn temper(&self) -> &Temper {
        &self.temper
    }

    /// Makes no trouble from now on.
    pub(super) fn calm(&mut self) {
        self.temper = self.temper.calmed();
    }

    /// Starts a connection that keeps itself up: a client's own, or the gateway's.
    pub(super) fn open(
        &mut self,
        now: Instant,
        conn: ConnId,
        spec: Option<ConnectSpec>,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) {
        let client_id = spec.as_ref().map_or(OWN, |spec| spec.client_id.clone());
        let is_clean = spec.as_ref().is_some_and(|spec| spec.clean_session);
        let resumed = self.sessions.remove(&client_id).filter(|_| !is_clean);
        let keeper = (self.persistence == Persistence::Ledgers && !is_clean).then(|| client_id.clone());
        let mut connection = Connection::new(spec, resumed, keeper);
        match self.ledgers.remove(&client_id) {
            Some(_) if is_clean => {
                let entry = Entry { conn, client_id, change: Change::Closes };
                agenda.push((now, Task::Keeps(entry)));
            }
            Some(ledger) => connection.take_up(ledger),
            None => {}
        }
        self.connections.insert(conn, connection);
        agenda.push((now + dice.between(Duration::ZERO, Duration::from_secs(2)), Task::Restore { conn }));
    }

    /// Takes a command of the gateway.
    pub(super) fn command(
        &mut self,
        now: Instant,
        conn: ConnId,
        command: BrokerCommand,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        // A queue is full only of what will be answered.
        let has_room = connection.has_all_answers() || !dice.chance(self.temper.busy);
        if let (BrokerCommand::Publish { token, .. }, false) = (&command, has_room) {
            if let Some(token) = *token {
                let event = BrokerEvent::Published { token, outcome: PublishOutcome::Busy };
                let word = Word { event, brought_by: Vec::new(), made: now };
                agenda.push((now, Task::Says { conn, era: None, word }));
            }
            return;
        }
        let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
        if command == BrokerCommand::Disconnect && !connection.is_up() {
            // There is nobody to say goodbye to; the broker has published the will long ago.
            if let Some((client_id, session)) = connection.close(&mut stage) {
                self.sessions.insert(client_id, session);
            }
            return;
        }
        connection.submit(&mut stage, command);
    }

    /// Lets a task happen.
    pub(super) fn run(&mut self, now: Instant, task: Task, dice: &mut Dice, agenda: &mut Agenda) -> Outcome {
        match task {
            Task::Says { conn, era, word } => {
                let Some(connection) = self.connections.get_mut(&conn) else { return Outcome::Nothing };
                let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
                let is_lost = era.is_some_and(|era| era != connection.era());
                if is_lost || connection.strike_off(&mut stage, &word.event) {
                    return Outcome::Nothing;
                }
                connection.heard(&word.event);
                if word.event == BrokerEvent::Closed {
                    self.connections.remove(&conn);
                }
                return Outcome::Heard { conn, word };
            }
            Task::Sees { conn, era } => {
                let connection = self.connections.get_mut(&conn).filter(|connection| connection.era() == era);
                if let Some(command) = connection.and_then(Connection::take_sent) {
                    self.see(now, conn, command, dice, agenda);
                }
            }
            Task::Restore { conn } => {
                let keeps_session = !dice.chance(self.temper.forgets);
                if let Some(connection) = self.connections.get_mut(&conn) {
                    let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
                    connection.restore(&mut stage, keeps_session);
                }
            }
            Task::Keeps(entry) => return Outcome::Keeps(entry),
        }
        Outcome::Nothing
    }

    /// A connection's ledger is stored with this change. Returns what the gateway hears by it.
    pub(super) fn kept(
        &mut self,
        now: Instant,
        entry: Entry,
        dice: &mut Dice,
        agenda: &mut Agenda,
    ) -> Option<(ConnId, Word)> {
        let conn = entry.conn;
        let connection = self.connections.get_mut(&conn)?;
        let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
        let event = connection.kept(&mut stage, entry.change)?;
        connection.heard(&event);
        Some((conn, Word { event, brought_by: Vec::new(), made: now }))
    }

    /// The gateway's process is gone, and with it all connections. Some of what was on its way arrives all the same.
    pub(super) fn lose_gateway(&mut self, now: Instant, dice: &mut Dice) {
        // Nobody is left to hear any of it.
        let mut agenda = Agenda::new();
        let conns: Vec<ConnId> = self.connections.keys().copied().collect();
        for conn in conns {
            let sent = self.connections.get(&conn).map_or(0, Connection::sent);
            for _ in 0..dice.below(sent + 1) {
                if let Some(command) = self.connections.get_mut(&conn).and_then(Connection::take_sent) {
                    self.see(now, conn, command, dice, &mut agenda);
                }
            }
            let Some(mut connection) = self.connections.remove(&conn) else { continue };
            let will = if connection.is_up() { connection.take_will() } else { None };
            if let Some(session) = connection.lose_gateway(dice) {
                self.sessions.insert(connection.client_id().cloned().unwrap_or(OWN), session);
            }
            if let Some(will) = will {
                self.publish(now, &will, dice, &mut agenda);
                self.accepted.push(will);
            }
        }
    }

    /// The gateway's next process has found this in its store.
    pub(super) fn take_up(&mut self, ledgers: BTreeMap<ByteString, Ledger>) {
        self.ledgers = ledgers;
    }

    /// Publishes to all who subscribed.
    pub(super) fn publish(&mut self, now: Instant, message: &Message, dice: &mut Dice, agenda: &mut Agenda) {
        if message.retain {
            if message.payload.is_empty() {
                self.retained.remove(&message.topic);
            } else {
                self.retained.insert(message.topic.clone(), message.clone());
            }
        }
        for (&conn, connection) in &mut self.connections {
            let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
            for copy in connection.copies(now, message, self.temper.overlap) {
                connection.deliver(&mut stage, copy);
            }
        }
        for session in self.sessions.values_mut() {
            session.keep(session.copies(now, message, self.temper.overlap));
        }
    }

    /// Breaks a connection, or lets nothing through it for a while.
    pub(super) fn make_trouble(&mut self, now: Instant, dice: &mut Dice, agenda: &mut Agenda) {
        let conns: Vec<ConnId> = self.connections.keys().copied().collect();
        if conns.is_empty() {
            return;
        }
        let conn = *dice.pick(&conns);
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let lasts = *dice.pick(&[1, 5, 30, 90].map(Duration::from_secs));
        if dice.chance(400) {
            connection.stall(now, lasts);
        } else if connection.is_up() {
            let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
            connection.break_off(&mut stage);
            if connection.is_ending()
                && let Some((client_id, session)) = connection.close(&mut stage)
            {
                self.sessions.insert(client_id, session);
            }
            let will = connection.take_will();
            agenda.push((now + lasts, Task::Restore { conn }));
            if let Some(will) = will {
                self.publish(now, &will, dice, agenda);
                self.accepted.push(will);
            }
        }
    }

    pub(super) fn take_accepted(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.accepted)
    }

    /// Returns whether all is up and answered, and all messages have been sent to the gateway.
    pub(super) fn is_idle(&self) -> bool {
        self.connections.values().all(Connection::is_idle)
    }

    /// Returns what is subscribed to over the connections that are open.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &TopicFilter> {
        self.connections.values().flat_map(Connection::filters)
    }

    fn see(&mut self, now: Instant, conn: ConnId, command: BrokerCommand, dice: &mut Dice, agenda: &mut Agenda) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let mut stage = Stage { now, conn, temper: &self.temper, dice, agenda };
        match command {
            BrokerCommand::Publish { token, message, .. } => {
                let refusal = refusal(&message, &self.temper, stage.dice);
                if let Some(token) = token {
                    // What was taken over once is not refused when it comes again.
                    let is_repeated = connection.has_taken_over(token);
                    let refusal = refusal.filter(|_| !is_repeated);
                    let outcome = refusal.map_or(PublishOutcome::Accepted, PublishOutcome::Refused);
                    connection.say(&mut stage, BrokerEvent::Published { token, outcome });
                    if refusal.is_some() || (is_repeated && message.qos == Qos::ExactlyOnce) {
                        return;
                    }
                    connection.take_over(token);
                } else if refusal.is_some() {
                    return;
                }
                self.publish(now, &message, dice, agenda);
                self.accepted.push(message);
            }
            BrokerCommand::Subscribe { token, filter, qos, id } => {
                let outcome = if filter.as_str().starts_with(FORBIDDEN) {
                    SubscribeOutcome::Refused(NOT_AUTHORISED)
                } else if stage.dice.chance(self.temper.refuses) {
                    SubscribeOutcome::Refused(QUOTA_EXCEEDED)
                } else {
                    SubscribeOutcome::Granted(qos.min(self.temper.offer.max_qos))
                };
                let answer = BrokerEvent::Subscribed { token, outcome };
                let retained_first = stage.dice.chance(300);
                if !retained_first {
                    connection.say(&mut stage, answer.clone());
                }
                if let SubscribeOutcome::Granted(qos) = outcome {
                    connection.subscribe(filter.clone(), qos, id);
                    for message in self.retained.values().filter(|message| matches(&filter, &message.topic)) {
                        let message = Message { qos: message.qos.min(qos), ..message.clone() };
                        let copy =
                            Copy { message, ids: vec![id], brought_by: vec![filter.clone()], made: now, packet: None };
                        connection.deliver(&mut stage, copy);
                    }
                }
                if retained_first {
                    connection.say(&mut stage, answer);
                }
            }
            BrokerCommand::Unsubscribe { filter } => connection.unsubscribe(&filter),
            BrokerCommand::Ack { delivery } => connection.acknowledged(&mut stage, delivery),
            BrokerCommand::Disconnect => {
                if let Some((client_id, session)) = connection.close(&mut stage) {
                    self.sessions.insert(client_id, session);
                }
            }
        }
    }
}

fn refusal(message: &Message, temper: &Temper, dice: &mut Dice) -> Option<BrokerReason> {
    let octets = message.topic.as_str().len() + message.payload.len();
    if temper.offer.max_packet.is_some_and(|max| octets > max as usize) {
        Some(PACKET_TOO_LARGE)
    } else if message.topic.as_str().starts_with(FORBIDDEN) {
        Some(NOT_AUTHORISED)
    } else if message.qos > Qos::AtMostOnce && dice.chance(temper.refuses) {
        Some(QUOTA_EXCEEDED)
    } else {
        None
    }
}
