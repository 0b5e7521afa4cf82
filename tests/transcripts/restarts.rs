//! The gateway is killed and starts again from what was stored: clients notice nothing but that something comes twice.

use std::time::Duration;

use mqttsn_gateway::core::topics::TopicFilter;
use mqttsn_gateway::core::{
    ArrivalRecord, ClientPhase, ExchangeProgress, ExchangeRecord, FilterRecord, MessageRecord, NamingRecord,
    PresenceRecord, QueuePolicy, QueueRule, QueuedRecord, Record, RecordKey, RouteRecord, SessionNumber, SessionRecord,
    SubscriptionRecord, TopicRecord, UpstreamRecord,
};
use mqttsn_gateway::wire::Qos;

use super::World;
use super::frames;
use super::world::Session::{Clean, Persistent};

/// A persistent client at C that has registered `up` (id 1) and subscribed to `a/b` (id 2) at QoS 1 and to `c/+`.
fn connected() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("up/1", 1);
    world.client("C").subscribes("a/b", 1, 2);
    world.client("C").subscribes("c/+", 1, 0);
    world
}

/// The client tells the gateway's word for `a/b` apart from others, as after any time in which it may have restarted.
/// Message ids go on behind those that the former process may have used: 64 are taken at once.
fn is_told_the_name_again(world: &mut World, msg_id: u16, then: &str) {
    world
        .client("C")
        .hears(&format!("090a0002{msg_id:04x}612f62"))
        .says(&format!("070b0002{msg_id:04x}00"))
        .hears(then);
}

#[test]
fn a_connected_client_stays_connected_with_its_topic_ids_and_subscriptions() {
    let mut world = connected();
    let restored = world.restarts(&[]);
    assert_eq!((restored.sessions, restored.subscriptions, restored.dropped), (1, 2, 0));
    world.client("C").says("0216").hears("0217");
    world.broker().comes_back();
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 up/1 x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
    world.broker().publishes("a/b", 1, "x");
    is_told_the_name_again(&mut world, 65, "080c200002004278");
    world.client("C").says("070d0002004200");
    world.broker().gets("ACK 1");
    world.client("C").registers("another", 3);
}

#[test]
fn a_connected_client_has_its_full_time_to_say_something() {
    let mut world = connected();
    world.passes(89.0);
    world.restarts(&[]);
    world.broker().comes_back();
    world.passes(89.0);
    world.client("C").says("0216").hears("0217");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn a_client_that_does_not_come_back_is_lost_and_its_will_published() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.client("C").says("051c6f6b21 WILLMSGUPD ok!").hears("031d00");
    world.restarts(&[]);
    world.broker().comes_back();
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to will");
    let will = world.broker().gets("PUBLISH q1 will ok!");
    world.broker().accepts(will);
}

#[test]
fn a_clean_session_goes_on_while_its_client_is_connected_and_is_gone_after_it_has_left() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").registers("a/b", 1);
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").registers("a/b", 1);
    world.client("C").disconnects("c1");
    assert_eq!(world.restarts(&[]).sessions, 0);
    assert_eq!(world.store().records().count(), 0);
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
}

#[test]
fn a_session_that_was_never_stored_is_told_to_connect() {
    let mut world = World::with_broker();
    world.store().holds();
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    world.notes("connected c1");
    assert_eq!(world.restarts(&[]).sessions, 0);
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
    world.broker().comes_back();
    world.client("C").connects("c1");
}

#[test]
fn a_topic_id_that_was_never_stored_is_given_out_again() {
    let mut world = connected();
    world.store().holds();
    world.client("C").sends(&frames::register("new", 7));
    world.restarts(&[]);
    world.client("C").registers("newer", 3);
}

#[test]
fn a_client_behind_a_forwarder_is_found_again() {
    let mut world = World::with_broker();
    world.client("F").says("05fe001a2b08040401003c6e31     encapsulated CONNECT n1");
    world.client("F").hears("05fe001a2b030500");
    world.notes("connected n1");
    world.restarts(&[]);
    world.client("F").says("05fe001a2b0216                 encapsulated PINGREQ");
    world.client("F").hears("05fe001a2b0217");
}

#[test]
fn a_client_whose_link_was_down_is_there_until_its_link_says_otherwise() {
    let mut world = connected();
    world.link_goes_down();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets("ACK 1");
    world.restarts(&[]);
    assert_eq!(world.phase("c1"), Some(ClientPhase::Active));
    world.client("C").hears("090a00020041612f62 though nobody listens");
    world.broker().comes_back();
    world.link_goes_down();
    assert_eq!(world.phase("c1"), Some(ClientPhase::Asleep));
    world.passes(3_599.0);
    world.link_comes_back();
    is_told_the_name_again(&mut world, 65, "080c200002004231");
    world.client("C").says("070d0002004200");
    assert!(!world.store().records().any(|record| matches!(record, Record::Queued(_))));
}

