//! Sleeping clients: DISCONNECT with a duration, PINGREQ with an id, the flush, PINGRESP (digest §13).
//!
//! A message for a sleeper is acknowledged to the broker when it comes if the connection is shared, because it must not
//! hold the others' window, and when the sleeper has it if the connection is its own.

use super::World;

/// A persistent client, subscribed to `a/b` (id 1) and `a/+`, that sleeps for 300 s.
fn asleep() -> World {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world.client("C").subscribes("a/+", 2, 0);
    world.client("C").sleeps("c1", 300);
    world
}

#[test]
fn a_sleeper_with_nothing_waiting_gets_pingresp_at_once() {
    let mut world = asleep();
    world.client("C").says("04166331").hears("0217");
    world.client("C").says("0216 without its id").hears("0217");
}

#[test]
fn messages_wait_for_the_sleeper_and_pingresp_comes_last() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.broker().publishes("a/b", 0, "2");
    world.broker().publishes("a/c", 2, "3");
    world.broker().gets_if_shared("ACK 2");
    world.passes(100.0);
    world.client("C").says("04166331").hears("080c200001000131");
    world.client("C").says("070d0001000100").hears("080c000001000032").hears("090a00020002612f63");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070b0002000200").hears("080c400002000333");
    world.client("C").says("040f0003").hears("04100003");
    world.broker().gets_if_own("ACK 2");
    world.client("C").says("040e0003").hears("0217");
}

#[test]
fn a_message_at_qos_0_that_needs_a_register_is_followed_by_pingresp() {
    let mut world = asleep();
    world.broker().publishes("a/c", 0, "x");
    world.client("C").says("04166331").hears("090a00020001612f63");
    world.client("C").says("070b0002000100").hears("080c000002000078").hears("0217");
}

#[test]
fn a_message_that_comes_during_the_flush_belongs_to_it() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.broker().publishes("a/b", 1, "2");
    world.client("C").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070d0001000200").hears("0217");
    world.broker().gets("ACK 2");
    world.broker().publishes("a/b", 0, "3 waits again");
}

#[test]
fn after_pingresp_the_client_sleeps_again_from_the_full_duration() {
    let mut world = asleep();
    world.passes(400.0);
    world.client("C").says("04166331").hears("0217");
    world.passes(449.0);
    world.client("C").says("04166331").hears("0217");
    world.passes(450.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
}

#[test]
fn a_sleeper_that_oversleeps_is_lost_and_its_messages_are_kept() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.passes(450.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
    world.client("C").says("04166331").hears("0218 connect again");
    world.notes("stray C");
    world.broker().publishes("a/b", 1, "2");
    world.broker().gets_if_shared("ACK 2");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000231");
    world.client("C").says("070d0001000200").hears("080c200001000332");
    world.broker().gets_if_own("ACK 2");
    world.client("C").says("070d0001000300");
    world.broker().gets_if_own("ACK 3");
}

#[test]
fn a_clean_sleeper_that_oversleeps_is_forgotten() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.passes(450.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn the_sleep_duration_is_not_bounded_by_the_keep_alive() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").sleeps("c1", 65_535);
    world.passes(90_000.0);
    world.client("C").says("04166331").hears("0217");
}

#[test]
fn a_repeated_disconnect_with_a_duration_is_answered_and_restarts_the_timer() {
    let mut world = asleep();
    world.broker().publishes("a/b", 0, "kept");
    world.passes(400.0);
    world.client("C").sleeps("c1", 300);
    world.passes(400.0);
    world.client("C").sleeps("c1", 10);
    world.client("C").says("04166331").hears("0b0c00000100006b657074").hears("0217");
    world.passes(15.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
}

#[test]
fn a_duration_of_zero_is_a_plain_disconnect() {
    let mut world = asleep();
    world.client("C").says("04180000").hears("0218");
    world.notes("disconnected c1");
    world.client("C").says("04166331").hears("0218");
    world.notes("stray C");
}

#[test]
fn a_disconnect_while_asleep_ends_the_sleep() {
    let mut world = asleep();
    world.client("C").disconnects("c1");
    world.passes(450.0);
    world.client("C").connects_persistent("c1");
}

#[test]
fn what_was_in_flight_at_bedtime_goes_out_again_on_waking() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.client("C").says("0418012c").hears("0218");
    world.notes("asleep c1 for 300 s");
    world.broker().gets_if_shared("ACK 1");
    world.passes(60.0);
    world.client("C").says("04166331").hears("080ca00001000178 DUP, the same id");
    world.client("C").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn an_acknowledgement_that_comes_asleep_counts() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 1, 1);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("080c200001000178");
    world.client("C").says("0418012c").hears("0218");
    world.notes("asleep c1 for 300 s");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("070d0001000100");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("04166331").hears("0217");
}

