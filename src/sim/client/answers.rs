//! The gateway's answers to what a client has asked.

use std::time::Duration;

use super::errands::publish_without_session;
use super::request::{Ask, Request};
use super::{Client, Hands, Mood, Quirks, State, Tale};
use crate::wire::{
    ConnAck, Message, MsgId, PubAck, PubComp, PubRec, PubRel, Qos, RegAck, Register, ReturnCode, SubAck, TopicId,
    TopicRef, UnsubAck, WillMsg, WillTopic,
};

/// Refusals in a row after which a client gives up, if all is well otherwise: there is no room for it.
const PATIENCE: u32 = 10;

impl Client {
    /// Until CONNACK has come nothing else counts.
    pub(super) fn on_answer_to_connect(&mut self, hands: &mut Hands<'_>, message: &Message<'_>) {
        if let Message::ConnAck(ConnAck { return_code }) = message {
            self.request = None;
            if *return_code == ReturnCode::Accepted {
                self.state = State::Active;
                self.refusals = 0;
                self.resume(hands);
            } else {
                self.refusals += 1;
                let pause = hands.dice.between(Duration::from_secs(1), Duration::from_secs(60));
                self.state = State::Off { until: hands.now + pause };
                if self.mood == Mood::Settled && self.refusals > PATIENCE {
                    self.leave_for_good();
                }
            }
        }
        let Some(Request { ask: Ask::Connect { will: true, .. }, .. }) = &self.request else { return };
        let Some(will) = self.will.clone() else { return };
        if let Message::WillTopicReq(_) = message {
            self.progress(hands);
            self.send(hands, WillTopic { will: Some(will.target.fields()) });
        } else if let Message::WillMsgReq(_) = message {
            self.progress(hands);
            self.send(hands, WillMsg { message: &will.mark.payload(0) });
        }
    }

    pub(super) fn on_answer(&mut self, hands: &mut Hands<'_>, message: &Message<'_>) {
        if let Message::RegAck(ack) = message {
            self.on_reg_ack(hands, *ack);
        } else if let Message::PubAck(ack) = message {
            self.on_pub_ack(hands, *ack);
        } else if let Message::PubRec(ack) = message {
            self.on_pub_rec(hands, *ack);
        } else if let Message::PubComp(ack) = message {
            self.on_pub_comp(hands, *ack);
        } else if let Message::SubAck(ack) = message {
            self.on_sub_ack(*ack);
        } else if let Message::UnsubAck(UnsubAck { msg_id }) = message {
            self.settle_request(|request| matches!(request.ask, Ask::Unsubscribe { .. }) && request.msg_id == *msg_id);
        } else if let Message::WillTopicResp(_) = message {
            self.settle_request(|request| matches!(request.ask, Ask::UpdateWillTopic { .. }));
        } else if let Message::WillMsgResp(_) = message {
            self.settle_request(|request| matches!(request.ask, Ask::UpdateWillMessage { .. }));
        } else if let Message::PingResp(_) = message {
            self.on_ping_resp(hands);
        } else if let Message::Disconnect(_) = message {
            self.on_disconnect(hands);
        }
    }

    fn on_reg_ack(&mut self, hands: &mut Hands<'_>, ack: RegAck) {
        let register = |request: &Request| matches!(request.ask, Ask::Register { .. }) && request.msg_id == ack.msg_id;
        let Some(Request { ask: Ask::Register { publication }, .. }) = self.settle_request(register) else { return };
        if ack.return_code == ReturnCode::Accepted {
            self.memory.learn(ack.topic_id, publication.topic.clone());
            self.publish(hands, publication, TopicRef::Normal(ack.topic_id));
        }
    }

    fn on_pub_ack(&mut self, hands: &mut Hands<'_>, ack: PubAck) {
        if ack.return_code == ReturnCode::InvalidTopicId {
            self.memory.forget_topic(ack.topic_id);
        }
        let publish = |request: &Request| match &request.ask {
            // At QoS 2 a PUBACK is only ever an error.
            Ask::Publish { publication, .. } => {
                let is_error = ack.return_code != ReturnCode::Accepted;
                request.msg_id == ack.msg_id && (is_error || publication.qos == Qos::AtLeastOnce)
            }
            Ask::Connect { .. }
            | Ask::Register { .. }
            | Ask::Release { .. }
            | Ask::Subscribe { .. }
            | Ask::Unsubscribe { .. }
            | Ask::UpdateWillTopic { .. }
            | Ask::UpdateWillMessage { .. }
            | Ask::Ping
            | Ask::Wake
            | Ask::Sleep { .. }
            | Ask::Leave => false,
        };
        let Some(Request { ask: Ask::Publish { mut publication, topic }, .. }) = self.settle_request(publish) else {
            return;
        };
        match ack.return_code {
            ReturnCode::Accepted => hands.tell(Tale::Accepted { mark: publication.mark }),
            ReturnCode::InvalidTopicId if !publication.healed && matches!(topic, TopicRef::Normal(_)) => {
                publication.healed = true;
                self.ask(hands, Ask::Register { publication });
            }
            ReturnCode::InvalidTopicId
            | ReturnCode::Congestion
            | ReturnCode::NotSupported
            | ReturnCode::Reserved(_) => {}
        }
    }

