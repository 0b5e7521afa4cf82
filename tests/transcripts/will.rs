//! Wills: asked for at CONNECT, changed at any time, published when the client is lost (digest §7.1 to §7.5, §25.6).

use super::World;
use super::broker::Asked;
use super::frames;
use super::world::Session::{Clean, Persistent};

const MINUTE: f64 = 60.0;

/// How a client's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Disconnect,
    KeepAlive,
    Sleep,
    NoAnswer,
    /// It connects from another address.
    Takeover,
    /// Another client connects from its address.
    Replaced,
    /// All connections to the broker break, for a minute.
    BrokerLoss,
}

const ENDS: [End; 7] =
    [End::Disconnect, End::KeepAlive, End::Sleep, End::NoAnswer, End::Takeover, End::Replaced, End::BrokerLoss];

impl End {
    fn publishes_the_will(self) -> bool {
        matches!(self, Self::KeepAlive | Self::Sleep | Self::NoAnswer | Self::Replaced)
    }

    /// Ends the connection of c1, which is at C, and lets the will be published or not.
    fn happens(self, world: &mut World, will: Option<&str>) {
        self.comes_about(world);
        if let Some(will) = will.filter(|_| self.publishes_the_will()) {
            // What is kept goes out when it is stored, behind what has waited for that.
            if self == Self::NoAnswer {
                if world.phase("c1").is_none() {
                    world.broker().gets_if_kept("UNSUBSCRIBE a/b");
                }
                world.broker().gets_if_kept("ACK 1");
            }
            let publish = world.broker().gets(&format!("PUBLISH q1 will {will}"));
            world.notes("will of c1 to will");
            settles(world, publish);
        }
        // What else a session leaves behind is another test's business.
        world.ignore();
    }

    fn comes_about(self, world: &mut World) {
        match self {
            Self::Disconnect => world.client("C").disconnects("c1"),
            Self::KeepAlive => {
                world.passes(90.0);
                world.client("C").hears("0218");
                world.notes("lost c1: KeepAlive");
            }
            Self::Sleep => {
                world.client("C").sleeps("c1", 10);
                world.passes(15.0);
                world.client("C").hears("0218");
                world.notes("lost c1: Sleep");
            }
            Self::NoAnswer => {
                world.client("C").subscribes("a/b", 1, 1);
                world.broker().publishes("a/b", 1, "x");
                world.client("C").hears("080c200001000178");
                for _ in 0..3 {
                    world.passes(10.0);
                    world.client("C").hears("080ca00001000178");
                }
                world.passes(10.0);
                world.client("C").hears("0218");
                world.notes("lost c1: NoAnswer");
            }
            Self::Takeover => {
                world.client("D").sends(&frames::connect("c1", 0x00, 60)).hears("030500");
                world.client("C").hears("0218");
                world.notes("moved c1 from C to D");
                world.notes("connected c1, persistent");
            }
            Self::Replaced => {
                world.client("C").sends(&frames::connect("c2", 0x04, 60)).hears("030500");
                world.notes("replaced c1 by c2");
            }
            Self::BrokerLoss => {
                world.broker().goes_down();
                world.passes(MINUTE);
                if !world.is_shared() {
                    world.client("C").hears("0218");
                    world.notes("lost c1: BrokerGone");
                }
                world.broker().comes_up();
            }
        }
    }
}

/// A shared connection goes on, and hears of the will's arrival; one of the client's own ends.
fn settles(world: &mut World, publish: Asked) {
    if world.is_shared() {
        world.ignore();
        world.broker().accepts(publish);
    }
}

#[test]
fn the_will_is_published_when_the_client_is_lost_and_at_no_other_end() {
    for session in [Clean, Persistent] {
        for has_will in [true, false] {
            for end in ENDS {
                println!("{session:?}, will: {has_will}, {end:?}");
                let mut world = World::with_broker();
                match (has_will, session) {
                    (true, _) => world.client("C").connects_with_will("c1", session, "will", "bye"),
                    (false, Clean) => world.client("C").connects("c1"),
                    (false, Persistent) => world.client("C").connects_persistent("c1"),
                }
                end.happens(&mut world, has_will.then_some("bye"));
            }
        }
    }
}

#[test]
fn a_persistent_session_keeps_its_will_for_every_later_connection() {
    for end in ENDS.into_iter().filter(|end| *end != End::NoAnswer) {
        println!("{end:?}");
        let mut world = World::with_broker();
        world.client("C").connects_with_will("c1", Persistent, "will", "bye");
        end.happens(&mut world, Some("bye"));
        if end == End::Replaced {
            world.client("C").disconnects("c2");
        }
        world.client("E").sends(&frames::connect("c1", 0x00, 60)).hears("030500");
        world.ignore();
        world.passes(90.0);
        world.client("E").hears("0218");
        world.notes("lost c1: KeepAlive");
        world.broker().gets("PUBLISH q1 will bye");
        world.notes("will of c1 to will");
        world.ignore();
    }
}

