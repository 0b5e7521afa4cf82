//! A client is its client id, not its address (digest §7.5).

use super::World;

#[test]
fn a_connect_from_a_new_address_takes_the_session_along() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 0, 1);
    world.client("D").says("08040001003c6331").hears("030500");
    world.client("C").hears("0218");
    world.notes("moved c1 from C to D");
    world.notes("connected c1, persistent");
    world.broker().publishes("a/b", 0, "x");
    world.client("D").hears("090a00010001612f62").says("070b0001000100").hears("080c000001000078");
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
    world.passes(60.0);
    world.client("D").says("0216").hears("0217");
    world.passes(60.0);
    world.client("D").says("0216").hears("0217");
}

#[test]
fn a_clean_connect_from_a_new_address_starts_anew() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 0, 1);
    world.client("D").says("08040401003c6331").hears("030500");
    world.client("C").hears("0218");
    world.notes("moved c1 from C to D");
    world.notes("connected c1");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_sleeper_s_former_address_is_not_told() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").sleeps("c1", 300);
    world.client("D").says("08040001003c6331").hears("030500");
    world.notes("moved c1 from C to D");
    world.notes("connected c1, persistent");
}

#[test]
fn what_was_in_flight_follows_to_the_new_address() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.client("C").says("080c200001000779 PUBLISH");
    let publish = world.broker().gets("PUBLISH q1 a/b y");
    world.client("D").says("08040001003c6331").hears("030500").hears("090a00010002612f62");
    world.client("C").hears("0218");
    world.notes("moved c1 from C to D");
    world.notes("connected c1, persistent");
    world.broker().accepts(publish);
    world.client("D").hears("070d0001000700");
    world.client("D").says("070b0001000200").hears("080ca00001000178").says("070d0001000100");
    world.broker().gets("ACK 1");
}

#[test]
fn another_client_at_the_same_address_ends_a_clean_session() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 0, 1);
    world.client("C").says("08040401003c6332 c2").hears("030500");
    world.notes("replaced c1 by c2");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.notes("connected c2");
    world.client("C").says("080c000001000078 c1's topic id").hears("070d0001000002");
    world.notes("refused c2: UnknownTopicId { topic: Normal(TopicId(1)) }");
}

#[test]
fn another_client_at_the_same_address_leaves_a_persistent_session_to_its_client() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("08040401003c6332 c2").hears("030500");
    world.notes("replaced c1 by c2");
    world.notes("connected c2");
    world.broker().publishes("a/b", 1, "x");
    world.broker().gets_if_shared("ACK 1");
    world.client("D").connects_persistent("c1");
    world.client("D").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000278");
    world.client("D").says("070d0001000200");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("0216").hears("0217");
}

#[test]
fn two_clients_may_swap_their_addresses() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("D").connects_persistent("c2");
    world.client("C").says("08040001003c6332 c2 at C").hears("030500");
    world.client("D").hears("0218");
    world.notes("replaced c1 by c2");
    world.notes("moved c2 from D to C");
    world.notes("connected c2, persistent");
    world.client("D").connects_persistent("c1");
    world.client("C").says("04166332").hears("0217");
    world.client("D").says("04166331").hears("0217");
}

#[test]
fn an_away_client_s_former_address_is_free_for_another() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").disconnects("c1");
    world.client("C").connects_persistent("c2");
    world.client("D").connects_persistent("c1");
    world.client("C").says("04166332").hears("0217");
}
