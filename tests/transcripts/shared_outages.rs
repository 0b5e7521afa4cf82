//! What the gateway asks of a broker that has forgotten the subscriptions of all clients (digest §14).

use super::World;
use super::frames;

#[test]
fn a_broker_that_has_lost_the_session_is_asked_for_every_filter_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("D").subscribes("a/b", 2, 1);
    world.client("D").subscribes("#", 0, 0);
    world.broker().goes_down();
    world.broker().comes_up();
    let plain = world.broker().gets("SUBSCRIBE q2 a/b");
    let all = world.broker().gets("SUBSCRIBE q0 #");
    world.broker().grants(&plain, 2);
    world.broker().grants(&all, 0);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.client("D").hears("080c000001000078");
}

#[test]
fn a_subscribe_that_is_lost_after_a_long_wait_leaves_nothing_behind() {
    let mut world = World::with_broker();
    for (name, id) in [("C", "c1"), ("D", "c2"), ("E", "c3")] {
        world.client(name).connects(id);
    }
    world.client("C").sends(&frames::subscribe("a/b", 1, 13));
    let unanswered = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("D").subscribes("a/b", 1, 1);
    world.passes(61.0);
    world.client("E").subscribes("a/b", 1, 1);
    world.broker().loses_subscribe(&unanswered);
    world.client("C").hears("0813000000000d01");
    world.notes("refused c1: SubscribeLost");
    world.client("D").disconnects("c2");
    world.client("E").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn filters_of_clients_that_are_away_are_renewed_too() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").disconnects("c1");
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
}

#[test]
fn many_filters_are_renewed_64_at_once() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    for n in 0..100 {
        world.client("C").subscribes(&format!("{n}/+"), 0, 0);
    }
    world.broker().comes_up();
    let mut asked: Vec<_> = (0..64).map(|n| world.broker().gets(&format!("SUBSCRIBE q0 {n}/+"))).collect();
    for n in 64..100 {
        let first = asked.remove(0);
        world.broker().grants(&first, 0);
        asked.push(world.broker().gets(&format!("SUBSCRIBE q0 {n}/+")));
    }
    for renewal in asked {
        world.broker().grants(&renewal, 0);
    }
}

#[test]
fn renewals_that_break_off_are_asked_for_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().goes_down();
    world.broker().loses_subscribe(&renewal);
    world.broker().comes_back();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
}

#[test]
fn a_renewal_for_a_filter_that_nobody_wants_any_more_does_no_harm() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("C").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().loses_subscribe(&renewal);
}

#[test]
fn a_renewal_that_the_broker_refuses_is_said() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().refuses_subscribe(&renewal, 0x87);
    world.notes("subscription lost a/b: BrokerReason(135)");
}

#[test]
fn a_filter_whose_renewal_was_refused_is_back_for_all_when_another_client_is_granted_it() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+", 1, 0);
    world.client("C").subscribes("a/b", 0, 1);
    world.broker().comes_up();
    let wide = world.broker().gets("SUBSCRIBE q1 a/+");
    let plain = world.broker().gets("SUBSCRIBE q0 a/b");
    world.broker().refuses_subscribe(&wide, 0x87);
    world.notes("subscription lost a/+: BrokerReason(135)");
    world.broker().grants(&plain, 0);
    world.client("D").connects("c2");
    world.client("D").sends(&frames::subscribe("a/+", 0, 13));
    let wide = world.broker().gets("SUBSCRIBE q1 a/+");
    world.broker().grants(&wide, 1);
    world.client("D").hears("0813000000000d00");
    world.client("D").disconnects("c2");
    world.broker().publishes_for(&[&wide, &plain], "a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_renewal_for_which_the_connection_has_no_room_is_asked_for_again_a_second_later() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().comes_up();
    for _ in 0..3 {
        let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
        world.broker().loses_subscribe(&renewal);
        world.passes(0.9);
        world.passes(0.1);
    }
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
}
