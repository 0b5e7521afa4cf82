//! MQTT 3.1.1, whose protocol level is 4.
//!
//! The broker keeps a session that lasts until the gateway or the client is back: 3.1.1 has no expiry.

use std::time::Duration;

use rumqttc_v4::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck, PubRec, SubAck, SubscribeReasonCode};
use rumqttc_v4::mqttbytes::{self, QoS};
use rumqttc_v4::{
    AckMode, AsyncClient, Broker, ConnectionError, Event, EventLoop, LastWill, ManualAck, MqttOptions, NetworkOptions,
    Outgoing, PersistedAckMode, PersistedIncomingQos2, PersistedPubRel, PersistedPublish, PersistedQoS,
    PersistedRequest, PersistedSession, PublishNotice, PublishOptions, SessionStore, SessionStoreError,
    SessionStoreKey, StateError, SubscribeNotice, UnsubscribeNotice,
};
use secrecy::ExposeSecret as _;
use tracing::warn;

use super::client::{
    self, Answer, Answering, Client, ClientSession, Incoming, Lifetime, Opening, Purpose, Signal, Source, Stage,
    Unsubscribed, Version, Window,
};
use super::dial::Dialer;
use super::failure::Failure;
use super::ledger::Ledger;
use super::resume::{self, Done, TakenUp};
use crate::core::topics::TopicFilter;
use crate::core::{BrokerOffer, BrokerReason, Message, PublishOutcome, SubscribeOutcome, SubscriptionId};
use crate::wire::Qos;

/// Octets of the largest packet of MQTT. A smaller limit would end the connection each time the broker sends more,
/// and the broker would send it again: 3.1.1 cannot tell the broker what is too much.
const LARGEST_PACKET: usize = 268_435_460;

/// QoS 2 publishes that may be under way. Mosquitto takes 20 unless told otherwise (its `max_inflight_messages`) and in
/// 3.1.1 cannot say so; with more, version 2.0.11 acknowledges messages that it loses, or ends the connection each time
/// they are repeated. Half of it leaves room for the QoS 1 messages in between, which count too.
const QOS2_WINDOW: u16 = 10;

/// What 3.1.1 offers without saying so.
const OFFER: BrokerOffer =
    BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: false, max_packet: None };

pub(super) fn open(opening: &Opening<'_>) -> (impl Client + use<>, impl Source + use<>) {
    let (client, mut eventloop) = AsyncClient::builder(options(opening)).capacity(client::HANDED_OVER_AT_MOST).build();
    eventloop.network_options = network_options();
    // 30 KB for events to come: much for one of many connections. It grows when it must.
    eventloop.state.events.shrink_to(client::QUIET_EVENTS);
    let source = V4Source {
        eventloop: Box::new(eventloop),
        in_flight: opening.settings.in_flight,
        ledger: opening.ledger.cloned(),
        stage: Stage::first(opening),
    };
    (V4Client(client), source)
}

struct V4Client(AsyncClient);

struct V4Source {
    eventloop: Box<EventLoop>,
    in_flight: u16,
    ledger: Option<Ledger>,
    stage: Stage,
}

fn options(opening: &Opening<'_>) -> MqttOptions {
    let Opening { settings, purpose, ledger, .. } = *opening;
    let url = &settings.url;
    let mut options = MqttOptions::new(settings.client_id.clone(), Broker::tcp(url.host.clone(), url.port));
    let dialer = Dialer::new(opening, Version::V311);
    options.set_socket_connector(move |_, network| dialer.clone().dial(network));
    match (settings.username(), settings.password()) {
        (Some(name), Some(word)) => {
            options.set_credentials(name, word.expose_secret().to_owned());
        }
        (Some(name), None) => {
            options.set_username(name);
        }
        (None, _) => {}
    }
    options
        .set_keep_alive(settings.keep_alive_seconds())
        .set_clean_session(match purpose {
            Purpose::Gateway | Purpose::Client(ClientSession { lifetime: Lifetime::Kept { .. }, .. }) => false,
            Purpose::Client(ClientSession { lifetime: Lifetime::Connection, .. }) | Purpose::Probe => true,
        })
        .set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET)
        .set_inflight(resume::packets(ledger, settings.in_flight))
        .set_max_request_batch(purpose.batch())
        .set_ack_mode(AckMode::Manual);
    if let Purpose::Client(ClientSession { will: Some(Message { topic, payload, qos: level, retain }), .. }) = purpose {
        options.set_last_will(LastWill::new(topic.as_str(), payload.to_vec(), qos(*level), *retain));
    }
    options
}

