//! Messages for a broker that is away are kept, and go out in order when it is back.

use std::time::Duration;

use mqttsn_gateway::core::topics::TopicFilter;
use mqttsn_gateway::core::{OutagePolicy, OutageRule, OutageSettings, PublishOutcome, Record};

use super::World;
use super::frames;
use super::world::Session::Clean;

/// A client at C whose broker is away.
fn broker_away() -> World {
    broker_away_with(|_| {})
}

fn broker_away_with(change: impl FnOnce(&mut OutageSettings)) -> World {
    let mut world = World::with_settings(|settings| change(&mut settings.outage));
    world.client("C").connects("c1");
    world.broker().goes_down();
    world
}

/// Publishes one octet to `ab` at QoS 1, which is kept.
fn keeps(world: &mut World, name: &str, msg_id: u16, data: &str) {
    publishes(world, name, msg_id, data).hears(&format!("070d6162{msg_id:04x}00"));
}

fn publishes<'w>(world: &'w mut World, name: &str, msg_id: u16, data: &str) -> super::world::Client<'w> {
    let mut client = world.client(name);
    client.sends(&frames::publish(0x22, 0x6162, msg_id, data.as_bytes()));
    client
}

/// The broker gets these messages on `ab` at QoS 1, and takes them.
fn drains(world: &mut World, messages: &[&str]) {
    let asked: Vec<_> = messages.iter().map(|data| world.broker().gets(&format!("PUBLISH q1 ab {data}"))).collect();
    asked.into_iter().for_each(|publish| world.broker().accepts(publish));
    assert_eq!(kept(world), 0);
}

/// How many messages the store has for the broker.
fn kept(world: &mut World) -> usize {
    world.store().records().filter(|record| matches!(record, Record::Upstream(_))).count()
}

fn rule(filter: &str, policy: OutagePolicy) -> OutageRule {
    let filter = TopicFilter::parse(filter.as_bytes()).unwrap();
    OutageRule { filter, policy: Some(policy), qos0: None, max_age: None }
}

