//! SUBSCRIBE and UNSUBSCRIBE (MQTT-SN 1.2 §6.9).

use super::Session;
use super::presence::Phase;
use super::publish::Rejection;
use crate::core::context::Context;
use crate::core::notice::{Notice, Refused};
use crate::core::predefined::Predefined;
use crate::core::topics::{Knowledge, TopicFilter, TopicName};
use crate::core::{
    NamingRecord, Record, RecordKey, SessionNumber, StoreOp, SubscribeOutcome, SubscriptionRecord, Token,
};
use crate::wire::{
    FilterRef, MsgId, MsgType, Qos, ReturnCode, SubAck, Subscribe, TopicId, TopicRef, UnsubAck, Unsubscribe,
};

/// What the client has subscribed to, and the SUBSCRIBE that the broker has yet to answer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    granted: Vec<Subscription>,
    pending: Option<Pending>,
    /// What the broker had forgotten on the client's own connection, and is asked for again.
    renewals: Vec<(Token, TopicFilter)>,
    /// Renewals that were not answered: they are due on the next connection.
    lapsed: Vec<TopicFilter>,
}

#[derive(Debug)]
struct Subscription {
    filter: TopicFilter,
    /// As the client asked for it.
    qos: Qos,
    naming: Naming,
}

#[derive(Debug)]
struct Pending {
    token: Token,
    msg_id: MsgId,
    topic_id: TopicId,
    subscription: Subscription,
}

/// How the client named the topic, and so how it wants to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Name,
    Predefined(TopicId),
    Short,
}

impl Session {
    pub(super) fn on_subscribe(&mut self, cx: &mut Context<'_>, subscribe: &Subscribe<'_>) {
        if self.subscriptions.is_repeated(subscribe.msg_id) {
            return;
        }
        if let Err(rejection) = self.begin_subscribe(cx, subscribe) {
            cx.notice(Notice::Refused { client_id: self.client_id.clone(), what: rejection.reason });
            let naming = match subscribe.topic {
                FilterRef::Name(_) => Naming::Name,
                FilterRef::Predefined(id) => Naming::Predefined(id),
                FilterRef::Short(_) => Naming::Short,
            };
            self.answer_subscribe(cx, subscribe.msg_id, naming.refused_id(), Err(rejection.return_code));
        }
    }

    /// Takes the broker's answer to the client's SUBSCRIBE.
    pub(in crate::core) fn on_subscribed(&mut self, cx: &mut Context<'_>, token: Token, outcome: SubscribeOutcome) {
        let Some(pending) = self.subscriptions.pending.take_if(|pending| pending.token == token) else {
            return self.on_renewed(cx, token, outcome);
        };
        let Pending { msg_id, topic_id, subscription, .. } = pending;
        let naming = subscription.naming;
        let result = match outcome {
            SubscribeOutcome::Granted(qos) => {
                self.note_granted(cx, topic_id, subscription);
                Ok(qos)
            }
            SubscribeOutcome::Refused(reason) => {
                let what = Refused::SubscribeByBroker { reason };
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                Err(reason.return_code())
            }
            SubscribeOutcome::Lost => {
                let what = Refused::SubscribeLost;
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                Err(ReturnCode::Congestion)
            }
        };
        let topic_id = if result.is_ok() { topic_id } else { naming.refused_id() };
        self.answer_subscribe(cx, msg_id, topic_id, result);
        self.pump(cx);
    }

    pub(super) fn on_unsubscribe(&mut self, cx: &mut Context<'_>, unsubscribe: &Unsubscribe<'_>) {
        // UNSUBACK has no return code, so it also answers what was never subscribed (MQTT-SN digest §10).
        if let Ok((filter, _)) = resolve(unsubscribe.topic, cx.predefined) {
            self.withdraw_subscribe(cx, &filter);
            self.drop_subscription(cx, &filter);
            self.unsubscribe_upstream(cx, &filter);
        }
        self.answer(cx, UnsubAck { msg_id: unsubscribe.msg_id });
    }

