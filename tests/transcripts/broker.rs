//! The scripted broker: the one place that knows how the gateway's commands and a broker's events look.
//!
//! A test says what the broker gets, in words, and what it answers. Connections are this file's business too, so that
//! a mode with one connection for each client changes nothing in the dialogues.

use bytes::Bytes;
use bytestring::ByteString;
use mqttsn_gateway::core::topics::TopicName;
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, ConnId, Delivery, Input, Message, PublishOutcome,
    SubscribeOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::Qos;

use crate::words;
use crate::world::World;

/// What the broker does and gets.
pub(crate) struct Broker<'w> {
    world: &'w mut World,
}

/// What the broker remembers between two things it does.
pub(crate) struct BrokerMemory {
    pub(crate) offer: BrokerOffer,
    last_delivery: u64,
    /// The subscriptions that it holds, each with its latest identifier.
    granted: Vec<(String, SubscriptionId)>,
}

/// A command that the broker has got and can answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    conn: ConnId,
    token: Option<Token>,
    filter: Option<(String, SubscriptionId)>,
}

impl BrokerMemory {
    pub(crate) fn new(offer: BrokerOffer) -> Self {
        Self { offer, last_delivery: 0, granted: Vec::new() }
    }
}

impl<'w> Broker<'w> {
    pub(crate) fn new(world: &'w mut World) -> Self {
        Self { world }
    }

    /// The broker gets exactly this command next, in the words of `words.rs`: `PUBLISH q1 a/b/c 23.5`.
    #[track_caller]
    pub(crate) fn gets(&mut self, wanted: &str) -> Asked {
        let Some((conn, command)) = self.world.next_command() else {
            panic!("the broker does not get {wanted}\n{}", self.world.transcript());
        };
        assert_eq!(words::command(&command), wanted, "the broker gets another command");
        match command {
            BrokerCommand::Publish { token, message } => {
                let acknowledged = message.qos > Qos::AtMostOnce;
                assert_eq!(token.is_some(), acknowledged, "a token is for what the broker acknowledges");
                Asked { conn, token, filter: None }
            }
            BrokerCommand::Subscribe { token, filter, id, .. } => {
                let filter = Some((filter.as_str().to_owned(), id));
                Asked { conn, token: Some(token), filter }
            }
            BrokerCommand::Unsubscribe { filter } => {
                self.world.broker.granted.retain(|(granted, _)| granted != filter.as_str());
                Asked { conn, token: None, filter: None }
            }
            BrokerCommand::Ack { .. } | BrokerCommand::Disconnect => Asked { conn, token: None, filter: None },
        }
    }

    /// The broker gets a SUBSCRIBE for this filter at whatever QoS: others may ask for more.
    #[track_caller]
    pub(crate) fn gets_subscribe(&mut self, filter: &str) -> Asked {
        match self.world.next_command() {
            Some((conn, BrokerCommand::Subscribe { token, filter: asked, id, .. })) if asked.as_str() == filter => {
                Asked { conn, token: Some(token), filter: Some((filter.to_owned(), id)) }
            }
            Some((_, command)) => panic!("the broker gets {}, not SUBSCRIBE {filter}", words::command(&command)),
            None => panic!("the broker does not get SUBSCRIBE {filter}\n{}", self.world.transcript()),
        }
    }

    /// PUBACK or PUBCOMP: the broker has the message.
    #[track_caller]
    pub(crate) fn accepts(&mut self, publish: Asked) {
        self.settles(publish, PublishOutcome::Accepted);
    }

    #[track_caller]
    pub(crate) fn refuses_publish(&mut self, publish: Asked, reason: u8) {
        self.settles(publish, PublishOutcome::Refused(BrokerReason(reason)));
    }

    /// Whatever else may become of a publish.
    #[track_caller]
    pub(crate) fn settles(&mut self, publish: Asked, outcome: PublishOutcome) {
        self.answers(publish, |token| BrokerEvent::Published { token, outcome });
    }

