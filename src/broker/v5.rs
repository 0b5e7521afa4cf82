//! MQTT 5.

use std::time::Duration;

use rumqttc_v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, DisconnectProperties, DisconnectReasonCode, Packet, PubAck, PubRec, PublishProperties,
    SubAck, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc_v5::mqttbytes::{self, QoS};
use rumqttc_v5::{
    AckMode, AsyncClient, Broker, ConnectionError, Event, EventLoop, LastWill, ManualAck, MqttOptions, NetworkOptions,
    Outgoing, PersistedAckMode, PersistedIncomingQos2, PersistedPubRel, PersistedPublish, PersistedQoS,
    PersistedRequest, PersistedSession, PublishNotice, PublishNoticeError, PublishOptions, PublishResult, SessionStore,
    SessionStoreError, SessionStoreKey, StateError, SubscribeNotice, UnsubscribeNotice,
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

/// How long the broker keeps the session of a gateway that forgets it with the process. One that is away longer begins
/// anew.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);

/// Octets of the largest packet that the broker may send: far more than MQTT-SN can carry, little enough to hold.
const LARGEST_INCOMING: u32 = 1 << 20;

pub(super) fn open(opening: &Opening<'_>) -> (impl Client + use<>, impl Source + use<>) {
    let (client, mut eventloop) = AsyncClient::builder(options(opening)).capacity(client::HANDED_OVER_AT_MOST).build();
    // 50 KB for events to come: much for one of many connections. It grows when it must.
    eventloop.state.events.shrink_to(client::QUIET_EVENTS);
    let expiry_at_end = match (opening.purpose, opening.ledger) {
        // The next process could not use the session.
        (Purpose::Gateway, None) | (Purpose::Probe, _) => Some(0),
        // As CONNECT had it.
        (Purpose::Gateway, Some(_)) | (Purpose::Client(_), _) => None,
    };
    let first = Stage::first(opening);
    let source = V5Source {
        eventloop: Box::new(eventloop),
        in_flight: opening.settings.in_flight,
        ledger: opening.ledger.cloned(),
        first,
        stage: first,
    };
    (V5Client { client, expiry_at_end }, source)
}

struct V5Client {
    client: AsyncClient,
    /// Seconds for which the broker shall keep the session after DISCONNECT, if they are others than in CONNECT.
    expiry_at_end: Option<u32>,
}

struct V5Source {
    eventloop: Box<EventLoop>,
    in_flight: u16,
    ledger: Option<Ledger>,
    /// Where to begin when the library has forgotten the session.
    first: Stage,
    stage: Stage,
}

fn options(opening: &Opening<'_>) -> MqttOptions {
    let Opening { settings, purpose, ledger, .. } = *opening;
    let url = &settings.url;
    let mut options = MqttOptions::new(settings.client_id.clone(), Broker::tcp(url.host.clone(), url.port));
    let dialer = Dialer::new(opening, Version::V5);
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
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_network_options(network)
        .set_keep_alive(settings.keep_alive_seconds())
        .set_connect_timeout(client::CONNECT_TIMEOUT)
        .set_receive_maximum(Some(settings.in_flight))
        .set_max_packet_size(Some(LARGEST_INCOMING))
        .set_outgoing_inflight_upper_limit(resume::packets(ledger, settings.in_flight))
        .set_max_request_batch(purpose.batch())
        .set_ack_mode(AckMode::Manual);
    let expiry = match (purpose, ledger) {
        (Purpose::Gateway, None) => Some(client::whole_seconds(SESSION_EXPIRY)),
        (Purpose::Gateway, Some(_)) => Some(client::whole_seconds(settings.session_expiry)),
        (Purpose::Client(ClientSession { lifetime: Lifetime::Kept { seconds }, .. }), _) => Some(*seconds),
        (Purpose::Client(ClientSession { lifetime: Lifetime::Connection, .. }) | Purpose::Probe, _) => None,
    };
    options.set_session_expiry_interval(expiry).set_clean_start(expiry.is_none());
    if let Purpose::Client(ClientSession { will: Some(Message { topic, payload, qos: level, retain }), .. }) = purpose {
        options.set_last_will(LastWill::new(topic.as_str(), payload.to_vec(), qos(*level), *retain, None));
    }
    options
}

impl Client for V5Client {
    fn publish(&self, slot: usize, message: &Message, expires_in: Option<Duration>) -> Answering {
        let mut options = PublishOptions::new(qos(message.qos)).retain(message.retain);
        if let Some(expires_in) = expires_in {
            let message_expiry_interval = Some(client::whole_seconds(expires_in).max(1));
            options = options.properties(PublishProperties { message_expiry_interval, ..PublishProperties::default() });
        }
        let notice = self.client.try_publish_tracked(message.topic.as_str(), message.payload.clone(), options);
        Box::pin(async move { Answer::Publish(slot, published(notice.ok()).await) })
    }

    fn subscribe(&self, slot: usize, filter: &TopicFilter, level: Qos, id: Option<SubscriptionId>) -> Answering {
        let properties =
            SubscribeProperties { id: id.and_then(|id| usize::try_from(id.0).ok()), user_properties: Vec::new() };
        let notice = self.client.try_subscribe_with_properties_tracked(filter.as_str(), qos(level), properties);
        Box::pin(async move { Answer::Subscribe(slot, subscribed(notice.ok()).await) })
    }

    fn unsubscribe(&self, slot: usize, filter: &TopicFilter) -> Answering {
        let notice = self.client.try_unsubscribe_tracked(filter.as_str());
        Box::pin(async move { Answer::Unsubscribe(slot, unsubscribed(notice.ok()).await) })
    }

    fn acknowledge(&self, level: Qos, packet: u16) {
        let ack = match level {
            Qos::AtMostOnce => return,
            Qos::AtLeastOnce => ManualAck::PubAck(PubAck::new(packet, None)),
            Qos::ExactlyOnce => ManualAck::PubRec(PubRec::new(packet, None)),
        };
        // Fails only when the event loop has ended, and then there is nobody to tell.
        let _ended = self.client.try_manual_ack(ack);
    }

    fn disconnect(&self) {
        let properties = DisconnectProperties {
            session_expiry_interval: self.expiry_at_end,
            reason_string: None,
            user_properties: Vec::new(),
            server_reference: None,
        };
        let _ended = self.client.try_disconnect_with_properties_timeout(
            DisconnectReasonCode::NormalDisconnection,
            properties,
            client::DISCONNECT_TIMEOUT,
        );
    }
}

/// Waits for a publish. Without a notice the library did not take it: its topic is no topic for the library.
async fn published(notice: Option<PublishNotice>) -> PublishOutcome {
    let Some(notice) = notice else { return PublishOutcome::Refused(BrokerReason(0x90)) };
    let code = match notice.wait_async().await {
        Ok(PublishResult::Qos0Flushed) => 0,
        Ok(PublishResult::Qos1(puback)) => puback.reason as u8,
        Ok(PublishResult::Qos2PubRecRejected(pubrec)) => pubrec.reason as u8,
        // Its one failure, "packet identifier not found", answers a repeated PUBREL: the exchange was complete.
        Ok(PublishResult::Qos2Completed(_)) => 0,
        Err(PublishNoticeError::RetainNotSupported) => 0x9A,
        Err(_) => return PublishOutcome::Lost,
    };
    if code < 0x80 { PublishOutcome::Accepted } else { PublishOutcome::Refused(BrokerReason(code)) }
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
        Ok(SubAck { return_codes, .. }) => return_codes.first().map_or(SubscribeOutcome::Lost, granted),
        Err(_) => SubscribeOutcome::Lost,
    }
}

