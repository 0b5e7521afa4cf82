//! The order of what is kept: keys as octets, so that what belongs together lies together.

use std::fmt;
use std::ops::Range;

use crate::core::{RecordKey, SessionNumber};

/// A [`RecordKey`] as octets: `area`, then in the area of the sessions the session's number and `kind`, then what is
/// left of the key. Numbers have their high octet first, so that the order of the octets is that of the numbers.
///
/// The numbers of areas and kinds are part of the format on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Box<[u8]>);

/// All keys of one session: they lie between its two ends.
#[derive(Clone, Debug)]
pub(super) struct SessionKeys {
    first: Key,
    end: Key,
}

mod area {
    pub(super) const SESSIONS: u8 = 0x10;
    pub(super) const UPSTREAM: u8 = 0x20;
    pub(super) const FILTERS: u8 = 0x30;
    pub(super) const COMPLETED: u8 = 0x40;
}

/// A session comes before what belongs to it.
mod kind {
    pub(super) const SESSION: u8 = 0x00;
    pub(super) const TOPIC: u8 = 0x10;
    pub(super) const SUBSCRIPTION: u8 = 0x20;
    pub(super) const QUEUED: u8 = 0x30;
    pub(super) const EXCHANGE: u8 = 0x40;
    pub(super) const ARRIVAL: u8 = 0x50;
    pub(super) const CHECKPOINT: u8 = 0x60;
    /// Greater than any kind.
    pub(super) const END: u8 = 0xff;
}

impl Key {
    pub(super) fn of(key: &RecordKey) -> Self {
        match key {
            RecordKey::Session(session) => Self::of_session(*session, kind::SESSION, &[]),
            RecordKey::Topic(session, id) => Self::of_session(*session, kind::TOPIC, &id.to_be_bytes()),
            RecordKey::Subscription(session, filter) => {
                Self::of_session(*session, kind::SUBSCRIPTION, filter.as_bytes())
            }
            RecordKey::Queued(session, place) => Self::of_session(*session, kind::QUEUED, &place.to_be_bytes()),
            RecordKey::Exchange(session, id) => Self::of_session(*session, kind::EXCHANGE, &id.to_be_bytes()),
            RecordKey::Arrival(session, packet) => Self::of_session(*session, kind::ARRIVAL, &packet.to_be_bytes()),
            RecordKey::Checkpoint(session) => Self::of_session(*session, kind::CHECKPOINT, &[]),
            RecordKey::Upstream(place) => Self::in_area(area::UPSTREAM, &place.to_be_bytes()),
            RecordKey::Filter(filter) => Self::in_area(area::FILTERS, filter.as_bytes()),
            RecordKey::Completed(token) => Self::in_area(area::COMPLETED, &token.0.to_be_bytes()),
        }
    }

    pub(super) fn from_octets(octets: &[u8]) -> Self {
        Self(octets.into())
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }

    fn of_session(session: SessionNumber, kind: u8, rest: &[u8]) -> Self {
        Self([&[area::SESSIONS][..], &session.0.to_be_bytes(), &[kind], rest].concat().into())
    }

    fn in_area(area: u8, rest: &[u8]) -> Self {
        Self([&[area], rest].concat().into())
    }
}

impl SessionKeys {
    pub(super) fn of(session: SessionNumber) -> Self {
        Self { first: Key::of_session(session, kind::SESSION, &[]), end: Key::of_session(session, kind::END, &[]) }
    }

    /// Returns the range that holds the keys of the session and no others.
    pub(super) fn range(&self) -> Range<&Key> {
        &self.first..&self.end
    }

    pub(super) fn octets(&self) -> Range<&[u8]> {
        self.first.octets()..self.end.octets()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", hex::encode(&self.0))
    }
}

