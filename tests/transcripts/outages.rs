//! The broker goes away, comes back, and has kept our session or not.

use mqttsn_gateway::core::PublishOutcome;

use super::World;
use super::frames;

#[test]
fn clients_stay_connected_while_the_broker_is_away() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.client("C").says("0216").hears("0217");
    world.client("C").registers("a/b", 1);
    world.client("D").says("08040401003c6332").hears("030501");
    world.notes("CONNECT of D refused: BrokerDown");
    world.broker().comes_back();
    world.client("D").connects("c2");
    world.client("C").says("080c000001000078");
    world.broker().gets("PUBLISH q0 a/b x");
}

#[test]
fn a_broker_that_has_kept_the_session_is_asked_for_nothing() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().goes_down();
    world.broker().comes_back();
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

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
fn what_a_forgotten_session_had_delivered_is_not_acknowledged() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.broker().goes_down();
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
    world.client("C").says("070d0001000100");
    world.broker().publishes("a/b", 1, "y");
    world.client("C").hears("080c200001000279").says("070d0001000200");
    world.broker().gets("ACK 2");
}

#[test]
fn what_a_kept_session_had_delivered_is_acknowledged() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.broker().goes_down();
    world.broker().comes_back();
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_publish_that_was_under_way_is_acknowledged_when_the_broker_has_it_after_all() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c226162000778");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.broker().goes_down();
    world.client("C").says("080ca26162000778 DUP");
    world.broker().comes_back();
    world.broker().accepts(publish);
    world.client("C").hears("070d6162000700");
}

#[test]
fn a_qos_2_publish_that_was_lost_is_begun_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c426162000778");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().goes_down();
    world.broker().settles(publish, PublishOutcome::Lost);
    world.client("C").says("080cc26162000778 DUP").hears("070d6162000701");
    world.notes("refused c1: BrokerDown");
    world.broker().comes_up();
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn a_message_that_nobody_wants_is_acknowledged() {
    let mut world = World::with_broker();
    world.broker().publishes("a/b", 1, "x");
    world.broker().gets("ACK 1");
    world.broker().publishes("a/b", 0, "x");
}

#[test]
fn a_subscription_made_right_after_the_broker_forgot_us_is_granted() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").sends(&frames::subscribe("a/b", 1, 13));
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().goes_down();
    world.broker().loses_subscribe(&asked);
    world.client("C").hears("0813000000000d01");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().comes_up();
    world.client("C").subscribes("a/b", 1, 1);
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
    world.client("D").disconnects("c2");
    world.client("E").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn at_shutdown_the_broker_connection_ends_in_order() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.shuts_down();
    world.broker().gets("DISCONNECT");
}
