//! What the configuration says about topics: pre-defined ids, the prefix at the broker, how messages wait.

use std::collections::BTreeMap;

use super::check::{CLIENT_ID, meant, or, placeholder};
use super::problem::Problem;
use super::raw::RawQueue;
use crate::core::topics::{TopicError, TopicFilter, TopicName};
use crate::core::{PrefixTemplate, QueuePolicy, QueueRule};
use crate::wire::TopicId;

pub(super) fn predefined(raw: BTreeMap<String, String>) -> Result<BTreeMap<TopicId, TopicName>, Problem> {
    let mut topics = BTreeMap::new();
    for (key, name) in raw {
        let at = |text: String| Problem::at(["predefined", key.as_str()], text);
        let id = key.parse().map(TopicId).ok().filter(|id| id.is_assignable()).ok_or_else(|| {
            at(format!("{key:?} in [predefined] is not a topic id")).hint(
                "an id is a number from 1 to 65534 (0 and 65535 are reserved): 1 = \"iot/home1/livingroom/temperature\"",
            )
        })?;
        let topic = TopicName::parse(name.as_bytes()).map_err(|error| {
            at(format!("predefined topic {id} cannot be {name:?}: {error}")).hint(topic_remedy(error))
        })?;
        if topics.insert(id, topic).is_some() {
            return Err(at(format!("predefined topic {id} is defined twice")).hint("keep one of the two lines"));
        }
    }
    Ok(topics)
}

fn topic_remedy(error: TopicError) -> &'static str {
    match error {
        TopicError::Wildcard => "write one full topic name; a device subscribes to wildcards by name, not by id",
        TopicError::Empty => "write the topic's name, or remove the line",
        TopicError::TooLong | TopicError::TooDeep => "use a shorter name with fewer levels",
        TopicError::ControlCharacter
        | TopicError::NonCharacter
        | TopicError::NotUtf8
        | TopicError::PlusInLevel
        | TopicError::HashNotLast
        | TopicError::SharedSyntax => "use a plain topic name such as iot/home1/livingroom/temperature",
    }
}

/// Reads what stands in front of every topic; `{client_id}` stays for the core to fill in.
pub(super) fn prefix(template: &str) -> Result<PrefixTemplate, Problem> {
    let at = |text: String| Problem::at(["broker", "topic_prefix"], text);
    if let Some(placeholder) = placeholder(&template.replace(CLIENT_ID, "")) {
        return Err(at(format!("`topic_prefix` in [broker] has the unknown placeholder {{{placeholder}}}"))
            .hint("known placeholders: {client_id}, the device's client id"));
    }
    PrefixTemplate::parse(template).map_err(|error| {
        at(format!("`topic_prefix` in [broker] cannot be {template:?}: {error}"))
            .hint("example: topic_prefix = \"site/{client_id}/\"")
    })
}

const POLICIES: [QueuePolicy; 3] = [QueuePolicy::DropOldest, QueuePolicy::DropNewest, QueuePolicy::LatestOnly];

/// Returns a policy's name in the file.
fn policy_name(policy: QueuePolicy) -> &'static str {
    match policy {
        QueuePolicy::DropOldest => "drop-oldest",
        QueuePolicy::DropNewest => "drop-newest",
        QueuePolicy::LatestOnly => "latest-only",
    }
}

pub(super) fn queue_rules(raw: Vec<RawQueue>) -> Result<Vec<QueueRule>, Problem> {
    let mut rules = Vec::<QueueRule>::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let rule = queue_rule(index, &raw)?;
        if rules.iter().any(|other| other.filter == rule.filter) {
            let text = format!("two [[queue]] sections are about {:?}, and the first decides", raw.filter);
            return Err(Problem::in_entry("queue", index, "filter", text).hint("keep one of them"));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// Reads the filter of an entry in a list of sections.
pub(super) fn filter_in(
    section: &'static str,
    filter: &str,
    at: impl Fn(String) -> Problem,
) -> Result<TopicFilter, Problem> {
    let parsed = TopicFilter::parse(filter.as_bytes()).map_err(|error| {
        at(format!("`filter` in [[{section}]] cannot be {filter:?}: {error}"))
            .hint("write a topic as the broker knows it, or with + and # many: filter = \"cmd/#\"")
    })?;
    if parsed.shared_group().is_some() {
        return Err(at(format!("`filter` in [[{section}]] cannot be {filter:?}: no topic is named $share/..."))
            .hint("leave out $share and the group"));
    }
    Ok(parsed)
}

fn queue_rule(index: usize, RawQueue { filter, policy, max_age }: &RawQueue) -> Result<QueueRule, Problem> {
    let at = |key: &str, text: String| Problem::in_entry("queue", index, key, text);
    let filter = filter_in("queue", filter, |text| at("filter", text))?;
    let max_age = max_age.and_then(|age| age.0);
    if max_age.is_some_and(|age| age.is_zero()) {
        return Err(at("max_age", "`max_age` in [[queue]] must be longer than 0s".into())
            .hint("max_age = \"never\" keeps messages as long as it takes"));
    }
    let policy = policy.as_deref().map(|name| policy_named(index, name)).transpose()?.unwrap_or_default();
    Ok(QueueRule { filter, policy, max_age })
}

fn policy_named(index: usize, name: &str) -> Result<QueuePolicy, Problem> {
    POLICIES.into_iter().find(|policy| policy_name(*policy) == name).ok_or_else(|| {
        let known = POLICIES.map(policy_name);
        let text = format!("`policy` in [[queue]] cannot be {name:?}{}; use {}", meant(name, &known), or(&known));
        Problem::in_entry("queue", index, "policy", text)
    })
}
