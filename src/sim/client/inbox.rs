//! What the gateway sends of its own accord: topic ids and messages (MQTT-SN 1.2 §6.10).

use super::super::vocabulary::{self, Mark};
use super::{Client, Hands, Quirks, Tale};
use crate::core::topics::TopicName;
use crate::wire::{
    Message, MsgId, PingResp, PubAck, PubComp, PubRec, PubRel, Publish, Qos, RegAck, Register, ReturnCode, TopicId,
    TopicRef,
};

impl Client {
    pub(super) fn on_delivery(&mut self, hands: &mut Hands<'_>, message: &Message<'_>) {
        if let Message::Register(register) = message {
            self.on_register(hands, register);
        } else if let Message::Publish(publish) = message {
            self.on_publish(hands, publish);
        } else if let Message::PubRel(PubRel { msg_id }) = message {
            self.memory.release(*msg_id);
            self.send(hands, PubComp { msg_id: *msg_id });
        } else if let Message::PingReq(_) = message {
            self.send(hands, PingResp);
        }
    }

    fn on_register(&mut self, hands: &mut Hands<'_>, register: &Register<'_>) {
        if self.nature.has(Quirks::IGNORES_REGISTER) {
            return;
        }
        let return_code = if self.nature.has(Quirks::REFUSES_TOPICS) && hands.dice.chance(300) {
            ReturnCode::NotSupported
        } else if self.nature.has(Quirks::BUSY) && hands.dice.chance(100) {
            ReturnCode::Congestion
        } else {
            match TopicName::parse(register.topic_name) {
                Ok(topic) => {
                    self.memory.learn(register.topic_id, topic);
                    ReturnCode::Accepted
                }
                Err(_) => ReturnCode::NotSupported,
            }
        };
        self.send(hands, RegAck { topic_id: register.topic_id, msg_id: register.msg_id, return_code });
    }

    fn on_publish(&mut self, hands: &mut Hands<'_>, publish: &Publish<'_>) {
        let Some(qos) = publish.qos.level() else { return };
        if let Some(return_code) = self.objection(hands, publish, qos) {
            return self.acknowledge(hands, publish, return_code);
        }
        let is_new = qos < Qos::ExactlyOnce || self.memory.take(publish.msg_id);
        if let (true, Some(mark)) = (is_new, Mark::read(publish.data)) {
            hands.tell(Tale::Received { mark, qos, retain: publish.retain });
        }
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.acknowledge(hands, publish, ReturnCode::Accepted),
            Qos::ExactlyOnce => self.send(hands, PubRec { msg_id: publish.msg_id }),
        }
    }

    /// Returns why the client does not take the message.
    fn objection(&mut self, hands: &mut Hands<'_>, publish: &Publish<'_>, qos: Qos) -> Option<ReturnCode> {
        let is_predefined = matches!(publish.topic, TopicRef::Predefined(_));
        if self.nature.has(Quirks::REFUSES_DUP) && (publish.dup || qos == Qos::ExactlyOnce || is_predefined) {
            return Some(ReturnCode::NotSupported);
        }
        match publish.topic {
            TopicRef::Normal(id) => {
                if self.nature.has(Quirks::FORGETS_IDS) && hands.dice.chance(50) {
                    self.memory.forget_topic(id);
                }
                if self.memory.topic(id).is_none() {
                    return Some(ReturnCode::InvalidTopicId);
                }
            }
            TopicRef::Predefined(id) if vocabulary::predefined_name(id).is_none() => {
                return Some(ReturnCode::InvalidTopicId);
            }
            TopicRef::Predefined(_) | TopicRef::Short(_) => {}
            TopicRef::Reserved(_) => return Some(ReturnCode::NotSupported),
        }
        let is_busy = qos > Qos::AtMostOnce && self.nature.has(Quirks::BUSY) && hands.dice.chance(100);
        is_busy.then_some(ReturnCode::Congestion)
    }

    fn acknowledge(&mut self, hands: &mut Hands<'_>, publish: &Publish<'_>, return_code: ReturnCode) {
        let mut ack = PubAck { topic_id: publish.topic.octets(), msg_id: publish.msg_id, return_code };
        if self.nature.has(Quirks::SWAPS_IDS) {
            ack.topic_id = TopicId(ack.topic_id.0.swap_bytes());
            ack.msg_id = MsgId(ack.msg_id.0.swap_bytes());
        }
        if self.nature.has(Quirks::WRONG_ACKS) {
            ack.msg_id = MsgId(hands.dice.octet().into());
        }
        self.send(hands, ack);
    }
}
