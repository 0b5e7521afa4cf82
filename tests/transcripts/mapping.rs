//! Where clients' topics stand at the broker: behind `broker.topic_prefix`, which may name the client.

use mqttsn_gateway::core::PrefixTemplate;

use super::World;
use super::frames;
use super::world::Session::Clean;

fn prefixed(template: &str) -> World {
    let mut world = World::with_settings(|settings| settings.topic_prefix = PrefixTemplate::parse(template).unwrap());
    world.client("C").connects("c1");
    world
}

#[test]
fn a_publish_goes_up_behind_the_prefix() {
    let mut world = prefixed("site/{client_id}/");
    world.client("C").registers("a/b", 1);
    world.client("C").says("080c000001000078");
    world.broker().gets("PUBLISH q0 site/c1/a/b x");
    world.client("C").says("080c226162000778 short");
    let publish = world.broker().gets("PUBLISH q1 site/c1/ab x");
    world.broker().accepts(publish);
    world.client("C").hears("070d6162000700");
}

#[test]
fn every_client_has_a_tree_of_its_own() {
    let mut world = prefixed("{client_id}/");
    world.client("D").connects("c2");
    for (name, id) in [("C", "c1"), ("D", "c2")] {
        world.client(name).says("081200000d612f62");
        let asked = world.broker().gets(&format!("SUBSCRIBE q0 {id}/a/b"));
        world.broker().grants(&asked, 0);
        world.client(name).hears("0813000001000d00");
    }
    world.broker().publishes("c2/a/b", 0, "x");
    world.client("D").hears("080c000001000078");
}

#[test]
fn a_message_comes_down_without_the_prefix() {
    let mut world = prefixed("site/{client_id}/");
    world.client("C").says("081220000d612f2b a/+");
    let asked = world.broker().gets("SUBSCRIBE q1 site/c1/a/+");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200000000d00");
    world.broker().publishes("site/c1/a/b", 1, "x");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000278");
    world.client("C").says("070d0001000200");
    world.broker().gets("ACK 1");
}

#[test]
fn a_wildcard_does_not_reach_out_of_the_prefix() {
    let mut world = prefixed("site/{client_id}/");
    world.client("C").says("061200000d23 #");
    let asked = world.broker().gets("SUBSCRIBE q0 site/c1/#");
    world.broker().grants(&asked, 0);
    world.client("C").hears("0813000000000d00");
    world.broker().publishes("site/c2/ab", 0, "x");
    world.broker().publishes_for(&[&asked], "site/c1", 1, "the level itself has no name for the client");
    world.broker().gets("ACK 1");
    world.broker().publishes("site/c1/ab", 0, "x");
    world.client("C").hears("080c026162000078");
}

#[test]
fn an_unsubscribe_names_the_broker_s_topic() {
    let mut world = prefixed("site/{client_id}/");
    world.client("C").says("081200000d612f62");
    let asked = world.broker().gets("SUBSCRIBE q0 site/c1/a/b");
    world.broker().grants(&asked, 0);
    world.client("C").hears("0813000001000d00").says("081400000e612f62").hears("0415000e");
    world.broker().gets("UNSUBSCRIBE site/c1/a/b");
}

#[test]
fn a_will_goes_behind_the_prefix() {
    let mut world = prefixed("site/{client_id}/");
    world.client("D").connects_with_will("c2", Clean, "will", "bye");
    world.client("C").disconnects("c1");
    world.passes(90.0);
    world.client("D").hears("0218");
    world.notes("lost c2: KeepAlive");
    world.broker().gets("PUBLISH q1 site/c2/will bye");
    world.notes("will of c2 to site/c2/will");
}

#[test]
fn qos_minus_one_is_nobody_s_whoever_sends_it() {
    let mut world = prefixed("site/{client_id}/");
    world.client("D").says("080c626162000078");
    world.broker().gets("PUBLISH q0 site/anonymous/ab x");
    world.client("C").says("080c626162000078");
    world.broker().gets("PUBLISH q0 site/anonymous/ab x");
}

#[test]
fn a_client_id_cannot_reach_into_another_s_tree() {
    let mut world = prefixed("{client_id}/");
    world.client("D").connects("c1/#/+");
    world.client("D").says("080c026162000078");
    world.broker().gets("PUBLISH q0 c1%2F%23%2F%2B/ab x");
}

#[test]
fn a_topic_that_is_too_long_behind_the_prefix_is_refused() {
    let mut world = prefixed("a/prefix/of/some/length/");
    let name = "n".repeat(65_520);
    world.client("C").registers(&name, 1);
    world.client("C").says("080c200001000778").hears("070d0001000703");
    world.notes("refused c1: PrefixedTopic { error: TooLong }");
    world.client("C").sends(&frames::subscribe(&name, 0, 13)).hears("0813000000000d03");
    world.notes("refused c1: PrefixedTopic { error: TooLong }");
}
