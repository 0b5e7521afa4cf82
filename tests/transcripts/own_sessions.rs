//! What the broker keeps for a client with a connection of its own, and what the gateway holds back (digest §11, §13).

use super::World;
use super::frames;
use super::world::Session::Persistent;

/// A persistent client at C, subscribed to `a/b` (id 1) at QoS 2.
fn subscribed() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world
}

#[test]
fn the_broker_keeps_what_comes_while_the_client_is_away() {
    let mut world = subscribed();
    world.client("C").disconnects("c1");
    world.broker().publishes("a/b", 1, "1");
    world.broker().publishes("a/b", 0, "2 is not kept");
    world.passes(3_600.0);
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000231");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 1");
}

#[test]
fn a_sleeper_s_messages_are_not_acknowledged_before_it_has_them() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 300);
    for payload in ["1", "2"] {
        world.broker().publishes("a/b", 1, payload);
    }
    world.client("C").says("04166331").hears("080c200001000131").says("070d0001000100").hears("080c200001000232");
    world.broker().gets("ACK 1");
    world.client("C").says("070d0001000200").hears("0217");
    world.broker().gets("ACK 2");
}

#[test]
fn what_waits_for_a_client_that_leaves_is_handed_back_to_the_broker() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 300);
    for (qos, payload) in [(1, "1"), (0, "2 is lost"), (2, "3")] {
        world.broker().publishes("a/b", qos, payload);
    }
    world.client("C").disconnects("c1");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000231");
    world.client("C").says("070d0001000200").hears("080c400001000333");
    world.broker().gets("ACK 3");
    world.client("C").says("040f0003").hears("04100003");
    world.broker().gets("ACK 4");
    world.client("C").says("040e0003");
}

#[test]
fn a_qos_2_message_that_the_client_may_have_goes_on_under_its_message_id_and_does_not_come_again() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.client("C").hears("080c400001000178").says("0218").hears("0218");
    world.notes("disconnected c1");
    world.broker().gets("ACK 1");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080cc00001000178 DUP");
    world.client("C").says("040f0001").hears("04100001").says("040e0001");
}

#[test]
fn a_qos_2_message_that_the_client_has_is_only_released() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.client("C").hears("080c400001000178").says("040f0001").hears("04100001");
    world.broker().gets("ACK 1");
    world.client("C").disconnects("c1");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("04100001").says("040e0001");
}

#[test]
fn a_qos_2_message_is_delivered_once_when_the_client_connects_in_other_words() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "1");
    world.client("C").hears("080c400001000131");
    world.broker().publishes("a/b", 2, "2");
    world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206").says("06072077692f").hears("0208");
    world.client("C").says("030961").hears("030500");
    world.broker().gets("ACK 1");
    world.notes("connected c1, persistent");
    world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080cc00001000131 DUP");
    world.client("C").says("040f0001").hears("04100001").says("040e0001").hears("080c400001000332");
    world.client("C").says("040f0003").hears("04100003");
    world.broker().gets("ACK 3");
    world.client("C").says("040e0003");
}

#[test]
fn a_clean_connect_in_place_of_a_persistent_session_ends_it_at_the_broker_too() {
    let mut world = subscribed();
    world.client("C").disconnects("c1");
    world.broker().publishes("a/b", 1, "dropped");
    world.client("C").connects("c1");
    world.client("C").disconnects("c1");
    world.client("C").connects_persistent("c1");
}

#[test]
fn a_session_that_only_the_broker_remembers_is_served() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").disconnects("c1");
    // The gateway forgets the session, the broker does not.
    world.passes(7.0 * 24.0 * 3_600.0);
    world.notes("expired c1");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000278");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 1");
    world.client("C").says("081400000d612f62 UNSUBSCRIBE").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_subscription_that_the_broker_has_forgotten_is_asked_for_again() {
    let mut world = subscribed();
    world.client("C").disconnects("c1");
    world.broker().goes_down();
    world.broker().comes_up();
    world.client("C").connects_persistent("c1");
    let asked = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&asked, 2);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c000001000078");
}

#[test]
fn a_will_that_was_stored_goes_to_the_broker_with_every_connection() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    world.client("C").disconnects("c1");
    world.broker().is_taken_in_hand();
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    world.broker().gets_connect("CONNECT c1, will q1 will bye");
}
