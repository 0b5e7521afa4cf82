//! The radio dongles of the Aquila project: SLIP with a CRC, forwarder encapsulation with 16-bit addresses, and a
//! receipt for each frame that the dongle was given.

use std::time::Duration;

use super::slip::{self, Content, Slip, enclose};
use super::{
    Destination, Direction, Flow, Found, FrameSize, MIN_FRAME, NodeAddress, NoiseReason, Reach, Receipt, Received,
    Refusal, Scheme, Signal, Sink, WrongAddress, crc,
};

pub(super) const SCHEME: Scheme = Scheme {
    name: "aquila",
    gap: slip::GAP,
    // The firmware copies a message of any length into a buffer of 59 octets.
    frame_size: FrameSize { default: 59, longest: 59 },
    flow: Some(Flow { unconfirmed: 1, patience: Duration::from_secs(5) }),
    sole_node: NodeAddress::Short(1),
    coder: |received, max_frame| {
        let max_content = |header| max_frame.saturating_add(header + crc::OCTETS);
        match received {
            Direction::Uplink => Box::new(Slip::new(GatewayEnd, max_content(UPLINK_HEADER), TYPE_AT)),
            Direction::Downlink => Box::new(Slip::new(DongleEnd, max_content(DOWNLINK_HEADER), TYPE_AT)),
        }
    },
};

/// Length, MsgType, Ctrl, address.
const DOWNLINK_HEADER: usize = 5;
/// LQI and RSSI before the same.
const UPLINK_HEADER: usize = 2 + DOWNLINK_HEADER;
/// Where uplink has FE, or the type of a control message, and downlink an octet of an address. No line of text that
/// reaches as far can be anything else.
const TYPE_AT: usize = 3;

const NACK: u8 = 0;
const ACK: u8 = 1;
const CONFIG: u8 = 2;
const PAIR: u8 = 3;
const ENCAPSULATED: u8 = 0xFE;
/// Ctrl, as the dongles write it and expect it.
const CTRL: u8 = 1;
/// The Length of a header without LQI and RSSI. Uplink it wrongly counts the message, too.
const HEADER: u8 = 5;
const BROADCAST: u16 = 0xFFFF;

/// The subcommands of [`PAIR`].
const EXIT_PAIR: u8 = 0;
const ENTER_PAIR: u8 = 1;
const PAIR_REQUEST: u8 = 2;

/// The end of a gateway, in front of a dongle.
#[derive(Debug)]
struct GatewayEnd;

impl Content for GatewayEnd {
    fn open(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), NoiseReason> {
        match *crc::verified(content)? {
            [_, _, 2, ACK] => sink(Found::Receipt(Receipt::Taken)),
            [_, _, 2, NACK] => sink(Found::Receipt(Receipt::Refused(Refusal::Nack))),
            // Comes at each of its boots. To answer would overwrite the PAN and the key that the dongle has in its
            // EEPROM; without an answer it works with these.
            [_, _, 2, CONFIG] => sink(Found::Text("the dongle has started; it keeps the PAN and the key that it has")),
            [_, _, _, PAIR, PAIR_REQUEST, ..] => {
                sink(Found::Text("a node wants to be paired, which this gateway does not do"));
            }
            // Length is not to be trusted: the header always ends behind the address.
            [lqi, rssi, _, ENCAPSULATED, _, low, high, ref frame @ ..] if frame.len() >= MIN_FRAME => {
                sink(Found::Frame(Received {
                    node: NodeAddress::Short(u16::from_le_bytes([low, high])),
                    reach: Reach::One,
                    signal: Some(Signal { rssi_dbm: i16::from(i8::from_le_bytes([rssi])), lqi: Some(lqi) }),
                    frame,
                }));
            }
            _ => return Err(NoiseReason::NotAMessage),
        }
        Ok(())
    }

    fn seal(&mut self, node: Destination, frame: &[u8], content: &mut Vec<u8>) -> Result<(), WrongAddress> {
        let address = match node {
            Destination::Node(NodeAddress::Short(address)) => address,
            Destination::Node(NodeAddress::None | NodeAddress::Long(_)) => return Err(WrongAddress),
            Destination::Everyone { .. } => BROADCAST,
        };
        let [low, high] = address.to_le_bytes();
        content.extend_from_slice(&[HEADER, ENCAPSULATED, CTRL, low, high]);
        content.extend_from_slice(frame);
        crc::append(content, 0);
        Ok(())
    }
}

/// The end of a dongle, which does for a client what the real one does for a node.
#[derive(Debug)]
struct DongleEnd;

impl Content for DongleEnd {
    fn open(&mut self, content: &[u8], sink: &mut Sink<'_>) -> Result<(), NoiseReason> {
        match *crc::verified(content)? {
            [_, ENCAPSULATED, _, low, high, ref frame @ ..] if frame.len() >= MIN_FRAME => {
                let address = u16::from_le_bytes([low, high]);
                let reach = if address == BROADCAST { Reach::Everyone } else { Reach::One };
                sink(Found::Frame(Received { node: NodeAddress::Short(address), reach, signal: None, frame }));
                answer(ACK, sink);
            }
            // The real one says nothing to that either.
            [_, CONFIG, _pan, ref key @ ..] if key.len() == 16 => {}
            [_, PAIR, ENTER_PAIR | EXIT_PAIR] => answer(ACK, sink),
            _ => {
                answer(NACK, sink);
                return Err(NoiseReason::NotAMessage);
            }
        }
        Ok(())
    }

    fn seal(&mut self, node: Destination, frame: &[u8], content: &mut Vec<u8>) -> Result<(), WrongAddress> {
        let Destination::Node(NodeAddress::Short(address)) = node else { return Err(WrongAddress) };
        let [low, high] = address.to_le_bytes();
        let length = u8::try_from(frame.len()).unwrap_or(u8::MAX).saturating_add(HEADER);
        let [rssi] = RSSI_WITHOUT_RADIO.to_le_bytes();
        content.extend_from_slice(&[rssi, rssi, length, ENCAPSULATED, CTRL, low, high]);
        content.extend_from_slice(frame);
        crc::append(content, 0);
        Ok(())
    }
}

/// What a client without a radio says of its signal, in dBm: a good one.
const RSSI_WITHOUT_RADIO: i8 = -66;

fn answer(kind: u8, sink: &mut Sink<'_>) {
    let mut content = vec![0, 0, 2, kind];
    crc::append(&mut content, 0);
    let mut octets = Vec::new();
    enclose(&content, &mut octets);
    sink(Found::Answer(&octets));
}
