//! The receive matrix (digest §18): every message in every phase, one row each.

use super::World;

/// Where the client stands when the message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Unknown,
    Active,
    Asleep,
    /// A QoS 1 message with MsgId 1 is in flight.
    Awake,
    Disconnected,
    Lost,
}

/// What follows from a message.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// DISCONNECT to a sender that has no session.
    Stray,
    Hears(&'static str),
    Publishes(&'static str),
    /// The broker is asked, grants or accepts, and the client hears the answer.
    Asks(&'static str, &'static str),
    /// The client hears a frame, and it is said.
    HearsAndNotes(&'static str, &'static str),
    /// The answer has ended the exchange: the client hears the next thing, or sleeps.
    Settles,
}

use Then::{Asks, Hears, HearsAndNotes, Nothing, Publishes, Settles, Stray};

const PHASES: [Phase; 6] =
    [Phase::Unknown, Phase::Active, Phase::Asleep, Phase::Awake, Phase::Disconnected, Phase::Lost];

/// Message; unknown, active, asleep, awake, disconnected, lost.
#[rustfmt::skip]
const MATRIX: &[(&str, [Then; 6])] = &[
    ("0500010384 ADVERTISE", [Nothing; 6]),
    ("030201 GWINFO", [Nothing; 6]),
    ("0207 WILLTOPIC", [Nothing; 6]),
    ("0607002f6162 WILLTOPIC", [Nothing; 6]),
    ("030961 WILLMSG", [Nothing; 6]),
    ("030500 CONNACK", [Nothing; 6]),
    ("0206 WILLTOPICREQ", [Nothing; 6]),
    ("0208 WILLMSGREQ", [Nothing; 6]),
    ("0813200001000d00 SUBACK", [Nothing; 6]),
    ("0415000d UNSUBACK", [Nothing; 6]),
    ("031b00 WILLTOPICRESP", [Nothing; 6]),
    ("031d00 WILLMSGRESP", [Nothing; 6]),
    ("0217 PINGRESP", [Nothing; 6]),
    ("070b0001777700 REGACK that matches nothing", [Nothing; 6]),
    ("070d0001777700 PUBACK that matches nothing", [Nothing; 6]),
    ("040e7777 PUBCOMP that matches nothing", [Nothing; 6]),
    ("070d0001000100 PUBACK", [Nothing, Nothing, Settles, Settles, Nothing, Nothing]),
    ("040f7777 PUBREC", [Nothing, Hears("04107777"), Hears("04107777"), Hears("04107777"), Nothing, Nothing]),
    ("070a0000000761 REGISTER", [Stray, Hears("070b0002000700"), Hears("070b0002000700"), Hears("070b0002000700"), Stray, Stray]),
    ("080c626162000078 PUBLISH QoS -1", [Publishes("PUBLISH q0 ab x"); 6]),
    ("080c000001000078 PUBLISH QoS 0", [Stray, Publishes("PUBLISH q0 a/b x"), Publishes("PUBLISH q0 a/b x"), Publishes("PUBLISH q0 a/b x"), Stray, Stray]),
    ("080c200001000778 PUBLISH QoS 1", [Stray, Asks("PUBLISH q1 a/b x", "070d0001000700"), Asks("PUBLISH q1 a/b x", "070d0001000700"), Asks("PUBLISH q1 a/b x", "070d0001000700"), Stray, Stray]),
    ("080c400001000778 PUBLISH QoS 2", [Stray, Asks("PUBLISH q2 a/b x", "040f0007"), Asks("PUBLISH q2 a/b x", "040f0007"), Asks("PUBLISH q2 a/b x", "040f0007"), Stray, Stray]),
    ("04100007 PUBREL", [Stray, Hears("040e0007"), Hears("040e0007"), Hears("040e0007"), Stray, Stray]),
    ("061220000763 SUBSCRIBE", [Stray, Asks("SUBSCRIBE q1 c", "0813200002000700"), Asks("SUBSCRIBE q1 c", "0813200002000700"), Asks("SUBSCRIBE q1 c", "0813200002000700"), Stray, Stray]),
    ("061400000763 UNSUBSCRIBE", [Stray, Hears("04150007"), Hears("04150007"), Hears("04150007"), Stray, Stray]),
    ("0216 PINGREQ", [Stray, Hears("0217"), Hears("080ca00001000178"), Hears("080ca00001000178"), Stray, Stray]),
    ("04166331 PINGREQ with its id", [Stray, Hears("0217"), Hears("080ca00001000178"), Hears("080ca00001000178"), Stray, Stray]),
    ("0218 DISCONNECT", [Stray, HearsAndNotes("0218", "disconnected c1"), HearsAndNotes("0218", "disconnected c1"), HearsAndNotes("0218", "disconnected c1"), Stray, Stray]),
    ("0418000a DISCONNECT with a duration", [Stray, HearsAndNotes("0218", "asleep c1 for 10 s"), HearsAndNotes("0218", "asleep c1 for 10 s"), HearsAndNotes("0218", "asleep c1 for 10 s"), Stray, Stray]),
    ("021a WILLTOPICUPD", [Stray, Hears("031b00"), Hears("031b00"), Hears("031b00"), Stray, Stray]),
    // Without a will topic there is nothing to go with a message.
    ("031c61 WILLMSGUPD", [Stray, Hears("031d03"), Hears("031d03"), Hears("031d03"), Stray, Stray]),
    // Discovery comes later.
    ("030101 SEARCHGW", [Nothing; 6]),
];

fn world_in(phase: Phase) -> World {
    let mut world = World::with_broker();
    if phase == Phase::Unknown {
        return world;
    }
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 2, 1);
    match phase {
        Phase::Unknown | Phase::Active => {}
        Phase::Asleep | Phase::Awake => {
            world.broker().publishes("a/b", 1, "x");
            world.client("C").hears("080c200001000178");
            world.client("C").says("0418012c").hears("0218");
            world.notes("asleep c1 for 300 s");
            world.broker().gets("ACK 1");
            if phase == Phase::Awake {
                world.client("C").says("04166331").hears("080ca00001000178");
            }
        }
        Phase::Disconnected => world.client("C").disconnects("c1"),
        Phase::Lost => {
            world.passes(90.0);
            world.client("C").hears("0218");
            world.notes("lost c1: KeepAlive");
        }
    }
    world
}

