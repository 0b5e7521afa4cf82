//! What the client has asked the gateway and waits for: one message and its answer at a time.

use super::io::{Filter, Publication};
use super::retry::Retry;
use crate::core::topics::TopicName;
use crate::wire::{
    Message, MsgId, MsgType, PubRel, Qos, QosField, Register, Subscribe, TopicId, TopicRef, Unsubscribe,
};

/// A message that waits for its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) msg_id: MsgId,
    pub(super) step: Step,
    pub(super) retry: Retry,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Waits for REGACK; the publication comes next.
    Register {
        name: TopicName,
        publication: Publication,
    },
    /// Waits for PUBACK or PUBREC.
    Publish {
        topic: TopicRef,
        origin: IdOrigin,
        publication: Publication,
    },
    /// Waits for PUBCOMP.
    Release,
    Subscribe {
        filter: Filter,
        qos: Qos,
    },
    Unsubscribe {
        filter: Filter,
    },
}

/// Whether it makes sense to register again when the gateway does not know the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdOrigin {
    /// Registered some time ago: the gateway may have forgotten it.
    Earlier,
    /// Registered in this exchange, predefined, or a short name: registering again would not help.
    Fixed,
}

impl Exchange {
    /// Returns the message that waits for its answer. `dup` marks a repetition where the protocol has a flag for it.
    pub(super) fn message(&self, dup: bool) -> Message<'_> {
        let msg_id = self.msg_id;
        match &self.step {
            Step::Register { name, .. } => {
                Register { topic_id: TopicId::NONE, msg_id, topic_name: name.as_str().as_bytes() }.into()
            }
            Step::Publish { topic, publication, .. } => publication.message(*topic, msg_id, dup).into(),
            Step::Release => PubRel { msg_id }.into(),
            Step::Subscribe { filter, qos } => {
                Subscribe { dup, qos: QosField::Level(*qos), msg_id, topic: filter.as_ref() }.into()
            }
            Step::Unsubscribe { filter } => Unsubscribe { msg_id, topic: filter.as_ref() }.into(),
        }
    }

    /// Returns whether an answer of this type and id belongs to the exchange.
    pub(super) fn awaits(&self, answer: MsgType, msg_id: MsgId) -> bool {
        let qos_2 = QosField::Level(Qos::ExactlyOnce);
        let fits = match &self.step {
            Step::Register { .. } => answer == MsgType::RegAck,
            Step::Publish { publication, .. } => {
                answer == MsgType::PubAck || (answer == MsgType::PubRec && publication.qos == qos_2)
            }
            Step::Release => answer == MsgType::PubComp,
            Step::Subscribe { .. } => answer == MsgType::SubAck,
            Step::Unsubscribe { .. } => answer == MsgType::UnsubAck,
        };
        fits && self.msg_id == msg_id
    }
}
