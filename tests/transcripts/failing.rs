//! The store cannot write: what is refused, what goes on, and what comes of it when it can again.

use mqttsn_gateway::core::{Durability, PublishOutcome};

use super::World;
use super::frames;
use super::world::Session::Clean;

/// A client at C that has registered `a/b` (id 1), and a store that fails.
fn failing(durability: Durability) -> World {
    let mut world = World::with_settings(|settings| settings.durability = durability);
    world.client("C").connects("c1");
    world.client("C").registers("a/b", 1);
    world.store().fails();
    world
}

fn refusing() -> World {
    failing(Durability::Strict)
}

fn going_on() -> World {
    failing(Durability::BestEffort)
}

#[test]
fn what_would_need_the_store_is_congestion() {
    let mut world = refusing();
    world.client("D").sends(&frames::connect("c2", 0x04, 60)).hears("030501");
    world.notes("CONNECT of D refused: StoreFails");
    world.client("D").says("0216").hears("0218");
    world.notes("stray D");
    world.client("C").sends(&frames::register("new", 7)).hears("070b0000000701");
    world.notes("refused c1: StoreFails");
    world.client("C").sends(&frames::subscribe("new", 1, 7)).hears("0813000000000701");
    world.notes("refused c1: StoreFails");
    world.client("C").says("080c400001000778 QoS 2").hears("070d0001000701");
    world.notes("refused c1: StoreFails");
}

#[test]
fn what_needs_no_store_goes_on() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.store().fails();
    world.client("C").says("0216").hears("0217");
    world.client("C").says("080c000001000078 QoS 0");
    world.broker().gets("PUBLISH q0 a/b x");
    world.client("C").says("080c200001000778 QoS 1");
    let publish = world.broker().gets("PUBLISH q1 a/b x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn while_the_broker_is_away_too_qos_1_is_congestion() {
    let mut world = refusing();
    world.broker().goes_down();
    world.client("C").says("080c200001000778").hears("070d0001000701");
    world.notes("refused c1: BrokerDown");
}

#[test]
fn a_publish_behind_one_that_is_kept_is_congestion_because_it_must_not_overtake_it() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.client("C").says("080c226162000731").hears("070d6162000700");
    world.broker().comes_back();
    let first = world.broker().gets("PUBLISH q1 ab 1");
    world.store().fails();
    world.client("C").says("080c226162000832").hears("070d6162000801");
    world.notes("refused c1: StoreFails");
    world.broker().accepts(first);
    world.client("C").says("080c226162000832");
    let second = world.broker().gets("PUBLISH q1 ab 2");
    world.broker().accepts(second);
    world.client("C").hears("070d6162000800");
}

#[test]
fn what_was_promised_when_it_began_to_fail_is_said_when_it_has_written_it() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").sends(&frames::register("a/b", 7));
    world.client("C").says("080c426162000778 QoS 2");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.store().fails();
    world.broker().accepts(publish);
    world.passes(10.0);
    world.store().recovers();
    world.client("C").hears("070b0001000700").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn a_refusal_does_not_wait_behind_what_does() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").sends(&frames::register("a/b", 7));
    world.store().fails();
    world.client("C").sends(&frames::register("a/c", 8)).hears("070b0000000801");
    world.notes("refused c1: StoreFails");
    world.store().recovers();
    world.client("C").hears("070b0001000700");
}

#[test]
fn a_client_that_waits_for_the_store_hears_that_the_gateway_is_there() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").sends(&frames::register("a/b", 7));
    world.store().fails();
    world.client("C").says("0216").hears("0217");
    world.store().recovers();
    world.client("C").hears("070b0001000700");
}

#[test]
fn that_a_sleeper_has_got_everything_is_said_after_what_waits_for_the_store() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").says("0418012c DISCONNECT for 300 s");
    world.notes("asleep c1 for 300 s");
    world.store().fails();
    world.client("C").says("04166331 PINGREQ");
    world.store().recovers();
    world.client("C").hears("0218").hears("0217");
}

