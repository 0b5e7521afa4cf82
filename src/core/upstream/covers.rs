//! Upstream filters that never overlap, for brokers that do not name the subscription a message came for.
//!
//! On MQTT 3.1.1 some brokers send one copy of a message for each overlapping subscription of a connection, others
//! one for all, and none says which. So no two filters that go upstream may match the same topic: what overlaps is
//! merged into one filter that covers both, and the gateway's own tree tells who wants what.

use std::collections::BTreeMap;

use super::filters::FilterKey;
use crate::core::topics::TopicFilter;

/// The filters upstream, and the clients' filters under each. No two of them overlap.
#[derive(Debug, Default)]
pub(super) struct Covers {
    by_filter: BTreeMap<TopicFilter, Vec<FilterKey>>,
    of: BTreeMap<FilterKey, TopicFilter>,
}

/// What a client's filter needs upstream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cover {
    /// The filter to subscribe to.
    pub(super) filter: TopicFilter,
    /// All clients' filters that it stands for.
    pub(super) members: Vec<FilterKey>,
    /// The filters that it takes the place of.
    pub(super) replaces: Vec<TopicFilter>,
}

impl Covers {
    /// Finds the filter that stands for `filter` upstream, and makes it as wide as it must be.
    pub(super) fn cover(&mut self, key: FilterKey, filter: &TopicFilter) -> Cover {
        if let Some(cover) = self.of.get(&key) {
            let members = self.by_filter.get(cover).cloned().unwrap_or_default();
            return Cover { filter: cover.clone(), members, replaces: Vec::new() };
        }
        let mut wide = filter.clone();
        let mut members = vec![key];
        let mut replaces = Vec::new();
        // Widening may run into further filters, so this goes on until nothing overlaps any more.
        while let Some(other) = self.by_filter.keys().find(|other| overlap(other, &wide)).cloned() {
            members.extend(self.by_filter.remove(&other).unwrap_or_default());
            wide = join(&wide, &other);
            replaces.push(other);
        }
        replaces.retain(|replaced| *replaced != wide);
        for member in &members {
            self.of.insert(*member, wide.clone());
        }
        self.by_filter.insert(wide.clone(), members.clone());
        Cover { filter: wide, members, replaces }
    }

    /// Returns the filter that stands for a client's upstream.
    pub(super) fn filter_of(&self, key: FilterKey) -> Option<&TopicFilter> {
        self.of.get(&key)
    }

    /// Returns all clients' filters that this one stands for upstream.
    pub(super) fn members(&self, upstream: &TopicFilter) -> &[FilterKey] {
        self.by_filter.get(upstream).map_or(&[], Vec::as_slice)
    }

    /// Returns every filter upstream.
    pub(super) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.by_filter.keys()
    }

    pub(super) fn contains(&self, filter: &TopicFilter) -> bool {
        self.by_filter.contains_key(filter)
    }

    /// Whether a topic exists that this filter and one upstream match.
    pub(super) fn overlaps(&self, filter: &TopicFilter) -> bool {
        self.by_filter.keys().any(|other| overlap(other, filter))
    }

    /// Takes a client's filter away. Returns the upstream filter if nothing needs it any more.
    pub(super) fn remove(&mut self, key: FilterKey) -> Option<TopicFilter> {
        let cover = self.of.remove(&key)?;
        let members = self.by_filter.get_mut(&cover)?;
        members.retain(|member| *member != key);
        if !members.is_empty() {
            return None;
        }
        self.by_filter.remove(&cover);
        Some(cover)
    }
}

