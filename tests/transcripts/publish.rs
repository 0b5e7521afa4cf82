//! PUBLISH from a client at QoS 0, 1, 2 and -1 (digest §9).

use mqttsn_gateway::core::PublishOutcome;

use super::World;
use super::frames;
use super::world::predefine;

fn with_topic() -> World {
    let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
    world.client("C").connects("c1");
    world.client("C").registers("a/b/c", 1);
    world
}

#[test]
fn qos_0_goes_up_and_nothing_comes_back() {
    let mut world = with_topic();
    world.client("C").says("0b0c000001000032332e35");
    world.broker().gets("PUBLISH q0 a/b/c 23.5");
}

#[test]
fn qos_0_with_a_message_id_is_taken_too() {
    let mut world = with_topic();
    world.client("C").says("0b0c000001000732332e35");
    world.broker().gets("PUBLISH q0 a/b/c 23.5");
}

#[test]
fn qos_1_is_acknowledged_once_the_broker_has_it() {
    let mut world = with_topic();
    world.client("C").says("0b0c200001000732332e35");
    let publish = world.broker().gets("PUBLISH q1 a/b/c 23.5");
    world.passes(5.0);
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
}

#[test]
fn qos_2_is_received_once_the_broker_has_it_and_then_released() {
    let mut world = with_topic();
    world.client("C").says("0b0c400001000832332e35");
    let publish = world.broker().gets("PUBLISH q2 a/b/c 23.5");
    world.passes(5.0);
    world.broker().accepts(publish);
    world.client("C").hears("040f0008").says("04100008").hears("040e0008");
}

#[test]
fn a_topic_is_named_by_normal_id_predefined_id_or_short_name() {
    for (publish, topic) in
        [("080c000001000078", "a/b/c"), ("080c01000a000078", "pre/defined"), ("080c026162000078", "ab")]
    {
        let mut world = with_topic();
        world.client("C").says(publish);
        world.broker().gets(&format!("PUBLISH q0 {topic} x"));
    }
}

#[test]
fn the_acknowledgement_echoes_the_topic_whatever_its_type() {
    for (publish, topic, ack) in [
        ("080c200001000778", "a/b/c", "070d0001000700"),
        ("080c21000a000778", "pre/defined", "070d000a000700"),
        ("080c226162000778", "ab", "070d6162000700"),
        ("080c22c3a9000778", "é", "070dc3a9000700"),
    ] {
        let mut world = with_topic();
        world.client("C").says(publish);
        let asked = world.broker().gets(&format!("PUBLISH q1 {topic} x"));
        world.broker().accepts(asked);
        world.client("C").hears(ack);
    }
}

#[test]
fn retain_and_an_empty_payload_go_through() {
    let mut world = with_topic();
    world.client("C").says("080c100001000078");
    world.broker().gets("PUBLISH q0 retain a/b/c x");
    world.client("C").says("070c1000010000 clears the retained message");
    world.broker().gets("PUBLISH q0 retain a/b/c");
}

#[test]
fn the_largest_payload_goes_through() {
    let mut world = with_topic();
    let payload = "p".repeat(65_526);
    world.client("C").sends(&frames::publish(0x00, 1, 0, payload.as_bytes()));
    world.broker().gets(&format!("PUBLISH q0 a/b/c {payload}"));
}

#[test]
fn an_unknown_topic_is_refused_at_every_qos() {
    for (publish, topic, ack) in [
        ("080c000063000078", "Normal(TopicId(99))", "070d0063000002"),
        ("080c200063000978", "Normal(TopicId(99))", "070d0063000902"),
        ("080c400063000978", "Normal(TopicId(99))", "070d0063000902"),
        ("080c210063000978", "Predefined(TopicId(99))", "070d0063000902"),
        ("080c200000000978", "Normal(TopicId(0))", "070d0000000902"),
        ("080c20ffff000978", "Normal(TopicId(65535))", "070dffff000902"),
        ("080c20000a000978 a pre-defined id as a normal one", "Normal(TopicId(10))", "070d000a000902"),
        ("080c210001000978 a normal id as a pre-defined one", "Predefined(TopicId(1))", "070d0001000902"),
    ] {
        let mut world = with_topic();
        world.client("C").says(publish).hears(ack);
        world.notes(&format!("refused c1: UnknownTopicId {{ topic: {topic} }}"));
    }
}

