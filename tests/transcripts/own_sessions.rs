//! What the broker keeps for a client with a connection of its own, and what the gateway holds back (digest §11, §13).

use super::World;
use super::broker::Asked;
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
fn what_was_handed_back_to_a_broker_that_has_forgotten_it_since_is_delivered_all_the_same() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 300);
    for (qos, payload) in [(1, "1"), (0, "2 is lost"), (2, "3")] {
        world.broker().publishes("a/b", qos, payload);
    }
    world.client("C").disconnects("c1");
    world.broker().goes_down();
    world.broker().comes_up();
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62");
    let renewal = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&renewal, 2);
    world.client("C").says("070b0001000100").hears("080c200001000231");
    world.client("C").says("070d0001000200").hears("080c400001000333");
    world.client("C").says("040f0003").hears("04100003").says("040e0003");
}

#[test]
fn what_was_handed_back_stays_with_the_broker_over_a_connect_that_comes_to_nothing() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "1");
    world.client("C").disconnects("c1");
    world.broker().is_taken_in_hand();
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    let connect = world.broker().gets_connect("CONNECT c1");
    world.broker().fails(&connect);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: BrokerDown");
    let disconnect = world.broker().gets("DISCONNECT");
    world.broker().closes(disconnect);
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    let connect = world.broker().gets_connect("CONNECT c1");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1, persistent");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000231 once");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 2");
}

/// A client leaves while the broker has a publish of its own to answer, and the connection ends in order.
fn leaves_with_a_publish_under_way(world: &mut World, publish: &str, command: &str) -> (Asked, Asked) {
    world.client("C").connects_persistent("c1");
    world.broker().is_taken_in_hand();
    world.client("C").says(publish);
    let publish = world.broker().gets(command);
    world.client("C").disconnects("c1");
    (publish, world.broker().gets("DISCONNECT"))
}

/// The client connects again, and so does the gateway for it.
fn is_back(world: &mut World) {
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    let connect = world.broker().gets_connect("CONNECT c1");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1, persistent");
}

#[test]
fn a_publish_that_the_broker_accepts_while_the_connection_ends_does_not_go_up_again() {
    for (publish, command, again, answer) in [
        ("080c226162000778", "PUBLISH q1 ab x", "080ca26162000778 DUP", "070d6162000700"),
        ("080c426162000778", "PUBLISH q2 ab x", "080cc26162000778 DUP", "040f0007"),
    ] {
        let mut world = World::with_broker();
        let (publish, disconnect) = leaves_with_a_publish_under_way(&mut world, publish, command);
        world.broker().accepts(publish);
        world.broker().closes(disconnect);
        is_back(&mut world);
        world.client("C").says(again).hears(answer);
    }
}

#[test]
fn a_publish_that_is_unanswered_when_the_connection_has_ended_goes_up_again() {
    let mut world = World::with_broker();
    let (_, disconnect) = leaves_with_a_publish_under_way(&mut world, "080c426162000778", "PUBLISH q2 ab x");
    world.broker().closes(disconnect);
    is_back(&mut world);
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn an_answer_for_a_client_that_has_begun_a_clean_session_since_is_nobody_s() {
    let mut world = World::with_broker();
    let (publish, disconnect) = leaves_with_a_publish_under_way(&mut world, "080c426162000778", "PUBLISH q2 ab x");
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    world.broker().accepts(publish);
    world.broker().closes(disconnect);
    let connect = world.broker().gets_connect("CONNECT c1 clean");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1");
    world.client("C").says("080cc26162000778 DUP");
    world.broker().gets("PUBLISH q2 ab x");
}

#[test]
fn a_clean_connect_of_a_client_that_has_subscribed_gets_another_connection_and_no_message_of_the_former_session() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    let former = world.broker().connection_of("c1");
    world.broker().is_taken_in_hand();
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    world.broker().gets("UNSUBSCRIBE a/b");
    let disconnect = world.broker().gets("DISCONNECT");
    world.broker().sends_on(&former, "a/b", 0, "for the former session");
    world.broker().closes(disconnect);
    let connect = world.broker().gets_connect("CONNECT c1 clean");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_clean_connect_of_a_client_that_has_not_subscribed_keeps_the_connection() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    let former = world.broker().connection_of("c1");
    world.client("C").connects("c1");
    assert!(world.broker().connection_of("c1").is_on_the_connection_of(&former));
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
