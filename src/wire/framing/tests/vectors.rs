//! The vectors of `fixtures/serial/frames.tsv`: octets that real firmware sent, or that follow from its documents.

use super::radio::search_gw_over_xbee;
use super::*;

struct Vector {
    framing: Framing,
    direction: Direction,
    wire: Vec<u8>,
    node: Destination,
    /// With its forwarder encapsulation; `None` in what a dongle and a gateway say to each other.
    frame: Option<Vec<u8>>,
}

/// The rows of the fixture that belong to one of our framings.
fn vectors() -> Vec<Vector> {
    include_str!("../../../../fixtures/serial/frames.tsv").lines().skip(1).filter_map(vector).collect()
}

fn vector(row: &str) -> Option<Vector> {
    let [framing, direction, wire, node, message, ..] = row.split('\t').collect::<Vec<_>>()[..] else {
        panic!("too few columns: {row}");
    };
    let framing = match framing.trim_end_matches("+fe") {
        "slip+crc16" => Framing::SlipCrc,
        "cobs+crc16(ref)" => Framing::CobsCrc,
        "xbee-api1" => Framing::Xbee,
        "xbee-api2" => Framing::XbeeEscaped,
        name => name.parse().ok()?,
    };
    let direction = if direction == "up" { Direction::Uplink } else { Direction::Downlink };
    let wire = hex(wire);
    let message = (message != "-").then(|| hex(message));
    let (node, frame) = match framing {
        Framing::Raw | Framing::Slip | Framing::SlipCrc | Framing::CobsCrc => {
            let frame = message.map(|message| encapsulated(node, message, &wire));
            (Destination::Node(NodeAddress::None), frame)
        }
        Framing::Xbee | Framing::XbeeEscaped | Framing::Aquila => (address(node), message),
    };
    Some(Vector { framing, direction, wire, node, frame })
}

/// Puts the message behind as many forwarders as there are nodes: `0009/0003`, or `-` for none.
fn encapsulated(nodes: &str, message: Vec<u8>, wire: &[u8]) -> Vec<u8> {
    // Ctrl is the one octet that the node's address and the message do not tell.
    let ctrl = if wire.starts_with(&[0x05, 0xFE, 0x01]) { 1 } else { 0 };
    let mut frame = Vec::new();
    for node in nodes.split('/').filter(|node| *node != "-") {
        let node = hex(node);
        frame.extend([u8::try_from(node.len()).unwrap() + 3, 0xFE, ctrl]);
        frame.extend(node);
    }
    frame.extend(message);
    frame
}

/// Reads `0x0003`, `0013a20040aabbcc/7d84`, or a name with `broadcast` in it.
fn address(node: &str) -> Destination {
    if node.contains("broadcast") {
        return Destination::Everyone { radius: 0 };
    }
    let node = node.trim_start_matches("0x").split('/').next().unwrap();
    Destination::Node(match node.len() {
        16 => NodeAddress::Long(u64::from_str_radix(node, 16).unwrap()),
        4 => NodeAddress::Short(u16::from_str_radix(node, 16).unwrap()),
        _ => NodeAddress::None,
    })
}

/// What the decoder must find, answers left out.
fn expected(vector: &Vector) -> Vec<Item> {
    let is_aquila = vector.framing == Framing::Aquila;
    let everyone = if is_aquila { NodeAddress::Short(0xFFFF) } else { NodeAddress::Long(0xFFFF) };
    let Vector { direction, wire, node, .. } = vector;
    match (&vector.frame, direction) {
        (Some(frame), _) => {
            let node = match node {
                Destination::Node(node) => *node,
                Destination::Everyone { .. } => everyone,
            };
            vec![Item::Frame(node, frame.clone())]
        }
        // CONFIG, and pair mode on and off, are for a real dongle.
        (None, Direction::Downlink) => vec![],
        (None, Direction::Uplink) => vec![match wire[..] {
            [0xC0, 0, 0, 2, 1, ..] => Item::Receipt(Receipt::Taken),
            [0xC0, 0, 0, 2, 0, ..] => Item::Receipt(Receipt::Refused(Refusal::Nack)),
            [0xC0, 0, 0, 2, 2, ..] => {
                Item::Text("the dongle has started; it keeps the PAN and the key that it has".to_owned())
            }
            [0x7E, _, _, 0x8B, ..] => Item::Receipt(Receipt::Taken),
            [0x7E, _, _, 0x8A, ..] => Item::Text("XBee modem status 00, hardware reset".to_owned()),
            _ => panic!("{wire:02x?}"),
        }],
    }
}