    fn on_pub_rec(&mut self, hands: &mut Hands<'_>, ack: PubRec) {
        if self.nature.has(Quirks::NEVER_RELEASES) {
            self.request = None;
            return;
        }
        if let Some(request) = self.request.as_mut().filter(|request| request.msg_id == ack.msg_id)
            && let Ask::Publish { publication, .. } = &request.ask
        {
            let mark = publication.mark;
            *request = Request::new(Ask::Release { mark }, ack.msg_id, hands.now);
            self.send_request(hands);
        } else if !self.awaits_comp(ack.msg_id) {
            self.send(hands, PubRel { msg_id: ack.msg_id });
        }
    }

    fn on_pub_comp(&mut self, hands: &mut Hands<'_>, ack: PubComp) {
        if self.awaits_comp(ack.msg_id)
            && let Some(Request { ask: Ask::Release { mark }, .. }) = self.request.take()
        {
            hands.tell(Tale::Accepted { mark });
        }
    }

    fn on_sub_ack(&mut self, ack: SubAck) {
        let subscribe =
            |request: &Request| matches!(request.ask, Ask::Subscribe { .. }) && request.msg_id == ack.msg_id;
        let Some(Request { ask: Ask::Subscribe { filter, .. }, .. }) = self.settle_request(subscribe) else { return };
        if ack.return_code == ReturnCode::Accepted
            && filter.is_long_name()
            && ack.topic_id.is_assignable()
            && let Some(topic) = filter.filter.as_name()
        {
            self.memory.learn(ack.topic_id, topic);
        }
    }

    fn on_ping_resp(&mut self, hands: &mut Hands<'_>) {
        if let State::Awake { seconds } = self.state {
            self.request = None;
            self.fall_asleep(hands, seconds);
        } else {
            self.settle_request(|request| matches!(request.ask, Ask::Ping));
        }
    }

    fn on_disconnect(&mut self, hands: &mut Hands<'_>) {
        match self.request.as_ref().map(|request| &request.ask) {
            Some(Ask::Leave) => {
                self.request = None;
                let pause = hands.dice.between(Duration::from_millis(100), Duration::from_secs(60));
                let pause = if self.mood == Mood::Busy { pause } else { Duration::ZERO };
                self.state = State::Off { until: hands.now + pause };
            }
            Some(&Ask::Sleep { seconds }) => {
                self.request = None;
                self.fall_asleep(hands, seconds);
            }
            Some(_) | None if self.nature.has(Quirks::IGNORES_DISCONNECT) => {}
            Some(_) | None => self.lose(hands),
        }
    }

    /// Sleeps for most of the time it has announced; now and then it oversleeps.
    fn fall_asleep(&mut self, hands: &mut Hands<'_>, seconds: u16) {
        if self.nature.has(Quirks::SLEEPWALKS) {
            publish_without_session(hands);
            let msg_id = self.memory.next_msg_id();
            self.send(hands, Register { topic_id: TopicId::NONE, msg_id, topic_name: b"a/b" });
        }
        let announced = Duration::from_secs(seconds.into());
        let oversleeps = self.mood == Mood::Busy && hands.dice.chance(50);
        let nap = if oversleeps { announced * 2 } else { hands.dice.between(announced / 10, announced.mul_f64(0.9)) };
        self.state = State::Asleep { until: hands.now + nap, seconds };
    }

    /// Goes on with a publish that was not answered before.
    fn resume(&mut self, hands: &mut Hands<'_>) {
        if let Some(request) = self.memory.unfinished.take() {
            self.request = Some(request.resumed(hands.now));
            self.send_request(hands);
        }
    }

    fn progress(&mut self, hands: &Hands<'_>) {
        if let Some(request) = &mut self.request {
            request.progress(hands.now);
        }
    }

    fn awaits_comp(&self, msg_id: MsgId) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| request.msg_id == msg_id && matches!(request.ask, Ask::Release { .. }))
    }

    fn settle_request(&mut self, fits: impl Fn(&Request) -> bool) -> Option<Request> {
        self.request.take_if(|request| fits(request))
    }
}
