//! Whatever comes in, in whatever order, the promises hold that need no story around them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use mqttsn_gateway::core::topics::TopicName;
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, ConnId, Delivery, Gateway, Input, Instant, LinkAddress,
    Message, Output, Outputs, Peer, PublishOutcome, Settings, SubscribeOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::{self, Qos, ReturnCode};
use proptest::prelude::*;
use proptest::sample::Index;

use super::World;
use super::frames;

const PEERS: u8 = 4;
const TOPICS: &[&str] = &["a/b", "a/c", "ab", "pre", "$SYS/x", "a", "long/topic/name"];
const FILTERS: &[&str] = &["a/b", "a/+", "#", "+", "ab", "$SYS/#", "a/#/b", "$share/g/a"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Frame {
        peer: u8,
        octets: Vec<u8>,
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
    /// A message from the broker.
    Message {
        topic: usize,
        qos: u8,
        retain: bool,
        size: u8,
        ids: Vec<Index>,
    },
    Up {
        session_present: bool,
    },
    Down,
    /// Time passes, all at once.
    Passes {
        seconds: u32,
    },
    /// Time passes until the next deadline.
    Deadline,
}

/// Where clients speak from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clients {
    /// Every client has an address of its own.
    Settled,
    /// Any client may speak from any address.
    Roaming,
}

impl Clients {
    /// Who may speak from an address.
    fn at(self, peer: u8) -> std::ops::Range<u8> {
        match self {
            Self::Settled => peer..peer + 1,
            Self::Roaming => 0..PEERS,
        }
    }
}

/// A message that a client may send.
fn plausible_frame(client: u8) -> BoxedStrategy<Vec<u8>> {
    let msg_id = 0..4_u16;
    let topic_id = prop_oneof![8 => 1..4_u16, 1 => 0..6_u16, 1 => Just(10), 1 => Just(0x6162), 1 => Just(0xFFFF)];
    let named = prop_oneof![
        4 => (Just(0x00), 1..4_u16),
        2 => Just((0x01, 10)),
        4 => Just((0x02, 0x6162)),
        1 => (0..4_u8, topic_id.clone()),
    ];
    let qos = prop::sample::select(vec![0x00_u8, 0x10, 0x20, 0x30, 0x40, 0x60, 0xA0, 0xC0]);
    let acks = prop::sample::select(vec![0x0D_u8, 0x0B]);
    let handshakes = prop::sample::select(vec![0x0E_u8, 0x0F, 0x10]);
    let id = format!("c{client}");
    let own_id = id.clone();
    prop_oneof![
        5 => (any::<bool>(), prop::sample::select(vec![0_u16, 1, 60])).prop_map(move |(clean, keep_alive)| {
            frames::connect(&id, if clean { 0x04 } else { 0x00 }, keep_alive)
        }),
        2 => (0..TOPICS.len(), msg_id.clone()).prop_map(|(topic, id)| frames::register(TOPICS[topic], id)),
        3 => (0..FILTERS.len(), 0..4_u8, msg_id.clone())
            .prop_map(|(filter, qos, id)| frames::subscribe(FILTERS[filter], qos, id)),
        1 => (0..FILTERS.len(), msg_id.clone()).prop_map(|(filter, id)| frames::unsubscribe(FILTERS[filter], id)),
        1 => (1..3_u8, topic_id.clone(), msg_id.clone())
            .prop_map(|(kind, id, msg)| frames::frame(0x12, &[&[0x20 | kind], &msg.to_be_bytes(), &id.to_be_bytes()])),
        6 => (named, qos, msg_id, 0..2_u8)
            .prop_map(|((kind, topic), qos, msg, data)| frames::publish(qos | kind, topic, msg, &[data])),
        4 => (acks, topic_id, 0..8_u16, 0..5_u8).prop_map(|(kind, topic, msg, code)| {
            frames::frame(kind, &[&topic.to_be_bytes(), &msg.to_be_bytes(), &[code]])
        }),
        4 => (handshakes, 0..8_u16).prop_map(|(kind, msg)| frames::frame(kind, &[&msg.to_be_bytes()])),
        2 => prop::sample::select(vec!["0216", "0217", "0218", "04180005", "0418ffff", "021a", "030101", "0207"])
            .prop_map(frames::parse),
        2 => Just(frames::frame(0x16, &[own_id.as_bytes()])),
    ]
    .boxed()
}

/// A frame, plausible or damaged, now and then through a forwarder.
fn frame(client: u8) -> BoxedStrategy<Vec<u8>> {
    let damaged =
        (plausible_frame(client), any::<Index>(), any::<u8>(), 0..3_u8).prop_map(|(mut octets, at, new, how)| {
            match how {
                0 => {
                    let at = at.index(octets.len());
                    octets[at] = new;
                }
                1 => octets.truncate(at.index(octets.len())),
                _ => octets.push(new),
            }
            octets
        });
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    let bare = prop_oneof![12 => plausible_frame(client), 2 => damaged, 1 => noise].boxed();
    let wrap = |octets: Vec<u8>| [&[4, 0xFE, 0, 7], &octets[..]].concat();
    prop_oneof![19 => bare.clone(), 1 => bare.prop_map(wrap)].boxed()
}