#[test]
fn when_it_writes_again_everything_is_accepted_again() {
    let mut world = refusing();
    world.client("C").sends(&frames::register("new", 7)).hears("070b0000000701");
    world.notes("refused c1: StoreFails");
    world.store().recovers();
    world.client("C").registers("new", 2);
    world.client("D").connects("c2");
    world.client("D").subscribes("new", 1, 1);
    world.client("C").says("080c400002000778");
    let publish = world.broker().gets("PUBLISH q2 new x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn a_message_for_a_sleeper_is_left_to_the_broker_until_it_can_be_stored() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").sleeps("c1", 300);
    world.store().fails();
    world.broker().publishes("a/b", 1, "x");
    world.passes(60.0);
    world.store().recovers();
    world.broker().gets("ACK 1");
    world.client("C").says("04166331").hears("080c200001000178").says("070d0001000100").hears("0217");
}

#[test]
fn a_connected_client_that_connects_again_stays_as_it_was() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b", 1);
    world.store().fails();
    world.client("C").sends(&frames::connect("c1", 0x00, 60)).hears("030501");
    world.notes("CONNECT of C refused: StoreFails");
    world.store().recovers();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b", 1);
}

#[test]
fn with_best_effort_everything_goes_on_as_without_a_store() {
    let mut world = going_on();
    world.client("D").connects("c2");
    world.client("D").subscribes("new", 2, 1);
    world.client("C").says("080c400001000778 QoS 2");
    let publish = world.broker().gets("PUBLISH q2 a/b x");
    world.broker().accepts(publish);
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
    world.broker().publishes("new", 2, "x");
    world.broker().gets("ACK 1");
    world.client("D").hears("080c400001000178").says("040f0001").hears("04100001").says("040e0001");
    world.client("D").sleeps("c2", 300);
    world.broker().publishes("new", 1, "y");
    world.broker().gets("ACK 2");
    world.broker().goes_down();
    world.client("C").says("080c200001000878").hears("070d0001000800");
    world.broker().comes_back();
    let kept = world.broker().gets("PUBLISH q1 a/b x");
    world.broker().accepts(kept);
}

#[test]
fn with_best_effort_what_waited_for_the_store_is_said_when_it_fails() {
    let mut world = World::with_settings(|settings| settings.durability = Durability::BestEffort);
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").sends(&frames::register("a/b", 7));
    world.client("C").says("080c426162000778 QoS 2");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    world.store().fails();
    world.client("C").hears("070b0001000700").hears("040f0007").says("04100007").hears("040e0007");
}

#[test]
fn with_best_effort_promises_count_again_when_the_store_writes_again() {
    let mut world = going_on();
    world.client("C").registers("b", 2);
    world.store().recovers();
    world.store().holds();
    world.client("C").sends(&frames::register("c", 7));
    world.store().stores();
    world.client("C").hears("070b0003000700");
}

#[test]
fn a_publish_whose_connection_breaks_while_it_is_being_stored_is_congestion() {
    let mut world = World::without_broker(|_| {});
    world.broker.offer.max_qos = mqttsn_gateway::wire::Qos::AtLeastOnce;
    world.broker().comes_up();
    world.client("C").connects("c1");
    world.store().holds();
    world.client("C").says("080c426162000778 QoS 2, which the broker does not take");
    world.broker().goes_down();
    world.store().stores();
    world.client("C").hears("070d6162000701");
    world.notes("refused c1: BrokerBusy");
}

#[test]
fn a_will_of_a_client_that_is_lost_meanwhile_is_not_lost() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.store().fails();
    world.passes(90.0);
    world.notes("lost c1: KeepAlive");
    world.notes("will of c1 to will");
    let will = world.broker().gets("PUBLISH q1 will bye");
    world.broker().settles(will, PublishOutcome::Accepted);
    world.store().recovers();
    world.client("C").hears("0218");
}