#[test]
fn a_clean_session_leaves_no_will_to_the_next() {
    for end in ENDS {
        println!("{end:?}");
        let mut world = World::with_broker();
        world.client("C").connects_with_will("c1", Clean, "will", "bye");
        end.happens(&mut world, Some("bye"));
        if end == End::Takeover || (end == End::BrokerLoss && world.is_shared()) {
            // The session has not ended: this CONNECT goes on with it.
            continue;
        }
        world.client("E").sends(&frames::connect("c1", 0x00, 60)).hears("030500");
        world.ignore();
        world.passes(90.0);
        assert_eq!(world.frames_to("E"), 1);
        world.ignore();
        assert_eq!(world.stats().wills_dropped, 0);
    }
}

/// Connects c1 with this will, which is stored, and then once more with these flags. Returns the world in which c1 has
/// got its answer to that CONNECT.
fn with_stored_will(flags: u8) -> World {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "old", "bye");
    world.client("C").sends(&frames::connect("c1", flags, 60));
    world
}

/// The old will goes out, and what else the session leaves behind is another test's business.
fn gets_the_old_will(world: &mut World) {
    let publish = world.broker().gets("PUBLISH q1 old bye");
    world.notes("will of c1 to old");
    settles(world, publish);
    world.ignore();
}

/// Loses c1 and returns the will that the broker gets.
fn loses(world: &mut World) -> Option<String> {
    world.passes(90.0);
    assert_eq!(world.frames_to("C"), 1, "DISCONNECT");
    let will = world.next_command().map(|(_, command)| crate::words::command(&command));
    world.ignore();
    will.filter(|command| command.starts_with("PUBLISH"))
}

/// Connects c1 without a will flag and a kept session, loses it, and returns the will that the broker gets.
fn reconnects_and_is_lost(world: &mut World) -> Option<String> {
    world.client("C").connects_persistent("c1");
    loses(world)
}

#[test]
fn connect_without_will_and_with_a_kept_session_keeps_the_will() {
    let mut world = with_stored_will(0x00);
    world.client("C").hears("030500");
    world.notes("connected c1, persistent");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q1 old bye");
}

#[test]
fn connect_without_will_and_with_a_clean_session_deletes_the_will() {
    let mut world = with_stored_will(0x04);
    world.client("C").hears("030500");
    world.notes("connected c1");
    assert_eq!(loses(&mut world), None);
}

#[test]
fn connect_with_will_and_a_kept_session_keeps_the_will_until_the_new_one_is_there() {
    let mut world = with_stored_will(0x08);
    world.client("C").hears("0206").says("050700612f WILLTOPIC a/").hears("0208");
    abandons(&mut world, "0208");
    gets_the_old_will(&mut world);
    assert_eq!(reconnects_and_is_lost(&mut world).unwrap(), "PUBLISH q1 old bye");

    let mut world = with_stored_will(0x08);
    world.client("C").hears("0206").says("050700612f WILLTOPIC a/").hears("0208").says("030961 a").hears("030500");
    world.notes("connected c1, persistent");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q0 a/ a");
}

#[test]
fn connect_with_will_and_a_clean_session_deletes_the_will_before_the_new_one_is_there() {
    let mut world = with_stored_will(0x0C);
    world.client("C").hears("0206");
    abandons(&mut world, "0206");
    assert_eq!(reconnects_and_is_lost(&mut world), None);
}

#[test]
fn an_empty_willtopic_deletes_the_will_and_connects() {
    let mut world = with_stored_will(0x08);
    world.client("C").hears("0206").says("0207").hears("030500 and nobody asks for a message");
    world.notes("connected c1, persistent");
    assert_eq!(loses(&mut world), None);
}

/// The client says nothing more in its handshake.
fn abandons(world: &mut World, prompt: &str) {
    for _ in 0..3 {
        world.passes(9.9);
        world.passes(0.1);
        world.client("C").hears(prompt);
    }
    world.passes(9.9);
    world.passes(0.1);
    world.notes("abandoned c1");
}

#[test]
fn a_client_that_is_silent_when_asked_is_asked_three_times_more_and_then_forgotten() {
    for (said, prompt) in [(None, "0206"), (Some("050700612f"), "0208")] {
        let mut world = World::with_broker();
        world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
        if let Some(topic) = said {
            world.client("C").says(topic).hears("0208");
        }
        abandons(&mut world, prompt);
        world.client("C").says("030961 WILLMSG too late");
        world.client("C").says("0216").hears("0218");
        world.notes("stray C");
    }
}