    /// SUBACK with this QoS.
    #[track_caller]
    pub(crate) fn grants(&mut self, subscribe: &Asked, qos: u8) {
        if let Some((filter, id)) = subscribe.filter.clone() {
            self.world.broker.granted.retain(|(granted, _)| *granted != filter);
            self.world.broker.granted.push((filter, id));
        }
        let outcome = SubscribeOutcome::Granted(level(qos));
        self.answers(subscribe.clone(), |token| BrokerEvent::Subscribed { token, outcome });
    }

    #[track_caller]
    pub(crate) fn refuses_subscribe(&mut self, subscribe: &Asked, reason: u8) {
        let outcome = SubscribeOutcome::Refused(BrokerReason(reason));
        self.answers(subscribe.clone(), |token| BrokerEvent::Subscribed { token, outcome });
    }

    /// The connection broke before the SUBACK.
    #[track_caller]
    pub(crate) fn loses_subscribe(&mut self, subscribe: &Asked) {
        self.answers(subscribe.clone(), |token| BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Lost });
    }

    /// A live message: one copy, with the identifiers of all subscriptions that brought it.
    ///
    /// At QoS 1 and 2 the gateway acknowledges it with `ACK n`, where n counts these messages from 1.
    #[track_caller]
    pub(crate) fn publishes(&mut self, topic: &str, qos: u8, payload: &str) {
        let matching = self.world.broker.granted.iter().filter(|(filter, _)| matches(filter, topic));
        let ids = matching.map(|(_, id)| *id).collect();
        self.sends(topic, qos, payload, false, ids);
    }

    /// One copy of a live message for some of the subscriptions that it matches.
    #[track_caller]
    pub(crate) fn publishes_for(&mut self, subscriptions: &[&Asked], topic: &str, qos: u8, payload: &str) {
        let ids = subscriptions.iter().filter_map(|asked| Some(asked.filter.as_ref()?.1)).collect();
        self.sends(topic, qos, payload, false, ids);
    }

    /// A retained message in answer to one SUBSCRIBE.
    #[track_caller]
    pub(crate) fn replays(&mut self, subscribe: &Asked, topic: &str, qos: u8, payload: &str) {
        let ids = subscribe.filter.iter().map(|(_, id)| *id).collect();
        self.sends(topic, qos, payload, true, ids);
    }

    /// The connection is up for the first time, or the broker has forgotten us.
    #[track_caller]
    pub(crate) fn comes_up(&mut self) {
        self.world.broker.granted.clear();
        self.up(false);
    }

    /// The connection is up again, and the broker has kept our session.
    #[track_caller]
    pub(crate) fn comes_back(&mut self) {
        self.up(true);
    }

    #[track_caller]
    pub(crate) fn goes_down(&mut self) {
        self.event(ConnId::OWN, BrokerEvent::Down { reason: "connection reset by peer".to_owned() });
    }

    #[track_caller]
    fn up(&mut self, session_present: bool) {
        let offer = self.world.broker.offer;
        self.event(ConnId::OWN, BrokerEvent::Up { session_present, offer });
    }

    #[track_caller]
    fn sends(&mut self, topic: &str, qos: u8, payload: &str, retain: bool, ids: Vec<SubscriptionId>) {
        let delivery = (qos > 0).then(|| {
            self.world.broker.last_delivery += 1;
            Delivery(self.world.broker.last_delivery)
        });
        let topic = TopicName::from_shared(ByteString::from(topic)).unwrap();
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let message = Message { topic, payload, qos: level(qos), retain };
        let subscriptions = if self.world.broker.offer.subscription_ids { ids } else { Vec::new() };
        self.event(ConnId::OWN, BrokerEvent::Message { delivery, message, subscriptions });
    }

    #[track_caller]
    fn answers(&mut self, asked: Asked, event: impl FnOnce(Token) -> BrokerEvent) {
        let token = asked.token.expect("only what has a token is answered");
        self.event(asked.conn, event(token));
    }

    #[track_caller]
    fn event(&mut self, conn: ConnId, event: BrokerEvent) {
        self.world.input(Input::Broker { conn, event });
    }
}

fn level(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        2 => Qos::ExactlyOnce,
        _ => panic!("no broker has QoS {qos}"),
    }
}

/// MQTT 4.7, written down once more so that the gateway's own matching is not its own judge.
fn matches(filter: &str, topic: &str) -> bool {
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
