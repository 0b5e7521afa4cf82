//! Delivery to a client: how the topic is named, REGISTER first, one message in flight (digest §11).
//!
//! With a store a message at QoS 2 is acknowledged to the broker when it is stored, without one when the client has it.

use super::World;
use super::world::predefine;

/// A client that has subscribed to `a/b` (id 1) at QoS 2.
fn subscribed() -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world
}

#[test]
fn qos_0_is_delivered_and_done() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.broker().publishes("a/b", 0, "y");
    world.client("C").hears("080c000001000079");
}

#[test]
fn qos_1_is_acknowledged_to_the_broker_when_the_client_has_it() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.passes(5.0);
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn qos_2_is_acknowledged_to_the_broker_when_the_client_has_it() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("080c400001000178").says("040f0001").hears("04100001");
    world.broker().gets_unless_kept("ACK 1");
    world.client("C").says("040e0001");
}

#[test]
fn one_message_is_in_flight_and_the_order_is_kept() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("a/b", 0, "2");
    world.broker().publishes("a/b", 2, "3");
    world.broker().publishes("a/b", 1, "4");
    world.client("C").says("070d0001000100").hears("080c000001000032").hears("080c400001000233");
    world.broker().gets("ACK 1");
    world.broker().gets_if_kept("ACK 2");
    world.client("C").says("040f0002").hears("04100002");
    world.broker().gets_unless_kept("ACK 2");
    world.client("C").says("040e0002").hears("080c200001000334");
    world.client("C").says("070d0001000300");
    world.broker().gets("ACK 3");
}

#[test]
fn a_wildcard_s_topic_is_registered_before_it_is_published() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+/c", 1, 0);
    world.broker().publishes("a/b/c", 1, "x");
    world.client("C").hears("0b0a00010001612f622f63").says("070b0001000100").hears("080c200001000278");
    world.broker().publishes("a/d/c", 0, "y");
    world.client("C").says("070d0001000200").hears("0b0a00020003612f642f63");
    world.broker().gets("ACK 1");
    world.client("C").says("070b0002000300").hears("080c000002000079");
    world.broker().publishes("a/b/c", 0, "z");
    world.client("C").hears("080c00000100007a the id is known");
}

#[test]
fn a_topic_that_the_client_registered_itself_needs_no_register() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").registers("a/b/c", 1);
    world.client("C").subscribes("a/#", 1, 0);
    world.broker().publishes("a/b/c", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_predefined_topic_is_named_as_the_client_named_it() {
    let table = predefine(&[(10, "p")]);
    let mut world = World::with_settings(table);
    for (name, id) in [("C", "by id"), ("D", "by name"), ("E", "by wildcard"), ("F", "by wildcard, registered")] {
        world.client(name).connects(id);
    }
    world.client("C").says("0712010010000a");
    let asked = world.broker().gets("SUBSCRIBE q0 p");
    world.broker().grants(&asked, 0);
    world.client("C").hears("081300000a001000");
    world.client("D").subscribes("p", 0, 1);
    world.client("E").subscribes("+", 0, 0);
    world.client("F").registers("p", 1);
    world.client("F").subscribes("+", 0, 0);

    world.broker().publishes("p", 0, "x");
    world.client("C").hears("080c01000a000078");
    world.client("D").hears("080c000001000078");
    world.client("E").hears("080c01000a000078");
    world.client("F").hears("080c000001000078");
}

#[test]
fn a_two_octet_topic_is_named_as_the_client_named_it() {
    let mut world = World::with_broker();
    for (name, id) in [("C", "by short name"), ("D", "by name"), ("E", "by wildcard"), ("F", "by wildcard, registered")]
    {
        world.client(name).connects(id);
    }
    world.client("C").says("07120200106162");
    let asked = world.broker().gets("SUBSCRIBE q0 ab");
    world.broker().grants(&asked, 0);
    world.client("C").hears("0813006162001000");
    world.client("D").subscribes("ab", 0, 1);
    world.client("E").subscribes("+", 0, 0);
    world.client("F").registers("ab", 1);
    world.client("F").subscribes("+", 0, 0);

    world.broker().publishes("ab", 0, "x");
    world.client("C").hears("080c026162000078");
    world.client("D").hears("080c000001000078");
    world.client("E").hears("080c026162000078");
    world.client("F").hears("080c000001000078");
}

#[test]
fn a_two_octet_topic_subscribed_as_a_short_name_is_so_named_even_if_it_has_a_predefined_id() {
    let mut world = World::with_settings(predefine(&[(10, "ab")]));
    world.client("C").connects("c1");
    world.client("C").says("07120200106162");
    let asked = world.broker().gets("SUBSCRIBE q0 ab");
    world.broker().grants(&asked, 0);
    world.client("C").hears("0813006162001000");
    world.broker().publishes("ab", 0, "x");
    world.client("C").hears("080c026162000078");
}

#[test]
fn a_topic_of_one_octet_is_registered() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("+", 0, 0);
    world.broker().publishes("a", 0, "x");
    world.client("C").hears("070a0001000161").says("070b0001000100").hears("080c000001000078");
}

#[test]
fn a_client_that_does_not_know_an_id_is_told_the_name_again_once() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000102 invalid topic id");
    world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080ca00001000178 DUP");
    world.client("C").says("070d0001000102 still");
    world.notes("undeliverable c1 a/b: TopicUnknownToClient");
    world.broker().gets("ACK 1");
}

#[test]
fn a_client_that_does_not_know_the_id_of_a_qos_0_message_gets_it_again() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078").says("070d0001000002 invalid topic id");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c000001000078");
    world.client("C").says("070d0001000002 still");
}

