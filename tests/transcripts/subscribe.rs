//! SUBSCRIBE and UNSUBSCRIBE (digest §6.4, §10).

use super::World;
use super::world::predefine;

fn connected() -> World {
    let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
    world.client("C").connects("c1");
    world
}

#[test]
fn a_subscription_is_acknowledged_once_the_broker_has_granted_it() {
    for (subscribe, filter, ack) in [
        ("0a1220000d612f622f63 a/b/c", "q1 a/b/c", "0813200001000d00 a normal id"),
        ("0a1220000d612f2b2f63 a/+/c", "q1 a/+/c", "0813200000000d00 no id for a wildcard"),
        ("061240000d23 #", "q2 #", "0813400000000d00"),
        ("07122200116162 short", "q1 ab", "0813206162001100 its two octets"),
        ("07120000116162 two octets by name", "q0 ab", "0813000001001100 a normal id"),
        ("0712210010000a pre-defined", "q1 pre/defined", "081320000a001000 its id"),
    ] {
        let mut world = connected();
        world.client("C").says(subscribe);
        let asked = world.broker().gets(&format!("SUBSCRIBE {filter}"));
        world.passes(3.0);
        world.broker().grants(&asked, filter[1..2].parse().unwrap());
        world.client("C").hears(ack);
    }
}

