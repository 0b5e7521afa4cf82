//! What is promised is stored first: nobody hears of a state that a power cut could take back.
//!
//! The store is in the test's hands. A frame that waits for it is heard after `stores`, and not before.

use super::World;
use super::frames;
use super::world::Session::{Clean, Persistent};

/// A client at C, and a store that the test holds back.
fn connected() -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").registers("a/b", 1);
    world.store().holds();
    world
}

/// The same client, subscribed to `a/b` (id 1) at QoS 2 and asleep for 300 s.
fn asleep() -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world.client("C").sleeps("c1", 300);
    world.store().holds();
    world
}

#[test]
fn connack_waits_for_the_session_to_be_stored() {
    let mut world = World::with_broker();
    world.store().holds();
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    world.notes("connected c1");
    world.store().stores();
    world.client("C").hears("030500");
}

#[test]
fn a_client_with_a_will_is_asked_for_it_at_once_and_connected_when_it_is_stored() {
    let mut world = World::with_broker();
    world.store().holds();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.client("C").says("0507307769 WILLTOPIC QoS 1").hears("0208");
    world.client("C").says("0309ff WILLMSG");
    world.notes("connected c1");
    world.store().stores();
    world.client("C").hears("030500");
}

#[test]
fn regack_waits_for_the_topic_id_to_be_stored() {
    let mut world = connected();
    world.client("C").sends(&frames::register("a/c", 7));
    world.store().stores();
    world.client("C").hears("070b0002000700");
}

#[test]
fn a_topic_id_that_is_stored_already_waits_for_nothing() {
    let mut world = connected();
    world.client("C").sends(&frames::register("a/b", 7)).hears("070b0001000700");
}

#[test]
fn suback_waits_for_the_subscription_to_be_stored() {
    let mut world = connected();
    world.client("C").sends(&frames::subscribe("a/b", 1, 7));
    // Another process must know what the broker was asked for.
    world.store().stores();
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&asked, 1);
    world.store().stores();
    world.client("C").hears("0813200001000700");
}

#[test]
fn unsuback_waits_for_the_end_of_the_subscription_to_be_stored() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.store().holds();
    world.client("C").says("081400000d612f62 UNSUBSCRIBE");
    world.store().stores();
    world.client("C").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn the_answer_to_a_sleeper_to_be_waits_for_its_sleep_to_be_stored() {
    let mut world = connected();
    world.client("C").says("0418012c");
    world.notes("asleep c1 for 300 s");
    world.store().stores();
    world.client("C").hears("0218");
}

#[test]
fn the_answer_to_a_disconnect_waits_for_the_end_of_the_session_to_be_stored() {
    let mut world = connected();
    world.client("C").says("0218");
    world.notes("disconnected c1");
    world.store().stores();
    world.client("C").hears("0218");
}

#[test]
fn a_will_update_is_answered_when_it_is_stored() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.store().holds();
    world.client("C").says("041c6f6b WILLMSGUPD");
    world.store().stores();
    world.client("C").hears("031d00");
    world.client("C").says("051a30612f WILLTOPICUPD");
    world.store().stores();
    world.client("C").hears("031b00");
}

#[test]
fn a_qos_1_publish_that_the_broker_takes_waits_for_no_store() {
    let mut world = connected();
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
}

#[test]
fn a_qos_2_publish_goes_to_its_connection_at_once_which_keeps_it_behind_its_exchange() {
    let mut world = connected();
    world.client("C").says("080c400001000778");
    let publish = world.broker().gets("PUBLISH q2 a/b x");
    world.store().stores();
    world.broker().accepts(publish);
    world.store().stores();
    world.client("C").hears("040f0007").says("04100007");
    world.store().stores();
    world.client("C").hears("040e0007");
}

#[test]
fn a_qos_2_publish_that_comes_again_before_its_exchange_is_stored_goes_up_once() {
    let mut world = connected();
    world.client("C").says("080c400001000778");
    let publish = world.broker().gets("PUBLISH q2 a/b x");
    world.client("C").says("080cc00001000778 DUP");
    world.store().stores();
    world.broker().accepts(publish);
    world.client("C").says("080cc00001000778 DUP");
    world.store().stores();
    world.client("C").hears("040f0007").hears("040f0007");
}

#[test]
fn a_qos_2_message_is_sent_to_the_client_when_its_message_id_is_stored() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world.store().holds();
    world.broker().publishes("a/b", 2, "x");
    world.store().stores();
    world.broker().gets("ACK 1");
    world.client("C").hears("080c400001000178").says("040f0001");
    world.store().stores();
    world.client("C").hears("04100001").says("040e0001");
}

#[test]
fn a_qos_1_message_for_a_client_that_is_there_waits_for_no_store() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.store().holds();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn what_a_client_hears_keeps_its_order() {
    let mut world = connected();
    world.client("C").sends(&frames::register("one", 1));
    world.client("C").says("04100009 PUBREL");
    world.client("C").sends(&frames::register("two", 2));
    world.store().stores_one();
    world.client("C").hears("070b0002000100").hears("040e0009");
    world.store().stores_one();
    world.client("C").hears("070b0003000200");
    world.client("C").says("04100009 PUBREL").hears("040e0009");
}

