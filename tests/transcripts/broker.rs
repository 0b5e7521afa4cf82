//! The scripted broker: the one place that knows how the gateway's commands and a broker's events look.
//!
//! A test says what the broker gets, in words, and what it answers. Connections are this file's business: clients' own
//! ones are accepted and closed without a word, unless the test takes them in its hands.

use bytes::Bytes;
use bytestring::ByteString;
use mqttsn_gateway::core::topics::TopicName;
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerReason, ConnId, Message, PacketId, PublishOutcome, SubscribeOutcome,
    SubscriptionId, Token,
};
use mqttsn_gateway::wire::Qos;

use crate::words;
use crate::world::World;

pub(crate) use memory::{BrokerMemory, origin};

mod memory;

/// What the broker does and gets.
pub(crate) struct Broker<'w> {
    world: &'w mut World,
}

/// A command that the broker has got and can answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    conn: ConnId,
    token: Option<Token>,
    filter: Option<(String, SubscriptionId)>,
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
            BrokerCommand::Publish { token, .. } => Asked { conn, token, filter: None },
            BrokerCommand::Subscribe { token, filter, id, .. } => {
                let filter = Some((filter.as_str().to_owned(), id));
                Asked { conn, token: Some(token), filter }
            }
            BrokerCommand::Unsubscribe { .. } | BrokerCommand::Ack { .. } | BrokerCommand::Disconnect => {
                Asked { conn, token: None, filter: None }
            }
        }
    }

    /// As [`Broker::gets`] in aggregating mode; in transparent mode there is nothing to get.
    #[track_caller]
    pub(crate) fn gets_if_shared(&mut self, wanted: &str) {
        if self.world.is_shared() {
            self.gets(wanted);
        }
    }

    /// As [`Broker::gets`] in transparent mode; in aggregating mode there is nothing to get.
    #[track_caller]
    pub(crate) fn gets_if_own(&mut self, wanted: &str) {
        if !self.world.is_shared() {
            self.gets(wanted);
        }
    }

    /// As [`Broker::gets`] with a store, if the connection is shared: what is stored is acknowledged. Otherwise there is
    /// nothing to get.
    #[track_caller]
    pub(crate) fn gets_if_kept(&mut self, wanted: &str) {
        if self.world.is_shared() && self.world.keeps() {
            self.gets(wanted);
        }
    }

    /// As [`Broker::gets`] where [`Broker::gets_if_kept`] gets nothing.
    #[track_caller]
    pub(crate) fn gets_unless_kept(&mut self, wanted: &str) {
        if !(self.world.is_shared() && self.world.keeps()) {
            self.gets(wanted);
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

    /// PUBCOMP on the connection that has gone on with a client's publish of before a restart.
    #[track_caller]
    pub(crate) fn accepts_for(&mut self, client_id: &str, publish: Asked) {
        let conn = self.world.broker.conn_of(client_id);
        self.accepts(Asked { conn, ..publish });
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
        let qos = level(qos);
        if let Some((filter, id)) = subscribe.filter.clone() {
            self.world.broker.grant(subscribe.conn, filter, id, qos);
        }
        let outcome = SubscribeOutcome::Granted(qos);
        self.answers(subscribe.clone(), |token| BrokerEvent::Subscribed { token, outcome });
    }

    /// The broker holds the filter, and nobody was there to hear its SUBACK.
    pub(crate) fn has_granted(&mut self, subscribe: &Asked, qos: u8) {
        let (filter, id) = subscribe.filter.clone().expect("a SUBSCRIBE");
        self.world.broker.grant(subscribe.conn, filter, id, level(qos));
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

    /// A live message, to every connection that has subscribed to it: one copy each, with the identifiers of all
    /// subscriptions that brought it.
    ///
    /// At QoS 1 and 2 the gateway acknowledges it with `ACK n`, where n counts these copies from 1.
    #[track_caller]
    pub(crate) fn publishes(&mut self, topic: &str, qos: u8, payload: &str) {
        self.world.broker.publish(&message(topic, qos, payload, false));
        self.world.broker_acts();
    }

    /// One copy of a live message for some of the subscriptions that it matches.
    #[track_caller]
    pub(crate) fn publishes_for(&mut self, subscriptions: &[&Asked], topic: &str, qos: u8, payload: &str) {
        let ids = subscriptions.iter().filter_map(|asked| Some(asked.filter.as_ref()?.1)).collect();
        let conn = subscriptions.first().map_or(ConnId::OWN, |asked| asked.conn);
        self.world.broker.send(conn, message(topic, qos, payload, false), ids);
        self.world.broker_acts();
    }

    /// One message over one connection, whatever is subscribed to there.
    #[track_caller]
    pub(crate) fn sends_on(&mut self, connection: &Asked, topic: &str, qos: u8, payload: &str) {
        self.world.broker.send(connection.conn, message(topic, qos, payload, false), Vec::new());
        self.world.broker_acts();
    }

    /// A QoS 2 message that the broker says it has sent before, under this packet id.
    #[track_caller]
    pub(crate) fn sends_again(&mut self, packet: u16, topic: &str, payload: &str) {
        self.world.broker.send_again(ConnId::OWN, PacketId(packet), message(topic, 2, payload, false));
        self.world.broker_acts();
    }

    /// A retained message in answer to one SUBSCRIBE.
    #[track_caller]
    pub(crate) fn replays(&mut self, subscribe: &Asked, topic: &str, qos: u8, payload: &str) {
        let ids = subscribe.filter.iter().map(|(_, id)| *id).collect();
        self.world.broker.send(subscribe.conn, message(topic, qos, payload, true), ids);
        self.world.broker_acts();
    }

    /// The broker is there for the first time, or has restarted and forgotten everything: every connection is up.
    #[track_caller]
    pub(crate) fn comes_up(&mut self) {
        self.world.broker.restart();
        self.world.broker.raise_all();
        self.world.broker_acts();
    }

    /// Every connection is up again, and the broker has kept the sessions that it should keep.
    #[track_caller]
    pub(crate) fn comes_back(&mut self) {
        self.world.broker.raise_all();
        self.world.broker_acts();
    }

    /// Every connection breaks.
    #[track_caller]
    pub(crate) fn goes_down(&mut self) {
        self.world.broker.drop_all();
        self.world.broker_acts();
    }

    /// From now on the test answers for the clients' own connections.
    pub(crate) fn is_taken_in_hand(&mut self) -> &mut Self {
        self.world.broker.take_in_hand();
        self
    }

    /// A client's own connection asks the broker for admission: `CONNECT c1 clean`.
    #[track_caller]
    pub(crate) fn gets_connect(&mut self, wanted: &str) -> Asked {
        let Some((conn, spec)) = self.world.next_connect() else {
            panic!("the broker does not get {wanted}\n{}", self.world.transcript());
        };
        assert_eq!(words::connect(&spec), wanted, "the broker gets another CONNECT");
        Asked { conn, token: None, filter: None }
    }

    /// CONNACK 0: the connection is up.
    #[track_caller]
    pub(crate) fn admits(&mut self, connect: &Asked) {
        self.world.broker.admit(connect.conn);
        self.world.broker_acts();
    }

    /// The broker says no, to the CONNECT or later by closing the connection with a reason.
    #[track_caller]
    pub(crate) fn refuses(&mut self, connect: &Asked, reason: u8) {
        self.world.broker.drop(connect.conn, Some(BrokerReason(reason)));
        self.world.broker_acts();
    }

    /// The connection cannot be made, or breaks.
    #[track_caller]
    pub(crate) fn fails(&mut self, connect: &Asked) {
        self.world.broker.drop(connect.conn, None);
        self.world.broker_acts();
    }

    /// The connection has ended, as it was asked to.
    #[track_caller]
    pub(crate) fn closes(&mut self, disconnect: Asked) {
        self.world.broker.close(disconnect.conn);
        self.world.broker_acts();
    }

    /// The connection that carries this client, by the broker's own books.
    #[track_caller]
    pub(crate) fn connection_of(&self, client_id: &str) -> Asked {
        Asked { conn: self.world.broker.conn_of(client_id), token: None, filter: None }
    }

    #[track_caller]
    fn answers(&mut self, asked: Asked, event: impl FnOnce(Token) -> BrokerEvent) {
        let token = asked.token.expect("only what has a token is answered");
        self.world.broker.answer(asked.conn, event(token));
        self.world.broker_acts();
    }
}

impl Asked {
    pub(crate) fn token(&self) -> Option<Token> {
        self.token
    }

    /// Whether both went over the same connection.
    pub(crate) fn is_on_the_connection_of(&self, other: &Self) -> bool {
        self.conn == other.conn
    }

    /// Whether it went over the gateway's own connection.
    pub(crate) fn is_on_the_gateway_s_own(&self) -> bool {
        self.conn == ConnId::OWN
    }
}

fn message(topic: &str, qos: u8, payload: &str, retain: bool) -> Message {
    let topic = TopicName::from_shared(ByteString::from(topic)).unwrap();
    Message { topic, payload: Bytes::copy_from_slice(payload.as_bytes()), qos: level(qos), retain }
}

fn level(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        2 => Qos::ExactlyOnce,
        _ => panic!("no broker has QoS {qos}"),
    }
}
