//! What the scripted broker remembers: connections, sessions, subscriptions, what it has sent and not got acknowledged.

use std::collections::{BTreeMap, VecDeque};

use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, ConnId, ConnectSpec, Delivery, Message, Mode, Origin,
    PacketId, PublishOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::Qos;

/// The broker's side, and what it is about to say.
pub(crate) struct BrokerMemory {
    pub(crate) offer: BrokerOffer,
    mode: Mode,
    hands: Hands,
    is_there: bool,
    last_delivery: u64,
    connections: BTreeMap<ConnId, Connection>,
    /// In the order of their first CONNECT. The gateway's own is always there.
    sessions: Vec<Session>,
    due: VecDeque<(ConnId, BrokerEvent)>,
}

/// Who answers for the clients' own connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hands {
    Broker,
    Test,
}

struct Connection {
    client_id: String,
    clean: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down,
    /// It has been told to end, and nothing may be asked of it any more.
    Ending,
}

struct Session {
    client_id: String,
    granted: Vec<Grant>,
    unacknowledged: VecDeque<Sent>,
    /// What a gateway that was killed did not acknowledge.
    due_again: VecDeque<Sent>,
    /// What waits for the session to be connected.
    queue: VecDeque<Message>,
}

/// A message at QoS 1 or 2 that was sent.
struct Sent {
    delivery: Delivery,
    packet: PacketId,
    message: Message,
    ids: Vec<SubscriptionId>,
}

struct Grant {
    filter: String,
    id: SubscriptionId,
    qos: Qos,
}

/// The name of the gateway's own session.
const OWN: &str = "";

