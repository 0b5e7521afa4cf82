use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What was found, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Frame(Vec<u8>),
    Text(String),
    Noise(usize, Vec<u8>, NoiseReason),
}

impl From<Found<'_>> for Item {
    fn from(found: Found<'_>) -> Self {
        match found {
            Found::Frame(frame) => Self::Frame(frame.to_vec()),
            Found::Text(line) => Self::Text(line.to_owned()),
            Found::Noise(noise) => Self::Noise(noise.octets, noise.first.to_vec(), noise.reason),
        }
    }
}

/// Feeds a decoder the stream in slices of `step` octets; without an idle gap at the end.
fn decode_in_steps(decoder: &mut Decoder, stream: &[u8], step: usize) -> Vec<Item> {
    let mut items = Vec::new();
    for slice in stream.chunks(step) {
        decoder.feed(slice, |found| items.push(found.into()));
    }
    items
}

fn decode(framing: Framing, direction: Direction, stream: &[u8]) -> Vec<Item> {
    decode_in_steps(&mut Decoder::new(framing, direction, 255), stream, stream.len().max(1))
}

fn encoded(framing: Framing, frames: &[&[u8]]) -> Vec<u8> {
    let mut stream = Vec::new();
    frames.iter().for_each(|frame| encode(framing, frame, &mut stream));
    stream
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

struct Vector {
    framing: Framing,
    direction: Direction,
    wire: Vec<u8>,
    frame: Vec<u8>,
}

/// The rows of the fixture that belong to one of our framings, encapsulated frames included.
fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for row in include_str!("../../../fixtures/serial/frames.tsv").lines().skip(1) {
        let [framing, direction, wire, node, message, ..] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("too few columns: {row}");
        };
        let framing = match framing.trim_end_matches("+fe") {
            "slip+crc16" => Framing::SlipCrc,
            name => match name.parse() {
                Ok(framing) => framing,
                Err(UnknownFraming { .. }) => continue,
            },
        };
        let direction = if direction == "up" { Direction::Uplink } else { Direction::Downlink };
        // Ctrl is the one octet that the node's address and the message do not tell.
        let wire = hex(wire);
        let ctrl = if wire.starts_with(&[0x05, 0xFE, 0x01]) { 1 } else { 0 };
        let mut frame = Vec::new();
        for node in node.split('/').filter(|node| *node != "-") {
            let node = hex(node);
            frame.extend([u8::try_from(node.len()).unwrap() + 3, 0xFE, ctrl]);
            frame.extend(node);
        }
        frame.extend(hex(message));
        vectors.push(Vector { framing, direction, wire, frame });
    }
    vectors
}

#[test]
fn every_vector_of_the_fixture_is_decoded_whatever_the_slices() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 36);
    for Vector { framing, direction, wire, frame } in vectors {
        for step in [wire.len(), 1, 2, 3] {
            let mut decoder = Decoder::new(framing, direction, 255);
            let items = decode_in_steps(&mut decoder, &wire, step);
            assert_eq!(items, [Item::Frame(frame.clone())], "{framing} {wire:02x?}");
            assert!(!decoder.is_partial());
        }
    }
}

#[test]
fn every_vector_is_decoded_after_boot_text_and_after_noise() {
    for Vector { framing, direction, wire, frame } in vectors() {
        let text = b"\r\nets Jan  8 2013,rst cause:2\r\nboot ok\r\n".to_vec();
        let expected_text = [Item::Text("ets Jan  8 2013,rst cause:2".into()), Item::Text("boot ok".into())];
        let noise = vec![0xFF, 0x00, 0xA5, 0xFF, 0x00];
        // Text without a line end, or noise, joins a frame that has no END in front.
        let end = if framing == Framing::Raw || wire[0] == 0xC0 { vec![] } else { vec![0xC0] };
        for step in [1000, 1] {
            let stream = [&text[2..], &end, &wire, &text[2..], &end, &wire].concat();
            let items = decode_in_steps(&mut Decoder::new(framing, direction, 255), &stream, step);
            let once = [&expected_text[..], &[Item::Frame(frame.clone())]].concat();
            assert_eq!(items, [once.clone(), once].concat(), "{framing} {wire:02x?}");

            let stream = [&noise[..], &end, &wire, &noise, &end, &wire].concat();
            let items = decode_in_steps(&mut Decoder::new(framing, direction, 255), &stream, step);
            let frames: Vec<_> = items.iter().filter(|item| matches!(item, Item::Frame(_))).collect();
            assert_eq!(frames, [&Item::Frame(frame.clone()), &Item::Frame(frame.clone())], "{framing} {wire:02x?}");
            assert_eq!(items.len(), 4, "{items:?}");
        }
    }
}

