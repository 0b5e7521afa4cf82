//! The core with clients that are connected and a broker that answers at once: what the benchmarks drive.

use std::time::Duration;

use bytes::Bytes;
use mqttsn_gateway::core::topics::TopicName;
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, Cast, ConnId, Delivery, Gateway, Input, Instant, LinkAddress, LinkId,
    Message, Mode, Origin, Output, Outputs, PacketId, Peer, PublishOutcome, Settings, SubscribeOutcome, SubscriptionId,
};
use mqttsn_gateway::wire::{MsgType, Qos};

/// The topic that every client subscribes to.
const TOPIC_DOWN: &str = "bench/down/temperature";
const PAYLOAD: [u8; 32] = [0x55; 32];
/// How far the clock goes from one input to the next.
const STEP: Duration = Duration::from_micros(20);

pub(crate) struct Rig {
    gateway: Gateway,
    out: Outputs,
    now: Instant,
    clients: Vec<Client>,
    /// What the clients and the broker say to what came out.
    replies: Vec<(Peer, Vec<u8>)>,
    events: Vec<(ConnId, BrokerEvent)>,
    subscription: SubscriptionId,
    deliveries: u64,
    frames_sent: u64,
}

struct Client {
    peer: Peer,
    topic_id: [u8; 2],
    msg_id: u16,
}

impl Rig {
    /// Connects so many clients, each with a topic of its own registered.
    pub(crate) fn new(mode: Mode, clients: u32) -> Self {
        let mut rig = Self {
            gateway: Gateway::new(Settings { mode, ..Settings::default() }),
            out: Outputs::default(),
            now: Instant::ORIGIN,
            clients: (0..clients).map(Client::new).collect(),
            replies: Vec::new(),
            events: vec![(ConnId::OWN, up())],
            subscription: SubscriptionId::default(),
            deliveries: 0,
            frames_sent: 0,
        };
        rig.settle();
        for client in 0..rig.clients.len() {
            rig.says(client, MsgType::Connect, &[b"\x04\x01\x00\x3C", format!("client-{client}").as_bytes()]);
            rig.says(client, MsgType::Register, &[b"\0\0\0\x01", format!("bench/up/{client}").as_bytes()]);
        }
        rig
    }

    /// Has every client subscribe to one topic.
    pub(crate) fn with_subscribers(clients: u32, qos: Qos) -> Self {
        let mut rig = Self::new(Mode::Aggregating, clients);
        let flags = [(qos as u8) << 5];
        for client in 0..rig.clients.len() {
            rig.says(client, MsgType::Subscribe, &[&flags, b"\0\x02", TOPIC_DOWN.as_bytes()]);
        }
        rig
    }

    /// Publishes one message of 32 octets, and carries the exchange to its end.
    pub(crate) fn publish(&mut self, client: usize, qos: Qos) {
        let it = &mut self.clients[client];
        it.msg_id = it.msg_id.checked_add(1).unwrap_or(1);
        let (topic_id, msg_id) = (it.topic_id, if qos == Qos::AtMostOnce { 0 } else { it.msg_id });
        self.says(client, MsgType::Publish, &[&[(qos as u8) << 5], &topic_id, &msg_id.to_be_bytes(), &PAYLOAD]);
    }

    /// Has the broker send one message of 32 octets to all who have subscribed, and the clients acknowledge it.
    pub(crate) fn deliver(&mut self, qos: Qos) {
        self.deliveries += 1;
        let topic = TopicName::parse(TOPIC_DOWN.as_bytes()).expect("a valid name");
        let message = Message { topic, payload: Bytes::from_static(&PAYLOAD), qos, retain: false };
        let delivery = (qos > Qos::AtMostOnce).then_some(Delivery(self.deliveries));
        let packet = PacketId(u16::try_from(self.deliveries % 65_535 + 1).expect("a remainder of 16 bits"));
        let origin = (qos == Qos::ExactlyOnce).then_some(Origin { packet, duplicate: false });
        let event = BrokerEvent::Message { delivery, origin, message, subscriptions: vec![self.subscription] };
        self.events.push((ConnId::OWN, event));
        self.settle();
    }

