//! Which message reaches whom over one shared connection: +, #, $-topics, overlapping filters, identifiers.

use super::World;
use super::broker::Asked;
use super::frames;

#[test]
fn filters_match_as_mqtt_has_it() {
    for (filter, topics, others) in [
        ("a/+/c", &["a/b/c", "a//c"][..], &["a/c", "a/b/c/d", "a/b/b/c"][..]),
        ("a/#", &["a", "a/b", "a/b/c", "a/"][..], &["b", "aa", "/a"][..]),
        ("#", &["a", "a/b", "/"][..], &["$SYS/a", "$a"][..]),
        ("+", &["a", "long"][..], &["a/b", "/a", "$SYS"][..]),
        ("+/a", &["/a", "b/a"][..], &["$SYS/a", "a"][..]),
        ("$SYS/#", &["$SYS/a", "$SYS"][..], &["a", "$SYSTEM/a"][..]),
        ("/+", &["/a", "/"][..], &["a", "//"][..]),
        ("a/b", &["a/b"][..], &["a/B", "a/b/", "a"][..]),
    ] {
        let mut world = World::with_an_old_broker();
        world.client("C").connects("c1");
        for topic in topics.iter().filter(|topic| topic.len() != 2) {
            world.client("C").sends(&frames::register(topic, 1));
            world.ignore();
        }
        world.client("C").sends(&frames::subscribe(filter, 0, 13));
        let asked = world.broker().gets_subscribe(filter);
        world.broker().grants(&asked, 0);
        world.ignore();
        for topic in topics {
            world.broker().publishes(topic, 0, "x");
            assert_eq!(world.frames_to("C"), 1, "{filter} matches {topic}");
        }
        for topic in others {
            world.broker().publishes(topic, 0, "x");
            assert_eq!(world.frames_to("C"), 0, "{filter} does not match {topic}");
        }
    }
}

#[test]
fn a_message_reaches_its_subscribers_and_nobody_else() {
    let mut world = World::with_broker();
    for (name, id, filter) in [("C", "c1", "a/b"), ("D", "c2", "a/+"), ("E", "c3", "b/#")] {
        world.client(name).connects(id);
        world.client(name).registers("a/b", 1);
        let topic_id = if filter == "a/b" { 1 } else { 0 };
        world.client(name).subscribes(filter, 0, topic_id);
    }
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.client("D").hears("080c000001000078");
}

/// One client with the filters `a/b` at QoS 1 and `a/+` at QoS 0.
fn overlapping(identifiers: bool) -> (World, Asked, Asked) {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.subscription_ids = identifiers;
    world.broker().comes_up();
    world.client("C").connects("c1");
    world.client("C").says("081220000d612f62");
    let plain = world.broker().gets_subscribe("a/b");
    world.broker().grants(&plain, 1);
    world.client("C").hears("0813200001000d00");
    world.client("C").says("081200000d612f2b");
    let wild = world.broker().gets_subscribe("a/+");
    world.broker().grants(&wild, if identifiers { 0 } else { 1 });
    if !identifiers {
        world.broker().gets("UNSUBSCRIBE a/b");
    }
    world.client("C").hears("0813000000000d00");
    (world, plain, wild)
}

#[test]
fn overlapping_filters_bring_one_copy_at_the_best_qos_when_the_broker_sends_one() {
    for identifiers in [true, false] {
        let (mut world, ..) = overlapping(identifiers);
        world.broker().publishes("a/b", 1, "x");
        world.client("C").hears("080c200001000178").says("070d0001000100");
        world.broker().gets("ACK 1");
    }
}

