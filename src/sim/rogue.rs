//! Somebody who sends rubbish: any octets, any message, and mutilated ones, with and without a forwarder's wrapper.

use super::dice::Dice;
use crate::wire::Envelope;

/// Client ids of their own, so that nobody else's session is in danger, and some that no session can have.
const CLIENT_IDS: [&[u8]; 6] =
    [b"rogue", b"rogue-two", b"", b"ro\0gue", &[0xFF], b"rogue-with-a-long-name-that-goes-on"];
const TOPICS: [&[u8]; 8] = [b"a/b", b"a/+", b"#", b"a#", b"", b"\0", &[0xC3], b"$share/g/a"];

/// Makes one frame.
pub(super) fn frame(dice: &mut Dice) -> Vec<u8> {
    let message = match dice.below(4) {
        0 => octets(dice, 20),
        _ => message(dice),
    };
    let mut frame = Vec::new();
    if dice.chance(200) {
        let node = [dice.octet(), dice.octet()];
        Envelope::wrap(&node, 0, &mut frame).expect("two octets are a good name");
    }
    frame.extend(message);
    if dice.chance(200) {
        frame.truncate(dice.below(frame.len()));
    }
    frame
}

/// Makes a message of any type whose Length is right and whose fields are likely ones.
fn message(dice: &mut Dice) -> Vec<u8> {
    let msg_type = dice.octet() & 0x1F;
    let mut body = match msg_type {
        // CONNECT
        0x04 => [&[dice.octet() & 0x0C, 1, 0, 30], *dice.pick(&CLIENT_IDS)].concat(),
        // WILLTOPIC, WILLTOPICUPD
        0x07 | 0x1A => [&[dice.octet()], *dice.pick(&TOPICS)].concat(),
        // REGISTER
        0x0A => [&[0, 0, 0, dice.octet()], *dice.pick(&TOPICS)].concat(),
        // PUBLISH
        0x0C => [&[dice.octet(), 0, dice.octet() & 3, 0, dice.octet() & 7][..], &octets(dice, 8)].concat(),
        // SUBSCRIBE, UNSUBSCRIBE
        0x12 | 0x14 => [&[dice.octet(), 0, dice.octet() & 7], *dice.pick(&TOPICS)].concat(),
        // PINGREQ
        0x16 => dice.pick(&CLIENT_IDS).to_vec(),
        // DISCONNECT
        0x18 if dice.chance(500) => vec![0, dice.octet()],
        // Answers: an id, an id, a return code.
        _ => octets(dice, 6),
    };
    let length = u8::try_from(body.len() + 2).unwrap_or(2);
    let mut frame = vec![length, msg_type];
    frame.append(&mut body);
    frame
}

fn octets(dice: &mut Dice, most: usize) -> Vec<u8> {
    (0..dice.below(most + 1)).map(|_| dice.octet()).collect()
}
