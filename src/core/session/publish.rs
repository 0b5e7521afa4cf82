//! PUBLISH from a client: the message goes up, and the acknowledgement comes back once the broker has it
//! (MQTT-SN 1.2 §6.6).

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher};

use bytes::Bytes;

use super::Session;
use crate::core::context::Context;
use crate::core::notice::{Notice, Refused};
use crate::core::predefined::Predefined;
use crate::core::topics::{Registry, TopicError, TopicName};
use crate::core::upstream::{PublishRefusal, Taken};
use crate::core::{
    BrokerReason, ExchangeProgress, ExchangeRecord, Message, PublishOutcome, Record, RecordKey, SessionNumber, StoreOp,
    Token,
};
use crate::wire::{MsgId, PubAck, PubComp, PubRec, PubRel, Publish, Qos, ReturnCode, TopicId, TopicRef};

/// Publishes remembered after the end of their exchange, to know a repetition. A client has one open at a time
/// (MQTT-SN 1.2 §6.6); four leave room for those that do not keep to it.
const REMEMBERED: usize = 4;

/// The exchanges that the client has begun.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    open: Vec<Exchange>,
    /// Publishes whose exchange has ended lately, newest last.
    ended: VecDeque<Fingerprint>,
}

#[derive(Debug)]
enum Exchange {
    /// QoS 1 or 2: the broker has not answered yet.
    AtBroker { token: Token, qos: Qos, topic_id: TopicId, print: Fingerprint },
    /// QoS 2: the broker has the message and the client has to send PUBREL.
    Received { topic_id: TopicId, print: Fingerprint },
}

/// Tells one message from another that carries the same message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    msg_id: MsgId,
    qos: Qos,
    content: u64,
}

/// Why a PUBLISH is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct Rejection {
    pub(in crate::core) return_code: ReturnCode,
    pub(in crate::core) reason: Refused,
}

impl Session {
    /// Handles a PUBLISH at QoS 0, 1 or 2. QoS -1 has no session (see `Gateway`).
    pub(super) fn on_publish(&mut self, cx: &mut Context<'_>, publish: &Publish<'_>) {
        let Some(qos) = publish.qos.level() else { return };
        let result = match qos {
            Qos::AtMostOnce => self.publish_at_most_once(cx, publish),
            Qos::AtLeastOnce | Qos::ExactlyOnce => self.publish_acknowledged(cx, publish, qos),
        };
        if let Err(rejection) = result {
            cx.stats.publish_refused += 1;
            cx.notice(Notice::Refused { client_id: self.client_id.clone(), what: rejection.reason });
            self.answer_publish(cx, publish.topic.octets(), publish.msg_id, rejection.return_code);
        }
    }

