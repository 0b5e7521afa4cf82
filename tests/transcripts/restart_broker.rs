//! What the gateway has with the broker over a restart: the filters that it asked for, and the messages that it kept.

use mqttsn_gateway::core::{PublishOutcome, Record};

use super::World;
use super::frames;

/// A persistent client at C, subscribed to `a/b` (id 1).
fn subscribed() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world
}

/// Clients at C and D whose subscriptions overlap, over a broker that speaks MQTT 3.1.1.
fn covered() -> World {
    let mut world = World::with_an_old_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").sends(&frames::subscribe("a/b", 1, 7));
    let narrow = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&narrow, 2);
    world.client("C").hears("0813200001000700");
    world.client("D").sends(&frames::subscribe("a/+", 1, 7));
    let wide = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().grants(&wide, 2);
    world.client("D").hears("0813200000000700");
    world.broker().gets("UNSUBSCRIBE a/b");
    world
}

/// The broker publishes on `a/b`, which all of these know as id 1, for the first time after a restart.
fn all_get(world: &mut World, names: &[&str]) {
    world.broker().publishes("a/b", 0, "x");
    names.iter().for_each(|name| _ = world.client(name).hears("090a00010041612f62"));
    for name in names {
        world.client(name).says("070b0001004100").hears("080c000001000078");
    }
}

/// The filters that are stored, by whether the broker is known to hold them.
fn filters(world: &mut World) -> Vec<(String, bool)> {
    let filter = |record: &Record| match record {
        Record::Filter(filter) => Some((filter.filter.to_string(), filter.granted.is_some())),
        _ => None,
    };
    world.store().records().filter_map(filter).collect()
}

#[test]
fn a_broker_that_has_kept_the_session_is_asked_for_nothing() {
    let mut world = subscribed();
    world.restarts(&[]);
    world.broker().comes_back();
    all_get(&mut world, &["C"]);
    world.broker().goes_down();
    world.broker().comes_back();
    world.broker().publishes("a/b", 0, "2");
    world.client("C").hears("080c000001000032");
}

#[test]
fn a_broker_that_has_lost_the_session_is_asked_for_everything_again() {
    let mut world = subscribed();
    world.restarts(&[]);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    assert_eq!(filters(&mut world), [("a/b".to_owned(), false)]);
    world.broker().grants(&renewal, 1);
    assert_eq!(filters(&mut world), [("a/b".to_owned(), true)]);
    all_get(&mut world, &["C"]);
}

#[test]
fn what_has_waited_at_the_broker_for_one_filter_comes_though_a_later_one_matches_as_well() {
    for later in [1, 2] {
        let mut world = World::with_broker();
        world.client("C").connects_persistent("c1");
        world.client("C").sends(&frames::subscribe("a/b", 1, 7));
        let earlier = world.broker().gets("SUBSCRIBE q1 a/b");
        world.broker().grants(&earlier, 1);
        world.client("C").hears("0813200001000700");
        world.client("C").subscribes("a/+", later, 0);
        world.restarts(&[]);
        world.broker().comes_back();
        world.broker().publishes_for(&[&earlier], "a/b", 1, "x");
        world.client("C").hears("090a00010041612f62").says("070b0001004100").hears("080c200001004278");
        world.client("C").says("070d0001004200");
        world.broker().gets("ACK 1");
    }
}

#[test]
fn a_subscription_made_after_a_restart_takes_no_number_of_before() {
    let mut world = subscribed();
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("D").connects("c2");
    world.client("D").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("090a00010041612f62");
    world.client("D").hears("090a00010001612f62").says("070b0001000100").hears("080c000001000078");
    world.client("C").says("070b0001004100").hears("080c000001000078");
}

#[test]
fn a_subscribe_that_the_broker_had_not_answered_is_asked_for_again_or_given_up() {
    let mut world = subscribed();
    world.client("C").sends(&frames::subscribe("new", 1, 7));
    let asked = world.broker().gets("SUBSCRIBE q1 new");
    world.restarts(&[]);
    world.broker().has_granted(&asked, 1);
    world.broker().comes_back();
    world.broker().gets("UNSUBSCRIBE new");
    // Until it answers something else nobody knows that it has heard so.
    assert_eq!(filters(&mut world), [("a/b".to_owned(), true), ("new".to_owned(), false)]);
    world.client("C").sends(&frames::subscribe("new", 1, 7));
    let asked = world.broker().gets("SUBSCRIBE q1 new");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200002000700");
}

#[test]
fn a_filter_that_was_being_asked_for_anew_is_asked_for_again() {
    let mut world = subscribed();
    world.client("D").connects("c2");
    world.client("D").sends(&frames::subscribe("a/b", 1, 7));
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.restarts(&[]);
    world.broker().has_granted(&asked, 1);
    world.broker().comes_back();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
    all_get(&mut world, &["C"]);
}

#[test]
fn a_filter_that_is_asked_for_anew_is_so_only_when_that_is_known_after_a_restart() {
    let mut world = subscribed();
    world.client("D").connects("c2");
    world.store().holds();
    world.client("D").sends(&frames::subscribe("a/b", 1, 7));
    world.store().stores();
    world.broker().gets("SUBSCRIBE q1 a/b");
    world.restarts(&[]);
    world.broker().comes_back();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
}

