//! The interface between the connection's driver and one MQTT version: what every version's file must offer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use bytestring::ByteString;
use futures_util::stream::{self, Stream};
use rustls::ClientConfig;

use super::failure::Failure;
use super::ledger::Ledger;
use super::settings::BrokerSettings;
use super::{outbound, requests, v4, v5};
use crate::core::topics::{TopicError, TopicFilter, TopicName};
use crate::core::{BrokerOffer, Message, PublishOutcome, SubscribeOutcome, SubscriptionId};
use crate::wire::Qos;

/// From the first step of an attempt to the broker's CONNACK.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the way of DISCONNECT to the broker, with nothing before it.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Places in the library's queue of events on a connection where nothing happens. It grows when it must, and is made
/// for 128 events: 50 KB on each connection.
pub(super) const QUIET_EVENTS: usize = 2;

/// Room in the library's channel for everything that the driver may hand over before the library takes the first of it:
/// publishes and requests within their windows, one acknowledgement for each packet id that the broker can use before
/// it sees one, DISCONNECT. So nothing finds the channel full, unless the broker breaks MQTT's rules: what is then not
/// acknowledged the broker sends again. The channel takes memory only for what is in it.
pub(super) const HANDED_OVER_AT_MOST: usize =
    PACKET_IDS + outbound::QOS0_WINDOW + requests::REQUEST_WINDOW + PACKET_IDS + 1;

/// MQTT numbers packets from 1 to 65535, in each direction.
pub(super) const PACKET_IDS: usize = 65_535;

/// Octets up to which a message is copied out of the read buffer: see [`incoming`].
const DETACH_UP_TO: usize = 4_096;

/// A version of MQTT that the broker was found to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V5,
    V311,
}

/// What the connection is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// The gateway's own: a session that survives the loss of the connection, and with a ledger also this process.
    Gateway,
    /// One client's.
    Client(ClientSession),
    /// To see whether it works.
    Probe,
}

/// What a client asks of the broker in CONNECT.
#[derive(Clone, Debug)]
pub(super) struct ClientSession {
    pub(super) lifetime: Lifetime,
    pub(super) will: Option<Message>,
}

/// How long the broker keeps a client's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// It begins and ends with each connection.
    Connection,
    /// It is there from before if the broker has one, and stays for so many seconds after the connection (MQTT 5; for
    /// ever in 3.1.1, which has no expiry).
    Kept { seconds: u32 },
}

/// How far the session is.
///
/// Where the gateway remembers nothing of a former process, the first attempt of its own connection connects twice:
/// once to make the broker forget, and then for a session that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The broker may have a session of a former process.
    ToWipe,
    /// The broker has forgotten; ours is about to begin.
    Wiped,
    /// The broker may have the session from an earlier connection, and that is to go on.
    ToTakeUp,
    /// A session found at the broker is ours.
    Established,
}

/// The sending half of a connection. No call blocks; what is sent while the link is down waits in the library.
pub(super) trait Client: Send {
    /// `expires_in` goes along where the version can carry it.
    fn publish(&self, slot: usize, message: &Message, expires_in: Option<Duration>) -> Answering;
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
    Unsubscribe(usize, Unsubscribed),
}

/// What became of an unsubscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsubscribed {
    /// Whatever the answer was: nobody waits for it.
    Answered,
    /// The session is gone.
    Lost,
}

/// How many publishes may wait for the broker's answer at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// At QoS 1 and 2 together.
    pub(super) acknowledged: u16,
    /// At QoS 2.
    pub(super) exactly_once: u16,
}

impl Window {
    /// Returns what is left of the window when so many QoS 2 publishes of others are under way.
    pub(super) fn less(self, exactly_once: usize) -> Self {
        let others = u16::try_from(exactly_once).unwrap_or(u16::MAX);
        Self {
            acknowledged: self.acknowledged.saturating_sub(others),
            exactly_once: self.exactly_once.saturating_sub(others),
        }
    }
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
}

/// How to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Resume the session if there is one.
    Resume,
    /// Forget what is under way: it is answered with `Lost`. The gateway's own session ends at the broker too.
    Afresh,
}

/// What it takes to make a connection in one MQTT version.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) settings: &'a BrokerSettings,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) purpose: &'a Purpose,
    /// What is under way at QoS 2, where that outlives the process.
    pub(super) ledger: Option<&'a Ledger>,
    pub(super) attempt: Attempt,
}

/// A connection in one MQTT version, made but not yet running: `signals` must be polled.
pub(super) struct Wire {
    pub(super) client: Box<dyn Client>,
    /// The event loop, one step after the other. It runs while this is polled, and rests otherwise; what it has
    /// noticed is an item in the same poll. The first poll starts an attempt to connect, and so does the first one
    /// after [`Signal::Failed`].
    pub(super) signals: Pin<Box<dyn Stream<Item = Signal> + Send>>,
}

impl Purpose {
    /// How many requests the library takes up before it writes, so that one write carries many. It also reads so many
    /// packets at once, and all that is read at once has a place in its queue of events, which never shrinks.
    pub(super) fn batch(&self) -> usize {
        match self {
            Self::Gateway => 128,
            Self::Client(_) | Self::Probe => 16,
        }
    }

    pub(super) fn has_will(&self) -> bool {
        match self {
            Self::Client(session) => session.will.is_some(),
            Self::Gateway | Self::Probe => false,
        }
    }
}

impl Stage {
    pub(super) fn first(opening: &Opening<'_>) -> Self {
        match opening.purpose {
            Purpose::Gateway => match opening.attempt {
                Attempt::Resume if opening.ledger.is_some_and(Ledger::has_session) => Self::ToTakeUp,
                Attempt::Resume | Attempt::Afresh => Self::ToWipe,
            },
            Purpose::Client(ClientSession { lifetime: Lifetime::Kept { .. }, .. }) => Self::ToTakeUp,
            Purpose::Client(ClientSession { lifetime: Lifetime::Connection, .. }) | Purpose::Probe => Self::Established,
        }
    }
}

impl Version {
    pub(super) fn open(self, opening: &Opening<'_>) -> Wire {
        match self {
            Self::V5 => {
                let (client, source) = v5::open(opening);
                Wire::new(client, source)
            }
            Self::V311 => {
                let (client, source) = v4::open(opening);
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
        let signals = stream::unfold(source, async |mut source| {
            loop {
                if let Some(signal) = source.next().await {
                    return Some((signal, source));
                }
            }
        });
        Self { client: Box::new(client), signals: Box::pin(signals) }
    }
}

/// Returns a time as MQTT 5 counts it. More than fits is for ever, which is what the largest number means (MQTT 5
/// §3.1.2.11.2).
pub(super) fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
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
