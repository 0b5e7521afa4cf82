//! The will: asked for at CONNECT, changed at any time, published when the client is lost (MQTT-SN 1.2 §6.2 to §6.4).
//!
//! The gateway keeps the will and publishes it itself. So it can be changed without a new MQTT connection, and it
//! outlives the connection where the session does, as MQTT-SN wants and MQTT cannot.

use bytes::Bytes;

use super::Session;
use super::presence::{Handshake, HandshakeStep, Phase};
use crate::core::context::Context;
use crate::core::notice::{ConnectRefusal, Notice, Refused};
use crate::core::topics::{TopicError, TopicName};
use crate::core::upstream::WillFate;
use crate::core::{Message, WillRecord};
use crate::wire::{
    Disconnect, Qos, ReturnCode, WillMsg, WillMsgReq, WillMsgResp, WillMsgUpd, WillTopic, WillTopicFields,
    WillTopicReq, WillTopicResp, WillTopicUpd,
};

/// What is published when the client is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: WillTarget,
    pub(super) payload: Bytes,
}

/// Where a will goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WillTarget {
    name: TopicName,
    qos: Qos,
    retain: bool,
}

/// Why a will topic is not acceptable.
enum WillTopicError {
    Qos,
    Topic(TopicError),
}

impl Session {
    /// Sends, or after silence repeats, the question that the handshake waits on.
    pub(super) fn prompt_for_will(&mut self, cx: &mut Context<'_>) {
        let due = cx.now + cx.settings.timers.t_retry;
        let Phase::Handshake(handshake) = &mut self.phase else { return };
        handshake.due = due;
        match handshake.step {
            HandshakeStep::WillTopic => self.answer(cx, WillTopicReq),
            HandshakeStep::WillMessage(_) => self.answer(cx, WillMsgReq),
            HandshakeStep::Broker => {}
        }
    }

    /// The client has not answered in time: ask again, or forget the attempt (MQTT-SN digest §7.4).
    pub(super) fn on_handshake_due(&mut self, cx: &mut Context<'_>) {
        let n_retry = cx.settings.timers.n_retry;
        let Phase::Handshake(handshake) = &mut self.phase else { return };
        if handshake.due > cx.now {
            return;
        }
        if handshake.step == HandshakeStep::Broker {
            return self.refuse_connect(cx, ConnectRefusal::BrokerSilent);
        }
        if handshake.resends < n_retry {
            handshake.resends += 1;
            cx.stats.retransmitted += 1;
            self.prompt_for_will(cx);
        } else {
            cx.notice(Notice::HandshakeAbandoned { client_id: self.client_id.clone() });
            self.abandon(cx);
        }
    }

    /// The client ends the handshake before it is connected.
    pub(super) fn abort_handshake(&mut self, cx: &mut Context<'_>) {
        self.answer(cx, Disconnect { duration: None });
        self.depart(cx);
    }

    pub(super) fn on_will_topic(&mut self, cx: &mut Context<'_>, message: &WillTopic<'_>) {
        let Phase::Handshake(handshake) = &mut self.phase else { return };
        if handshake.step != HandshakeStep::WillTopic {
            return;
        }
        match message.will.map(WillTarget::parse) {
            // Two octets: no will, and none that was kept (MQTT-SN 1.2 §6.3).
            None => {
                self.will = None;
                self.finish_handshake(cx);
            }
            Some(Ok(target)) => {
                handshake.step = HandshakeStep::WillMessage(target);
                handshake.resends = 0;
                self.prompt_for_will(cx);
            }
            Some(Err(error)) => {
                let why = match error {
                    WillTopicError::Qos => ConnectRefusal::WillQos,
                    WillTopicError::Topic(error) => ConnectRefusal::WillTopic { error },
                };
                self.refuse_connect(cx, why);
            }
        }
    }

