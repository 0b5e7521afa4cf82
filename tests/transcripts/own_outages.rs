//! Clients' own connections break, come back, are closed by the broker (digest §14).

use super::World;
use super::broker::Asked;
use super::frames;
use super::world::Session::Persistent;

/// A persistent client at C, subscribed to `a/b` (id 1), and its connection.
fn connected() -> (World, Asked) {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    let own = world.broker().connection_of("c1");
    world.broker().is_taken_in_hand();
    (world, own)
}

#[test]
fn a_broken_connection_is_congestion_until_it_is_back() {
    let (mut world, own) = connected();
    world.broker().fails(&own);
    world.client("C").says("080c200001000778").hears("070d0001000701");
    world.notes("refused c1: BrokerDown");
    world.client("C").says("061220000d63 SUBSCRIBE").hears("0813000000000d01");
    world.notes("refused c1: SubscribeWithoutBroker");
    world.client("C").says("0216").hears("0217");
    world.client("C").registers("other", 2);
    world.passes(29.9);
    world.broker().admits(&own);
    world.passes(29.9);
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
}

#[test]
fn a_connection_that_does_not_come_back_in_time_is_told_and_ended() {
    let (mut world, own) = connected();
    world.broker().fails(&own);
    world.passes(10.0);
    world.broker().fails(&own);
    world.passes(19.9);
    world.passes(0.1);
    world.client("C").hears("0218");
    world.notes("lost c1: BrokerGone");
    world.broker().gets("DISCONNECT");
}

#[test]
fn another_client_s_connection_is_another_matter() {
    let (mut world, own) = connected();
    world.client("D").sends(&frames::connect("c2", 0x04, 60));
    let other = world.broker().gets_connect("CONNECT c2 clean");
    world.broker().admits(&other);
    world.client("D").hears("030500");
    world.notes("connected c2");
    world.broker().fails(&own);
    world.client("D").says("080c026162000078");
    world.broker().gets("PUBLISH q0 ab x");
}

#[test]
fn a_client_that_connects_while_its_connection_is_broken_waits_for_it_and_is_answered() {
    let (mut world, own) = connected();
    world.broker().fails(&own);
    world.passes(20.0);
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    world.passes(20.0);
    world.broker().admits(&own);
    world.client("C").hears("030500");
    world.notes("connected c1, persistent");
}

#[test]
fn a_client_that_connects_while_its_connection_is_broken_is_refused_in_the_end() {
    let (mut world, own) = connected();
    world.broker().fails(&own);
    world.passes(20.0);
    world.client("C").sends(&frames::connect("c1", 0x00, 60));
    world.passes(30.0);
    world.client("C").hears("030501");
    world.notes("CONNECT of C refused: BrokerSilent");
    world.broker().gets("DISCONNECT");
}

#[test]
fn a_sleeper_whose_connection_does_not_come_back_has_to_connect_again() {
    let (mut world, own) = connected();
    world.client("C").sleeps("c1", 300);
    world.broker().fails(&own);
    world.passes(30.0);
    world.client("C").hears("0218");
    world.notes("lost c1: BrokerGone");
    world.broker().gets("DISCONNECT");
    world.client("C").says("04166331").hears("0218");
    world.notes("stray C");
}

#[test]
fn a_broker_that_closes_with_a_reason_wants_the_client_to_know() {
    let (mut world, own) = connected();
    world.broker().refuses(&own, 0x87);
    world.client("C").hears("0218");
    world.notes("lost c1: ClosedByBroker { reason: BrokerReason(135) }");
    world.broker().gets("DISCONNECT");
}

#[test]
fn the_will_of_a_client_whose_connection_broke_is_left_to_the_broker() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    let own = world.broker().connection_of("c1");
    world.broker().is_taken_in_hand().fails(&own);
    world.passes(30.0);
    world.client("C").hears("0218");
    world.notes("lost c1: BrokerGone");
    world.broker().gets("DISCONNECT");
}

#[test]
fn the_will_of_a_client_that_is_lost_while_its_connection_is_broken_is_left_to_the_broker() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    let own = world.broker().connection_of("c1");
    world.passes(80.0);
    world.broker().is_taken_in_hand().fails(&own);
    world.passes(10.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.broker().gets("DISCONNECT");
}

#[test]
fn subscriptions_that_the_broker_has_forgotten_in_an_outage_are_asked_for_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().goes_down();
    world.broker().comes_up();
    let asked = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&asked, 1);
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn an_outage_of_the_gateway_s_own_connection_is_no_client_s_business() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    let own = world.broker().connection_of("");
    world.broker().fails(&own);
    world.client("C").says("080c026162000078");
    world.broker().gets("PUBLISH q0 ab x");
    world.client("D").connects("c2");
    world.client("D").says("080c626162000078 QoS -1");
    let why = if world.keeps() { "NotKept" } else { "BrokerDown" };
    world.notes(&format!("anonymous D refused: {why}"));
    world.client("D").says("030101 SEARCHGW");
    world.passes(60.0);
}

#[test]
fn a_client_that_breaks_off_a_subscribe_by_connecting_again_is_served() {
    let (mut world, _) = connected();
    world.client("C").says("061220000d63 SUBSCRIBE");
    let asked = world.broker().gets("SUBSCRIBE q1 c");
    world.client("C").sends(&frames::connect("c1", 0x00, 60)).hears("030500");
    world.broker().gets("UNSUBSCRIBE c");
    world.notes("connected c1, persistent");
    world.broker().grants(&asked, 1);
    world.client("C").says("061220000d63 SUBSCRIBE");
    let asked = world.broker().gets("SUBSCRIBE q1 c");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200002000d00");
}

/// The broker has restarted, and C's subscription to `a/b` is asked for again.
fn forgotten() -> (World, Asked) {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().goes_down();
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    (world, renewal)
}

#[test]
fn a_renewal_that_the_broker_refuses_is_said() {
    let (mut world, renewal) = forgotten();
    world.broker().refuses_subscribe(&renewal, 0x87);
    world.notes("subscription lost a/b: BrokerReason(135)");
}

#[test]
fn a_renewal_that_is_lost_with_the_connection_is_asked_for_again_even_of_a_broker_that_kept_the_session() {
    let (mut world, renewal) = forgotten();
    world.broker().goes_down();
    world.broker().loses_subscribe(&renewal);
    world.broker().comes_back();
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
    world.broker().goes_down();
    world.broker().comes_back();
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_renewal_that_is_cut_off_when_the_client_leaves_is_asked_for_when_it_is_back() {
    let (mut world, _) = forgotten();
    world.client("C").disconnects("c1");
    world.client("C").connects_persistent("c1");
    let renewal = world.broker().gets("SUBSCRIBE q1 a/b");
    world.broker().grants(&renewal, 1);
    world.client("C").disconnects("c1");
    world.client("C").connects_persistent("c1");
}

#[test]
fn a_renewal_that_the_client_unsubscribes_from_is_not_asked_for_again() {
    let (mut world, renewal) = forgotten();
    world.client("C").says("081400000d612f62").hears("0415000d");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().goes_down();
    world.broker().loses_subscribe(&renewal);
    world.broker().comes_back();
}
