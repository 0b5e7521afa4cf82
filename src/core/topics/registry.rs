//! Normal topic ids: the numbers that one client and the gateway have agreed on for topic names.

use thiserror::Error;

use super::TopicName;
use crate::wire::TopicId;

/// One client's normal topic ids. A name has one id, an id one name, and neither changes while the session lives.
///
/// Tens of thousands of sessions have a few topics each: without a topic nothing is allocated.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Ascending by id.
    topics: Vec<Topic>,
    /// Positions in `topics`, ascending by name.
    by_name: Vec<u16>,
    /// The id given out last.
    last: TopicId,
}

/// What the client is known to know about a topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// It has to be told by REGISTER before a PUBLISH can use the id.
    Unconfirmed,
    /// It got the id in answer to its own REGISTER or SUBSCRIBE, or has accepted ours with REGACK.
    Confirmed,
    /// It has rejected our REGISTER.
    Refused,
}

/// The client has as many topic ids as it may have, or as there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no topic id is left for this client")]
pub struct Full;

#[derive(Clone, Debug)]
struct Topic {
    name: TopicName,
    id: TopicId,
    knowledge: Knowledge,
}

impl Registry {
    /// Returns the id of `name`; a new name gets a new id, which is [`Knowledge::Unconfirmed`].
    ///
    /// `taken` are ids to keep clear of: a client that mixes up normal and pre-defined ids then does no harm.
    pub fn register(
        &mut self,
        name: &TopicName,
        limit: usize,
        taken: impl Fn(TopicId) -> bool,
    ) -> Result<TopicId, Full> {
        let rank = match self.rank(name.as_str()) {
            Ok(rank) => return Ok(self.ranked(rank).id),
            Err(rank) => rank,
        };
        if self.topics.len() >= limit {
            return Err(Full);
        }
        let (id, position) = self.free_id(taken).ok_or(Full)?;
        // There are fewer ids than positions that 16 bits can number.
        let position_number = u16::try_from(position).map_err(|_| Full)?;
        if position < self.topics.len() {
            // Only once the ids have wrapped around.
            self.by_name.iter_mut().filter(|other| **other >= position_number).for_each(|other| *other += 1);
        }
        self.topics.insert(position, Topic { name: name.clone(), id, knowledge: Knowledge::Unconfirmed });
        self.by_name.insert(rank, position_number);
        self.last = id;
        Ok(id)
    }

    /// Takes back a topic id from a former process. Returns whether neither the id nor the name was taken.
    pub fn restore(&mut self, id: TopicId, name: TopicName) -> bool {
        let (Err(position), Err(rank)) = (self.position(id), self.rank(name.as_str())) else { return false };
        let Ok(position_number) = u16::try_from(position) else { return false };
        self.by_name.iter_mut().filter(|other| **other >= position_number).for_each(|other| *other += 1);
        self.topics.insert(position, Topic { name, id, knowledge: Knowledge::Unconfirmed });
        self.by_name.insert(rank, position_number);
        self.last = self.last.max(id);
        true
    }

    /// Returns the name that `id` stands for.
    pub fn name(&self, id: TopicId) -> Option<&TopicName> {
        let position = self.position(id).ok()?;
        Some(&self.topics[position].name)
    }

    /// Returns the id that stands for `name`.
    pub fn id(&self, name: &str) -> Option<TopicId> {
        let rank = self.rank(name).ok()?;
        Some(self.ranked(rank).id)
    }