#[test]
fn a_client_connects_and_publishes_while_the_broker_is_away() {
    let mut world = World::without_broker(|_| {});
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.client("C").registers("a/b", 1);
    world.client("C").says("080c200001000778 QoS 1").hears("070d0001000700");
    world.client("C").says("080c400001000878 QoS 2").hears("040f0008").says("04100008").hears("040e0008");
    world.client("C").sends(&frames::subscribe("a/b", 1, 9)).hears("0813000000000901");
    world.notes("refused c1: SubscribeWithoutBroker");
    world.broker().comes_up();
    let first = world.broker().gets("PUBLISH q1 a/b x");
    let second = world.broker().gets("PUBLISH q2 a/b x");
    world.broker().accepts(first);
    world.broker().accepts(second);
    assert_eq!((world.stats().kept, world.stats().published), (2, 2));
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn what_is_kept_is_acknowledged_when_it_is_stored() {
    let mut world = broker_away();
    world.store().holds();
    world.client("C").says("080c226162000778 QoS 1");
    world.store().stores();
    world.client("C").hears("070d6162000700");
    world.client("C").says("080c426162000878 QoS 2");
    world.store().stores();
    world.client("C").hears("040f0008");
}

#[test]
fn what_is_kept_goes_out_in_order_and_the_next_ones_behind_it() {
    let mut world = broker_away();
    world.client("D").connects("c2");
    keeps(&mut world, "C", 1, "1");
    keeps(&mut world, "C", 2, "2");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    let second = world.broker().gets("PUBLISH q1 ab 2");
    keeps(&mut world, "C", 3, "3");
    let third = world.broker().gets("PUBLISH q1 ab 3");
    publishes(&mut world, "D", 1, "another client's");
    world.broker().gets("PUBLISH q1 ab another client's");
    world.broker().accepts(first);
    world.broker().accepts(second);
    world.broker().accepts(third);
    publishes(&mut world, "C", 4, "4");
    let fourth = world.broker().gets("PUBLISH q1 ab 4");
    world.broker().accepts(fourth);
    world.client("C").hears("070d6162000400");
}

#[test]
fn when_all_that_was_kept_has_gone_out_it_is_said_once() {
    let mut world = broker_away();
    for n in 1..=3 {
        keeps(&mut world, "C", n, &n.to_string());
    }
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    let second = world.broker().gets("PUBLISH q1 ab 2");
    let third = world.broker().gets("PUBLISH q1 ab 3");
    world.broker().accepts(first);
    world.broker().goes_down();
    world.broker().settles(second, PublishOutcome::Lost);
    world.broker().settles(third, PublishOutcome::Lost);
    world.passes(2.0);
    world.broker().comes_back();
    drains(&mut world, &["2", "3"]);
    assert_eq!(world.handed_over(), ["handed over 3 in 2s"]);
    publishes(&mut world, "C", 4, "4");
    let fourth = world.broker().gets("PUBLISH q1 ab 4");
    world.broker().accepts(fourth);
    world.client("C").hears("070d6162000400");
    assert_eq!(world.handed_over(), [""; 0]);
}

#[test]
fn what_follows_a_kept_qos_2_message_of_the_same_client_waits_until_the_broker_has_that() {
    let mut world = broker_away();
    keeps(&mut world, "C", 1, "1");
    world.client("C").sends(&frames::publish(0x42, 0x6162, 2, b"2")).hears("040f0002");
    world.client("C").says("04100002").hears("040e0002");
    keeps(&mut world, "C", 3, "3");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    let second = world.broker().gets("PUBLISH q2 ab 2");
    world.broker().accepts(first);
    world.broker().accepts(second);
    drains(&mut world, &["3"]);
}

#[test]
fn nobody_s_messages_wait_for_another_client_s() {
    let mut world = broker_away();
    world.client("D").connects("c2");
    world.client("C").sends(&frames::publish(0x42, 0x6162, 1, b"1")).hears("040f0001");
    world.client("C").says("04100001").hears("040e0001");
    keeps(&mut world, "C", 2, "2");
    keeps(&mut world, "D", 1, "another client's");
    world.broker().comes_back();
    let slow = world.broker().gets("PUBLISH q2 ab 1");
    let other = world.broker().gets("PUBLISH q1 ab another client's");
    world.broker().accepts(other);
    world.broker().accepts(slow);
    drains(&mut world, &["2"]);
}

#[test]
fn nothing_overtakes_what_is_called_lost_only_after_the_broker_is_back_without_the_session() {
    let mut world = broker_away();
    for n in 1..=3 {
        world.client("C").sends(&frames::publish(0x42, 0x6162, n, n.to_string().as_bytes()));
        world.client("C").hears(&format!("040f{n:04x}")).says(&format!("0410{n:04x}")).hears(&format!("040e{n:04x}"));
    }
    world.broker().comes_back();
    let lost: Vec<_> = (1..=3).map(|n| world.broker().gets(&format!("PUBLISH q2 ab {n}"))).collect();
    world.broker().goes_down();
    world.client("C").sends(&frames::publish(0x42, 0x6162, 4, b"4")).hears("040f0004");
    world.client("C").says("04100004").hears("040e0004");
    world.broker().comes_up();
    for publish in lost {
        world.broker().settles(publish, PublishOutcome::Lost);
    }
    let again: Vec<_> = (1..=4).map(|n| world.broker().gets(&format!("PUBLISH q2 ab {n}"))).collect();
    again.into_iter().for_each(|publish| world.broker().accepts(publish));
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn so_many_are_under_way_at_once() {
    let mut world = broker_away();
    for n in 1..=66 {
        keeps(&mut world, "C", n, &n.to_string());
    }
    world.broker().comes_back();
    let mut asked: Vec<_> = (1..=64).map(|n| world.broker().gets(&format!("PUBLISH q1 ab {n}"))).collect();
    keeps(&mut world, "C", 67, "67");
    for n in 65..=67 {
        world.broker().accepts(asked.remove(0));
        asked.push(world.broker().gets(&format!("PUBLISH q1 ab {n}")));
    }
    asked.into_iter().for_each(|publish| world.broker().accepts(publish));
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn what_a_client_sends_after_it_has_connected_anew_does_not_overtake_what_it_sent_before() {
    let mut world = broker_away();
    for n in 1..=65 {
        keeps(&mut world, "C", n, &n.to_string());
    }
    world.client("C").disconnects("c1");
    world.broker().comes_back();
    let mut asked: Vec<_> = (1..=64).map(|n| world.broker().gets(&format!("PUBLISH q1 ab {n}"))).collect();
    world.client("C").connects("c1");
    keeps(&mut world, "C", 66, "66");
    for n in 65..=66 {
        world.broker().accepts(asked.remove(0));
        asked.push(world.broker().gets(&format!("PUBLISH q1 ab {n}")));
    }
}

#[test]
fn a_repeated_publish_is_kept_once() {
    let mut world = broker_away();
    keeps(&mut world, "C", 7, "x");
    world.client("C").says("080ca26162000778 DUP").hears("070d6162000700");
    world.client("C").says("080c426162000878 QoS 2").hears("040f0008");
    world.client("C").says("080cc26162000878 DUP").hears("040f0008");
    world.client("C").says("04100008").hears("040e0008").says("04100008").hears("040e0008");
    assert_eq!(kept(&mut world), 2);
}

#[test]
fn a_publish_that_was_under_way_is_kept_when_it_is_repeated() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c226162000778 QoS 1");
    let first = world.broker().gets("PUBLISH q1 ab x");
    world.client("C").says("080c426162000879 QoS 2");
    let second = world.broker().gets("PUBLISH q2 ab y");
    world.client("C").says("080ca26162000778 DUP while the broker thinks");
    world.broker().goes_down();
    world.client("C").says("080ca26162000778 DUP").hears("070d6162000700");
    world.client("C").says("080cc26162000879 DUP").hears("040f0008").says("04100008").hears("040e0008");
    world.broker().comes_back();
    world.broker().accepts(first);
    world.broker().settles(second, PublishOutcome::Lost);
    let again = world.broker().gets("PUBLISH q2 ab y");
    world.broker().accepts(again);
    assert_eq!((kept(&mut world), world.stats().kept, world.stats().published), (0, 2, 2));
}

#[test]
fn a_publish_that_was_lost_with_the_broker_is_kept_when_it_is_repeated() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c426162000778 QoS 2");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().goes_down();
    world.broker().settles(publish, PublishOutcome::Lost);
    world.client("C").says("080cc26162000778 DUP").hears("040f0007").says("04100007").hears("040e0007");
    world.broker().comes_up();
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
}

#[test]
fn what_the_broker_refuses_is_dropped_and_said() {
    let mut world = broker_away();
    keeps(&mut world, "C", 1, "1");
    keeps(&mut world, "C", 2, "2");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    let second = world.broker().gets("PUBLISH q1 ab 2");
    world.broker().refuses_publish(first, 0x87);
    world.notes("dropped what was kept on ab");
    world.broker().accepts(second);
    assert_eq!((kept(&mut world), world.stats().publish_refused), (0, 1));
}

#[test]
fn what_is_too_large_for_the_broker_is_dropped_and_said() {
    let mut world = broker_away();
    world.broker.offer.max_packet = Some(30);
    keeps(&mut world, "C", 1, &"x".repeat(30));
    keeps(&mut world, "C", 2, "2");
    world.broker().comes_back();
    world.notes("dropped what was kept on ab");
    drains(&mut world, &["2"]);
}

#[test]
fn what_no_broker_takes_is_refused_at_once() {
    let mut world = broker_away();
    world.client("C").registers("$SYS/x", 1);
    world.client("C").says("080c200001000778").hears("070d0001000703");
    world.notes("refused c1: BrokersOwnTopic");
}

#[test]
fn what_the_connection_has_no_room_for_is_sent_again_a_second_later() {
    let mut world = broker_away();
    keeps(&mut world, "C", 1, "1");
    world.broker().comes_back();
    for _ in 0..3 {
        let publish = world.broker().gets("PUBLISH q1 ab 1");
        world.broker().settles(publish, PublishOutcome::Busy);
        world.passes(0.9);
        world.passes(0.1);
    }
    drains(&mut world, &["1"]);
}

#[test]
fn what_is_lost_with_the_connection_is_sent_again_in_its_place() {
    let mut world = broker_away();
    keeps(&mut world, "C", 1, "1");
    keeps(&mut world, "C", 2, "2");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    let second = world.broker().gets("PUBLISH q1 ab 2");
    world.broker().goes_down();
    world.broker().settles(first, PublishOutcome::Lost);
    world.broker().settles(second, PublishOutcome::Lost);
    keeps(&mut world, "C", 3, "3");
    world.broker().comes_up();
    drains(&mut world, &["1", "2", "3"]);
}

#[test]
fn so_many_messages_are_kept_and_no_more() {
    let mut world = broker_away_with(|outage| outage.messages = 2);
    keeps(&mut world, "C", 1, "1");
    keeps(&mut world, "C", 2, "2");
    publishes(&mut world, "C", 3, "3").hears("070d6162000301");
    world.notes("refused c1: TooManyKept");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    let second = world.broker().gets("PUBLISH q1 ab 2");
    world.broker().accepts(first);
    keeps(&mut world, "C", 3, "3");
    let third = world.broker().gets("PUBLISH q1 ab 3");
    world.broker().accepts(second);
    world.broker().accepts(third);
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn so_many_octets_are_kept_and_no_more() {
    let mut world = broker_away_with(|outage| outage.octets = 10);
    keeps(&mut world, "C", 1, "12345678");
    publishes(&mut world, "C", 2, "").hears("070d6162000201");
    world.notes("refused c1: TooManyKept");
    world.broker().comes_back();
    drains(&mut world, &["12345678"]);
}

#[test]
fn a_repeated_publish_is_kept_only_where_there_is_room_for_its_octets() {
    let mut world = World::with_settings(|settings| settings.outage.octets = 10);
    world.client("C").connects("c1");
    publishes(&mut world, "C", 1, "12345678");
    let first = world.broker().gets("PUBLISH q1 ab 12345678");
    publishes(&mut world, "C", 2, "9");
    let second = world.broker().gets("PUBLISH q1 ab 9");
    world.broker().goes_down();
    world.client("C").sends(&frames::publish(0xa2, 0x6162, 1, b"12345678")).hears("070d6162000100");
    world.client("C").sends(&frames::publish(0xa2, 0x6162, 2, b"9"));
    assert_eq!(kept(&mut world), 1);
    world.broker().comes_back();
    world.broker().accepts(first);
    world.broker().accepts(second);
    world.client("C").hears("070d6162000200");
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn what_is_too_old_makes_room_for_a_repeated_publish_too() {
    let mut world = World::with_settings(|settings| {
        settings.outage.max_age = Some(Duration::from_secs(30));
        settings.outage.messages = 1;
    });
    world.client("C").connects("c1");
    publishes(&mut world, "C", 1, "1");
    let first = world.broker().gets("PUBLISH q1 ab 1");
    world.broker().goes_down();
    keeps(&mut world, "C", 2, "2");
    world.client("C").sends(&frames::publish(0xa2, 0x6162, 1, b"1"));
    world.passes(30.0);
    world.client("C").sends(&frames::publish(0xa2, 0x6162, 1, b"1")).hears("070d6162000100");
    world.notes("outdated ab from c1: TooOld");
    world.broker().comes_back();
    world.broker().accepts(first);
    assert_eq!((kept(&mut world), world.stats().expired), (0, 1));
}

#[test]
fn what_is_too_old_is_dropped_when_its_turn_comes() {
    let mut world = broker_away_with(|outage| outage.max_age = Some(Duration::from_secs(30)));
    keeps(&mut world, "C", 1, "1");
    world.passes(20.0);
    keeps(&mut world, "C", 2, "2");
    world.passes(10.0);
    world.broker().comes_back();
    world.notes("outdated ab from c1: TooOld");
    drains(&mut world, &["2, expires in 20s"]);
    assert_eq!(world.stats().expired, 1);
}

#[test]
fn what_is_too_old_makes_room() {
    let mut world = broker_away_with(|outage| {
        outage.max_age = Some(Duration::from_secs(30));
        outage.messages = 2;
    });
    keeps(&mut world, "C", 1, "1");
    keeps(&mut world, "C", 2, "2");
    world.passes(30.0);
    keeps(&mut world, "C", 3, "3");
    world.notes("outdated ab from c1: TooOld");
    world.notes("outdated ab from c1: TooOld");
    assert_eq!(world.stats().expired, 2);
    world.broker().comes_back();
    drains(&mut world, &["3, expires in 30s"]);
}

#[test]
fn of_some_topics_nothing_is_kept() {
    let mut world = broker_away_with(|outage| outage.rules = vec![rule("+", OutagePolicy::Drop)]);
    publishes(&mut world, "C", 1, "1").hears("070d6162000101");
    world.notes("refused c1: NotKept");
    world.client("C").registers("a/b", 1);
    world.client("C").says("080c200001000778").hears("070d0001000700");
    world.broker().comes_back();
    world.broker().gets("PUBLISH q1 a/b x");
}

#[test]
fn of_some_topics_the_newest_message_is_kept() {
    let mut world = broker_away_with(|outage| outage.rules = vec![rule("ab", OutagePolicy::Latest)]);
    world.client("D").connects("c2");
    world.client("C").registers("a/b", 1);
    keeps(&mut world, "C", 1, "1");
    world.client("C").says("080c200001000778").hears("070d0001000700");
    keeps(&mut world, "D", 1, "2");
    world.notes("outdated ab from c1: Superseded");
    keeps(&mut world, "C", 2, "3");
    world.notes("outdated ab from c2: Superseded");
    assert_eq!((world.stats().superseded, kept(&mut world)), (2, 2));
    world.broker().comes_back();
    let other = world.broker().gets("PUBLISH q1 a/b x");
    let newest = world.broker().gets("PUBLISH q1 ab 3");
    world.broker().accepts(newest);
    world.broker().accepts(other);
    assert_eq!(world.handed_over(), ["handed over 2 without 2 in 0ns"]);
}

#[test]
fn an_older_message_stays_if_there_is_no_room_for_the_newest() {
    let mut world = broker_away_with(|outage| {
        outage.rules = vec![rule("ab", OutagePolicy::Latest)];
        outage.octets = 10;
    });
    keeps(&mut world, "C", 1, "old");
    publishes(&mut world, "C", 2, "123456789").hears("070d6162000201");
    world.notes("refused c1: TooManyKept");
    keeps(&mut world, "C", 3, "12345678");
    world.notes("outdated ab from c1: Superseded");
    publishes(&mut world, "C", 4, "123456789").hears("070d6162000401");
    world.notes("refused c1: TooManyKept");
    world.broker().comes_back();
    drains(&mut world, &["12345678"]);
}

#[test]
fn qos_0_is_kept_where_it_is_asked_for() {
    let mut world = broker_away_with(|outage| outage.qos0 = OutagePolicy::Keep);
    world.client("C").says("080c026162000031");
    world.client("E").says("080c626162000032 QoS -1");
    keeps(&mut world, "C", 1, "3");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q0 ab 1");
    let second = world.broker().gets("PUBLISH q0 ab 2");
    let third = world.broker().gets("PUBLISH q1 ab 3");
    world.broker().accepts(first);
    world.broker().accepts(third);
    world.broker().settles(second, PublishOutcome::Busy);
    world.passes(1.0);
    let second = world.broker().gets("PUBLISH q0 ab 2");
    world.broker().accepts(second);
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn a_message_that_belongs_to_no_session_does_not_overtake_an_earlier_one() {
    let mut world = broker_away_with(|outage| outage.qos0 = OutagePolicy::Keep);
    world.client("E").says("080c626162000031 QoS -1");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q0 ab 1");
    world.broker().settles(first, PublishOutcome::Busy);
    world.client("E").says("080c626162000032 QoS -1");
    let first = world.broker().gets("PUBLISH q0 ab 1");
    let second = world.broker().gets("PUBLISH q0 ab 2");
    world.broker().accepts(first);
    world.broker().accepts(second);
    world.client("E").says("080c626162000033 QoS -1");
    world.broker().gets("PUBLISH q0 ab 3");
    assert_eq!(kept(&mut world), 0);
}

#[test]
fn qos_0_is_not_kept_because_something_else_is() {
    let mut world = broker_away();
    keeps(&mut world, "C", 1, "1");
    world.client("C").says("080c026162000032").hears("070d6162000001");
    world.notes("refused c1: NotKept");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    world.client("C").says("080c026162000033 behind the first, in order");
    world.broker().gets("PUBLISH q0 ab 3");
    world.broker().accepts(first);
}

#[test]
fn a_will_waits_behind_what_its_client_published() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "ab", "bye");
    world.broker().goes_down();
    keeps(&mut world, "C", 1, "1");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to ab");
    world.broker().comes_back();
    drains(&mut world, &["1", "bye"]);
}

#[test]
fn a_will_goes_out_at_once_while_the_broker_is_there_whatever_is_kept_of_its_topic() {
    let mut world = World::with_settings(|settings| settings.outage.rules = vec![rule("#", OutagePolicy::Drop)]);
    world.client("C").connects_with_will("c1", Clean, "ab", "bye");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to ab");
    drains(&mut world, &["bye"]);
}

#[test]
fn devices_find_the_gateway_while_the_broker_is_away() {
    let mut world = World::with_link(|link| link.advertise = Some(Duration::from_secs(900)));
    world.everyone_hears(0, "0500010384 ADVERTISE");
    world.broker().goes_down();
    world.client("C").says("030100 SEARCHGW").hears("030201 GWINFO");
    world.everyone_hears(0, "030201");
    world.passes(900.0);
    world.everyone_hears(0, "0500010384");
}

#[test]
fn what_is_left_of_a_kept_message_s_time_goes_with_it_to_the_broker() {
    let mut world = broker_away_with(|outage| outage.max_age = Some(Duration::from_secs(60)));
    keeps(&mut world, "C", 1, "x");
    world.passes(20.0);
    world.broker().comes_back();
    world.broker().gets("PUBLISH q1 ab x, expires in 40s");
}
