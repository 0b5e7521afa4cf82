//! The client's answers to what is delivered to it: REGACK, PUBACK, PUBREC, PUBCOMP (MQTT-SN 1.2 §6.10).

use super::Session;
use super::deliver::Healing;
use super::keep::Progress;
use super::outbox::{InFlight, Pace, Step};
use super::presence::Phase;
use crate::core::context::Context;
use crate::core::notice::Undeliverable;
use crate::core::topics::Knowledge;
use crate::wire::{MsgId, PubAck, PubComp, PubRec, PubRel, Qos, RegAck, ReturnCode, TopicId, TopicRef};

impl Session {
    pub(super) fn on_reg_ack(&mut self, cx: &mut Context<'_>, ack: RegAck) {
        let Some(InFlight { step: Step::Register { topic_id, msg_id }, .. }) = self.outbox.in_flight else { return };
        // A client that takes the topic under another id would take its messages for something else; one that does not
        // take it may leave the id out.
        let names_it = ack.topic_id == topic_id || ack.topic_id == swapped(topic_id);
        if ack.msg_id != msg_id || (ack.return_code == ReturnCode::Accepted && !names_it) {
            return;
        }
        match ack.return_code {
            ReturnCode::Accepted => {
                self.registry.set_knowledge(topic_id, Knowledge::Confirmed);
                if self.listens() {
                    self.publish_registered(cx, topic_id);
                } else {
                    self.outbox.suspend();
                }
            }
            ReturnCode::Congestion => self.hold(cx),
            ReturnCode::InvalidTopicId | ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                // The client unsubscribes from this one name; a wildcard that led here stays (MQTT-SN 1.2 §6.10).
                self.registry.set_knowledge(topic_id, Knowledge::Refused);
                if let Some(name) = self.registry.name(topic_id).cloned() {
                    self.drop_subscription_to(cx, &name);
                }
                self.drop_in_flight(cx, Undeliverable::TopicRefused);
            }
        }
    }

    pub(super) fn on_pub_ack(&mut self, cx: &mut Context<'_>, ack: PubAck) {
        let Some(in_flight) = &self.outbox.in_flight else { return self.on_unexpected_pub_ack(cx, ack) };
        let (Step::Publish { topic }, Some(sent_as)) = (in_flight.step, in_flight.parcel.sent_as) else {
            return self.on_unexpected_pub_ack(cx, ack);
        };
        if !answers(ack, topic, sent_as) {
            return self.on_unexpected_pub_ack(cx, ack);
        }
        match (ack.return_code, topic, in_flight.parcel.healing) {
            (ReturnCode::Accepted, _, _) if in_flight.parcel.message.qos == Qos::AtLeastOnce => self.complete(cx),
            // At QoS 2 a PUBACK is only ever an error (MQTT-SN digest §4).
            (ReturnCode::Accepted, _, _) => {}
            (ReturnCode::Congestion, _, _) => self.hold(cx),
            (ReturnCode::InvalidTopicId, TopicRef::Normal(id), Healing::Untried) => self.register_again(cx, id),
            (ReturnCode::InvalidTopicId, _, _) => self.drop_in_flight(cx, Undeliverable::TopicUnknownToClient),
            (ReturnCode::NotSupported | ReturnCode::Reserved(_), _, _) => {
                self.drop_in_flight(cx, Undeliverable::MessageRefused);
            }
        }
    }

    pub(super) fn on_pub_rec(&mut self, cx: &mut Context<'_>, ack: PubRec) {
        match &mut self.outbox.in_flight {
            Some(in_flight)
                if in_flight.parcel.sent_as == Some(ack.msg_id)
                    && in_flight.parcel.message.qos == Qos::ExactlyOnce
                    && !matches!(in_flight.step, Step::Register { .. }) =>
            {
                in_flight.proceed(Step::Release, cx.now);
                // The client has the message; what follows only lets it forget the message's id.
                self.entry.keep_parcel(cx, &mut in_flight.parcel, Progress::Released);
                if let Some(receipt) = in_flight.parcel.receipt.take() {
                    cx.upstream.settle(cx.out, receipt);
                }
                self.continue_in_flight(cx);
            }
            // An exchange that ended here and not there: the answer lets the client end it too.
            Some(_) | None => self.answer(cx, PubRel { msg_id: ack.msg_id }),
        }
    }

    pub(super) fn on_pub_comp(&mut self, cx: &mut Context<'_>, ack: PubComp) {
        if let Some(InFlight { step: Step::Release, parcel, .. }) = &self.outbox.in_flight
            && parcel.sent_as == Some(ack.msg_id)
        {
            self.complete(cx);
        }
    }

    /// A client that does not know the id of a QoS 0 message gets it once more, behind a REGISTER.
    fn on_unexpected_pub_ack(&mut self, cx: &mut Context<'_>, ack: PubAck) {
        if ack.return_code != ReturnCode::InvalidTopicId {
            return;
        }
        let refers = |(id, _): &mut (TopicId, _)| *id == ack.topic_id || *id == swapped(ack.topic_id);
        if let Some((id, parcel)) = self.outbox.last_unacknowledged.take_if(refers) {
            self.deliver_again(cx, id, parcel);
        }
    }

    /// Lets a busy client be; one that sleeps, or was about to, is let be anyway.
    fn hold(&mut self, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Active(_) => {
                if let Some(in_flight) = &mut self.outbox.in_flight {
                    in_flight.wait(Pace::Held, cx.now, cx.settings.timers.t_wait);
                }
                self.shelve_queued(cx);
            }
            Phase::Awake { .. } => {
                self.outbox.pause();
                self.back_to_sleep(cx);
            }
            Phase::Handshake(_) | Phase::Asleep(_) | Phase::Away { .. } | Phase::Over => self.outbox.pause(),
        }
    }
}

/// Whether a PUBACK is for this PUBLISH. One family of Arduino clients swaps the octets of both ids.
fn answers(ack: PubAck, topic: TopicRef, sent_as: MsgId) -> bool {
    let swaps = ack.topic_id == swapped(topic.octets()) && ack.msg_id == MsgId(sent_as.0.swap_bytes());
    ack.msg_id == sent_as || swaps
}

fn swapped(id: TopicId) -> TopicId {
    TopicId(id.0.swap_bytes())
}
