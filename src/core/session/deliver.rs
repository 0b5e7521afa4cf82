//! Delivery to a client: REGISTER first where it does not know the topic's id, then PUBLISH, one message at a time
//! and in order (MQTT-SN 1.2 §6.10).

use super::Session;
use super::keep::Progress;
use super::outbox::{InFlight, Pace, Step};
use super::presence::Phase;
use crate::core::Message;
use crate::core::context::Context;
use crate::core::notice::{Bound, LossReason, Notice, Outdated, Undeliverable};
use crate::core::queueing::Terms;
use crate::core::topics::{Knowledge, TopicName};
use crate::core::upstream::{DeliveryNumber, Receipt};
use crate::wire::{self, MsgId, PingResp, PubRel, Publish, Qos, QosField, Register, TopicId, TopicRef};

/// One message for one client. Its QoS is what the client gets it with.
#[derive(Debug)]
pub(in crate::core) struct Parcel {
    pub(in crate::core) message: Message,
    /// The client's part in the broker's delivery, until settled.
    pub(in crate::core) receipt: Option<Receipt>,
    /// The message id it has been sent with; a further attempt is marked DUP and has the same id.
    pub(super) sent_as: Option<MsgId>,
    pub(super) healing: Healing,
    pub(super) terms: Terms,
    /// Its place in the store, if it is kept there.
    pub(super) place: Option<u64>,
    pub(super) custody: Custody,
}

/// Who answers for a message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Custody {
    Gateway,
    /// The broker has it too, and sends it again when the client is back; this is for the case that it has forgotten.
    Broker,
}

/// A client that does not know a topic id is told the name again, once per message (MQTT-SN 1.2 §6.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Healing {
    Untried,
    Tried,
}

/// How a topic can be named to this client now.
enum Address {
    Known(TopicRef),
    /// The client has to be told what the id stands for.
    Unregistered(TopicId),
    /// The client has refused the topic.
    Refused,
    /// The client's table of topics is full.
    NoRoom,
}

impl Parcel {
    pub(in crate::core) fn new(message: Message, receipt: Option<Receipt>, terms: Terms) -> Self {
        let (healing, custody) = (Healing::Untried, Custody::Gateway);
        Self { message, receipt, sent_as: None, healing, terms, place: None, custody }
    }
}

impl Session {
    /// Takes a message that the broker has sent before on the client's own connection.
    pub(in crate::core) fn deliver_copy(&mut self, cx: &mut Context<'_>, mut parcel: Parcel) {
        if !self.outbox.claim(&mut parcel) {
            self.deliver(cx, parcel);
        }
    }

    /// Queues a message for the client, and sends it if it is the client's turn.
    pub(in crate::core) fn deliver(&mut self, cx: &mut Context<'_>, mut parcel: Parcel) {
        let Some(topic) = self.prefix.down(&parcel.message.topic) else { return self.settle(cx, &mut parcel) };
        parcel.message.topic = topic;
        let is_away = matches!(self.phase, Phase::Away { .. } | Phase::Over);
        if is_away && !parcel.is_acknowledged() {
            // As a broker does for a persistent session without a connection.
            self.settle(cx, &mut parcel);
            return;
        }
        // At QoS 2 a client that is sent a message must not be sent it anew after a restart.
        let is_kept = parcel.message.qos == Qos::ExactlyOnce && cx.journal.is_on();
        if is_kept || !self.listens() || self.outbox.is_at_rest() {
            self.entry.shelve(cx, &mut parcel);
        }
        let limits = &cx.settings.limits;
        let overflow = self.outbox.push(parcel, limits.queued_messages_per_client, limits.queued_bytes_per_client);
        if overflow.is_news {
            cx.notice(Notice::QueueOverflow { client_id: self.client_id.clone() });
        }
        cx.stats.queue_overflows += overflow.dropped.len() as u64;
        for mut gone in overflow.dropped {
            self.settle(cx, &mut gone);
        }
        for gone in overflow.superseded {
            self.drop_outdated(cx, gone, Outdated::Superseded);
        }
        self.pump(cx);
    }

