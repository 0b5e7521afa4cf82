//! The broker is away and there is no store: nothing is accepted in its place.

use std::time::Duration;

use mqttsn_gateway::core::{LinkSettings, PublishOutcome};

use super::World;

const QUARTER: f64 = 900.0;

#[test]
fn without_a_broker_a_connect_is_told_congestion() {
    let mut world = World::without_broker(|_| {});
    world.client("C").says("08040401003c6331").hears("030501");
    world.notes("CONNECT of C refused: BrokerDown");
    world.broker().comes_up();
    world.client("C").connects("c1");
}

#[test]
fn while_the_broker_is_away_a_publish_is_congestion() {
    for (publish, ack) in [
        ("080c000001000078", "070d0001000001"),
        ("080c200001000778", "070d0001000701"),
        ("080c400001000778", "070d0001000701"),
    ] {
        let mut world = World::with_broker();
        world.client("C").connects("c1");
        world.client("C").registers("a/b/c", 1);
        world.broker().goes_down();
        world.client("C").says(publish).hears(ack);
        world.notes("refused c1: BrokerDown");
    }
}

#[test]
fn a_publish_that_was_under_way_is_acknowledged_when_the_broker_has_it_after_all() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c226162000778");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.broker().goes_down();
    world.client("C").says("080ca26162000778 DUP");
    world.broker().comes_back();
    world.broker().accepts(publish);
    world.client("C").hears("070d6162000700");
}

#[test]
fn a_qos_2_publish_that_was_lost_is_begun_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c426162000778");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().goes_down();
    world.broker().settles(publish, PublishOutcome::Lost);
    world.client("C").says("080cc26162000778 DUP").hears("070d6162000701");
    world.notes("refused c1: BrokerDown");
    world.broker().comes_up();
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn nothing_is_advertised_while_there_is_no_broker_and_at_once_when_it_is_back() {
    let mut world = World::with_link(|link| link.advertise = Some(Duration::from_secs(900)));
    world.everyone_hears(0, "0500010384 ADVERTISE");
    world.broker().goes_down();
    world.passes(3.0 * QUARTER + 300.0);
    world.broker().comes_back();
    world.everyone_hears(0, "0500010384");
    world.passes(QUARTER);
    world.everyone_hears(0, "0500010384");
}

#[test]
fn a_gateway_that_has_never_seen_its_broker_advertises_nothing() {
    let mut world = World::without_broker(|settings| {
        let link = LinkSettings { advertise: Some(Duration::from_secs(900)), ..LinkSettings::default() };
        settings.links.insert(World::LINK, link);
    });
    world.passes(2.0 * QUARTER);
    world.client("C").says("030101 SEARCHGW");
    world.broker().comes_up();
    world.everyone_hears(0, "0500010384");
}

#[test]
fn nobody_answers_searchgw_while_there_is_no_broker() {
    let mut world = World::with_broker();
    world.broker().goes_down();
    world.client("C").says("030101");
    world.broker().comes_back();
    world.client("C").says("030101").hears("030201");
    world.everyone_hears(1, "030201");
}