fn network_options() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(client::CONNECT_TIMEOUT.as_secs());
    network
}

impl Client for V4Client {
    fn publish(&self, slot: usize, message: &Message, _: Option<Duration>) -> Answering {
        let options = PublishOptions::new(qos(message.qos)).retain(message.retain);
        let notice = self.0.try_publish_tracked(message.topic.as_str(), message.payload.clone(), options);
        Box::pin(async move { Answer::Publish(slot, published(notice.ok()).await) })
    }

    fn subscribe(&self, slot: usize, filter: &TopicFilter, level: Qos, _: Option<SubscriptionId>) -> Answering {
        let notice = self.0.try_subscribe_tracked(filter.as_str(), qos(level));
        Box::pin(async move { Answer::Subscribe(slot, subscribed(notice.ok()).await) })
    }

    fn unsubscribe(&self, slot: usize, filter: &TopicFilter) -> Answering {
        let notice = self.0.try_unsubscribe_tracked(filter.as_str());
        Box::pin(async move { Answer::Unsubscribe(slot, unsubscribed(notice.ok()).await) })
    }

    fn acknowledge(&self, level: Qos, packet: u16) {
        let ack = match level {
            Qos::AtMostOnce => return,
            Qos::AtLeastOnce => ManualAck::PubAck(PubAck::new(packet)),
            Qos::ExactlyOnce => ManualAck::PubRec(PubRec::new(packet)),
        };
        // Fails only when the event loop has ended, and then there is nobody to tell.
        let _ended = self.0.try_manual_ack(ack);
    }

    fn disconnect(&self) {
        let _ended = self.0.try_disconnect_with_timeout(client::DISCONNECT_TIMEOUT);
    }
}

/// Waits for a publish. Without a notice the library did not take it: its topic is no topic for the library.
async fn published(notice: Option<PublishNotice>) -> PublishOutcome {
    let Some(notice) = notice else { return PublishOutcome::Refused(BrokerReason(0x90)) };
    match notice.wait_async().await {
        Ok(_) => PublishOutcome::Accepted,
        Err(_) => PublishOutcome::Lost,
    }
}

/// Waits for an unsubscribe. What the library did not take is no filter, and needs no repeating.
async fn unsubscribed(notice: Option<UnsubscribeNotice>) -> Unsubscribed {
    let Some(notice) = notice else { return Unsubscribed::Answered };
    match notice.wait_async().await {
        Ok(_) => Unsubscribed::Answered,
        Err(_) => Unsubscribed::Lost,
    }
}

async fn subscribed(notice: Option<SubscribeNotice>) -> SubscribeOutcome {
    let Some(notice) = notice else { return SubscribeOutcome::Refused(BrokerReason(0x8F)) };
    match notice.wait_async().await {
        Ok(SubAck { return_codes, .. }) => match return_codes.first() {
            Some(SubscribeReasonCode::Success(level)) => SubscribeOutcome::Granted(level_of(*level)),
            Some(SubscribeReasonCode::Failure) => SubscribeOutcome::Refused(BrokerReason(0x80)),
            None => SubscribeOutcome::Lost,
        },
        Err(_) => SubscribeOutcome::Lost,
    }
}

impl Source for V4Source {
    async fn next(&mut self) -> Option<Signal> {
        match self.stage {
            Stage::ToWipe => {
                // Once in the life of the gateway: no client's connection is to have room for it.
                if let Err(error) = Box::pin(wipe(self.eventloop.mqtt_options.clone())).await {
                    return Some(Signal::Failed(failure(error)));
                }
                self.stage = Stage::Wiped;
            }
            Stage::ToTakeUp => {
                self.eventloop.mqtt_options.set_session_store(TakenUp::of(self.ledger.as_ref(), self.in_flight));
            }
            Stage::Wiped | Stage::Established => {}
        }
        match self.eventloop.poll().await {
            Ok(Event::Incoming(packet)) => self.incoming(packet),
            Ok(Event::Outgoing(Outgoing::PubRec(packet))) => Some(Signal::Settled { packet }),
            Ok(Event::Outgoing(_)) => None,
            Err(ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout) => Some(Signal::Closed),
            Err(error) => Some(Signal::Failed(failure(error))),
        }
    }
}

