//! Who wants a topic: all filters in one tree of levels, so that a topic is compared with those that can match it.

use std::hash::BuildHasher;
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;

/// Maps topic filters to values, and finds the values of all filters that match a topic (MQTT 4.7).
///
/// Filters are what [`TopicFilter::matched_part`](super::TopicFilter::matched_part) returns: valid, without `$share`.
#[derive(Clone, Debug)]
pub struct Tree<T> {
    nodes: Slab<Node<T>>,
    /// All edges but those of `+`, found by parent and level. Never iterated: its order differs from run to run.
    children: HashTable<NodeId>,
    /// Seeded by chance, so that nobody can choose levels that collide.
    hasher: RandomState,
    /// Where a match stands, level by level. Kept between matches for its memory only.
    reached: Vec<NodeId>,
    reached_next: Vec<NodeId>,
}

/// The start of some filter, up to and including one level of it.
#[derive(Clone, Debug)]
struct Node<T> {
    parent: NodeId,
    level: Box<str>,
    /// The child for the level `+`.
    plus: Option<NodeId>,
    /// How many children stand in the table.
    named_children: u32,
    /// The value of the filter that ends here.
    exact: Option<T>,
    /// The value of the filter that goes on from here with `#` only, and so matches here and everywhere below.
    subtree: Option<T>,
}

type NodeId = u32;

const ROOT: NodeId = 0;

/// What becomes of a node's value.
#[derive(Clone, Copy)]
enum End {
    Exact,
    Subtree,
}

impl<T: Copy> Tree<T> {
    /// Maps `filter` to `value` and returns what it was mapped to before.
    pub fn insert(&mut self, filter: &str, value: T) -> Option<T> {
        let (levels, end) = split(filter);
        let mut node = ROOT;
        for level in levels {
            node = self.child(node, level).unwrap_or_else(|| self.add_child(node, level));
        }
        self.node_mut(node).value_mut(end).replace(value)
    }

    /// Takes `filter` out and returns what it was mapped to.
    pub fn remove(&mut self, filter: &str) -> Option<T> {
        let (node, end) = self.find(filter)?;
        let value = self.node_mut(node).value_mut(end).take();
        self.prune(node);
        value
    }

    /// Returns what exactly this filter is mapped to.
    pub fn get(&self, filter: &str) -> Option<T> {
        let (node, end) = self.find(filter)?;
        match end {
            End::Exact => self.node(node).exact,
            End::Subtree => self.node(node).subtree,
        }
    }

    /// Appends to `found` the value of every filter that matches `topic`, in no particular order.
    ///
    /// The tree changes in its scratch memory only. Each level of the topic is read once and each node visited at most
    /// once, so the work never exceeds the length of the topic and the size of the tree, whatever the filters are.
    pub fn matches(&mut self, topic: &str, found: &mut Vec<T>) {
        let mut reached = mem::take(&mut self.reached);
        let mut next = mem::take(&mut self.reached_next);
        reached.clear();
        reached.push(ROOT);
        // MQTT 4.7.2: a filter that begins with a wildcard does not match a topic that begins with `$`.
        let mut wildcards = !topic.starts_with('$');
        if wildcards {
            found.extend(self.node(ROOT).subtree);
        }
        for level in topic.split('/') {
            if reached.is_empty() {
                break;
            }
            let level_hash = self.hasher.hash_one(level);
            next.clear();
            for parent in &reached {
                let plus = self.node(*parent).plus.filter(|_| wildcards);
                next.extend(self.named_child(*parent, level, level_hash));
                next.extend(plus);
            }
            found.extend(next.iter().filter_map(|node| self.node(*node).subtree));
            mem::swap(&mut reached, &mut next);
            wildcards = true;
        }
        found.extend(reached.iter().filter_map(|node| self.node(*node).exact));
        self.reached = reached;
        self.reached_next = next;
    }

    fn find(&self, filter: &str) -> Option<(NodeId, End)> {
        let (mut levels, end) = split(filter);
        let node = levels.try_fold(ROOT, |node, level| self.child(node, level))?;
        Some((node, end))
    }

