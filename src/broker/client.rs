//! The interface between the connection's driver and one MQTT version: what every version's file must offer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use bytestring::ByteString;
use rustls::ClientConfig;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::settings::{BrokerSettings, Protocol};
use super::{v4, v5};
use crate::core::topics::{TopicError, TopicFilter, TopicName};
use crate::core::{BrokerOffer, Message, PublishOutcome, SubscribeOutcome, SubscriptionId};
use crate::wire::Qos;

/// Signals that may wait for the driver. Enough for one batch of the library's reads.
const SIGNALS: usize = 256;

/// From the first step of an attempt to the broker's CONNACK.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the way of DISCONNECT to the broker, with nothing before it.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Octets up to which a message is copied out of the read buffer: see [`incoming`].
const DETACH_UP_TO: usize = 4_096;

/// A version of MQTT that the broker was found to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V5,
    V311,
}

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To stay: a session that survives the loss of the connection, but not this process.
    Session,
    /// To see whether it works.
    Probe,
}

/// How far the session is.
///
/// The gateway remembers nothing of a former process, so the first attempt connects twice: once to make the broker
/// forget, and then for a session that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The broker may have a session of a former process.
    ToWipe,
    /// The broker has forgotten; ours is about to begin.
    Wiped,
    /// A session found at the broker is ours.
    Established,
}

/// The sending half of a connection. No call blocks; what is sent while the link is down waits in the library.
pub(super) trait Client: Send {
    fn publish(&self, slot: usize, message: &Message) -> Answering;
    fn subscribe(&self, slot: usize, filter: &TopicFilter, qos: Qos, id: Option<SubscriptionId>) -> Answering;
    fn unsubscribe(&self, slot: usize, filter: &TopicFilter) -> Answering;
    /// Sends PUBACK or PUBREC. Only for a packet that arrived on the present connection and was not acknowledged yet.
    fn acknowledge(&self, qos: Qos, packet: u16);
    /// Sends DISCONNECT. Everything else must have been answered before.
    fn disconnect(&self);
}

/// Resolves when the library knows what became of a request.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What became of the request in a slot.
#[derive(Debug)]
pub(super) enum Answer {
    /// `Lost`: the session is gone, and the library with it has forgotten the message.
    Publish(usize, PublishOutcome),
    Subscribe(usize, SubscribeOutcome),
    Unsubscribe(usize),
}

/// How many publishes may wait for the broker's answer at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// At QoS 1 and 2 together.
    pub(super) acknowledged: u16,
    /// At QoS 2.
    pub(super) exactly_once: u16,
}

/// What a version's event loop tells the driver.
#[derive(Debug)]
pub(super) enum Signal {
    Up {
        session_present: bool,
        offer: BrokerOffer,
        window: Window,
    },
    Failed(Failure),
    Message(Incoming),
    /// A message that cannot be used; its exchange must end all the same.
    Unusable {
        packet: u16,
        qos: Qos,
    },
    /// PUBREC has gone out or PUBREL has come in for an incoming QoS 2 message.
    Settled {
        packet: u16,
    },
    /// DISCONNECT has been sent and the event loop has ended.
    Closed,
}

/// A message as it came in.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Meaningless at QoS 0.
    pub(super) packet: u16,
    pub(super) duplicate: bool,
    pub(super) message: Message,
    pub(super) subscriptions: Vec<SubscriptionId>,
}

/// The receiving half of a connection: a version's event loop.
pub(super) trait Source: Send {
    /// Runs the event loop until something happens; `None` if it is of no interest here.
    fn next(&mut self) -> impl Future<Output = Option<Signal>> + Send;
    /// Gives the session up. Everything under way is answered with `Lost`.
    fn forget(&mut self);
}

/// How to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Resume the session if there is one.
    Resume,
    /// Give the session up, here and at the broker.
    Afresh,
}