#[test]
fn a_slow_store_delays_nobody_else() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("D").subscribes("ab", 1, 1);
    world.store().holds();
    world.client("C").sends(&frames::register("one", 1));
    world.client("D").says("0216").hears("0217");
    world.client("D").says("080c026162000078");
    world.broker().gets("PUBLISH q0 ab x");
    world.client("E").says("080c626162000078 QoS -1");
    world.broker().gets("PUBLISH q0 ab x");
    world.broker().publishes("ab", 0, "x");
    world.client("D").hears("080c000001000078");
    world.broker().publishes("ab", 1, "x");
    world.client("D").hears("080c200001000178");
    world.client("E").says("0216").hears("0218");
    world.notes("stray E");
    world.store().stores();
    world.client("C").hears("070b0001000100");
}

#[test]
fn the_broker_is_acknowledged_what_a_sleeper_waits_for_when_it_is_stored() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "x");
    world.store().stores();
    world.broker().gets("ACK 1");
    world.broker().publishes("a/b", 0, "there is no acknowledgement at QoS 0");
}

#[test]
fn the_broker_is_acknowledged_when_all_have_the_message_or_have_it_stored() {
    let mut world = asleep();
    world.store().recovers();
    world.client("D").connects("c2");
    world.client("D").subscribes("a/b", 1, 1);
    world.store().holds();
    world.broker().publishes("a/b", 1, "x");
    world.client("D").hears("080c200001000178").says("070d0001000100");
    world.store().stores();
    world.broker().gets("ACK 1");

    world.broker().publishes("a/b", 1, "y");
    world.client("D").hears("080c200001000279");
    world.store().stores();
    world.client("D").says("070d0001000200");
    world.broker().gets("ACK 2");
}

#[test]
fn acknowledgements_go_out_as_their_messages_are_stored_whatever_has_come_since() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().publishes("a/b", 1, "2");
    world.store().stores_one();
    world.broker().gets("ACK 1");
    world.broker().publishes("a/b", 1, "3");
    world.store().stores_one();
    world.broker().gets("ACK 2");
    world.store().stores_one();
    world.broker().gets("ACK 3");
}

#[test]
fn a_qos_2_publish_to_a_broker_without_qos_2_goes_up_as_its_exchange_is_stored_whatever_has_come_since() {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.max_qos = mqttsn_gateway::wire::Qos::AtLeastOnce;
    world.broker().comes_up();
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").says("080c426162000778");
    world.client("C").says("080c426162000879");
    world.store().stores_one();
    world.broker().gets("PUBLISH q1 ab x");
    world.store().stores_one();
    world.broker().gets("PUBLISH q1 ab y");
}

#[test]
fn a_slow_client_s_oldest_message_is_stored_before_it_is_acknowledged() {
    let mut world = World::with_settings(|settings| settings.limits.unacknowledged_deliveries = 1);
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.store().holds();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    world.store().stores();
    world.broker().gets("ACK 1");
}

#[test]
fn beyond_a_limit_no_more_frames_wait_for_the_store() {
    let mut world = World::with_settings(|settings| settings.limits.withheld_frames = 2);
    world.client("C").connects("c1");
    world.store().holds();
    for (topic, id) in [("one", 1), ("two", 2), ("three", 3)] {
        world.client("C").sends(&frames::register(topic, id));
    }
    assert_eq!(world.stats().withheld_dropped, 1);
    world.store().stores();
    world.client("C").hears("070b0001000100").hears("070b0002000200");
    world.client("C").sends(&frames::register("three", 3)).hears("070b0003000300");
}

#[test]
fn what_a_client_repeats_changes_nothing_in_the_store() {
    for with_broker in [World::with_broker, World::with_an_old_broker] {
        let mut world = with_broker();
        world.client("C").connects_with_will("c1", Persistent, "will", "bye");
        world.client("C").registers("a/b", 1);
        world.client("C").subscribes("a/b", 1, 1);
        world.broker().publishes("a/b", 1, "x");
        world.client("C").hears("080c200001000178").says("070d0001000100");
        world.broker().gets("ACK 1");
        world.store().writes();
        for _ in 0..3 {
            world.client("C").connects_with_will("c1", Persistent, "will", "bye");
            world.client("C").registers("a/b", 1);
            world.client("C").subscribes("a/b", 1, 1);
            world.client("C").says("071a2077696c6c WILLTOPICUPD").hears("031b00");
            world.client("C").says("051c627965 WILLMSGUPD").hears("031d00");
            assert_eq!(world.store().writes(), 0);
        }
    }
}

#[test]
fn two_clients_that_repeat_one_subscription_in_turn_are_told_apart() {
    let mut world = World::with_broker();
    for (name, client_id) in [("C", "c1"), ("D", "c2")] {
        world.client(name).connects(client_id);
        world.client(name).subscribes("ab", 1, 1);
    }
    world.store().writes();
    world.client("D").subscribes("ab", 1, 1);
    assert_eq!(world.store().writes(), 0);
    world.client("C").subscribes("ab", 1, 1);
    assert!(world.store().writes() > 0);
}