#[test]
fn a_sleeper_wakes_up_to_what_has_waited_for_it() {
    let mut world = connected();
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets("ACK 1");
    let restored = world.restarts(&[]);
    assert_eq!((restored.sessions, restored.queued), (1, 1));
    world.broker().comes_back();
    world.broker().publishes("a/b", 1, "2");
    world.broker().gets("ACK 2");
    world.passes(300.0);
    world.client("C").says("04166331");
    is_told_the_name_again(&mut world, 65, "080c200002004231");
    world.client("C").says("070d0002004200").hears("080c200002004332").says("070d0002004300").hears("0217");
    assert_eq!(world.restarts(&[]).queued, 0);
}

#[test]
fn a_sleeper_that_oversleeps_is_lost_counted_from_the_restart() {
    let mut world = connected();
    world.client("C").sleeps("c1", 100);
    world.passes(149.0);
    world.restarts(&[]);
    world.passes(149.0);
    world.client("C").says("04166331").hears("0217");
    world.passes(150.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
}

#[test]
fn a_sleeper_that_was_awake_gets_the_rest_when_it_wakes_up_again() {
    let mut world = connected();
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets("ACK 1");
    world.broker().publishes("a/b", 1, "2");
    world.broker().gets("ACK 2");
    world.client("C").says("04166331").hears("080c200002000131").says("070d0002000100").hears("080c200002000232");
    world.restarts(&[]);
    world.client("C").says("04166331");
    is_told_the_name_again(&mut world, 65, "080c200002004232 sent again");
    world.client("C").says("070d0002004200").hears("0217");
}

#[test]
fn what_waits_keeps_its_age_and_its_policy() {
    let latest = QueueRule {
        filter: TopicFilter::parse(b"a/#").unwrap(),
        policy: QueuePolicy::LatestOnly,
        max_age: Some(Duration::from_secs(100)),
    };
    let mut world = World::with_settings(|settings| settings.queue = vec![latest]);
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/+", 1, 0);
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets("ACK 1");
    world.broker().publishes("a/c", 1, "2");
    world.broker().gets("ACK 2");
    world.passes(60.0);
    world.restarts(&[]);
    world.broker().comes_back();
    world.broker().publishes("a/b", 1, "3");
    world.notes("outdated a/b for c1: Superseded");
    world.broker().gets("ACK 3");
    world.passes(50.0);
    world.client("C").says("04166331").hears("090a00010041612f62");
    world.notes("outdated a/c for c1: TooOld");
    world.client("C").says("070b0001004100").hears("080c200001004233").says("070d0001004200").hears("0217");
    assert_eq!((world.stats().superseded, world.stats().expired), (1, 1));
}

#[test]
fn a_persistent_session_waits_for_its_client() {
    let mut world = connected();
    world.client("C").disconnects("c1");
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets("ACK 1");
    world.restarts(&[]);
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
    world.broker().comes_back();
    world.client("C").connects_persistent("c1");
    is_told_the_name_again(&mut world, 65, "080c200002004231");
    world.client("C").says("070d0002004200");
    world.client("C").registers("up/1", 1);
}

#[test]
fn a_persistent_session_expires_when_it_would_have() {
    let mut world = World::with_settings(|settings| settings.timers.session_expiry = Duration::from_secs(60));
    world.client("C").connects_persistent("c1");
    world.client("C").disconnects("c1");
    world.passes(50.0);
    world.restarts(&[]);
    world.passes(10.0);
    world.notes("expired c1");
}

#[test]
fn a_session_of_a_time_when_the_clock_was_wrong_does_not_stay_for_ever() {
    let mut world = World::with_settings(|settings| settings.timers.session_expiry = Duration::from_secs(60));
    world.passes(1_000_000.0);
    world.client("C").connects_persistent("c1");
    world.client("C").disconnects("c1");
    world.sets_the_clock_back(1_000_000.0);
    world.restarts(&[]);
    world.passes(60.0);
    world.notes("expired c1");
}

#[test]
fn a_message_of_a_time_when_the_clock_was_wrong_does_not_wait_for_ever() {
    let minute = Some(Duration::from_secs(60));
    let filter = TopicFilter::parse(b"#").unwrap();
    let mut world = World::with_settings(|settings| {
        settings.queue = vec![QueueRule { filter, policy: QueuePolicy::DropOldest, max_age: minute }];
        settings.outage.max_age = minute;
    });
    world.passes(1_000_000.0);
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "x");
    world.broker().gets("ACK 1");
    world.broker().goes_down();
    world.client("D").connects("c2");
    world.client("D").says("080c226162000778").hears("070d6162000700");
    world.sets_the_clock_back(1_000_000.0);
    world.restarts(&[]);
    world.passes(60.0);
    world.broker().comes_back();
    world.notes("outdated ab from c2: TooOld");
    world.client("C").says("04166331").hears("0217");
    world.notes("outdated a/b for c1: TooOld");
    assert_eq!(world.stats().expired, 2);
}

