//! What `[store]` and `[outage]` mean, in words.

use std::path::{self, Path};
use std::time::Duration;

use super::config::{Config, Keeping, Mode};
use crate::core::{Durability, OutagePolicy, OutageRule, OutageSettings};

/// Where what must survive is kept, and how.
pub(super) fn store_in_words(keeping: &Keeping) -> String {
    let Some(dir) = &keeping.dir else {
        return "none: a restart forgets every device and what waits for it".to_owned();
    };
    let failing = match keeping.durability {
        Durability::Nothing | Durability::Strict => "while the disk fails, new work is refused",
        Durability::BestEffort => "while the disk fails, the gateway goes on without it",
    };
    let pace = match keeping.settings.commit_every {
        Duration::ZERO => "written at once".to_owned(),
        every => format!("written every {}", humantime::format_duration(every)),
    };
    format!("in {}, {pace}; {failing}", shown(dir))
}

/// What becomes of messages from devices while the broker is away: all of them, and then the exceptions.
pub(super) fn outage_in_words(config: &Config) -> Vec<String> {
    let told = "devices are told congestion while the broker is away";
    match (config.mode, &config.keeping.dir) {
        (Mode::Transparent, _) => {
            let words = format!("{told}: in mode \"transparent\" only the broker accepts messages");
            return std::iter::once(words).chain(idle_outage(config)).collect();
        }
        (Mode::Aggregating, None) => {
            let words = format!("{told}: there is no store to keep messages in");
            return std::iter::once(words).chain(idle_outage(config)).collect();
        }
        (Mode::Aggregating, Some(_)) => {}
    }
    let outage = &config.outage;
    let all = format!(
        "while the broker is away: {}, {}{}; {} messages and {} octets at most",
        of_qos_1_and_2(outage.policy),
        of_qos_0(outage.qos0),
        age_in_words(outage.max_age),
        outage.messages,
        outage.octets
    );
    std::iter::once(all).chain(outage.rules.iter().map(rule_in_words)).collect()
}

/// A directory as it is found from everywhere.
pub(super) fn shown(dir: &Path) -> String {
    path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).display().to_string()
}

/// A number of things: `1 message`, `2 messages`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What to say of settings that change nothing, because no message is kept.
fn idle_outage(config: &Config) -> Option<String> {
    let is_set = config.outage != OutageSettings::default();
    is_set.then(|| {
        "what [outage] says has no effect: it needs mode = \"aggregating\" and a data_dir in [gateway]".to_owned()
    })
}

fn rule_in_words(rule: &OutageRule) -> String {
    let OutageRule { filter, policy, qos0, max_age } = rule;
    let parts = policy.map(of_qos_1_and_2).into_iter().chain(qos0.map(of_qos_0)).collect::<Vec<_>>();
    let age = max_age.map(age_in_words).unwrap_or_default();
    let parts = if parts.is_empty() { "as above".to_owned() } else { parts.join(", ") };
    format!("{:?}: {parts}{age}", filter.as_str())
}

fn of_qos_1_and_2(policy: OutagePolicy) -> String {
    match policy {
        OutagePolicy::Keep => "QoS 1 and 2 are kept".to_owned(),
        OutagePolicy::Latest => "of QoS 1 and 2 the latest of each topic is kept".to_owned(),
        OutagePolicy::Drop => "QoS 1 and 2 are told congestion".to_owned(),
    }
}

fn of_qos_0(policy: OutagePolicy) -> String {
    match policy {
        OutagePolicy::Keep => "QoS 0 is kept".to_owned(),
        OutagePolicy::Latest => "of QoS 0 the latest of each topic is kept".to_owned(),
        OutagePolicy::Drop => "QoS 0 is dropped".to_owned(),
    }
}

fn age_in_words(max_age: Option<Duration>) -> String {
    match max_age {
        Some(age) => format!(", for {} at most", humantime::format_duration(age)),
        None => ", for as long as it takes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::Overrides;

    fn config(text: &str) -> Config {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()), &Overrides::default()).unwrap()
    }

    #[test]
    fn the_store_is_named_with_what_a_full_disk_means() {
        let strict = config("[gateway]\ndata_dir = \"/var/lib/gw\"\n");
        assert_eq!(
            store_in_words(&strict.keeping),
            "in /var/lib/gw, written every 20ms; while the disk fails, new work is refused"
        );
        let text = "[gateway]\ndata_dir = \"/d\"\n[store]\non_failure = \"continue\"\ncommit_every = \"0s\"\n";
        assert_eq!(
            store_in_words(&config(text).keeping),
            "in /d, written at once; while the disk fails, the gateway goes on without it"
        );
        let none = config("[gateway]\ndata_dir = \"\"\n");
        assert_eq!(store_in_words(&none.keeping), "none: a restart forgets every device and what waits for it");
    }

    #[test]
    fn what_is_kept_while_the_broker_is_away_is_said_with_its_exceptions() {
        let text = "[outage]\nqos0 = \"latest\"\nmessages = 5\nbytes = 60\n[[outage.topic]]\nfilter = \"cmd/#\"\n\
                    policy = \"drop\"\nmax_age = \"1h\"\n[[outage.topic]]\nfilter = \"a\"\n";
        assert_eq!(
            outage_in_words(&config(text)),
            [
                "while the broker is away: QoS 1 and 2 are kept, of QoS 0 the latest of each topic is kept, for as \
                 long as it takes; 5 messages and 60 octets at most",
                "\"cmd/#\": QoS 1 and 2 are told congestion, for 1h at most",
                "\"a\": as above",
            ]
        );
        for text in ["[gateway]\nmode = \"transparent\"\n", "[gateway]\ndata_dir = \"\"\n"] {
            let [words] = outage_in_words(&config(text)).try_into().unwrap();
            assert!(words.starts_with("devices are told congestion while the broker is away: "), "{words}");
        }
    }

    #[test]
    fn outage_settings_that_change_nothing_are_said_to() {
        for text in ["[gateway]\nmode = \"transparent\"\n", "[gateway]\ndata_dir = \"\"\n"] {
            let text = format!("{text}[outage]\nqos0 = \"keep\"\n");
            let [_, words] = outage_in_words(&config(&text)).try_into().unwrap();
            assert!(words.starts_with("what [outage] says has no effect: "), "{words}");
        }
    }
}
