//! Discovery: ADVERTISE, SEARCHGW, GWINFO, and other gateways (digest §15).

use std::time::Duration;

use mqttsn_gateway::core::LinkSettings;
use mqttsn_gateway::wire::GwId;

use super::World;

const QUARTER: f64 = 900.0;

/// A gateway that advertises every 15 minutes, and whose broker has just come up.
fn advertising() -> World {
    let mut world = World::with_link(|link| link.advertise = Some(Duration::from_secs(900)));
    world.everyone_hears(0, "0500010384 ADVERTISE");
    world
}

#[test]
fn advertise_goes_out_at_its_interval() {
    let mut world = advertising();
    for _ in 0..3 {
        world.passes(QUARTER - 0.1);
        world.passes(0.1);
        world.everyone_hears(0, "0500010384");
    }
}

#[test]
fn the_interval_and_the_gateway_s_id_are_as_configured() {
    let mut world = World::with_settings(|settings| {
        settings.gw_id = GwId(7);
        let link = LinkSettings { advertise: Some(Duration::from_secs(60)), ..LinkSettings::default() };
        settings.links.insert(World::LINK, link);
    });
    world.everyone_hears(0, "050007003c");
    world.passes(60.0);
    world.everyone_hears(0, "050007003c");
    world.client("C").says("030100").hears("030207");
    world.everyone_hears(0, "030207");
}

#[test]
fn a_link_that_does_not_advertise_is_quiet() {
    let mut world = World::with_broker();
    world.passes(24.0 * 3_600.0);
}

#[test]
fn searchgw_is_answered_to_the_asker_and_to_everyone_as_far_as_it_was_asked() {
    for (search, radius) in [("030100", 0), ("030101", 1), ("0301ff", 255)] {
        let mut world = World::with_broker();
        world.client("C").says(search).hears("030201 GWINFO");
        world.everyone_hears(radius, "030201");
    }
}

#[test]
fn searchgw_to_a_group_is_answered_the_same_way() {
    let mut world = World::with_broker();
    world.client("C").says_to_all("030101").hears("030201");
    world.everyone_hears(1, "030201");
}

#[test]
fn searchgw_is_answered_ten_times_a_second_and_no_more() {
    let mut world = World::with_broker();
    for _ in 0..10 {
        world.client("C").says("030101").hears("030201");
        world.everyone_hears(1, "030201");
    }
    world.client("D").says("030101");
    world.passes(0.1);
    world.client("D").says("030101").hears("030201");
    world.everyone_hears(1, "030201");
    world.client("D").says("030101");
}

#[test]
fn searchgw_through_a_forwarder_is_answered_through_it() {
    let mut world = World::with_broker();
    world.client("F").says("05fe031a2b030103").hears("05fe001a2b030201");
    world.everyone_hears(3, "030201");
}

#[test]
fn another_gateway_is_noted_when_it_is_heard_and_given_up_after_three_silent_periods() {
    let mut world = World::with_broker();
    world.client("G").says("0500070384 ADVERTISE");
    world.notes("gateway 7 heard at G");
    world.passes(QUARTER);
    world.client("G").says_to_all("0500070384");
    world.passes(3.0 * QUARTER - 0.1);
    world.passes(0.1);
    world.notes("gateway 7 gone");
    world.client("G").says("0500070384");
    world.notes("gateway 7 heard at G");
}

#[test]
fn a_gwinfo_from_anyone_tells_of_a_gateway() {
    for info in ["030207 from the gateway itself", "0702070a000001 from a client, with its address"] {
        let mut world = World::with_broker();
        world.client("D").says(info);
        world.notes("gateway 7 heard at D");
        world.passes(3.0 * QUARTER);
        world.notes("gateway 7 gone");
    }
}

#[test]
fn an_advertise_that_does_not_say_when_the_next_one_comes_counts_like_a_gwinfo() {
    let mut world = World::with_broker();
    world.client("G").says("0500070000 ADVERTISE, duration 0");
    world.notes("gateway 7 heard at G");
    world.passes(QUARTER);
    world.client("G").says("0500070000");
    world.passes(3.0 * QUARTER);
    world.notes("gateway 7 gone");
}

#[test]
fn a_gateway_s_own_advertise_comes_back_to_it_and_tells_nothing() {
    let mut world = advertising();
    world.client("C").says_to_all("0500010384");
    world.client("C").says_to_all("030201");
}

#[test]
fn as_many_gateways_are_noted_as_there_can_be() {
    let mut world = World::with_broker();
    for id in (0..=255_u8).filter(|id| *id != 1) {
        world.client("G").says(&format!("0500{id:02x}0384"));
        world.notes(&format!("gateway {id} heard at G"));
    }
}

#[test]
fn searchgw_of_the_wrong_length_is_dropped() {
    let mut world = World::with_broker();
    world.client("C").garbles("0201");
    world.notes("malformed from C: body_size");
    world.client("C").garbles("04010101");
    world.notes("malformed from C: body_size");
}
