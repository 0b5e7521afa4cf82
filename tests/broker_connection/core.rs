//! The core's part towards a connection, played by the test.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqttsn_gateway::broker::{Broker, BrokerSettings, ClientSettings, Connection, Protocol, SessionKeeper, Submitted};
use mqttsn_gateway::core::topics::{TopicFilter, TopicName};
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, ConnId, ConnectSpec, Delivery, Message, Origin,
    PublishOutcome, SubscribeOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::Qos;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::keeper::MemoryKeeper;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Core {
    pub(crate) connection: Connection,
    events: mpsc::Receiver<(ConnId, Vec<BrokerEvent>)>,
    /// Received, but not asked for yet.
    inbox: VecDeque<BrokerEvent>,
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) delivery: Option<Delivery>,
    pub(crate) origin: Option<Origin>,
    pub(crate) message: Message,
    pub(crate) subscriptions: Vec<SubscriptionId>,
}

pub(crate) fn settings(url: &str, protocol: Protocol) -> BrokerSettings {
    BrokerSettings { protocol, ..BrokerSettings::new(url.parse().unwrap(), "gateway") }
}

pub(crate) fn message(topic: &str, payload: impl Into<Bytes>, qos: Qos) -> Message {
    Message { topic: TopicName::parse(topic.as_bytes()).unwrap(), payload: payload.into(), qos, retain: false }
}

pub(crate) fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

impl Core {
    pub(crate) fn start(settings: BrokerSettings) -> Self {
        let (sender, events) = mpsc::channel(16);
        let broker = Broker::new(settings, ClientSettings::default()).unwrap();
        Self { connection: broker.connect(None, sender), events, inbox: VecDeque::new() }
    }

    /// Starts the gateway's own connection, with a keeper that outlives it.
    pub(crate) fn kept(settings: BrokerSettings, keeper: &Arc<MemoryKeeper>) -> Self {
        let (sender, events) = mpsc::channel(16);
        let broker = Broker::new(settings, ClientSettings::default()).unwrap();
        let keeper: Arc<dyn SessionKeeper> = keeper.clone();
        Self { connection: broker.connect(Some(keeper), sender), events, inbox: VecDeque::new() }
    }

    /// Starts a client's connection, with a keeper that outlives it.
    pub(crate) fn kept_client(settings: BrokerSettings, spec: ConnectSpec, keeper: &Arc<MemoryKeeper>) -> Self {
        let (sender, events) = mpsc::channel(16);
        let broker = Broker::new(settings, ClientSettings::default()).unwrap();
        let keeper: Arc<dyn SessionKeeper> = keeper.clone();
        let connection = broker.connect_client(ConnId(1), spec, Some(keeper), sender).unwrap();
        Self { connection, events, inbox: VecDeque::new() }
    }

    /// Starts a client's connection.
    pub(crate) fn client(settings: BrokerSettings, spec: ConnectSpec) -> Self {
        let (sender, events) = mpsc::channel(16);
        let broker = Broker::new(settings, ClientSettings::default()).unwrap();
        Self {
            connection: broker.connect_client(ConnId(1), spec, None, sender).unwrap(),
            events,
            inbox: VecDeque::new(),
        }
    }

    /// Starts a connection of an onlooker's and waits until it is up.
    pub(crate) async fn onlooker(url: &str) -> Self {
        let mut settings = settings(url, Protocol::V5);
        settings.client_id = "onlooker".to_owned();
        let mut core = Self::start(settings);
        core.up().await;
        core
    }

    pub(crate) fn submit(&mut self, command: BrokerCommand) {
        assert_eq!(self.connection.submit(command), Submitted::Queued);
    }

    pub(crate) fn publish(&mut self, token: u64, message: Message) {
        self.submit(BrokerCommand::Publish { token: Some(Token(token)), message, expires_in: None });
    }

    pub(crate) fn ack(&mut self, delivery: Option<Delivery>) {
        self.submit(BrokerCommand::Ack { delivery: delivery.unwrap() });
    }

    /// Subscribes and waits for the answer.
    pub(crate) async fn subscribe(&mut self, id: u32, text: &str, qos: Qos) -> SubscribeOutcome {
        let token = Token(1_000_000 + u64::from(id));
        self.submit(BrokerCommand::Subscribe { token, filter: filter(text), qos, id: SubscriptionId(id) });
        self.next_that(|event| match event {
            BrokerEvent::Subscribed { token: answered, outcome } if *answered == token => Some(*outcome),
            _ => None,
        })
        .await
    }

    pub(crate) async fn up(&mut self) -> (bool, BrokerOffer) {
        self.next_that(|event| match event {
            BrokerEvent::Up { session_present, offer } => Some((*session_present, *offer)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn down(&mut self) -> String {
        self.refused().await.0
    }

    /// Waits until the connection is down, and returns the broker's word beside the reason.
    pub(crate) async fn refused(&mut self) -> (String, Option<BrokerReason>) {
        self.next_that(|event| match event {
            BrokerEvent::Down { reason, refusal } => Some((reason.clone(), *refusal)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn published(&mut self) -> (u64, PublishOutcome) {
        self.next_that(|event| match event {
            BrokerEvent::Published { token, outcome } => Some((token.0, *outcome)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn message(&mut self) -> Received {
        self.next_that(|event| match event {
            BrokerEvent::Message { delivery, origin, message, subscriptions } => Some(Received {
                delivery: *delivery,
                origin: *origin,
                message: message.clone(),
                subscriptions: subscriptions.clone(),
            }),
            _ => None,
        })
        .await
    }

    /// Takes the first event that fits, and leaves the others for later.
    pub(crate) async fn next_that<T>(&mut self, fits: impl Fn(&BrokerEvent) -> Option<T>) -> T {
        let mut seen = 0;
        loop {
            for (index, event) in self.inbox.iter().enumerate().skip(seen) {
                if let Some(found) = fits(event) {
                    self.inbox.remove(index);
                    return found;
                }
            }
            seen = self.inbox.len();
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some((_, batch))) => self.inbox.extend(batch),
                Ok(None) => panic!("the connection has ended; left: {:?}", self.inbox),
                Err(_) => panic!("nothing fits; left: {:?}", self.inbox),
            }
        }
    }

    /// Ends the connection in order and returns the events that nobody asked for.
    pub(crate) async fn end(mut self) -> Vec<BrokerEvent> {
        self.submit(BrokerCommand::Disconnect);
        let all = async {
            while let Some((_, batch)) = self.events.recv().await {
                self.inbox.extend(batch);
            }
        };
        timeout(PATIENCE, all).await.expect("the connection ends");
        assert_eq!(self.inbox.pop_back(), Some(BrokerEvent::Closed));
        self.inbox.into()
    }
}