#[test]
fn a_persistent_client_s_will_outlives_the_restart() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    world.client("C").disconnects("c1");
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").connects_persistent("c1");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to will");
    let will = world.broker().gets("PUBLISH q1 will bye");
    world.broker().accepts(will);
}

#[test]
fn an_attempt_to_connect_that_was_cut_off_is_made_again() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("070777696c6c78 WILLTOPIC to nobody");
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
}

#[test]
fn a_qos_1_publish_that_was_not_answered_comes_again_and_goes_up_again() {
    let mut world = connected();
    world.client("C").says("080c200001000778");
    world.broker().gets("PUBLISH q1 up/1 x");
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("080ca00001000778 DUP");
    let publish = world.broker().gets("PUBLISH q1 up/1 x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
}

#[test]
fn a_message_on_its_way_to_a_client_comes_again_from_the_broker() {
    let mut world = connected();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200002000178");
    world.restarts(&[]);
    world.broker().comes_back();
    is_told_the_name_again(&mut world, 65, "080c200002004278");
    world.client("C").says("070d0002004200");
    world.broker().gets("ACK 2");
}

#[test]
fn records_that_make_no_sense_are_deleted_and_counted() {
    let mut world = connected();
    let sound: Vec<RecordKey> = world.store().records().map(Record::key).collect();
    let of_c1 = world.store().session("c1");
    let (nobody, session) = (SessionNumber(99), of_c1.number);
    let topic = |session, id, name: &str| Record::Topic(TopicRecord { session, id, name: name.to_owned().into() });
    let (qos, naming) = (Qos::AtLeastOnce, NamingRecord::Name);
    let message = |topic: &str| MessageRecord { topic: topic.into(), payload: "x".into(), qos, retain: false };
    let queued = |session, topic| QueuedRecord {
        session,
        place: 1_000,
        message: message(topic),
        policy: QueuePolicy::DropOldest,
        expires: None,
        sent_as: None,
        released: false,
    };
    let exchange = |progress| ExchangeRecord { session: nobody, msg_id: 1, topic_id: 1, content: 0, progress };
    let senseless = [
        topic(nobody, 7, "of nobody"),
        topic(session, 7, "with a + in it"),
        topic(session, 0, "under no id"),
        topic(session, 8, "up/1"),
        Record::Session(SessionRecord { number: nobody, ..of_c1 }),
        Record::Subscription(SubscriptionRecord { session, filter: "a/#/b".into(), qos, naming }),
        Record::Subscription(SubscriptionRecord { session: nobody, filter: "a/b".into(), qos, naming }),
        Record::Queued(queued(session, "with a + in it")),
        Record::Queued(queued(nobody, "of nobody")),
        Record::Exchange(exchange(ExchangeProgress::Received)),
        Record::Arrival(ArrivalRecord { session: nobody, packet: 1, content: 0 }),
        Record::Upstream(UpstreamRecord {
            place: 1_001,
            client: "c1".into(),
            message: message("with a + in it"),
            expires: None,
            token: None,
        }),
        Record::Filter(FilterRecord { filter: "a/#/b".into(), granted: Some(1), others: vec![1] }),
    ];
    let count = senseless.len();
    senseless.into_iter().for_each(|record| world.store().gets(record));
    let restored = world.restarts(&[]);
    assert_eq!((restored.sessions, restored.dropped), (1, count));
    assert_eq!(world.store().records().map(Record::key).collect::<Vec<_>>(), sound);
    world.client("C").registers("up/1", 1);
}

#[test]
fn a_client_whose_way_back_makes_no_sense_is_away() {
    let mut world = connected();
    let mut session = world.store().session("c1");
    let route = RouteRecord { link: 1, address: vec![0; 99].into(), wrapper: "".into() };
    session.presence = PresenceRecord::Active { route, silence: None };
    world.store().gets(Record::Session(session));
    world.restarts(&[]);
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
    world.broker().comes_back();
    world.client("C").connects_persistent("c1");
}
