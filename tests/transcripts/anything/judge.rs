//! The world as the promises see it: it carries out steps, and looks at everything that comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use mqttsn_gateway::core::topics::{TopicFilter, TopicName};
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, Cast, ConnId, ConnectSpec, Delivery, Gateway, Input,
    Instant, LinkAddress, LinkSettings, LinkState, Message, Mode, Output, Outputs, Peer, PublishOutcome, Settings,
    SubscribeOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::{self, Qos, ReturnCode};
use proptest::sample::Index;

use crate::frames;
use crate::world::World;

pub(super) const PEERS: u8 = 4;
pub(super) const TOPICS: &[&str] = &["a/b", "a/c", "ab", "pre", "$SYS/x", "a", "long/topic/name"];
pub(super) const FILTERS: &[&str] = &["a/b", "a/+", "#", "+", "ab", "$SYS/#", "a/#/b", "$share/g/a"];
/// The topic of every will, and of nothing else.
pub(super) const WILL: &str = "will";

const CONNECTS_AT_ONCE: usize = 2;
const MAX_FRAME: usize = 100;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Frame {
        peer: u8,
        octets: Vec<u8>,
        to_all: bool,
    },
    /// The client answers the last thing that it was told, as it should.
    Replies {
        peer: u8,
    },
    /// The client says the last thing again, a PUBLISH with DUP.
    Repeats {
        peer: u8,
    },
    /// One of the answers that the broker owes.
    Answer {
        which: Index,
        how: u8,
    },
    /// A message from the broker, on one of the connections that are up.
    Message {
        topic: usize,
        qos: u8,
        retain: bool,
        size: u8,
        ids: Vec<Index>,
    },
    /// A connection is made, or made again.
    Up {
        which: Index,
        session_present: bool,
    },
    Down {
        which: Index,
        reason: Option<u8>,
    },
    /// One of the connections that were told to end has ended.
    Closed {
        which: Index,
    },
    /// The link that all clients are on is gone, or back.
    Link {
        is_up: bool,
    },
    /// Time passes, all at once.
    Passes {
        seconds: u32,
    },
    /// Time passes until the next deadline.
    Deadline,
}

/// Where clients speak from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clients {
    /// Every client has an address of its own.
    Settled,
    /// Any client may speak from any address.
    Roaming,
}

impl Clients {
    /// Who may speak from an address.
    pub(super) fn at(self, peer: u8) -> std::ops::Range<u8> {
        match self {
            Self::Settled => peer..peer + 1,
            Self::Roaming => 0..PEERS,
        }
    }
}

pub(super) struct Judge {
    mode: Mode,
    clients: Clients,
    gateway: Gateway,
    now: Instant,
    connections: BTreeMap<ConnId, Connection>,
    /// What the broker still owes an answer.
    owed: Vec<(ConnId, Token, Owed)>,
    /// The client (by its peer's number) and the message id of every publish that the broker has accepted.
    accepted: BTreeSet<(u8, u16)>,
    last_delivery: u64,
    ids: Vec<SubscriptionId>,
    filters: BTreeMap<SubscriptionId, TopicFilter>,
    /// What each client said last.
    said: BTreeMap<u8, Vec<u8>>,
    /// What each client has to reply.
    replies: BTreeMap<u8, Vec<u8>>,
    /// The publish that is being handled: whose, and its message id.
    publishing: Option<(u8, u16)>,
}

struct Connection {
    client_id: ByteString,
    state: State,
    /// What the gateway may acknowledge.
    deliveries: BTreeSet<Delivery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    Down,
    Ending,
}

#[derive(Clone, Copy, Debug)]
enum Owed {
    Published { peer: u8, msg_id: u16 },
    Will,
    Subscribed,
}

