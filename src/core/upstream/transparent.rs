//! Transparent mode: one MQTT connection per client, with its own client id, will and clean flag.

use std::collections::{BTreeMap, VecDeque};

use bytestring::ByteString;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::line::Line;
use super::{Access, Owner, Request, WillFate};
use crate::core::sessions::SessionKey;
use crate::core::topics::TopicFilter;
use crate::core::{BrokerCommand, BrokerOffer, ConnId, ConnectSpec, Limits, Message, Outputs, SessionNumber, Token};

/// The clients' connections.
///
/// A broker that sees a client id on a second connection closes the first one and publishes its will, so a client's
/// next connection begins only when its former one has ended.
#[derive(Debug, Default)]
pub(super) struct Transparent {
    legs: BTreeMap<ConnId, Leg>,
    by_session: HashMap<SessionKey, ConnId, RandomState>,
    /// Connections that have been told to end and have not ended yet.
    ending: HashMap<ConnId, Ending, RandomState>,
    /// The client ids that they are in use for.
    ending_clients: HashSet<ByteString, RandomState>,
    /// Connections that wait for their turn: a power cut must not end in a storm of CONNECTs.
    waiting: VecDeque<ConnId>,
    connecting: usize,
    last: u32,
}

#[derive(Debug)]
struct Leg {
    session: SessionKey,
    number: SessionNumber,
    request: Request,
    line: Line,
    progress: Progress,
    history: History,
}

/// What a connection that is coming to its end still answers.
#[derive(Debug)]
struct Ending {
    client_id: ByteString,
    publishes: Vec<Token>,
}

/// Whether messages of a session that is over may still be on their way to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum History {
    /// Nothing has been subscribed to over this connection.
    Blank,
    Subscribed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Not begun yet.
    Waiting,
    /// The broker has been asked.
    Connecting,
    /// The broker has accepted it once; it keeps itself up.
    Established,
}

impl Transparent {
    /// Whether the client's connection serves this CONNECT too. Over one that has brought a former session its
    /// messages, more of them may come.
    pub(super) fn suits(&self, owner: SessionKey, request: &Request) -> bool {
        let leg = self.by_session.get(&owner).and_then(|conn| self.legs.get(conn));
        leg.is_some_and(|leg| leg.request == *request && !(request.clean_session && leg.history == History::Subscribed))
    }

    /// Gives the client a connection, or leaves it the one that it has.
    pub(super) fn connect(
        &mut self,
        out: &mut Outputs,
        limits: &Limits,
        Owner { key: owner, number, .. }: Owner,
        request: Request,
    ) -> Access {
        if let Some(line) = self.line(owner) {
            return if line.is_up() { Access::Granted } else { Access::Awaited };
        }
        let conn = self.fresh_conn();
        let (line, progress) = (Line::new(conn), Progress::Waiting);
        let leg = Leg { session: owner, number, request, line, progress, history: History::Blank };
        self.legs.insert(conn, leg);
        self.by_session.insert(owner, conn);
        self.waiting.push_back(conn);
        self.begin_waiting(out, limits);
        Access::Awaited
    }

    /// Ends the client's connection, which answers these publishes while it ends, or never.
    pub(super) fn disconnect(&mut self, out: &mut Outputs, limits: &Limits, owner: SessionKey, publishes: Vec<Token>) {
        let Some(conn) = self.by_session.remove(&owner) else { return };
        let Some(leg) = self.legs.remove(&conn) else { return };
        match leg.progress {
            Progress::Waiting => self.waiting.retain(|waiting| *waiting != conn),
            Progress::Connecting | Progress::Established => {
                if leg.progress == Progress::Connecting {
                    self.connecting -= 1;
                }
                out.command(conn, BrokerCommand::Disconnect);
                let client_id = leg.request.client_id;
                self.ending_clients.insert(client_id.clone());
                self.ending.insert(conn, Ending { client_id, publishes });
            }
        }
        self.begin_waiting(out, limits);
    }

    pub(super) fn up(
        &mut self,
        out: &mut Outputs,
        limits: &Limits,
        conn: ConnId,
        session_present: bool,
        offer: BrokerOffer,
    ) -> Option<(SessionKey, SessionNumber)> {
        let leg = self.legs.get_mut(&conn)?;
        leg.line.up(session_present, offer);
        let owner = (leg.session, leg.number);
        if std::mem::replace(&mut leg.progress, Progress::Established) == Progress::Connecting {
            self.connecting -= 1;
            self.begin_waiting(out, limits);
        }
        Some(owner)
    }

