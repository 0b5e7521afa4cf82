//! A connected client's requests and their answers, and its keep-alive.

use std::collections::BTreeSet;
use std::time::Duration;

use super::exchange::{Exchange, IdOrigin, Step};
use super::io::{Event, Loss, Operation, Output, Publication, Refusal, RequestError, Settings, Topic};
use super::retry::{Retry, Verdict};
use super::topic_ids::TopicIds;
use super::{deliver, send};
use crate::core::Instant;
use crate::wire::{
    Message, MsgId, MsgType, PingReq, PingResp, PubAck, PubRec, RegAck, ReturnCode, SubAck, TopicId, TopicRef,
};

/// What one call works with.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) settings: &'a Settings,
    pub(super) memory: &'a mut Memory,
    pub(super) out: &'a mut Vec<Output>,
}

/// What a client keeps from one connection to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) topic_ids: TopicIds,
    /// QoS 2 messages that were delivered and not released yet (MQTT 3.1.1 §4.3.3): one per message id at most.
    pub(super) unreleased: BTreeSet<MsgId>,
    last_msg_id: MsgId,
}

#[derive(Debug)]
pub(super) struct Session {
    exchange: Option<Exchange>,
    /// A PINGREQ that is not answered yet.
    ping: Option<Retry>,
    /// When the gateway last answered us: proof that it hears us and that we hear it.
    last_answer: Instant,
}

impl Session {
    pub(super) fn new(now: Instant) -> Self {
        Self { exchange: None, ping: None, last_answer: now }
    }

    /// Publishes, after a REGISTER if need be.
    pub(super) fn publish(&mut self, context: &mut Context<'_>, publication: Publication) -> Result<(), RequestError> {
        context.check_size(&publication.message(TopicRef::Normal(TopicId::NONE), MsgId::NONE, false).into())?;
        let (topic, origin) = match &publication.topic {
            Topic::Predefined(id) => (TopicRef::Predefined(*id), IdOrigin::Fixed),
            Topic::Short(name) => (TopicRef::Short(*name), IdOrigin::Fixed),
            Topic::Name(name) => match context.memory.topic_ids.id_of(name) {
                Some(id) => (TopicRef::Normal(id), IdOrigin::Earlier),
                None => return self.request(context, Step::Register { name: name.clone(), publication }),
            },
        };
        if self.exchange.is_some() && publication.is_acknowledged() {
            return Err(RequestError::Busy);
        }
        self.send_publication(context, publication, topic, origin);
        Ok(())
    }

    /// Starts an exchange with its first message.
    pub(super) fn request(&mut self, context: &mut Context<'_>, step: Step) -> Result<(), RequestError> {
        if self.exchange.is_some() {
            return Err(RequestError::Busy);
        }
        let exchange = Exchange { msg_id: context.memory.next_msg_id(), step, retry: context.retry() };
        context.check_size(&exchange.message(false))?;
        self.start(context, exchange);
        Ok(())
    }

    /// Returns whether a request is not settled yet.
    pub(super) fn is_busy(&self) -> bool {
        self.exchange.is_some()
    }

