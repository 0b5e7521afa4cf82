//! Which retained messages have been passed on a moment ago, where the broker does not say whose SUBSCRIBE brought them.
//!
//! On MQTT 3.1.1 the first copy of a retained message is for all who have just asked for it. What has been noted here
//! keeps the copies that the broker sends for each of their SUBSCRIBEs from coming to all of them once more.

use std::hash::{BuildHasher, Hash, Hasher};
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::filters::REPLAY_WINDOW;
use crate::core::{Instant, Message};

/// Messages noted until older ones make room. What is forgotten too early comes twice to someone; nothing is lost.
const NOTED: usize = 50_000;

/// The place of a SUBSCRIBE among all that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(u64);

/// A message, and the last SUBSCRIBE whose client has been given it.
///
/// Two tables take turns: what is in the newer one was noted since `since`, what is in the older one before.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    newer: HashMap<Content, Turn, RandomState>,
    older: HashMap<Content, Turn, RandomState>,
    since: Instant,
    hasher: RandomState,
}

/// What tells one retained message from another: a new value of a topic is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Content(u64);

impl Turn {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Replayed {
    pub(super) fn content(&self, message: &Message) -> Content {
        let mut hasher = self.hasher.build_hasher();
        message.topic.as_str().hash(&mut hasher);
        message.payload.hash(&mut hasher);
        Content(hasher.finish())
    }

    /// Returns the last SUBSCRIBE whose client has been given the message.
    pub(super) fn given_until(&self, content: Content) -> Option<Turn> {
        self.newer.get(&content).or_else(|| self.older.get(&content)).copied()
    }

    /// Notes that everyone who asked for the message in this turn or before has been given it.
    pub(super) fn note(&mut self, content: Content, turn: Turn, now: Instant) {
        if now - self.since > REPLAY_WINDOW || self.newer.len() >= NOTED {
            self.older = mem::take(&mut self.newer);
            self.since = now;
        }
        self.newer.insert(content, turn);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_is_remembered_for_as_long_as_its_subscribe_may_bring_it() {
        let mut replayed = Replayed::default();
        replayed.note(Content(1), Turn(1), Instant::ORIGIN);
        let later = Instant::ORIGIN + REPLAY_WINDOW + Duration::from_micros(1);
        replayed.note(Content(2), Turn(2), later);
        assert_eq!(replayed.given_until(Content(1)), Some(Turn(1)));
        replayed.note(Content(3), Turn(3), later + REPLAY_WINDOW + Duration::from_micros(1));
        assert_eq!(replayed.given_until(Content(1)), None);
        assert_eq!(replayed.given_until(Content(2)), Some(Turn(2)));
    }

    #[test]
    fn however_many_messages_are_retained_memory_is_bounded() {
        let mut replayed = Replayed::default();
        for content in 0..3 * NOTED as u64 {
            replayed.note(Content(content), Turn(1), Instant::ORIGIN);
        }
        assert_eq!(replayed.newer.len() + replayed.older.len(), 2 * NOTED);
    }
}
