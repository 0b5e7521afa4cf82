//! What a person should know, as values; the shell puts them into words.

use std::time::Duration;

use bytestring::ByteString;
use thiserror::Error;

use super::topics::{TopicError, TopicFilter, TopicName};
use super::{BrokerReason, LinkId, Peer};
use crate::wire::{DecodeError, GwId, TopicId, TopicRef};

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    ClientConnected {
        client_id: ByteString,
        peer: Peer,
        keep_alive: u16,
        clean_session: bool,
    },
    /// A CONNECT was answered with a rejection. The client id may be anything, readable or not.
    ConnectRefused {
        client_id: Vec<u8>,
        peer: Peer,
        why: ConnectRefusal,
    },
    /// The client has connected from another address; the one before was told DISCONNECT, unless the client slept.
    ClientMoved {
        client_id: ByteString,
        from: Peer,
        to: Peer,
    },
    /// Another client has connected from this one's address.
    ClientReplaced {
        client_id: ByteString,
        by: ByteString,
        peer: Peer,
    },
    /// The client has connected again out of its sleep. Many do so at every wake-up, to be able to publish.
    ClientAwake {
        client_id: ByteString,
        peer: Peer,
        clean_session: bool,
    },
    ClientAsleep {
        client_id: ByteString,
        seconds: u16,
    },
    ClientDisconnected {
        client_id: ByteString,
    },
    ClientLost {
        client_id: ByteString,
        reason: LossReason,
    },
    /// The client asked to connect with a will and did not answer when asked for it.
    HandshakeAbandoned {
        client_id: ByteString,
    },
    /// The will of a lost client goes to the broker.
    WillPublished {
        client_id: ByteString,
        topic: TopicName,
    },
    /// The will of a lost client was dropped: the broker does not take it, or `limits.wills_waiting` is reached.
    WillDropped {
        client_id: ByteString,
        topic: TopicName,
    },
    /// A persistent session whose client stayed away too long has ended.
    SessionExpired {
        client_id: ByteString,
    },
    /// Those who run the gateway have ended the session.
    SessionForgotten {
        client_id: ByteString,
    },
    /// Something a connected client asked for was refused.
    Refused {
        client_id: ByteString,
        what: Refused,
    },
    /// A QoS -1 publish was dropped.
    AnonymousRefused {
        peer: Peer,
        what: Refused,
    },
    /// A message for the client was dropped.
    Undeliverable {
        client_id: ByteString,
        topic: TopicName,
        why: Undeliverable,
    },
    /// The client is alive and does not acknowledge a message, which keeps what comes after it from the client; said
    /// once for each message.
    Unacknowledged {
        client_id: ByteString,
        topic: TopicName,
    },
    /// The client's queue has begun to overflow; said once until it is empty again.
    QueueOverflow {
        client_id: ByteString,
    },
    /// The broker had forgotten a subscription and does not grant it again: its subscribers hear nothing any more.
    SubscriptionLost {
        filter: TopicFilter,
        reason: BrokerReason,
    },
    /// A message that the gateway had answered for was dropped: the broker does not take it, for this reason or
    /// because of its size.
    KeptRefused {
        topic: TopicName,
        reason: Option<BrokerReason>,
    },
    /// A message that has waited was dropped, although nobody has refused it. Nobody's is from or for the empty client id.
    Outdated {
        client_id: ByteString,
        topic: TopicName,
        bound: Bound,
        why: Outdated,
    },
    /// All that was kept for the broker while it was away has gone out; `superseded` messages had given way to newer
    /// ones of their topic.
    KeptHandedOver {
        messages: usize,
        superseded: usize,
        took: Duration,
    },
    /// Another gateway has been heard for the first time, or after it was gone.
    GatewayHeard {
        peer: Peer,
        gw_id: GwId,
    },
    /// Another gateway has fallen silent.
    GatewayGone {
        link: LinkId,
        gw_id: GwId,
    },
    /// A sender without a session was told to connect.
    Stray {
        peer: Peer,
    },
    /// A frame that is not MQTT-SN, or not as MQTT-SN 1.2 has it.
    Malformed {
        peer: Peer,
        error: DecodeError,
    },
}

/// Why a CONNECT was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectRefusal {
    #[error("its protocol id is {0}, and MQTT-SN 1.2 has only 1")]
    ProtocolId(u8),
    #[error("its client id is empty")]
    EmptyClientId,
    #[error("its client id is not UTF-8, or contains U+0000")]
    UnreadableClientId,
    #[error("its client id is longer than limits.client_id_octets ({limit})")]
    LongClientId { limit: usize },
    #[error(
        "its client id is the gateway's own at the broker (broker.client_id), and the two would throw each other out"
    )]
    GatewaysOwnId,
    #[error("its will topic is not acceptable: {error}")]
    WillTopic { error: TopicError },
    #[error("its will has QoS -1")]
    WillQos,
    #[error("limits.clients ({limit}) is reached")]
    TooManyClients { limit: usize },
    #[error("there is no connection to the broker")]
    BrokerDown,
    #[error("the store cannot write, and nothing may be promised without it")]
    StoreFails,
    #[error("its connection to the broker could not be opened in time (timers.broker_wait)")]
    BrokerSilent,
    #[error("the broker answered {reason}")]
    ByBroker { reason: BrokerReason },
}