/// Names a record for people, as far as its key can be read: `queued message 0000000000000007 of session 3`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [area::SESSIONS, rest @ ..] => match rest.split_first_chunk() {
                Some((session, [kind, rest @ ..])) => {
                    let session = u64::from_be_bytes(*session);
                    match *kind {
                        kind::SESSION => write!(f, "session {session}"),
                        kind::TOPIC => write!(f, "topic id {} of session {session}", hex::encode(rest)),
                        kind::SUBSCRIPTION => {
                            write!(f, "subscription {:?} of session {session}", String::from_utf8_lossy(rest))
                        }
                        kind::QUEUED => write!(f, "queued message {} of session {session}", hex::encode(rest)),
                        kind::EXCHANGE => write!(f, "QoS 2 exchange {} of session {session}", hex::encode(rest)),
                        kind::ARRIVAL => write!(f, "QoS 2 arrival {} of session {session}", hex::encode(rest)),
                        _ => write!(f, "record {} of session {session}", hex::encode(&self.0)),
                    }
                }
                Some((_, [])) | None => write!(f, "record {}", hex::encode(&self.0)),
            },
            [area::UPSTREAM, rest @ ..] => write!(f, "message to the broker {}", hex::encode(rest)),
            [area::FILTERS, rest @ ..] => write!(f, "filter {:?}", String::from_utf8_lossy(rest)),
            [area::COMPLETED, rest @ ..] => write!(f, "completed token {}", hex::encode(rest)),
            other => write!(f, "record {}", hex::encode(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::core::Token;

    use super::*;

    const SESSION: SessionNumber = SessionNumber(0x0102);

    fn keys_of(session: SessionNumber) -> Vec<RecordKey> {
        vec![
            RecordKey::Session(session),
            RecordKey::Topic(session, 1),
            RecordKey::Topic(session, u16::MAX),
            RecordKey::Subscription(session, "".into()),
            RecordKey::Subscription(session, "\u{10ffff}/#".into()),
            RecordKey::Queued(session, 0),
            RecordKey::Queued(session, u64::MAX),
            RecordKey::Exchange(session, 7),
            RecordKey::Arrival(session, 0xffff),
        ]
    }

    #[test]
    fn a_session_comes_before_what_belongs_to_it_and_its_messages_are_in_order() {
        let ordered: Vec<Key> = keys_of(SESSION).iter().map(Key::of).collect();
        assert!(ordered.is_sorted(), "{ordered:?}");
    }

    #[test]
    fn the_range_of_a_session_holds_its_keys_and_no_others() {
        let numbers = [0, 1, 0xff, 0x0101, 0x0102, 0x0103, u64::MAX].map(SessionNumber);
        for range_of in numbers {
            let keys = SessionKeys::of(range_of);
            for session in numbers {
                for key in keys_of(session) {
                    assert_eq!(keys.range().contains(&&Key::of(&key)), session == range_of, "{key:?}");
                }
            }
            for key in [RecordKey::Upstream(range_of.0), RecordKey::Filter("a".into()), RecordKey::Completed(Token(1))]
            {
                assert!(!keys.range().contains(&&Key::of(&key)), "{key:?}");
            }
        }
    }

    #[test]
    fn keys_on_disk_stay_what_they_are() {
        let octets = |key: RecordKey| hex::encode(Key::of(&key).octets());
        assert_eq!(octets(RecordKey::Session(SESSION)), "10000000000000010200");
        assert_eq!(octets(RecordKey::Topic(SESSION, 9)), "100000000000000102100009");
        assert_eq!(octets(RecordKey::Subscription(SESSION, "a".into())), "1000000000000001022061");
        assert_eq!(octets(RecordKey::Queued(SESSION, 9)), "100000000000000102300000000000000009");
        assert_eq!(octets(RecordKey::Exchange(SESSION, 9)), "100000000000000102400009");
        assert_eq!(octets(RecordKey::Arrival(SESSION, 9)), "100000000000000102500009");
        assert_eq!(octets(RecordKey::Upstream(9)), "200000000000000009");
        assert_eq!(octets(RecordKey::Filter("a".into())), "3061");
        assert_eq!(octets(RecordKey::Completed(Token(9))), "400000000000000009");
    }

    #[test]
    fn a_record_is_named_by_what_its_key_says() {
        assert_eq!(Key::of(&RecordKey::Session(SESSION)).to_string(), "session 258");
        assert_eq!(
            Key::of(&RecordKey::Queued(SESSION, 7)).to_string(),
            "queued message 0000000000000007 of session 258"
        );
        for damaged in [&[][..], &[0x10], &[0x10, 1, 2], &[0x10; 9], &[0x77, 1]] {
            assert!(Key::from_octets(damaged).to_string().starts_with("record "), "{damaged:?}");
        }
    }
}