fn step(clients: Clients) -> impl Strategy<Value = Step> {
    let said = move |peer| clients.at(peer).prop_flat_map(frame).prop_map(move |octets| Step::Frame { peer, octets });
    prop_oneof![
        12 => (0..PEERS).prop_flat_map(said),
        8 => (0..PEERS).prop_map(|peer| Step::Replies { peer }),
        3 => (0..PEERS).prop_map(|peer| Step::Repeats { peer }),
        8 => (any::<Index>(), 0..12_u8).prop_map(|(which, how)| Step::Answer { which, how }),
        6 => (0..TOPICS.len(), 0..3_u8, any::<bool>(), 0..110_u8, prop::collection::vec(any::<Index>(), 0..3))
            .prop_map(|(topic, qos, retain, size, ids)| Step::Message { topic, qos, retain, size, ids }),
        4 => any::<bool>().prop_map(|session_present| Step::Up { session_present }),
        1 => Just(Step::Down),
        1 => (0..100_u32).prop_map(|seconds| Step::Passes { seconds }),
        2 => Just(Step::Deadline),
    ]
}

/// The world as the promises see it.
struct Judge {
    clients: Clients,
    gateway: Gateway,
    now: Instant,
    /// What the broker still owes an answer.
    owed: Vec<(Token, Owed)>,
    /// The client (by its peer's number) and the message id of every publish that the broker has accepted.
    accepted: BTreeSet<(u8, u16)>,
    /// What the gateway may acknowledge.
    deliveries: BTreeSet<Delivery>,
    last_delivery: u64,
    ids: Vec<SubscriptionId>,
    /// What each client said last.
    said: BTreeMap<u8, Vec<u8>>,
    /// What each client has to reply.
    replies: BTreeMap<u8, Vec<u8>>,
    /// The publish that is being handled: whose, and its message id.
    publishing: Option<(u8, u16)>,
}

#[derive(Clone, Copy, Debug)]
enum Owed {
    Published { peer: u8, msg_id: u16 },
    Subscribed,
}