#[test]
fn what_is_encoded_is_what_the_fixture_has() {
    for Vector { framing, wire, frame, .. } in vectors() {
        let ends = wire.iter().filter(|&&octet| octet == 0xC0).count();
        if framing == Framing::Raw || (wire[0] == 0xC0 && ends == 2) {
            assert_eq!(encoded(framing, &[&frame]), wire, "{framing}");
        }
    }
}

#[test]
fn a_name_is_parsed_and_shown_and_an_unknown_one_lists_the_known() {
    for framing in Framing::ALL {
        assert_eq!(framing.to_string().parse(), Ok(framing));
    }
    let error = "hdlc".parse::<Framing>().unwrap_err();
    assert_eq!(error.to_string(), "unknown framing \"hdlc\"; known are raw, slip, slip-crc");
}

#[test]
fn a_raw_frame_behind_a_lost_octet_is_found() {
    // A PUBLISH that has lost its Length, and two intact messages.
    let stream = [&hex("0c000001000372656164696e672030")[..], &hex("0216"), &hex("030100")].concat();
    let items = decode(Framing::Raw, Direction::Uplink, &stream);
    assert!(items.ends_with(&[Item::Frame(hex("0216")), Item::Frame(hex("030100"))]), "{items:?}");
}

#[test]
fn a_quiet_line_ends_a_raw_frame_and_frees_what_it_held_back() {
    let mut decoder = Decoder::new(Framing::Raw, Direction::Uplink, 255);
    // The header of a PUBLISH of 16, and a PINGREQ.
    let mut items = decode_in_steps(&mut decoder, &hex("100c0000010216"), 1);
    assert_eq!(items, []);
    assert!(decoder.is_partial());
    decoder.idle(|found| items.push(found.into()));
    let header = Item::Noise(5, hex("100c000001"), NoiseReason::Unfinished);
    assert_eq!(items, [header, Item::Frame(hex("0216"))]);
    assert!(!decoder.is_partial());
}

#[test]
fn text_without_a_line_end_is_given_when_the_line_goes_quiet() {
    for framing in Framing::ALL {
        let mut decoder = Decoder::new(framing, Direction::Uplink, 255);
        let mut items = decode_in_steps(&mut decoder, b"init failed", 4);
        assert_eq!(items, []);
        decoder.idle(|found| items.push(found.into()));
        assert_eq!(items, [Item::Text("init failed".into())], "{framing}");
        assert!(!decoder.is_partial());
    }
}

#[test]
fn a_line_feed_behind_text_does_not_swallow_the_next_raw_frame() {
    for line in ["boot ok\n", "boot ok\r\n", "boot ok!\n"] {
        let stream = [line.as_bytes(), &hex("0a040401000a756e6f31")].concat();
        let items = decode(Framing::Raw, Direction::Uplink, &stream);
        assert_eq!(items, [Item::Text(line.trim().into()), Item::Frame(hex("0a040401000a756e6f31"))]);
    }
}

#[test]
fn a_damaged_slip_frame_costs_only_itself() {
    use NoiseReason::{BadChecksum, BadEscape, NotAMessage, TooLong};
    let long = [0x55, 0xAA].repeat(200);
    for (framing, damaged, reason) in [
        (Framing::SlipCrc, &hex("c0030101616ac0")[..], BadChecksum),
        (Framing::SlipCrc, &hex("c0616ac0"), BadChecksum),
        (Framing::SlipCrc, &hex("c003db0100616ac0"), BadEscape),
        (Framing::SlipCrc, &hex("c00301dbc0"), BadEscape),
        (Framing::SlipCrc, &long, TooLong),
        (Framing::Slip, &hex("c0040100c0"), NotAMessage),
        (Framing::Slip, &hex("c0030500c0"), NotAMessage),
        (Framing::Slip, &long, TooLong),
    ] {
        let good = encoded(framing, &[&[3, 1, 0]]);
        let items = decode(framing, Direction::Uplink, &[&good, damaged, &good].concat());
        let frame = Item::Frame(vec![3, 1, 0]);
        let as_expected =
            matches!(&items[..], [a, Item::Noise(_, _, r), b] if *a == frame && *b == frame && *r == reason);
        assert!(as_expected, "{framing} {damaged:02x?} {items:?}");
    }
}

