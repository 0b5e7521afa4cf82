//! Frames to values and back.

use divan::{Bencher, black_box};
use mqttsn_gateway::wire::{Envelope, Message};

/// By name: the message, as it stands on a link.
const FRAMES: [(&str, &[u8]); 4] = [
    ("PUBLISH", b"\x15\x0C\x20\0\x01\0\x02twenty-one octet"),
    ("PUBACK", b"\x07\x0D\0\x01\0\x02\0"),
    ("CONNECT", b"\x0E\x04\x04\x01\0\x3Csensor-1"),
    ("PINGREQ", b"\x02\x16"),
];

fn names() -> impl Iterator<Item = &'static str> {
    FRAMES.into_iter().map(|(name, _)| name)
}

fn octets(name: &str) -> Vec<u8> {
    let (_, frame) = FRAMES.into_iter().find(|(it, _)| *it == name).unwrap();
    let mut octets = frame.to_vec();
    octets[0] = u8::try_from(frame.len()).unwrap();
    octets
}

#[divan::bench(args = names())]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let frame = octets(name);
    bencher.bench(|| {
        let envelope = Envelope::open(black_box(&frame), 1).unwrap();
        black_box(Message::decode(envelope.message()).unwrap());
    });
}

#[divan::bench(args = names())]
fn encode(bencher: Bencher<'_, '_>, name: &str) {
    let frame = octets(name);
    let message = Message::decode(&frame).unwrap();
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        black_box(&message).encode(&mut out).unwrap();
        black_box(&out);
    });
}