/// MQTT 5 §3.9.3.
fn granted(code: &SubscribeReasonCode) -> SubscribeOutcome {
    SubscribeOutcome::Refused(BrokerReason(match code {
        SubscribeReasonCode::Success(level) => return SubscribeOutcome::Granted(level_of(*level)),
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
    }))
}

impl Source for V5Source {
    async fn next(&mut self) -> Option<Signal> {
        match self.stage {
            Stage::ToWipe => {
                // Once in the life of the gateway: no client's connection is to have room for it.
                if let Err(error) = Box::pin(wipe(self.eventloop.options.clone())).await {
                    return Some(Signal::Failed(failure(error)));
                }
                self.stage = Stage::Wiped;
            }
            Stage::ToTakeUp => {
                self.eventloop.options.set_session_store(TakenUp::of(self.ledger.as_ref(), self.in_flight));
            }
            Stage::Wiped | Stage::Established => {}
        }
        match self.eventloop.poll().await {
            Ok(Event::Incoming(packet)) => self.incoming(packet),
            Ok(Event::Outgoing(Outgoing::PubRec(packet))) => Some(Signal::Settled { packet }),
            Ok(Event::Outgoing(_) | Event::Auth(_)) => None,
            Err(ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout) => Some(Signal::Closed),
            Err(error) => {
                if matches!(error, ConnectionError::SessionStateMismatch { .. }) {
                    // Somebody with our client id was there in between. Nothing in that session is ours.
                    self.stage = self.first;
                }
                Some(Signal::Failed(failure(error)))
            }
        }
    }
}

