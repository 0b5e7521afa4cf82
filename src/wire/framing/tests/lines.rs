//! Frames among text, silence and damage, on a line of each framing.

use super::*;

#[test]
fn a_raw_frame_behind_a_lost_octet_is_found() {
    // A PUBLISH that has lost its Length, and two intact messages.
    let stream = [&hex("0c000001000372656164696e672030")[..], &hex("0216"), &hex("030100")].concat();
    let items = decode(Framing::Raw, Direction::Uplink, &stream);
    let frame = |digits| frame_of(Framing::Raw, &hex(digits));
    assert!(items.ends_with(&[frame("0216"), frame("030100")]), "{items:?}");
}

#[test]
fn a_quiet_line_ends_a_raw_frame_and_frees_what_it_held_back() {
    let mut codec = Codec::new(Framing::Raw, Direction::Uplink, 255);
    // The header of a PUBLISH of 16, and a PINGREQ.
    let mut items = decode_in_steps(&mut codec, &hex("100c0000010216"), 1);
    assert_eq!(items, []);
    assert!(codec.is_partial());
    codec.idle(|found| items.push(found.into()));
    let header = Item::Noise(5, hex("100c000001"), NoiseReason::Unfinished);
    assert_eq!(items, [header, frame_of(Framing::Raw, &hex("0216"))]);
    assert!(!codec.is_partial());
}

#[test]
fn half_a_frame_is_given_up_when_the_line_goes_quiet_and_the_next_one_is_whole() {
    let frame = hex("0f0c200001000273657268656c6c6f");
    for framing in Framing::ALL {
        let wire = encoded(framing, Direction::Uplink, &[&frame]);
        let mut codec = Codec::new(framing, Direction::Uplink, 255);
        let half = decode_in_steps(&mut codec, &wire[..wire.len() / 2], 3);
        assert_eq!(half, [], "{framing}");
        assert!(codec.is_partial(), "{framing}");
        let mut items = Vec::new();
        codec.idle(|found| items.push(found.into()));
        assert!(matches!(items[..], [Item::Noise(_, _, NoiseReason::Unfinished)]), "{framing} {items:?}");
        assert_eq!(decode_in_steps(&mut codec, &wire, 3), [frame_of(framing, &frame)], "{framing}");
    }
}

#[test]
fn text_without_a_line_end_is_given_when_the_line_goes_quiet() {
    for framing in Framing::ALL {
        let mut codec = Codec::new(framing, Direction::Uplink, 255);
        let mut items = decode_in_steps(&mut codec, b"init failed", 4);
        assert_eq!(items, []);
        codec.idle(|found| items.push(found.into()));
        assert_eq!(items, [Item::Text("init failed".into())], "{framing}");
        assert!(!codec.is_partial());
    }
}

#[test]
fn a_line_of_text_does_not_swallow_the_next_frame() {
    let frame = hex("0a040401000a756e6f31");
    for framing in Framing::ALL {
        let wire = encoded(framing, Direction::Uplink, &[&frame]);
        for line in ["boot ok\n", "boot ok\r\n", "boot ok!\n", "~ # /bin/sh\n", "\x1b[0;32mI (31) boot\x1b[0m\r\n"] {
            let items = decode(framing, Direction::Uplink, &[line.as_bytes(), &wire].concat());
            let [Item::Text(_), ref rest @ ..] = items[..] else { panic!("{framing} {line:?} {items:?}") };
            assert_eq!(rest, [frame_of(framing, &frame)], "{framing} {line:?}");
        }
    }
}

#[test]
fn a_short_line_of_text_does_not_swallow_the_next_raw_frame() {
    let frame = hex("0a040401000a756e6f31");
    for line in ["ok\n", "ok\r\n", "a\n", "\n", "\r\n", "go!\n\n"] {
        let items = decode(Framing::Raw, Direction::Uplink, &[line.as_bytes(), &frame, &frame].concat());
        assert!(
            items.ends_with(&[frame_of(Framing::Raw, &frame), frame_of(Framing::Raw, &frame)]),
            "{line:?} {items:?}"
        );
    }
}

#[test]
fn a_damaged_frame_between_delimiters_costs_only_itself() {
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
        (Framing::CobsCrc, &hex("0003030203616a00"), BadChecksum),
        (Framing::CobsCrc, &hex("0003030109616a00"), BadEscape),
        (Framing::CobsCrc, &hex("00ff030100"), BadEscape),
        (Framing::CobsCrc, &long, TooLong),
        (Framing::Aquila, &hex("c0bebe08fe010300030100458bc0"), BadChecksum),
        (Framing::Aquila, &long, TooLong),
        (Framing::Xbee, &hex("7e000f900013a20040aabbcc7d840103010044"), BadChecksum),
        (Framing::XbeeEscaped, &hex("7e000f90007d33a20040aa"), NoiseReason::Unfinished),
        (Framing::XbeeEscaped, &hex("7e000f90007d33a20040aabbcc7d"), NoiseReason::Unfinished),
    ] {
        let good = encoded(framing, Direction::Uplink, &[&[3, 1, 0]]);
        let items = decode(framing, Direction::Uplink, &[&good, damaged, &good].concat());
        let frame = frame_of(framing, &[3, 1, 0]);
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
            let wire = encoded(framing, Direction::Uplink, &[&frame]);
            assert_eq!(decode(framing, Direction::Uplink, &wire), [frame_of(framing, &frame)], "{framing}");
        }
    }
}

#[test]
fn a_message_with_lines_of_text_in_it_is_not_taken_for_text() {
    let will_msg = [&[0x20, 0x09][..], b"gone\nand not to be back today"].concat();
    let bare = [0x20, 0x0D, 0x0A].to_vec();
    for framing in [Framing::SlipCrc, Framing::CobsCrc, Framing::Aquila] {
        for frame in [&will_msg, &bare] {
            let wire = encoded(framing, Direction::Uplink, &[frame]);
            assert_eq!(decode(framing, Direction::Uplink, &wire), [frame_of(framing, frame)], "{framing}");
        }
    }
}

#[test]
fn a_longer_frame_than_allowed_is_noise() {
    let frame = [&[20, 0x0C, 0, 0, 1, 0, 0][..], &[7; 13]].concat();
    for framing in Framing::ALL {
        for (max_frame, fits) in [(20, true), (19, false)] {
            let mut codec = Codec::new(framing, Direction::Uplink, max_frame);
            let wire = encoded(framing, Direction::Uplink, &[&frame]);
            let items = decode_in_steps(&mut codec, &wire, 7);
            assert_eq!(items.contains(&frame_of(framing, &frame)), fits, "{framing} {max_frame}");
        }
    }
}

proptest! {
    #[test]
    fn any_frame_survives_behind_any_noise(
        framing in prop::sample::select(&[Framing::SlipCrc, Framing::CobsCrc, Framing::Aquila]),
        mut frame in prop::collection::vec(any::<u8>(), 2..255), length in 1_u8.., msg_type in 0..0x1E_u8,
        noise in octets(100),
    ) {
        (frame[0], frame[1]) = (length, msg_type);
        let stream = [noise, encoded(framing, Direction::Uplink, &[&frame])].concat();
        let items = decode(framing, Direction::Uplink, &stream);
        prop_assert_eq!(items.last(), Some(&frame_of(framing, &frame)));
    }
}
