//! What a client remembers until it loses power.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::request::Request;
use crate::core::topics::TopicName;
use crate::wire::{MsgId, TopicId};

/// Exchanges remembered after their end, to know a message that comes late.
const REMEMBERED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Memory {
    topics: BTreeMap<TopicId, TopicName>,
    /// QoS 2 messages taken, whose PUBREL has not come.
    unreleased: BTreeSet<MsgId>,
    released: VecDeque<MsgId>,
    /// A publish that was not answered before the connection was lost.
    pub(super) unfinished: Option<Request>,
    pub(super) is_of_clean_session: bool,
    last_msg_id: u16,
}

impl Memory {
    pub(super) fn starting_after(last_msg_id: u16) -> Self {
        Self { last_msg_id, ..Self::default() }
    }

    /// A clean session begins.
    pub(super) fn forget_session(&mut self) {
        *self = Self { last_msg_id: self.last_msg_id, ..Self::default() };
    }

    pub(super) fn next_msg_id(&mut self) -> MsgId {
        self.last_msg_id = self.last_msg_id.checked_add(1).unwrap_or(1);
        MsgId(self.last_msg_id)
    }

    pub(super) fn learn(&mut self, id: TopicId, topic: TopicName) {
        self.topics.retain(|_, known| *known != topic);
        self.topics.insert(id, topic);
    }

    pub(super) fn forget_topic(&mut self, id: TopicId) {
        self.topics.remove(&id);
    }

    pub(super) fn topic(&self, id: TopicId) -> Option<&TopicName> {
        self.topics.get(&id)
    }

    pub(super) fn id(&self, topic: &TopicName) -> Option<TopicId> {
        self.topics.iter().find(|(_, known)| *known == topic).map(|(id, _)| *id)
    }

    /// Returns whether a QoS 2 message under this id is new.
    pub(super) fn take(&mut self, msg_id: MsgId) -> bool {
        !self.released.contains(&msg_id) && self.unreleased.insert(msg_id)
    }

    pub(super) fn release(&mut self, msg_id: MsgId) {
        if self.unreleased.remove(&msg_id) {
            self.released.push_back(msg_id);
            if self.released.len() > REMEMBERED {
                self.released.pop_front();
            }
        }
    }
}
