//! What goes into the core and what comes out: the whole surface between it and the world.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::topics::{TopicFilter, TopicName};
use super::{Notice, SessionNumber, StoreOp, StoreToken};
use crate::wire::Qos;

/// One link: a UDP socket or a serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// One MQTT connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

impl ConnId {
    /// The gateway's own connection: the only one in aggregating mode.
    pub const OWN: Self = Self(0);
}

/// Whether frames come and go on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Up,
    Down,
}

/// An address on a link, opaque to all but the link that made it. 22 octets hold an IPv6 address, scope and port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkAddress {
    length: u8,
    octets: [u8; Self::MAX],
}

impl LinkAddress {
    /// Octets of the longest address.
    pub const MAX: usize = 22;
    /// The address on a link that knows none: whoever sits at the other end of a raw serial line.
    pub const NONE: Self = Self { length: 0, octets: [0; Self::MAX] };

    /// Wraps the octets of an address, or returns `None` if there are more than [`LinkAddress::MAX`].
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut address = Self::NONE;
        address.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        address.length = u8::try_from(octets.len()).ok()?;
        Some(address)
    }

    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

// Every frame's sender is looked up by it, and most addresses are far shorter than the longest.
impl Hash for LinkAddress {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.octets().hash(state);
    }
}

impl fmt::Debug for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkAddress(")?;
        self.octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

/// Where a frame came from and where an answer goes: the link fills it in, the core compares and copies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    pub link: LinkId,
    pub address: LinkAddress,
}

/// Whom a frame was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// This gateway, or whoever is at the other end of the line.
    Unicast,
    /// Everyone: a multicast group or a radio broadcast.
    Group,
}

/// A message on the broker's side, with its full topic name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: TopicName,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
}

/// Joins a command to the event that answers it. Chosen by the core; never in use twice at a time on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

/// Names a message from the broker that waits for [`BrokerCommand::Ack`]. Chosen by the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivery(pub u64);

/// The broker's number for a QoS 2 message on its way to us. It stays with the message until the exchange is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u16);

/// What tells whether a QoS 2 message has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub packet: PacketId,
    /// The DUP flag: the broker has sent the message before.
    pub duplicate: bool,
}

/// A subscription's number on MQTT 5, sent back with every message that it brought. 1 to 268,435,455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SubscriptionId(pub u32);

impl SubscriptionId {
    /// The largest number that MQTT 5 can carry (MQTT 5 §3.8.2.1.2).
    pub const MAX: Self = Self(268_435_455);
}

/// What the core asks of a broker connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerCommand {
    /// Publish. With a token exactly one [`BrokerEvent::Published`] follows; without one nobody waits.
    ///
    /// `expires_in` goes out as the message's expiry where the protocol has one (MQTT 5 §3.3.2.3.3).
    Publish { token: Option<Token>, message: Message, expires_in: Option<Duration> },
    /// Subscribe to one filter; exactly one [`BrokerEvent::Subscribed`] follows.
    ///
    /// `id` goes out as the subscription identifier where the connection said that it can.
    Subscribe { token: Token, filter: TopicFilter, qos: Qos, id: SubscriptionId },
    /// Unsubscribe from one filter; nobody waits for the answer.
    Unsubscribe { filter: TopicFilter },
    /// The message has been taken over: acknowledge it to the broker.
    Ack { delivery: Delivery },
    /// Send what was asked before, and close the connection in order. [`BrokerEvent::Closed`] follows, and it is the
    /// last; what is unanswered then stays so.
    Disconnect,
}

/// What a client's own MQTT connection says to the broker in its CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectSpec {
    /// Whose connection it is, in the store.
    pub session: SessionNumber,
    pub client_id: ByteString,
    /// With `false` the broker keeps the session, as long as the gateway would.
    pub clean_session: bool,
    pub will: Option<Message>,
}

/// What a broker connection tells the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerEvent {
    /// The broker has accepted the connection.
    ///
    /// Without `session_present` the broker has forgotten our subscriptions, and every [`Delivery`] given out
    /// before is void. Publishes that were not answered yet are sent again by the connection itself, or answered
    /// with [`PublishOutcome::Lost`].
    Up { session_present: bool, offer: BrokerOffer },
    /// The connection is gone, or could not be made; it is being tried again.
    ///
    /// `refusal` is there if the broker itself said no: to the CONNECT, or by closing the connection with a reason. Trouble
    /// that will pass, such as a broker that shuts down, is no refusal once the connection was accepted.
    ///
    /// On a client's connection this comes for each attempt that fails.
    Down { reason: String, refusal: Option<BrokerReason> },
    /// The connection has ended, as [`BrokerCommand::Disconnect`] asked.
    Closed,
    /// The answer to a [`BrokerCommand::Publish`] with a token: at QoS 1 the PUBACK, at QoS 2 the PUBCOMP.
    Published { token: Token, outcome: PublishOutcome },
    /// The answer to a [`BrokerCommand::Subscribe`].
    Subscribed { token: Token, outcome: SubscribeOutcome },
    /// A message for one of our subscriptions.
    ///
    /// `delivery` is there at QoS 1 and 2, `origin` at QoS 2. `subscriptions` is empty where identifiers are not in use.
    ///
    /// A process gets a message at QoS 2 once. What an earlier process was given and did not acknowledge comes again,
    /// under the same packet id and marked as a duplicate.
    Message { delivery: Option<Delivery>, origin: Option<Origin>, message: Message, subscriptions: Vec<SubscriptionId> },
}