/// A client that fell asleep while the message `a/+` -> `a/b` was on its way to it.
fn asleep_with_one_in_flight(qos: u8) -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 2, 1);
    world.broker().publishes("a/b", qos, "x");
    if qos == 2 {
        world.broker().gets_if_kept("ACK 1");
    }
    world.client("C").hears(if qos == 1 { "080c200001000178" } else { "080c400001000178" });
    world.client("C").says("0418012c").hears("0218");
    world.notes("asleep c1 for 300 s");
    if qos == 1 || !world.keeps() {
        world.broker().gets_if_shared("ACK 1");
    }
    world
}

#[test]
fn congestion_that_comes_asleep_wakes_nobody() {
    let mut world = asleep_with_one_in_flight(1);
    world.client("C").says("070d0001000101 congestion");
    world.passes(301.0);
    world.client("C").says("04166331").hears("080ca00001000178").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn congestion_that_comes_asleep_and_then_anything_else_wakes_nobody() {
    let mut world = asleep_with_one_in_flight(1);
    world.client("C").says("070d0001000101 congestion");
    world.client("C").says("080c026162000078 a PUBLISH");
    world.broker().gets("PUBLISH q0 ab x");
    world.client("C").says("04166331").hears("080ca00001000178").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn an_unknown_id_that_is_reported_asleep_is_registered_on_waking() {
    let mut world = asleep_with_one_in_flight(1);
    world.client("C").says("070d0001000102 invalid topic id");
    world.client("C").says("04166331").hears("090a00010002612f62");
    world.client("C").says("070b0001000200").hears("080ca00001000178").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_pubrec_that_comes_asleep_is_answered_on_waking() {
    let mut world = asleep_with_one_in_flight(2);
    world.client("C").says("040f0001");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("04166331").hears("04100001").says("040e0001").hears("0217");
}

#[test]
fn a_regack_that_comes_asleep_counts_on_waking() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/+", 1, 0);
    world.broker().publishes("a/b", 1, "x");
    world.client("C").hears("090a00010001612f62");
    world.client("C").says("0418012c").hears("0218");
    world.notes("asleep c1 for 300 s");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("070b0001000100");
    world.client("C").says("04166331").hears("080c200001000278").says("070d0001000200").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_repeated_pingreq_in_mid_flush_resends_the_message_in_flight_only() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.broker().publishes("a/b", 0, "2");
    world.client("C").says("04166331").hears("080c200001000131");
    world.passes(5.0);
    world.client("C").says("04166331").hears("080ca00001000131");
    world.client("C").says("070d0001000100").hears("080c000001000032").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_client_that_falls_silent_in_mid_flush_is_asleep_again_and_nothing_is_lost() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.broker().publishes("a/b", 1, "2");
    world.broker().gets_if_shared("ACK 2");
    world.client("C").says("04166331").hears("080c200001000131");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("080ca00001000131");
    }
    world.passes(10.0);
    world.passes(400.0);
    world.client("C").says("04166331").hears("080ca00001000131");
    world.client("C").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070d0001000200").hears("0217");
    world.broker().gets_if_own("ACK 2");
}

#[test]
fn the_sleep_timer_starts_anew_when_the_flush_is_given_up() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("080ca00001000131");
    }
    world.passes(10.0);
    world.passes(449.0);
    world.passes(1.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
}

#[test]
fn a_connect_while_asleep_delivers_what_waits() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010001612f62").says("070b0001000100").hears("080c200001000231");
    world.client("C").says("070d0001000200");
    world.broker().gets_if_own("ACK 1");
    world.passes(85.0);
    world.client("C").says("0216").hears("0217 active, not asleep");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
}