/// Whether a topic exists that both filters match.
pub(super) fn overlap(one: &TopicFilter, other: &TopicFilter) -> bool {
    // Wildcards at the start do not match topics that begin with `$` (MQTT 4.7.2).
    let is_dollar = |filter: &TopicFilter| filter.as_str().starts_with('$');
    let is_wild = |filter: &TopicFilter| filter.as_str().starts_with(['+', '#']);
    if (is_dollar(one) && is_wild(other)) || (is_wild(one) && is_dollar(other)) {
        return false;
    }
    let (mut one, mut other) = (one.as_str().split('/'), other.as_str().split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(level), Some(same)) if level == same => {}
            (Some(_), Some(_)) | (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

/// Returns the narrowest filter, level by level, that matches all that either matches. The two must overlap.
fn join(one: &TopicFilter, other: &TopicFilter) -> TopicFilter {
    let (mut one, mut other) = (one.as_str().split('/'), other.as_str().split('/'));
    let mut levels = Vec::new();
    loop {
        match (one.next(), other.next()) {
            (None, None) => break,
            (Some(level), Some(same)) if level == same => levels.push(level),
            (Some("#") | None, _) | (_, Some("#") | None) => {
                levels.push("#");
                break;
            }
            (Some(_), Some(_)) => levels.push("+"),
        }
    }
    TopicFilter::parse(levels.join("/").as_bytes()).expect("levels of two valid filters, '+', and '#' last")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::topics::Tree;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.as_bytes()).unwrap()
    }

    fn key(number: usize) -> FilterKey {
        FilterKey::for_test(number)
    }

    #[test]
    fn filters_apart_go_upstream_as_they_are() {
        let mut covers = Covers::default();
        for (number, name) in ["a/b", "a/c", "$SYS/#", "+/x"].into_iter().enumerate() {
            let cover = covers.cover(key(number), &filter(name));
            assert_eq!((cover.filter, cover.replaces), (filter(name), vec![]));
        }
    }

    #[test]
    fn a_wider_filter_takes_the_place_of_those_it_covers_and_a_narrower_one_joins_it() {
        let mut covers = Covers::default();
        covers.cover(key(1), &filter("a/b"));
        let wide = covers.cover(key(2), &filter("a/#"));
        assert_eq!((wide.filter, wide.replaces), (filter("a/#"), vec![filter("a/b")]));
        let narrow = covers.cover(key(3), &filter("a/+/c"));
        assert_eq!((narrow.filter, narrow.replaces), (filter("a/#"), vec![]));
    }

    #[test]
    fn filters_that_cross_are_merged() {
        let mut covers = Covers::default();
        covers.cover(key(1), &filter("a/+/c"));
        let merged = covers.cover(key(2), &filter("a/b/+"));
        assert_eq!((merged.filter, merged.replaces), (filter("a/+/+"), vec![filter("a/+/c")]));
    }

    #[test]
    fn the_upstream_filter_goes_with_the_last_that_needs_it() {
        let mut covers = Covers::default();
        covers.cover(key(1), &filter("a/b"));
        covers.cover(key(2), &filter("a/#"));
        assert_eq!(covers.remove(key(2)), None);
        assert_eq!(covers.remove(key(1)), Some(filter("a/#")));
        assert_eq!(covers.remove(key(1)), None);
    }

    fn any_filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop_oneof![Just("a"), Just("b"), Just("$c"), Just("+"), Just("")];
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            let text = levels.join("/");
            filter(if text.is_empty() { "/" } else { &text })
        })
    }

    fn any_topic() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("$c"), Just("")], 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a topic is not empty", |topic| !topic.is_empty())
    }

    proptest! {
        #[test]
        fn every_topic_comes_over_exactly_one_upstream_filter(
            filters in prop::collection::vec(any_filter(), 1..8),
            topic in any_topic(),
        ) {
            let mut covers = Covers::default();
            let mut upstream: Vec<TopicFilter> = Vec::new();
            for (number, filter) in filters.iter().enumerate() {
                let cover = covers.cover(key(number), filter);
                upstream.retain(|former| !cover.replaces.contains(former) && *former != cover.filter);
                upstream.push(cover.filter);
            }
            let matching = |filters: &[TopicFilter]| {
                let mut tree = Tree::default();
                for (number, filter) in filters.iter().enumerate() {
                    tree.insert(filter.as_str(), number);
                }
                let mut found = Vec::new();
                tree.matches(&topic, &mut found);
                found.len()
            };
            prop_assert!(matching(&upstream) <= 1, "{upstream:?}");
            prop_assert!(matching(&filters) == 0 || matching(&upstream) == 1, "{upstream:?}");
        }
    }
}
