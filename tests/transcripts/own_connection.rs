//! An MQTT connection for each client: made at CONNECT, one after the other, ended when the client leaves (digest §1,
//! §7.1, §7.6, §17).

use super::World;
use super::broker::Asked;
use super::frames;
use super::world::Session::{Clean, Persistent};

/// A gateway whose clients' connections the test answers for.
fn by_hand() -> World {
    let mut world = World::with_broker();
    world.broker().is_taken_in_hand();
    world
}

/// The client asks, and so does the gateway.
fn asks(world: &mut World, name: &str, client_id: &str, flags: u8) -> Asked {
    world.client(name).sends(&frames::connect(client_id, flags, 60));
    let clean = if flags & 0x04 != 0 { " clean" } else { "" };
    world.broker().gets_connect(&format!("CONNECT {client_id}{clean}"))
}

#[test]
fn a_client_is_connected_once_its_own_connection_is() {
    for (flags, persistent) in [(0x04, ""), (0x00, ", persistent")] {
        let mut world = by_hand();
        let connect = asks(&mut world, "C", "c1", flags);
        world.passes(29.0);
        world.broker().admits(&connect);
        world.client("C").hears("030500");
        world.notes(&format!("connected c1{persistent}"));
    }
}

#[test]
fn the_will_goes_to_the_broker_with_the_connect() {
    let mut world = by_hand();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says("09073077696c6c2f74").hears("0208");
    world.client("C").says("09096f66666c696e65 offline");
    let connect = world.broker().gets_connect("CONNECT c1 clean, will q1 retain will/t offline");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1");
}

#[test]
fn the_broker_s_refusal_is_told_by_its_kind() {
    for (reason, answer) in [(0x88, "01"), (0x89, "01"), (0x97, "01"), (0x80, "03"), (0x85, "03"), (0x87, "03")] {
        let mut world = by_hand();
        let connect = asks(&mut world, "C", "c1", 0x04);
        world.broker().refuses(&connect, reason);
        world.client("C").hears(&format!("0305{answer}"));
        world.notes(&format!("CONNECT of C refused: ByBroker {{ reason: BrokerReason({reason}) }}"));
        let disconnect = world.broker().gets("DISCONNECT");
        world.broker().closes(disconnect);
        world.client("C").says("0216").hears("0218");
        world.notes("stray C");
    }
}

#[test]
fn a_client_may_not_have_the_id_that_the_gateway_has_at_the_broker() {
    let mut world = World::with_settings(|settings| settings.reserved_client_id = Some("gw".into()));
    world.client("C").sends(&frames::connect("gw", 0x04, 60)).hears("030503");
    world.notes("CONNECT of C refused: GatewaysOwnId");
    world.client("C").connects("gw2");
}

#[test]
fn a_broker_that_cannot_be_reached_is_congestion() {
    let mut world = by_hand();
    let connect = asks(&mut world, "C", "c1", 0x04);
    world.broker().fails(&connect);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: BrokerDown");
    world.broker().gets("DISCONNECT");
}

#[test]
fn a_broker_that_does_not_answer_in_time_is_congestion() {
    let mut world = by_hand();
    asks(&mut world, "C", "c1", 0x04);
    world.passes(29.9);
    world.passes(0.1);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: BrokerSilent");
    world.broker().gets("DISCONNECT");
}

#[test]
fn a_client_that_repeats_its_connect_hears_no_later_that_the_broker_is_silent() {
    let mut world = by_hand();
    asks(&mut world, "C", "c1", 0x04);
    for _ in 0..2 {
        world.passes(10.0);
        world.client("C").sends(&frames::connect("c1", 0x04, 60));
    }
    world.passes(9.9);
    world.passes(0.1);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: BrokerSilent");
    world.broker().gets("DISCONNECT");
}