impl Judge {
    fn new(clients: Clients) -> Self {
        let predefined = BTreeMap::from([(wire::TopicId(10), name("pre"))]);
        let mut settings = Settings { predefined, ..Settings::default() };
        settings.limits.clients = 6;
        settings.limits.queued_messages_per_client = 5;
        settings.limits.queued_bytes_per_client = 500;
        settings.limits.topics_per_client = 4;
        settings.limits.subscriptions_per_client = 3;
        settings.limits.publishes_per_client = 3;
        settings.limits.publishes_in_flight = 6;
        settings.limits.unacknowledged_deliveries = 3;
        settings.links.insert(World::LINK, mqttsn_gateway::core::LinkSettings { max_frame: 100, qos_minus_one: true });
        let mut judge = Self {
            clients,
            gateway: Gateway::new(settings),
            now: Instant::from_origin(Duration::from_secs(1)),
            owed: Vec::new(),
            accepted: BTreeSet::new(),
            deliveries: BTreeSet::new(),
            last_delivery: 0,
            ids: Vec::new(),
            said: BTreeMap::new(),
            replies: BTreeMap::new(),
            publishing: None,
        };
        judge.take(Step::Up { session_present: false });
        judge
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Frame { peer, octets } => {
                if let Ok(wire::Message::Publish(publish)) = frames::decode(&octets) {
                    self.publishing = Some((peer, publish.msg_id.0));
                }
                let from = Peer { link: World::LINK, address: LinkAddress::new(&[peer]).unwrap() };
                self.handle(Input::Frame { from, bytes: &octets });
                self.publishing = None;
                self.said.insert(peer, octets);
            }
            Step::Replies { peer } => {
                if let Some(octets) = self.replies.remove(&peer) {
                    self.take(Step::Frame { peer, octets });
                }
            }
            Step::Repeats { peer } => {
                if let Some(mut octets) = self.said.get(&peer).cloned() {
                    if let [_, 0x0C, flags, ..] = &mut octets[..] {
                        *flags |= 0x80;
                    }
                    self.take(Step::Frame { peer, octets });
                }
            }
            Step::Answer { which, how } => {
                if !self.owed.is_empty() {
                    self.answer(which.index(self.owed.len()), how);
                }
            }
            Step::Message { topic, qos, retain, size, ids } => {
                let delivery = (qos > 0).then(|| {
                    self.last_delivery += 1;
                    Delivery(self.last_delivery)
                });
                self.deliveries.extend(delivery);
                let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(qos)];
                let payload = Bytes::from(vec![b'x'; size.into()]);
                let message = Message { topic: name(TOPICS[topic]), payload, qos, retain };
                let subscriptions = ids.iter().filter(|_| !self.ids.is_empty()).map(|id| *id.get(&self.ids)).collect();
                self.event(BrokerEvent::Message { delivery, message, subscriptions });
            }
            Step::Up { session_present } => {
                if !session_present {
                    self.deliveries.clear();
                }
                let offer =
                    BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: true, max_packet: None };
                self.event(BrokerEvent::Up { session_present, offer });
            }
            Step::Down => self.event(BrokerEvent::Down { reason: String::new() }),
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

    fn answer(&mut self, position: usize, how: u8) {
        let (token, owed) = self.owed.swap_remove(position);
        match owed {
            Owed::Published { peer, msg_id } => {
                let outcome = match how {
                    0 => PublishOutcome::Busy,
                    1 => PublishOutcome::Lost,
                    2 => PublishOutcome::Refused(BrokerReason(0x97)),
                    3 => PublishOutcome::Refused(BrokerReason(0x87)),
                    _ => {
                        self.accepted.insert((peer, msg_id));
                        PublishOutcome::Accepted
                    }
                };
                self.event(BrokerEvent::Published { token, outcome });
            }
            Owed::Subscribed => {
                let outcome = match how {
                    0 => SubscribeOutcome::Lost,
                    1 => SubscribeOutcome::Refused(BrokerReason(0x87)),
                    2 => SubscribeOutcome::Granted(Qos::AtMostOnce),
                    3 => SubscribeOutcome::Granted(Qos::AtLeastOnce),
                    _ => SubscribeOutcome::Granted(Qos::ExactlyOnce),
                };
                self.event(BrokerEvent::Subscribed { token, outcome });
            }
        }
    }

    fn event(&mut self, event: BrokerEvent) {
        self.handle(Input::Broker { conn: ConnId::OWN, event });
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
                    assert!(octets.len() <= 100, "longer than the link's frames");
                    frames::check(octets);
                    let (to, message) = (to.address.octets()[0], frames::decode(octets).unwrap());
                    self.judge_frame(to, &message);
                    self.replies.extend(reply(&message).map(|reply| (to, reply)));
                }
                Output::Broadcast { .. } => panic!("nothing is broadcast yet"),
                Output::Broker { command, .. } => self.judge_command(command),
                Output::Notice(_) => {}
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

    fn judge_command(&mut self, command: BrokerCommand) {
        match command {
            BrokerCommand::Publish { token: Some(token), .. } => {
                let (peer, msg_id) = self.publishing.expect("a publish comes from a publish");
                self.owe(token, Owed::Published { peer, msg_id });
            }
            BrokerCommand::Publish { token: None, message } => assert_eq!(message.qos, Qos::AtMostOnce),
            BrokerCommand::Subscribe { token, id, .. } => {
                assert!(!self.ids.contains(&id), "an identifier is given out twice");
                self.ids.push(id);
                self.owe(token, Owed::Subscribed);
            }
            BrokerCommand::Ack { delivery } => {
                assert!(self.deliveries.remove(&delivery), "{delivery:?} is acknowledged twice, or not ours");
            }
            BrokerCommand::Unsubscribe { .. } => {}
            BrokerCommand::Disconnect => panic!("nobody has shut down"),
        }
    }

    fn owe(&mut self, token: Token, owed: Owed) {
        assert!(self.owed.iter().all(|(other, _)| *other != token), "{token:?} is in use");
        self.owed.push((token, owed));
    }
}

/// What a client that does everything right says to a frame.
fn reply(message: &wire::Message<'_>) -> Option<Vec<u8>> {
    let reply = match message {
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

/// Plays the steps, then lets everyone fall silent while the broker accepts all it owes: nothing may be left over.
fn play(clients: Clients, steps: Vec<Step>) {
    let mut judge = Judge::new(clients);
    for peer in 0..PEERS {
        judge.take(Step::Frame { peer, octets: frames::connect(&format!("c{peer}"), 0x00, 60) });
        judge.take(Step::Frame { peer, octets: frames::subscribe("#", 2, 1) });
        judge.answer(0, 11);
    }
    for step in steps {
        judge.take(step);
    }
    while !judge.owed.is_empty() {
        judge.answer(0, 11);
    }
    for _ in 0..1_000 {
        if judge.gateway.next_deadline().is_none() {
            break;
        }
        judge.take(Step::Deadline);
    }
    assert!(judge.deliveries.is_empty(), "never acknowledged: {:?}", judge.deliveries);
    assert_eq!(judge.gateway.next_deadline(), None, "something is never done");
}

proptest! {
    #[test]
    fn whatever_comes_in_the_promises_hold(steps in prop::collection::vec(step(Clients::Settled), 1..120)) {
        play(Clients::Settled, steps);
    }

    #[test]
    fn whoever_speaks_from_wherever_the_promises_hold(steps in prop::collection::vec(step(Clients::Roaming), 1..120)) {
        play(Clients::Roaming, steps);
    }

    #[test]
    fn octets_without_sense_are_survived(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..50),
    ) {
        let mut judge = Judge::new(Clients::Settled);
        for octets in frames {
            judge.take(Step::Frame { peer: 0, octets });
        }
    }
}
