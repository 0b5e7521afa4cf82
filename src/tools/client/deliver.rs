//! What the gateway sends of its own accord: topic ids and messages.

use bytes::Bytes;

use super::io::{Delivery, Event, Topic};
use super::send;
use super::session::Context;
use super::topic_ids::Full;
use crate::core::topics::TopicName;
use crate::wire::{Message, MsgId, PubAck, PubComp, PubRec, Publish, Qos, RegAck, Register, ReturnCode, TopicRef};

/// Takes a message if it is one that the gateway sends of its own accord; returns whether it was.
pub(super) fn receive(context: &mut Context<'_>, message: &Message<'_>) -> bool {
    if let Message::Register(register) = message {
        on_register(context, register);
    } else if let Message::Publish(publish) = message {
        on_publish(context, publish);
    } else if let Message::PubRel(release) = message {
        on_pubrel(context, release.msg_id);
    } else {
        return false;
    }
    true
}

pub(super) fn on_register(context: &mut Context<'_>, register: &Register<'_>) {
    let return_code = match TopicName::parse(register.topic_name) {
        Err(_) => ReturnCode::NotSupported,
        Ok(_) if !register.topic_id.is_assignable() => ReturnCode::InvalidTopicId,
        Ok(name) => match context.memory.topic_ids.learn(register.topic_id, name) {
            Ok(()) => ReturnCode::Accepted,
            Err(Full) => ReturnCode::Congestion,
        },
    };
    send(RegAck { topic_id: register.topic_id, msg_id: register.msg_id, return_code }, context.out);
}

/// Delivers a message, then acknowledges it: the acknowledgement promises that it has arrived.
pub(super) fn on_publish(context: &mut Context<'_>, publish: &Publish<'_>) {
    let Some(qos) = publish.qos.level() else { return };
    let answer = |return_code| PubAck { topic_id: publish.topic.octets(), msg_id: publish.msg_id, return_code };
    let topic = match publish.topic {
        TopicRef::Predefined(id) => Topic::Predefined(id),
        TopicRef::Short(name) => Topic::Short(name),
        TopicRef::Normal(id) => match context.memory.topic_ids.name_of(id) {
            Some(name) => Topic::Name(name.clone()),
            None => return send(answer(ReturnCode::InvalidTopicId), context.out),
        },
        TopicRef::Reserved(_) => return send(answer(ReturnCode::NotSupported), context.out),
    };
    if qos > Qos::AtMostOnce && !publish.msg_id.is_usable() {
        return send(answer(ReturnCode::NotSupported), context.out);
    }
    if qos < Qos::ExactlyOnce || context.memory.unreleased.insert(publish.msg_id) {
        let payload = Bytes::copy_from_slice(publish.data);
        let delivery = Delivery { topic, payload, qos, retain: publish.retain, msg_id: publish.msg_id };
        context.tell(Event::Message(delivery));
    }
    match qos {
        Qos::AtMostOnce => {}
        Qos::AtLeastOnce => send(answer(ReturnCode::Accepted), context.out),
        Qos::ExactlyOnce => send(PubRec { msg_id: publish.msg_id }, context.out),
    }
}

/// Answers whether or not the id is known: the first PUBCOMP may have been lost.
pub(super) fn on_pubrel(context: &mut Context<'_>, msg_id: MsgId) {
    context.memory.unreleased.remove(&msg_id);
    send(PubComp { msg_id }, context.out);
}
