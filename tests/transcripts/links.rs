//! A link that is lost and comes back: whoever is behind it is kept as a sleeper is, and goes on.

use mqttsn_gateway::core::{ClientPhase, LinkId};
use std::time::Duration;

use super::world::Session;
use super::{World, frames};

fn subscribed() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("ab", 2, 1);
    world
}

#[test]
fn a_client_whose_link_is_down_is_not_lost_by_its_keep_alive() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.passes(80.0);
    world.link_goes_down();
    assert_eq!(world.phase("c1"), Some(ClientPhase::Asleep));
    world.passes(3_500.0);
    world.link_comes_back();
    assert_eq!(world.phase("c1"), Some(ClientPhase::Active));
    world.client("C").says("0216").hears("0217");
}

#[test]
fn a_client_has_its_full_keep_alive_to_be_heard_when_its_link_is_back() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.link_goes_down();
    world.passes(600.0);
    world.link_comes_back();
    world.passes(89.9);
    world.passes(0.1);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn a_client_whose_link_stays_away_is_lost_in_the_end_and_its_will_published() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Session::Clean, "w", "gone");
    world.link_goes_down();
    world.passes(3_599.9);
    world.passes(0.1);
    world.notes("lost c1: LinkDown");
    world.notes("will of c1 to w");
    world.broker().gets("PUBLISH q1 w gone");
}

#[test]
fn a_sleeper_is_kept_as_long_as_it_sleeps_however_soon_its_link_was_lost() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 3_600);
    world.link_goes_down();
    world.passes(5_399.9);
    world.passes(0.1);
    world.notes("lost c1: LinkDown");
}

#[test]
fn how_long_a_client_is_kept_behind_a_lost_link_can_be_seen() {
    let kept_for = |sleep: Option<u16>| {
        let mut world = subscribed();
        if let Some(seconds) = sleep {
            world.client("C").sleeps("c1", seconds);
        }
        world.passes(10.0);
        world.link_goes_down();
        let status = world.client_details("c1").unwrap().status;
        assert_eq!(status.phase, ClientPhase::Asleep);
        status.until.zip(status.heard).map(|(until, heard)| until - heard)
    };
    assert_eq!(kept_for(None), Some(Duration::from_secs(10 + 3_600)));
    assert_eq!(kept_for(Some(60)), Some(Duration::from_secs(10 + 3_600)));
    assert_eq!(kept_for(Some(3_600)), Some(Duration::from_secs(5_400)));
}

#[test]
fn a_sleeper_wakes_up_as_ever_when_its_link_is_back() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 60);
    world.link_goes_down();
    world.broker().publishes("ab", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.passes(600.0);
    world.link_comes_back();
    world.passes(80.0);
    world.client("C").says("04166331").hears("080c200001000131").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn what_comes_while_the_link_is_down_waits_and_is_sent_when_it_is_back() {
    let mut world = subscribed();
    world.link_goes_down();
    for number in 1..=3 {
        world.broker().publishes("ab", 1, &number.to_string());
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    world.passes(300.0);
    world.link_comes_back();
    world.client("C").hears("080c200001000131").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070d0001000200").hears("080c200001000333");
    world.broker().gets_if_own("ACK 2");
    world.client("C").says("070d0001000300");
    world.broker().gets_if_own("ACK 3");
}

#[test]
fn a_message_in_flight_is_not_sent_again_while_the_link_is_down_and_once_when_it_is_back() {
    let mut world = subscribed();
    world.broker().publishes("ab", 2, "x");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("080c400001000178");
    world.passes(5.0);
    world.link_goes_down();
    if !world.keeps() {
        world.broker().gets_if_shared("ACK 1");
    }
    world.passes(600.0);
    world.link_comes_back();
    world.client("C").hears("080cc00001000178 DUP").says("040f0001").hears("04100001");
    world.broker().gets_if_own("ACK 1");
    world.link_goes_down();
    world.link_comes_back();
    world.client("C").hears("04100001").says("040e0001");
}

#[test]
fn a_message_in_flight_has_a_full_set_of_resends_when_the_link_is_back() {
    let mut world = subscribed();
    world.broker().publishes("ab", 1, "x");
    world.client("C").hears("080c200001000178");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("080ca00001000178");
    }
    world.link_goes_down();
    world.broker().gets_if_shared("ACK 1");
    world.link_comes_back();
    for _ in 0..4 {
        world.client("C").hears("080ca00001000178");
        world.passes(10.0);
    }
    world.client("C").hears("0218");
    world.notes("lost c1: NoAnswer");
}

#[test]
fn what_the_broker_accepts_while_the_link_is_down_is_acknowledged_when_the_client_asks_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c226162000778");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.link_goes_down();
    world.broker().accepts(publish);
    world.link_comes_back();
    world.client("C").says("080ca26162000778 DUP").hears("070d6162000700");
}

#[test]
fn a_sleeper_in_mid_flush_is_asleep_again_when_its_link_is_lost() {
    let mut world = subscribed();
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("ab", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.link_goes_down();
    world.passes(60.0);
    world.link_comes_back();
    world.passes(60.0);
    world.client("C").says("04166331").hears("080ca00001000131").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_client_that_was_asked_for_its_will_is_asked_again_when_its_link_is_back() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.link_goes_down();
    world.passes(600.0);
    world.link_comes_back();
    world.client("C").hears("0206").says("04070077").hears("0208").says("030978").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_client_may_connect_over_another_link_while_its_own_is_down() {
    let mut world = subscribed();
    world.link_goes_down();
    world.client("D").says_over(LinkId(9), "08040001003c6331");
    world.notes("moved c1 from C to D");
    world.notes("connected c1, persistent");
    world.client("C").hears("0218 though nobody listens");
    world.client("D").hears("030500");
    world.broker().publishes("ab", 0, "x");
    world.client("D").hears("080a000100016162").says_over(LinkId(9), "070b0001000100").hears("080c000001000078");
}

#[test]
fn a_connect_after_the_link_is_back_is_served_as_ever() {
    let mut world = subscribed();
    world.link_goes_down();
    world.broker().publishes("ab", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.link_comes_back();
    world.client("C").hears("080c200001000131 before the board has booted");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("080a000100026162").says("070b0001000200").hears("080ca00001000131").says("070d0001000100");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_link_that_is_lost_concerns_nobody_behind_another() {
    let mut world = subscribed();
    world.loses_link(LinkId(9));
    assert_eq!(world.phase("c1"), Some(ClientPhase::Active));
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn the_wait_for_a_link_can_be_switched_off() {
    let mut world = World::with_settings(|settings| settings.timers.link_wait = Duration::ZERO);
    world.client("C").connects("c1");
    world.link_goes_down();
    world.passes(89.9);
    world.passes(0.1);
    world.notes("lost c1: LinkDown");
}

#[test]
fn devices_hear_of_the_gateway_at_once_when_their_link_is_back() {
    let mut world = World::with_link(|link| link.advertise = Some(Duration::from_secs(900)));
    world.everyone_hears(0, "0500010384");
    world.link_goes_down();
    world.passes(60.0);
    world.link_comes_back();
    world.everyone_hears(0, "0500010384");
    world.passes(899.0);
    world.passes(1.0);
    world.everyone_hears(0, "0500010384");
}