#[test]
fn a_refused_client_may_try_again_when_the_former_connection_has_ended() {
    let mut world = by_hand();
    let connect = asks(&mut world, "C", "c1", 0x04);
    world.broker().refuses(&connect, 0x88);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: ByBroker { reason: BrokerReason(136) }");
    let disconnect = world.broker().gets("DISCONNECT");
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    world.passes(5.0);
    world.broker().closes(disconnect);
    let connect = world.broker().gets_connect("CONNECT c1 clean");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_repeated_connect_waits_for_the_same_connection() {
    let mut world = by_hand();
    let connect = asks(&mut world, "C", "c1", 0x00);
    world.passes(10.0);
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    world.broker().admits(&connect);
    world.client("C").hears("030500 once");
    world.notes("connected c1, persistent");
    world.client("C").sends(&frames::connect("c1", 0x00, 60)).hears("030500 at once");
    world.notes("connected c1, persistent");
}

#[test]
fn a_connect_in_other_words_gets_another_connection_once_the_former_has_ended() {
    let mut world = by_hand();
    let connect = asks(&mut world, "C", "c1", 0x00);
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1, persistent");
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    let disconnect = world.broker().gets("DISCONNECT");
    world.passes(1.0);
    world.broker().closes(disconnect);
    let connect = world.broker().gets_connect("CONNECT c1 clean");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_new_will_is_other_words() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    let first = world.broker().connection_of("c1");
    world.client("C").connects_persistent("c1");
    let same = world.broker().connection_of("c1");
    assert!(same.is_on_the_connection_of(&first), "the will is stored, so nothing has changed");
    world.client("C").says("051c616263 WILLMSGUPD").hears("031d00");
    let same = world.broker().connection_of("c1");
    assert!(same.is_on_the_connection_of(&first), "an update alone costs no connection");
    world.client("C").connects_persistent("c1");
    let second = world.broker().connection_of("c1");
    assert!(!second.is_on_the_connection_of(&first), "the broker gets to know it at the next CONNECT");
}

#[test]
fn a_client_that_leaves_while_the_broker_thinks_gives_its_connection_up() {
    let mut world = by_hand();
    asks(&mut world, "C", "c1", 0x04);
    world.client("C").says("0218").hears("0218");
    world.broker().gets("DISCONNECT");
    world.passes(60.0);
}

#[test]
fn the_connection_ends_with_the_client_s_and_without_a_will() {
    for session in [Clean, Persistent] {
        let mut world = by_hand();
        let flags = if session == Clean { 0x04 } else { 0x00 };
        let connect = asks(&mut world, "C", "c1", flags);
        world.broker().admits(&connect);
        world.client("C").hears("030500");
        world.ignore();
        world.client("C").disconnects("c1");
        let disconnect = world.broker().gets("DISCONNECT");
        assert!(disconnect.is_on_the_connection_of(&connect));
    }
}

#[test]
fn a_lost_client_s_will_goes_out_on_its_own_connection_just_before_that_ends() {
    let mut world = by_hand();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says("06072077692f").hears("0208");
    world.client("C").says("030961");
    let connect = world.broker().gets_connect("CONNECT c1 clean, will q1 wi/ a");
    world.broker().admits(&connect);
    world.client("C").hears("030500");
    world.notes("connected c1");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    let publish = world.broker().gets("PUBLISH q1 wi/ a");
    assert!(publish.is_on_the_connection_of(&connect));
    world.broker().gets("DISCONNECT");
    world.notes("will of c1 to wi/");
}

#[test]
fn a_takeover_keeps_the_connection() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    let first = world.broker().connection_of("c1");
    world.client("D").sends(&frames::connect("c1", 0x00, 60)).hears("030500");
    world.client("C").hears("0218");
    world.notes("moved c1 from C to D");
    world.notes("connected c1, persistent");
    assert!(world.broker().connection_of("c1").is_on_the_connection_of(&first));
}

#[test]
fn messages_go_up_on_the_client_s_own_connection_and_qos_minus_one_on_the_gateway_s() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    let own = world.broker().connection_of("c1");
    for (publish, command) in [
        ("080c026162000078", "PUBLISH q0 ab x"),
        ("080c226162000178", "PUBLISH q1 ab x"),
        ("080c426162000278", "PUBLISH q2 ab x"),
    ] {
        world.client("C").says(publish);
        assert!(world.broker().gets(command).is_on_the_connection_of(&own));
    }
    for name in ["C", "D"] {
        world.client(name).says("080c626162000078 QoS -1");
        assert!(world.broker().gets("PUBLISH q0 ab x").is_on_the_gateway_s_own());
    }
}

