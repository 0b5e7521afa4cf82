//! Serial framings: a hundred frames in slices as a port gives them, with and without noise between them.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mqttsn_gateway::wire::framing::{Codec, Destination, Direction, Found, Framing};

const FRAME: [u8; 39] = *b"\x27\x0C\x20\x00\x01\x00\x02thirty-two octets of sensor data";
const FRAMES: usize = 100;
/// Octets that one read gives.
const SLICE: usize = 64;

fn line(framing: Framing, noise: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut device = Codec::new(framing, Direction::Downlink, 255);
    for _ in 0..FRAMES {
        device.encode(Destination::Node(framing.sole_node()), &FRAME, &mut octets).expect("an address of this framing");
        octets.extend_from_slice(noise);
    }
    octets
}

fn decode(bencher: Bencher<'_, '_>, framing: Framing, noise: &[u8]) {
    let octets = line(framing, noise);
    bencher.counter(BytesCount::new(octets.len())).bench_local(|| {
        let mut decoder = Codec::new(framing, Direction::Uplink, 255);
        let mut frames = 0;
        let mut count = |found: Found<'_>| frames += usize::from(matches!(found, Found::Frame(_)));
        for slice in octets.chunks(SLICE) {
            decoder.feed(black_box(slice), &mut count);
        }
        decoder.idle(&mut count);
        assert!(frames >= FRAMES / 2, "{frames} frames");
    });
}

#[divan::bench(args = Framing::ALL)]
fn clean_line(bencher: Bencher<'_, '_>, framing: Framing) {
    decode(bencher, framing, &[]);
}

#[divan::bench(args = Framing::ALL)]
fn noisy_line(bencher: Bencher<'_, '_>, framing: Framing) {
    decode(bencher, framing, &[0xFF, 0x00, 0xA5]);
}

#[divan::bench(args = Framing::ALL)]
fn encode_one(bencher: Bencher<'_, '_>, framing: Framing) {
    let mut out = Vec::with_capacity(256);
    let mut codec = Codec::new(framing, Direction::Downlink, 255);
    let node = Destination::Node(framing.sole_node());
    bencher.bench_local(|| {
        out.clear();
        codec.encode(node, black_box(&FRAME), &mut out).expect("an address of this framing");
        black_box(&out);
    });
}