    /// A SUBSCRIBE or UNSUBSCRIBE names its topic in a way that is reserved. Nothing of it counts but its message id.
    pub(in crate::core) fn on_unreadable_filter(&self, cx: &mut Context<'_>, msg_type: MsgType, msg_id: MsgId) {
        if matches!(self.phase, Phase::Handshake(_)) {
            return;
        }
        if msg_type == MsgType::Subscribe {
            self.answer_subscribe(cx, msg_id, TopicId::NONE, Err(ReturnCode::NotSupported));
        } else if msg_type == MsgType::Unsubscribe {
            self.answer(cx, UnsubAck { msg_id });
        }
    }

    /// Gives up a SUBSCRIBE that the broker has not answered: the client has begun anew and no longer waits.
    pub(super) fn cancel_subscribe(&mut self, cx: &mut Context<'_>) {
        let Some(Pending { token, subscription, .. }) = self.subscriptions.pending.take() else { return };
        cx.upstream.forget(token);
        if !self.subscriptions.contains(&subscription.filter) {
            self.unsubscribe_upstream(cx, &subscription.filter);
        }
    }

    /// Ends the wait for the broker's answer to a SUBSCRIBE that the client takes back before it has come.
    fn withdraw_subscribe(&mut self, cx: &mut Context<'_>, filter: &TopicFilter) {
        let Some(pending) = self.subscriptions.pending.take_if(|pending| pending.subscription.filter == *filter) else {
            return;
        };
        cx.upstream.forget(pending.token);
        let topic_id = pending.subscription.naming.refused_id();
        self.answer_subscribe(cx, pending.msg_id, topic_id, Err(ReturnCode::Congestion));
    }

    /// Ends the subscription to exactly this topic, if there is one: the client has refused it by REGACK.
    pub(super) fn drop_subscription_to(&mut self, cx: &mut Context<'_>, name: &TopicName) {
        let filter = TopicFilter::from(name.clone());
        if self.drop_subscription(cx, &filter) {
            self.unsubscribe_upstream(cx, &filter);
        }
    }

    fn drop_subscription(&mut self, cx: &mut Context<'_>, filter: &TopicFilter) -> bool {
        let was_there = self.subscriptions.remove(filter);
        if was_there {
            let key = RecordKey::Subscription(self.number(), filter.as_str().into());
            self.entry.promise(cx, StoreOp::Delete(key));
        }
        was_there
    }

    pub(super) fn unsubscribe_upstream(&self, cx: &mut Context<'_>, filter: &TopicFilter) {
        if let Ok(filter) = self.prefix.up_filter(filter) {
            cx.upstream.unsubscribe(cx.out, self.key, &filter);
        }
    }

    /// Asks again for what the broker has forgotten since it was granted on the client's own connection.
    pub(super) fn renew_subscriptions(&mut self, cx: &mut Context<'_>, session_present: bool) {
        if !session_present {
            self.break_off_renewals(cx);
            let granted = self.subscriptions.granted.iter();
            self.subscriptions.lapsed = granted.map(|subscription| subscription.filter.clone()).collect();
        }
        for filter in std::mem::take(&mut self.subscriptions.lapsed) {
            let mut granted = self.subscriptions.granted.iter();
            let Some(Subscription { qos, .. }) = granted.find(|subscription| subscription.filter == filter) else {
                continue;
            };
            let Ok(upstream_filter) = self.prefix.up_filter(&filter) else { continue };
            match cx.upstream.subscribe(cx.out, cx.now, self.key, &upstream_filter, *qos) {
                Some(token) => self.subscriptions.renewals.push((token, filter)),
                None => self.subscriptions.lapsed.push(filter),
            }
        }
    }

    /// Nobody will answer the renewals that are under way: their connection ends.
    pub(super) fn break_off_renewals(&mut self, cx: &mut Context<'_>) {
        for (token, filter) in std::mem::take(&mut self.subscriptions.renewals) {
            cx.upstream.forget(token);
            self.subscriptions.lapsed.push(filter);
        }
    }

    fn on_renewed(&mut self, cx: &mut Context<'_>, token: Token, outcome: SubscribeOutcome) {
        let renewals = &mut self.subscriptions.renewals;
        let Some(position) = renewals.iter().position(|(renewal, _)| *renewal == token) else { return };
        let (_, filter) = renewals.swap_remove(position);
        match outcome {
            SubscribeOutcome::Granted(_) => {}
            SubscribeOutcome::Refused(reason) => cx.notice(Notice::SubscriptionLost { filter, reason }),
            SubscribeOutcome::Lost => self.subscriptions.lapsed.push(filter),
        }
    }