    pub(super) fn receive(&mut self, context: &mut Context<'_>, message: &Message<'_>) -> Result<(), Loss> {
        match message {
            Message::RegAck(answer) => self.on_regack(context, answer),
            Message::PubAck(answer) => self.on_puback(context, answer),
            Message::PubRec(PubRec { msg_id }) => self.on_pubrec(context, *msg_id),
            Message::PubComp(answer) => self.on_final(context, MsgType::PubComp, answer.msg_id, Event::Published),
            Message::SubAck(answer) => self.on_suback(context, answer),
            Message::UnsubAck(answer) => self.on_final(context, MsgType::UnsubAck, answer.msg_id, Event::Unsubscribed),
            Message::PingResp(_) => {
                self.ping = None;
                self.last_answer = context.now;
            }
            Message::Register(register) => deliver::on_register(context, register),
            Message::Publish(publish) => deliver::on_publish(context, publish),
            Message::PubRel(release) => deliver::on_pubrel(context, release.msg_id),
            Message::PingReq(_) => send(PingResp, context.out),
            Message::Disconnect(_) => return Err(Loss::EndedByGateway),
            // Late answers to CONNECT, what gateways tell everyone, and what only clients send.
            Message::ConnAck(_)
            | Message::WillTopicReq(_)
            | Message::WillMsgReq(_)
            | Message::WillTopicResp(_)
            | Message::WillMsgResp(_)
            | Message::Advertise(_)
            | Message::GwInfo(_)
            | Message::SearchGw(_)
            | Message::Connect(_)
            | Message::WillTopic(_)
            | Message::WillMsg(_)
            | Message::WillTopicUpd(_)
            | Message::WillMsgUpd(_)
            | Message::Subscribe(_)
            | Message::Unsubscribe(_) => {}
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, context: &mut Context<'_>) -> Result<(), Loss> {
        if let Some(exchange) = &mut self.exchange {
            match exchange.retry.poll(context.now) {
                Verdict::Wait => {}
                Verdict::SendAgain => send(exchange.message(true), context.out),
                Verdict::GiveUp => return Err(exchange.retry.no_answer_to(exchange.message(false).msg_type())),
            }
        }
        let ping_is_due = self.ping_due(context.settings).is_some_and(|due| due <= context.now);
        match &mut self.ping {
            Some(ping) => match ping.poll(context.now) {
                Verdict::Wait => {}
                Verdict::SendAgain => send(PingReq { client_id: b"" }, context.out),
                Verdict::GiveUp => return Err(ping.no_answer_to(MsgType::PingReq)),
            },
            None if ping_is_due => {
                self.ping = Some(context.ping_retry());
                send(PingReq { client_id: b"" }, context.out);
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn next_deadline(&self, settings: &Settings) -> Option<Instant> {
        let exchange = self.exchange.as_ref().map(|exchange| exchange.retry.due());
        let ping = self.ping.as_ref().map(Retry::due).or_else(|| self.ping_due(settings));
        exchange.into_iter().chain(ping).min()
    }

    /// A quarter of the period before its end, so that one lost PINGREQ does not cost the session.
    fn ping_due(&self, settings: &Settings) -> Option<Instant> {
        let period = Duration::from_secs(settings.keep_alive.into());
        (!period.is_zero()).then(|| self.last_answer + period * 3 / 4)
    }

    fn on_regack(&mut self, context: &mut Context<'_>, answer: &RegAck) {
        let Some(Step::Register { name, publication }) = self.settle(context, MsgType::RegAck, answer.msg_id) else {
            return;
        };
        if answer.return_code != ReturnCode::Accepted {
            return context.refused(Operation::Register, answer.return_code);
        }
        if !answer.topic_id.is_assignable() {
            return context.refused(Operation::Register, ReturnCode::InvalidTopicId);
        }
        // With no room left for the name the id still serves this one publication.
        let _ = context.memory.topic_ids.learn(answer.topic_id, name);
        self.send_publication(context, publication, TopicRef::Normal(answer.topic_id), IdOrigin::Fixed);
    }

    fn on_puback(&mut self, context: &mut Context<'_>, answer: &PubAck) {
        let code = answer.return_code;
        if code == ReturnCode::InvalidTopicId {
            context.memory.topic_ids.distrust(answer.topic_id);
        }
        if answer.msg_id == MsgId::NONE && code != ReturnCode::Accepted {
            // The only answer there is to a publication at QoS 0.
            return context.refused(Operation::Publish, code);
        }
        let Some(Step::Publish { origin, publication, .. }) = self.settle(context, MsgType::PubAck, answer.msg_id)
        else {
            return;
        };
        match (code, origin, &publication.topic) {
            (ReturnCode::Accepted, ..) => context.tell(Event::Published),
            (ReturnCode::InvalidTopicId, IdOrigin::Earlier, Topic::Name(name)) => {
                let step = Step::Register { name: name.clone(), publication };
                let exchange = Exchange { msg_id: context.memory.next_msg_id(), step, retry: context.retry() };
                self.start(context, exchange);
            }
            (refusal, ..) => context.refused(Operation::Publish, refusal),
        }
    }

    fn on_pubrec(&mut self, context: &mut Context<'_>, msg_id: MsgId) {
        if self.settle(context, MsgType::PubRec, msg_id).is_some() {
            self.start(context, Exchange { msg_id, step: Step::Release, retry: context.retry() });
        }
    }

    fn on_suback(&mut self, context: &mut Context<'_>, answer: &SubAck) {
        let Some(Step::Subscribe { filter, .. }) = self.settle(context, MsgType::SubAck, answer.msg_id) else { return };
        if answer.return_code != ReturnCode::Accepted {
            return context.refused(Operation::Subscribe, answer.return_code);
        }
        if let Some(name) = filter.as_name().filter(|_| answer.topic_id.is_assignable()) {
            // With no room left for the name its messages are answered with "invalid topic id".
            let _ = context.memory.topic_ids.learn(answer.topic_id, name);
        }
        context.tell(Event::Subscribed { granted: answer.qos });
    }

    fn on_final(&mut self, context: &mut Context<'_>, answer: MsgType, msg_id: MsgId, event: Event) {
        if self.settle(context, answer, msg_id).is_some() {
            context.tell(event);
        }
    }

    /// Ends the open exchange if this is its answer.
    fn settle(&mut self, context: &Context<'_>, answer: MsgType, msg_id: MsgId) -> Option<Step> {
        let exchange = self.exchange.take_if(|exchange| exchange.awaits(answer, msg_id))?;
        self.last_answer = context.now;
        Some(exchange.step)
    }

    fn start(&mut self, context: &mut Context<'_>, exchange: Exchange) {
        send(exchange.message(false), context.out);
        self.exchange = Some(exchange);
    }

    fn send_publication(
        &mut self,
        context: &mut Context<'_>,
        publication: Publication,
        topic: TopicRef,
        origin: IdOrigin,
    ) {
        if publication.is_acknowledged() {
            let step = Step::Publish { topic, origin, publication };
            let exchange = Exchange { msg_id: context.memory.next_msg_id(), step, retry: context.retry() };
            self.start(context, exchange);
        } else {
            send(publication.message(topic, MsgId::NONE, false), context.out);
            context.tell(Event::Published);
        }
    }
}

impl Context<'_> {
    pub(super) fn tell(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    pub(super) fn refused(&mut self, operation: Operation, code: ReturnCode) {
        self.tell(Event::Refused(Refusal { operation, code }));
    }

    pub(super) fn check_size(&self, message: &Message<'_>) -> Result<(), RequestError> {
        let (octets, limit) = (message.encoded_len(), self.settings.max_frame.min(usize::from(u16::MAX)));
        if octets > limit {
            return Err(RequestError::TooLarge { message: message.msg_type(), octets, limit });
        }
        Ok(())
    }

    pub(super) fn retry(&self) -> Retry {
        Retry::new(self.now, self.settings.t_retry, self.settings.n_retry)
    }

    /// Not slower than the keep-alive leaves time for.
    fn ping_retry(&self) -> Retry {
        let quarter = Duration::from_secs(self.settings.keep_alive.into()) / 4;
        Retry::new(self.now, self.settings.t_retry.min(quarter), self.settings.n_retry)
    }
}

impl Memory {
    fn next_msg_id(&mut self) -> MsgId {
        self.last_msg_id = MsgId(self.last_msg_id.0.checked_add(1).unwrap_or(1));
        self.last_msg_id
    }
}
