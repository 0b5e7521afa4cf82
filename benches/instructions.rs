//! Does one kind of work so many times, for `scripts/instructions` to count the processor's instructions.
//!
//! The script runs each kind of work twice, with different numbers of repetitions: the difference is the work alone,
//! without the start of the program and the clients' connecting.
#![expect(clippy::print_stdout, reason = "what it prints is for the script")]

use std::hint::black_box;
use std::process::ExitCode;

use mqttsn_gateway::core::Mode;
use mqttsn_gateway::wire::framing::{Codec, Destination, Direction, Found, Framing};
use mqttsn_gateway::wire::{Envelope, Message, Qos};

mod rig;

use rig::Rig;

const CLIENTS: u32 = 100;
/// A name and what it does so many times.
type Work = (&'static str, fn(u32));

const WORKS: [Work; 12] = [
    ("codec-publish", codec),
    ("framing-slip-crc", framing),
    ("qos0-up", |times| up(Mode::Aggregating, Qos::AtMostOnce, times)),
    ("qos1-up", |times| up(Mode::Aggregating, Qos::AtLeastOnce, times)),
    ("qos2-up", |times| up(Mode::Aggregating, Qos::ExactlyOnce, times)),
    ("qos1-up-transparent", |times| up(Mode::Transparent, Qos::AtLeastOnce, times)),
    ("qos0-down", |times| down(1, Qos::AtMostOnce, times)),
    ("qos1-down", |times| down(1, Qos::AtLeastOnce, times)),
    ("qos2-down", |times| down(1, Qos::ExactlyOnce, times)),
    ("qos0-fan-out", |times| down(CLIENTS, Qos::AtMostOnce, times)),
    ("qos1-fan-out", |times| down(CLIENTS, Qos::AtLeastOnce, times)),
    ("ping", ping),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            WORKS.iter().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        [name, times] => match (WORKS.iter().find(|(it, _)| *it == name), times.parse()) {
            (Some((_, work)), Ok(times)) => {
                work(times);
                ExitCode::SUCCESS
            }
            (None, _) | (_, Err(_)) => ExitCode::FAILURE,
        },
        _ => ExitCode::FAILURE,
    }
}

fn up(mode: Mode, qos: Qos, times: u32) {
    let mut rig = Rig::new(mode, CLIENTS);
    (0..CLIENTS as usize).cycle().zip(0..times).for_each(|(client, _)| rig.publish(client, qos));
    black_box(rig.frames_sent());
}

/// Counts deliveries: one message to a hundred clients is a hundred.
fn down(clients: u32, qos: Qos, times: u32) {
    let mut rig = Rig::with_subscribers(clients, qos);
    (0..times / clients).for_each(|_| rig.deliver(qos));
    black_box(rig.frames_sent());
}

fn ping(times: u32) {
    let mut rig = Rig::new(Mode::Aggregating, CLIENTS);
    (0..CLIENTS as usize).cycle().zip(0..times).for_each(|(client, _)| rig.ping(client));
    black_box(rig.frames_sent());
}

fn codec(times: u32) {
    let frame = *b"\x27\x0C\x20\x00\x01\x00\x02thirty-two octets of sensor data";
    let mut out = Vec::with_capacity(frame.len());
    for _ in 0..times {
        let message = Envelope::open(black_box(&frame), 1).and_then(|envelope| Message::decode(envelope.message()));
        out.clear();
        assert!(message.is_ok_and(|message| message.encode(&mut out).is_ok()) && out == frame);
    }
}

fn framing(times: u32) {
    let framing = Framing::SlipCrc;
    let frame = b"\x27\x0C\x20\x00\x01\x00\x02thirty-two octets of sensor data";
    let mut line = Vec::new();
    let node = Destination::Node(framing.sole_node());
    let sent = Codec::new(framing, Direction::Downlink, 255).encode(node, frame, &mut line);
    let mut codec = Codec::new(framing, Direction::Uplink, 255);
    let mut frames = 0;
    for _ in 0..times {
        codec.feed(black_box(&line), |found| frames += u32::from(matches!(found, Found::Frame(_))));
    }
    assert_eq!((sent, frames), (Ok(()), times));
}
