//! What a client asks the gateway and waits for: one thing at a time (MQTT-SN 1.2 §6.5, §6.6, §6.9).

use std::time::Duration;

use bytes::Bytes;

use super::super::vocabulary::Mark;
use crate::core::Instant;
use crate::core::topics::{TopicFilter, TopicName};
use crate::wire::{
    Connect, Disconnect, FilterRef, Message, MsgId, PingReq, PubRel, Publish, Qos, QosField, Register, Subscribe,
    TopicId, TopicRef, Unsubscribe, WillMsgUpd, WillTopicFields, WillTopicUpd,
};

/// How long a client waits for an answer (MQTT-SN 1.2 §7.2).
pub(super) const T_RETRY: Duration = Duration::from_secs(10);
/// How often it asks again.
const N_RETRY: u8 = 3;

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) msg_id: MsgId,
    pub(super) due: Instant,
    resends: u8,
}

#[derive(Clone, Debug)]
pub(super) enum Ask {
    Connect {
        clean: bool,
        will: bool,
    },
    /// Comes before a publication.
    Register {
        publication: Publication,
    },
    Publish {
        publication: Publication,
        topic: TopicRef,
    },
    Release {
        mark: Mark,
    },
    Subscribe {
        filter: Wish,
        qos: Qos,
    },
    Unsubscribe {
        filter: Wish,
    },
    UpdateWillTopic {
        will: Option<WillTarget>,
    },
    UpdateWillMessage {
        message: Bytes,
    },
    Ping,
    Wake,
    Sleep {
        seconds: u16,
    },
    Leave,
}

/// A message to publish.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub(super) mark: Mark,
    pub(super) topic: TopicName,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    /// Whether its topic id was refused once already.
    pub(super) healed: bool,
}

/// A filter, and how to name it.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) filter: TopicFilter,
    pub(super) predefined: Option<TopicId>,
}

#[derive(Clone, Debug)]
pub(super) struct WillTarget {
    pub(super) topic: TopicName,
    pub(super) qos: Qos,
    pub(super) retain: bool,
}

/// What to do about a request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    SendAgain,
    GiveUp,
}

impl Request {
    pub(super) fn new(ask: Ask, msg_id: MsgId, now: Instant) -> Self {
        Self { ask, msg_id, due: now + T_RETRY, resends: 0 }
    }

    /// Counts an attempt more, of at most `N_RETRY`, or none for a client that never resends.
    pub(super) fn decide(&mut self, now: Instant, never_resends: bool) -> Verdict {
        if never_resends || self.resends >= N_RETRY {
            return Verdict::GiveUp;
        }
        self.resends += 1;
        self.due = now + T_RETRY;
        Verdict::SendAgain
    }

    /// The gateway has said something on the way to the answer.
    pub(super) fn progress(&mut self, now: Instant) {
        self.resends = 0;
        self.due = now + T_RETRY;
    }

    /// Marks what is sent from now on as a repetition.
    pub(super) fn resumed(mut self, now: Instant) -> Self {
        self.progress(now);
        self.resends = 1;
        self
    }

    /// Calls `send` with the message.
    pub(super) fn with_message(&self, client_id: &[u8], keep_alive: u16, send: impl FnOnce(Message<'_>)) {
        let dup = self.resends > 0;
        let msg_id = self.msg_id;
        match &self.ask {
            Ask::Connect { clean, will } => send(Message::from(Connect {
                will: *will,
                clean_session: *clean,
                protocol_id: 1,
                duration: keep_alive,
                client_id,
            })),
            Ask::Register { publication } => {
                let topic_name = publication.topic.as_str().as_bytes();
                send(Message::from(Register { topic_id: TopicId::NONE, msg_id, topic_name }));
            }
            Ask::Publish { publication, topic } => send(Message::from(publication.message(*topic, msg_id, dup))),
            Ask::Release { .. } => send(Message::from(PubRel { msg_id })),
            Ask::Subscribe { filter, qos } => {
                send(Message::from(Subscribe { dup, qos: QosField::Level(*qos), msg_id, topic: filter.as_ref() }));
            }
            Ask::Unsubscribe { filter } => send(Message::from(Unsubscribe { msg_id, topic: filter.as_ref() })),
            Ask::UpdateWillTopic { will } => {
                send(Message::from(WillTopicUpd { will: will.as_ref().map(WillTarget::fields) }));
            }
            Ask::UpdateWillMessage { message } => send(Message::from(WillMsgUpd { message })),
            Ask::Ping => send(Message::from(PingReq { client_id: &[] })),
            Ask::Wake => send(Message::from(PingReq { client_id })),
            Ask::Sleep { seconds } => send(Message::from(Disconnect { duration: Some(*seconds) })),
            Ask::Leave => send(Message::from(Disconnect { duration: None })),
        }
    }
}

impl Publication {
    pub(super) fn message(&self, topic: TopicRef, msg_id: MsgId, dup: bool) -> Publish<'_> {
        let qos = QosField::Level(self.qos);
        Publish { dup, qos, retain: self.retain, topic, msg_id, data: &self.payload }
    }
}

impl Wish {
    /// Whether the gateway gives it a normal topic id.
    pub(super) fn is_long_name(&self) -> bool {
        matches!(self.as_ref(), FilterRef::Name(_))
    }

    fn as_ref(&self) -> FilterRef<'_> {
        match (self.predefined, self.filter.as_str().as_bytes()) {
            (Some(id), _) => FilterRef::Predefined(id),
            // Two octets that are no wildcard: sent as a short name, and as long ones by nobody here.
            (None, &[first, second]) => FilterRef::Short([first, second]),
            (None, name) => FilterRef::Name(name),
        }
    }
}

impl WillTarget {
    pub(super) fn fields(&self) -> WillTopicFields<'_> {
        WillTopicFields { qos: self.qos.into(), retain: self.retain, topic: self.topic.as_str().as_bytes() }
    }
}
