//! What the gateway sends again, and when it gives up (digest §11, §16).

use std::time::Duration;

use mqttsn_gateway::core::topics::TopicFilter;
use mqttsn_gateway::core::{QueuePolicy, QueueRule};

use super::World;

fn subscribed() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world
}

/// The client talks and never answers `frame`, which is out already: it is sent three times more, and then rests.
fn rests(world: &mut World, frame: &str) {
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears(frame);
    }
    world.client("C").says("0216").hears("0217");
    world.passes(10.0);
}

/// Five minutes pass, in which the client says that it is alive.
fn passes_a_rest(world: &mut World) {
    for _ in 0..5 {
        world.client("C").says("0216").hears("0217");
        world.passes(60.0);
    }
}

#[test]
fn an_unanswered_publish_is_sent_again_with_dup_and_then_the_client_is_lost() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    for _ in 0..3 {
        world.passes(9.9);
        world.passes(0.1);
        world.client("C").hears("080ca00001000178 DUP");
    }
    world.passes(9.9);
    world.passes(0.1);
    world.client("C").hears("0218");
    world.notes("lost c1: NoAnswer");
    world.broker().gets_if_shared("ACK 1");

    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010002612f62").says("070b0001000200");
    if world.is_shared() {
        world.client("C").hears("080ca00001000178 the message was kept").says("070d0001000100");
    } else {
        world.client("C").hears("080c200001000378 the broker has sent it again").says("070d0001000300");
        world.broker().gets("ACK 2");
    }
}

#[test]
fn an_unanswered_register_is_sent_again_under_the_same_message_id() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("090a00010001612f62");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("090a00010001612f62");
    }
    world.passes(10.0);
    world.client("C").hears("0218");
    world.notes("lost c1: NoAnswer");
    world.broker().gets("UNSUBSCRIBE a/+");
    world.broker().gets("ACK 1");
}

#[test]
fn an_unanswered_pubrel_is_sent_again() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("080c400001000178").says("040f0001").hears("04100001");
    world.broker().gets_unless_kept("ACK 1");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("04100001");
    }
    world.passes(10.0);
    world.client("C").hears("0218");
    world.notes("lost c1: NoAnswer");

    world.client("C").connects_persistent("c1");
    world.client("C").hears("04100001 the exchange goes on").says("040e0001");
}

#[test]
fn every_step_has_a_full_set_of_resends() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+", 2, 0);
    world.broker().publishes("a/b", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("090a00010001612f62");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("090a00010001612f62");
    }
    world.client("C").says("070b0001000100").hears("080c400001000278");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("080cc00001000278");
    }
    world.client("C").says("040f0002").hears("04100002");
    world.broker().gets_unless_kept("ACK 1");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("04100002");
    }
    world.client("C").says("040e0002");
}

#[test]
fn a_client_that_talks_and_does_not_acknowledge_is_left_alone_for_a_while_and_loses_nothing() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("080ca00001000131");
        world.client("C").says("0216").hears("0217");
    }
    world.passes(10.0);
    world.notes("c1 does not acknowledge a/b");
    for number in 1..=2 {
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    passes_a_rest(&mut world);
    world.client("C").hears("080ca00001000131").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070d0001000200");
    world.broker().gets_if_own("ACK 2");
}

#[test]
fn a_client_that_never_acknowledges_does_not_hold_the_broker_s_window() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    rests(&mut world, "080ca00001000131");
    world.notes("c1 does not acknowledge a/b");
    world.broker().gets_if_shared("ACK 1");
    for number in 2..=20 {
        world.broker().publishes("a/b", 1, "more");
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    passes_a_rest(&mut world);
    for _ in 0..4 {
        world.client("C").hears("080ca00001000131").says("0216").hears("0217");
        world.passes(10.0);
    }
    world.broker().publishes("a/b", 1, "while it is left alone again");
    world.broker().gets_if_shared("ACK 21");
}

#[test]
fn a_busy_client_does_not_hold_the_broker_s_window() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    world.client("C").says("070d0001000101 congestion");
    for number in 1..=2 {
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    world.broker().publishes("a/b", 1, "3");
    world.broker().gets_if_shared("ACK 3");
}

#[test]
fn a_message_at_rest_that_is_too_old_when_it_would_be_tried_again_is_dropped_and_the_next_one_comes() {
    let mut world = World::with_settings(|settings| {
        settings.queue = vec![QueueRule {
            filter: TopicFilter::parse(b"a/b").unwrap(),
            policy: QueuePolicy::DropOldest,
            max_age: Some(Duration::from_secs(200)),
        }];
    });
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    rests(&mut world, "080ca00001000131");
    world.notes("c1 does not acknowledge a/b");
    world.broker().gets_if_shared("ACK 1");
    for _ in 0..4 {
        world.client("C").says("0216").hears("0217");
        world.passes(60.0);
    }
    world.broker().publishes("a/b", 1, "2");
    world.broker().gets_if_shared("ACK 2");
    world.client("C").says("0216").hears("0217");
    world.passes(60.0);
    world.notes("outdated a/b for c1: TooOld");
    world.broker().gets_if_own("ACK 1");
    world.client("C").hears("080c200001000232").says("070d0001000200");
    world.broker().gets_if_own("ACK 2");
    assert_eq!(world.stats().expired, 1);
}

