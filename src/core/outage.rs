//! What becomes of messages for the broker while it is away: how it is configured, and which rule is for which topic.

use std::time::Duration;

use super::Instant;
use super::topics::{TopicFilter, TopicName, Tree};
use crate::wire::Qos;

/// How messages are kept while the broker is away. Only with a store; without one they are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutageSettings {
    /// Messages kept at most. The next one gets return code 1.
    pub messages: usize,
    /// Octets of topic and payload kept at most. What would exceed it gets return code 1.
    pub octets: usize,
    /// Messages that have waited longer are dropped; `None`: they wait as long as it takes.
    pub max_age: Option<Duration>,
    /// For QoS 1 and 2, where no rule says otherwise.
    pub policy: OutagePolicy,
    /// For QoS 0 and -1, where no rule says otherwise.
    pub qos0: OutagePolicy,
    /// The first whose filter matches a topic decides.
    pub rules: Vec<OutageRule>,
}

/// What is particular to some topics. What is `None` is as for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutageRule {
    pub filter: TopicFilter,
    pub policy: Option<OutagePolicy>,
    pub qos0: Option<OutagePolicy>,
    /// `Some(None)`: as long as it takes.
    pub max_age: Option<Option<Duration>>,
}

/// What is kept of a topic while the broker is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutagePolicy {
    /// Every message, in order.
    #[default]
    Keep,
    /// The newest message.
    Latest,
    /// Nothing: the device is told that there is congestion.
    Drop,
}

impl Default for OutageSettings {
    fn default() -> Self {
        Self {
            messages: 100_000,
            octets: 64 * 1024 * 1024,
            max_age: None,
            policy: OutagePolicy::Keep,
            qos0: OutagePolicy::Drop,
            rules: Vec::new(),
        }
    }
}

/// How one message may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutageTerms {
    pub(super) policy: OutagePolicy,
    pub(super) expires: Option<Instant>,
}

/// The rules, found by topic.
#[derive(Debug)]
pub(super) struct OutageRules {
    by_filter: Tree<usize>,
    // Reused by every message.
    found: Vec<usize>,
}

impl OutageRules {
    pub(super) fn new(settings: &OutageSettings) -> Self {
        let mut by_filter = Tree::default();
        for (number, rule) in settings.rules.iter().enumerate() {
            // Of two rules for one filter the first decides.
            if by_filter.get(rule.filter.as_str()).is_none() {
                by_filter.insert(rule.filter.as_str(), number);
            }
        }
        Self { by_filter, found: Vec::new() }
    }

    /// Returns the terms on which a message that comes now may wait.
    pub(super) fn terms(
        &mut self,
        settings: &OutageSettings,
        topic: &TopicName,
        qos: Qos,
        now: Instant,
    ) -> OutageTerms {
        self.found.clear();
        self.by_filter.matches(topic.as_str(), &mut self.found);
        let rule = self.found.iter().min().and_then(|number| settings.rules.get(*number));
        let (chosen, otherwise) = match qos {
            Qos::AtMostOnce => (rule.and_then(|rule| rule.qos0), settings.qos0),
            Qos::AtLeastOnce | Qos::ExactlyOnce => (rule.and_then(|rule| rule.policy), settings.policy),
        };
        let max_age = rule.and_then(|rule| rule.max_age).unwrap_or(settings.max_age);
        OutageTerms { policy: chosen.unwrap_or(otherwise), expires: max_age.map(|age| now + age) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_decides_what_it_names_and_leaves_the_rest_as_it_is_for_all() {
        let filter = TopicFilter::parse(b"log/#").unwrap();
        let rule = OutageRule { filter, policy: Some(OutagePolicy::Latest), qos0: None, max_age: None };
        let minute = Duration::from_secs(60);
        let settings = OutageSettings { max_age: Some(minute), rules: vec![rule], ..OutageSettings::default() };
        let mut rules = OutageRules::new(&settings);
        let mut policy = |topic: &str, qos| {
            let terms = rules.terms(&settings, &TopicName::parse(topic.as_bytes()).unwrap(), qos, Instant::ORIGIN);
            assert_eq!(terms.expires, Some(Instant::ORIGIN + minute));
            terms.policy
        };
        assert_eq!(policy("log/a", Qos::AtLeastOnce), OutagePolicy::Latest);
        assert_eq!(policy("log/a", Qos::AtMostOnce), OutagePolicy::Drop);
        assert_eq!(policy("data", Qos::ExactlyOnce), OutagePolicy::Keep);
    }
}