#[test]
fn the_old_will_of_a_connected_client_goes_out_when_its_new_handshake_is_abandoned() {
    for sleeps in [false, true] {
        let mut world = World::with_broker();
        world.client("C").connects_with_will("c1", Persistent, "old", "bye");
        if sleeps {
            world.client("C").sleeps("c1", 3_600);
        }
        world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206");
        world.passes(5.0);
        world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206 the CONNECT comes twice");
        abandons(&mut world, "0206");
        gets_the_old_will(&mut world);
    }
}

#[test]
fn the_old_will_of_a_client_that_was_away_does_not_go_out_when_its_handshake_is_abandoned() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "old", "bye");
    world.client("C").disconnects("c1");
    world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206");
    abandons(&mut world, "0206");
}

#[test]
fn the_old_will_goes_out_when_another_client_takes_the_address_in_mid_handshake() {
    let mut world = with_stored_will(0x08);
    world.client("C").hears("0206");
    world.client("C").sends(&frames::connect("c2", 0x04, 60)).hears("030500");
    world.notes("replaced c1 by c2");
    gets_the_old_will(&mut world);
}

#[test]
fn every_question_has_a_full_set_of_repetitions() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("0206");
    }
    world.client("C").says("050700612f").hears("0208");
    for _ in 0..3 {
        world.passes(10.0);
        world.client("C").hears("0208");
    }
    world.client("C").says("0209").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_connect_in_mid_handshake_starts_the_handshake_again() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says("050700612f").hears("0208");
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.client("C").says("030961 not asked for now");
    world.client("C").says("050700622f").hears("0208").says("030961").hears("030500");
    world.notes("connected c1");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q0 b/ a");
}

#[test]
fn a_connect_without_will_in_mid_handshake_connects_at_once() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says("050700612f").hears("0208");
    world.client("C").connects("c1");
    assert_eq!(loses(&mut world), None);
}

#[test]
fn another_client_may_take_the_address_in_mid_handshake() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says("050700612f").hears("0208");
    world.client("C").sends(&frames::connect("c2", 0x04, 60)).hears("030500");
    world.notes("replaced c1 by c2");
    world.notes("connected c2");
}

#[test]
fn the_handshake_may_go_on_from_a_new_address_with_a_new_connect() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.client("D").sends(&frames::connect("c1", 0x0C, 60)).hears("0206");
    world.client("C").hears("0218");
    world.notes("moved c1 from C to D");
    world.client("D").says("050700612f").hears("0208").says("030961").hears("030500");
    world.notes("connected c1");
}

#[test]
fn a_disconnect_in_mid_handshake_is_answered_and_ends_it() {
    for disconnect in ["0218", "0418000a with a duration"] {
        let mut world = World::with_broker();
        world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says(disconnect).hears("0218");
        world.client("C").says("050700612f WILLTOPIC too late");
        world.passes(MINUTE);
    }
}

#[test]
fn a_handshake_that_comes_to_nothing_leaves_nothing_behind() {
    for flags in [0x08, 0x0C] {
        let mut world = World::with_settings(|settings| settings.limits.clients = 2);
        world.client("C").sends(&frames::connect("c1", flags, 60)).hears("0206");
        abandons(&mut world, "0206");
        world.client("C").sends(&frames::connect("c2", flags, 60)).hears("0206").says("0218").hears("0218");
        world.client("C").sends(&frames::connect("c3", flags, 60)).hears("0206");
        world.client("C").sends(&frames::connect("c4", 0x04, 60)).hears("030500");
        world.notes("replaced c3 by c4");
        world.notes("connected c4");
        world.client("D").connects("c5");
    }
}

#[test]
fn a_will_that_no_broker_takes_is_refused() {
    for (topic, why) in [
        ("050760612f QoS -1", "WillQos"),
        ("050700612b a wildcard", "WillTopic { error: Wildcard }"),
        ("0507002361", "WillTopic { error: Wildcard }"),
        ("050700c328", "WillTopic { error: NotUtf8 }"),
        ("0507006100", "WillTopic { error: ControlCharacter }"),
    ] {
        let mut world = World::with_broker();
        let connect = frames::connect("c1", 0x0C, 60);
        world.client("C").sends(&connect).hears("0206").says(topic).hears("030503");
        world.notes(&format!("CONNECT of C refused: {why}"));
        world.client("C").says("030961 WILLMSG");
        world.client("C").says("0216").hears("0218");
        world.notes("stray C");
    }
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says("030720 flags without a topic");
    world.client("C").hears("030503");
    world.notes("CONNECT of C refused: WillTopic { error: Empty }");
}

