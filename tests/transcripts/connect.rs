//! CONNECT, refusals, keep-alive, PINGREQ, DISCONNECT (digest §7.1, §7.5, §7.6, §12, §14).

use super::World;
use super::frames;

const DAY: f64 = 24.0 * 3_600.0;

#[test]
fn a_connect_is_acknowledged() {
    let mut world = World::with_broker();
    world.client("C").says("08040401003c6331 clean, keep-alive 60, c1").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_connect_in_the_long_form_is_acknowledged() {
    let mut world = World::with_broker();
    world.client("C").says("01000a040401003c6331").hears("030500");
    world.notes("connected c1");
}

#[test]
fn unused_flags_of_a_connect_are_ignored() {
    let mut world = World::with_broker();
    world.client("C").says("0804f701003c6331 all flags but Will").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_connect_that_can_never_be_served_is_not_supported() {
    let too_long = frames::connect(&"x".repeat(257), 0x04, 60);
    let cases: &[(&[u8], &str)] = &[
        (&frames::parse("08040402003c6331"), "ProtocolId(2)"),
        (&frames::parse("08040400003c6331"), "ProtocolId(0)"),
        (&frames::parse("06040401003c"), "EmptyClientId"),
        (&too_long, "LongClientId { limit: 256 }"),
        (&frames::parse("08040401003c63ff"), "UnreadableClientId"),
        (&frames::parse("08040401003c6300"), "UnreadableClientId"),
    ];
    for (connect, why) in cases {
        let mut world = World::with_broker();
        world.client("C").sends(connect).hears("030503");
        world.notes(&format!("CONNECT of C refused: {why}"));
        world.client("C").says("0216 PINGREQ").hears("0218 there is no session");
        world.notes("stray C");
    }
}

#[test]
fn a_client_id_of_more_than_23_characters_is_accepted() {
    let mut world = World::with_broker();
    world.client("C").connects(&"x".repeat(256));
}

#[test]
fn a_refused_connect_leaves_the_session_at_its_address_alone() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("08040402003c6331 protocol id 2").hears("030503");
    world.notes("CONNECT of C refused: ProtocolId(2)");
    world.client("C").says("0216").hears("0217");
}

#[test]
fn a_repeated_connect_is_acknowledged_again() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b/c", 1);
    world.client("C").connects_persistent("c1");
    world.client("C").says("0b0c200001000732332e35 PUBLISH on the kept id");
    let publish = world.broker().gets("PUBLISH q1 a/b/c 23.5");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
}

#[test]
fn a_clean_connect_while_active_forgets_ids_and_subscriptions() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("08040401003c6331").hears("030500");
    world.notes("connected c1");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.client("C").says("080c000001000078").hears("070d0001000002 invalid topic id");
    world.notes("refused c1: UnknownTopicId { topic: Normal(TopicId(1)) }");
}

#[test]
fn a_persistent_session_keeps_ids_and_subscriptions_over_a_disconnect() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").disconnects("c1");
    world.passes(3_600.0);
    world.client("C").connects_persistent("c1");
    world.client("C").says("080c000001000078 PUBLISH on the kept id");
    world.broker().gets("PUBLISH q0 a/b x");
    world.broker().publishes("a/b", 0, "y");
    world.client("C").hears("090a00010001612f62 REGISTER: it may have forgotten the id").says("070b0001000100");
    world.client("C").hears("080c000001000079");
}

#[test]
fn a_clean_connect_ends_a_persistent_session() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").disconnects("c1");
    world.broker().publishes("a/b", 1, "missed");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").connects("c1");
    world.broker().gets_if_shared("UNSUBSCRIBE a/b");
    world.client("C").registers("other", 1);
}

#[test]
fn a_clean_session_ends_with_its_connection() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").says("0218").hears("0218");
    world.notes("disconnected c1");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.client("C").connects_persistent("c1");
    world.client("C").registers("other", 1);
}

