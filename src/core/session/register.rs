//! REGISTER from a client: a topic name gets a number (MQTT-SN 1.2 §6.5).

use super::Session;
use crate::core::context::Context;
use crate::core::notice::{Notice, Refused};
use crate::core::topics::{Knowledge, TopicName};
use crate::wire::{RegAck, Register, ReturnCode, TopicId};

impl Session {
    pub(super) fn on_register(&mut self, cx: &mut Context<'_>, register: &Register<'_>) {
        let (topic_id, return_code) = match TopicName::parse(register.topic_name) {
            Ok(_) if cx.journal.is_stuck() => {
                let what = Refused::StoreFails;
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                (TopicId::NONE, ReturnCode::Congestion)
            }
            Ok(name) => match self.register_for_client(cx, &name) {
                Some(id) => (id, ReturnCode::Accepted),
                None => {
                    let what = Refused::TooManyTopics { limit: cx.settings.limits.topics_per_client };
                    cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                    (TopicId::NONE, ReturnCode::Congestion)
                }
            },
            Err(error) => {
                let what = Refused::Register { error };
                cx.notice(Notice::Refused { client_id: self.client_id.clone(), what });
                (TopicId::NONE, ReturnCode::NotSupported)
            }
        };
        self.answer(cx, RegAck { topic_id, msg_id: register.msg_id, return_code });
    }

    /// Returns the name's id, new or not, of which the client is about to hear.
    pub(super) fn register_for_client(&mut self, cx: &mut Context<'_>, name: &TopicName) -> Option<TopicId> {
        let id = self.allocate_id(cx, name)?;
        self.registry.set_knowledge(id, Knowledge::Confirmed);
        Some(id)
    }

    /// Returns the name's id, new or not, or `None` if the client has as many topics as it may.
    pub(super) fn allocate_id(&mut self, cx: &mut Context<'_>, name: &TopicName) -> Option<TopicId> {
        let limit = cx.settings.limits.topics_per_client;
        // Apart from the pre-defined ids, so that a client that mixes the two up hits nothing (digest §6.1).
        let before = self.registry.len();
        let id = self.registry.register(name, limit, |id| cx.predefined.contains(id)).ok()?;
        if self.registry.len() > before {
            self.keep_topic(cx, id, name);
        }
        Some(id)
    }
}