#[test]
fn a_topic_that_is_the_broker_s_own_is_not_published_to() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").registers("$SYS/x", 1);
    world.client("C").says("080c200001000978").hears("070d0001000903");
    world.notes("refused c1: BrokersOwnTopic");
}

#[test]
fn what_no_broker_takes_is_not_supported() {
    for (publish, why, ack) in [
        ("080c22612b000978", "ShortTopic { error: Wildcard }", "070d612b000903"),
        ("080c222361000978", "ShortTopic { error: Wildcard }", "070d2361000903"),
        ("080c22c328000978", "ShortTopic { error: NotUtf8 }", "070dc328000903"),
        ("080c226100000978", "ShortTopic { error: ControlCharacter }", "070d6100000903"),
        ("080c230001000978", "ReservedTopicIdType", "070d0001000903"),
        ("080c030001000078", "ReservedTopicIdType", "070d0001000003"),
        ("080c200001000078", "PublishWithoutMsgId", "070d0001000003"),
        ("080c400001000078", "PublishWithoutMsgId", "070d0001000003"),
    ] {
        let mut world = with_topic();
        world.client("C").says(publish).hears(ack);
        world.notes(&format!("refused c1: {why}"));
    }
}

#[test]
fn the_broker_s_refusal_reaches_the_client() {
    for (reason, ack) in [(0x87, "070d0001000703"), (0x80, "070d0001000703"), (0x97, "070d0001000701")] {
        let mut world = with_topic();
        world.client("C").says("080c200001000778");
        let publish = world.broker().gets("PUBLISH q1 a/b/c x");
        world.broker().refuses_publish(publish, reason);
        world.client("C").hears(ack);
        world.notes(&format!("refused c1: PublishByBroker {{ reason: BrokerReason({reason}) }}"));
    }
}

#[test]
fn a_refused_qos_2_publish_is_answered_with_puback() {
    let mut world = with_topic();
    world.client("C").says("080c400001000878");
    let publish = world.broker().gets("PUBLISH q2 a/b/c x");
    world.broker().refuses_publish(publish, 0x87);
    world.client("C").hears("070d0001000803");
    world.notes("refused c1: PublishByBroker { reason: BrokerReason(135) }");
}

#[test]
fn a_busy_broker_connection_is_congestion() {
    let mut world = with_topic();
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b/c x");
    world.broker().settles(publish, PublishOutcome::Busy);
    world.client("C").hears("070d0001000701");
    world.notes("refused c1: BrokerBusy");
}