    /// Takes the broker's answer to one of the client's publishes.
    pub(in crate::core) fn on_published(&mut self, cx: &mut Context<'_>, token: Token, outcome: PublishOutcome) {
        let position = self.uplink.open.iter().position(|exchange| exchange.token() == Some(token));
        let Some(Exchange::AtBroker { qos, topic_id, print, .. }) = position.map(|at| self.uplink.open.remove(at))
        else {
            return;
        };
        if qos == Qos::ExactlyOnce && cx.journal.is_on() {
            self.entry.promise(cx, StoreOp::Delete(RecordKey::Completed(token)));
        }
        match outcome {
            PublishOutcome::Accepted => {
                cx.stats.published += 1;
                if qos == Qos::ExactlyOnce {
                    self.receive(cx, topic_id, print);
                } else {
                    self.uplink.remember(print);
                    self.answer_publish(cx, topic_id, print.msg_id, ReturnCode::Accepted);
                }
            }
            PublishOutcome::Refused(reason) => {
                self.drop_exchange(cx, print);
                cx.stats.publish_refused += 1;
                let what = Refused::PublishByBroker { reason };
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                self.answer_publish(cx, topic_id, print.msg_id, reason.return_code());
            }
            PublishOutcome::Busy => {
                self.drop_exchange(cx, print);
                cx.stats.publish_refused += 1;
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what: Refused::BrokerBusy });
                self.answer_publish(cx, topic_id, print.msg_id, ReturnCode::Congestion);
            }
            // Nobody knows whether the broker has it. The client hears nothing and sends it again.
            PublishOutcome::Lost => self.drop_exchange(cx, print),
        }
    }

    /// PUBREL is answered even if its id is unknown: the PUBCOMP before may have been lost (MQTT-SN digest §9). Only
    /// for a message that the broker does not have yet it comes too early, and the client has to send it again.
    pub(super) fn on_pub_rel(&mut self, cx: &mut Context<'_>, pub_rel: PubRel) {
        if self.uplink.open.iter().any(|exchange| exchange.is_begun(pub_rel.msg_id)) {
            return;
        }
        if let Some(print) = self.uplink.release(pub_rel.msg_id) {
            self.drop_exchange(cx, print);
        }
        self.answer(cx, PubComp { msg_id: pub_rel.msg_id });
    }

    fn publish_at_most_once(&self, cx: &mut Context<'_>, publish: &Publish<'_>) -> Result<(), Rejection> {
        let topic = resolve(publish.topic, &self.registry, cx.predefined)?;
        let topic = self.prefix.up(&topic)?;
        let payload = Bytes::copy_from_slice(publish.data);
        let message = Message { topic, payload, qos: Qos::AtMostOnce, retain: publish.retain };
        let (upstream, mut means) = cx.upstream();
        upstream.publish_at_most_once(&mut means, self.owner(), message)?;
        cx.stats.published += 1;
        Ok(())
    }

    fn publish_acknowledged(&mut self, cx: &mut Context<'_>, publish: &Publish<'_>, qos: Qos) -> Result<(), Rejection> {
        if !publish.msg_id.is_usable() {
            return Err(Rejection::not_supported(Refused::PublishWithoutMsgId));
        }
        let topic = resolve(publish.topic, &self.registry, cx.predefined)?;
        let print = Fingerprint { msg_id: publish.msg_id, qos, content: content_hash(&topic, publish.data) };
        match self.uplink.repetition(print, qos, publish.dup) {
            Repetition::New => {}
            Repetition::Waiting(token) => {
                cx.stats.publish_repeated += 1;
                return self.adopt(cx, publish, (topic, print, token));
            }
            Repetition::Received => {
                cx.stats.publish_repeated += 1;
                self.answer(cx, PubRec { msg_id: publish.msg_id });
                return Ok(());
            }
            Repetition::Acknowledged => {
                cx.stats.publish_repeated += 1;
                self.answer_publish(cx, publish.topic.octets(), publish.msg_id, ReturnCode::Accepted);
                return Ok(());
            }
        }
        match self.uplink.make_room(cx.settings.limits.publishes_per_client) {
            Room::Free => {}
            Room::Made(print) => self.drop_exchange(cx, print),
            Room::None => return Err(Rejection::congestion(Refused::TooManyPublishes)),
        }
        let payload = Bytes::copy_from_slice(publish.data);
        let message = Message { topic: self.prefix.up(&topic)?, payload, qos, retain: publish.retain };
        let (upstream, mut means) = cx.upstream();
        match upstream.publish(&mut means, self.owner(), message)? {
            Taken::AtBroker(token) => {
                let exchange = Exchange::AtBroker { token, qos, topic_id: publish.topic.octets(), print };
                self.keep_exchange(cx, &exchange);
                self.uplink.open.push(exchange);
            }
            Taken::Kept => self.answer_kept(cx, publish.topic.octets(), print),
        }
        Ok(())
    }

    /// The client asks again for a message that the broker has not answered; if the broker is away, the gateway can
    /// answer for it.
    fn adopt(
        &mut self,
        cx: &mut Context<'_>,
        publish: &Publish<'_>,
        (topic, print, token): (TopicName, Fingerprint, Token),
    ) -> Result<(), Rejection> {
        let payload = Bytes::copy_from_slice(publish.data);
        let message = Message { topic: self.prefix.up(&topic)?, payload, qos: print.qos, retain: publish.retain };
        let (upstream, mut means) = cx.upstream();
        if upstream.adopt(&mut means, self.owner(), message, token) {
            self.uplink.open.retain(|exchange| exchange.token() != Some(token));
            self.answer_kept(cx, publish.topic.octets(), print);
        }
        Ok(())
    }

    /// The gateway has answered for the message, which ends the client's part in it.
    fn answer_kept(&mut self, cx: &mut Context<'_>, topic_id: TopicId, print: Fingerprint) {
        // Not before the message is in the store, whoever wrote it there.
        self.entry.await_all(cx);
        if print.qos == Qos::ExactlyOnce {
            self.receive(cx, topic_id, print);
        } else {
            self.uplink.remember(print);
            self.answer_publish(cx, topic_id, print.msg_id, ReturnCode::Accepted);
        }
    }

    /// QoS 2: the message is in good hands, and the client has to release it.
    fn receive(&mut self, cx: &mut Context<'_>, topic_id: TopicId, print: Fingerprint) {
        let exchange = Exchange::Received { topic_id, print };
        self.keep_exchange(cx, &exchange);
        self.uplink.open.push(exchange);
        self.answer(cx, PubRec { msg_id: print.msg_id });
    }

    /// Keeps a QoS 2 exchange. One at QoS 1 begins anew after a restart: the client asks again.
    fn keep_exchange(&mut self, cx: &mut Context<'_>, exchange: &Exchange) {
        if cx.journal.is_on()
            && let Some(record) = exchange.record(self.number())
        {
            self.entry.promise(cx, StoreOp::Put(Record::Exchange(record)));
        }
    }

    fn drop_exchange(&mut self, cx: &mut Context<'_>, print: Fingerprint) {
        if cx.journal.is_on() && print.qos == Qos::ExactlyOnce {
            self.entry.promise(cx, StoreOp::Delete(RecordKey::Exchange(self.number(), print.msg_id.0)));
        }
    }

    fn answer_publish(&self, cx: &mut Context<'_>, topic_id: TopicId, msg_id: MsgId, return_code: ReturnCode) {
        self.answer(cx, PubAck { topic_id, msg_id, return_code });
    }
}