#[test]
fn a_refused_will_leaves_the_session_that_was_there_as_it_was() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "old", "bye");
    world.client("C").registers("a/b", 1);
    world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206").says("050700612b").hears("030503");
    world.notes("CONNECT of C refused: WillTopic { error: Wildcard }");
    world.client("C").says("0216").hears("0218 not connected");
    world.notes("stray C");
    world.client("C").connects_persistent("c1");
    world.client("C").says("080c000001000078");
    world.broker().gets("PUBLISH q0 a/b x");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q1 old bye");
}

#[test]
fn a_will_has_the_qos_retain_flag_and_payload_that_the_client_gave_it() {
    for (topic, message, will) in [
        ("050700612f", "0209 empty", "PUBLISH q0 a/"),
        ("050710612f", "030961", "PUBLISH q0 retain a/ a"),
        ("050720612f", "030961", "PUBLISH q1 a/ a"),
        ("050750612f", "030961", "PUBLISH q2 retain a/ a"),
        ("05078f612f other flags are ignored", "030961", "PUBLISH q0 a/ a"),
    ] {
        let mut world = World::with_broker();
        world.client("C").sends(&frames::connect("c1", 0x0C, 60)).hears("0206").says(topic).hears("0208");
        world.client("C").says(message).hears("030500");
        world.notes("connected c1");
        assert_eq!(loses(&mut world).unwrap(), will);
    }
}

#[test]
fn a_will_is_no_topic_of_the_client_s_until_it_registers_it() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "will/topic", "bye");
    world.client("C").registers("other", 1);
}

#[test]
fn topic_and_message_are_updated_independently() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.client("C").says("051c616263 WILLMSGUPD abc").hears("031d00");
    world.client("C").says("051a50612f WILLTOPICUPD QoS 2 retain a/").hears("031b00");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q2 retain a/ abc");
}

#[test]
fn a_will_may_be_updated_in_sleep() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Clean, "will", "bye");
    world.client("C").sleeps("c1", 10);
    world.client("C").says("051c616263 WILLMSGUPD abc").hears("031d00");
    world.passes(15.0);
    world.client("C").hears("0218");
    world.notes("lost c1: Sleep");
    world.broker().gets("PUBLISH q1 will abc");
    world.notes("will of c1 to will");
}

#[test]
fn an_empty_willtopicupd_deletes_topic_and_message() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    world.client("C").says("021a").hears("031b00");
    world.client("C").says("031c61 WILLMSGUPD").hears("031d03");
    world.notes("refused c1: WillMessageWithoutTopic");
    assert_eq!(loses(&mut world), None);
    assert_eq!(reconnects_and_is_lost(&mut world), None);
}

#[test]
fn a_will_may_come_into_being_by_its_topic_alone() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").says("051a20612f").hears("031b00");
    world.client("C").says("021c WILLMSGUPD, empty").hears("031d00");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q1 a/");
}

#[test]
fn an_updated_will_is_stored_with_a_persistent_session() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    world.client("C").says("051c616263").hears("031d00");
    world.client("C").disconnects("c1");
    assert_eq!(reconnects_and_is_lost(&mut world).unwrap(), "PUBLISH q1 will abc");
}

#[test]
fn an_update_that_no_broker_takes_is_refused_and_the_will_stays() {
    for (update, why) in [
        ("051a60612f QoS -1", "WillQos"),
        ("051a00612b", "WillTopic { error: Wildcard }"),
        ("051a00c328", "WillTopic { error: NotUtf8 }"),
    ] {
        let mut world = World::with_broker();
        world.client("C").connects_with_will("c1", Clean, "will", "bye");
        world.client("C").says(update).hears("031b03");
        world.notes(&format!("refused c1: {why}"));
        assert_eq!(loses(&mut world).unwrap(), "PUBLISH q1 will bye");
    }
}

#[test]
fn a_will_is_published_once() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    assert_eq!(loses(&mut world).unwrap(), "PUBLISH q1 will bye");
    world.passes(24.0 * 3_600.0);
    world.client("C").says("0216").hears("0218");
    world.notes("stray C");
}

#[test]
fn an_expired_session_takes_its_will_along() {
    let mut world = World::with_broker();
    world.client("C").connects_with_will("c1", Persistent, "will", "bye");
    world.client("C").disconnects("c1");
    world.passes(7.0 * 24.0 * 3_600.0);
    world.notes("expired c1");
    assert_eq!(reconnects_and_is_lost(&mut world), None);
}

/// The end of a client that never got its CONNACK is no loss.
#[test]
fn a_client_that_never_got_connected_has_no_will_to_publish() {
    for flags in [0x08, 0x0C] {
        let mut world = World::with_broker();
        world.client("C").sends(&frames::connect("c1", flags, 60)).hears("0206").says("050700612f").hears("0208");
        abandons(&mut world, "0208");
    }
}