fn without_answers(items: Vec<Item>) -> Vec<Item> {
    items.into_iter().filter(|item| !matches!(item, Item::Answer(_))).collect()
}

#[test]
fn every_vector_of_the_fixture_is_decoded_whatever_the_slices() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 60);
    for vector in vectors {
        let Vector { framing, direction, wire, .. } = &vector;
        for step in [wire.len(), 1, 2, 3] {
            let mut codec = Codec::new(*framing, *direction, 255);
            let items = decode_in_steps(&mut codec, wire, step);
            assert_eq!(without_answers(items), expected(&vector), "{framing} {wire:02x?}");
            assert!(!codec.is_partial());
        }
    }
}

#[test]
fn every_vector_is_decoded_after_boot_text_and_after_noise() {
    for vector in vectors() {
        let Vector { framing, direction, wire, .. } = &vector;
        let text = b"ets Jan  8 2013,rst cause:2\r\nboot ok\r\n".to_vec();
        let expected_text = [Item::Text("ets Jan  8 2013,rst cause:2".into()), Item::Text("boot ok".into())];
        let noise = vec![0xFF, 0x00, 0xA5, 0xFF, 0x00];
        // Noise joins a frame that has no delimiter in front.
        let delimiter: &[u8] = match framing {
            Framing::Slip | Framing::SlipCrc => &[0xC0],
            Framing::CobsCrc => &[0x00],
            Framing::Raw | Framing::Xbee | Framing::XbeeEscaped | Framing::Aquila => &[],
        };
        for step in [1000, 1] {
            let stream = [&text, &wire[..], &text, wire].concat();
            let items = decode_in_steps(&mut Codec::new(*framing, *direction, 255), &stream, step);
            let once = [&expected_text[..], &expected(&vector)].concat();
            assert_eq!(without_answers(items), [once.clone(), once].concat(), "{framing} {wire:02x?}");

            let stream = [&noise, delimiter, wire, &noise, delimiter, wire].concat();
            let items = decode_in_steps(&mut Codec::new(*framing, *direction, 255), &stream, step);
            let found: Vec<_> =
                items.into_iter().filter(|item| !matches!(item, Item::Noise(..) | Item::Answer(_))).collect();
            assert_eq!(found, [expected(&vector), expected(&vector)].concat(), "{framing} {wire:02x?}");
        }
    }
}

#[test]
fn what_is_encoded_is_what_the_fixture_has() {
    let mut compared = 0;
    for vector in vectors() {
        let Vector { framing, direction, ref wire, node, frame: Some(ref frame) } = vector else { continue };
        let mut sender = sender(framing, direction);
        // The node has been heard, so that its other address is known.
        if let Framing::Xbee | Framing::XbeeEscaped = framing {
            sender.feed(&search_gw_over_xbee(framing), |_| {});
        }
        if is_as_we_write(&vector) {
            // The number of a frame for an XBee counts up.
            let ours = (0..3).any(|_| {
                let mut octets = Vec::new();
                sender.encode(node, frame, &mut octets).unwrap();
                octets.strip_prefix(if framing == Framing::CobsCrc { &[0][..] } else { &[] }) == Some(wire)
            });
            assert!(ours, "{framing} {wire:02x?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 45);
}

/// Whether a vector has what every other end would write as well: both ENDs of SLIP, our own LQI and RSSI.
fn is_as_we_write(vector: &Vector) -> bool {
    match (vector.framing, vector.direction) {
        (Framing::Raw | Framing::CobsCrc, _) => true,
        (Framing::Slip | Framing::SlipCrc, _) => {
            vector.wire[0] == 0xC0 && vector.wire.iter().filter(|&&octet| octet == 0xC0).count() == 2
        }
        (Framing::Xbee | Framing::XbeeEscaped | Framing::Aquila, Direction::Downlink) => true,
        (Framing::Aquila, Direction::Uplink) => vector.wire.starts_with(&[0xC0, 0xBE, 0xBE]),
        // A client at the far end has no 16-bit address.
        (Framing::Xbee | Framing::XbeeEscaped, Direction::Uplink) => false,
    }
}

#[test]
fn the_diagnostic_text_of_slipmux_is_text() {
    for framing in [Framing::Slip, Framing::SlipCrc] {
        let items = decode(framing, Direction::Uplink, &hex("c00a626f6f74206f6b0ac0"));
        assert_eq!(items, [Item::Text("boot ok".into())]);
    }
}