enum Repetition {
    New,
    /// Sent to the broker, which has not answered.
    Waiting(Token),
    /// QoS 2: answered with PUBREC, and perhaps released since.
    Received,
    /// QoS 1: answered with PUBACK a moment ago.
    Acknowledged,
}

/// Whether one more exchange may begin.
enum Room {
    Free,
    /// This one had to give way.
    Made(Fingerprint),
    None,
}

impl Uplink {
    pub(super) fn restore(&mut self, record: &ExchangeRecord) {
        self.open.push(Exchange::restore(record));
    }

    /// Returns how many exchanges are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Forgets all exchanges. Returns the tokens whose answers nobody waits for any more.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Token> + use<> {
        self.ended.clear();
        std::mem::take(&mut self.open).into_iter().filter_map(|exchange| exchange.token())
    }

    /// Returns the tokens of what the broker has not answered.
    pub(super) fn at_broker(&self) -> Vec<Token> {
        self.open.iter().filter_map(Exchange::token).collect()
    }

    /// Tells whether the client has sent this message before.
    ///
    /// At QoS 2 the message id alone decides, until PUBREL. At QoS 1 the content must be the same too, because
    /// clients start their ids anew after a reset. When the exchange has ended the content must be the same at either
    /// QoS, and DUP must be set: a sensor may well send the same reading twice under the same id, and a repetition
    /// may have been overtaken on its way by the PUBREL. A repetition never has another QoS.
    fn repetition(&self, print: Fingerprint, qos: Qos, dup: bool) -> Repetition {
        for exchange in &self.open {
            match exchange {
                Exchange::Received { print: received, .. }
                    if qos == Qos::ExactlyOnce && received.msg_id == print.msg_id =>
                {
                    return Repetition::Received;
                }
                Exchange::AtBroker { token, print: open, qos: open_qos, .. }
                    if *open_qos == qos
                        && (*open == print || (qos == Qos::ExactlyOnce && open.msg_id == print.msg_id)) =>
                {
                    return Repetition::Waiting(*token);
                }
                Exchange::Received { .. } | Exchange::AtBroker { .. } => {}
            }
        }
        match qos {
            Qos::AtLeastOnce if dup && self.ended.contains(&print) => Repetition::Acknowledged,
            Qos::ExactlyOnce if dup && self.ended.contains(&print) => Repetition::Received,
            Qos::AtMostOnce | Qos::AtLeastOnce | Qos::ExactlyOnce => Repetition::New,
        }
    }

    /// The client has released a message: its id is free for another one.
    fn release(&mut self, id: MsgId) -> Option<Fingerprint> {
        let position = self.open.iter().position(|exchange| exchange.is_received(id));
        let Some(Exchange::Received { print, .. }) = position.map(|at| self.open.remove(at)) else { return None };
        self.remember(print);
        Some(print)
    }

    fn remember(&mut self, print: Fingerprint) {
        while self.ended.len() >= REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(print);
    }

    /// Returns whether one more exchange may begin. Ones that only wait for a PUBREL which never came make room.
    fn make_room(&mut self, limit: usize) -> Room {
        if self.open.len() < limit {
            return Room::Free;
        }
        let stale = self.open.iter().position(|exchange| exchange.token().is_none());
        match stale.map(|at| self.open.remove(at)) {
            Some(Exchange::Received { print, .. } | Exchange::AtBroker { print, .. }) => Room::Made(print),
            None => Room::None,
        }
    }
}