#[test]
fn a_publish_lost_with_the_connection_is_not_acknowledged_and_may_come_again() {
    let mut world = with_topic();
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b/c x");
    world.broker().settles(publish, PublishOutcome::Lost);
    world.client("C").says("080ca00001000778 DUP");
    let publish = world.broker().gets("PUBLISH q1 a/b/c x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
}

#[test]
fn a_repeated_qos_1_publish_goes_up_once() {
    let mut world = with_topic();
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b/c x");
    world.client("C").says("080ca00001000778 DUP, before the broker has answered");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
    world.client("C").says("080ca00001000778 DUP, the PUBACK was lost").hears("070d0001000700");
}

#[test]
fn the_same_reading_under_the_same_id_without_dup_is_a_new_message() {
    let mut world = with_topic();
    for _ in 0..2 {
        world.client("C").says("080c200001000778");
        let publish = world.broker().gets("PUBLISH q1 a/b/c x");
        world.broker().accepts(publish);
        world.client("C").hears("070d0001000700");
    }
}

#[test]
fn another_message_under_the_same_id_is_a_new_message() {
    let mut world = with_topic();
    world.client("C").says("080c200001000778");
    let first = world.broker().gets("PUBLISH q1 a/b/c x");
    world.client("C").says("080ca00001000779");
    let second = world.broker().gets("PUBLISH q1 a/b/c y");
    world.broker().accepts(first);
    world.client("C").hears("070d0001000700");
    world.broker().accepts(second);
    world.client("C").hears("070d0001000700");
}

#[test]
fn a_repeated_qos_2_publish_goes_up_once() {
    let mut world = with_topic();
    world.client("C").says("080c400001000878");
    let publish = world.broker().gets("PUBLISH q2 a/b/c x");
    world.client("C").says("080cc00001000878 before the broker has answered");
    world.broker().accepts(publish);
    world.client("C").hears("040f0008");
    world.client("C").says("080cc00001000878 the PUBREC was lost").hears("040f0008");
    world.client("C").says("080c400001000878 even without DUP").hears("040f0008");
    world.client("C").says("04100008").hears("040e0008");
    world.client("C").says("04100008 the PUBCOMP was lost").hears("040e0008");
    world.client("C").says("080c400001000878 a new message under the free id");
    let publish = world.broker().gets("PUBLISH q2 a/b/c x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0008");
}

#[test]
fn a_repeated_qos_2_publish_that_the_pubrel_has_overtaken_goes_up_once() {
    let mut world = with_topic();
    world.client("C").says("0b0c400001000732332e35");
    let publish = world.broker().gets("PUBLISH q2 a/b/c 23.5");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
    world.client("C").says("0b0cc00001000732332e35").hears("040f0007").says("04100007").hears("040e0007");
    // Without DUP, or with another reading, it is a new message under an id that has become free.
    world.client("C").says("0b0cc00001000732332e36");
    world.broker().gets("PUBLISH q2 a/b/c 23.6");
    world.client("C").says("0b0c400001000832332e35");
    world.broker().gets("PUBLISH q2 a/b/c 23.5");
}

#[test]
fn a_qos_2_exchange_outlives_a_persistent_reconnect_and_sleep() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b/c", 1);
    world.client("C").says("080c400001000878");
    let publish = world.broker().gets("PUBLISH q2 a/b/c x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0008");
    world.client("C").sleeps("c1", 300);
    world.client("C").connects_persistent("c1");
    world.client("C").says("080cc00001000878").hears("040f0008");
    world.client("C").says("04100008").hears("040e0008");
}

#[test]
fn a_clean_connect_forgets_the_exchanges_begun_before() {
    let mut world = with_topic();
    world.client("C").says("080c400001000878");
    let publish = world.broker().gets("PUBLISH q2 a/b/c x");
    world.client("C").connects("c1");
    world.broker().accepts(publish);
    world.client("C").registers("a/b/c", 1);
    world.client("C").says("080c400001000878");
    let publish = world.broker().gets("PUBLISH q2 a/b/c x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0008");
}

#[test]
fn a_qos_2_publish_is_not_taken_for_a_qos_1_publish_under_the_same_id() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b/c", 1);
    world.client("C").says("080c200001000178 QoS 1");
    let first = world.broker().gets("PUBLISH q1 a/b/c x");
    world.client("C").connects_persistent("c1");
    world.client("C").says("080c400001000179 QoS 2, after a restart that began the ids anew");
    let second = world.broker().gets("PUBLISH q2 a/b/c y");
    world.broker().accepts(second);
    world.client("C").hears("040f0001");
    world.broker().accepts(first);
    world.client("C").hears("070d0001000100");
}

#[test]
fn pubrel_is_answered_whatever_its_id() {
    let mut world = with_topic();
    world.client("C").says("04107777").hears("040e7777");
}

#[test]
fn answers_come_back_in_the_broker_s_order() {
    let mut world = with_topic();
    world.client("C").says("080c200001000178");
    let first = world.broker().gets("PUBLISH q1 a/b/c x");
    world.client("C").says("080c200001000279");
    let second = world.broker().gets("PUBLISH q1 a/b/c y");
    world.broker().accepts(second);
    world.client("C").hears("070d0001000200");
    world.broker().accepts(first);
    world.client("C").hears("070d0001000100");
}

#[test]
fn an_answer_for_a_client_that_has_left_is_dropped() {
    let mut world = with_topic();
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b/c x");
    world.client("C").disconnects("c1");
    world.client("D").connects("c2");
    world.broker().accepts(publish);
}

