//! What the configuration says about the store, and about messages while the broker is away.

use std::path::PathBuf;
use std::time::Duration;

use super::check::{meant, one_of, or};
use super::problem::{Problem, Step};
use super::raw::{RawOutage, RawOutageTopic, RawStore};
use super::topics::filter_in;
use crate::core::{Durability, OutagePolicy, OutageRule, OutageSettings};
use crate::store::StoreSettings;

/// Where and how the gateway keeps what outlives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The directory; `None` keeps nothing.
    pub dir: Option<PathBuf>,
    /// [`Durability::Nothing`] without a directory.
    pub durability: Durability,
    pub settings: StoreSettings,
}

const POLICIES: [OutagePolicy; 3] = [OutagePolicy::Keep, OutagePolicy::Latest, OutagePolicy::Drop];

const ON_FAILURE: [Durability; 2] = [Durability::Strict, Durability::BestEffort];

/// As far as the numbers of entries and octets can be counted on every machine.
const MOST_MESSAGES: u64 = 100_000_000;
const MOST_OCTETS: u64 = 1 << 40;

/// Devices ask again after 10 to 15 seconds without an answer (MQTT-SN 1.2 §7.2, T_RETRY).
const LONGEST_COMMIT: Duration = Duration::from_secs(10);

/// Returns a policy's name in the file.
pub(super) fn policy_name(policy: OutagePolicy) -> &'static str {
    match policy {
        OutagePolicy::Keep => "keep",
        OutagePolicy::Latest => "latest",
        OutagePolicy::Drop => "drop",
    }
}

/// Returns the name of what is done when the store fails.
pub(super) fn failure_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Nothing => "",
        Durability::Strict => "refuse",
        Durability::BestEffort => "continue",
    }
}

pub(super) fn keeping(data_dir: &str, raw: &RawStore) -> Result<Keeping, Problem> {
    let RawStore { on_failure, commit_every, commit_bytes } = raw;
    let named = ON_FAILURE.into_iter().find(|durability| failure_name(*durability) == on_failure);
    let durability = named.ok_or_else(|| one_of(["store", "on_failure"], on_failure, &ON_FAILURE.map(failure_name)))?;
    if commit_every.0 > LONGEST_COMMIT {
        return Err(Problem::at(["store", "commit_every"], "`commit_every` in [store] must be from 0s to 10s").hint(
            "acknowledgements wait as long, and devices ask again after 10s: commit_every = \"1s\" spares SD cards",
        ));
    }
    let max_backlog = StoreSettings::default().max_backlog;
    let commit_bytes = usize::try_from(*commit_bytes).ok().filter(|bytes| *bytes <= max_backlog).ok_or_else(|| {
        let text = format!("`commit_bytes` in [store] must be from 0 to {max_backlog}, not {commit_bytes}");
        Problem::at(["store", "commit_bytes"], text).hint("beyond that no more may wait for the disk")
    })?;
    let settings = StoreSettings { commit_every: commit_every.0, commit_bytes, max_backlog };
    Ok(match data_dir {
        "" => Keeping { dir: None, durability: Durability::Nothing, settings },
        dir => Keeping { dir: Some(dir.into()), durability, settings },
    })
}

pub(super) fn outage(raw: RawOutage) -> Result<OutageSettings, Problem> {
    let RawOutage { policy, qos0, max_age, messages, bytes, topic } = raw;
    let mut rules = Vec::<OutageRule>::new();
    for (index, raw) in topic.into_iter().enumerate() {
        let rule = rule(index, &raw)?;
        if rules.iter().any(|other| other.filter == rule.filter) {
            let text = format!("two [[outage.topic]] sections are about {:?}, and the first decides", raw.filter);
            return Err(at(index, "filter", text).hint("keep one of them"));
        }
        rules.push(rule);
    }
    let count = |key: &'static str, value: u64, most: u64| {
        usize::try_from(value).ok().filter(|_| (1..=most).contains(&value)).ok_or_else(|| {
            Problem::at(["outage", key], format!("`{key}` in [outage] must be from 1 to {most}, not {value}"))
                .hint("policy = \"drop\" keeps no messages")
        })
    };
    if max_age.0.is_some_and(|age| age.is_zero()) {
        return Err(Problem::at(["outage", "max_age"], "`max_age` in [outage] must be longer than 0s")
            .hint("max_age = \"never\" keeps messages as long as it takes; policy = \"drop\" keeps none"));
    }
    Ok(OutageSettings {
        messages: count("messages", messages, MOST_MESSAGES)?,
        octets: count("bytes", bytes, MOST_OCTETS)?,
        max_age: max_age.0,
        policy: policy_named(&policy, |known| one_of(["outage", "policy"], &policy, known))?,
        qos0: policy_named(&qos0, |known| one_of(["outage", "qos0"], &qos0, known))?,
        rules,
    })
}

fn rule(index: usize, raw: &RawOutageTopic) -> Result<OutageRule, Problem> {
    let RawOutageTopic { filter, policy, qos0, max_age } = raw;
    let filter = filter_in("outage.topic", filter, |text| at(index, "filter", text))?;
    let named = |key: &'static str, name: &Option<String>| {
        let policy = name.as_deref().map(|name| {
            policy_named(name, |known| {
                let (meant, known) = (meant(name, known), or(known));
                at(index, key, format!("`{key}` in [[outage.topic]] cannot be {name:?}{meant}; use {known}"))
            })
        });
        policy.transpose()
    };
    let max_age = max_age.map(|age| age.0);
    if max_age.flatten().is_some_and(|age| age.is_zero()) {
        return Err(at(index, "max_age", "`max_age` in [[outage.topic]] must be longer than 0s".into())
            .hint("max_age = \"never\" keeps messages as long as it takes; policy = \"drop\" keeps none"));
    }
    Ok(OutageRule { filter, policy: named("policy", policy)?, qos0: named("qos0", qos0)?, max_age })
}

fn at(index: usize, key: &str, text: String) -> Problem {
    Problem::at(["outage".into(), "topic".into(), Step::Index(index), key.into()], text)
}

fn policy_named(name: &str, problem: impl FnOnce(&[&str]) -> Problem) -> Result<OutagePolicy, Problem> {
    let policy = POLICIES.into_iter().find(|policy| policy_name(*policy) == name);
    policy.ok_or_else(|| problem(&POLICIES.map(policy_name)))
}
