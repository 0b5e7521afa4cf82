//! Which message reaches whom over one shared connection: +, #, $-topics, overlapping filters, identifiers.

use super::World;

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
        let mut world = World::without_broker(|_| {});
        world.broker.offer.subscription_ids = false;
        world.broker().comes_up();
        world.client("C").connects("c1");
        for topic in topics.iter().filter(|topic| topic.len() != 2) {
            world.client("C").sends(&super::frames::register(topic, 1));
            world.ignore();
        }
        world.client("C").sends(&super::frames::subscribe(filter, 0, 13));
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
fn overlapping(identifiers: bool) -> (World, crate::broker::Asked, crate::broker::Asked) {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.subscription_ids = identifiers;
    world.broker().comes_up();
    world.client("C").connects("c1");
    world.client("C").says("081220000d612f62");
    let plain = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&plain, 1);
    world.client("C").hears("0813200001000d00");
    world.client("C").says("081200000d612f2b");
    let wild = world.broker().gets("SUBSCRIBE q0 a/+");
    world.broker().grants(&wild, 0);
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