#[test]
fn the_granted_qos_may_be_lower_than_the_requested_one() {
    let mut world = connected();
    world.client("C").says("081240000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&asked, 0);
    world.client("C").hears("0813000001000d00");
}

#[test]
fn a_repeated_subscribe_is_answered_once_while_the_broker_thinks() {
    let mut world = connected();
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("C").says("0812a0000d612f62 DUP");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200001000d00");
}

#[test]
fn a_repeated_subscribe_is_answered_again_when_its_suback_was_lost() {
    let mut world = connected();
    for subscribe in ["081220000d612f62", "0812a0000d612f62 DUP"] {
        world.client("C").says(subscribe);
        let asked = world.broker().gets("SUBSCRIBE q1 a/b");
        world.broker().grants(&asked, 1);
        world.client("C").hears("0813200001000d00");
    }
    world.broker().publishes("a/b", 1, "once");
    world.client("C").hears("0b0c20000100016f6e6365").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn one_subscribe_is_open_at_a_time() {
    let mut world = connected();
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("C").says("081220000e612f63").hears("0813000000000e01");
    world.notes("refused c1: SubscribeWhileSubscribing");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200001000d00");
}

#[test]
fn what_no_broker_grants_is_refused_at_once() {
    for (subscribe, ack, why) in [
        ("0812600013612f62 QoS -1", "0813000000001303", "SubscribeQosMinusOne"),
        ("0812200000612f62 MsgId 0", "0813000000000003", "SubscribeWithoutMsgId"),
        ("051220000d empty", "0813000000000d03", "SubscribeFilter { error: Empty }"),
        ("071220000d6123 a#", "0813000000000d03", "SubscribeFilter { error: HashNotLast }"),
        ("0a1220000d612f232f62 a/#/b", "0813000000000d03", "SubscribeFilter { error: HashNotLast }"),
        ("071220000d612b a+", "0813000000000d03", "SubscribeFilter { error: PlusInLevel }"),
        ("071220000dc328", "0813000000000d03", "SubscribeFilter { error: NotUtf8 }"),
        ("071220000d6100", "0813000000000d03", "SubscribeFilter { error: ControlCharacter }"),
        ("071222000d2b2b short", "0813000000000d03", "SubscribeFilter { error: Wildcard }"),
        ("071221000d0063 pre-defined 99", "0813000063000d02", "UnknownPredefinedId { topic_id: TopicId(99) }"),
    ] {
        let mut world = connected();
        world.client("C").says(subscribe).hears(ack);
        world.notes(&format!("refused c1: {why}"));
    }
}

#[test]
fn a_reserved_topic_id_type_is_malformed_and_a_client_is_told_so() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").garbles("081223000d612f62").hears("0813000000000d03");
    world.notes("malformed from C: reserved_topic_id_type");
    world.client("C").garbles("081403000e612f62").hears("0415000e");
    world.notes("malformed from C: reserved_topic_id_type");
    assert_eq!(world.stats().malformed, 2);
    world.client("D").garbles("081223000d612f62");
    world.notes("malformed from D: reserved_topic_id_type");
    world.client("C").garbles("061222001161 short, one octet");
    world.notes("malformed from C: topic_field_size");
}

#[test]
fn the_broker_s_refusal_reaches_the_client() {
    for (reason, code) in [(0x80, "03"), (0x87, "03"), (0x97, "01")] {
        let mut world = connected();
        world.client("C").says("081220000d612f62");
        let asked = world.broker().gets("SUBSCRIBE q1 a/b");
        world.broker().refuses_subscribe(&asked, reason);
        world.client("C").hears(&format!("0813000000000d{code} no id"));
        world.notes(&format!("refused c1: SubscribeByBroker {{ reason: BrokerReason({reason}) }}"));
        world.broker().gets_if_shared("UNSUBSCRIBE a/b");
    }
}

#[test]
fn a_refused_predefined_id_is_echoed_and_a_short_name_is_not() {
    for (subscribe, filter, ack) in [
        ("0712210010000a pre-defined", "pre/defined", "081300000a001003"),
        ("07122200106162 short", "ab", "0813000000001003"),
    ] {
        let mut world = connected();
        world.client("C").says(subscribe);
        let asked = world.broker().gets_subscribe(filter);
        world.broker().refuses_subscribe(&asked, 0x87);
        world.client("C").hears(ack);
        world.notes("refused c1: SubscribeByBroker { reason: BrokerReason(135) }");
        world.broker().gets_if_shared(&format!("UNSUBSCRIBE {filter}"));
    }
}

#[test]
fn while_the_broker_is_away_a_subscribe_is_congestion() {
    let mut world = connected();
    world.broker().goes_down();
    world.client("C").says("081220000d612f62").hears("0813000000000d01");
    world.notes("refused c1: SubscribeWithoutBroker");
    world.client("C").says("0712210010000a").hears("081300000a001001");
    world.notes("refused c1: SubscribeWithoutBroker");
}

#[test]
fn a_subscribe_lost_with_the_connection_is_congestion() {
    let mut world = connected();
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().goes_down();
    world.broker().loses_subscribe(&asked);
    world.client("C").hears("0813000000000d01");
    world.notes("refused c1: SubscribeLost");
    world.broker().gets_if_shared("UNSUBSCRIBE a/b");
}

#[test]
fn an_unsubscribe_is_acknowledged_whatever_it_names() {
    for unsubscribe in [
        "051400000d empty",
        "071400000d612b a bad filter",
        "071401000d0063 an unknown pre-defined id",
        "071402000d2b2b a bad short name",
    ] {
        let mut world = connected();
        world.client("C").says(unsubscribe).hears("0415000d");
    }
}

#[test]
fn an_unsubscribe_from_what_was_never_subscribed_is_acknowledged() {
    let mut world = connected();
    world.client("C").says("081400000d612f62 a/b").hears("0415000d");
    world.broker().gets_if_own("UNSUBSCRIBE a/b");
}

#[test]
fn an_unsubscribe_ends_the_subscription() {
    let mut world = connected();
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.client("C").says("081400000d612f62 again").hears("0415000d");
    // On a connection of its own the broker may know of subscriptions that the gateway does not.
    world.broker().gets_if_own("UNSUBSCRIBE a/b");
    world.client("C").registers("a/b", 1);
}

#[test]
fn an_unsubscribe_may_name_the_topic_another_way() {
    let mut world = connected();
    world.client("C").subscribes("pre/defined", 1, 1);
    world.client("C").says("071401000d000a by pre-defined id").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE pre/defined");
    world.client("C").subscribes("ab", 1, 2);
    world.client("C").says("071402000d6162 by short name").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE ab");
}

#[test]
fn an_unsubscribe_while_the_broker_thinks_ends_the_subscription_too() {
    let mut world = connected();
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("C").says("081400000e612f62").hears("0813000000000d01 not any more").hears("0415000e");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().grants(&asked, 1);
    world.client("C").subscribes("a/b", 1, 1);
}

#[test]
fn a_subscription_may_change_its_qos() {
    let mut world = connected();
    world.client("C").subscribes("a/b", 2, 1);
    world.client("C").subscribes("a/b", 0, 1);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_renewed_subscribe_that_the_broker_refuses_leaves_the_granted_subscription() {
    let mut world = connected();
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("081240000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().refuses_subscribe(&asked, 0x97);
    world.client("C").hears("0813000000000d01");
    world.notes("refused c1: SubscribeByBroker { reason: BrokerReason(151) }");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
    world.client("C").says("081400000e612f62").hears("0415000e");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_renewed_subscribe_that_is_lost_leaves_the_granted_subscription() {
    let mut world = connected();
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().loses_subscribe(&asked);
    world.client("C").hears("0813000000000d01");
    world.notes("refused c1: SubscribeLost");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_connect_takes_back_a_subscribe_that_the_broker_has_not_answered() {
    for flags in [0x00, 0x04] {
        let mut world = World::with_broker();
        world.client("C").sends(&super::frames::connect("c1", flags, 60)).hears("030500");
        world.ignore();
        world.client("C").says("081220000d612f62");
        let asked = world.broker().gets("SUBSCRIBE q1 a/b");
        world.client("C").sends(&super::frames::connect("c1", flags, 60)).hears("030500");
        world.broker().gets("UNSUBSCRIBE a/b");
        world.ignore();
        world.broker().grants(&asked, 1);
        world.client("C").subscribes("c", 1, if flags == 0x00 { 2 } else { 1 });
    }
}

#[test]
fn a_connect_that_takes_back_a_renewed_subscribe_leaves_the_granted_subscription() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("C").connects_persistent("c1");
    world.broker().grants(&asked, 1);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c000001000078");
}

#[test]
fn an_unsubscribe_takes_back_a_renewed_subscribe_and_the_granted_one() {
    let mut world = connected();
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("081240000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q2 a/b");
    world.client("C").says("081400000e612f62").hears("0813000000000d01").hears("0415000e");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().grants(&asked, 2);
}

#[test]
fn an_unsubscribe_from_something_else_leaves_a_subscribe_alone() {
    let mut world = connected();
    world.client("C").subscribes("c", 1, 1);
    world.client("C").says("081220000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.client("C").says("061400000e63").hears("0415000e");
    world.broker().gets("UNSUBSCRIBE c");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200002000d00");
}