    pub(crate) fn ping(&mut self, client: usize) {
        self.says(client, MsgType::PingReq, &[]);
    }

    /// Frames that the gateway has sent so far.
    pub(crate) fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    fn says(&mut self, client: usize, msg_type: MsgType, body: &[&[u8]]) {
        let peer = self.clients[client].peer;
        self.replies.push((peer, frame(msg_type, body)));
        self.settle();
    }

    /// Gives the core what waits, until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            self.now = self.now + STEP;
            let Self { gateway, out, now, .. } = self;
            if let Some((from, bytes)) = self.replies.pop() {
                gateway.handle(*now, Input::Frame { from, cast: Cast::Unicast, bytes: &bytes }, out);
            } else if let Some((conn, event)) = self.events.pop() {
                gateway.handle(*now, Input::Broker { conn, event }, out);
            } else {
                return;
            }
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        let Self { out, clients, replies, events, subscription, frames_sent, .. } = self;
        let (queue, frames) = out.drain();
        for output in queue {
            match output {
                Output::Send { to, frame } => {
                    *frames_sent += 1;
                    replies.extend(reply(frames.octets(&frame), clients, to).map(|reply| (to, reply)));
                }
                Output::Broker { conn, command } => events.extend(answer(command, subscription).map(|it| (conn, it))),
                Output::Connect { conn, .. } => events.push((conn, up())),
                Output::Broadcast { .. } | Output::Notice(_) | Output::Persist { .. } => {}
            }
        }
        out.clear();
    }
}

impl Client {
    fn new(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let address = LinkAddress::new(&[10, a, b, c, d, 1]).expect("six octets are an address");
        Self { peer: Peer { link: LinkId(0), address }, topic_id: [0, 0], msg_id: 10 }
    }
}

/// What a client says to a frame.
fn reply(octets: &[u8], clients: &mut [Client], to: Peer) -> Option<Vec<u8>> {
    let (msg_type, body) = (MsgType::from_code(octets[1]), &octets[2..]);
    match msg_type {
        Some(MsgType::RegAck) => {
            let client = clients.iter_mut().find(|client| client.peer == to)?;
            client.topic_id = [body[0], body[1]];
            None
        }
        Some(MsgType::Publish) => match body[0] >> 5 & 3 {
            1 => Some(frame(MsgType::PubAck, &[&body[1..5], &[0]])),
            2 => Some(frame(MsgType::PubRec, &[&body[3..5]])),
            _ => None,
        },
        Some(MsgType::Register) => Some(frame(MsgType::RegAck, &[&body[..4], &[0]])),
        Some(MsgType::PubRec) => Some(frame(MsgType::PubRel, &[&body[..2]])),
        Some(MsgType::PubRel) => Some(frame(MsgType::PubComp, &[&body[..2]])),
        _ => None,
    }
}

/// What the broker says to a command.
fn answer(command: BrokerCommand, subscription: &mut SubscriptionId) -> Option<BrokerEvent> {
    match command {
        BrokerCommand::Publish { token, .. } => {
            token.map(|token| BrokerEvent::Published { token, outcome: PublishOutcome::Accepted })
        }
        BrokerCommand::Subscribe { token, qos, id, .. } => {
            *subscription = id;
            Some(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Granted(qos) })
        }
        BrokerCommand::Unsubscribe { .. } | BrokerCommand::Ack { .. } => None,
        BrokerCommand::Disconnect => Some(BrokerEvent::Closed),
    }
}

fn up() -> BrokerEvent {
    let offer = BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: true, max_packet: None };
    BrokerEvent::Up { session_present: false, offer }
}

fn frame(msg_type: MsgType, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = u8::try_from(2 + body.len()).expect("the frames here are short");
    [&[length, msg_type.code()], &body[..]].concat()
}
