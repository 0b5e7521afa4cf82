//! Pre-defined topic ids: a table that both sides know beforehand (MQTT-SN 1.2 §6.7).

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::topics::TopicName;
use crate::wire::TopicId;

/// The pre-defined ids, both ways.
#[derive(Debug, Default)]
pub(super) struct Predefined {
    names: HashMap<TopicId, TopicName, RandomState>,
    ids: HashMap<TopicName, TopicId, RandomState>,
}

impl Predefined {
    /// Indexes the configured table. Of several ids for one name the lowest is used towards clients.
    pub(super) fn new(table: &BTreeMap<TopicId, TopicName>) -> Self {
        let names = table.iter().map(|(id, name)| (*id, name.clone())).collect();
        let ids = table.iter().rev().map(|(id, name)| (name.clone(), *id)).collect();
        Self { names, ids }
    }

    pub(super) fn name(&self, id: TopicId) -> Option<&TopicName> {
        self.names.get(&id)
    }

    pub(super) fn id(&self, name: &TopicName) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    pub(super) fn contains(&self, id: TopicId) -> bool {
        self.names.contains_key(&id)
    }
}
