//! The receive matrix (digest §18): every message in every phase, one row each.

use super::World;
use super::frames;

/// Where the client stands when the message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Unknown,
    /// CONNECT is waiting for WILLTOPIC.
    AskedForTopic,
    /// CONNECT is waiting for WILLMSG.
    AskedForMessage,
    /// CONNECT is waiting for the broker.
    AtBroker,
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
    /// The client hears a frame, and so does everyone.
    AllHear(&'static str),
    Notes(&'static str),
    Publishes(&'static str),
    /// The broker is asked, grants or accepts, and the client hears the answer.
    Asks(&'static str, &'static str),
    /// The client hears a frame, and it is said.
    HearsAndNotes(&'static str, &'static str),
    /// The answer has ended the exchange: the client hears the next thing, or sleeps.
    Settles,
    /// UNSUBACK; a broker with a session for this client alone hears of it.
    Unsubscribes,
    /// The will: the handshake goes on if it waits for this.
    GoesOn,
}

use Then::{AllHear, Asks, GoesOn, Hears, HearsAndNotes, Notes, Nothing, Publishes, Settles, Stray, Unsubscribes};

/// The phases of each column of the matrix.
const COLUMNS: [&[Phase]; 6] = [
    &[Phase::Unknown],
    &[Phase::AskedForTopic, Phase::AskedForMessage, Phase::AtBroker],
    &[Phase::Active],
    &[Phase::Asleep],
    &[Phase::Awake],
    &[Phase::Disconnected, Phase::Lost],
];

const GATEWAY: Then = Notes("gateway 7 heard at C");
const REGACK: Then = Hears("070b0002000700");
const PUBLISHED: Then = Publishes("PUBLISH q0 a/b x");
const PUBACK: Then = Asks("PUBLISH q1 a/b x", "070d0001000700");
const PUBREC: Then = Asks("PUBLISH q2 a/b x", "040f0007");
const SUBACK: Then = Asks("SUBSCRIBE q1 c", "0813200002000700");
const FLUSH: Then = Hears("080ca00001000178");
const LEAVES: Then = HearsAndNotes("0218", "disconnected c1");
const SLEEPS: Then = HearsAndNotes("0218", "asleep c1 for 10 s");
const NO_WILL: Then = HearsAndNotes("031d03", "refused c1: WillMessageWithoutTopic");

/// Message; unknown, handshake, active, asleep, awake, disconnected or lost.
#[rustfmt::skip]
const MATRIX: &[(&str, [Then; 6])] = &[
    ("030101 SEARCHGW", [AllHear("030201"); 6]),
    ("0500070384 ADVERTISE", [GATEWAY; 6]),
    ("030207 GWINFO", [GATEWAY; 6]),
    ("0500010384 ADVERTISE, its own", [Nothing; 6]),
    ("030201 GWINFO, its own", [Nothing; 6]),
    ("06072077692f WILLTOPIC", [Nothing, GoesOn, Nothing, Nothing, Nothing, Nothing]),
    ("030961 WILLMSG", [Nothing, GoesOn, Nothing, Nothing, Nothing, Nothing]),
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
    ("070d0001000100 PUBACK", [Nothing, Nothing, Nothing, Settles, Settles, Nothing]),
    ("040f7777 PUBREC", [Nothing, Nothing, Hears("04107777"), Hears("04107777"), Hears("04107777"), Nothing]),
    ("070a0000000761 REGISTER", [Stray, Nothing, REGACK, REGACK, REGACK, Stray]),
    ("080c626162000078 PUBLISH QoS -1", [Publishes("PUBLISH q0 ab x"); 6]),
    ("080c000001000078 PUBLISH QoS 0", [Stray, Nothing, PUBLISHED, PUBLISHED, PUBLISHED, Stray]),
    ("080c200001000778 PUBLISH QoS 1", [Stray, Nothing, PUBACK, PUBACK, PUBACK, Stray]),
    ("080c400001000778 PUBLISH QoS 2", [Stray, Nothing, PUBREC, PUBREC, PUBREC, Stray]),
    ("04100007 PUBREL", [Stray, Nothing, Hears("040e0007"), Hears("040e0007"), Hears("040e0007"), Stray]),
    ("061220000763 SUBSCRIBE", [Stray, Nothing, SUBACK, SUBACK, SUBACK, Stray]),
    ("071402000d7a7a UNSUBSCRIBE", [Stray, Nothing, Unsubscribes, Unsubscribes, Unsubscribes, Stray]),
    ("0216 PINGREQ", [Stray, Nothing, Hears("0217"), FLUSH, FLUSH, Stray]),
    ("04166331 PINGREQ with its id", [Stray, Nothing, Hears("0217"), FLUSH, FLUSH, Stray]),
    ("04166339 PINGREQ with an id that nobody has", [Stray, Nothing, Nothing, Stray, Stray, Stray]),
    ("0218 DISCONNECT", [Stray, Hears("0218"), LEAVES, LEAVES, LEAVES, Stray]),
    ("0418000a DISCONNECT with a duration", [Stray, Hears("0218"), SLEEPS, SLEEPS, SLEEPS, Stray]),
    ("021a WILLTOPICUPD", [Stray, Nothing, Hears("031b00"), Hears("031b00"), Hears("031b00"), Stray]),
    ("061a2077692f WILLTOPICUPD", [Stray, Nothing, Hears("031b00"), Hears("031b00"), Hears("031b00"), Stray]),
    ("031c61 WILLMSGUPD", [Stray, Nothing, NO_WILL, NO_WILL, NO_WILL, Stray]),
];

/// Returns `None` for a phase that this mode does not have.
fn world_in(phase: Phase) -> Option<World> {
    let mut world = World::with_broker();
    if phase == Phase::Unknown {
        return Some(world);
    }
    if phase == Phase::AtBroker {
        if world.is_shared() {
            return None;
        }
        world.broker().is_taken_in_hand();
        world.client("C").sends(&frames::connect("c1", 0x00, 60));
        world.broker().gets_connect("CONNECT c1");
        return Some(world);
    }
    if matches!(phase, Phase::AskedForTopic | Phase::AskedForMessage) {
        world.client("C").sends(&frames::connect("c1", 0x08, 60)).hears("0206");
        if phase == Phase::AskedForMessage {
            world.client("C").says("050700612f WILLTOPIC a/").hears("0208");
        }
        return Some(world);
    }
    world.client("C").connects_persistent("c1");
    world.client("C").subscribes("a/b", 2, 1);
    match phase {
        Phase::Unknown | Phase::AskedForTopic | Phase::AskedForMessage | Phase::AtBroker | Phase::Active => {}
        Phase::Asleep | Phase::Awake => {
            world.broker().publishes("a/b", 1, "x");
            world.client("C").hears("080c200001000178");
            world.client("C").says("0418012c").hears("0218");
            world.notes("asleep c1 for 300 s");
            world.broker().gets_if_shared("ACK 1");
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
    Some(world)
}

fn follows(world: &mut World, phase: Phase, message: &str, then: Then) {
    match then {
        Nothing => {}
        Stray => {
            world.client("C").hears("0218");
            world.notes("stray C");
        }
        Hears(frame) => {
            world.client("C").hears(frame);
        }
        AllHear(frame) => {
            world.client("C").hears(frame);
            world.everyone_hears(1, frame);
        }
        Notes(notice) => world.notes(notice),
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
        Unsubscribes => {
            world.client("C").hears("0415000d");
            world.broker().gets_if_own("UNSUBSCRIBE zz");
        }
        HearsAndNotes(frame, notice) => {
            world.client("C").hears(frame);
            world.notes(notice);
        }
        Settles => {
            if phase == Phase::Awake {
                world.client("C").hears("0217");
            }
            world.broker().gets_if_own("ACK 1");
            world.client("C").says("04166331").hears("0217");
        }
        GoesOn => match (phase, message.contains("WILLTOPIC")) {
            (Phase::AskedForTopic, true) => {
                world.client("C").hears("0208");
            }
            (Phase::AskedForMessage, false) => {
                world.client("C").hears("030500");
                world.notes("connected c1, persistent");
            }
            _ => {}
        },
    }
    if phase == Phase::AtBroker && matches!(then, Hears("0218")) {
        world.broker().gets("DISCONNECT");
    }
    world.quiet();
}

#[test]
fn every_message_does_in_every_phase_what_the_matrix_says() {
    for (message, row) in MATRIX {
        for (phases, then) in COLUMNS.into_iter().zip(row) {
            for phase in phases {
                println!("{message} while {phase:?}: {then:?}");
                let Some(mut world) = world_in(*phase) else { continue };
                world.client("C").says(message);
                follows(&mut world, *phase, message, *then);
            }
        }
    }
}

#[test]
fn every_message_through_a_forwarder_finds_no_session_of_the_forwarder_s_own() {
    for (message, row) in MATRIX {
        let mut world = world_in(Phase::Active).unwrap();
        let hex = message.split(' ').next().unwrap();
        world.client("C").says(&format!("04fe0009{hex}"));
        match row[0] {
            Stray => {
                world.client("C").hears("04fe00090218");
                world.notes("stray C");
            }
            AllHear(frame) => {
                world.client("C").hears(&format!("04fe0009{frame}"));
                world.everyone_hears(1, frame);
            }
            other => follows(&mut world, Phase::Unknown, message, other),
        }
    }
}

#[test]
fn of_what_was_sent_to_a_group_only_discovery_and_qos_minus_one_count() {
    for (message, row) in MATRIX {
        for (phases, then) in COLUMNS.into_iter().zip(row) {
            for phase in phases {
                println!("{message} to a group while {phase:?}");
                let Some(mut world) = world_in(*phase) else { continue };
                world.client("C").says_to_all(message);
                let counts = matches!(then, AllHear(_) | Notes(_) | Publishes("PUBLISH q0 ab x"));
                follows(&mut world, *phase, message, if counts { *then } else { Nothing });
            }
        }
    }
    let mut world = World::with_broker();
    world.client("C").says_to_all("08040401003c6331 CONNECT");
}

#[test]
fn connect_makes_a_client_active_from_every_phase() {
    for phase in COLUMNS.into_iter().flatten() {
        println!("CONNECT while {phase:?}");
        let Some(mut world) = world_in(*phase) else { continue };
        if *phase == Phase::AtBroker {
            // The same CONNECT goes on waiting for the same connection.
            world.client("C").sends(&frames::connect("c1", 0x00, 60));
            let asked = world.broker().connection_of("c1");
            world.broker().admits(&asked);
            world.client("C").hears("030500");
            world.notes("connected c1, persistent");
        } else {
            world.client("C").connects_persistent("c1");
        }
        if matches!(phase, Phase::Asleep | Phase::Awake) {
            world.client("C").hears("090a00010002612f62").says("070b0001000200").hears("080ca00001000178");
            world.client("C").says("070d0001000100");
            world.broker().gets_if_own("ACK 1");
        }
        world.client("C").says("0216").hears("0217");
        world.passes(90.0);
        world.client("C").hears("0218");
        world.notes("lost c1: KeepAlive");
        if *phase == Phase::AtBroker {
            world.broker().gets("DISCONNECT");
        }
    }
}
