//! What the framings of radio dongles have beside frames: addresses, signal strength, broadcast, receipts and answers.

use super::*;

/// A SEARCHGW from the node of the fixture, of which it has two addresses.
pub(super) fn search_gw_over_xbee(framing: Framing) -> Vec<u8> {
    let is_escaped = framing == Framing::XbeeEscaped;
    hex(if is_escaped {
        "7e000f90007d33a20040aabbcc7d5d840103010043"
    } else {
        "7e000f900013a20040aabbcc7d840103010043"
    })
}

/// An API frame in mode 1.
fn api_frame(data: &str) -> Vec<u8> {
    let data = hex(data);
    let sum = data.iter().fold(0_u8, |sum, octet| sum.wrapping_add(*octet));
    [&[0x7E, 0, u8::try_from(data.len()).unwrap()], &data[..], &[0xFF - sum]].concat()
}

/// The frames that a codec finds, as they are.
fn received(codec: &mut Codec, stream: &[u8]) -> Vec<(NodeAddress, Reach, Option<Signal>, Vec<u8>)> {
    let mut frames = Vec::new();
    codec.feed(stream, |found| {
        if let Found::Frame(Received { node, reach, signal, frame }) = found {
            frames.push((node, reach, signal, frame.to_vec()));
        }
    });
    frames
}

fn written(codec: &mut Codec, node: Destination, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec.encode(node, frame, &mut out).unwrap();
    out
}

fn gateway(framing: Framing) -> Codec {
    Codec::new(framing, Direction::Uplink, 255)
}

const SHORT: NodeAddress = NodeAddress::Short(0x1234);
const LONG: NodeAddress = NodeAddress::Long(0x0013_A200_40AA_BBCC);

#[test]
fn a_frame_over_aquila_has_its_node_and_the_strength_of_its_signal() {
    let wire = hex("c0bebe08fe010300030100458ac0");
    let signal = Some(Signal { rssi_dbm: -66, lqi: Some(0xBE) });
    let frame = (NodeAddress::Short(3), Reach::One, signal, vec![3, 1, 0]);
    assert_eq!(received(&mut gateway(Framing::Aquila), &wire), [frame]);
}

#[test]
fn a_frame_from_an_802_15_4_module_is_answered_in_the_form_it_had() {
    let mut codec = gateway(Framing::Xbee);
    let signal = Some(Signal { rssi_dbm: -40, lqi: None });
    let frames = received(&mut codec, &api_frame("8112342800030100"));
    assert_eq!(frames, [(SHORT, Reach::One, signal, vec![3, 1, 0])]);
    assert_eq!(written(&mut codec, Destination::Node(SHORT), &[2, 0x17]), api_frame("01011234000217"));

    let frames = received(&mut codec, &api_frame("800013a20040aabbcc2802030100"));
    assert_eq!(frames, [(LONG, Reach::Everyone, signal, vec![3, 1, 0])]);
    let to_node = written(&mut codec, Destination::Node(LONG), &[2, 0x17]);
    assert_eq!(to_node, api_frame("00020013a20040aabbcc000217"));
    let to_all = written(&mut codec, Destination::Everyone { radius: 0 }, &[2, 0x17]);
    assert_eq!(to_all, api_frame("0003000000000000ffff000217"));
}

#[test]
fn a_zigbee_node_is_addressed_by_both_its_addresses_once_it_was_heard() {
    let mut codec = gateway(Framing::Xbee);
    let unheard = written(&mut codec, Destination::Node(LONG), &[2, 0x17]);
    assert_eq!(unheard, api_frame("10010013a20040aabbccfffe00000217"));
    codec.feed(&search_gw_over_xbee(Framing::Xbee), |_| {});
    let heard = written(&mut codec, Destination::Node(LONG), &[2, 0x17]);
    assert_eq!(heard, api_frame("10020013a20040aabbcc7d8400000217"));
}

#[test]
fn a_broadcast_over_xbee_reaches_as_far_as_it_is_asked_to() {
    let wire = written(&mut gateway(Framing::Xbee), Destination::Everyone { radius: 2 }, &[3, 2, 1]);
    assert_eq!(wire, api_frame("1001000000000000fffffffe0200030201"));
}

#[test]
fn a_frame_for_an_xbee_always_asks_for_a_receipt() {
    let mut codec = gateway(Framing::Xbee);
    for number in 0..600 {
        let wire = written(&mut codec, Destination::Node(LONG), &[2, 0x17]);
        assert_eq!(usize::from(wire[4]), number % 255 + 1);
    }
}