#[test]
fn a_clean_connect_while_asleep_drops_what_waits() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").connects("c1");
    world.broker().gets("UNSUBSCRIBE a/b");
    world.broker().gets("UNSUBSCRIBE a/+");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_connect_in_mid_flush_goes_on_with_what_is_in_flight() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.client("C").connects_persistent("c1");
    world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080ca00001000131");
    world.client("C").says("070d0001000100");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_disconnect_with_a_duration_in_mid_flush_goes_back_to_sleep() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.client("C").sleeps("c1", 60);
    world.passes(60.0);
    world.client("C").says("04166331").hears("080ca00001000131").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_disconnect_in_mid_flush_ends_the_sleep() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.client("C").disconnects("c1");
    world.passes(60.0);
}

#[test]
fn requests_while_asleep_are_served_and_the_client_stays_asleep() {
    let mut world = asleep();
    world.passes(400.0);
    world.client("C").says("080c200001000778");
    let publish = world.broker().gets("PUBLISH q1 a/b x");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700");
    world.client("C").registers("other", 2);
    world.client("C").subscribes("third", 0, 3);
    world.broker().publishes("a/b", 0, "still waits");
    world.passes(440.0);
    world.client("C").says("0217 a sign of life");
    world.passes(440.0);
    world.client("C").says("04166331").hears("120c00000100007374696c6c207761697473").hears("0217");
}

#[test]
fn a_sleeper_s_pingreq_from_a_new_address_moves_it_there() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("D").says("04166331").hears("080c200001000131");
    world.notes("moved c1 from C to D");
    world.client("D").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("0216 at the address it has left").hears("0218");
    world.notes("stray C");
    world.client("D").says("0216").hears("0217");
}

#[test]
fn a_pingreq_from_elsewhere_never_moves_an_active_client() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b", 0, 1);
    world.client("D").says("04166331").hears("0218");
    world.notes("stray D");
    world.broker().publishes("a/b", 0, "x");
    world.client("C").hears("080c000001000078");
}

#[test]
fn a_pingreq_naming_a_sleeper_from_an_active_client_s_address_is_ignored() {
    let mut world = asleep();
    world.client("D").connects("c2");
    world.client("D").says("04166331");
    world.client("D").says("0216").hears("0217");
    world.client("C").says("04166331").hears("0217");
}

#[test]
fn a_pingreq_for_nobody_is_told_to_connect() {
    let mut world = asleep();
    world.client("D").says("04166339").hears("0218");
    world.notes("stray D");
}

#[test]
fn a_sleep_without_a_session_is_no_sleep() {
    let mut world = World::with_broker();
    world.client("C").says("0418012c").hears("0218");
    world.notes("stray C");
    world.client("C").says("0216");
    world.passes(1.0);
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
}

