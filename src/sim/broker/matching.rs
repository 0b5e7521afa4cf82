//! Which topics a filter matches (MQTT 5 §4.7), level by level: slow, short, and not the gateway's way to do it.

use crate::core::topics::{TopicFilter, TopicName};

pub(in crate::sim) fn matches(filter: &TopicFilter, topic: &TopicName) -> bool {
    let (filter, topic) = (filter.matched_part(), topic.as_str());
    // Wildcards in the first level keep clear of `$SYS` and its like (MQTT 5 §4.7.2).
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) | None => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_mqtt_says() {
        let matches =
            |filter: &str, topic: &str| matches(&TopicFilter::parse(filter.as_bytes()).unwrap(), &topic_name(topic));
        for (filter, topic) in
            [("a/b", "a/b"), ("a/+", "a/b"), ("a/#", "a"), ("a/#", "a/b/c"), ("#", "a"), ("+/b", "/b")]
        {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in
            [("a/b", "a"), ("a", "a/b"), ("a/+", "a/b/c"), ("#", "$SYS/x"), ("+", "a/b"), ("a/+", "a")]
        {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    fn topic_name(text: &str) -> TopicName {
        TopicName::parse(text.as_bytes()).unwrap()
    }
}