#[test]
fn a_refused_qos_0_message_goes_out_again_behind_the_one_in_flight() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.broker().publishes("a/b", 1, "y");
    world.client("C").hears("080c200001000179");
    world.client("C").says("070d0001000002 for the first one");
    world.client("C").says("070d0001000100").hears("090a00010002612f62");
    world.broker().gets("ACK 1");
    world.client("C").says("070b0001000200").hears("080c000001000078");
}

#[test]
fn a_predefined_or_short_topic_that_the_client_does_not_know_is_dropped() {
    for (topic, publish, ack) in
        [("ab", "080c226162000178", "070d6162000102"), ("pre", "080c21000a000178", "070d000a000102")]
    {
        let mut world = World::with_settings(predefine(&[(10, "pre")]));
        world.client("C").connects("c1");
        world.client("C").subscribes("+", 1, 0);
        world.broker().publishes(topic, 1, "x");
        world.client("C").hears(publish).says(ack);
        world.notes(&format!("undeliverable c1 {topic}: TopicUnknownToClient"));
        world.broker().gets("ACK 1");
    }
}

#[test]
fn a_message_that_the_client_refuses_is_dropped() {
    for code in ["03", "04", "ff"] {
        let mut world = subscribed();
        world.broker().publishes("a/b", 1, "x");
        world.client("C").hears("080c200001000178").says(&format!("070d00010001{code}"));
        world.notes("undeliverable c1 a/b: MessageRefused");
        world.broker().gets("ACK 1");
    }
}

#[test]
fn qos_2_refused_with_puback_is_dropped_and_one_accepted_with_puback_is_not_done() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("080c400001000178").says("070d0001000100 means nothing at QoS 2");
    world.client("C").says("070d0001000103 not supported");
    world.notes("undeliverable c1 a/b: MessageRefused");
    world.broker().gets_unless_kept("ACK 1");
}

#[test]
fn a_wildcard_s_topic_that_the_client_refuses_is_skipped_until_it_subscribes_again() {
    for code in ["02", "03", "80"] {
        let mut world = World::with_broker();
        world.client("C").connects("c1");
        world.client("C").subscribes("a/+", 1, 0);
        world.broker().publishes("a/b", 1, "x");
        world.client("C").hears("090a00010001612f62").says(&format!("070b00010001{code}"));
        world.notes("undeliverable c1 a/b: TopicRefused");
        world.broker().gets("ACK 1");
        world.broker().publishes("a/b", 1, "y");
        world.notes("undeliverable c1 a/b: TopicRefused");
        world.broker().gets("ACK 2");
        world.broker().publishes("a/c", 0, "z");
        world.client("C").hears("090a00020002612f63 another one is offered").says("070b0002000200");
        world.client("C").hears("080c00000200007a");

        world.client("C").subscribes("a/+", 1, 0);
        world.broker().publishes("a/b", 0, "x");
        world.client("C").hears("090a00010003612f62 offered again").says("070b0001000300").hears("080c000001000078");
    }
}

#[test]
fn a_refused_plain_topic_is_unsubscribed() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").connects_persistent("c1");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("090a00010001612f62 not confirmed since").says("070b0001000103");
    world.notes("undeliverable c1 a/b: TopicRefused");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().gets("ACK 1");
}

#[test]
fn acknowledgements_that_match_nothing_are_ignored() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.client("C").says("070d0001777700 another message id");
    world.client("C").says("070b0001000100 REGACK for nothing");
    world.client("C").says("040e0001 PUBCOMP for a QoS 1 message");
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
    world.client("C").says("070d0001000100 once more");
    world.client("C").says("040e7777");
}

#[test]
fn a_pubrec_for_an_unknown_message_gets_pubrel() {
    let mut world = subscribed();
    world.client("C").says("040f7777").hears("04107777");
    world.client("C").says("040e7777");
}

#[test]
fn a_repeated_pubrec_gets_pubrel_again() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("080c400001000178").says("040f0001").hears("04100001");
    world.broker().gets_unless_kept("ACK 1");
    world.client("C").says("040f0001").hears("04100001");
    world.client("C").says("040e0001");
}

#[test]
fn a_puback_with_both_ids_swapped_is_understood() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0100010000 as one Arduino library has it");
    world.broker().gets("ACK 1");
}

#[test]
fn a_puback_with_a_wrong_topic_id_is_understood() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0000000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_message_before_the_suback_waits_for_it() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().publishes_for(&[&asked], "a/b", 1, "x");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200001000d00").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn the_retain_flag_of_a_live_message_is_not_set() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 0, "");
    world.client("C").hears("070c0000010000 an empty payload");
}

#[test]
fn a_message_that_does_not_fit_into_the_client_s_frames_is_dropped() {
    let mut world = World::with_link(|link| link.max_frame = 60);
    world.client("C").connects("c1");
    world.client("C").subscribes("#", 1, 0);
    world.broker().publishes("ab", 1, &"x".repeat(54));
    world.notes("undeliverable c1 ab: TooLarge");
    world.broker().gets("ACK 1");
    world.broker().publishes(&"t".repeat(55), 0, "x");
    world.notes(&format!("undeliverable c1 {}: TooLarge", "t".repeat(55)));
    world.broker().publishes("ab", 1, &"x".repeat(53));
    world.client("C").hears(&format!("3c0c2261620001{}", "78".repeat(53))).says("070d6162000100");
    world.broker().gets("ACK 2");
}

#[test]
fn a_regack_for_another_topic_id_is_no_answer() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("090a00010001612f62").says("070b0002000100 REGACK for id 2");
    world.passes(10.0);
    world.client("C").hears("090a00010001612f62").says("070b0100000100 with its octets swapped");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_refusal_of_a_register_need_not_name_the_id() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("090a00010001612f62").says("070b0000000103");
    world.notes("undeliverable c1 a/b: TopicRefused");
}