#[test]
fn a_message_whose_pubrel_is_never_answered_is_taken_as_delivered_after_a_rest() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("080c400001000178").says("040f0001").hears("04100001");
    world.broker().gets_unless_kept("ACK 1");
    world.broker().publishes("a/b", 1, "2");
    rests(&mut world, "04100001");
    world.notes("c1 does not acknowledge a/b");
    world.broker().gets_if_shared("ACK 2");
    passes_a_rest(&mut world);
    for _ in 0..4 {
        world.client("C").hears("04100001").says("0216").hears("0217");
        world.passes(10.0);
    }
    world.client("C").hears("080c200001000232").says("070d0001000200");
    world.broker().gets_if_own("ACK 2");
    world.client("C").says("040f0001 a late PUBREC").hears("04100001");
}

#[test]
fn a_message_at_rest_is_acknowledged_late_and_the_next_one_follows_at_once() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    rests(&mut world, "080ca00001000131");
    world.notes("c1 does not acknowledge a/b");
    for number in 1..=2 {
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    world.client("C").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_client_that_falls_silent_while_a_message_rests_is_lost_by_its_keep_alive() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    rests(&mut world, "080ca00001000131");
    world.notes("c1 does not acknowledge a/b");
    world.broker().gets_if_shared("ACK 1");
    world.passes(79.9);
    world.passes(0.1);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn a_client_that_has_had_its_rest_and_is_silent_then_is_lost() {
    let mut world = World::with_broker();
    world.client("C").says("08040001ffff6331 a long keep-alive").hears("030500");
    world.notes("connected c1, persistent");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    rests(&mut world, "080ca00001000131");
    world.notes("c1 does not acknowledge a/b");
    world.broker().gets_if_shared("ACK 1");
    world.passes(300.0);
    for _ in 0..4 {
        world.client("C").hears("080ca00001000131");
        world.passes(10.0);
    }
    world.client("C").hears("0218");
    world.notes("lost c1: NoAnswer");
}

#[test]
fn a_topic_whose_register_is_ignored_twice_over_is_refused_and_the_others_go_on() {
    let mut world = World::with_broker();
    world.client("C").says("08040001ffff6331 a long keep-alive").hears("030500");
    world.notes("connected c1, persistent");
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("090a00010001612f62");
    world.broker().publishes("a/c", 1, "2");
    rests(&mut world, "090a00010001612f62");
    world.notes("c1 does not acknowledge a/b");
    for number in 1..=2 {
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    world.passes(300.0);
    for _ in 0..4 {
        world.client("C").hears("090a00010001612f62").says("0216").hears("0217");
        world.passes(10.0);
    }
    world.notes("undeliverable c1 a/b: NoAnswer");
    world.broker().gets_if_own("ACK 1");
    world.client("C").hears("090a00020002612f63").says("070b0002000200").hears("080c200002000332");
    world.client("C").says("070d0002000300");
    world.broker().gets_if_own("ACK 2");
    world.broker().publishes("a/b", 1, "3");
    world.notes("undeliverable c1 a/b: TopicRefused");
    world.broker().gets("ACK 3");
}

#[test]
fn a_busy_client_is_left_alone_until_it_says_something() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000101 congestion");
    world.broker().gets_if_shared("ACK 1");
    world.passes(80.0);
    world.client("C").says("0216").hears("0217").hears("080ca00001000178");
    world.client("C").says("070d0001000100");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_message_that_was_held_back_is_sent_as_often_as_any_other() {
    let mut world = World::with_broker();
    world.client("C").says("08040001ffff6331 a long keep-alive").hears("030500");
    world.notes("connected c1, persistent");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000101 congestion");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("0216").hears("0217");
    for _ in 0..4 {
        world.client("C").hears("080ca00001000178");
        world.passes(10.0);
    }
    world.client("C").hears("0218");
    world.notes("lost c1: NoAnswer");
}

#[test]
fn a_busy_client_that_stays_silent_is_tried_again_after_t_wait() {
    let mut world = World::with_broker();
    world.client("C").says("08040001ffff6331 a long keep-alive").hears("030500");
    world.notes("connected c1, persistent");
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("090a00010001612f62").says("070b0001000101 congestion");
    world.broker().gets_if_shared("ACK 1");
    world.passes(299.9);
    world.passes(0.1);
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000278");
    world.client("C").says("070d0001000201 congestion again");
    world.passes(300.0);
    world.client("C").hears("080ca00001000278").says("070d0001000200");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_reconnect_sends_what_was_in_flight_at_once() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080ca00001000178");
    world.client("C").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn a_late_acknowledgement_of_what_was_sent_twice_is_ignored() {
    let mut world = subscribed();
    world.broker().publishes("a/b", 1, "1");
    world.client("C").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    world.passes(10.0);
    world.client("C").hears("080ca00001000131").says("070d0001000100").hears("080c200001000232");
    world.broker().gets("ACK 1");
    world.client("C").says("070d0001000100 for the second copy");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 2");
}

#[test]
fn message_ids_count_on_and_skip_zero() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    for round in 1..=65_537_u32 {
        let msg_id = if round <= 65_535 { round } else { round - 65_535 };
        world.broker().publishes("a/b", 1, "x");
        world.client("C").hears(&format!("080c200001{msg_id:04x}78")).says(&format!("070d0001{msg_id:04x}00"));
        world.broker().gets(&format!("ACK {round}"));
    }
}
