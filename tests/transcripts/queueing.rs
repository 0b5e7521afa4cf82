//! How messages wait for a client that does not take them at once, by the rules for their topics.

use std::time::Duration;

use mqttsn_gateway::core::topics::TopicFilter;
use mqttsn_gateway::core::{QueuePolicy, QueueRule};

use super::World;

fn rule(filter: &str, policy: QueuePolicy) -> QueueRule {
    QueueRule { filter: TopicFilter::parse(filter.as_bytes()).unwrap(), policy, max_age: None }
}

/// A sleeper at C, subscribed to `ab` (id 1) and `cd` (id 2), with room for two messages.
fn asleep(rules: Vec<QueueRule>) -> World {
    let mut world = World::with_settings(|settings| {
        settings.queue = rules;
        settings.limits.queued_messages_per_client = 2;
    });
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("ab", 2, 1);
    world.client("C").subscribes("cd", 2, 2);
    world.client("C").sleeps("c1", 3_000);
    world
}

#[test]
fn without_a_rule_the_oldest_message_goes() {
    let mut world = asleep(vec![]);
    for payload in ["1", "2", "3"] {
        world.broker().publishes("ab", 0, payload);
    }
    world.notes("overflow c1");
    assert_eq!(world.stats().queue_overflows, 1);
    world.client("C").says("04166331").hears("080c000001000032").hears("080c000001000033").hears("0217");
}

#[test]
fn where_the_rule_says_so_the_newest_message_goes() {
    let mut world = asleep(vec![rule("ab", QueuePolicy::DropNewest)]);
    for payload in ["1", "2", "3"] {
        world.broker().publishes("ab", 0, payload);
    }
    world.notes("overflow c1");
    assert_eq!(world.stats().queue_overflows, 1);
    world.client("C").says("04166331").hears("080c000001000031").hears("080c000001000032").hears("0217");
}

#[test]
fn where_the_rule_says_so_only_the_latest_message_of_a_topic_waits() {
    let mut world = asleep(vec![rule("#", QueuePolicy::LatestOnly)]);
    for (topic, payload) in [("ab", "1"), ("cd", "1"), ("ab", "2"), ("cd", "2"), ("ab", "3")] {
        world.broker().publishes(topic, 0, payload);
        if payload > "1" {
            world.notes(&format!("outdated {topic} for c1: Superseded"));
        }
    }
    assert_eq!(world.stats().superseded, 3);
    assert_eq!(world.stats().queue_overflows, 0);
    world.client("C").says("04166331").hears("080c000002000032").hears("080c000001000033").hears("0217");
}

#[test]
fn the_first_rule_that_matches_decides() {
    let mut world = asleep(vec![rule("ab", QueuePolicy::DropNewest), rule("+", QueuePolicy::LatestOnly)]);
    for (topic, payload) in [("ab", "1"), ("cd", "1"), ("cd", "2")] {
        world.broker().publishes(topic, 0, payload);
    }
    world.notes("outdated cd for c1: Superseded");
    world.broker().publishes("ab", 0, "2");
    world.notes("overflow c1");
    world.client("C").says("04166331").hears("080c000001000031").hears("080c000002000032").hears("0217");
}

#[test]
fn a_message_that_gives_way_is_acknowledged_to_the_broker() {
    let mut world = asleep(vec![rule("#", QueuePolicy::LatestOnly)]);
    world.broker().publishes("ab", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.broker().publishes("ab", 1, "2");
    world.notes("outdated ab for c1: Superseded");
    world.broker().gets_if_shared("ACK 2");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("04166331").hears("080c200001000132").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 2");
}

#[test]
fn a_message_that_has_been_sent_already_does_not_give_way() {
    let mut world = asleep(vec![rule("#", QueuePolicy::LatestOnly)]);
    world.broker().publishes("ab", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    // The CONNECT that follows takes it back to the head of the queue.
    world.client("C").connects_persistent("c1");
    world.client("C").hears("080a000100026162");
    world.client("C").sleeps("c1", 3_000);
    for payload in ["2", "3"] {
        world.broker().publishes("ab", 0, payload);
    }
    world.notes("outdated ab for c1: Superseded");
    world.client("C").says("04166331").hears("080a000100026162").says("070b0001000200").hears("080ca00001000131");
    world.client("C").says("070d0001000100").hears("080c000001000033").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_message_that_has_waited_too_long_is_dropped() {
    let max_age = Some(Duration::from_secs(60));
    let mut world = asleep(vec![QueueRule { max_age, ..rule("ab", QueuePolicy::DropOldest) }]);
    world.broker().publishes("ab", 1, "stale");
    world.broker().gets_if_shared("ACK 1");
    world.broker().publishes("cd", 0, "1");
    world.passes(60.0);
    world.client("C").says("04166331").hears("080c000002000031").hears("0217");
    world.notes("outdated ab for c1: TooOld");
    world.broker().gets_if_own("ACK 1");
    assert_eq!(world.stats().expired, 1);
    world.broker().publishes("ab", 0, "1");
    world.passes(59.9);
    world.client("C").says("04166331").hears("080c000001000031").hears("0217");
}

#[test]
fn a_message_that_is_on_its_way_does_not_grow_old() {
    let max_age = Some(Duration::from_secs(15));
    let mut world = asleep(vec![QueueRule { max_age, ..rule("ab", QueuePolicy::DropOldest) }]);
    world.broker().publishes("ab", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.passes(10.0);
    world.client("C").hears("080ca00001000131");
    world.passes(10.0);
    world.client("C").hears("080ca00001000131").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn an_active_client_that_is_slow_loses_by_the_same_rules() {
    let mut world = asleep(vec![rule("ab", QueuePolicy::LatestOnly)]);
    world.client("C").connects_persistent("c1");
    world.client("C").registers("ab", 1);
    world.broker().publishes("ab", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("ab", 0, "2");
    world.broker().publishes("ab", 0, "3");
    world.notes("outdated ab for c1: Superseded");
    world.client("C").says("070d0001000100").hears("080c000001000033");
    world.broker().gets("ACK 1");
}
