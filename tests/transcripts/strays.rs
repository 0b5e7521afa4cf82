//! Senders without a session: told to connect, at a limited rate (digest §18, §20).

use super::World;

#[test]
fn what_needs_a_session_is_told_to_connect() {
    for frame in [
        "070a0000000161 REGISTER",
        "080c000001000078 PUBLISH QoS 0",
        "0b0c200001000732332e35 PUBLISH QoS 1",
        "080c400001000878 PUBLISH QoS 2",
        "080c230001000878 PUBLISH with topic id type 11",
        "04100008 PUBREL",
        "081220000d612f62 SUBSCRIBE",
        "081400000d612f62 UNSUBSCRIBE",
        "0216 PINGREQ",
        "04166331 PINGREQ with an id",
        "0218 DISCONNECT",
        "0418012c DISCONNECT with a duration",
        "021a WILLTOPICUPD",
        "041a0061 WILLTOPICUPD",
        "031c61 WILLMSGUPD",
    ] {
        let mut world = World::with_broker();
        world.client("C").says(frame).hears("0218");
        world.notes("stray C");
        assert_eq!(world.stats().strays, 1);
    }
}

#[test]
fn what_needs_no_session_or_answers_nothing_we_said_is_ignored() {
    for frame in [
        "0500010384 ADVERTISE",
        "030201 GWINFO",
        "030500 CONNACK",
        "0206 WILLTOPICREQ",
        "0207 WILLTOPIC",
        "04070061 WILLTOPIC",
        "0208 WILLMSGREQ",
        "030961 WILLMSG",
        "070b0001000100 REGACK",
        "070d0001000100 PUBACK",
        "040e0001 PUBCOMP",
        "040f0001 PUBREC",
        "0813200001000d00 SUBACK",
        "0415000d UNSUBACK",
        "0217 PINGRESP",
        "031b00 WILLTOPICRESP",
        "031d00 WILLMSGRESP",
    ] {
        let mut world = World::with_broker();
        world.client("C").says(frame);
        assert_eq!(world.stats().strays, 0);
    }
}

#[test]
fn one_sender_is_told_once_a_second() {
    let mut world = World::with_broker();
    for _ in 0..3 {
        world.client("C").says("0216").hears("0218");
        world.notes("stray C");
        world.client("C").says("0216");
        world.passes(0.9);
        world.client("C").says("0216");
        world.passes(0.1);
    }
    assert_eq!(world.stats().strays_unanswered, 6);
}

#[test]
fn all_senders_together_are_told_so_often_a_second() {
    let mut world = World::with_settings(|settings| settings.limits.strays_per_second = 2);
    let mut answered = 0;
    for name in ["C", "D", "E", "F"] {
        world.client(name).says("0216");
        answered += world.frames_to(name);
        world.ignore();
    }
    assert_eq!(answered, 2);
}

#[test]
fn a_lost_session_is_told_at_its_next_message_to_connect() {
    let mut world = World::with_broker();
    world.client("C").connects_persistent("c1");
    world.passes(90.0);
    world.client("C").hears("0218");
    world.notes("lost c1: KeepAlive");
    world.client("C").says("0b0c200001000732332e35").hears("0218");
    world.notes("stray C");
    world.client("C").connects_persistent("c1");
}

#[test]
fn a_frame_that_is_no_message_is_dropped_and_said() {
    for (octets, why) in [
        ("", "too_short"),
        ("02", "too_short"),
        ("0016", "length_too_small"),
        ("0100", "long_header_truncated"),
        ("01000316", "length_too_small"),
        ("0316", "length_mismatch"),
        ("021600", "length_mismatch"),
        ("0203", "reserved_type"),
        ("0211", "reserved_type"),
        ("0219", "reserved_type"),
        ("021e", "reserved_type"),
        ("02ff", "reserved_type"),
        ("060b000100", "length_mismatch"),
        ("080b000100010000", "body_size"),
        ("060d00010001", "body_size"),
        ("03170000", "length_mismatch"),
        ("031700", "body_size"),
        ("03181e", "body_size"),
        ("0518001e00", "body_size"),
        ("04040401", "body_size"),
        ("050a000000", "body_size"),
        ("060c00000100", "body_size"),
        ("100e00044d515454044200000004746573", "length_mismatch"),
    ] {
        let mut world = World::with_broker();
        world.client("C").connects("c1");
        world.client("C").garbles(octets);
        world.notes(&format!("malformed from C: {why}"));
        world.client("D").garbles(octets);
        world.notes(&format!("malformed from D: {why}"));
        world.client("C").says("0216").hears("0217 the session is alive");
        assert_eq!(world.stats().malformed, 2);
    }
}

#[test]
fn the_same_frames_are_answered_in_every_run() {
    let answers = || {
        let mut world = World::with_broker();
        let answered = |sender: u32| {
            let name = format!("S{sender}");
            world.client(&name).says("0216");
            let frames = world.frames_to(&name);
            world.ignore();
            frames
        };
        (0..900).map(answered).collect::<Vec<usize>>()
    };
    let first = answers();
    assert!(first.contains(&0), "among so many senders some share a place in the table");
    assert_eq!(first, answers());
}