#[test]
fn every_client_s_subscriptions_are_its_own() {
    let mut world = World::with_broker();
    for (name, id) in [("C", "c1"), ("D", "c2")] {
        world.client(name).connects(id);
        world.client(name).subscribes("a/b", 1, 1);
    }
    world.broker().publishes("a/b", 1, "x");
    for name in ["C", "D"] {
        world.client(name).hears("080c200001000178");
    }
    for (name, number) in [("C", 1), ("D", 2)] {
        world.client(name).says("070d0001000100");
        world.broker().gets(&format!("ACK {number}"));
    }
    world.client("C").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().publishes("a/b", 0, "x");
    world.client("D").hears("080c000001000078");
}

#[test]
fn a_shared_subscription_is_the_broker_s_business() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").sends(&frames::subscribe("$share/g/a/b", 1, 13));
    let asked = world.broker().gets("SUBSCRIBE q1 $share/g/a/b");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200000000d00 no id: it is not the topic's name");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000278");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 1");
}

fn paced(at_once: usize) -> World {
    let mut world = World::with_settings(|settings| settings.limits.broker_connects_at_once = at_once);
    world.broker().is_taken_in_hand();
    world
}

#[test]
fn only_so_many_connections_are_opened_at_once() {
    let mut world = paced(2);
    let first = asks(&mut world, "C", "c1", 0x04);
    let second = asks(&mut world, "D", "c2", 0x04);
    world.client("E").sends(&frames::connect("c3", 0x04, 60));
    world.client("F").sends(&frames::connect("c4", 0x04, 60));
    world.broker().admits(&second);
    world.client("D").hears("030500");
    world.notes("connected c2");
    world.broker().gets_connect("CONNECT c3 clean");
    world.broker().fails(&first);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: BrokerDown");
    world.broker().gets("DISCONNECT");
    world.broker().gets_connect("CONNECT c4 clean");
}

#[test]
fn a_client_whose_turn_does_not_come_in_time_is_told_congestion_and_its_connection_is_never_opened() {
    let mut world = paced(1);
    world.client("C").sends(&frames::connect("c1", 0x04, 60));
    let first = world.broker().gets_connect("CONNECT c1 clean");
    world.passes(20.0);
    world.client("D").sends(&frames::connect("c2", 0x04, 60));
    world.client("E").sends(&frames::connect("c3", 0x04, 60));
    world.client("D").says("0218 no longer").hears("0218");
    world.passes(9.0);
    world.broker().admits(&first);
    world.client("C").hears("030500");
    world.notes("connected c1");
    let third = world.broker().gets_connect("CONNECT c3 clean");
    world.client("D").sends(&frames::connect("c2", 0x04, 60));
    world.passes(21.0);
    world.client("E").hears("030501");
    world.notes("CONNECT of E refused: BrokerSilent");
    let disconnect = world.broker().gets("DISCONNECT");
    assert!(disconnect.is_on_the_connection_of(&third));
    world.broker().gets_connect("CONNECT c2 clean");
}

#[test]
fn at_shutdown_all_connections_end_in_order_and_none_is_opened_any_more() {
    let mut world = paced(1);
    let first = asks(&mut world, "C", "c1", 0x04);
    world.client("D").sends(&frames::connect("c2", 0x04, 60));
    world.shuts_down();
    let disconnect = world.broker().gets("DISCONNECT");
    assert!(disconnect.is_on_the_connection_of(&first));
    assert!(world.broker().gets("DISCONNECT").is_on_the_gateway_s_own());
}

/// A client that has a QoS 1 publish with the broker when it connects in other words.
fn reconnects_in_other_words_with_a_publish_under_way(world: &mut World) {
    world.client("C").connects_persistent("c1");
    world.client("C").says("080c226162000778");
    world.broker().gets("PUBLISH q1 ab x");
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
}

#[test]
fn what_was_under_way_on_the_former_connection_may_be_published_again_on_the_next() {
    let mut world = World::with_broker();
    reconnects_in_other_words_with_a_publish_under_way(&mut world);
    world.client("C").says("080ca26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("070d6162000700");
}

#[test]
fn what_was_under_way_on_the_former_connection_takes_no_room_from_others() {
    let mut world = World::with_settings(|settings| settings.limits.publishes_in_flight = 1);
    reconnects_in_other_words_with_a_publish_under_way(&mut world);
    world.client("D").connects("c2");
    world.client("D").says("080c226162000178");
    world.broker().gets("PUBLISH q1 ab x");
}
