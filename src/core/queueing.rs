//! How messages wait for a client that does not take them at once: which go when there are too many, and when they
//! are too old to be of use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Instant;
use super::topics::{TopicFilter, TopicName, Tree};

/// One rule: the first whose filter matches a topic decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRule {
    pub filter: TopicFilter,
    pub policy: QueuePolicy,
    /// Messages that have waited longer are dropped; `None`: they wait as long as it takes.
    pub max_age: Option<Duration>,
}

/// What goes when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueuePolicy {
    /// The message that has waited longest.
    #[default]
    DropOldest,
    /// The message that has just come.
    DropNewest,
    /// Only the newest message of a topic waits at all; if the queue is full nevertheless, the oldest goes.
    LatestOnly,
}

/// How long and how one message may wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) policy: QueuePolicy,
    pub(super) expires: Option<Instant>,
}

/// The rules, found by topic.
#[derive(Debug, Default)]
pub(super) struct QueueRules {
    rules: Vec<(QueuePolicy, Option<Duration>)>,
    by_filter: Tree<usize>,
    // Reused by every message.
    found: Vec<usize>,
}

impl QueueRules {
    pub(super) fn new(rules: &[QueueRule]) -> Self {
        let mut compiled = Self::default();
        for rule in rules {
            // Of two rules for one filter the first decides.
            if compiled.by_filter.get(rule.filter.as_str()).is_none() {
                compiled.by_filter.insert(rule.filter.as_str(), compiled.rules.len());
            }
            compiled.rules.push((rule.policy, rule.max_age));
        }
        compiled
    }

    /// Returns the terms on which a message that comes now may wait.
    pub(super) fn terms(&mut self, topic: &TopicName, now: Instant) -> Terms {
        if self.rules.is_empty() {
            return Terms::default();
        }
        self.found.clear();
        self.by_filter.matches(topic.as_str(), &mut self.found);
        let first = self.found.iter().min().and_then(|rule| self.rules.get(*rule));
        let (policy, max_age) = first.copied().unwrap_or_default();
        Terms { policy, expires: max_age.map(|age| now + age) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |filter: &str, policy, max_age| QueueRule {
            filter: TopicFilter::parse(filter.as_bytes()).unwrap(),
            policy,
            max_age,
        };
        let minute = Duration::from_secs(60);
        let mut rules = QueueRules::new(&[
            rule("cmd/#", QueuePolicy::DropNewest, Some(minute)),
            rule("#", QueuePolicy::LatestOnly, None),
            rule("cmd/#", QueuePolicy::LatestOnly, None),
        ]);
        let mut terms = |topic: &str| rules.terms(&TopicName::parse(topic.as_bytes()).unwrap(), Instant::ORIGIN);
        let minute = Some(Instant::ORIGIN + minute);
        assert_eq!(terms("cmd/valve"), Terms { policy: QueuePolicy::DropNewest, expires: minute });
        assert_eq!(terms("state"), Terms { policy: QueuePolicy::LatestOnly, expires: None });
        assert_eq!(terms("$SYS/x"), Terms::default());
    }
}
