//! What clients in the field do that the specification does not foresee (digest §21).

use super::World;
use super::frames;
use super::world::predefine;

#[test]
fn a_client_that_cannot_handle_register_hears_its_plain_topics_all_the_same() {
    // RIOT's emcute and asymcute: they ignore REGISTER, so a wildcard brings them nothing.
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("emcute", 0x04, 360)).hears("030500");
    world.notes("connected emcute");
    world.client("C").subscribes("plain/topic", 1, 1);
    world.broker().publishes("plain/topic", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_message_that_the_client_rejects_because_of_dup_or_topic_type_is_dropped_and_the_next_one_comes() {
    // emcute answers PUBLISH with DUP, QoS 2 or a pre-defined id by PUBACK 03.
    let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
    world.client("C").connects("emcute");
    world.client("C").subscribes("ab", 1, 1);
    world.client("C").subscribes("#", 1, 0);
    world.broker().publishes("ab", 1, "1");
    world.client("C").hears("080c200001000131");
    world.passes(10.0);
    world.client("C").hears("080ca00001000131").says("070d0001000103 DUP is not supported");
    world.notes("undeliverable emcute ab: MessageRefused");
    world.broker().gets("ACK 1");
    world.broker().publishes("pre/defined", 1, "2");
    world.client("C").hears("080c21000a000232").says("070d000a000203");
    world.notes("undeliverable emcute pre/defined: MessageRefused");
    world.broker().gets("ACK 2");
    world.broker().publishes("ab", 0, "3");
    world.client("C").hears("080c000001000033");
}

#[test]
fn acknowledgements_have_a_length_of_one_octet() {
    let mut world = World::with_broker();
    world.client("C").says("01000a040401003c6331 CONNECT in the long form").hears("030500");
    world.notes("connected c1");
    world.client("C").says("01000c0a000000016162632f REGISTER in the long form").hears("070b0001000100");
}

#[test]
fn a_predefined_id_in_the_wrong_order_of_octets_is_unknown() {
    // asymcute copies the id in host byte order.
    let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
    world.client("C").connects("asymcute");
    world.client("C").says("07122100100a00").hears("0813000a00001002");
    world.notes("refused asymcute: UnknownPredefinedId { topic_id: TopicId(2560) }");
}

#[test]
fn a_frame_of_255_octets_that_says_so_in_the_long_form_by_mistake_is_dropped() {
    // Paho's C client library writes 01 00 FF in front of 257 octets.
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    let mut frame = vec![0x01, 0x00, 0xFF, 0x0C, 0x20, 0x00, 0x01, 0x00, 0x07];
    frame.resize(257, b'x');
    world.client("C").sends(&frame);
    world.notes("malformed from C: length_mismatch");
    world.client("C").says("0216").hears("0217");
}

#[test]
fn frames_around_the_border_of_the_two_headers_are_understood_and_sent() {
    // Totals of 253 to 255 octets in the short form, and from 258 in the long one.
    for octets in 246..=251 {
        let mut world = World::with_broker();
        world.client("C").connects("c1");
        world.client("C").subscribes("ab", 0, 1);
        let payload = "p".repeat(octets);
        let publish = frames::publish(0x00, 1, 0, payload.as_bytes());
        assert_eq!(publish.len(), if octets <= 248 { octets + 7 } else { octets + 9 });
        world.client("C").sends(&publish);
        world.broker().gets(&format!("PUBLISH q0 ab {payload}"));
        world.broker().publishes("ab", 0, &payload);
        let hex: String = publish.iter().map(|octet| format!("{octet:02x}")).collect();
        world.client("C").hears(&hex);
    }
}

#[test]
fn other_protocols_on_the_port_are_dropped() {
    for (octets, why) in [
        ("100e00044d515454044200000004746573", "length_mismatch"),
        ("0a010000003c01000000", "body_size"),
        ("0003014142", "length_too_small"),
    ] {
        let mut world = World::with_broker();
        world.client("C").garbles(octets);
        world.notes(&format!("malformed from C: {why}"));
    }
}

#[test]
fn a_message_id_that_counts_up_at_qos_0_does_no_harm() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    for msg_id in 1..=3 {
        world.client("C").sends(&frames::publish(0x02, 0x6162, msg_id, b"x"));
        world.broker().gets("PUBLISH q0 ab x");
    }
}

#[test]
fn a_reset_client_that_begins_its_message_ids_anew_is_understood() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    for payload in ["a", "b", "a"] {
        world.client("C").sends(&frames::publish(0x22, 0x6162, 1, payload.as_bytes()));
        let publish = world.broker().gets(&format!("PUBLISH q1 ab {payload}"));
        world.broker().accepts(publish);
        world.client("C").hears("070d6162000100");
        world.client("C").connects("c1");
    }
}