#[test]
fn a_broker_without_qos_2_or_retain_gets_what_it_can_take() {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.max_qos = mqttsn_gateway::wire::Qos::AtLeastOnce;
    world.broker.offer.retain = false;
    world.broker().comes_up();
    world.client("C").connects("c1");
    world.client("C").says("080c526162000878 QoS 2, retain");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0008").says("04100008").hears("040e0008");
}

#[test]
fn a_message_larger_than_the_broker_takes_is_not_supported() {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.max_packet = Some(100);
    world.broker().comes_up();
    world.client("C").connects("c1");
    for (flags, msg_id, ack) in [(0x02, 0, "070d6162000003"), (0x22, 7, "070d6162000703")] {
        let publish = frames::publish(flags, 0x6162, msg_id, &[b'x'; 100]);
        world.client("C").sends(&publish).hears(ack);
        world.notes("refused c1: TooLargeForBroker");
    }
    world.client("C").sends(&frames::publish(0x02, 0x6162, 0, &[b'x'; 80]));
    world.broker().gets(&format!("PUBLISH q0 ab {}", "x".repeat(80)));
}

#[test]
fn qos_minus_one_needs_no_session_and_has_no_answer() {
    let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
    world.client("C").says("080c61000a000078");
    world.broker().gets("PUBLISH q0 pre/defined x");
    world.client("C").says("080c726162000078 retained");
    world.broker().gets("PUBLISH q0 retain ab x");
    world.client("C").says("080c626162123478 whatever its MsgId");
    world.broker().gets("PUBLISH q0 ab x");
}

#[test]
fn qos_minus_one_of_a_connected_client_goes_the_same_way() {
    let mut world = with_topic();
    world.client("C").says("080c61000a000078");
    world.broker().gets("PUBLISH q0 pre/defined x");
    world.client("C").says("080c600001000078 its own registered id");
    world.broker().gets("PUBLISH q0 a/b/c x");
}

#[test]
fn qos_minus_one_that_cannot_be_placed_is_dropped_in_silence() {
    for (publish, why) in [
        ("080c600001000078 a registered id of someone else", "UnknownTopicId { topic: Normal(TopicId(1)) }"),
        ("080c61000b000078", "UnknownTopicId { topic: Predefined(TopicId(11)) }"),
        ("080c62612b000078", "ShortTopic { error: Wildcard }"),
        ("080c63000a000078", "ReservedTopicIdType"),
    ] {
        let mut world = with_topic();
        world.client("D").says(publish);
        world.notes(&format!("anonymous D refused: {why}"));
    }
}

#[test]
fn qos_minus_one_is_dropped_while_the_broker_is_away() {
    let mut world = World::without_broker(|_| {});
    world.client("C").says("080c626162000078");
    let why = if world.keeps() { "NotKept" } else { "BrokerDown" };
    world.notes(&format!("anonymous C refused: {why}"));
}

#[test]
fn qos_minus_one_can_be_switched_off() {
    let mut world = World::with_link(|link| link.qos_minus_one = false);
    world.client("C").says("080c626162000078").hears("070d6162000003 not supported");
    world.notes("anonymous C refused: AnonymousOff");
    world.passes(1.0);
    world.client("C").connects("c1");
    world.client("C").says("080c626162000778").hears("070d6162000703");
    world.notes("anonymous C refused: AnonymousOff");
}

#[test]
fn the_refusals_of_qos_minus_one_go_out_at_the_rate_of_all_answers_to_strangers() {
    let mut world = World::with_link(|link| link.qos_minus_one = false);
    for answer in ["070d6162000003", "", ""] {
        world.client("C").says("080c626162000078");
        world.notes("anonymous C refused: AnonymousOff");
        if !answer.is_empty() {
            world.client("C").hears(answer);
        }
    }
    assert_eq!((world.stats().strays, world.stats().strays_unanswered), (3, 2));
    world.client("C").says("0216");
    assert_eq!(world.stats().strays_unanswered, 3);
    world.passes(1.0);
    world.client("C").says("080c626162000078").hears("070d6162000003");
    world.notes("anonymous C refused: AnonymousOff");
}