    /// Returns every id with its name, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, &TopicName)> {
        self.topics.iter().map(|topic| (topic.id, &topic.name))
    }

    /// Returns what the client knows about `id`, or `None` if the id stands for nothing.
    pub fn knowledge(&self, id: TopicId) -> Option<Knowledge> {
        let position = self.position(id).ok()?;
        Some(self.topics[position].knowledge)
    }

    /// Notes what the client knows about `id`; an id that stands for nothing is left so.
    pub fn set_knowledge(&mut self, id: TopicId, knowledge: Knowledge) {
        if let Ok(position) = self.position(id) {
            self.topics[position].knowledge = knowledge;
        }
    }

    /// Takes nothing for known any more, as after a CONNECT that keeps the session: the client may have restarted.
    pub fn forget_confirmations(&mut self) {
        for topic in &mut self.topics {
            topic.knowledge = Knowledge::Unconfirmed;
        }
    }

    /// Takes back every refusal, as after a SUBSCRIBE: a topic that was not wanted may be wanted now.
    pub fn forget_refusals(&mut self) {
        for topic in self.topics.iter_mut().filter(|topic| topic.knowledge == Knowledge::Refused) {
            topic.knowledge = Knowledge::Unconfirmed;
        }
    }

    /// Drops all ids, as a CONNECT with a clean session does.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Finds the next id that is neither in use nor taken, and its place in `topics`.
    ///
    /// Ids count upwards and none is given back, so the first one tried is free unless it is taken, or the count has
    /// wrapped around past ids that were taken at the time.
    fn free_id(&self, taken: impl Fn(TopicId) -> bool) -> Option<(TopicId, usize)> {
        let upwards = (self.last.0..=u16::MAX).chain(0..=self.last.0).skip(1).map(TopicId);
        upwards.filter(|id| id.is_assignable()).find_map(|id| {
            let position = self.position(id).err()?;
            (!taken(id)).then_some((id, position))
        })
    }

    fn position(&self, id: TopicId) -> Result<usize, usize> {
        self.topics.binary_search_by_key(&id, |topic| topic.id)
    }

    fn rank(&self, name: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|position| self.topics[usize::from(*position)].name.as_str().cmp(name))
    }

    fn ranked(&self, rank: usize) -> &Topic {
        &self.topics[usize::from(self.by_name[rank])]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const NO_LIMIT: usize = usize::MAX;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text.as_bytes()).unwrap()
    }

    fn nothing_taken(_: TopicId) -> bool {
        false
    }

    #[test]
    fn ids_count_from_one_and_the_same_name_keeps_its_id() {
        let mut registry = Registry::default();
        assert_eq!(registry.register(&name("b"), NO_LIMIT, nothing_taken), Ok(TopicId(1)));
        assert_eq!(registry.register(&name("a"), NO_LIMIT, nothing_taken), Ok(TopicId(2)));
        assert_eq!(registry.register(&name("b"), NO_LIMIT, nothing_taken), Ok(TopicId(1)));
        assert_eq!(registry.len(), 2);
        assert_eq!(registry.name(TopicId(2)), Some(&name("a")));
        assert_eq!(registry.id("b"), Some(TopicId(1)));
        assert_eq!(registry.id("c"), None);
        assert_eq!(registry.name(TopicId(3)), None);
        assert_eq!(registry.name(TopicId(0)), None);
    }

    #[test]
    fn ids_of_predefined_topics_are_left_out() {
        let mut registry = Registry::default();
        let taken = |id: TopicId| id.0 <= 2 || id.0 == 4;
        assert_eq!(registry.register(&name("a"), NO_LIMIT, taken), Ok(TopicId(3)));
        assert_eq!(registry.register(&name("b"), NO_LIMIT, taken), Ok(TopicId(5)));
    }

    #[test]
    fn a_full_registry_refuses_new_names_and_knows_the_old_ones() {
        let mut registry = Registry::default();
        let id = registry.register(&name("a"), 1, nothing_taken);
        assert_eq!(registry.register(&name("b"), 1, nothing_taken), Err(Full));
        assert_eq!(registry.register(&name("a"), 1, nothing_taken), id);
        assert_eq!(registry.register(&name("a"), 0, nothing_taken), id);
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn all_ids_but_the_reserved_ones_can_be_given_out() {
        let mut registry = Registry::default();
        for id in 1..=65_534 {
            assert_eq!(registry.register(&name(&id.to_string()), NO_LIMIT, nothing_taken), Ok(TopicId(id)));
        }
        assert_eq!(registry.register(&name("one more"), NO_LIMIT, nothing_taken), Err(Full));
        assert_eq!(registry.name(TopicId(65_534)), Some(&name("65534")));
        assert_eq!(registry.id("1"), Some(TopicId(1)));
    }

    #[test]
    fn after_the_last_id_the_count_goes_on_with_free_ones() {
        let mut registry = Registry::default();
        for text in ["three", "last"] {
            let taken = |id: TopicId| id.0 != 3 && id.0 != 65_534;
            registry.register(&name(text), NO_LIMIT, taken).unwrap();
        }
        assert_eq!(registry.id("last"), Some(TopicId(65_534)));
        for (text, id) in [("one", 1), ("two", 2), ("four", 4)] {
            assert_eq!(registry.register(&name(text), NO_LIMIT, nothing_taken), Ok(TopicId(id)));
        }
        for (text, id) in [("one", 1), ("two", 2), ("three", 3), ("four", 4), ("last", 65_534)] {
            assert_eq!(registry.id(text), Some(TopicId(id)), "{text}");
            assert_eq!(registry.name(TopicId(id)), Some(&name(text)), "{text}");
        }
    }

    #[test]
    fn with_every_id_taken_nothing_can_be_registered() {
        assert_eq!(Registry::default().register(&name("a"), NO_LIMIT, |_| true), Err(Full));
    }

    #[test]
    fn a_new_id_is_unconfirmed_until_the_client_has_answered() {
        let mut registry = Registry::default();
        let id = registry.register(&name("a"), NO_LIMIT, nothing_taken).unwrap();
        assert_eq!(registry.knowledge(id), Some(Knowledge::Unconfirmed));
        registry.set_knowledge(id, Knowledge::Confirmed);
        assert_eq!(registry.knowledge(id), Some(Knowledge::Confirmed));
        registry.register(&name("a"), NO_LIMIT, nothing_taken).unwrap();
        assert_eq!(registry.knowledge(id), Some(Knowledge::Confirmed));
        registry.set_knowledge(TopicId(9), Knowledge::Confirmed);
        assert_eq!(registry.knowledge(TopicId(9)), None);
    }

    #[test]
    fn a_reconnect_keeps_the_ids_and_asks_again_for_what_the_client_knows() {
        let mut registry = Registry::default();
        for (text, knowledge) in [("a", Knowledge::Confirmed), ("b", Knowledge::Refused)] {
            let id = registry.register(&name(text), NO_LIMIT, nothing_taken).unwrap();
            registry.set_knowledge(id, knowledge);
        }
        registry.forget_confirmations();
        for text in ["a", "b"] {
            let id = registry.id(text).unwrap();
            assert_eq!(registry.knowledge(id), Some(Knowledge::Unconfirmed));
        }
    }

    #[test]
    fn a_cleared_registry_starts_from_one_again() {
        let mut registry = Registry::default();
        registry.register(&name("a"), NO_LIMIT, nothing_taken).unwrap();
        registry.clear();
        assert!(registry.is_empty());
        assert_eq!(registry.id("a"), None);
        assert_eq!(registry.register(&name("b"), NO_LIMIT, nothing_taken), Ok(TopicId(1)));
    }

    #[test]
    fn an_empty_registry_is_small_and_owns_no_memory() {
        let registry = Registry::default();
        assert!(size_of::<Registry>() <= 56);
        assert_eq!((registry.topics.capacity(), registry.by_name.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn every_name_finds_its_id_and_every_id_its_name(
            names in prop::collection::vec("[ab/]{1,3}", 1..100),
            start in prop::sample::select(vec![0, 10, 65_500, 65_533, 65_534]),
            taken_every in 2..5_u16,
        ) {
            let mut registry = Registry { last: TopicId(start), ..Registry::default() };
            let taken = |id: TopicId| id.0.is_multiple_of(taken_every);
            let mut model = BTreeMap::new();
            for text in names {
                let id = registry.register(&name(&text), NO_LIMIT, taken).unwrap();
                prop_assert!(id.is_assignable() && !taken(id));
                prop_assert_eq!(*model.entry(text).or_insert(id), id);
            }
            prop_assert_eq!(registry.len(), model.len());
            for (text, id) in model {
                prop_assert_eq!(registry.id(&text), Some(id));
                prop_assert_eq!(registry.name(id), Some(&name(&text)));
            }
        }
    }
}