    fn child(&self, parent: NodeId, level: &str) -> Option<NodeId> {
        match level {
            "+" => self.node(parent).plus,
            _ => self.named_child(parent, level, self.hasher.hash_one(level)),
        }
    }

    fn named_child(&self, parent: NodeId, level: &str, level_hash: u64) -> Option<NodeId> {
        if self.node(parent).named_children == 0 {
            return None;
        }
        let is_it = |child: &NodeId| {
            let child = self.node(*child);
            child.parent == parent && *child.level == *level
        };
        self.children.find(edge_hash(&self.hasher, parent, level_hash), is_it).copied()
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let id = self.nodes.insert(Node::new(parent, level));
        let id = NodeId::try_from(id).expect("the nodes of 2^32 levels exceed any memory");
        if level == "+" {
            self.node_mut(parent).plus = Some(id);
            return id;
        }
        self.node_mut(parent).named_children += 1;
        let Self { nodes, children, hasher, .. } = self;
        let hash = |id: &NodeId| nodes[*id as usize].edge_hash(hasher);
        children.insert_unique(hash(&id), id, hash);
        id
    }

    /// Removes the node if nothing needs it any more, and then its parents likewise.
    fn prune(&mut self, mut id: NodeId) {
        while id != ROOT && self.node(id).is_bare() {
            let node = self.nodes.remove(id as usize);
            let parent = self.node_mut(node.parent);
            if parent.plus == Some(id) {
                parent.plus = None;
            } else {
                parent.named_children -= 1;
                let hash = node.edge_hash(&self.hasher);
                if let Ok(edge) = self.children.find_entry(hash, |child| *child == id) {
                    edge.remove();
                }
            }
            id = node.parent;
        }
    }

    fn node(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<T> {
        &mut self.nodes[id as usize]
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new(ROOT, ""));
        debug_assert_eq!(root, ROOT as usize);
        Self {
            nodes,
            children: HashTable::new(),
            hasher: RandomState::default(),
            reached: Vec::new(),
            reached_next: Vec::new(),
        }
    }
}

impl<T> Node<T> {
    fn new(parent: NodeId, level: &str) -> Self {
        Self { parent, level: level.into(), plus: None, named_children: 0, exact: None, subtree: None }
    }

    fn value_mut(&mut self, end: End) -> &mut Option<T> {
        match end {
            End::Exact => &mut self.exact,
            End::Subtree => &mut self.subtree,
        }
    }

    fn is_bare(&self) -> bool {
        self.named_children == 0 && self.plus.is_none() && self.exact.is_none() && self.subtree.is_none()
    }

    fn edge_hash(&self, hasher: &RandomState) -> u64 {
        edge_hash(hasher, self.parent, hasher.hash_one(&*self.level))
    }
}

/// Joins the hash of a level, made once however many nodes it is looked up in, to the node.
fn edge_hash(hasher: &RandomState, parent: NodeId, level_hash: u64) -> u64 {
    hasher.hash_one((level_hash, parent))
}

