//! Records for tests.

use bytes::Bytes;

use crate::core::{
    ArrivalRecord, ExchangeProgress, ExchangeRecord, FilterRecord, Instant, MessageRecord, NamingRecord,
    PresenceRecord, QueuePolicy, QueuedRecord, Record, RouteRecord, SessionNumber, SessionRecord, SubscriptionRecord,
    Token, TopicRecord, UpstreamRecord, WillRecord,
};
use crate::wire::Qos;

/// One record of every kind, in the order of their keys.
pub(in crate::store) fn every_kind() -> Vec<Record> {
    let number = SessionNumber(3);
    let route = RouteRecord { link: 1, address: Bytes::from_static(b"\x7f\0\0\x01"), wrapper: Bytes::new() };
    let will = WillRecord { topic: "lost".into(), payload: "c".into(), qos: Qos::AtLeastOnce, retain: true };
    vec![
        Record::Session(SessionRecord {
            number,
            client_id: "sensor-3".into(),
            clean: false,
            presence: PresenceRecord::Asleep { route, silence: Some(90_000_000) },
            will: Some(will),
            last_msg_id: 0xfffe,
        }),
        Record::Topic(TopicRecord { session: number, id: 1, name: "a/b".into() }),
        Record::Subscription(SubscriptionRecord {
            session: number,
            filter: "a/#".into(),
            qos: Qos::ExactlyOnce,
            naming: NamingRecord::Predefined(7),
        }),
        queued(3, 9, b"payload"),
        Record::Exchange(ExchangeRecord {
            session: number,
            msg_id: 5,
            topic_id: 1,
            content: 0x0123_4567_89ab_cdef,
            progress: ExchangeProgress::AtBroker(Token(1 << 63)),
        }),
        Record::Arrival(ArrivalRecord { session: number, packet: 11, content: 1 }),
        Record::Upstream(UpstreamRecord {
            place: 4,
            client: "c1".into(),
            message: message(b"up"),
            expires: Some(Instant::ORIGIN),
            token: Some(Token(9)),
        }),
        Record::Filter(FilterRecord { filter: "a/#".into(), granted: Some(2) }),
        Record::Completed(Token(9)),
    ]
}

pub(in crate::store) fn queued(session: u64, place: u64, payload: &'static [u8]) -> Record {
    Record::Queued(QueuedRecord {
        session: SessionNumber(session),
        place,
        message: message(payload),
        policy: QueuePolicy::DropOldest,
        expires: None,
        sent_as: None,
        released: false,
    })
}

fn message(payload: &'static [u8]) -> MessageRecord {
    MessageRecord { topic: "a/b".into(), payload: Bytes::from_static(payload), qos: Qos::AtLeastOnce, retain: false }
}
