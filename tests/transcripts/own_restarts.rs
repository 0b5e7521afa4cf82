//! The gateway is killed and starts again while each client has a connection of its own to the broker.

use mqttsn_gateway::core::Record;

use super::World;
use super::frames;
use super::world::Session::Persistent;

/// A persistent client at C, subscribed to `ab` at QoS 2.
fn connected() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").says("07124200106162 SUBSCRIBE QoS 2 short ab");
    let asked = world.broker().gets("SUBSCRIBE q2 ab");
    world.broker().grants(&asked, 2);
    world.client("C").hears("0813406162001000");
    world
}

#[test]
fn connections_are_made_again() {
    let mut world = connected();
    world.client("D").connects_with_will("c2", Persistent, "will", "bye");
    world.client("E").connects_persistent("away");
    world.client("E").disconnects("away");
    world.broker().is_taken_in_hand();
    let restored = world.restarts(&[]);
    assert_eq!((restored.sessions, restored.subscriptions), (3, 1));
    let first = world.broker().gets_connect("CONNECT c1");
    let second = world.broker().gets_connect("CONNECT c2, will q1 will bye");
    world.client("C").says("0216").hears("0217");
    world.client("C").says("080c226162000778").hears("070d6162000701");
    world.notes("refused c1: BrokerDown");
    world.broker().admits(&first);
    world.broker().admits(&second);
    world.broker().publishes("ab", 1, "x");
    world.client("C").hears("080c226162000178").says("070d6162000100");
    world.broker().gets("ACK 1");
    world.client("C").says("080c226162000778");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("070d6162000700");
}

#[test]
fn a_client_whose_connection_cannot_be_made_again_in_time_is_told() {
    let mut world = connected();
    world.broker().is_taken_in_hand();
    world.restarts(&[]);
    let connect = world.broker().gets_connect("CONNECT c1");
    world.passes(10.0);
    world.broker().fails(&connect);
    world.passes(20.0);
    world.client("C").hears("0218");
    world.notes("lost c1: BrokerGone");
    world.broker().gets("DISCONNECT");
}

#[test]
fn a_client_that_the_broker_does_not_want_any_more_is_told() {
    let mut world = connected();
    world.broker().is_taken_in_hand();
    world.restarts(&[]);
    let connect = world.broker().gets_connect("CONNECT c1");
    world.broker().refuses(&connect, 0x87);
    world.client("C").hears("0218");
    world.notes("lost c1: ClosedByBroker { reason: BrokerReason(135) }");
    world.broker().gets("DISCONNECT");
}

#[test]
fn a_client_that_connects_meanwhile_is_connected_once_its_connection_is() {
    let mut world = connected();
    world.broker().is_taken_in_hand();
    world.restarts(&[]);
    let connect = world.broker().gets_connect("CONNECT c1");
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1, persistent");
}

#[test]
fn a_sleeper_s_messages_come_from_the_broker() {
    let mut world = connected();
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("ab", 1, "x");
    world.restarts(&[]);
    world.client("C").says("04166331").hears("080c226162000178").says("070d6162000100").hears("0217");
    world.broker().gets("ACK 2");
}

#[test]
fn a_clean_session_is_subscribed_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.restarts(&[]);
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
    world.client("C").registers("a/b", 1);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_broker_that_has_kept_the_session_is_asked_for_nothing_and_another_for_everything() {
    let mut world = connected();
    world.restarts(&[]);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q2 ab");
    world.broker().grants(&renewal, 2);
    world.restarts(&[]);
    world.broker().publishes("ab", 0, "x");
    world.client("C").hears("080c026162000078");
}

#[test]
fn a_qos_2_message_on_its_way_comes_again_from_the_broker_and_goes_to_the_client_once() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.client("C").hears("080c426162000178");
    world.restarts(&[]);
    // It is stored, so the broker need not wait for the client any more.
    world.broker().gets("ACK 2");
    world.client("C").hears("080cc26162000178 DUP").says("040f0001").hears("04100001");
    world.client("C").says("040e0001");
}

#[test]
fn a_qos_2_message_that_the_client_has_and_the_broker_does_not_know_of_is_acknowledged_and_no_more() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.client("C").hears("080c426162000178");
    world.store().holds();
    world.client("C").says("040f0001");
    world.store().stores_unheard();
    world.restarts(&[]);
    world.broker().gets("ACK 2");
    world.client("C").hears("04100001").says("040e0001");
    world.passes(80.0);
}

#[test]
fn a_qos_2_message_whose_pubrec_was_not_stored_is_sent_again_under_its_message_id() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.client("C").hears("080c426162000178");
    world.store().holds();
    world.client("C").says("040f0001");
    world.restarts(&[]);
    world.broker().gets("ACK 2");
    world.client("C").hears("080cc26162000178").says("040f0001").hears("04100001");
    world.client("C").says("040e0001");
}

#[test]
fn a_qos_2_publish_that_the_connection_goes_on_with_goes_up_once() {
    let mut world = connected();
    world.client("C").says("080c426162000778");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.restarts(&[&publish]);
    world.client("C").says("080cc26162000778 DUP");
    world.broker().accepts_for("c1", publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
    assert!(!world.store().records().any(|record| matches!(record, Record::Exchange(_) | Record::Completed(_))));
}

#[test]
fn a_qos_2_publish_that_never_reached_the_connection_is_begun_again() {
    let mut world = connected();
    world.client("C").says("080c426162000778");
    world.broker().gets("PUBLISH q2 ab x");
    world.restarts(&[]);
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn a_session_that_is_over_leaves_nothing_behind() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("ab", 2, 1);
    world.broker().publishes("ab", 2, "x");
    world.client("C").hears("080c400001000178").says("040f0001").hears("04100001");
    world.broker().gets("ACK 1");
    world.client("C").says("080c426162000778");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.store().completes(&publish);
    world.client("C").disconnects("c1");
    world.broker().gets("UNSUBSCRIBE ab");
    world.restarts(&[]);
    assert_eq!(world.store().records().count(), 0);
}

#[test]
fn the_connection_ends_when_the_end_of_the_session_is_stored_and_behind_its_acknowledgements() {
    let mut world = connected();
    world.broker().publishes("ab", 1, "x");
    world.client("C").hears("080c226162000178");
    world.broker().is_taken_in_hand();
    world.store().holds();
    world.client("D").sends(&frames::connect("c2", 0x00, 60));
    let connect = world.broker().gets_connect("CONNECT c2");
    world.broker().admits(&connect);
    world.notes("connected c2, persistent");
    world.client("C").says("070d6162000100");
    world.client("C").says("0218");
    world.notes("disconnected c1");
    world.store().stores();
    world.client("D").hears("030500");
    world.client("C").hears("0218");
    world.broker().gets("ACK 1");
    world.broker().gets("DISCONNECT");
}

#[test]
fn at_shutdown_connections_wait_for_no_store() {
    let mut world = connected();
    world.store().holds();
    world.client("C").sends(&frames::register("new", 7));
    world.shuts_down();
    world.broker().gets("DISCONNECT");
}