    fn begin_subscribe(&mut self, cx: &mut Context<'_>, subscribe: &Subscribe<'_>) -> Result<(), Rejection> {
        let not_supported = |reason| Rejection { return_code: ReturnCode::NotSupported, reason };
        let congestion = |reason| Rejection { return_code: ReturnCode::Congestion, reason };

        let qos = subscribe.qos.level().ok_or_else(|| not_supported(Refused::SubscribeQosMinusOne))?;
        if !subscribe.msg_id.is_usable() {
            return Err(not_supported(Refused::SubscribeWithoutMsgId));
        }
        let (filter, naming) = resolve(subscribe.topic, cx.predefined)?;
        if filter.shared_group().is_some() && !cx.upstream.allows_shared_subscriptions() {
            return Err(not_supported(Refused::SharedSubscription));
        }
        // One SUBSCRIBE is open at a time (MQTT-SN 1.2 §6.9).
        if self.subscriptions.pending.is_some() {
            return Err(congestion(Refused::SubscribeWhileSubscribing));
        }
        if !cx.upstream.is_up(self.key) {
            return Err(congestion(Refused::SubscribeWithoutBroker));
        }
        if cx.journal.is_stuck() {
            return Err(congestion(Refused::StoreFails));
        }
        let limit = cx.settings.limits.subscriptions_per_client;
        if self.subscriptions.granted.len() >= limit && !self.subscriptions.contains(&filter) {
            return Err(congestion(Refused::TooManySubscriptions { limit }));
        }
        let topic_id = match (naming, subscribe.topic) {
            (Naming::Predefined(id), _) => id,
            // The specification leaves it open; RIOT's emcute ignores a SUBACK with 0000 (digest §6.4).
            (_, FilterRef::Short(octets)) => TopicId(u16::from_be_bytes(octets)),
            (Naming::Name | Naming::Short, _) => match filter.as_name() {
                Some(name) => self.allocate_id(cx, &name).ok_or_else(|| {
                    congestion(Refused::TooManyTopics { limit: cx.settings.limits.topics_per_client })
                })?,
                None => TopicId::NONE,
            },
        };
        let upstream_filter = self.prefix.up_filter(&filter)?;
        let token = cx.upstream.subscribe(cx.out, cx.now, self.key, &upstream_filter, qos);
        let token = token.ok_or_else(|| congestion(Refused::SubscribeWithoutBroker))?;
        let subscription = Subscription { filter, qos, naming };
        self.subscriptions.pending = Some(Pending { token, msg_id: subscribe.msg_id, topic_id, subscription });
        Ok(())
    }

    fn note_granted(&mut self, cx: &mut Context<'_>, topic_id: TopicId, subscription: Subscription) {
        if subscription.naming == Naming::Name {
            // A topic refused before may be wanted now; the SUBACK tells the client the id of a plain one.
            self.registry.forget_refusals();
            if topic_id.is_assignable() {
                self.registry.set_knowledge(topic_id, Knowledge::Confirmed);
            }
        }
        self.subscriptions.remove(&subscription.filter);
        self.entry.promise(cx, StoreOp::Put(Record::Subscription(subscription.record(self.number()))));
        self.subscriptions.granted.push(subscription);
    }

    fn answer_subscribe(
        &self,
        cx: &mut Context<'_>,
        msg_id: MsgId,
        topic_id: TopicId,
        result: Result<Qos, ReturnCode>,
    ) {
        let (qos, return_code) = match result {
            Ok(qos) => (qos, ReturnCode::Accepted),
            Err(return_code) => (Qos::AtMostOnce, return_code),
        };
        self.answer(cx, SubAck { qos: qos.into(), topic_id, msg_id, return_code });
    }
}

impl Subscription {
    fn record(&self, session: SessionNumber) -> SubscriptionRecord {
        let naming = match self.naming {
            Naming::Name => NamingRecord::Name,
            Naming::Predefined(id) => NamingRecord::Predefined(id.0),
            Naming::Short => NamingRecord::Short,
        };
        SubscriptionRecord { session, filter: self.filter.as_str().into(), qos: self.qos, naming }
    }