#[test]
fn overlapping_filters_bring_one_copy_at_the_best_qos_when_the_broker_sends_two() {
    let (mut world, plain, wild) = overlapping(true);
    world.broker().publishes_for(&[&wild], "a/b", 0, "x");
    world.broker().publishes_for(&[&plain], "a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

/// One client with the filters `a/b` at QoS 1 and, later, `a/+` at QoS 2.
fn raised() -> (World, Asked, Asked) {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").sends(&frames::subscribe("a/b", 1, 7));
    let plain = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&plain, 1);
    world.client("C").hears("0813200001000700");
    world.client("C").sends(&frames::subscribe("a/+", 2, 8));
    let wild = world.broker().gets("SUBSCRIBE q2 a/+");
    world.broker().grants(&wild, 2);
    world.client("C").hears("0813400000000800");
    (world, plain, wild)
}

#[test]
fn a_message_from_before_the_best_filter_comes_with_the_copy_for_another() {
    let (mut world, plain, wild) = raised();
    world.broker().publishes_for(&[&plain], "a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
    world.broker().publishes_for(&[&wild], "a/b", 1, "y");
    world.client("C").hears("080c200001000279").says("070d0001000200");
    world.broker().gets("ACK 2");
    world.broker().publishes_for(&[&plain], "a/b", 1, "y");
    world.broker().gets("ACK 3");
}

#[test]
fn the_first_message_for_a_new_filter_comes_once_whichever_copy_is_first() {
    let (mut world, plain, wild) = raised();
    world.broker().publishes_for(&[&plain], "a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
    world.broker().publishes_for(&[&wild], "a/b", 1, "x");
    world.broker().gets("ACK 2");
    world.broker().publishes_for(&[&plain], "a/b", 1, "y");
    world.broker().gets("ACK 3");
    world.broker().publishes_for(&[&wild], "a/b", 1, "y");
    world.client("C").hears("080c200001000279").says("070d0001000200");
    world.broker().gets("ACK 4");
}

#[test]
fn overlapping_filters_of_two_clients_bring_each_one_copy() {
    let mut world = World::with_broker();
    for (name, id) in [("C", "c1"), ("D", "c2")] {
        world.client(name).connects(id);
        world.client(name).registers("a/b", 1);
    }
    world.client("C").says("081200000d612f62");
    let plain = world.broker().gets("SUBSCRIBE q0 a/b");
    world.broker().grants(&plain, 0);
    world.client("C").hears("0813000001000d00");
    world.client("D").says("081200000d612f2b");
    let wild = world.broker().gets("SUBSCRIBE q0 a/+");
    world.broker().grants(&wild, 0);
    world.client("D").hears("0813000000000d00");

    world.broker().publishes_for(&[&plain], "a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.broker().publishes_for(&[&wild], "a/b", 0, "x");
    world.client("D").hears("080c000001000078");
}

#[test]
fn a_second_subscription_that_the_broker_has_not_granted_takes_nothing_away() {
    let (mut world, plain, _) = overlapping(true);
    world.client("C").says("061240000e23 #");
    let all = world.broker().gets("SUBSCRIBE q2 #");
    world.broker().publishes_for(&[&plain], "a/b", 1, "x");
    world.broker().refuses_subscribe(&all, 0x87);
    world.client("C").hears("0813000000000e03").hears("080c200001000178");
    world.notes("refused c1: SubscribeByBroker { reason: BrokerReason(135) }");
    world.broker().gets("UNSUBSCRIBE #");
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn the_former_identifier_of_a_filter_counts_until_the_broker_has_answered() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").says("081200000d612f62");
    let first = world.broker().gets("SUBSCRIBE q0 a/b");
    world.broker().grants(&first, 0);
    world.client("C").hears("0813000001000d00");
    for _ in 0..10 {
        world.passes(60.0);
        world.client("C").says("0216").hears("0217");
        world.client("D").says("0216").hears("0217");
    }

    world.client("D").says("081200000d612f62");
    let second = world.broker().gets("SUBSCRIBE q0 a/b");
    world.broker().publishes_for(&[&first], "a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.broker().grants(&second, 0);
    world.client("D").hears("0813000001000d00").hears("080c000001000078");
    world.broker().publishes_for(&[&first], "a/b", 0, "y");
    world.client("C").hears("080c000001000079 queued by the broker before it granted the second");
    world.client("D").hears("080c000001000079");
    world.broker().publishes_for(&[&second], "a/b", 0, "z");
    world.client("C").hears("080c00000100007a");
    world.client("D").hears("080c00000100007a");
}

#[test]
fn the_former_identifier_of_a_filter_counts_for_ever_if_the_broker_has_refused_the_next() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("081200000d612f62");
    let first = world.broker().gets("SUBSCRIBE q0 a/b");
    world.broker().grants(&first, 0);
    world.client("C").hears("0813000001000d00");
    for _ in 0..3 {
        for _ in 0..10 {
            world.passes(60.0);
            world.client("C").says("0216").hears("0217");
        }
        world.client("D").connects("c2");
        world.client("D").says("081200000d612f62");
        let next = world.broker().gets("SUBSCRIBE q0 a/b");
        world.broker().refuses_subscribe(&next, 0x97);
        world.client("D").hears("0813000000000d01");
        world.notes("refused c2: SubscribeByBroker { reason: BrokerReason(151) }");
        world.client("D").disconnects("c2");
    }
    world.broker().publishes_for(&[&first], "a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn while_filters_are_renewed_an_overlapping_one_that_is_not_yet_renewed_takes_nothing_away() {
    let (mut world, ..) = overlapping(true);
    world.broker().comes_up();
    let plain = world.broker().gets("SUBSCRIBE q1 a/b");
    let wild = world.broker().gets("SUBSCRIBE q0 a/+");
    world.broker().grants(&wild, 0);
    world.broker().publishes_for(&[&wild], "a/b", 0, "x");
    world.client("C").hears("080c000001000078");
    world.broker().grants(&plain, 1);
    world.broker().publishes_for(&[&wild], "a/b", 0, "y");
    world.broker().publishes_for(&[&plain], "a/b", 1, "y");
    world.client("C").hears("080c200001000179").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn clients_do_not_wait_for_one_another_but_the_broker_waits_for_all() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("D").connects("c2");
    world.client("D").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.client("D").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    world.client("D").says("070d0001000100").hears("080c200001000232");
    world.client("D").says("070d0001000200");
    world.client("C").says("070d0001000100").hears("080c200001000232");
    world.broker().gets("ACK 1");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 2");
}

#[test]
fn a_broker_that_knows_no_identifiers_is_served_as_well() {
    let mut world = World::with_an_old_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
    world.broker().publishes("nobody/wants", 1, "x");
    world.broker().gets("ACK 2");
}

#[test]
fn a_shared_subscription_is_refused() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").sends(&frames::subscribe("$share/g/a", 1, 13)).hears("0813000000000d03");
    world.notes("refused c1: SharedSubscription");
}

#[test]
fn clients_with_the_same_filter_share_one_subscription() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("D").subscribes("a/b", 1, 1);
    world.client("C").says("081400000d612f62").hears("0415000d");
    world.client("D").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_shared_filter_is_asked_for_at_the_highest_qos_and_delivered_at_each_client_s_own() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").says("081240000d612f62 QoS 2");
    let asked = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&asked, 2);
    world.client("C").hears("0813400001000d00");
    world.client("D").says("081200000d612f62 QoS 0");
    let asked = world.broker().gets("SUBSCRIBE q2 a/b");
    world.broker().grants(&asked, 2);
    world.client("D").hears("0813000001000d00");

    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178 QoS 1, as published");
    world.client("D").hears("080c000001000078 QoS 0, as subscribed");
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_client_that_did_not_unsubscribe_does_not_end_another_s_subscription() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("D").says("081400000d612f62").hears("0415000d");
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_message_that_nobody_wants_is_acknowledged() {
    let mut world = World::with_broker();
    world.broker().publishes("a/b", 1, "x");
    world.broker().gets("ACK 1");
    world.broker().publishes("a/b", 0, "x");
}

#[test]
fn a_slow_client_does_not_hold_the_broker_s_window() {
    let mut world = World::with_settings(|settings| settings.limits.unacknowledged_deliveries = 2);
    world.client("C").connects("c1");
    world.client("C").subscribes("ab", 1, 1);
    world.client("D").connects("c2");
    world.client("D").subscribes("#", 1, 0);
    world.broker().publishes("ab", 1, "1");
    world.client("C").hears("080c200001000131");
    world.client("D").hears("080c226162000131").says("070d6162000100");
    world.broker().publishes("ab", 1, "2");
    world.client("D").hears("080c226162000232").says("070d6162000200");
    world.broker().publishes("ab", 1, "3");
    world.client("D").hears("080c226162000333");
    world.broker().gets("ACK 1");
    world.client("D").says("070d6162000300");
    // What is stored is the gateway's to answer for, and not acknowledged too early.
    assert_eq!(world.stats().acknowledged_early, u64::from(!world.keeps()));
    world.client("C").says("070d0001000100").hears("080c200001000232");
    world.client("C").says("070d0001000200").hears("080c200001000333");
    world.broker().gets("ACK 2");
    world.client("C").says("070d0001000300");
    world.broker().gets("ACK 3");
}