#[test]
fn what_nobody_needs_any_more_is_given_up() {
    let mut world = subscribed();
    world.store().holds();
    world.client("C").says("081400000d612f62 UNSUBSCRIBE");
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("081400000d612f62 again").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn over_mqtt_3_a_wider_filter_goes_on_standing_for_the_others() {
    let mut world = covered();
    world.restarts(&[]);
    world.broker().comes_back();
    // Nobody knows that it was heard before.
    world.broker().gets("UNSUBSCRIBE a/b");
    all_get(&mut world, &["C", "D"]);
    world.client("D").says("081400000d612f2b UNSUBSCRIBE a/+").hears("0415000d");
    world.client("C").says("081400000d612f62 UNSUBSCRIBE a/b").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/+");
}

#[test]
fn over_mqtt_3_what_is_granted_after_the_session_was_lost_is_given_up_over_a_restart_too() {
    let mut world = covered();
    world.broker().comes_up();
    let wide = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().goes_down();
    world.client("D").sends(&frames::unsubscribe("a/+", 8)).hears("04150008");
    world.broker().comes_up();
    let narrow = world.broker().gets("SUBSCRIBE q2 a/b");
    // The connection has repeated what was not answered.
    world.broker().grants(&wide, 2);
    world.broker().gets("UNSUBSCRIBE a/+");
    world.broker().grants(&narrow, 2);
    world.restarts(&[]);
    world.broker().comes_back();
    world.broker().gets("UNSUBSCRIBE a/+");
}

#[test]
fn over_mqtt_3_a_broker_that_has_lost_the_session_is_asked_for_the_wider_filters() {
    let mut world = covered();
    world.restarts(&[]);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().grants(&renewal, 2);
    all_get(&mut world, &["C", "D"]);
}

#[test]
fn what_is_kept_goes_out_in_order_after_a_restart() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.broker().goes_down();
    for (name, msg_id) in [("C", 1), ("D", 2), ("C", 3)] {
        let octets = frames::publish(0x22, 0x6162, msg_id, msg_id.to_string().as_bytes());
        world.client(name).sends(&octets).hears(&format!("070d6162{msg_id:04x}00"));
    }
    assert_eq!(world.restarts(&[]).kept, 3);
    world.client("C").says("080c226162000434").hears("070d6162000400");
    world.broker().comes_back();
    let kept: Vec<_> = (1..=4).map(|n| world.broker().gets(&format!("PUBLISH q1 ab {n}"))).collect();
    world.client("C").says("080c226162000535 the next one").hears("070d6162000500");
    let last = world.broker().gets("PUBLISH q1 ab 5");
    kept.into_iter().chain([last]).for_each(|publish| world.broker().accepts(publish));
    assert_eq!(world.restarts(&[]).kept, 0);
}

#[test]
fn what_was_never_stored_was_never_acknowledged() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.store().holds();
    world.client("C").says("080c226162000131");
    assert_eq!(world.restarts(&[]).kept, 0);
    world.client("C").says("080ca26162000131 DUP").hears("070d6162000100");
    world.broker().comes_back();
    let publish = world.broker().gets("PUBLISH q1 ab 1");
    world.broker().accepts(publish);
}

#[test]
fn what_the_broker_has_not_answered_goes_out_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.client("C").says("080c226162000131").hears("070d6162000100");
    world.broker().comes_back();
    world.broker().gets("PUBLISH q1 ab 1");
    world.restarts(&[]);
    world.broker().comes_back();
    let publish = world.broker().gets("PUBLISH q1 ab 1");
    world.broker().accepts(publish);
}

/// A message at QoS 2 that was kept and is on its way to the broker.
fn kept_at_qos_2() -> (World, super::broker::Asked) {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.client("C").says("080c426162000131").hears("040f0001").says("04100001").hears("040e0001");
    world.broker().comes_back();
    let publish = world.broker().gets("PUBLISH q2 ab 1");
    (world, publish)
}

#[test]
fn a_kept_message_at_qos_2_that_the_connection_goes_on_with_goes_up_once() {
    let (mut world, publish) = kept_at_qos_2();
    world.restarts(&[&publish]);
    world.client("C").says("080c226162000232 behind it").hears("070d6162000200");
    world.broker().comes_back();
    world.broker().accepts(publish);
    let next = world.broker().gets("PUBLISH q1 ab 2");
    world.broker().accepts(next);
    assert_eq!(world.restarts(&[]).kept, 0);
}

#[test]
fn a_kept_message_at_qos_2_that_the_broker_took_in_the_last_moment_goes_up_once() {
    let (mut world, publish) = kept_at_qos_2();
    world.store().completes(&publish);
    assert_eq!(world.restarts(&[]).kept, 0);
    world.broker().comes_back();
    assert!(!world.store().records().any(|record| matches!(record, Record::Completed(_) | Record::Upstream(_))));
}

#[test]
fn a_kept_message_at_qos_2_that_is_lost_with_the_broker_s_session_goes_up_again() {
    let (mut world, publish) = kept_at_qos_2();
    world.restarts(&[&publish]);
    world.broker().comes_up();
    world.broker().settles(publish, PublishOutcome::Lost);
    let publish = world.broker().gets("PUBLISH q2 ab 1");
    world.broker().accepts(publish);
    assert_eq!(world.restarts(&[]).kept, 0);
}

#[test]
fn a_publish_of_a_client_that_has_left_leaves_nothing_behind() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c426162000131");
    let publish = world.broker().gets("PUBLISH q2 ab 1");
    world.client("C").disconnects("c1");
    world.store().completes(&publish);
    world.broker().accepts(publish);
    assert_eq!(world.store().records().count(), 0);
}

#[test]
fn a_will_that_the_broker_has_not_taken_goes_out_again() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", super::world::Session::Clean, "will", "bye");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to will");
    world.broker().gets("PUBLISH q1 will bye");
    assert_eq!(world.restarts(&[]).sessions, 0);
    world.broker().comes_back();
    let will = world.broker().gets("PUBLISH q1 will bye");
    world.broker().accepts(will);
    assert_eq!(world.restarts(&[]).kept, 0);
}