#[test]
fn a_persistent_session_expires_after_a_week() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").disconnects("c1");
    world.passes(7.0 * DAY - 1.0);
    world.passes(1.0);
    world.notes("expired c1");
    world.broker().gets_if_shared("UNSUBSCRIBE a/b");
    world.client("C").connects_persistent("c1");
    world.client("C").registers("other", 1);
}

#[test]
fn a_session_that_is_used_again_does_not_expire() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").registers("a/b", 1);
    for _ in 0..3 {
        world.client("C").disconnects("c1");
        world.passes(6.0 * DAY);
        world.client("C").connects_persistent("c1");
    }
    world.client("C").registers("a/b", 1);
}

#[test]
fn a_silent_client_is_lost_after_one_and_a_half_keep_alives() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.passes(89.9);
    world.passes(0.1);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.client("C").says("0216").hears("0218 connect again");
    world.notes("stray C");
}

#[test]
fn every_message_is_a_sign_of_life() {
    let signs = ["0216", "0217", "070d0001000100", "040f0001", "0500010384", "080c626162000078", "0307ff", "030500"];
    for sign in signs {
        let mut world = World::with_link(|link| link.qos_minus_one = false);
        world.client("C").connects("c1");
        world.passes(60.0);
        world.client("C").says(sign);
        world.ignore();
        world.passes(60.0);
        world.client("C").says("0216").hears("0217");
    }
}

#[test]
fn a_malformed_frame_is_no_sign_of_life() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.passes(60.0);
    world.client("C").garbles("031700");
    world.ignore();
    world.passes(30.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn the_new_keep_alive_counts_after_a_reconnect() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("0804040100046331 keep-alive 4").hears("030500");
    world.notes("connected c1");
    world.passes(6.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn a_keep_alive_of_zero_is_supervised_by_the_idle_limit_only() {
    let mut world = World::with_broker();
    world.client("C").says("0804040100006331").hears("030500");
    world.notes("connected c1");
    world.passes(DAY - 1.0);
    world.client("C").says("0216").hears("0217");
    world.passes(DAY);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn the_longest_keep_alive_is_kept() {
    let mut world = World::with_broker();
    world.client("C").says("08040401ffff6331").hears("030500");
    world.notes("connected c1");
    world.passes(98_302.0);
    world.client("C").says("0216").hears("0217");
}

#[test]
fn a_lost_client_s_persistent_session_is_kept() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.broker().publishes("a/b", 1, "x");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000278");
    world.client("C").says("070d0001000200");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_lost_client_s_clean_session_ends() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.broker().gets("UNSUBSCRIBE a/b");
}

#[test]
fn a_ping_is_answered() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("0216").hears("0217");
    world.client("C").says("01000416 in the long form").hears("0217");
    world.client("C").says("04166331 naming itself").hears("0217");
}

#[test]
fn a_ping_that_names_another_client_is_ignored() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("D").connects("c2");
    world.client("C").says("04166332 naming a connected one");
    world.client("C").says("04166333 naming nobody");
    world.client("C").says("0416ff00 naming nothing readable");
}

#[test]
fn a_repeated_disconnect_is_answered_again() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").disconnects("c1");
    world.client("C").says("0218").hears("0218");
    world.notes("stray C");
}

#[test]
fn a_publish_right_before_disconnect_still_goes_out() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("080c226162000001 PUBLISH QoS 1, short, MsgId 0").hears("070d6162000003");
    world.notes("refused c1: PublishWithoutMsgId");
    world.client("C").says("080c226162000778");
    let publish = world.broker().gets("PUBLISH q1 ab x");
    world.client("C").says("0218").hears("0218");
    world.notes("disconnected c1");
    world.broker().accepts(publish);
}

#[test]
fn nothing_is_kept_of_a_sleeper_that_began_anew_and_was_never_connected() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").sleeps("c1", 300);
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206");
    world.client("C").says("0218").hears("0218");
    assert_eq!(world.clients(), [""; 0]);
}