impl SessionStore for TakenUp {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Done<'a, Option<PersistedSession>, SessionStoreError> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(self.packets()),
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
                        properties: None,
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

/// Connects and disconnects with the clean start flag, so that the broker forgets the session of a former process.
///
/// The flag could stand in the lasting connection too, but then Mosquitto does not keep the session over a restart.
async fn wipe(mut options: MqttOptions) -> Result<(), ConnectionError> {
    options.set_clean_start(true).set_session_expiry_interval(None);
    let (client, mut eventloop) = AsyncClient::builder(options).capacity(1).build();
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

impl V5Source {
    fn incoming(&mut self, packet: Packet) -> Option<Signal> {
        match packet {
            Packet::ConnAck(connack) => {
                self.stage = Stage::Established;
                // From now on the library knows the session itself.
                self.eventloop.options.clear_session_store();
                Some(self.up(&connack))
            }
            Packet::Publish(publish) => {
                let (packet, level) = (publish.pkid, level_of(publish.qos));
                let ids = publish.properties.map(|properties| properties.subscription_identifiers).unwrap_or_default();
                let subscriptions = ids.into_iter().filter_map(|id| u32::try_from(id).ok().map(SubscriptionId));
                match client::incoming(publish.topic, publish.payload, level, publish.retain) {
                    Ok(message) => Some(Signal::Message(Incoming {
                        packet,
                        duplicate: publish.dup,
                        message,
                        subscriptions: subscriptions.collect(),
                    })),
                    Err(error) => {
                        warn!("the broker sent a message whose topic cannot be used: {error}");
                        Some(Signal::Unusable { packet, qos: level })
                    }
                }
            }
            Packet::PubRel(pubrel) => Some(Signal::Settled { packet: pubrel.pkid }),
            Packet::Auth(_)
            | Packet::Connect(..)
            | Packet::Disconnect(_)
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

    /// MQTT 5 §3.2.2.3: what is not said is allowed.
    fn up(&self, connack: &ConnAck) -> Signal {
        let properties = connack.properties.as_ref();
        let allowed = |flag: Option<u8>| flag.is_none_or(|flag| flag == 1);
        let offer = BrokerOffer {
            max_qos: match properties.and_then(|properties| properties.max_qos) {
                Some(0) => Qos::AtMostOnce,
                Some(1) => Qos::AtLeastOnce,
                Some(_) | None => Qos::ExactlyOnce,
            },
            retain: allowed(properties.and_then(|properties| properties.retain_available)),
            subscription_ids: allowed(properties.and_then(|properties| properties.subscription_identifiers_available)),
            max_packet: properties.and_then(|properties| properties.max_packet_size),
        };
        let most = properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX).min(self.in_flight);
        let window = Window { acknowledged: most, exactly_once: most };
        Signal::Up { session_present: connack.session_present, offer, window }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's own words do for what no broker should cause")]
fn failure(error: ConnectionError) -> Failure {
    match error {
        ConnectionError::Io(error) => Failure::of_io(error),
        ConnectionError::Timeout(_) => Failure::TimedOut,
        ConnectionError::ConnectionRefused(code) => Failure::Refused(refusal(code)),
        ConnectionError::MqttState(error) => match error {
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => Failure::of_io(error),
            StateError::OutgoingPacketTooLarge { .. }
            | StateError::Deserialization(mqttbytes::Error::OutgoingPacketTooLarge { .. }) => Failure::TooLarge,
            StateError::ConnectionAborted => Failure::Closed,
            StateError::AwaitPingResp => Failure::Silent,
            StateError::ServerDisconnect { reason_code, reason_string } => {
                Failure::Disconnected { reason: BrokerReason(reason_code as u8), text: reason_string }
            }
            other => Failure::Garbage(other.to_string()),
        },
        other => Failure::Garbage(other.to_string()),
    }
}

/// MQTT 5 §3.2.2.2.
fn refusal(code: ConnectReturnCode) -> BrokerReason {
    BrokerReason(match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::UnspecifiedError => 0x80,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => 0x84,
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::ServerUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
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