impl Judge {
    pub(super) fn new(mode: Mode, clients: Clients) -> Self {
        let predefined = BTreeMap::from([(wire::TopicId(10), name("pre"))]);
        let mut settings = Settings { mode, predefined, ..Settings::default() };
        settings.limits.clients = 6;
        settings.limits.queued_messages_per_client = 5;
        settings.limits.queued_bytes_per_client = 500;
        settings.limits.messages_per_wake_up = 3;
        settings.limits.topics_per_client = 4;
        settings.limits.subscriptions_per_client = 3;
        settings.limits.publishes_per_client = 3;
        settings.limits.publishes_in_flight = 6;
        settings.limits.broker_connects_at_once = CONNECTS_AT_ONCE;
        settings.limits.wills_waiting = 3;
        settings.limits.unacknowledged_deliveries = 3;
        settings.links.insert(World::LINK, LinkSettings { max_frame: MAX_FRAME, ..LinkSettings::default() });
        let own = Connection { client_id: "".into(), state: State::Connecting, deliveries: BTreeSet::new() };
        let mut judge = Self {
            mode,
            clients,
            gateway: Gateway::new(settings),
            now: Instant::from_origin(Duration::from_secs(1)),
            connections: BTreeMap::from([(ConnId::OWN, own)]),
            owed: Vec::new(),
            accepted: BTreeSet::new(),
            last_delivery: 0,
            ids: Vec::new(),
            filters: BTreeMap::new(),
            said: BTreeMap::new(),
            replies: BTreeMap::new(),
            publishing: None,
        };
        judge.up(ConnId::OWN, false);
        judge
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Frame { peer, octets, to_all } => {
                if let Ok(wire::Message::Publish(publish)) = frames::decode(&octets) {
                    self.publishing = Some((peer, publish.msg_id.0));
                }
                let from = Peer { link: World::LINK, address: LinkAddress::new(&[peer]).unwrap() };
                let cast = if to_all { Cast::Group } else { Cast::Unicast };
                self.handle(Input::Frame { from, cast, bytes: &octets });
                self.publishing = None;
                self.said.insert(peer, octets);
            }
            Step::Replies { peer } => {
                if let Some(octets) = self.replies.remove(&peer) {
                    self.take(Step::Frame { peer, octets, to_all: false });
                }
            }
            Step::Repeats { peer } => {
                if let Some(mut octets) = self.said.get(&peer).cloned() {
                    if let [_, 0x0C, flags, ..] = &mut octets[..] {
                        *flags |= 0x80;
                    }
                    self.take(Step::Frame { peer, octets, to_all: false });
                }
            }
            Step::Answer { which, how } => {
                if !self.owed.is_empty() {
                    self.answer(which.index(self.owed.len()), how);
                }
            }
            Step::Message { topic, qos, retain, size, ids } => self.message(TOPICS[topic], qos, retain, size, &ids),
            Step::Up { which, session_present } => {
                if let Some(conn) = self.pick(which, &[State::Connecting, State::Up, State::Down]) {
                    self.up(conn, session_present);
                }
            }
            Step::Down { which, reason } => {
                if let Some(conn) = self.pick(which, &[State::Connecting, State::Up, State::Down]) {
                    self.connections.get_mut(&conn).unwrap().state = State::Down;
                    let refusal = reason.map(BrokerReason);
                    self.event(conn, BrokerEvent::Down { reason: String::new(), refusal });
                }
            }
            Step::Closed { which } => {
                if let Some(conn) = self.pick(which, &[State::Ending]) {
                    self.close(conn);
                }
            }
            Step::Link { is_up } => {
                let state = if is_up { LinkState::Up } else { LinkState::Down };
                self.handle(Input::Link { link: World::LINK, state });
            }
            Step::Passes { seconds } => {
                self.now = self.now + Duration::from_secs(seconds.into());
                self.handle(Input::Deadline);
            }
            Step::Deadline => {
                if let Some(deadline) = self.gateway.next_deadline() {
                    self.now = deadline;
                    self.handle(Input::Deadline);
                }
            }
        }
    }

    /// Everyone falls silent. Connections are not made any more, those that shall end do, and the broker accepts all it
    /// owes.
    pub(super) fn falls_silent(&mut self) {
        for _ in 0..2_000 {
            if let Some(conn) = self.in_state(&[State::Ending]).first() {
                self.close(*conn);
            } else if !self.owed.is_empty() {
                self.answer(0, 11);
            } else if self.gateway.next_deadline().is_some() {
                self.take(Step::Deadline);
            } else {
                break;
            }
        }
        assert_eq!(self.gateway.next_deadline(), None, "something is never done");
        assert_eq!(self.connections.keys().collect::<Vec<_>>(), [&ConnId::OWN], "a connection is left");
        let open = &self.connections[&ConnId::OWN].deliveries;
        assert!(open.is_empty(), "never acknowledged: {open:?}");
    }

    pub(super) fn admit_all(&mut self) {
        self.in_state(&[State::Connecting]).into_iter().for_each(|conn| self.up(conn, false));
    }

    pub(super) fn accept_all(&mut self) {
        while !self.owed.is_empty() {
            self.answer(0, 11);
        }
    }

    fn in_state(&self, states: &[State]) -> Vec<ConnId> {
        let such = self.connections.iter().filter(|(_, connection)| states.contains(&connection.state));
        such.map(|(conn, _)| *conn).collect()
    }

    fn pick(&self, which: Index, states: &[State]) -> Option<ConnId> {
        let such = self.in_state(states);
        (!such.is_empty()).then(|| *which.get(&such))
    }

    fn up(&mut self, conn: ConnId, session_present: bool) {
        let connection = self.connections.get_mut(&conn).unwrap();
        connection.state = State::Up;
        if !session_present {
            connection.deliveries.clear();
        }
        let offer = BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: true, max_packet: None };
        self.event(conn, BrokerEvent::Up { session_present, offer });
    }

    /// What is unanswered then stays so.
    fn close(&mut self, conn: ConnId) {
        self.connections.remove(&conn);
        self.owed.retain(|(other, ..)| *other != conn);
        self.event(conn, BrokerEvent::Closed);
    }

    fn message(&mut self, topic: &str, qos: u8, retain: bool, size: u8, ids: &[Index]) {
        let up = self.in_state(&[State::Up]);
        let number = ids.first().filter(|_| !up.is_empty()).map_or(0, |id| id.index(up.len()));
        let Some(conn) = up.get(number).copied() else { return };
        if self.mode == Mode::Transparent && conn == ConnId::OWN {
            return;
        }
        let delivery = (qos > 0).then(|| {
            self.last_delivery += 1;
            Delivery(self.last_delivery)
        });
        self.connections.get_mut(&conn).unwrap().deliveries.extend(delivery);
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos)];
        let payload = Bytes::from(vec![b'x'; size.into()]);
        let message = Message { topic: name(topic), payload, qos, retain };
        let subscriptions = ids.iter().filter(|_| !self.ids.is_empty()).map(|id| *id.get(&self.ids)).collect();
        let origin = crate::broker::origin(&message, delivery);
        self.event(conn, BrokerEvent::Message { delivery, origin, message, subscriptions });
    }

    fn answer(&mut self, position: usize, how: u8) {
        let (conn, token, owed) = self.owed.swap_remove(position);
        match owed {
            Owed::Published { .. } | Owed::Will => {
                let outcome = match how {
                    0 => PublishOutcome::Busy,
                    1 => PublishOutcome::Lost,
                    2 => PublishOutcome::Refused(BrokerReason(0x97)),
                    3 => PublishOutcome::Refused(BrokerReason(0x87)),
                    _ => PublishOutcome::Accepted,
                };
                if let (PublishOutcome::Accepted, Owed::Published { peer, msg_id }) = (outcome, owed) {
                    self.accepted.insert((peer, msg_id));
                }
                self.event(conn, BrokerEvent::Published { token, outcome });
            }
            Owed::Subscribed => {
                let outcome = match how {
                    0 => SubscribeOutcome::Lost,
                    1 => SubscribeOutcome::Refused(BrokerReason(0x87)),
                    2 => SubscribeOutcome::Granted(Qos::AtMostOnce),
                    3 => SubscribeOutcome::Granted(Qos::AtLeastOnce),
                    _ => SubscribeOutcome::Granted(Qos::ExactlyOnce),
                };
                self.event(conn, BrokerEvent::Subscribed { token, outcome });
            }
        }
    }

    fn event(&mut self, conn: ConnId, event: BrokerEvent) {
        self.handle(Input::Broker { conn, event });
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut out = Outputs::default();
        self.gateway.handle(self.now, input, &mut out);
        let (outputs, sent) = out.drain();
        let mut count = 0;
        for output in outputs {
            count += 1;
            match output {
                Output::Send { to, frame } => {
                    let octets = sent.octets(&frame);
                    assert!(octets.len() <= MAX_FRAME, "longer than the link's frames");
                    frames::check(octets);
                    let (to, message) = (to.address.octets()[0], frames::decode(octets).unwrap());
                    self.judge_frame(to, &message);
                    self.replies.extend(reply(&message).map(|reply| (to, reply)));
                }
                Output::Broadcast { frame, .. } => frames::check(sent.octets(&frame)),
                Output::Broker { conn, command } => self.judge_command(conn, command),
                Output::Connect { conn, spec } => self.judge_connect(conn, spec),
                Output::Notice(_) | Output::Persist { .. } => {}
            }
        }
        // 4 clients with 5 messages each, 64 renewals, and what surrounds them.
        assert!(count <= 250, "{count} outputs from one input");
        assert!(self.gateway.next_deadline().is_none_or(|deadline| deadline > self.now), "a deadline in the past");
    }

    /// An acknowledgement is a promise.
    fn judge_frame(&self, to: u8, message: &wire::Message<'_>) {
        let promised = match message {
            wire::Message::PubAck(ack) if ack.return_code == ReturnCode::Accepted => ack.msg_id,
            wire::Message::PubRec(ack) => ack.msg_id,
            _ => return,
        };
        let is_kept = |peer: u8| self.accepted.contains(&(peer, promised.0));
        assert!(self.clients.at(to).any(is_kept), "{message} goes to {to}, and the broker has not the message");
    }

    /// A broker that sees a client id twice closes the first connection and publishes its will.
    fn judge_connect(&mut self, conn: ConnId, spec: ConnectSpec) {
        assert_eq!(self.mode, Mode::Transparent);
        let client_id = spec.client_id;
        assert!(self.connections.values().all(|other| other.client_id != client_id), "{client_id} connects twice");
        let connection = Connection { client_id, state: State::Connecting, deliveries: BTreeSet::new() };
        assert!(self.connections.insert(conn, connection).is_none(), "{conn:?} is in use");
        assert!(self.in_state(&[State::Connecting]).len() <= CONNECTS_AT_ONCE, "too many connections at once");
    }

    fn judge_command(&mut self, conn: ConnId, command: BrokerCommand) {
        let connection = self.connections.get_mut(&conn).unwrap_or_else(|| panic!("{command:?} to no connection"));
        let state = connection.state;
        assert_ne!(state, State::Ending, "{command:?} after DISCONNECT");
        match command {
            BrokerCommand::Publish { token, message, .. } => {
                assert_eq!(state, State::Up);
                let is_will = message.topic.as_str() == WILL;
                match (token, self.publishing) {
                    (Some(token), Some((peer, msg_id))) if !is_will => {
                        self.owe(conn, token, Owed::Published { peer, msg_id });
                    }
                    // What no publish has caused is a will, perhaps to a topic that was damaged on its way.
                    (Some(token), _) => self.owe(conn, token, Owed::Will),
                    // A will on a connection that ends just after it.
                    (None, None) if self.mode == Mode::Transparent => {}
                    (None, _) if is_will && self.mode == Mode::Transparent => {}
                    (None, _) => assert_eq!(message.qos, Qos::AtMostOnce, "nobody hears of the answer"),
                }
            }
            BrokerCommand::Subscribe { token, id, filter, .. } => {
                assert_eq!(state, State::Up);
                let former = self.filters.insert(id, filter.clone());
                let is_free = former.is_none_or(|former| former == filter);
                assert!(self.mode == Mode::Transparent || is_free, "an identifier is given out twice");
                self.ids.push(id);
                self.owe(conn, token, Owed::Subscribed);
            }
            BrokerCommand::Ack { delivery } => {
                let was_open = connection.deliveries.remove(&delivery);
                assert!(was_open, "{delivery:?} is acknowledged twice, or not ours");
            }
            BrokerCommand::Unsubscribe { .. } => {}
            BrokerCommand::Disconnect => {
                assert_ne!(conn, ConnId::OWN, "nobody has shut down");
                connection.state = State::Ending;
            }
        }
    }

    fn owe(&mut self, conn: ConnId, token: Token, owed: Owed) {
        assert!(self.owed.iter().all(|(_, other, _)| *other != token), "{token:?} is in use");
        self.owed.push((conn, token, owed));
    }
}