#[test]
fn what_a_dongle_says_about_a_frame_is_a_receipt() {
    let refused = |status| Item::Receipt(Receipt::Refused(Refusal::XbeeStatus { status }));
    for (framing, wire, item) in [
        (Framing::Aquila, hex("c0000002014376c0"), Item::Receipt(Receipt::Taken)),
        (Framing::Aquila, hex("c0000002006266c0"), Item::Receipt(Receipt::Refused(Refusal::Nack))),
        (Framing::Xbee, api_frame("8b017d84000000"), Item::Receipt(Receipt::Taken)),
        (Framing::Xbee, api_frame("8b02fffe032101"), refused(0x21)),
        (Framing::Xbee, api_frame("890100"), Item::Receipt(Receipt::Taken)),
        (Framing::Xbee, api_frame("890201"), refused(1)),
    ] {
        assert_eq!(decode(framing, Direction::Uplink, &wire), [item]);
    }
    assert_eq!(
        Refusal::XbeeStatus { status: 0x74 }.to_string(),
        "XBee delivery status 74, it was too large for the module; lower `max_frame` to its setting NP"
    );
}

#[test]
fn a_client_at_the_far_end_confirms_frames_as_a_dongle_does() {
    for (framing, sent, answer) in [
        (Framing::Aquila, hex("c005fe0103000305007958c0"), Some(hex("c0000002014376c0"))),
        (Framing::Xbee, api_frame("10070013a20040aabbcc7d840000030500"), Some(api_frame("8b07fffe000000"))),
        // Nobody asked for a receipt.
        (Framing::Xbee, api_frame("10000013a20040aabbcc7d840000030500"), None),
        (Framing::Xbee, api_frame("00050013a20040aabbcc00030500"), Some(api_frame("890500"))),
        (Framing::Xbee, api_frame("0106123400030500"), Some(api_frame("890600"))),
    ] {
        let items = decode(framing, Direction::Downlink, &sent);
        let [Item::Frame(_, frame), answers @ ..] = &items[..] else { panic!("{items:?}") };
        assert_eq!(frame, &[3, 5, 0]);
        assert_eq!(answers, answer.map(Item::Answer).as_slice());
    }
}

#[test]
fn a_client_at_the_far_end_knows_a_broadcast() {
    for (framing, sent) in [
        (Framing::Aquila, hex("c005fe01ffff050001000ffbf6c0")),
        (Framing::Xbee, api_frame("1001000000000000fffffffe00000500010384")),
        (Framing::Xbee, api_frame("0001000000000000ffff000500010384")),
        (Framing::Xbee, api_frame("0101ffff000500010384")),
    ] {
        let frames = received(&mut Codec::new(framing, Direction::Downlink, 255), &sent);
        let [(_, Reach::Everyone, None, frame)] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!(frame[..2], [5, 0]);
    }
}

#[test]
fn an_aquila_dongle_that_asks_for_its_key_keeps_the_one_it_has() {
    let items = decode(Framing::Aquila, Direction::Uplink, &hex("c0000002022046c0"));
    assert!(matches!(items[..], [Item::Text(_)]), "{items:?}");
}

#[test]
fn an_api_frame_without_a_message_is_told_in_words() {
    let items = decode(Framing::Xbee, Direction::Uplink, &api_frame("8a06"));
    assert_eq!(items, [Item::Text("XBee modem status 06, coordinator started".to_owned())]);
    let items = decode(Framing::Xbee, Direction::Uplink, &api_frame("880144420028"));
    assert_eq!(items, [Item::Text("XBee API frame of type 88, which carries no message".to_owned())]);
}

#[test]
fn a_false_start_does_not_cost_the_frame_behind_it() {
    let frame = search_gw_over_xbee(Framing::Xbee);
    for noise in ["7e", "7e00", "7e000f", "7e00057e7e", "7e0003900013a2", "00ff7e000f9000"] {
        let mut codec = gateway(Framing::Xbee);
        let mut items = decode_in_steps(&mut codec, &[&hex(noise), &frame[..], &frame].concat(), 7);
        codec.idle(|found| items.push(found.into()));
        let frames = items.iter().filter(|item| **item == Item::Frame(LONG, vec![3, 1, 0])).count();
        assert_eq!(frames, 2, "{noise} {items:?}");
    }
}

#[test]
fn receipts_are_waited_for_only_in_front_of_a_dongle() {
    for framing in Framing::ALL {
        let has_receipts = matches!(framing, Framing::Aquila | Framing::Xbee | Framing::XbeeEscaped);
        assert_eq!(gateway(framing).flow().is_some(), has_receipts, "{framing}");
        assert_eq!(Codec::new(framing, Direction::Downlink, 255).flow(), None, "{framing}");
    }
}
