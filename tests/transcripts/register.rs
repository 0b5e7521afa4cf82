//! REGISTER from a client (digest §6, §8).

use super::World;
use super::world::predefine;

#[test]
fn a_topic_gets_an_id_and_keeps_it() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("0b0a00000001612f622f63 a/b/c").hears("070b0001000100 id 1");
    world.client("C").says("0b0a00000002612f622f64 a/b/d").hears("070b0002000200 id 2");
    world.client("C").says("0b0a00000003612f622f63 a/b/c again").hears("070b0001000300 the same id");
}

#[test]
fn a_subscription_and_a_registration_of_one_topic_share_an_id() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").registers("a/b", 1);
    world.client("C").registers("c", 2);
    world.client("C").subscribes("c", 0, 2);
}

#[test]
fn every_client_has_ids_of_its_own() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").registers("a", 1);
    world.client("D").registers("b", 1);
    world.client("C").says("080c000001000078");
    world.broker().gets("PUBLISH q0 a x");
    world.client("D").says("080c000001000078");
    world.broker().gets("PUBLISH q0 b x");
}

#[test]
fn normal_ids_keep_clear_of_predefined_ones() {
    let mut world = World::with_settings(predefine(&[(1, "p/1"), (2, "p/2"), (4, "p/4")]));
    world.client("C").connects("c1");
    world.client("C").registers("a", 3);
    world.client("C").registers("b", 5);
    world.client("C").registers("p/1", 6);
}

#[test]
fn the_topic_id_in_a_client_s_register_is_ignored() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("070a1234000161").hears("070b0001000100");
}

#[test]
fn a_name_that_a_broker_would_punish_is_not_supported() {
    let cases = [
        ("060a00000001 empty", "Empty"),
        ("080a00000001612b a+", "Wildcard"),
        ("070a0000000123 #", "Wildcard"),
        ("080a000000016100 U+0000", "ControlCharacter"),
        ("080a00000001c328 not UTF-8", "NotUtf8"),
    ];
    for (register, why) in cases {
        let mut world = World::with_broker();
        world.client("C").connects("c1");
        world.client("C").says(register).hears("070b0000000103");
        world.notes(&format!("refused c1: Register {{ error: {why} }}"));
        world.client("C").registers("a", 1);
    }
}

#[test]
fn a_two_octet_name_may_be_registered() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080a000000016162").hears("070b0001000100");
    world.client("C").says("080c000001000078");
    world.broker().gets("PUBLISH q0 ab x");
}

#[test]
fn a_full_table_is_told_congestion_and_still_knows_its_names() {
    let mut world = World::with_settings(|settings| settings.limits.topics_per_client = 2);
    world.client("C").connects("c1");
    world.client("C").registers("a", 1);
    world.client("C").registers("b", 2);
    world.client("C").says("070a0000000363").hears("070b0000000301 congestion");
    world.notes("refused c1: TooManyTopics { limit: 2 }");
    world.client("C").registers("b", 2);
}

#[test]
fn ids_count_up_over_a_clean_reconnect_from_one_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").registers("a", 1);
    world.client("C").connects("c1");
    world.client("C").registers("b", 1);
}

#[test]
fn a_register_works_while_the_broker_is_away() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.broker().goes_down();
    world.client("C").registers("a", 1);
}

#[test]
fn a_register_in_the_long_form_is_answered() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    let name = "n".repeat(300);
    world.client("C").registers(&name, 1);
    world.client("C").says("080c000001000078");
    world.broker().gets(&format!("PUBLISH q0 {name} x"));
}
