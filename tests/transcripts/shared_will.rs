//! Wills over the one connection that all clients share: they wait for the broker where they must.

use mqttsn_gateway::core::PublishOutcome;

use super::World;
use super::world::Session::Clean;

/// Clients at C, D, ... with wills, lost while there is no broker.
fn lost_without_a_broker(clients: &[(&str, &str)], limit: usize) -> World {
    let mut world = World::with_settings(|settings| {
        settings.limits.wills_waiting = limit;
        settings.outage.messages = limit;
    });
    for (name, id) in clients {
        world.client(name).connects_with_will(id, Clean, "will", id);
    }
    world.broker().goes_down();
    world.passes(90.0);
    for (name, id) in clients {
        world.client(name).hears("0218");
        world.notes(&format!("lost {id}: KeepAlive"));
        let dropped = if world.stats().wills_dropped > 0 && *id == "c3" { " dropped" } else { "" };
        world.notes(&format!("will of {id} to will{dropped}"));
    }
    world
}

#[test]
fn a_will_waits_for_the_broker() {
    let mut world = lost_without_a_broker(&[("C", "c1"), ("D", "c2")], 10);
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 will c1");
    let second = world.broker().gets("PUBLISH q1 will c2");
    world.broker().accepts(first);
    world.broker().accepts(second);
    world.broker().comes_back();
}

#[test]
fn so_many_wills_wait_and_no_more() {
    let mut world = lost_without_a_broker(&[("C", "c1"), ("D", "c2"), ("E", "c3")], 2);
    assert_eq!(world.stats().wills_dropped, 1);
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 will c1");
    world.broker().gets("PUBLISH q1 will c2");
    world.broker().accepts(first);
}

#[test]
fn a_will_whose_connection_breaks_is_sent_again() {
    let mut world = lost_without_a_broker(&[("C", "c1")], 10);
    world.broker().comes_back();
    let will = world.broker().gets("PUBLISH q1 will c1");
    world.broker().goes_down();
    world.broker().settles(will, PublishOutcome::Lost);
    world.broker().comes_up();
    let will = world.broker().gets("PUBLISH q1 will c1");
    world.broker().accepts(will);
    world.broker().comes_up();
}

#[test]
fn a_will_for_which_the_connection_had_no_room_is_sent_again_a_second_later() {
    let mut world = lost_without_a_broker(&[("C", "c1")], 10);
    world.broker().comes_back();
    for _ in 0..3 {
        let will = world.broker().gets("PUBLISH q1 will c1");
        world.broker().settles(will, PublishOutcome::Busy);
        world.passes(0.9);
        world.passes(0.1);
    }
    let will = world.broker().gets("PUBLISH q1 will c1");
    world.broker().accepts(will);
    world.passes(3_600.0);
}

#[test]
fn a_will_that_the_broker_refuses_is_not_sent_again() {
    let mut world = lost_without_a_broker(&[("C", "c1")], 10);
    world.broker().comes_back();
    let will = world.broker().gets("PUBLISH q1 will c1");
    world.broker().refuses_publish(will, 0x87);
    if world.keeps() {
        world.notes("dropped what was kept on will");
    }
    world.broker().comes_back();
}

#[test]
fn a_will_larger_than_the_broker_takes_is_dropped() {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.max_packet = Some(50);
    world.broker().comes_up();
    world.client("C").connects_with_will("c1", Clean, "will", &"x".repeat(50));
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to will dropped");
    assert_eq!(world.stats().wills_dropped, 1);
}

#[test]
fn a_will_is_brought_into_the_form_that_the_broker_takes() {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.max_qos = mqttsn_gateway::wire::Qos::AtMostOnce;
    world.broker.offer.retain = false;
    world.broker().comes_up();
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.client("C").says("051a50612f WILLTOPICUPD QoS 2 retain a/").hears("031b00");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.broker().gets("PUBLISH q0 a/ bye");
    world.notes("will of c1 to a/");
}