    pub(super) fn on_will_msg(&mut self, cx: &mut Context<'_>, message: &WillMsg<'_>) {
        let Phase::Handshake(Handshake { step: HandshakeStep::WillMessage(target), .. }) = &self.phase else { return };
        self.will = Some(Will { topic: target.clone(), payload: Bytes::copy_from_slice(message.message) });
        self.finish_handshake(cx);
    }

    pub(super) fn on_will_topic_upd(&mut self, cx: &mut Context<'_>, message: &WillTopicUpd<'_>) {
        let return_code = match message.will.map(WillTarget::parse) {
            None => {
                self.will = None;
                ReturnCode::Accepted
            }
            Some(Ok(topic)) => {
                let payload = self.will.take().map(|will| will.payload).unwrap_or_default();
                self.will = Some(Will { topic, payload });
                ReturnCode::Accepted
            }
            Some(Err(error)) => {
                let what = match error {
                    WillTopicError::Qos => Refused::WillQos,
                    WillTopicError::Topic(error) => Refused::WillTopic { error },
                };
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                ReturnCode::NotSupported
            }
        };
        self.touch();
        self.answer(cx, WillTopicResp { return_code });
    }

    pub(super) fn on_will_msg_upd(&mut self, cx: &mut Context<'_>, message: &WillMsgUpd<'_>) {
        let return_code = match &mut self.will {
            Some(will) => {
                will.payload = Bytes::copy_from_slice(message.message);
                ReturnCode::Accepted
            }
            // MQTT-SN digest §7.3.
            None => {
                let what = Refused::WillMessageWithoutTopic;
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                ReturnCode::NotSupported
            }
        };
        self.touch();
        self.answer(cx, WillMsgResp { return_code });
    }

    /// The client is lost: its will goes to the broker, or waits for it.
    pub(super) fn publish_will(&self, cx: &mut Context<'_>) {
        let Some(message) = self.will_message() else { return };
        let name = message.topic.clone();
        let client_id = self.client_id.clone();
        let (upstream, mut means) = cx.upstream();
        match upstream.publish_will(&mut means, self.owner(), message) {
            WillFate::Published => cx.notice(Notice::WillPublished { client_id, topic: name }),
            WillFate::LeftToBroker => {}
            WillFate::Dropped => {
                cx.stats.wills_dropped += 1;
                cx.notice(Notice::WillDropped { client_id, topic: name });
            }
        }
    }

    /// Returns the will as MQTT has it.
    pub(super) fn will_message(&self) -> Option<Message> {
        let Will { topic: WillTarget { name, qos, retain }, payload } = self.will.clone()?;
        Some(Message { topic: self.prefix.up(&name).ok()?, payload, qos, retain })
    }

    fn finish_handshake(&mut self, cx: &mut Context<'_>) {
        if let Phase::Handshake(handshake) = &self.phase {
            let (route, keep_alive) = (handshake.presence.route.clone(), handshake.keep_alive);
            self.reach_broker(cx, route, keep_alive);
        }
    }
}

impl Will {
    pub(super) fn record(&self) -> WillRecord {
        let Self { topic: WillTarget { name, qos, retain }, payload } = self;
        WillRecord { topic: name.as_shared().clone(), payload: payload.clone(), qos: *qos, retain: *retain }
    }

    /// Takes a record back; one that could not have been written is no will.
    pub(super) fn restore(record: WillRecord) -> Option<Self> {
        let WillRecord { topic, payload, qos, retain } = record;
        let name = TopicName::from_shared(topic).ok()?;
        Some(Self { topic: WillTarget { name, qos, retain }, payload })
    }
}

impl WillTarget {
    fn parse(fields: WillTopicFields<'_>) -> Result<Self, WillTopicError> {
        let qos = fields.qos.level().ok_or(WillTopicError::Qos)?;
        let name = TopicName::parse(fields.topic).map_err(WillTopicError::Topic)?;
        Ok(Self { name, qos, retain: fields.retain })
    }
}