    /// Sends as much as may be sent now; a client that was awake and has got everything goes back to sleep.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>) {
        while self.listens() && self.outbox.in_flight.is_none() && !self.subscriptions.is_pending() {
            if self.phase.has_had_enough() {
                return self.back_to_sleep(cx);
            }
            match self.outbox.pop() {
                Some(parcel) if parcel.is_expired(cx.now) => self.drop_outdated(cx, parcel, Outdated::TooOld),
                Some(parcel) => {
                    self.phase.count_message();
                    self.begin_delivery(cx, parcel);
                }
                None => return self.back_to_sleep(cx),
            }
        }
    }

    /// Ends a wake-up with exactly one PINGRESP; of a client that is not awake nothing changes.
    pub(super) fn back_to_sleep(&mut self, cx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Awake { .. }) {
            self.answer(cx, PingResp);
            self.phase.sleep(cx.now, None);
            self.shelve_queued(cx);
        }
    }

    /// Goes on after a pause: what is in flight is sent again, or the next message begins.
    pub(super) fn resume_delivery(&mut self, cx: &mut Context<'_>) {
        if !self.listens() {
            return;
        }
        match &mut self.outbox.in_flight {
            Some(in_flight) => {
                in_flight.resume(cx.now);
                self.transmit(cx, Attempt::Again);
            }
            None => self.pump(cx),
        }
    }

    /// The message in flight has not been answered in time.
    pub(super) fn on_outbox_due(&mut self, cx: &mut Context<'_>) {
        let n_retry = cx.settings.timers.n_retry;
        let Some(in_flight) = &mut self.outbox.in_flight else { return };
        if in_flight.due.is_none_or(|due| due > cx.now) {
            return;
        }
        if in_flight.pace != Pace::Usual {
            return self.end_rest(cx);
        }
        if in_flight.resends < n_retry {
            in_flight.resends += 1;
            cx.stats.retransmitted += 1;
            self.transmit(cx, Attempt::Again);
            return;
        }
        let since = in_flight.since;
        match &self.phase {
            Phase::Awake { .. } => {
                // Not lost: a sleeper's radio may be off again. The next PINGREQ goes on (digest §13.4).
                self.phase.sleep(cx.now, None);
                self.outbox.pause();
                self.shelve_queued(cx);
            }
            // Real firmware acknowledges with wrong ids, or not at all, and is alive all the same.
            Phase::Active(presence) if presence.heard > since => self.rest(cx),
            Phase::Active(_) => self.lose(cx, LossReason::NoAnswer),
            Phase::Handshake(_) | Phase::Asleep(_) | Phase::Away { .. } | Phase::Over => self.outbox.pause(),
        }
    }

    /// Takes the message in flight as delivered and goes on to the next.
    pub(super) fn complete(&mut self, cx: &mut Context<'_>) {
        cx.stats.delivered += 1;
        self.end_in_flight(cx);
    }

    /// Drops the message in flight for good and goes on to the next.
    pub(super) fn drop_in_flight(&mut self, cx: &mut Context<'_>, why: Undeliverable) {
        cx.stats.undeliverable += 1;
        if let Some(in_flight) = &self.outbox.in_flight {
            let topic = in_flight.parcel.message.topic.clone();
            cx.notice(Notice::Undeliverable { client_id: self.client_id.clone(), topic, why });
        }
        self.end_in_flight(cx);
    }

    /// Tells the client the name of the topic in flight again, because it does not know its id.
    pub(super) fn register_again(&mut self, cx: &mut Context<'_>, topic_id: TopicId) {
        self.registry.set_knowledge(topic_id, Knowledge::Unconfirmed);
        let Some(in_flight) = &self.outbox.in_flight else { return };
        if !self.fits(cx, &in_flight.parcel, &Address::Unregistered(topic_id)) {
            // The client had the id by its own REGISTER or SUBSCRIBE, whose answer needs less room.
            cx.stats.too_large += 1;
            return self.drop_in_flight(cx, Undeliverable::TooLarge);
        }
        let msg_id = self.outbox.next_msg_id();
        if let Some(in_flight) = &mut self.outbox.in_flight {
            in_flight.parcel.healing = Healing::Tried;
            in_flight.proceed(Step::Register { topic_id, msg_id }, cx.now);
            self.continue_in_flight(cx);
        }
    }

    /// The client knows the topic's id now: publish what waited for it.
    pub(super) fn publish_registered(&mut self, cx: &mut Context<'_>, topic_id: TopicId) {
        let Some(in_flight) = self.outbox.in_flight.take() else { return };
        self.publish(cx, in_flight, TopicRef::Normal(topic_id));
    }

    /// Tells the client the name of a topic that it did not know, and then the message that it could not place.
    pub(super) fn deliver_again(&mut self, cx: &mut Context<'_>, topic_id: TopicId, mut parcel: Parcel) {
        self.registry.set_knowledge(topic_id, Knowledge::Unconfirmed);
        parcel.healing = Healing::Tried;
        self.outbox.push_front(parcel);
        self.pump(cx);
    }

    /// Goes on with the step in flight if the client listens; otherwise when it wakes.
    pub(super) fn continue_in_flight(&mut self, cx: &mut Context<'_>) {
        if self.listens() {
            self.transmit(cx, Attempt::First);
        } else {
            self.outbox.pause();
        }
    }

    /// The client will not take anything for a while.
    pub(super) fn shelve_queued(&mut self, cx: &mut Context<'_>) {
        for parcel in self.outbox.parcels_mut() {
            self.entry.shelve(cx, parcel);
        }
    }

    /// The broker's window is full of deliveries, and this is the oldest: the gateway answers for it.
    pub(in crate::core) fn shelve_delivery(&mut self, cx: &mut Context<'_>, number: DeliveryNumber) {
        let claims = |parcel: &&mut Parcel| parcel.receipt.as_ref().is_some_and(|receipt| receipt.number() == number);
        for parcel in self.outbox.parcels_mut().filter(claims) {
            self.entry.shelve(cx, parcel);
        }
    }

    fn begin_delivery(&mut self, cx: &mut Context<'_>, parcel: Parcel) {
        let address = self.address(cx, &parcel.message.topic);
        let in_flight = InFlight::new(parcel, Step::Release, cx.now);
        if !self.fits(cx, &in_flight.parcel, &address) {
            cx.stats.too_large += 1;
            self.outbox.in_flight = Some(in_flight);
            return self.drop_in_flight(cx, Undeliverable::TooLarge);
        }
        match address {
            Address::Known(topic) => self.publish(cx, in_flight, topic),
            Address::Unregistered(topic_id) => {
                let msg_id = self.outbox.next_msg_id();
                self.outbox.in_flight = Some(InFlight { step: Step::Register { topic_id, msg_id }, ..in_flight });
                self.transmit(cx, Attempt::First);
            }
            Address::Refused => {
                self.outbox.in_flight = Some(in_flight);
                self.drop_in_flight(cx, Undeliverable::TopicRefused);
            }
            Address::NoRoom => {
                self.outbox.in_flight = Some(in_flight);
                self.drop_in_flight(cx, Undeliverable::TooManyTopics);
            }
        }
    }

    /// Sends the PUBLISH; at QoS 0 that is the end of it.
    fn publish(&mut self, cx: &mut Context<'_>, mut in_flight: InFlight, topic: TopicRef) {
        if in_flight.parcel.is_acknowledged() {
            let attempt = match in_flight.parcel.sent_as {
                Some(_) => Attempt::Again,
                None => Attempt::First,
            };
            if in_flight.parcel.sent_as.is_none() {
                in_flight.parcel.sent_as = Some(self.outbox.next_msg_id());
                if in_flight.parcel.message.qos == Qos::ExactlyOnce {
                    self.entry.keep_parcel(cx, &mut in_flight.parcel, Progress::Owed);
                    if let Some(receipt) = &in_flight.parcel.receipt {
                        cx.upstream.take_over(receipt);
                    }
                }
            }
            in_flight.proceed(Step::Publish { topic }, cx.now);
            self.outbox.in_flight = Some(in_flight);
            self.transmit(cx, attempt);
        } else {
            let message = &in_flight.parcel.message;
            self.answer(cx, publish_message(message, topic, MsgId::NONE, Attempt::First));
            cx.stats.delivered += 1;
            let mut parcel = in_flight.parcel;
            self.settle(cx, &mut parcel);
            // If the client does not know the id, it says so and gets the message once more.
            self.outbox.last_unacknowledged = match (topic, parcel.healing) {
                (TopicRef::Normal(id), Healing::Untried) => Some((id, parcel)),
                (_, Healing::Untried | Healing::Tried) => None,
            };
        }
    }

    /// Sends the step in flight and sets its timer.
    fn transmit(&mut self, cx: &mut Context<'_>, attempt: Attempt) {
        let due = cx.now + cx.settings.timers.t_retry;
        let Some(in_flight) = &mut self.outbox.in_flight else { return };
        in_flight.due = Some(due);
        let Some(presence) = self.phase.presence() else { return };
        let route = presence.route.as_ref();
        let message = &in_flight.parcel.message;
        let published_as = in_flight.parcel.sent_as.unwrap_or(MsgId::NONE);
        match in_flight.step {
            Step::Register { topic_id, msg_id } => {
                cx.send(route, Register { topic_id, msg_id, topic_name: message.topic.as_str().as_bytes() });
            }
            Step::Publish { topic } => cx.send(route, publish_message(message, topic, published_as, attempt)),
            Step::Release => cx.send(route, PubRel { msg_id: published_as }),
        }
    }

    /// Chooses how to name a topic to this client (MQTT-SN digest §11).
    fn address(&mut self, cx: &mut Context<'_>, topic: &TopicName) -> Address {
        if let Some(topic) = self.subscriptions.named_as(topic) {
            return Address::Known(topic);
        }
        if let Some(id) = self.registry.id(topic.as_str()) {
            return match self.registry.knowledge(id) {
                Some(Knowledge::Confirmed) => Address::Known(TopicRef::Normal(id)),
                Some(Knowledge::Refused) => Address::Refused,
                Some(Knowledge::Unconfirmed) | None => Address::Unregistered(id),
            };
        }
        if let Some(id) = cx.predefined.id(topic) {
            return Address::Known(TopicRef::Predefined(id));
        }
        if let Some(octets) = topic.as_short() {
            return Address::Known(TopicRef::Short(octets));
        }
        match self.allocate_id(cx, topic) {
            Some(id) => Address::Unregistered(id),
            None => Address::NoRoom,
        }
    }

    /// Whether every message that this delivery needs fits into a frame of the client's link (MQTT-SN 1.2 §6.10).
    fn fits(&self, cx: &Context<'_>, parcel: &Parcel, address: &Address) -> bool {
        let Some(route) = self.route() else { return false };
        let room = cx.link(route.peer()).max_frame.saturating_sub(route.wrapper().len());
        let topic_id = TopicId::NONE;
        let publish = publish_message(&parcel.message, TopicRef::Normal(topic_id), MsgId::NONE, Attempt::First);
        let register = || {
            let topic_name = parcel.message.topic.as_str().as_bytes();
            wire::Message::from(Register { topic_id, msg_id: MsgId::NONE, topic_name })
        };
        wire::Message::from(publish).encoded_len() <= room
            && (!matches!(address, Address::Unregistered(_)) || register().encoded_len() <= room)
    }

    /// The client is alive and does not answer this. To call it lost would cost what it publishes, and to drop the
    /// message would break a promise, so it is tried again later; meanwhile nothing for it holds the broker's window.
    ///
    /// Two steps are not tried for ever. A client that never answers REGISTER cannot take the topic at all, and must
    /// not miss the others; one that never answers PUBREL has the message, and only does not say so.
    fn rest(&mut self, cx: &mut Context<'_>) {
        let Some(in_flight) = &mut self.outbox.in_flight else { return };
        match in_flight.step {
            Step::Register { topic_id, .. } if in_flight.has_rested => {
                self.registry.set_knowledge(topic_id, Knowledge::Refused);
                self.drop_in_flight(cx, Undeliverable::NoAnswer);
            }
            Step::Release if in_flight.has_rested => self.complete(cx),
            Step::Register { .. } | Step::Publish { .. } | Step::Release => {
                let is_news = !std::mem::replace(&mut in_flight.has_rested, true);
                in_flight.wait(Pace::Resting, cx.now, cx.settings.timers.t_wait);
                if is_news {
                    let topic = in_flight.parcel.message.topic.clone();
                    cx.notice(Notice::Unacknowledged { client_id: self.client_id.clone(), topic });
                }
                self.shelve_queued(cx);
            }
        }
    }

    /// The client has been left alone for long enough: the message is tried again, unless it has become too old.
    fn end_rest(&mut self, cx: &mut Context<'_>) {
        let Some(in_flight) = &mut self.outbox.in_flight else { return };
        if in_flight.step != Step::Release && in_flight.parcel.is_expired(cx.now) {
            if let Some(in_flight) = self.outbox.in_flight.take() {
                self.drop_outdated(cx, in_flight.parcel, Outdated::TooOld);
            }
            return;
        }
        in_flight.resume(cx.now);
        cx.stats.retransmitted += 1;
        self.transmit(cx, Attempt::Again);
    }

    /// Drops a message that has waited in vain.
    fn drop_outdated(&self, cx: &mut Context<'_>, mut parcel: Parcel, why: Outdated) {
        match why {
            Outdated::TooOld => cx.stats.expired += 1,
            Outdated::Superseded => cx.stats.superseded += 1,
        }
        let (client_id, topic) = (self.client_id.clone(), parcel.message.topic.clone());
        cx.notice(Notice::Outdated { client_id, topic, bound: Bound::ForClient, why });
        self.settle(cx, &mut parcel);
    }

    fn end_in_flight(&mut self, cx: &mut Context<'_>) {
        if let Some(mut in_flight) = self.outbox.in_flight.take() {
            self.settle(cx, &mut in_flight.parcel);
        }
    }

    fn settle(&self, cx: &mut Context<'_>, parcel: &mut Parcel) {
        if let Some(receipt) = parcel.receipt.take() {
            cx.upstream.settle(cx.out, receipt);
        }
        self.entry.release_parcel(cx, parcel);
    }
}

/// Whether a PUBLISH goes out for the first time or is marked DUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

fn publish_message(message: &Message, topic: TopicRef, msg_id: MsgId, attempt: Attempt) -> Publish<'_> {
    Publish {
        dup: attempt == Attempt::Again,
        qos: QosField::Level(message.qos),
        retain: message.retain,
        topic,
        msg_id,
        data: &message.payload,
    }
}
