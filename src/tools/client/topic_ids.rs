//! The topic ids of one client: what the gateway's ids mean, and which id to publish under.

use std::collections::BTreeMap;

use crate::core::topics::TopicName;
use crate::wire::TopicId;

/// Octets of all names together; what comes beyond is refused, whoever sends it.
const MAX_OCTETS: usize = 16 << 20;

/// Normal topic ids in both directions.
///
/// Invariant: where `id_of` has a name, `name_of` has the same pair, so the second bounds the first.
#[derive(Debug, Default)]
pub(super) struct TopicIds {
    name_of: BTreeMap<TopicId, TopicName>,
    id_of: BTreeMap<TopicName, TopicId>,
    octets: usize,
}

/// There is no room for one more name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl TopicIds {
    /// Remembers what an id means from now on.
    pub(super) fn learn(&mut self, id: TopicId, name: TopicName) -> Result<(), Full> {
        let freed = self.name_of.get(&id).map_or(0, octets);
        let needed = self.octets - freed + octets(&name);
        if needed > MAX_OCTETS {
            return Err(Full);
        }
        self.octets = needed;
        if let Some(former) = self.name_of.insert(id, name.clone()) {
            self.forget_id_of(&former, id);
        }
        self.id_of.insert(name, id);
        Ok(())
    }

    /// Returns the name that the gateway means by an id.
    pub(super) fn name_of(&self, id: TopicId) -> Option<&TopicName> {
        self.name_of.get(&id)
    }

    /// Returns the id under which a name can be published.
    pub(super) fn id_of(&self, name: &TopicName) -> Option<TopicId> {
        self.id_of.get(name).copied()
    }

    /// Stops publishing under an id that the gateway says it does not know.
    pub(super) fn distrust(&mut self, id: TopicId) {
        if let Some(name) = self.name_of.get(&id).cloned() {
            self.forget_id_of(&name, id);
        }
    }

    /// Stops publishing under any id that is not learnt anew.
    pub(super) fn distrust_all(&mut self) {
        self.id_of.clear();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A gateway may give a name a second id, so the name's current id must be the one meant.
    fn forget_id_of(&mut self, name: &TopicName, id: TopicId) {
        if self.id_of(name) == Some(id) {
            self.id_of.remove(name);
        }
    }
}

fn octets(name: &TopicName) -> usize {
    name.as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_id_that_gets_a_new_meaning_loses_the_old_one() {
        let mut ids = TopicIds::default();
        ids.learn(TopicId(1), name("a")).unwrap();
        ids.learn(TopicId(1), name("b")).unwrap();
        assert_eq!(ids.name_of(TopicId(1)), Some(&name("b")));
        assert_eq!(ids.id_of(&name("a")), None);
        assert_eq!(ids.id_of(&name("b")), Some(TopicId(1)));
    }

    #[test]
    fn a_name_with_two_ids_is_read_under_both_and_published_under_the_newer() {
        let mut ids = TopicIds::default();
        ids.learn(TopicId(1), name("a")).unwrap();
        ids.learn(TopicId(2), name("a")).unwrap();
        ids.learn(TopicId(1), name("b")).unwrap();
        assert_eq!(ids.name_of(TopicId(2)), Some(&name("a")));
        assert_eq!(ids.id_of(&name("a")), Some(TopicId(2)));
    }

    #[test]
    fn a_distrusted_id_is_still_understood() {
        let mut ids = TopicIds::default();
        ids.learn(TopicId(1), name("a")).unwrap();
        ids.distrust(TopicId(1));
        assert_eq!(ids.id_of(&name("a")), None);
        assert_eq!(ids.name_of(TopicId(1)), Some(&name("a")));
    }

    #[test]
    fn the_names_are_bounded_in_octets() {
        let mut ids = TopicIds::default();
        let long = "x".repeat(65_000);
        let learnt = (1..=1_000u16).take_while(|id| ids.learn(TopicId(*id), name(&format!("{long}{id}"))).is_ok());
        assert!(learnt.count() < 300);
        assert_eq!(ids.learn(TopicId(1), name("short again")), Ok(()));
    }
}
