//! Everything that can grow has a bound, and what hits it is refused, dropped or acknowledged early.

use mqttsn_gateway::core::Limits;

use super::World;
use super::frames;

fn with_limits(change: impl FnOnce(&mut Limits)) -> World {
    let mut world = World::with_settings(|settings| change(&mut settings.limits));
    world.client("C").connects("c1");
    world
}

#[test]
fn one_client_too_many_is_told_congestion() {
    let mut world = World::with_settings(|settings| settings.limits.clients = 2);
    world.client("C").connects_persistent("c1");
    world.client("D").connects("c2");
    world.client("E").says("08040401003c6333").hears("030501");
    world.notes("CONNECT of E refused: TooManyClients { limit: 2 }");
    world.client("C").connects_persistent("c1");
    world.client("C").disconnects("c1");
    world.client("E").says("08040401003c6333").hears("030501 a persistent session counts");
    world.notes("CONNECT of E refused: TooManyClients { limit: 2 }");
    world.client("D").disconnects("c2");
    world.client("E").connects("c3");
}

#[test]
fn where_there_is_no_place_a_client_may_have_the_one_that_it_frees() {
    let mut world = World::with_settings(|settings| settings.limits.clients = 1);
    world.client("C").connects("c1");
    world.client("C").says("08040401003c6332").hears("030500");
    world.notes("replaced c1 by c2");
    world.notes("connected c2");
    world.client("C").says("08040c01003c6333 with a will").hears("0206");
    world.notes("replaced c2 by c3");
    world.client("C").says("08040001003c6334").hears("030500 a handshake is not kept either");
    world.notes("replaced c3 by c4");
    world.notes("connected c4, persistent");
    world.client("C").says("08040401003c6335").hears("030501 a persistent session is kept");
    world.notes("CONNECT of C refused: TooManyClients { limit: 1 }");
    world.client("C").says("0216").hears("0217");
}

#[test]
fn one_subscription_too_many_is_told_congestion() {
    let mut world = with_limits(|limits| limits.subscriptions_per_client = 1);
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("081220000d612f63").hears("0813000000000d01");
    world.notes("refused c1: TooManySubscriptions { limit: 1 }");
    world.client("C").subscribes("a/b", 0, 1);
    world.client("C").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.client("C").subscribes("a/c", 0, 2);
}

#[test]
fn a_subscription_whose_topic_gets_no_id_is_told_congestion() {
    let mut world = with_limits(|limits| limits.topics_per_client = 1);
    world.client("C").registers("a", 1);
    world.client("C").says("081220000d612f62").hears("0813000000000d01");
    world.notes("refused c1: TooManyTopics { limit: 1 }");
    world.client("C").subscribes("a/+", 1, 0);
}

