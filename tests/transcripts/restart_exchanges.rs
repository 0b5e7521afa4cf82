//! QoS 2 over a restart, both ways: in whatever phase the gateway is killed, the message arrives once.

use mqttsn_gateway::core::{PublishOutcome, Record};

use super::World;
use super::broker::Asked;

/// A client at C, subscribed to `ab` at QoS 2.
fn connected() -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("07124200106162 SUBSCRIBE QoS 2 short ab");
    let asked = world.broker().gets("SUBSCRIBE q2 ab");
    world.broker().grants(&asked, 2);
    world.client("C").hears("0813406162001000");
    world
}

/// The client publishes at QoS 2, and the broker has not answered.
fn publishing(world: &mut World) -> Asked {
    world.client("C").says("080c426162000778");
    world.broker().gets("PUBLISH q2 ab x")
}

/// The client hears that the gateway has the message, and releases it.
fn ends(world: &mut World) {
    world.client("C").hears("040f0007").says("04100007").hears("040e0007");
    assert!(!world.store().records().any(|record| matches!(record, Record::Exchange(_) | Record::Completed(_))));
}

#[test]
fn a_publish_that_was_not_stored_is_begun_again() {
    let mut world = connected();
    world.store().holds();
    publishing(&mut world);
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    ends(&mut world);
}

#[test]
fn a_publish_that_never_reached_the_connection_is_begun_again() {
    let mut world = connected();
    publishing(&mut world);
    assert_eq!(world.restarts(&[]).dropped, 0, "it makes sense");
    assert!(!world.store().records().any(|record| matches!(record, Record::Exchange(_))));
    world.broker().comes_back();
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    ends(&mut world);
}

#[test]
fn a_publish_that_the_connection_goes_on_with_goes_up_once() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.restarts(&[&publish]);
    world.client("C").says("080cc26162000778 DUP, while the broker is away").hears("040f0007");
    world.broker().comes_back();
    world.broker().accepts(publish);
    world.client("C").says("04100007").hears("040e0007");
}

#[test]
fn a_publish_that_the_connection_goes_on_with_is_answered_when_the_broker_has_it() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.restarts(&[&publish]);
    world.broker().comes_back();
    world.client("C").says("080cc26162000778 DUP");
    world.broker().accepts(publish);
    ends(&mut world);
}

#[test]
fn a_publish_that_the_broker_took_in_the_last_moment_goes_up_once() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.store().completes(&publish);
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("080cc26162000778 DUP");
    ends(&mut world);
}

#[test]
fn a_publish_that_is_lost_with_the_broker_s_session_is_begun_again() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.restarts(&[&publish]);
    world.broker().comes_up();
    let renewal = world.broker().gets("SUBSCRIBE q2 ab");
    world.broker().grants(&renewal, 2);
    world.broker().settles(publish, PublishOutcome::Lost);
    world.client("C").says("080cc26162000778 DUP");
    let publish = world.broker().gets("PUBLISH q2 ab x");
    world.broker().accepts(publish);
    ends(&mut world);
}

#[test]
fn a_publish_whose_pubrec_was_lost_is_known_again() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.broker().accepts(publish);
    world.client("C").hears("040f0007 lost");
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("080cc26162000778 DUP");
    ends(&mut world);
}

#[test]
fn a_publish_whose_pubrec_was_not_sent_is_known_again() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.store().completes(&publish);
    world.store().holds();
    world.broker().accepts(publish);
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("080cc26162000778 DUP");
    ends(&mut world);
}

#[test]
fn a_release_is_answered_after_a_restart_too() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.broker().accepts(publish);
    world.client("C").hears("040f0007");
    world.restarts(&[]);
    world.client("C").says("04100007").hears("040e0007 lost").says("04100007").hears("040e0007");
}

#[test]
fn a_message_id_is_free_after_its_release_and_a_restart() {
    let mut world = connected();
    let publish = publishing(&mut world);
    world.broker().accepts(publish);
    ends(&mut world);
    world.restarts(&[]);
    world.broker().comes_back();
    world.client("C").says("080c426162000779 another one");
    let publish = world.broker().gets("PUBLISH q2 ab y");
    world.broker().accepts(publish);
    ends(&mut world);
}