/// Why a client counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LossReason {
    #[error("nothing heard within its keep-alive")]
    KeepAlive,
    #[error("nothing heard within its sleep duration")]
    Sleep,
    #[error("its link was down for longer than timers.link_wait")]
    LinkDown,
    #[error("no answer to a message sent to it, and nothing else heard")]
    NoAnswer,
    #[error("its connection to the broker broke and could not be opened again in time (timers.broker_wait)")]
    BrokerGone,
    #[error("the broker closed its connection: {reason}")]
    ClosedByBroker { reason: BrokerReason },
}

/// What was refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("REGISTER: the topic name is not acceptable: {error}")]
    Register { error: TopicError },
    #[error("it has as many topic names as limits.topics_per_client allows ({limit})")]
    TooManyTopics { limit: usize },
    #[error("PUBLISH: it uses {}", unknown_topic(.topic))]
    UnknownTopicId { topic: TopicRef },
    #[error("PUBLISH: the short topic name is not acceptable: {error}")]
    ShortTopic { error: TopicError },
    #[error("the topic is not acceptable behind broker.topic_prefix: {error}")]
    PrefixedTopic { error: TopicError },
    #[error("PUBLISH: topic id type 11 is reserved")]
    ReservedTopicIdType,
    #[error("PUBLISH: message id 0 at QoS 1 or 2")]
    PublishWithoutMsgId,
    #[error("PUBLISH: too many publishes wait for the broker (limits.publishes_per_client, publishes_in_flight)")]
    TooManyPublishes,
    #[error("PUBLISH: larger than the broker accepts")]
    TooLargeForBroker,
    #[error("PUBLISH: topics under $SYS/ and $share/ are the broker's own")]
    BrokersOwnTopic,
    #[error("PUBLISH: the broker answered {reason}")]
    PublishByBroker { reason: BrokerReason },
    #[error("PUBLISH: QoS -1 is switched off on this link (qos_minus_one)")]
    AnonymousOff,
    #[error("PUBLISH: more QoS -1 messages than limits.qos_minus_one_per_second")]
    AnonymousRate,
    #[error("PUBLISH: there is no connection to the broker")]
    BrokerDown,
    #[error("PUBLISH: the queue to the broker is full, or the connection has just broken (limits.broker_queue)")]
    BrokerBusy,
    #[error("the store cannot write, and nothing may be promised without it")]
    StoreFails,
    #[error("PUBLISH: there is no connection to the broker, and [outage] does not keep messages on this topic")]
    NotKept,
    #[error("PUBLISH: there is no connection to the broker, and as many messages as [outage] allows wait for it")]
    TooManyKept,
    #[error("SUBSCRIBE: there is no connection to the broker")]
    SubscribeWithoutBroker,
    #[error("SUBSCRIBE: the broker did not answer: the connection broke, or limits.broker_queue is reached")]
    SubscribeLost,
    #[error("SUBSCRIBE: QoS -1 cannot be subscribed to")]
    SubscribeQosMinusOne,
    #[error("SUBSCRIBE: message id 0")]
    SubscribeWithoutMsgId,
    #[error("SUBSCRIBE: the topic filter is not acceptable: {error}")]
    SubscribeFilter { error: TopicError },
    #[error("SUBSCRIBE: pre-defined topic id {topic_id} is not in [predefined]")]
    UnknownPredefinedId { topic_id: TopicId },
    #[error("SUBSCRIBE: $share/... is not possible over the connection that all clients share")]
    SharedSubscription,
    #[error("SUBSCRIBE: the one before has not been answered yet")]
    SubscribeWhileSubscribing,
    #[error("SUBSCRIBE: it has as many subscriptions as limits.subscriptions_per_client allows ({limit})")]
    TooManySubscriptions { limit: usize },
    #[error("SUBSCRIBE: the broker answered {reason}")]
    SubscribeByBroker { reason: BrokerReason },
    #[error("WILLTOPICUPD: the will topic is not acceptable: {error}")]
    WillTopic { error: TopicError },
    #[error("WILLTOPICUPD: a will cannot have QoS -1")]
    WillQos,
    #[error("WILLMSGUPD: it has no will topic, and a message without one can never be published")]
    WillMessageWithoutTopic,
}

/// Whom a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The client has sent it.
    ForBroker,
    ForClient,
}

/// What makes a message that waits useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// It has waited for longer than `max_age` of `[outage]` or of its `[[queue]]` rule.
    TooOld,
    /// A newer one of its topic has come, and only the newest is to wait.
    Superseded,
}

/// Why a message never reached its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Undeliverable {
    #[error("it does not fit into a frame of the client's link (max_frame)")]
    TooLarge,
    #[error("the client refused the topic")]
    TopicRefused,
    #[error("the client says that it does not know the topic id, after being told")]
    TopicUnknownToClient,
    #[error("the client refused the message")]
    MessageRefused,
    #[error("the client has as many topic names as limits.topics_per_client allows")]
    TooManyTopics,
    #[error("the client is alive and does not answer the REGISTER of its topic")]
    NoAnswer,
}

fn unknown_topic(topic: &TopicRef) -> String {
    match topic {
        TopicRef::Normal(id) => format!("topic id {id}, which it has not registered in this session"),
        TopicRef::Predefined(id) => format!("pre-defined topic id {id}, which is not in [predefined]"),
        TopicRef::Short(_) | TopicRef::Reserved(_) => "a topic that does not exist".to_owned(),
    }
}