#[test]
fn a_message_whose_topic_gets_no_id_is_dropped() {
    let mut world = with_limits(|limits| limits.topics_per_client = 1);
    world.client("C").registers("a/b", 1);
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/c", 1, "x");
    world.notes("undeliverable c1 a/c: TooManyTopics");
    world.broker().gets("ACK 1");
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn one_publish_too_many_of_a_client_is_told_congestion() {
    let mut world = with_limits(|limits| limits.publishes_per_client = 2);
    world.client("C").says("080c226162000178");
    let first = world.broker().gets("PUBLISH q1 ab x");
    world.client("C").says("080c426162000278");
    world.broker().gets("PUBLISH q2 ab x");
    world.client("C").says("080c226162000378").hears("070d6162000301");
    world.notes("refused c1: TooManyPublishes");
    world.client("C").says("080c026162000078 QoS 0 needs no room");
    world.broker().gets("PUBLISH q0 ab x");
    world.broker().accepts(first);
    world.client("C").hears("070d6162000100").says("080c226162000378");
    world.broker().gets("PUBLISH q1 ab x");
}

#[test]
fn qos_2_exchanges_that_nobody_releases_make_room() {
    let mut world = with_limits(|limits| limits.publishes_per_client = 2);
    for msg_id in 1..=5 {
        world.client("C").sends(&frames::publish(0x42, 0x6162, msg_id, b"x"));
        let publish = world.broker().gets("PUBLISH q2 ab x");
        world.broker().accepts(publish);
        world.client("C").hears(&format!("040f{msg_id:04x}"));
    }
    world.client("C").says("04100001").hears("040e0001");
}

#[test]
fn one_publish_too_many_of_all_clients_is_told_congestion() {
    let mut world = with_limits(|limits| limits.publishes_in_flight = 1);
    world.client("D").connects("c2");
    world.client("C").says("080c226162000178");
    let first = world.broker().gets("PUBLISH q1 ab x");
    world.client("D").says("080c226162000178").hears("070d6162000101");
    world.notes("refused c2: TooManyPublishes");
    world.client("C").disconnects("c1");
    if world.is_shared() {
        world.client("D").says("080c226162000178").hears("070d6162000101 the broker still has it");
        world.notes("refused c2: TooManyPublishes");
        world.broker().accepts(first);
    }
    world.client("D").says("080c226162000178");
    world.broker().gets("PUBLISH q1 ab x");
}

#[test]
fn a_queue_that_is_full_loses_its_oldest_message() {
    let mut world = with_limits(|limits| limits.queued_messages_per_client = 2);
    world.client("C").subscribes("ab", 1, 1);
    world.client("C").sleeps("c1", 300);
    for (payload, number) in [("1", 1), ("2", 2)] {
        world.broker().publishes("ab", 1, payload);
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    world.broker().publishes("ab", 1, "3");
    world.notes("overflow c1");
    world.broker().gets_if_shared("ACK 3");
    world.broker().gets_if_own("ACK 1");
    world.broker().publishes("ab", 1, "4");
    world.broker().gets_if_shared("ACK 4");
    world.broker().gets_if_own("ACK 2");
    assert_eq!(world.stats().queue_overflows, 2);
    world.client("C").says("04166331").hears("080c200001000133");
    world.client("C").says("070d0001000100").hears("080c200001000234");
    world.broker().gets_if_own("ACK 3");
    world.client("C").says("070d0001000200").hears("0217");
    world.broker().gets_if_own("ACK 4");
}

#[test]
fn a_queue_is_bounded_in_octets_too() {
    let mut world = with_limits(|limits| limits.queued_bytes_per_client = 10);
    world.client("C").subscribes("ab", 1, 1);
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("ab", 0, "123");
    world.broker().publishes("ab", 0, "456");
    world.broker().publishes("ab", 0, "7");
    world.notes("overflow c1");
    world.broker().publishes("ab", 0, "larger than all");
    world.client("C").says("04166331").hears("0217");
}

#[test]
fn an_overflow_is_said_again_once_the_queue_has_been_empty() {
    let mut world = with_limits(|limits| limits.queued_messages_per_client = 1);
    world.client("C").subscribes("ab", 1, 1);
    for _ in 0..2 {
        world.client("C").sleeps("c1", 300);
        world.broker().publishes("ab", 0, "1");
        world.broker().publishes("ab", 0, "2");
        world.notes("overflow c1");
        world.broker().publishes("ab", 0, "3");
        world.client("C").says("04166331").hears("080c000001000033").hears("0217");
    }
}

#[test]
fn qos_minus_one_is_taken_at_a_limited_rate() {
    let mut world = World::with_settings(|settings| settings.limits.qos_minus_one_per_second = 2);
    for name in ["C", "D"] {
        world.client(name).says("080c626162000078");
        world.broker().gets("PUBLISH q0 ab x");
    }
    world.client("E").says("080c626162000078");
    world.notes("anonymous E refused: AnonymousRate");
    assert_eq!(world.stats().anonymous_over_rate, 1);
    world.passes(0.5);
    world.client("E").says("080c626162000078");
    world.broker().gets("PUBLISH q0 ab x");
}
