//! What the world talks about: a few topics, so that everybody's filters overlap, and numbered payloads.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::dice::Dice;
use crate::core::topics::{TopicFilter, TopicName};
use crate::wire::TopicId;

/// Among them short names, one of two octets and one character, one of one octet, and one that the broker forbids.
const TOPICS: [&str; 11] = ["a/b", "a/c", "a/b/c", "ab", "é", "x", "home/temp", "p/1", "forbidden/x", LONG_TOPIC, "/"];
const FILTERS: [&str; 13] =
    ["a/b", "a/+", "a/#", "#", "+/b", "ab", "é", "x", "p/1", "home/temp", "home/#", "forbidden/#", LONG_TOPIC];
const PREDEFINED: [(TopicId, &str); 2] = [(TopicId(1), "p/1"), (TopicId(2), "home/temp")];
const LONG_TOPIC: &str = "building/seven/floor/three/room/three-hundred-and-twelve/radiator/valve";

/// Names one message, in its payload, wherever it turns up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(pub(super) u32);

impl Mark {
    /// Makes the payload, filled up to `octets`.
    pub(super) fn payload(self, octets: usize) -> Bytes {
        let mut payload = format!("m{}", self.0).into_bytes();
        payload.resize(octets.max(payload.len()), b'.');
        payload.into()
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?.strip_prefix('m')?;
        text.trim_end_matches('.').parse().ok().map(Self)
    }
}

/// Gives out marks.
#[derive(Debug, Default)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) fn fresh(&mut self) -> Mark {
        self.0 += 1;
        Mark(self.0)
    }
}

pub(super) fn any_topic(dice: &mut Dice) -> TopicName {
    topic(dice.pick::<&str>(&TOPICS))
}

pub(super) fn any_filter(dice: &mut Dice) -> TopicFilter {
    TopicFilter::parse(dice.pick::<&str>(&FILTERS).as_bytes()).expect("the filters above are good")
}

/// A payload length: mostly short, sometimes more than a small frame holds.
pub(super) fn any_length(dice: &mut Dice) -> usize {
    *dice.pick(&[0, 10, 10, 20, 40, 120, 248, 300])
}

pub(super) fn predefined() -> BTreeMap<TopicId, TopicName> {
    PREDEFINED.iter().map(|(id, name)| (*id, topic(name))).collect()
}

pub(super) fn predefined_name(id: TopicId) -> Option<TopicName> {
    PREDEFINED.iter().find(|(known, _)| *known == id).map(|(_, name)| topic(name))
}

pub(super) fn predefined_id(name: &str) -> Option<TopicId> {
    PREDEFINED.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name.as_bytes()).expect("the topics above are good")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_from_its_payload() {
        assert_eq!(Mark::read(&Mark(12).payload(0)), Some(Mark(12)));
        assert_eq!(Mark::read(&Mark(12).payload(40)), Some(Mark(12)));
        assert_eq!(Mark::read(b""), None);
        assert_eq!(Mark::read(b"m1x"), None);
    }
}