#[test]
fn a_message_with_lines_of_text_in_it_stays_a_message() {
    for msg_type in [0x09, 0x0C, 0x1C] {
        let frame = [&[0x2B, msg_type][..], "first line, flags 0\nsecond line\nthird li\n".as_bytes()].concat();
        let frame = if msg_type == 0x0C { [&frame[..2], &[0], &frame[3..]].concat() } else { frame };
        for framing in Framing::ALL {
            let items = decode(framing, Direction::Uplink, &encoded(framing, &[&frame]));
            assert_eq!(items, [Item::Frame(frame.clone())], "{framing}");
        }
    }
}

#[test]
fn a_longer_frame_than_allowed_is_noise() {
    let frame = [&[20, 0x0C, 0, 0, 1, 0, 0][..], &[7; 13]].concat();
    for framing in Framing::ALL {
        for (max_frame, fits) in [(20, true), (19, false)] {
            let mut decoder = Decoder::new(framing, Direction::Uplink, max_frame);
            let items = decode_in_steps(&mut decoder, &encoded(framing, &[&frame]), 7);
            assert_eq!(items.contains(&Item::Frame(frame.clone())), fits, "{framing} {max_frame}");
        }
    }
}

/// What a line that loses or damages one octet in 1,000 makes of 10,000 messages.
struct Outcome {
    /// Sent, not touched, and not received.
    intact_lost: usize,
    /// Received and never sent.
    bogus: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Drop,
    Flip,
}

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    /// The line goes quiet after each message.
    Pauses,
    BackToBack,
}

fn over_a_bad_line(framing: Framing, fault: Fault, pace: Pace) -> Outcome {
    let mut random = fastrand::Rng::with_seed(7);
    let mut decoder = Decoder::new(framing, Direction::Uplink, 255);
    let mut received: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut intact = Vec::new();
    let mut sent = BTreeMap::new();
    for number in 0..10_000_u32 {
        let frame = message(number, &mut random);
        let (mut wire, mut hit) = (Vec::new(), false);
        for octet in encoded(framing, &[&frame]) {
            if random.u32(..1_000) > 0 {
                wire.push(octet);
                continue;
            }
            hit = true;
            if fault == Fault::Flip {
                wire.push(octet ^ (1 << random.u8(..8)));
            }
        }
        *sent.entry(frame.clone()).or_insert(0_usize) += 1;
        if !hit {
            intact.push(frame);
        }
        let mut note = |found: Found<'_>| {
            if let Found::Frame(frame) = found {
                *received.entry(frame.to_vec()).or_default() += 1;
            }
        };
        decoder.feed(&wire, &mut note);
        if pace == Pace::Pauses {
            decoder.idle(&mut note);
        }
    }
    let bogus = received.iter().map(|(frame, count)| count.saturating_sub(sent.get(frame).copied().unwrap_or(0))).sum();
    let mut intact_lost = 0;
    for frame in intact {
        match received.get_mut(&frame) {
            Some(count) if *count > 0 => *count -= 1,
            Some(_) | None => intact_lost += 1,
        }
    }
    Outcome { intact_lost, bogus }
}

/// One of the messages that sensors send, mostly readings.
fn message(number: u32, random: &mut fastrand::Rng) -> Vec<u8> {
    let [_, _, high, low] = number.to_be_bytes();
    let with_length = |rest: &[u8]| [&[u8::try_from(rest.len()).unwrap() + 1], rest].concat();
    match random.u8(..10) {
        0 => with_length(&[0x16]),
        1 => with_length(&[0x0D, 0, 1, high, low, 0]),
        2 => with_length(&[&[0x0A, 0, 0, high, low][..], format!("home/sensor-{number}").as_bytes()].concat()),
        3 => {
            let payload: Vec<u8> = (0..random.usize(1..40)).map(|_| random.u8(..)).collect();
            with_length(&[&[0x0C, 0x20, 0, 2, high, low][..], &payload].concat())
        }
        _ => with_length(&[&[0x0C, 0x20, 0, 1, high, low][..], format!("{number}.{}", high).as_bytes()].concat()),
    }
}