#[test]
fn every_message_does_in_every_phase_what_the_matrix_says() {
    for (message, row) in MATRIX {
        for (phase, then) in PHASES.into_iter().zip(row) {
            println!("{message} while {phase:?}: {then:?}");
            let mut world = world_in(phase);
            world.client("C").says(message);
            match *then {
                Nothing => {}
                Stray => {
                    world.client("C").hears("0218");
                    world.notes("stray C");
                }
                Hears(frame) => {
                    world.client("C").hears(frame);
                }
                Publishes(command) => {
                    world.broker().gets(command);
                }
                Asks(command, answer) => {
                    let asked = world.broker().gets(command);
                    if command.starts_with("SUBSCRIBE") {
                        world.broker().grants(&asked, 1);
                    } else {
                        world.broker().accepts(asked);
                    }
                    world.client("C").hears(answer);
                }
                HearsAndNotes(frame, notice) => {
                    world.client("C").hears(frame);
                    world.notes(notice);
                }
                Settles => {
                    if phase == Phase::Awake {
                        world.client("C").hears("0217");
                    }
                    world.client("C").says("04166331").hears("0217");
                }
            }
            world.quiet();
        }
    }
}

#[test]
fn connect_makes_a_client_active_from_every_phase() {
    for phase in PHASES {
        println!("CONNECT while {phase:?}");
        let mut world = world_in(phase);
        world.client("C").connects_persistent("c1");
        if matches!(phase, Phase::Asleep | Phase::Awake) {
            world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080ca00001000178");
            world.client("C").says("070d0001000100");
        }
        world.client("C").says("0216").hears("0217");
        world.passes(90.0);
        world.client("C").hears("0218");
        world.notes("lost c1: KeepAlive");
    }
}