impl Exchange {
    /// Returns what is kept of it: QoS 2 only.
    fn record(&self, session: SessionNumber) -> Option<ExchangeRecord> {
        let (topic_id, print, progress) = match self {
            Self::AtBroker { token, topic_id, print, .. } => (topic_id, print, ExchangeProgress::AtBroker(*token)),
            Self::Received { topic_id, print } => (topic_id, print, ExchangeProgress::Received),
        };
        let Fingerprint { msg_id, qos, content } = *print;
        let (msg_id, topic_id) = (msg_id.0, topic_id.0);
        (qos == Qos::ExactlyOnce).then_some(ExchangeRecord { session, msg_id, topic_id, content, progress })
    }

    fn restore(record: &ExchangeRecord) -> Self {
        let ExchangeRecord { msg_id, topic_id, content, progress, .. } = *record;
        let (qos, topic_id) = (Qos::ExactlyOnce, TopicId(topic_id));
        let print = Fingerprint { msg_id: MsgId(msg_id), qos, content };
        match progress {
            ExchangeProgress::AtBroker(token) => Self::AtBroker { token, qos, topic_id, print },
            ExchangeProgress::Received => Self::Received { topic_id, print },
        }
    }

    fn token(&self) -> Option<Token> {
        match self {
            Self::AtBroker { token, .. } => Some(*token),
            Self::Received { .. } => None,
        }
    }

    fn is_begun(&self, id: MsgId) -> bool {
        matches!(self, Self::AtBroker { qos: Qos::ExactlyOnce, print, .. } if print.msg_id == id)
    }

    fn is_received(&self, id: MsgId) -> bool {
        matches!(self, Self::Received { print, .. } if print.msg_id == id)
    }
}

/// Returns the full name of a topic as a PUBLISH refers to it (MQTT-SN 1.2 §6.7, digest §9).
pub(in crate::core) fn resolve(
    topic: TopicRef,
    registry: &Registry,
    predefined: &Predefined,
) -> Result<TopicName, Rejection> {
    let unknown = Rejection { return_code: ReturnCode::InvalidTopicId, reason: Refused::UnknownTopicId { topic } };
    match topic {
        TopicRef::Normal(id) => registry.name(id).cloned().ok_or(unknown),
        TopicRef::Predefined(id) => predefined.name(id).cloned().ok_or(unknown),
        TopicRef::Short(name) => {
            TopicName::parse(&name).map_err(|error| Rejection::not_supported(Refused::ShortTopic { error }))
        }
        TopicRef::Reserved(_) => Err(Rejection::not_supported(Refused::ReservedTopicIdType)),
    }
}

impl Rejection {
    fn not_supported(reason: Refused) -> Self {
        Self { return_code: ReturnCode::NotSupported, reason }
    }

    fn congestion(reason: Refused) -> Self {
        Self { return_code: ReturnCode::Congestion, reason }
    }
}

impl From<TopicError> for Rejection {
    fn from(error: TopicError) -> Self {
        Self::not_supported(Refused::PrefixedTopic { error })
    }
}

impl From<PublishRefusal> for Rejection {
    fn from(refusal: PublishRefusal) -> Self {
        match refusal {
            PublishRefusal::Down => Self::congestion(Refused::BrokerDown),
            PublishRefusal::Full => Self::congestion(Refused::TooManyPublishes),
            PublishRefusal::StoreFails => Self::congestion(Refused::StoreFails),
            PublishRefusal::NotKept => Self::congestion(Refused::NotKept),
            PublishRefusal::TooManyKept => Self::congestion(Refused::TooManyKept),
            PublishRefusal::TooLarge => Self::not_supported(Refused::TooLargeForBroker),
            PublishRefusal::BrokersOwn => Self::not_supported(Refused::BrokersOwnTopic),
        }
    }
}

impl BrokerReason {
    /// Returns what the client is told: only "quota exceeded" is worth another try (MQTT-SN digest §17).
    pub(in crate::core) fn return_code(self) -> ReturnCode {
        match self.0 {
            0x97 => ReturnCode::Congestion,
            _ => ReturnCode::NotSupported,
        }
    }
}

/// A fixed seed: the hash must be the same after a restart, and it guards against nothing but confusion.
fn content_hash(topic: &TopicName, data: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    topic.as_str().hash(&mut hasher);
    data.hash(&mut hasher);
    hasher.finish()
}