impl SessionStore for TakenUp {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Done<'a, Option<PersistedSession>, SessionStoreError> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_session: false,
            max_inflight: self.packets(),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: self.last_packet(),
            last_puback: self.last_answered(),
            replay: self.replay(
                |pkid, message| {
                    PersistedRequest::Publish(PersistedPublish {
                        dup: true,
                        qos: PersistedQoS::ExactlyOnce,
                        retain: message.retain,
                        topic: message.topic.as_str().as_bytes().to_vec(),
                        pkid,
                        payload: message.payload.to_vec(),
                    })
                },
                |pkid| PersistedRequest::PubRel(PersistedPubRel { pkid }),
            ),
            incoming_qos2: self.incoming().iter().map(|pkid| PersistedIncomingQos2 { pkid: *pkid }).collect(),
        };
        Box::pin(async { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Done<'a, (), SessionStoreError> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Done<'a, (), SessionStoreError> {
        Box::pin(async { Ok(()) })
    }
}

/// Connects and disconnects with the clean flag, so that the broker forgets the session of a former process.
///
/// In 3.1.1 the flag also means that no session is kept, so it cannot stand in the lasting connection.
async fn wipe(mut options: MqttOptions) -> Result<(), ConnectionError> {
    options.set_clean_session(true);
    let (client, mut eventloop) = AsyncClient::builder(options).capacity(1).build();
    eventloop.network_options = network_options();
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let _ended = client.try_disconnect_with_timeout(client::DISCONNECT_TIMEOUT);
            }
            Ok(_) => {}
            Err(ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl V4Source {
    fn incoming(&mut self, packet: Packet) -> Option<Signal> {
        match packet {
            Packet::ConnAck(connack) => Some(self.up(&connack)),
            Packet::Publish(publish) => {
                let (packet, level) = (publish.pkid, level_of(publish.qos));
                match client::incoming(publish.topic, publish.payload, level, publish.retain) {
                    Ok(message) => Some(Signal::Message(Incoming {
                        packet,
                        duplicate: publish.dup,
                        message,
                        subscriptions: Vec::new(),
                    })),
                    Err(error) => {
                        warn!("the broker sent a message whose topic cannot be used: {error}");
                        Some(Signal::Unusable { packet, qos: level })
                    }
                }
            }
            Packet::PubRel(pubrel) => Some(Signal::Settled { packet: pubrel.pkid }),
            Packet::Connect(_)
            | Packet::Disconnect
            | Packet::PingReq
            | Packet::PingResp
            | Packet::PubAck(_)
            | Packet::PubComp(_)
            | Packet::PubRec(_)
            | Packet::SubAck(_)
            | Packet::Subscribe(_)
            | Packet::UnsubAck(_)
            | Packet::Unsubscribe(_) => None,
        }
    }

    fn up(&mut self, connack: &ConnAck) -> Signal {
        if connack.session_present && self.stage == Stage::Wiped {
            // Somebody with our client id was there in between. Nothing in that session is ours.
            self.stage = Stage::ToWipe;
            self.eventloop.clean();
            return Signal::Failed(Failure::Garbage("it resumes a session that it was asked to forget".to_owned()));
        }
        self.stage = Stage::Established;
        // From now on the library knows the session itself.
        self.eventloop.mqtt_options.clear_session_store();
        // With a new session the library has made everything new.
        self.eventloop.state.events.shrink_to(client::QUIET_EVENTS);
        let window = Window { acknowledged: self.in_flight, exactly_once: self.in_flight.min(QOS2_WINDOW) };
        Signal::Up { session_present: connack.session_present, offer: OFFER, window }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's own words do for what no broker should cause")]
fn failure(error: ConnectionError) -> Failure {
    match error {
        ConnectionError::Io(error) => Failure::of_io(error),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Failure::TimedOut,
        ConnectionError::ConnectionRefused(code) => Failure::Refused(refusal(code)),
        ConnectionError::MqttState(error) => match error {
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => Failure::of_io(error),
            StateError::ConnectionAborted => Failure::Closed,
            StateError::AwaitPingResp => Failure::Silent,
            other => Failure::Garbage(other.to_string()),
        },
        other => Failure::Garbage(other.to_string()),
    }
}

/// MQTT 3.1.1 §3.2.2.3, in the codes of MQTT 5.
fn refusal(code: ConnectReturnCode) -> BrokerReason {
    BrokerReason(match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
    })
}

fn qos(level: Qos) -> QoS {
    match level {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn level_of(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}