impl BrokerMemory {
    pub(crate) fn new(mode: Mode) -> Self {
        let offer = BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: true, max_packet: None };
        let own = Connection { client_id: OWN.to_owned(), clean: false, state: State::Down };
        Self {
            offer,
            mode,
            hands: Hands::Broker,
            is_there: false,
            last_delivery: 0,
            connections: BTreeMap::from([(ConnId::OWN, own)]),
            sessions: vec![Session::new(OWN)],
            due: VecDeque::new(),
        }
    }

    /// Takes the next thing that the broker says.
    pub(crate) fn next_event(&mut self) -> Option<(ConnId, BrokerEvent)> {
        self.due.pop_front()
    }

    pub(super) fn take_in_hand(&mut self) {
        self.hands = Hands::Test;
    }

    /// The gateway opens a connection. Returns whether the test has to answer.
    #[track_caller]
    pub(crate) fn connecting(&mut self, conn: ConnId, spec: &ConnectSpec) -> bool {
        assert_eq!(self.mode, Mode::Transparent, "there is one connection in this mode");
        let client_id = spec.client_id.to_string();
        let rival = self.connections.values().find(|other| other.client_id == client_id);
        assert!(rival.is_none(), "{client_id} connects while its former connection is {:?}", rival.unwrap().state);
        let connection = Connection { client_id, clean: spec.clean_session, state: State::Connecting };
        assert!(self.connections.insert(conn, connection).is_none(), "{conn:?} is in use");
        match (self.hands, self.is_there) {
            (Hands::Test, _) => return true,
            (Hands::Broker, true) => self.admit(conn),
            (Hands::Broker, false) => self.drop(conn, None),
        }
        false
    }

    /// The gateway commands something. Returns whether the test has to see it.
    #[track_caller]
    pub(crate) fn commanded(&mut self, conn: ConnId, command: &BrokerCommand) -> bool {
        let state = self.connections.get(&conn).map(|connection| connection.state);
        let is_usable = matches!(state, Some(State::Up | State::Down | State::Connecting));
        assert!(is_usable, "{command:?} to {conn:?}, which is {state:?}");
        let is_will = self.mode == Mode::Transparent && conn != ConnId::OWN;
        match command {
            // It was on its way to the store when the connection broke.
            BrokerCommand::Publish { token: Some(token), .. } if state == Some(State::Down) && outlives(*token) => {
                let outcome = PublishOutcome::Busy;
                self.due.push_back((conn, BrokerEvent::Published { token: *token, outcome }));
                return false;
            }
            BrokerCommand::Publish { token, message, .. } => {
                assert_eq!(state, Some(State::Up), "a publish to a connection that is down");
                let is_acknowledged = message.qos > Qos::AtMostOnce;
                assert!(token.is_some() || !is_acknowledged || is_will, "nobody waits for the acknowledgement");
            }
            BrokerCommand::Subscribe { .. } => {
                assert_eq!(state, Some(State::Up), "a subscribe to a connection that is down");
            }
            BrokerCommand::Unsubscribe { filter } => {
                if let Some(session) = self.session_on(conn) {
                    session.granted.retain(|grant| grant.filter != filter.as_str());
                }
            }
            BrokerCommand::Ack { delivery } => {
                if let Some(session) = self.session_on(conn) {
                    let before = session.unacknowledged.len();
                    session.unacknowledged.retain(|open| open.delivery != *delivery);
                    assert_eq!(session.unacknowledged.len() + 1, before, "{delivery:?} is acknowledged twice, or void");
                }
            }
            BrokerCommand::Disconnect => {
                self.end_if_clean(conn);
                // What was not acknowledged is sent again on the session's next connection.
                if let Some(session) = self.session_on(conn) {
                    for sent in std::mem::take(&mut session.unacknowledged).into_iter().rev() {
                        session.queue.push_front(sent.message);
                    }
                }
                self.connections.get_mut(&conn).unwrap().state = State::Ending;
                if conn != ConnId::OWN && self.hands == Hands::Broker {
                    self.close(conn);
                    return false;
                }
            }
        }
        true
    }

    /// Admits a connection: CONNACK, and what has waited for its session.
    #[track_caller]
    pub(super) fn admit(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(&conn).expect("a connection to admit");
        connection.state = State::Up;
        let (client_id, clean) = (connection.client_id.clone(), connection.clean);
        if clean {
            self.sessions.retain(|session| session.client_id != client_id);
        }
        let session_present = self.sessions.iter().any(|session| session.client_id == client_id);
        if !session_present {
            self.sessions.push(Session::new(&client_id));
        }
        self.due.push_back((conn, BrokerEvent::Up { session_present, offer: self.offer }));
        let Some(session) = self.session_on(conn) else { return };
        let (again, waiting) = (std::mem::take(&mut session.due_again), std::mem::take(&mut session.queue));
        for sent in again {
            self.deliver(conn, Some(sent.packet), sent.message, sent.ids);
        }
        for message in waiting {
            let ids = self.grants_for(conn, &message).map(|grant| grant.id).collect();
            self.send(conn, message, ids);
        }
    }

    /// Breaks a connection with or without a reason. It goes on trying, and keeps what it has delivered in mind.
    #[track_caller]
    pub(super) fn drop(&mut self, conn: ConnId, refusal: Option<BrokerReason>) {
        self.end_if_clean(conn);
        self.connections.get_mut(&conn).expect("a connection to drop").state = State::Down;
        let reason = "connection reset by peer".to_owned();
        self.due.push_back((conn, BrokerEvent::Down { reason, refusal }));
    }

    #[track_caller]
    pub(super) fn close(&mut self, conn: ConnId) {
        let ended = self.connections.remove(&conn).expect("a connection to close");
        assert_eq!(ended.state, State::Ending, "only a connection that was told to end ends");
        self.due.push_back((conn, BrokerEvent::Closed));
    }

    /// Everything is forgotten.
    pub(super) fn restart(&mut self) {
        self.sessions.clear();
    }

    pub(super) fn raise_all(&mut self) {
        self.is_there = true;
        self.kept().into_iter().for_each(|conn| self.admit(conn));
    }

    pub(super) fn drop_all(&mut self) {
        self.is_there = false;
        self.kept().into_iter().for_each(|conn| self.drop(conn, None));
    }

    /// The gateway is killed: all its connections break at once. What it did not acknowledge is sent again to the
    /// connections that take the sessions up.
    pub(crate) fn loses_the_gateway(&mut self) {
        for conn in self.connections.keys().copied().collect::<Vec<_>>() {
            self.end_if_clean(conn);
        }
        self.connections.retain(|conn, _| *conn == ConnId::OWN);
        self.connections.values_mut().for_each(|own| own.state = State::Down);
        self.due.clear();
        for session in &mut self.sessions {
            session.due_again.append(&mut session.unacknowledged);
        }
    }

    pub(super) fn grant(&mut self, conn: ConnId, filter: String, id: SubscriptionId, qos: Qos) {
        let Some(session) = self.session_on(conn) else { return };
        session.granted.retain(|grant| grant.filter != filter);
        session.granted.push(Grant { filter, id, qos });
    }

    /// Sends a live message to every session that has subscribed to it, or keeps it for the session.
    pub(super) fn publish(&mut self, message: &Message) {
        let connected: Vec<Option<ConnId>> =
            self.sessions.iter().map(|session| self.conn_up(&session.client_id)).collect();
        let mut sent = Vec::new();
        for (session, conn) in self.sessions.iter_mut().zip(connected) {
            let matching = session.granted.iter().filter(|grant| matches(&grant.filter, message.topic.as_str()));
            let (ids, levels): (Vec<_>, Vec<_>) = matching.map(|grant| (grant.id, grant.qos)).unzip();
            let mut copy = message.clone();
            if self.mode == Mode::Transparent {
                let Some(most) = levels.into_iter().max() else { continue };
                copy.qos = copy.qos.min(most);
            }
            match conn {
                Some(conn) => sent.push((conn, copy, ids)),
                None if copy.qos > Qos::AtMostOnce => session.queue.push_back(copy),
                None => {}
            }
        }
        sent.into_iter().for_each(|(conn, copy, ids)| self.send(conn, copy, ids));
    }

    pub(super) fn send(&mut self, conn: ConnId, message: Message, ids: Vec<SubscriptionId>) {
        self.deliver(conn, None, message, ids);
    }

    pub(super) fn send_again(&mut self, conn: ConnId, packet: PacketId, message: Message) {
        let ids = self.grants_for(conn, &message).map(|grant| grant.id).collect();
        self.deliver(conn, Some(packet), message, ids);
    }

    /// Sends a message, for the first time or again under the packet id that it had.
    fn deliver(&mut self, conn: ConnId, again: Option<PacketId>, message: Message, ids: Vec<SubscriptionId>) {
        let delivery = (message.qos > Qos::AtMostOnce).then(|| {
            self.last_delivery += 1;
            Delivery(self.last_delivery)
        });
        let mut origin = origin(&message, delivery);
        if let (Some(origin), Some(packet)) = (&mut origin, again) {
            *origin = Origin { packet, duplicate: true };
        }
        if let (Some(delivery), Some(session)) = (delivery, self.session_on(conn)) {
            let packet = origin.map_or(PacketId(0), |origin| origin.packet);
            session.unacknowledged.push_back(Sent { delivery, packet, message: message.clone(), ids: ids.clone() });
        }
        let subscriptions = if self.offer.subscription_ids { ids } else { Vec::new() };
        self.due.push_back((conn, BrokerEvent::Message { delivery, origin, message, subscriptions }));
    }

    /// Answers a command, unless its connection has ended: then the answer never comes.
    pub(super) fn answer(&mut self, conn: ConnId, event: BrokerEvent) {
        let state = self.connections.get(&conn).map(|connection| connection.state);
        if matches!(state, Some(State::Up | State::Down | State::Ending)) {
            self.due.push_back((conn, event));
        }
    }

    #[track_caller]
    pub(super) fn conn_of(&self, client_id: &str) -> ConnId {
        let found = self.connections.iter().find(|(_, connection)| connection.client_id == client_id);
        *found.unwrap_or_else(|| panic!("{client_id} has no connection")).0
    }

    /// The connections that are up, or broken and trying again.
    fn kept(&self) -> Vec<ConnId> {
        let is_kept = |connection: &Connection| matches!(connection.state, State::Up | State::Down);
        self.connections.iter().filter(|(_, connection)| is_kept(connection)).map(|(conn, _)| *conn).collect()
    }

    /// A clean session goes with its connection.
    fn end_if_clean(&mut self, conn: ConnId) {
        if let Some(Connection { client_id, clean: true, .. }) = self.connections.get(&conn) {
            self.sessions.retain(|session| session.client_id != *client_id);
        }
    }

    fn grants_for(&mut self, conn: ConnId, message: &Message) -> impl Iterator<Item = &Grant> {
        let topic = message.topic.as_str().to_owned();
        let granted = self.session_on(conn).map(|session| &session.granted);
        granted.into_iter().flatten().filter(move |grant| matches(&grant.filter, &topic))
    }

    fn session_on(&mut self, conn: ConnId) -> Option<&mut Session> {
        let client_id = &self.connections.get(&conn)?.client_id;
        self.sessions.iter_mut().find(|session| session.client_id == *client_id)
    }

    fn conn_up(&self, client_id: &str) -> Option<ConnId> {
        let is_it = |connection: &Connection| connection.client_id == client_id && connection.state == State::Up;
        Some(*self.connections.iter().find(|(_, connection)| is_it(connection))?.0)
    }
}

impl Session {
    fn new(client_id: &str) -> Self {
        let client_id = client_id.to_owned();
        let (unacknowledged, due_again, queue) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { client_id, granted: Vec::new(), unacknowledged, due_again, queue }
    }
}

/// MQTT 4.7, written down once more so that the gateway's own matching is not its own judge.
fn matches(filter: &str, topic: &str) -> bool {
    let filter = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).map_or(filter, |(_, rest)| rest);
    let mut topic_levels = topic.split('/');
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match topic_levels.next() {
            Some(found) if level == "+" || level == found => {}
            Some(_) | None => return false,
        }
    }
    topic_levels.next().is_none()
}

/// Whether a token is one of those that outlive the gateway, and with it the wait for the store.
fn outlives(token: Token) -> bool {
    token.0 >> 63 == 1
}

/// What a message that comes for the first time says of itself.
pub(crate) fn origin(message: &Message, delivery: Option<Delivery>) -> Option<Origin> {
    let Delivery(number) = delivery.filter(|_| message.qos == Qos::ExactlyOnce)?;
    let packet = PacketId(u16::try_from(number).expect("a test has few messages"));
    Some(Origin { packet, duplicate: false })
}