/// What a client that does everything right says to a frame.
fn reply(message: &wire::Message<'_>) -> Option<Vec<u8>> {
    let reply = match message {
        wire::Message::WillTopicReq(_) => return Some(frames::frame(0x07, &[&[0x20], WILL.as_bytes()])),
        wire::Message::WillMsgReq(_) => return Some(frames::frame(0x09, &[b"bye"])),
        wire::Message::Register(register) => wire::Message::from(wire::RegAck {
            topic_id: register.topic_id,
            msg_id: register.msg_id,
            return_code: ReturnCode::Accepted,
        }),
        wire::Message::Publish(publish) => match publish.qos.level()? {
            Qos::AtMostOnce => return None,
            Qos::AtLeastOnce => wire::Message::from(wire::PubAck {
                topic_id: publish.topic.octets(),
                msg_id: publish.msg_id,
                return_code: ReturnCode::Accepted,
            }),
            Qos::ExactlyOnce => wire::PubRec { msg_id: publish.msg_id }.into(),
        },
        wire::Message::PubRec(pub_rec) => wire::PubRel { msg_id: pub_rec.msg_id }.into(),
        wire::Message::PubRel(pub_rel) => wire::PubComp { msg_id: pub_rel.msg_id }.into(),
        _ => return None,
    };
    let mut octets = Vec::new();
    reply.encode(&mut octets).unwrap();
    Some(octets)
}

fn name(topic: &str) -> TopicName {
    TopicName::from_shared(ByteString::from(topic)).unwrap()
}
