use proptest::prelude::*;

use super::*;

mod lines;
mod noise;
mod radio;
mod vectors;

/// What was found, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Frame(NodeAddress, Vec<u8>),
    Text(String),
    Noise(usize, Vec<u8>, NoiseReason),
    Receipt(Receipt),
    Answer(Vec<u8>),
}

impl From<Found<'_>> for Item {
    fn from(found: Found<'_>) -> Self {
        match found {
            Found::Frame(Received { node, frame, .. }) => Self::Frame(node, frame.to_vec()),
            Found::Text(line) => Self::Text(line.to_owned()),
            Found::Noise(noise) => Self::Noise(noise.octets, noise.first.to_vec(), noise.reason),
            Found::Receipt(receipt) => Self::Receipt(receipt),
            Found::Answer(octets) => Self::Answer(octets.to_vec()),
        }
    }
}

/// A frame from, or to, whom [`encoded`] has it from.
fn frame_of(framing: Framing, frame: &[u8]) -> Item {
    Item::Frame(framing.sole_node(), frame.to_vec())
}

/// Feeds a decoder the stream in slices of `step` octets; without an idle gap at the end.
fn decode_in_steps(codec: &mut Codec, stream: &[u8], step: usize) -> Vec<Item> {
    let mut items = Vec::new();
    for slice in stream.chunks(step) {
        codec.feed(slice, |found| items.push(found.into()));
    }
    items
}

fn decode(framing: Framing, direction: Direction, stream: &[u8]) -> Vec<Item> {
    decode_in_steps(&mut Codec::new(framing, direction, 255), stream, stream.len().max(1))
}

/// The end of a line that sends in this direction.
fn sender(framing: Framing, direction: Direction) -> Codec {
    let received = match direction {
        Direction::Uplink => Direction::Downlink,
        Direction::Downlink => Direction::Uplink,
    };
    Codec::new(framing, received, 255)
}

fn encoded(framing: Framing, direction: Direction, frames: &[&[u8]]) -> Vec<u8> {
    let mut sender = sender(framing, direction);
    let mut stream = Vec::new();
    for frame in frames {
        sender.encode(Destination::Node(framing.sole_node()), frame, &mut stream).unwrap();
    }
    stream
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_name_is_parsed_and_shown_and_an_unknown_one_lists_the_known() {
    for framing in Framing::ALL {
        assert_eq!(framing.to_string().parse(), Ok(framing));
    }
    let error = "hdlc".parse::<Framing>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown framing \"hdlc\"; known are raw, slip, slip-crc, cobs-crc, xbee, xbee-escaped, aquila"
    );
}

#[test]
fn an_address_that_the_framing_does_not_have_is_refused_and_nothing_is_written() {
    let addresses = [NodeAddress::None, NodeAddress::Short(7), NodeAddress::Long(7)];
    for framing in Framing::ALL {
        let expected = match framing {
            Framing::Raw | Framing::Slip | Framing::SlipCrc | Framing::CobsCrc => [true, false, false],
            Framing::Xbee | Framing::XbeeEscaped => [false, true, true],
            Framing::Aquila => [false, true, false],
        };
        for direction in [Direction::Uplink, Direction::Downlink] {
            let taken = addresses.map(|address| {
                let mut out = Vec::new();
                let result = sender(framing, direction).encode(Destination::Node(address), &[2, 0x17], &mut out);
                assert_eq!(out.is_empty(), result.is_err());
                result.is_ok()
            });
            assert_eq!(taken, expected, "{framing}");
        }
    }
}

fn any_framing() -> impl Strategy<Value = Framing> {
    prop::sample::select(&Framing::ALL)
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(&[Direction::Uplink, Direction::Downlink])
}

/// Octets that mean something to the decoders, among any others.
fn octets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(
        &[0x00, 0x01, 0x02, 0x03, 0x0A, 0x0C, 0x10, 0x16, 0x7D, 0x7E, 0x90, 0xC0, 0xDB, 0xDC, 0xDD, 0xFE][..],
    );
    prop::collection::vec(prop_oneof![telling, any::<u8>()], 0..max)
}

proptest! {
    #[test]
    fn slicing_does_not_change_the_result(
        framing in any_framing(), direction in any_direction(), stream in octets(600), step in 1..40_usize,
        max_frame in 0..300_usize,
    ) {
        let mut in_one = Codec::new(framing, direction, max_frame);
        let mut in_steps = Codec::new(framing, direction, max_frame);
        let mut whole = decode_in_steps(&mut in_one, &stream, stream.len().max(1));
        let mut sliced = decode_in_steps(&mut in_steps, &stream, step);
        prop_assert_eq!(in_one.is_partial(), in_steps.is_partial());
        in_one.idle(|found| whole.push(found.into()));
        in_steps.idle(|found| sliced.push(found.into()));
        prop_assert_eq!(&whole, &sliced);
        prop_assert!(!in_one.is_partial());
        for item in whole {
            if let Item::Frame(_, frame) = item {
                prop_assert!((MIN_FRAME..=max_frame.max(MIN_FRAME)).contains(&frame.len()));
            }
        }
    }

    #[test]
    fn no_octet_is_lost_or_held_for_ever_on_a_raw_line(stream in octets(2_000), max_frame in 2..64_usize) {
        let mut codec = Codec::new(Framing::Raw, Direction::Uplink, max_frame);
        let mut accounted = 0;
        let mut count = |found: Found<'_>| match found {
            Found::Frame(received) => accounted += received.frame.len(),
            Found::Text(line) => accounted += line.len(),
            Found::Noise(noise) => accounted += noise.octets,
            Found::Receipt(_) | Found::Answer(_) => unreachable!("a raw line has none"),
        };
        codec.feed(&stream, &mut count);
        codec.idle(&mut count);
        // Of text the white space around the line is missing; noise of random octets is hardly ever text.
        prop_assert!(accounted <= stream.len());
        let held = stream.len() - accounted;
        prop_assert!(held <= stream.iter().filter(|octet| octet.is_ascii_whitespace() || **octet == 0x1B).count());
    }
}
