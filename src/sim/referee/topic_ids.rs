//! Which topic ids a client has been told, and that none of them ever changes its meaning.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vocabulary;
use super::Violation;
use crate::core::topics::TopicName;
use crate::wire::{Message, MsgId, RegAck, Register, ReturnCode, TopicId};

/// Normal topic ids of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicIds {
    names: BTreeMap<TopicId, TopicName>,
    /// What was said of this session or of a former one.
    perhaps: BTreeMap<TopicId, TopicName>,
    /// Ids that the client has been told in this connection.
    told: BTreeSet<TopicId>,
    /// The client's REGISTERs that wait for REGACK, and the gateway's.
    registering: BTreeMap<MsgId, TopicName>,
    announced: BTreeMap<MsgId, TopicId>,
}

impl TopicIds {
    /// Whether the id may stand for the name in a message to the client.
    pub(super) fn may_mean(&self, id: TopicId, name: &TopicName, is_abiding: bool) -> bool {
        let stands_for_it = self.names.get(&id).or_else(|| self.perhaps.get(&id)) == Some(name);
        let is_told = self.told.contains(&id) || !is_abiding;
        let is_being_told = self.registering.values().any(|other| other == name);
        (stands_for_it && is_told) || is_being_told
    }

    /// The client connects anew, and nobody knows what it has kept.
    pub(super) fn connect(&mut self) {
        self.told.clear();
        self.announced.clear();
        self.registering.clear();
    }

    /// Another process goes on with the session. It has not heard the client's questions, and asked none itself.
    pub(super) fn restart(&mut self) {
        self.registering.clear();
        self.announced.clear();
    }

    pub(super) fn hear_register(&mut self, register: &Register<'_>) {
        if let Ok(name) = TopicName::parse(register.topic_name) {
            self.registering.insert(register.msg_id, name);
        }
    }

    /// Takes the client's answer to a REGISTER. Returns the topic that it refuses.
    pub(super) fn hear_reg_ack(&mut self, ack: RegAck) -> Option<TopicName> {
        let topic_id = self.announced.remove(&ack.msg_id)?;
        match ack.return_code {
            ReturnCode::Accepted => _ = self.told.insert(topic_id),
            ReturnCode::Congestion => _ = self.announced.insert(ack.msg_id, topic_id),
            ReturnCode::InvalidTopicId | ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                return self.names.get(&topic_id).cloned();
            }
        }
        None
    }

    pub(super) fn see_register(&mut self, register: &Register<'_>) -> Result<(), Violation> {
        let name = TopicName::parse(register.topic_name)
            .map_err(|error| Violation(format!("{}: {error}", Message::from(*register))))?;
        self.name(register.topic_id, &name)?;
        self.announced.insert(register.msg_id, register.topic_id);
        Ok(())
    }

    pub(super) fn see_reg_ack(&mut self, ack: RegAck) -> Result<(), Violation> {
        // A refusal may overtake an id that waits for the store.
        if ack.return_code == ReturnCode::Accepted
            && let Some(name) = self.registering.remove(&ack.msg_id)
        {
            self.tell(ack.topic_id, &name)?;
        }
        Ok(())
    }

    /// The client is told an id.
    pub(super) fn tell(&mut self, id: TopicId, name: &TopicName) -> Result<(), Violation> {
        self.name(id, name)?;
        self.told.insert(id);
        Ok(())
    }

    /// Takes what may be meant for this session or for a former one.
    pub(super) fn see_perhaps(&mut self, message: &Message<'_>) {
        if let Message::Register(Register { topic_id, msg_id, topic_name }) = message
            && let Ok(name) = TopicName::parse(topic_name)
        {
            self.perhaps.insert(*topic_id, name);
            self.announced.insert(*msg_id, *topic_id);
        } else if let Message::RegAck(RegAck { topic_id, msg_id, return_code: ReturnCode::Accepted }) = message
            && let Some(name) = self.registering.remove(msg_id)
        {
            self.perhaps.insert(*topic_id, name);
            self.told.insert(*topic_id);
        }
    }

    fn name(&mut self, id: TopicId, name: &TopicName) -> Result<(), Violation> {
        if !id.is_assignable() || vocabulary::predefined_name(id).is_some() {
            return Err(Violation(format!("topic id {id} is not free to be given to {name:?}")));
        }
        match self.names.insert(id, name.clone()) {
            Some(other) if other != *name => {
                Err(Violation(format!("topic id {id} stands for {other:?} and for {name:?}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}
