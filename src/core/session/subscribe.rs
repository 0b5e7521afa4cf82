//! SUBSCRIBE and UNSUBSCRIBE (MQTT-SN 1.2 §6.9).

use super::Session;
use super::publish::Rejection;
use crate::core::context::Context;
use crate::core::notice::{Notice, Refused};
use crate::core::predefined::Predefined;
use crate::core::topics::{Knowledge, TopicFilter, TopicName};
use crate::core::{SubscribeOutcome, Token};
use crate::wire::{FilterRef, MsgId, Qos, ReturnCode, SubAck, Subscribe, TopicId, TopicRef, UnsubAck, Unsubscribe};

/// What the client has subscribed to, and the SUBSCRIBE that the broker has yet to answer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    granted: Vec<Subscription>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Subscription {
    filter: TopicFilter,
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
        let Some(pending) = self.subscriptions.pending.take_if(|pending| pending.token == token) else { return };
        let Pending { msg_id, topic_id, subscription, .. } = pending;
        let naming = subscription.naming;
        let result = match outcome {
            SubscribeOutcome::Granted(qos) => {
                self.note_granted(topic_id, subscription);
                Ok(qos)
            }
            SubscribeOutcome::Refused(reason) => {
                self.subscriptions.remove(&subscription.filter);
                let what = Refused::SubscribeByBroker { reason };
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                Err(reason.return_code())
            }
            SubscribeOutcome::Lost => {
                self.subscriptions.remove(&subscription.filter);
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
            self.subscriptions.remove(&filter);
            cx.upstream.unsubscribe(cx.out, self.key, &filter);
        }
        self.answer(cx, UnsubAck { msg_id: unsubscribe.msg_id });
    }

    /// Ends the subscription to exactly this topic, if there is one: the client has refused it by REGACK.
    pub(super) fn drop_subscription_to(&mut self, cx: &mut Context<'_>, name: &TopicName) {
        let filter = TopicFilter::from(name.clone());
        if self.subscriptions.remove(&filter) {
            cx.upstream.unsubscribe(cx.out, self.key, &filter);
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
        if filter.shared_group().is_some() {
            return Err(not_supported(Refused::SharedSubscription));
        }
        // One SUBSCRIBE is open at a time (MQTT-SN 1.2 §6.9).
        if self.subscriptions.pending.is_some() {
            return Err(congestion(Refused::SubscribeWhileSubscribing));
        }
        if !cx.upstream.is_up() {
            return Err(congestion(Refused::BrokerDown));
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
        let token = cx.upstream.subscribe(cx.out, cx.now, self.key, &filter, qos);
        let subscription = Subscription { filter, naming };
        self.subscriptions.pending = Some(Pending { token, msg_id: subscribe.msg_id, topic_id, subscription });
        Ok(())
    }

    fn note_granted(&mut self, topic_id: TopicId, subscription: Subscription) {
        if subscription.naming == Naming::Name {
            // A topic refused before may be wanted now; the SUBACK tells the client the id of a plain one.
            self.registry.forget_refusals();
            if topic_id.is_assignable() {
                self.registry.set_knowledge(topic_id, Knowledge::Confirmed);
            }
        }
        self.subscriptions.remove(&subscription.filter);
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
    /// Whether a SUBSCRIBE waits for the broker: until it is answered the client may not know its topic's id.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
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

    /// Forgets the SUBSCRIBE that waits for the broker and returns its token.
    pub(super) fn take_pending(&mut self) -> Option<Token> {
        self.pending.take().map(|pending| pending.token)
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