/// A connection in one MQTT version, made but not yet running: `pump` must be polled.
pub(super) struct Wire {
    pub(super) client: Box<dyn Client>,
    pub(super) pump: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) signals: mpsc::Receiver<Signal>,
    /// Starts the first attempt, and after [`Signal::Failed`] another one.
    pub(super) attempts: mpsc::Sender<Attempt>,
}

impl Stage {
    pub(super) fn first(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Session => Self::ToWipe,
            Purpose::Probe => Self::Established,
        }
    }
}

impl Version {
    /// Returns the version to try first.
    pub(super) fn first(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto | Protocol::V5 => Self::V5,
            Protocol::V311 => Self::V311,
        }
    }

    pub(super) fn open(self, settings: &BrokerSettings, tls: Option<Arc<ClientConfig>>, purpose: Purpose) -> Wire {
        match self {
            Self::V5 => {
                let (client, source) = v5::open(settings, tls, purpose);
                Wire::new(client, source)
            }
            Self::V311 => {
                let (client, source) = v4::open(settings, tls, purpose);
                Wire::new(client, source)
            }
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V5 => "MQTT 5",
            Self::V311 => "MQTT 3.1.1",
        })
    }
}

impl Wire {
    fn new(client: impl Client + 'static, source: impl Source + 'static) -> Self {
        let (sender, signals) = mpsc::channel(SIGNALS);
        let (attempts, attempted) = mpsc::channel(1);
        Self { client: Box::new(client), pump: Box::pin(pump(source, sender, attempted)), signals, attempts }
    }
}

/// Runs the event loop. Room for the signal is taken before the loop runs, so that a full channel stops the reading
/// from the broker and a signal is in the channel in the same instant in which the event loop's state changed.
async fn pump(mut source: impl Source, signals: mpsc::Sender<Signal>, mut attempts: mpsc::Receiver<Attempt>) {
    while let Some(attempt) = attempts.recv().await {
        match attempt {
            Attempt::Resume => {}
            Attempt::Afresh => source.forget(),
        }
        while let Ok(room) = signals.reserve().await {
            let Some(signal) = source.next().await else { continue };
            let (failed, closed) = (matches!(signal, Signal::Failed(_)), matches!(signal, Signal::Closed));
            room.send(signal);
            if closed {
                return;
            }
            if failed {
                break;
            }
        }
    }
}

/// Makes a message of topic and payload as they stand in the read buffer.
///
/// A small message is copied out: it may wait long for a sleeping device, and a slice would keep the whole buffer,
/// thousands of octets, alive for it.
pub(super) fn incoming(topic: Bytes, payload: Bytes, qos: Qos, retain: bool) -> Result<Message, TopicError> {
    let (topic, payload) = if topic.len() + payload.len() <= DETACH_UP_TO {
        let mut both = BytesMut::with_capacity(topic.len() + payload.len());
        both.put_slice(&topic);
        both.put_slice(&payload);
        let mut both = both.freeze();
        (both.split_to(topic.len()), both)
    } else {
        (topic, payload)
    };
    let topic = ByteString::try_from(topic).map_err(|_| TopicError::NotUtf8)?;
    Ok(Message { topic: TopicName::from_shared(topic)?, payload, qos, retain })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_message_does_not_hold_on_to_the_read_buffer() {
        let buffer = Bytes::from(vec![b'a'; 8_192]);
        let message = incoming(buffer.slice(..3), buffer.slice(3..10), Qos::AtMostOnce, false).unwrap();
        assert_eq!((message.topic.as_str(), message.payload.len()), ("aaa", 7));
        assert!(buffer.is_unique());
    }

    #[test]
    fn a_topic_that_no_broker_may_send_is_refused() {
        let topic = Bytes::from_static(&[0xFF]);
        assert_eq!(incoming(topic, Bytes::new(), Qos::AtMostOnce, false), Err(TopicError::NotUtf8));
    }
}
