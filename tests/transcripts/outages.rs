//! The broker goes away, comes back, and has kept our session or not.

use super::World;
use super::frames;

#[test]
fn clients_stay_connected_while_the_broker_is_away() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.client("C").says("0216").hears("0217");
    world.client("C").registers("a/b", 1);
    if !world.keeps() {
        world.client("D").says("08040401003c6332").hears("030501");
        world.notes("CONNECT of D refused: BrokerDown");
    }
    world.broker().comes_back();
    world.client("D").connects("c2");
    world.client("C").says("080c000001000078");
    world.broker().gets("PUBLISH q0 a/b x");
}

#[test]
fn a_broker_that_has_kept_the_session_is_asked_for_nothing() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().goes_down();
    world.broker().comes_back();
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
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
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.broker().goes_down();
    world.broker().comes_back();
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
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
    world.notes("refused c1: SubscribeLost");
    world.broker().gets_if_shared("UNSUBSCRIBE a/b");
    world.broker().comes_up();
    world.client("C").subscribes("a/b", 1, 1);
}

#[test]
fn at_shutdown_the_broker_connection_ends_in_order() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.shuts_down();
    world.broker().gets("DISCONNECT");
}
