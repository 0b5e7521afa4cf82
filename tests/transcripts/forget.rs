//! Those who run the gateway look at a session, and end it.

use std::time::Duration;

use super::World;
use super::world::Session::Persistent;
use mqttsn_gateway::core::ClientPhase;
use mqttsn_gateway::wire::Qos;

#[test]
fn a_connected_client_that_is_forgotten_is_told_and_has_to_begin_anew() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b", 1);
    world.forgets("c1");
    world.client("C").hears("0218");
    world.notes("forgotten c1");
    assert!(world.clients().is_empty());

    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
    world.client("C").connects_persistent("c1");
    world.client("C").registers("x/y", 1);
}

#[test]
fn the_subscriptions_of_a_forgotten_client_are_given_up() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.forgets("c1");
    world.client("C").hears("0218");
    world.notes("forgotten c1");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_sleeping_client_that_is_forgotten_is_told_when_it_wakes() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").sleeps("c1", 300);
    world.forgets("c1");
    world.notes("forgotten c1");
    world.client("C").says("04166331").hears("0218");
    world.notes("stray C");
}

#[test]
fn a_client_that_is_away_is_forgotten_without_a_word() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").disconnects("c1");
    assert_eq!(world.clients(), ["c1 away"]);
    world.forgets("c1");
    world.notes("forgotten c1");
    assert!(world.clients().is_empty());
}

#[test]
fn the_will_of_a_forgotten_client_goes_out_if_it_was_connected() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "a/b", "gone");
    world.forgets("c1");
    world.client("C").hears("0218");
    world.notes("forgotten c1");
    world.notes("will of c1 to a/b");
    world.broker().gets("PUBLISH q1 a/b gone");
}

#[test]
fn forgetting_a_client_that_nobody_knows_changes_nothing() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.forgets("c2");
    world.quiet();
    assert_eq!(world.clients(), ["c1 active"]);
}

#[test]
fn what_a_session_holds_can_be_seen() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "a/w", "gone");
    world.client("C").registers("a/x", 1);
    world.client("C").subscribes("a/b", 1, 2);
    world.client("C").sleeps("c1", 100);
    world.passes(10.0);
    world.broker().publishes("a/b", 1, "on");
    world.ignore();

    let details = world.client_details("c1").unwrap();
    let status = details.status;
    assert_eq!((status.client_id, status.phase, status.is_persistent), ("c1", ClientPhase::Asleep, true));
    assert_eq!(status.until, status.heard.map(|heard| heard + Duration::from_secs(150)));
    assert_eq!((status.topics, status.subscriptions, status.queued, status.queued_octets), (2, 1, 1, 5));
    assert_eq!(details.will.map(|will| will.topic), Some("a/w".into()));
    let topics: Vec<_> = details.topics.iter().map(|(id, name)| (id.0, name.as_str())).collect();
    assert_eq!(topics, [(1, "a/x"), (2, "a/b")]);
    let subscriptions: Vec<_> = details.subscriptions.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
    assert_eq!(subscriptions, [("a/b", Qos::AtLeastOnce)]);
    let [(message, None)] = details.queue.as_slice() else { panic!("{:?}", details.queue) };
    assert_eq!(&message.payload[..], b"on");
    assert_eq!(world.client_details("c2"), None);
}
