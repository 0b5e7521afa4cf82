//! Retained messages for late subscribers of a filter that others have already (digest §10, §11).

use super::World;

/// One client subscribed to `a/+`, another connected. The broker knows identifiers or not.
fn two_clients(identifiers: bool) -> World {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.subscription_ids = identifiers;
    world.broker().comes_up();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").registers("a/b", 1);
    world.client("D").registers("a/b", 1);
    world.client("C").subscribes("a/+", 1, 0);
    world.passes(30.0);
    world
}

#[test]
fn a_late_subscriber_hears_the_retained_message_and_nobody_else_does() {
    for identifiers in [true, false] {
        let mut world = two_clients(identifiers);
        world.client("D").says("081200000d612f2b a/+");
        let asked = world.broker().gets(if identifiers { "SUBSCRIBE q1 a/+" } else { "SUBSCRIBE q2 a/+" });
        world.broker().grants(&asked, 1);
        world.client("D").hears("0813000000000d00");
        world.broker().replays(&asked, "a/b", 1, "x");
        world.client("D").hears("080c100001000078 Retain, at the QoS it asked for");
        world.broker().gets("ACK 1");
    }
}

#[test]
fn a_retained_message_before_the_suback_waits_for_it() {
    for identifiers in [true, false] {
        let mut world = two_clients(identifiers);
        world.client("D").says("081220000d612f2b a/+");
        let asked = world.broker().gets(if identifiers { "SUBSCRIBE q1 a/+" } else { "SUBSCRIBE q2 a/+" });
        world.broker().replays(&asked, "a/b", 1, "x");
        world.broker().grants(&asked, 1);
        world.client("D").hears("0813200000000d00").hears("080c300001000178").says("070d0001000100");
        world.broker().gets("ACK 1");
    }
}

#[test]
fn a_repeated_subscribe_brings_the_retained_message_again() {
    let mut world = two_clients(true);
    for round in 1..=2 {
        world.client("D").says("081220000d612f2b a/+");
        let asked = world.broker().gets("SUBSCRIBE q1 a/+");
        world.broker().grants(&asked, 1);
        world.client("D").hears("0813200000000d00");
        world.broker().replays(&asked, "a/b", 0, "x");
        world.client("D").hears("080c100001000078");
        world.passes(f64::from(round));
    }
}

#[test]
fn two_late_subscribers_each_hear_their_own_replay() {
    let mut world = two_clients(true);
    world.client("E").connects("c3");
    world.client("E").registers("a/b", 1);
    world.client("D").says("081200000d612f2b");
    let first = world.broker().gets("SUBSCRIBE q1 a/+");
    world.client("E").says("081200000d612f2b");
    let second = world.broker().gets("SUBSCRIBE q1 a/+");
    world.broker().grants(&first, 1);
    world.client("D").hears("0813000000000d00");
    world.broker().replays(&first, "a/b", 0, "x");
    world.client("D").hears("080c100001000078");
    world.broker().grants(&second, 1);
    world.client("E").hears("0813000000000d00");
    world.broker().replays(&second, "a/b", 0, "x");
    world.client("E").hears("080c100001000078");
}

#[test]
fn a_live_message_between_subscribe_and_suback_reaches_both() {
    let mut world = two_clients(true);
    world.client("D").says("081200000d612f2b");
    let asked = world.broker().gets("SUBSCRIBE q1 a/+");
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.broker().grants(&asked, 1);
    world.client("D").hears("0813000000000d00").hears("080c000001000078");
}

#[test]
fn a_replay_for_a_client_that_has_left_is_dropped() {
    let mut world = two_clients(true);
    world.client("D").says("081200000d612f2b");
    let asked = world.broker().gets("SUBSCRIBE q1 a/+");
    world.client("D").disconnects("c2");
    world.broker().replays(&asked, "a/b", 1, "x");
    world.broker().gets("ACK 1");
    world.broker().grants(&asked, 1);
}

#[test]
fn without_identifiers_a_replay_long_after_every_subscribe_goes_to_nobody() {
    let mut world = two_clients(false);
    let asked = {
        world.client("D").says("081200000d612f2b");
        world.broker().gets("SUBSCRIBE q2 a/+")
    };
    world.broker().grants(&asked, 1);
    world.client("D").hears("0813000000000d00");
    world.passes(30.0);
    world.broker().replays(&asked, "a/b", 0, "x");
}

#[test]
fn after_the_broker_forgot_the_subscription_its_retained_messages_reach_everyone() {
    let mut world = two_clients(true);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/+");
    world.broker().grants(&renewal, 1);
    world.broker().replays(&renewal, "a/b", 0, "x");
    world.client("C").hears("080c100001000078");
}

/// Without identifiers nothing tells whose replay it is.
#[test]
fn without_identifiers_late_subscribers_hear_a_retained_message_once_each() {
    let mut world = two_clients(false);
    world.client("E").connects("c3");
    world.client("E").registers("a/b", 1);
    let mut asked = Vec::new();
    for name in ["D", "E"] {
        world.client(name).says("081200000d612f2b");
        asked.push(world.broker().gets("SUBSCRIBE q2 a/+"));
    }
    for (asked, name) in asked.iter().zip(["D", "E"]) {
        world.broker().grants(asked, 1);
        world.client(name).hears("0813000000000d00");
    }
    world.broker().replays(&asked[0], "a/b", 0, "x");
    world.client("D").hears("080c100001000078");
    world.client("E").hears("080c100001000078");
    world.broker().replays(&asked[1], "a/b", 0, "x");
    world.quiet();
}

#[test]
fn without_identifiers_a_value_retained_meanwhile_reaches_those_who_had_the_former_one() {
    let mut world = two_clients(false);
    world.client("D").says("081200000d612f2b");
    let asked = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().grants(&asked, 1);
    world.client("D").hears("0813000000000d00");
    world.broker().replays(&asked, "a/b", 0, "x");
    world.client("D").hears("080c100001000078");
    world.broker().replays(&asked, "a/b", 0, "y");
    world.client("D").hears("080c100001000079");
}

#[test]
fn without_identifiers_a_subscribe_of_its_own_brings_a_client_the_retained_message_again() {
    let mut world = two_clients(false);
    for _ in 1..=2 {
        world.client("D").says("081200000d612f2b");
        let asked = world.broker().gets("SUBSCRIBE q2 a/+");
        world.broker().grants(&asked, 1);
        world.client("D").hears("0813000000000d00");
        world.broker().replays(&asked, "a/b", 0, "x");
        world.client("D").hears("080c100001000078");
        world.passes(1.0);
    }
}
