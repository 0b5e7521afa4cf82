//! What must hold for any octets. The fuzz targets try new ones; `tests/corpora.rs` replays those that are kept.
// Each target uses one of them.
#![allow(dead_code)]

use mqttsn_gateway::sim::{Dice, Story, run};
use mqttsn_gateway::wire::framing::{Codec, Destination, Direction, Found, Framing, NodeAddress};
use mqttsn_gateway::wire::{Envelope, Message};

/// Octets of the longest frame in [`framing`].
const MAX_FRAME: usize = 300;

/// Whatever can be read can be shown, and written so that it reads the same.
pub fn decode(octets: &[u8]) {
    for nesting in 0..3 {
        let Ok(envelope) = Envelope::open(octets, nesting) else { continue };
        let mut wrapper = Vec::new();
        envelope.reply_wrapper(&mut wrapper);
        assert_eq!(wrapper.len(), envelope.wrapper().len());
        let Ok(message) = Message::decode(envelope.message()) else { continue };
        let shown = format!("{envelope} {message} {:?}", message.objection());
        assert!(!shown.contains('\n'));
        let mut written = Vec::new();
        message.encode(&mut written).expect("it came from a frame, so it fits into one");
        assert_eq!(written.len(), message.encoded_len());
        assert_eq!(Message::decode(&written), Ok(message));
    }
}

/// A stream gives the same frames however it is cut, none is too long, and each can be framed again. After a silence the
/// next frame is found whatever was before it.
///
/// The first octet chooses the framing and the direction, the second the length of the pieces.
pub fn framing(octets: &[u8]) {
    let [choice, piece, stream @ ..] = octets else { return };
    let framing = Framing::ALL[usize::from(*choice) % Framing::ALL.len()];
    let direction = if choice & 0x80 == 0 { Direction::Uplink } else { Direction::Downlink };
    let whole = frames(framing, direction, [stream]);
    let pieces = frames(framing, direction, stream.chunks(usize::from(*piece) + 1));
    assert_eq!(whole, pieces);
    let mut sender = Codec::new(framing, opposite(direction), MAX_FRAME);
    let mut receiver = Codec::new(framing, direction, MAX_FRAME);
    receiver.feed(stream, |_| {});
    receiver.idle(|_| {});
    let mut framed = Vec::new();
    sender.encode(Destination::Node(framing.sole_node()), &[2, 0x17], &mut framed).expect("the framing's own address");
    let mut found = Vec::new();
    receiver.feed(&framed, |item| found.extend(frame_in(item)));
    assert_eq!(found, [(framing.sole_node(), vec![2, 0x17])]);
    for (node, frame) in whole {
        assert!(frame.len() <= MAX_FRAME);
        let mut framed = Vec::new();
        sender.encode(Destination::Node(node), &frame, &mut framed).expect("the framing has given this address");
        assert_eq!(frames(framing, direction, [framed.as_slice()]), [(node, frame)]);
    }
}

/// Every promise holds in the world that the octets choose.
pub fn world(octets: &[u8]) {
    if let Err(failure) = run(Dice::from_octets(octets), Story::LastSteps) {
        panic!("{failure}");
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Uplink => Direction::Downlink,
        Direction::Downlink => Direction::Uplink,
    }
}

fn frames<'a>(
    framing: Framing,
    direction: Direction,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<(NodeAddress, Vec<u8>)> {
    let mut codec = Codec::new(framing, direction, MAX_FRAME);
    let mut frames = Vec::new();
    let mut keep = |found: Found<'_>| frames.extend(frame_in(found));
    for piece in pieces {
        codec.feed(piece, &mut keep);
    }
    codec.idle(&mut keep);
    frames
}

fn frame_in(found: Found<'_>) -> Option<(NodeAddress, Vec<u8>)> {
    match found {
        Found::Frame(received) => Some((received.node, received.frame.to_vec())),
        Found::Text(_) | Found::Noise(_) | Found::Receipt(_) | Found::Answer(_) => None,
    }
}