#[test]
fn a_busy_client_in_mid_flush_is_let_go_back_to_sleep_and_tried_again_when_it_wakes() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131").says("070d0001000101 congestion").hears("0217");
    world.passes(100.0);
    world.client("C").says("04166331").hears("080ca00001000131").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_client_too_busy_to_register_a_topic_in_mid_flush_is_let_go_back_to_sleep() {
    let mut world = asleep();
    world.broker().publishes("a/c", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("090a00020001612f63").says("070b0002000101 congestion").hears("0217");
    world.client("C").says("04166331").hears("090a00020001612f63").says("070b0002000100").hears("080c200002000231");
    world.client("C").says("070d0002000200").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

/// A persistent sleeper, subscribed to `ab` (id 1), that gets so many messages per wake-up, and for which `1` to `3`
/// wait.
fn asleep_with_a_cap(messages_per_wake_up: usize) -> World {
    let mut world = World::with_settings(|settings| settings.limits.messages_per_wake_up = messages_per_wake_up);
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("ab", 1, 1);
    world.client("C").sleeps("c1", 300);
    for (payload, number) in [("1", 1), ("2", 2), ("3", 3)] {
        world.broker().publishes("ab", 1, payload);
        world.broker().gets_if_shared(&format!("ACK {number}"));
    }
    world
}

#[test]
fn a_wake_up_brings_so_many_messages_and_the_next_one_the_rest() {
    let mut world = asleep_with_a_cap(2);
    world.client("C").says("04166331").hears("080c200001000131").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070d0001000200").hears("0217 two are enough");
    world.broker().gets_if_own("ACK 2");
    world.client("C").says("04166331").hears("080c200001000333").says("070d0001000300").hears("0217");
    world.broker().gets_if_own("ACK 3");
}

#[test]
fn a_repeated_pingreq_in_mid_flush_brings_no_more_than_one_wake_up() {
    let mut world = asleep_with_a_cap(2);
    world.client("C").says("04166331").hears("080c200001000131");
    world.client("C").says("04166331").hears("080ca00001000131").says("070d0001000100").hears("080c200001000232");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("04166331").hears("080ca00001000232").says("070d0001000200").hears("0217");
    world.broker().gets_if_own("ACK 2");
}

#[test]
fn a_busy_topic_cannot_keep_a_sleeper_awake() {
    let mut world = asleep_with_a_cap(4);
    world.client("C").says("04166331").hears("080c200001000131");
    for number in 1..=3_u16 {
        world.broker().publishes("ab", 0, "more");
        let next = match number {
            1 => "080c200001000232",
            2 => "080c200001000333",
            _ => "0b0c00000100006d6f7265",
        };
        world.client("C").says(&format!("070d0001{number:04x}00")).hears(next);
        world.broker().gets_if_own(&format!("ACK {number}"));
        if number == 3 {
            world.client("C").hears("0217");
        }
    }
}

#[test]
fn an_active_client_gets_everything_whatever_the_cap() {
    let mut world = asleep_with_a_cap(1);
    world.client("C").connects_persistent("c1");
    world.client("C").hears("080a000100016162").says("070b0001000100").hears("080c200001000231");
    world.client("C").says("070d0001000200").hears("080c200001000332");
    world.broker().gets_if_own("ACK 1");
    world.client("C").says("070d0001000300").hears("080c200001000433");
    world.broker().gets_if_own("ACK 2");
}

#[test]
fn pingresp_waits_for_a_suback_and_for_what_the_subscription_brings() {
    let mut world = asleep();
    world.broker().publishes("a/b", 0, "1");
    world.client("C").says("061220000d63 SUBSCRIBE");
    let asked = world.broker().gets("SUBSCRIBE q1 c");
    world.client("C").says("04166331");
    world.broker().replays(&asked, "c", 0, "x");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200002000d00").hears("080c000001000031").hears("080c100002000078").hears("0217");
}

#[test]
fn a_mover_s_former_address_is_a_stranger_s_from_then_on() {
    let mut world = asleep();
    world.client("D").says("04166331").hears("0217");
    world.notes("moved c1 from C to D");
    world.client("C").connects("c2");
    world.client("D").says("0216").hears("0217");
    world.client("D").sleeps("c1", 60);
    world.passes(80.0);
    world.client("C").says("0216").hears("0217");
    world.passes(10.0);
    world.client("D").hears("0218");
    world.notes("lost c1: Sleep");
}

#[test]
fn a_sleeper_in_mid_flush_is_not_moved() {
    let mut world = asleep();
    world.broker().publishes("a/b", 1, "1");
    world.broker().gets_if_shared("ACK 1");
    world.client("C").says("04166331").hears("080c200001000131");
    world.client("D").says("04166331").hears("0218");
    world.notes("stray D");
    world.client("C").says("070d0001000100").hears("0217");
    world.broker().gets_if_own("ACK 1");
}

#[test]
fn a_pingreq_for_a_disconnected_or_lost_client_is_told_to_connect() {
    let mut world = asleep();
    world.client("C").disconnects("c1");
    world.client("C").says("04166331").hears("0218");
    world.notes("stray C");
    world.client("D").says("04166331").hears("0218");
    world.notes("stray D");
}

#[test]
fn a_sleeper_s_pingreq_naming_another_sleeper_moves_nobody_and_is_a_sign_of_life() {
    let mut world = asleep();
    world.client("D").connects_persistent("c2");
    world.client("D").sleeps("c2", 300);
    world.passes(400.0);
    world.client("D").says("04166331 c1");
    world.passes(50.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
    world.passes(350.0);
    world.client("D").says("04166332").hears("0217");
}
