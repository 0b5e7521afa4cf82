//! A broker that does not say which subscription a message is for (MQTT 3.1.1): no two of the gateway's filters overlap.

use super::World;
use super::broker::Asked;
use super::frames;

/// Two clients, C and D, that know `a/b` as 1, and a broker that speaks MQTT 3.1.1.
fn two_clients() -> World {
    let mut world = World::with_an_old_broker();
    for (name, id) in [("C", "c1"), ("D", "c2")] {
        world.client(name).connects(id);
        world.client(name).registers("a/b", 1);
        world.client(name).registers("a/c", 2);
    }
    world
}

/// The client subscribes; the broker is asked for `upstream` instead, and grants it.
fn subscribes(world: &mut World, name: &str, filter: &str, upstream: &str) -> Asked {
    let topic_id = match filter {
        "a/b" => 1,
        "a/c" => 2,
        _ => 0,
    };
    world.client(name).sends(&frames::subscribe(filter, 1, 13));
    let asked = world.broker().gets(&format!("SUBSCRIBE q2 {upstream}"));
    world.broker().grants(&asked, 1);
    world.client(name).hears(&format!("08132000{topic_id:02x}000d00"));
    asked
}

#[test]
fn a_wider_filter_takes_the_narrower_one_s_place_once_it_is_granted() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/b", "a/b");
    world.client("D").sends(&frames::subscribe("a/#", 1, 13));
    let wide = world.broker().gets("SUBSCRIBE q2 a/#");
    world.broker().grants(&wide, 1);
    world.broker().gets("UNSUBSCRIBE a/b");
    world.client("D").hears("0813200000000d00");
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.client("D").hears("080c000001000078");
    world.broker().publishes("a/c", 0, "x");
    world.client("D").hears("080c000002000078");
}

#[test]
fn a_narrower_filter_is_asked_for_as_the_wider_one_for_its_retained_messages() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/#", "a/#");
    world.passes(30.0);
    let asked = subscribes(&mut world, "D", "a/b", "a/#");
    world.broker().replays(&asked, "a/b", 0, "x");
    world.client("D").hears("080c100001000078");
    world.broker().replays(&asked, "a/c", 0, "not for D, and C has had it");
}

#[test]
fn filters_that_cross_are_merged_and_each_client_hears_its_own() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/+/c", "a/+/c");
    world.client("D").sends(&frames::subscribe("a/b/+", 1, 13));
    let merged = world.broker().gets("SUBSCRIBE q2 a/+/+");
    world.broker().grants(&merged, 1);
    world.broker().gets("UNSUBSCRIBE a/+/c");
    world.client("D").hears("0813200000000d00");
    for name in ["C", "D"] {
        world.client(name).registers("a/x/c", 3);
        world.client(name).registers("a/b/x", 4);
        world.client(name).registers("a/b/c", 5);
    }
    for (topic, to_c, to_d) in [("a/x/c", 1, 0), ("a/b/x", 0, 1), ("a/b/c", 1, 1), ("a/x/x", 0, 0)] {
        world.broker().publishes(topic, 0, "x");
        assert_eq!((world.frames_to("C"), world.frames_to("D")), (to_c, to_d), "{topic}");
        world.ignore();
    }
}

#[test]
fn one_copy_reaches_a_client_whose_own_filters_overlap() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/b", "a/b");
    world.client("C").sends(&frames::subscribe("a/+", 0, 14));
    let wide = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().grants(&wide, 1);
    world.broker().gets("UNSUBSCRIBE a/b");
    world.client("C").hears("0813000000000e00");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn the_broker_s_filter_goes_with_the_last_client_that_needs_it() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/#", "a/#");
    subscribes(&mut world, "D", "a/b", "a/#");
    world.client("C").disconnects("c1");
    world.broker().publishes("a/b", 0, "x");
    world.client("D").hears("080c000001000078");
    world.client("D").sends(&frames::unsubscribe("a/b", 14)).hears("0415000e");
    world.broker().gets("UNSUBSCRIBE a/#");
}

#[test]
fn a_filter_whose_renewal_was_refused_is_back_with_the_next_that_is_asked_for_in_the_same_words() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/+", "a/+");
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().refuses_subscribe(&renewal, 0x87);
    world.notes("subscription lost a/+: BrokerReason(135)");
    world.client("C").sends(&frames::subscribe("a/b", 0, 14));
    let asked = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().grants(&asked, 2);
    world.client("C").hears("0813000001000e00");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_wider_filter_that_is_refused_leaves_the_narrower_ones_as_they_were() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/b", "a/b");
    world.client("D").sends(&frames::subscribe("a/#", 1, 13));
    let wide = world.broker().gets("SUBSCRIBE q2 a/#");
    world.broker().refuses_subscribe(&wide, 0x87);
    world.client("D").hears("0813000000000d03");
    world.notes("refused c2: SubscribeByBroker { reason: BrokerReason(135) }");
    let again = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&again, 1);
    world.broker().gets("UNSUBSCRIBE a/#");
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    // What does not overlap with it is asked for as it is, and what nobody needs any more is given up.
    subscribes(&mut world, "D", "a/c", "a/c");
    world.client("C").sends(&frames::unsubscribe("a/b", 14)).hears("0415000e");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_wider_filter_that_is_lost_leaves_the_narrower_ones_as_they_were() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/b", "a/b");
    world.client("D").sends(&frames::subscribe("a/#", 1, 13));
    let wide = world.broker().gets("SUBSCRIBE q2 a/#");
    world.broker().goes_down();
    world.broker().loses_subscribe(&wide);
    world.client("D").hears("0813000000000d01");
    world.notes("refused c2: SubscribeLost");
    world.broker().comes_back();
    let again = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&again, 1);
    // Nobody knows whether the broker holds it.
    world.broker().gets("UNSUBSCRIBE a/#");
    world.client("C").sends(&frames::unsubscribe("a/b", 14)).hears("0415000e");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn after_a_restart_of_the_broker_only_the_widest_filters_are_asked_for() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "a/#", "a/#");
    subscribes(&mut world, "D", "a/b", "a/#");
    subscribes(&mut world, "D", "b/+", "b/+");
    world.broker().comes_up();
    let first = world.broker().gets("SUBSCRIBE q2 a/#");
    let second = world.broker().gets("SUBSCRIBE q2 b/+");
    world.broker().grants(&first, 1);
    world.broker().grants(&second, 1);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.client("D").hears("080c000001000078");
}

#[test]
fn topics_of_the_broker_s_own_are_apart_from_wildcards() {
    let mut world = two_clients();
    subscribes(&mut world, "C", "#", "#");
    subscribes(&mut world, "D", "$SYS/#", "$SYS/#");
}