    /// Takes a record back; one that could not have been written is no subscription.
    fn restore(record: &SubscriptionRecord) -> Option<Self> {
        let naming = match record.naming {
            NamingRecord::Name => Naming::Name,
            NamingRecord::Predefined(id) => Naming::Predefined(TopicId(id)),
            NamingRecord::Short => Naming::Short,
        };
        let filter = TopicFilter::parse(record.filter.as_bytes()).ok()?;
        Some(Self { filter, qos: record.qos, naming })
    }
}

impl Naming {
    /// Returns the topic id of a SUBACK that rejects: none, but a pre-defined one comes back (digest §6.4).
    fn refused_id(self) -> TopicId {
        match self {
            Self::Predefined(id) => id,
            Self::Name | Self::Short => TopicId::NONE,
        }
    }
}

impl Subscriptions {
    /// Takes back what a former process stored. Returns the filter.
    pub(super) fn restore(&mut self, record: &SubscriptionRecord) -> Option<TopicFilter> {
        let subscription = Subscription::restore(record)?;
        let filter = subscription.filter.clone();
        self.granted.push(subscription);
        Some(filter)
    }

    /// Whether a SUBSCRIBE waits for the broker: until it is answered the client may not know its topic's id.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Returns how many there are, with the one that waits for the broker.
    pub(super) fn len(&self) -> usize {
        let is_new = |pending: &Pending| !self.contains(&pending.subscription.filter);
        self.granted.len() + usize::from(self.pending.as_ref().is_some_and(is_new))
    }

    /// Returns what was granted, each with the QoS that the client asked for.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, Qos)> {
        self.granted.iter().map(|subscription| (&subscription.filter, subscription.qos))
    }

    /// Returns how the client named this topic when it subscribed to it, unless by its full name.
    pub(super) fn named_as(&self, topic: &TopicName) -> Option<TopicRef> {
        let is_it = |subscription: &&Subscription| subscription.filter.as_str() == topic.as_str();
        match self.granted.iter().find(is_it)?.naming {
            Naming::Predefined(id) => Some(TopicRef::Predefined(id)),
            Naming::Short => topic.as_short().map(TopicRef::Short),
            Naming::Name => None,
        }
    }

    /// Forgets all and returns the filters, of which the broker's side must hear.
    pub(super) fn clear(&mut self) -> Vec<TopicFilter> {
        let pending = self.pending.as_ref().map(|pending| pending.subscription.filter.clone());
        self.granted.drain(..).map(|subscription| subscription.filter).chain(pending).collect()
    }

    /// Forgets what waits for the broker and returns the tokens.
    pub(super) fn take_pending(&mut self) -> impl Iterator<Item = Token> + use<> {
        self.lapsed.clear();
        let renewals = std::mem::take(&mut self.renewals).into_iter().map(|(token, _)| token);
        self.pending.take().map(|pending| pending.token).into_iter().chain(renewals)
    }

    fn is_repeated(&self, msg_id: MsgId) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.msg_id == msg_id)
    }

    fn contains(&self, filter: &TopicFilter) -> bool {
        self.granted.iter().any(|subscription| subscription.filter == *filter)
    }

    fn remove(&mut self, filter: &TopicFilter) -> bool {
        let position = self.granted.iter().position(|subscription| subscription.filter == *filter);
        position.map(|at| self.granted.swap_remove(at)).is_some()
    }
}

/// Returns the filter that a SUBSCRIBE or UNSUBSCRIBE means, however it names it.
fn resolve(topic: FilterRef<'_>, predefined: &Predefined) -> Result<(TopicFilter, Naming), Rejection> {
    let malformed =
        |error| Rejection { return_code: ReturnCode::NotSupported, reason: Refused::SubscribeFilter { error } };
    match topic {
        FilterRef::Name(octets) => Ok((TopicFilter::parse(octets).map_err(malformed)?, Naming::Name)),
        FilterRef::Short(octets) => Ok((TopicName::parse(&octets).map_err(malformed)?.into(), Naming::Short)),
        FilterRef::Predefined(id) => match predefined.name(id) {
            Some(name) => Ok((name.clone().into(), Naming::Predefined(id))),
            None => Err(Rejection {
                return_code: ReturnCode::InvalidTopicId,
                reason: Refused::UnknownPredefinedId { topic_id: id },
            }),
        },
    }
}