/// What the broker said it can do when it accepted the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerOffer {
    pub max_qos: Qos,
    pub retain: bool,
    /// Messages carry the identifiers of the subscriptions that brought them.
    pub subscription_ids: bool,
    /// Octets of the largest MQTT packet the broker takes.
    pub max_packet: Option<u32>,
}

/// A broker's reason code (MQTT 5 §2.4; MQTT 3.1.1's are mapped to it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerReason(pub u8);

impl fmt::Display for BrokerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "protocol version not supported",
            0x85 => "client id not accepted",
            0x86 => "bad user name or password",
            0x87 => "not authorised",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8D => "keep alive timeout",
            0x8E => "another connection with the same client id has taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x93 => "too many unacknowledged messages",
            0x95 => "packet too large",
            0x96 => "too many messages",
            0x97 => "quota exceeded",
            0x98 => "by its operator",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C | 0x9D => "use another server",
            0x9E => "shared subscriptions not supported",
            0x9F => "too many connections",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "a refusal",
        };
        write!(f, "{words} (0x{:02x})", self.0)
    }
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker has taken the message over.
    Accepted,
    /// The broker has it not, and said why.
    Refused(BrokerReason),
    /// The connection's queue is full or the connection is down; the message was not sent.
    Busy,
    /// The connection broke and its session is gone: the message may or may not have arrived.
    Lost,
}

/// What became of a subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeOutcome {
    Granted(Qos),
    Refused(BrokerReason),
    /// Not answered and never will be: the queue was full or the connection broke.
    Lost,
}

/// What comes into the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// One frame as it stood on the link, forwarder encapsulation included.
    Frame {
        from: Peer,
        cast: Cast,
        bytes: &'a [u8],
    },
    Broker {
        conn: ConnId,
        event: BrokerEvent,
    },
    /// A link is gone or back; saying it again does no harm. A link counts as up until something is said of it, and to a
    /// client that is heard over it.
    Link {
        link: LinkId,
        state: LinkState,
    },
    /// The moment that `next_deadline` named has come. Early or spurious calls do no harm.
    Deadline,
    /// Everything up to [`Output::Persist`] with this token is on disk.
    Stored(StoreToken),
    /// The store cannot write. It tries again by itself; [`Input::Stored`] tells when it has succeeded.
    StoreFailing,
    /// End this client's session, as those who run the gateway wish: the client is told if it is connected, and nothing
    /// of the session is kept. What the gateway has answered for and keeps for the broker stays.
    Forget {
        client_id: &'a str,
    },
    /// The gateway is about to stop: end the broker connections in order.
    Shutdown,
}

/// What the core wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the frame, `Frames::octets(range)`, to one peer.
    Send {
        to: Peer,
        frame: Range<usize>,
    },
    /// Send the frame to everyone on the link.
    Broadcast {
        link: LinkId,
        radius: u8,
        frame: Range<usize>,
    },
    Broker {
        conn: ConnId,
        command: BrokerCommand,
    },
    /// Open a client's own connection, under a [`ConnId`] that is not in use. [`ConnId::OWN`] opens by itself.
    Connect {
        conn: ConnId,
        spec: ConnectSpec,
    },
    /// Keep this, or no longer. The tokens ascend; what one call asks for must be kept as a whole or not at all. The store
    /// has it in line before a broker connection acts on a command of the same call: what the connection keeps because of
    /// that command is stored later, never earlier.
    Persist {
        op: StoreOp,
        token: StoreToken,
    },
    /// Tell a person.
    Notice(Notice),
}

/// What one call of `Gateway::handle` wants done, in order. Reused: the frames live in one arena.
#[derive(Debug, Default)]
pub struct Outputs {
    pub(super) arena: Vec<u8>,
    pub(super) queue: Vec<Output>,
}

impl Outputs {
    /// Takes the outputs in the order in which they must be carried out, and the frames they refer to.
    pub fn drain(&mut self) -> (impl Iterator<Item = Output> + '_, Frames<'_>) {
        (self.queue.drain(..), Frames(&self.arena))
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.queue.clear();
    }
}

/// The octets of the frames that the outputs refer to.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a>(&'a [u8]);

impl<'a> Frames<'a> {
    /// Returns a frame's octets.
    pub fn octets(&self, range: &Range<usize>) -> &'a [u8] {
        self.0.get(range.clone()).unwrap_or_default()
    }
}