#[test]
fn a_message_that_was_not_stored_comes_again_from_the_broker() {
    let mut world = connected();
    world.store().holds();
    world.broker().publishes("ab", 2, "x");
    world.restarts(&[]);
    world.broker().comes_back();
    world.broker().gets("ACK 2");
    world.client("C").hears("080c426162004178").says("040f0041").hears("04100041").says("040e0041");
}

#[test]
fn a_message_that_was_stored_and_not_acknowledged_is_acknowledged_and_goes_to_the_client_once() {
    let mut world = connected();
    world.store().holds();
    world.broker().publishes("ab", 2, "x");
    world.store().stores_unheard();
    world.restarts(&[]);
    world.client("C").hears("080cc26162000178");
    world.broker().comes_back();
    world.broker().gets("ACK 2");
    world.client("C").says("040f0001").hears("04100001").says("040e0001");
    world.passes(80.0);
}

#[test]
fn a_message_on_its_way_is_sent_again_under_its_message_id() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.broker().gets("ACK 1");
    world.client("C").hears("080c426162000178");
    world.restarts(&[]);
    world.client("C").hears("080cc26162000178 DUP").says("040f0001").hears("04100001").says("040e0001");
    world.broker().comes_back();
    assert_eq!(world.restarts(&[]).queued, 0);
}

#[test]
fn a_message_that_the_client_has_is_released_and_not_sent_again() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.broker().gets("ACK 1");
    world.client("C").hears("080c426162000178");
    world.broker().publishes("ab", 2, "y");
    world.broker().gets("ACK 2");
    world.client("C").says("040f0001").hears("04100001");
    world.restarts(&[]);
    world.client("C").hears("04100001").says("040e0001").hears("080c426162004179");
    world.client("C").says("040f0041").hears("04100041").says("040e0041");
}

#[test]
fn a_message_whose_pubrec_was_not_stored_is_sent_again_under_its_message_id() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.broker().gets("ACK 1");
    world.client("C").hears("080c426162000178");
    world.store().holds();
    world.client("C").says("040f0001");
    world.restarts(&[]);
    world.client("C").hears("080cc26162000178").says("040f0001").hears("04100001").says("040e0001");
}

#[test]
fn a_sleeper_s_exchange_goes_on_when_it_wakes_up() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.broker().gets("ACK 1");
    world.client("C").hears("080c426162000178");
    world.client("C").sleeps("c1", 300);
    world.restarts(&[]);
    world.client("C").says("04166331").hears("080cc26162000178").says("040f0001").hears("04100001");
    world.restarts(&[]);
    world.client("C").says("04166331").hears("04100001").says("040e0001").hears("0217");
}

#[test]
fn a_message_that_comes_at_qos_2_for_a_client_at_qos_1_is_not_lost() {
    let mut world = connected();
    world.client("D").connects("c2");
    world.client("D").subscribes("ab", 1, 1);
    world.broker().publishes("ab", 2, "x");
    world.broker().gets("ACK 1");
    world.client("D").hears("080c200001000178 lost");
    world.client("C").hears("080c426162000178").says("040f0001").hears("04100001").says("040e0001");
    world.restarts(&[]);
    world.client("D").hears("080a000100416162").says("070b0001004100").hears("080c200001004278");
    world.client("D").says("070d0001004200");
    world.broker().comes_back();
    assert_eq!(world.restarts(&[]).queued, 0);
}

#[test]
fn another_message_under_a_packet_id_of_before_is_not_taken_for_a_repetition() {
    let mut world = connected();
    world.broker().publishes("ab", 2, "x");
    world.broker().gets("ACK 1");
    world.client("C").hears("080c426162000178").says("040f0001").hears("04100001").says("040e0001");
    world.restarts(&[]);
    world.broker().comes_back();
    world.broker().sends_again(1, "ab", "y");
    world.broker().gets("ACK 2");
    world.client("C").hears("080c426162004179").says("040f0041").hears("04100041").says("040e0041");
}