    pub(super) fn down(&mut self, out: &mut Outputs, limits: &Limits, conn: ConnId) -> Option<SessionKey> {
        let leg = self.legs.get_mut(&conn)?;
        leg.line.down();
        let session = leg.session;
        self.begin_waiting(out, limits);
        Some(session)
    }

    /// Returns what had been published over the connection before it was to end. What of it has not been answered
    /// never will be.
    pub(super) fn closed(&mut self, out: &mut Outputs, limits: &Limits, conn: ConnId) -> Vec<Token> {
        let ended = self.ending.remove(&conn);
        if let Some(Ending { client_id, .. }) = &ended {
            self.ending_clients.remove(client_id);
        }
        self.begin_waiting(out, limits);
        ended.map(|ended| ended.publishes).unwrap_or_default()
    }

    pub(super) fn line(&self, owner: SessionKey) -> Option<&Line> {
        let conn = self.by_session.get(&owner)?;
        self.legs.get(conn).map(|leg| &leg.line)
    }

    pub(super) fn line_mut(&mut self, conn: ConnId) -> Option<&mut Line> {
        self.legs.get_mut(&conn).map(|leg| &mut leg.line)
    }

    pub(super) fn line_and_owner(&mut self, conn: ConnId) -> Option<(&mut Line, SessionNumber)> {
        self.legs.get_mut(&conn).map(|leg| (&mut leg.line, leg.number))
    }

    pub(super) fn session(&self, conn: ConnId) -> Option<SessionKey> {
        self.legs.get(&conn).map(|leg| leg.session)
    }

    /// Whether the client's session at the broker is to outlive the connection.
    pub(super) fn is_persistent(&self, conn: ConnId) -> bool {
        self.legs.get(&conn).is_some_and(|leg| !leg.request.clean_session)
    }

    /// Something is subscribed to over the client's connection.
    pub(super) fn note_subscribe(&mut self, owner: SessionKey) {
        if let Some(leg) = self.by_session.get(&owner).and_then(|conn| self.legs.get_mut(conn)) {
            leg.history = History::Subscribed;
        }
    }

    pub(super) fn unsubscribe(&self, out: &mut Outputs, owner: SessionKey, filter: &TopicFilter) {
        let leg = self.by_session.get(&owner).and_then(|conn| self.legs.get(conn));
        if let Some(leg) = leg.filter(|leg| leg.progress == Progress::Established) {
            out.command(leg.line.conn(), BrokerCommand::Unsubscribe { filter: filter.clone() });
        }
    }

    /// Publishes a will on the client's own connection, just before that ends and with its rights.
    ///
    /// If the connection is broken the broker publishes the will that came with the CONNECT.
    pub(super) fn publish_will(&self, out: &mut Outputs, owner: SessionKey, message: Message) -> WillFate {
        let Some(line) = self.line(owner) else { return WillFate::LeftToBroker };
        match line.fit(message) {
            // Without a token: DISCONNECT follows at once, and the connection sends what came before it.
            Ok(message) => {
                out.command(line.conn(), BrokerCommand::Publish { token: None, message, expires_in: None });
                WillFate::Published
            }
            Err(why) if why.may_pass() => WillFate::LeftToBroker,
            Err(_) => WillFate::Dropped,
        }
    }

    pub(super) fn shut_down(&mut self, out: &mut Outputs) {
        for (conn, leg) in std::mem::take(&mut self.legs) {
            match leg.progress {
                Progress::Waiting => {}
                Progress::Connecting | Progress::Established => out.command(conn, BrokerCommand::Disconnect),
            }
        }
        self.by_session.clear();
        self.waiting.clear();
    }

    /// Begins as many connections as may be under way at once.
    fn begin_waiting(&mut self, out: &mut Outputs, limits: &Limits) {
        let mut held = Vec::new();
        while self.connecting < limits.broker_connects_at_once {
            let Some(conn) = self.waiting.pop_front() else { break };
            let Some(leg) = self.legs.get_mut(&conn) else { continue };
            if self.ending_clients.contains(&leg.request.client_id) {
                held.push(conn);
                continue;
            }
            leg.progress = Progress::Connecting;
            self.connecting += 1;
            let Request { client_id, clean_session, will } = leg.request.clone();
            out.connect(conn, ConnectSpec { session: leg.number, client_id, clean_session, will });
        }
        held.into_iter().rev().for_each(|conn| self.waiting.push_front(conn));
    }

    fn fresh_conn(&mut self) -> ConnId {
        loop {
            self.last = self.last.wrapping_add(1);
            let conn = ConnId(self.last);
            if conn != ConnId::OWN && !self.legs.contains_key(&conn) && !self.ending.contains_key(&conn) {
                return conn;
            }
        }
    }
}
