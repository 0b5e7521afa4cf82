//! Ten thousand messages over lines that lose octets and flip bits.

use std::collections::BTreeMap;
use std::thread;

use crate::support::process::GLANCE;
use crate::support::{Dongle, Gateway, Mosquitto, MosquittoSub, SerialLine, Wire};

const MESSAGES: usize = 10_000;
/// Messages between two moments in which everything has arrived.
const BURST: usize = 100;

/// What became of the messages.
#[derive(Debug)]
struct Counts {
    hit: usize,
    received: usize,
    intact_lost: usize,
    bogus: usize,
}

#[test]
fn slip_crc_and_cobs_crc_lose_only_the_messages_that_were_hit() {
    for wire in [Wire::SlipCrc, Wire::CobsCrc] {
        let counts = over_a_bad_line(wire);
        assert_eq!((counts.intact_lost, counts.bogus), (0, 0), "{wire:?}: {counts:?}");
    }
}

#[test]
fn a_raw_line_loses_little_more_than_what_was_hit() {
    let counts = over_a_bad_line(Wire::Raw);
    assert!(counts.intact_lost <= 200 && counts.bogus <= 200, "{counts:?}");
}

/// Publishes the messages with QoS -1, one in a thousand octets damaged, and counts what a subscriber gets.
fn over_a_bad_line(wire: Wire) -> Counts {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let config = format!(
        "[broker]\nurl = {:?}\n\
         [[serial]]\nport = {:?}\nbaud = 115200\nframing = {:?}\n\
         [predefined]\n1 = \"reading\"\n2 = \"barrier\"\n\
         [limits]\nqos_minus_one_per_second = 1000000\n",
        broker.url(),
        line.gateway_end().display().to_string(),
        wire.name(),
    );
    let gateway = Gateway::start_with_config(&config, &[]);
    gateway.wait_for_broker();
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "#", "-v"]);
    let dongle = Dongle::open(&line.node_end(), wire);

    let mut random = fastrand::Rng::with_seed(7);
    let (mut intact, mut hit) = (Vec::new(), Vec::new());
    for number in 0..MESSAGES {
        let payload = format!("{number} {:08x}", random.u32(..));
        let framed = wire.up(3, &publish(1, &payload));
        let damaged = damage(&framed, &mut random);
        dongle.write(&damaged);
        let message = format!("reading {payload}");
        if damaged == framed {
            intact.push(message)
        } else {
            hit.push(message)
        }
        if number % BURST == BURST - 1 {
            wait_for_all(&dongle, &subscriber, number);
        }
    }

    let mut received = BTreeMap::<String, usize>::new();
    for message in subscriber.messages().into_iter().filter(|message| !message.starts_with("barrier ")) {
        *received.entry(message).or_default() += 1;
    }
    let sum = received.values().sum();
    let intact_lost = intact.iter().filter(|message| received.remove(*message) != Some(1)).count();
    // What was hit where it does no harm may arrive.
    received.retain(|message, _| !hit.contains(message));
    let counts = Counts { hit: hit.len(), received: sum, intact_lost, bogus: received.values().sum() };
    eprintln!(
        "{}: {MESSAGES} messages sent, {} of them hit; {} received; {} lost without being hit, {} never sent",
        wire.name(),
        counts.hit,
        counts.received,
        counts.intact_lost,
        counts.bogus
    );
    counts
}

/// Publishes a mark until it has arrived: everything before it has arrived then, or never will.
fn wait_for_all(dongle: &Dongle, subscriber: &MosquittoSub, number: usize) {
    /// How often to look before the mark is sent again. A raw line gives half a frame up in 200 ms.
    const GLANCES: usize = 50;
    let mark = format!("barrier {number}");
    for _ in 0..30 {
        dongle.write(&dongle.wire().up(3, &publish(2, &number.to_string())));
        for _ in 0..GLANCES {
            if subscriber.messages().iter().rev().take(BURST).any(|message| *message == mark) {
                return;
            }
            thread::sleep(GLANCE);
        }
    }
    panic!("{mark} never arrived");
}

/// A PUBLISH at QoS -1 to a pre-defined topic.
fn publish(topic_id: u8, payload: &str) -> Vec<u8> {
    let length = u8::try_from(payload.len() + 7).expect("short payloads");
    [&[length, 0x0C, 0x61, 0x00, topic_id, 0x00, 0x00], payload.as_bytes()].concat()
}

/// Loses one octet in 2,000, and flips a bit in one in 2,000.
fn damage(octets: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let damaged = octets.iter().filter_map(|octet| match random.u16(..2_000) {
        0 => None,
        1 => Some(octet ^ (1 << random.u8(..8))),
        _ => Some(*octet),
    });
    damaged.collect()
}