#[test]
fn slip_with_a_crc_loses_only_what_was_hit_and_invents_nothing() {
    for fault in [Fault::Drop, Fault::Flip] {
        for pace in [Pace::Pauses, Pace::BackToBack] {
            let outcome = over_a_bad_line(Framing::SlipCrc, fault, pace);
            assert_eq!((outcome.intact_lost, outcome.bogus), (0, 0));
        }
    }
}

#[test]
fn a_raw_line_recovers_from_faults() {
    let outcome = over_a_bad_line(Framing::Raw, Fault::Drop, Pace::Pauses);
    assert_eq!(outcome.intact_lost, 0);
    assert!(outcome.bogus <= 10, "{}", outcome.bogus);
    let outcome = over_a_bad_line(Framing::Raw, Fault::Drop, Pace::BackToBack);
    // A frame that is one octet short takes one of the next frame, which is lost with it.
    assert!(outcome.intact_lost <= 350, "{}", outcome.intact_lost);
    let outcome = over_a_bad_line(Framing::Raw, Fault::Flip, Pace::BackToBack);
    assert!(outcome.intact_lost <= 100, "{}", outcome.intact_lost);
}

fn any_framing() -> impl Strategy<Value = Framing> {
    prop::sample::select(&Framing::ALL)
}

/// Octets that mean something to the decoders, among any others.
fn octets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(&[0x00, 0x01, 0x02, 0x03, 0x0A, 0x0C, 0x16, 0xC0, 0xDB, 0xDC, 0xDD, 0xFE][..]);
    prop::collection::vec(prop_oneof![telling, any::<u8>()], 0..max)
}

#[test]
fn a_message_with_lines_of_text_in_it_is_not_taken_for_text() {
    let will_msg = [&[0x20, 0x09][..], b"gone\nand not to be back today"].concat();
    let bare = [0x20, 0x0D, 0x0A].to_vec();
    for frame in [will_msg, bare] {
        let items = decode(Framing::SlipCrc, Direction::Downlink, &encoded(Framing::SlipCrc, &[&frame]));
        assert_eq!(items, [Item::Frame(frame)]);
    }
}

proptest! {
    #[test]
    fn slicing_does_not_change_the_result(
        framing in any_framing(), stream in octets(600), step in 1..40_usize, max_frame in 0..300_usize,
    ) {
        let mut in_one = Decoder::new(framing, Direction::Uplink, max_frame);
        let mut in_steps = Decoder::new(framing, Direction::Uplink, max_frame);
        let mut whole = decode_in_steps(&mut in_one, &stream, stream.len().max(1));
        let mut sliced = decode_in_steps(&mut in_steps, &stream, step);
        prop_assert_eq!(in_one.is_partial(), in_steps.is_partial());
        in_one.idle(|found| whole.push(found.into()));
        in_steps.idle(|found| sliced.push(found.into()));
        prop_assert_eq!(&whole, &sliced);
        prop_assert!(!in_one.is_partial());
        for item in whole {
            if let Item::Frame(frame) = item {
                prop_assert!((MIN_FRAME..=max_frame.max(MIN_FRAME)).contains(&frame.len()));
            }
        }
    }

    #[test]
    fn no_octet_is_lost_or_held_for_ever_on_a_raw_line(stream in octets(2_000), max_frame in 2..64_usize) {
        let mut decoder = Decoder::new(Framing::Raw, Direction::Uplink, max_frame);
        let mut accounted = 0;
        let mut count = |found: Found<'_>| match found {
            Found::Frame(frame) => accounted += frame.len(),
            Found::Text(line) => accounted += line.len(),
            Found::Noise(noise) => accounted += noise.octets,
        };
        decoder.feed(&stream, &mut count);
        decoder.idle(&mut count);
        // Of text the white space around the line is missing; noise of random octets is hardly ever text.
        prop_assert!(accounted <= stream.len());
        let held = stream.len() - accounted;
        prop_assert!(held <= stream.iter().filter(|octet| octet.is_ascii_whitespace() || **octet == 0x1B).count());
    }

    #[test]
    fn any_frame_survives_slip_behind_any_noise(
        mut frame in prop::collection::vec(any::<u8>(), 2..255), msg_type in 0..0x1E_u8, noise in octets(100),
    ) {
        frame[1] = msg_type;
        let stream = [noise, encoded(Framing::SlipCrc, &[&frame])].concat();
        let items = decode(Framing::SlipCrc, Direction::Downlink, &stream);
        prop_assert_eq!(items.last(), Some(&Item::Frame(frame)));
    }
}