/// Splits a filter into the levels that lead to its node and the place of its value there.
fn split(filter: &str) -> (impl Iterator<Item = &str>, End) {
    let (path, end) = match filter.strip_suffix('#') {
        Some("") => (None, End::Subtree),
        Some(path) if path.ends_with('/') => (path.strip_suffix('/'), End::Subtree),
        Some(_) | None => (Some(filter), End::Exact),
    };
    (path.into_iter().flat_map(|path| path.split('/')), end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn tree(filters: &[&'static str]) -> Tree<&'static str> {
        let mut tree = Tree::default();
        for filter in filters {
            tree.insert(filter, *filter);
        }
        tree
    }

    fn matching<T: Copy + Ord>(tree: &mut Tree<T>, topic: &str) -> Vec<T> {
        let mut found = Vec::new();
        tree.matches(topic, &mut found);
        found.sort_unstable();
        found
    }

    fn is_empty<T>(tree: &Tree<T>) -> bool {
        tree.nodes.len() == 1 && tree.children.is_empty()
    }

    #[test]
    fn a_plain_filter_matches_its_own_topic_only() {
        let mut tree = tree(&["a/b"]);
        assert_eq!(matching(&mut tree, "a/b"), ["a/b"]);
        for other in ["a", "a/b/", "a/b/c", "/a/b", "a/B", "a//b"] {
            assert!(matching(&mut tree, other).is_empty(), "{other}");
        }
    }

    #[test]
    fn plus_stands_for_exactly_one_level() {
        let mut tree = tree(&["+", "a/+", "+/b", "a/+/c"]);
        assert_eq!(matching(&mut tree, "a"), ["+"]);
        assert_eq!(matching(&mut tree, "a/b"), ["+/b", "a/+"]);
        assert_eq!(matching(&mut tree, "a/b/c"), ["a/+/c"]);
        assert_eq!(matching(&mut tree, "a/"), ["a/+"]);
    }

    #[test]
    fn hash_matches_its_parent_level_and_everything_below() {
        let mut tree = tree(&["#", "a/#", "a/b/#", "+/b/#"]);
        assert_eq!(matching(&mut tree, "a"), ["#", "a/#"]);
        assert_eq!(matching(&mut tree, "a/b"), ["#", "+/b/#", "a/#", "a/b/#"]);
        assert_eq!(matching(&mut tree, "a/b/c/d"), ["#", "+/b/#", "a/#", "a/b/#"]);
        assert_eq!(matching(&mut tree, "b"), ["#"]);
    }

    #[test]
    fn a_leading_wildcard_does_not_see_topics_of_the_broker() {
        let mut tree = tree(&["#", "+", "+/#", "+/a", "$SYS/#", "$SYS/+", "b/+"]);
        assert_eq!(matching(&mut tree, "$SYS/a"), ["$SYS/#", "$SYS/+"]);
        assert_eq!(matching(&mut tree, "$SYS"), ["$SYS/#"]);
        assert_eq!(matching(&mut tree, "b/$x"), ["#", "+/#", "b/+"]);
    }

    #[test]
    fn an_empty_level_is_a_level() {
        let mut tree = tree(&["/", "/#", "/+", "+/+", "a//b", "a/+/b", "/a"]);
        assert_eq!(matching(&mut tree, "/"), ["+/+", "/", "/#", "/+"]);
        assert_eq!(matching(&mut tree, "/a"), ["+/+", "/#", "/+", "/a"]);
        assert_eq!(matching(&mut tree, "a//b"), ["a/+/b", "a//b"]);
    }

    #[test]
    fn a_filter_has_one_value() {
        let mut tree = Tree::default();
        assert_eq!(tree.insert("a/#", 1), None);
        assert_eq!(tree.insert("a/#", 2), Some(1));
        assert_eq!(tree.get("a/#"), Some(2));
        assert_eq!(tree.get("a"), None);
        assert_eq!(tree.get("a/b"), None);
        assert_eq!(matching(&mut tree, "a/b"), [2]);
    }

    #[test]
    fn a_removed_filter_leaves_nothing_behind_and_others_untouched() {
        let mut tree = tree(&["a/b/c", "a/b", "a/+/c", "a/#", "#"]);
        assert_eq!(tree.remove("a/b/c"), Some("a/b/c"));
        assert_eq!(tree.remove("a/b/c"), None);
        assert_eq!(tree.remove("a/b/x"), None);
        assert_eq!(tree.remove("a"), None, "a node on the way is no filter");
        assert_eq!(matching(&mut tree, "a/b/c"), ["#", "a/#", "a/+/c"]);
        for filter in ["a/+/c", "a/b", "a/#", "#"] {
            assert_eq!(tree.remove(filter), Some(filter));
        }
        assert!(is_empty(&tree));
    }

    #[test]
    fn values_are_appended_to_what_the_caller_has() {
        let mut found = vec!["before"];
        tree(&["a"]).matches("a", &mut found);
        assert_eq!(found, ["before", "a"]);
    }

    #[test]
    fn the_deepest_topic_and_filter_are_handled_in_linear_time_without_recursion() {
        let topic = "/".repeat(65_535);
        let pluses = vec!["+"; 32_768].join("/");
        let mut tree = Tree::default();
        tree.insert(&topic, 1);
        tree.insert(&pluses, 2);
        tree.insert(&format!("{pluses}/#"), 3);
        assert_eq!(matching(&mut tree, &topic), [1, 3]);
        assert_eq!(matching(&mut tree, &topic[1..]), [3]);
        assert_eq!(matching(&mut tree, &"/".repeat(32_767)), [2, 3]);
        for filter in [topic, pluses.clone(), format!("{pluses}/#")] {
            assert!(tree.remove(&filter).is_some());
        }
        assert!(is_empty(&tree));
    }

    #[test]
    fn a_match_visits_no_node_twice() {
        // All 2^12 filters of `a` and `+` in twelve levels, none of which matches: the topic is one level longer.
        let mut tree = Tree::default();
        for bits in 0..1_u32 << 12 {
            let levels: Vec<&str> = (0..12).map(|level| if bits >> level & 1 == 0 { "a" } else { "+" }).collect();
            tree.insert(&levels.join("/"), bits);
        }
        assert!(matching(&mut tree, &["a"; 13].join("/")).is_empty());
        assert_eq!(matching(&mut tree, &["a"; 12].join("/")).len(), 1 << 12);
        assert!(tree.reached.capacity() <= 2 * tree.nodes.len());
    }

    #[test]
    fn ten_thousand_filters_are_told_apart() {
        let mut tree = Tree::default();
        for device in 0..10_000 {
            tree.insert(&format!("site/{}/device/{device}/set", device % 10), device);
        }
        assert_eq!(matching(&mut tree, "site/3/device/4713/set"), [4_713]);
        assert!(matching(&mut tree, "site/4/device/4713/set").is_empty());
    }

    /// MQTT 4.7, word for word, for one filter and one topic.
    fn naive(filter: &str, topic: &str) -> bool {
        if topic.starts_with('$') && filter.starts_with(['+', '#']) {
            return false;
        }
        let filter: Vec<&str> = filter.split('/').collect();
        let topic: Vec<&str> = topic.split('/').collect();
        let one = |(filter, topic): (&&str, &&str)| *filter == "+" || filter == topic;
        match filter.split_last() {
            Some((&"#", parent)) => topic.len() >= parent.len() && parent.iter().zip(&topic).all(one),
            _ => topic.len() == filter.len() && filter.iter().zip(&topic).all(one),
        }
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+", "$", "$a"]);
        let last = prop::sample::select(vec!["a", "", "+", "#", "#"]);
        (prop::collection::vec(level, 0..5), last).prop_map(|(mut levels, last)| {
            levels.push(last);
            levels.join("/")
        })
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$", "$a"]), 1..6)
            .prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn it_matches_what_a_naive_matcher_matches(
            steps in prop::collection::vec((filter(), prop::bool::weighted(0.7)), 1..80),
            topics in prop::collection::vec(topic(), 1..40),
        ) {
            let mut tree = Tree::default();
            let mut model = BTreeMap::new();
            for (value, (filter, inserted)) in steps.into_iter().enumerate() {
                if inserted {
                    prop_assert_eq!(tree.insert(&filter, value), model.insert(filter.clone(), value));
                } else {
                    prop_assert_eq!(tree.remove(&filter), model.remove(&filter));
                }
                prop_assert_eq!(tree.get(&filter), model.get(&filter).copied());
            }
            for topic in topics {
                let mut expected: Vec<usize> =
                    model.iter().filter(|(filter, _)| naive(filter, &topic)).map(|(_, value)| *value).collect();
                expected.sort_unstable();
                prop_assert_eq!(matching(&mut tree, &topic), expected, "{}", topic);
            }
            for (filter, value) in model {
                prop_assert_eq!(tree.remove(&filter), Some(value));
            }
            prop_assert!(is_empty(&tree));
        }
    }
}
