//! What API frames say: ZigBee modules receive with 90 and transmit with 10, 802.15.4 modules receive with 80 and 81 and
//! transmit with 00 and 01.

use std::collections::BTreeMap;

use super::envelope::{self, Escaping};
use crate::wire::framing::plausible::{Verdict, judge};
use crate::wire::framing::{
    Destination, Direction, Found, NodeAddress, NoiseReason, Reach, Receipt, Received, Refusal, Signal, Sink,
    WrongAddress,
};

/// Octets of the longest header in front of a message: that of a ZigBee module's frames to transmit.
pub(super) const LONGEST_HEADER: usize = 14;

// The API identifiers, which begin every frame.
const TRANSMIT_64: u8 = 0x00;
const TRANSMIT_16: u8 = 0x01;
const TRANSMIT: u8 = 0x10;
const RECEIVE_64: u8 = 0x80;
const RECEIVE_16: u8 = 0x81;
const STATUS_802_15_4: u8 = 0x89;
const MODEM_STATUS: u8 = 0x8A;
const STATUS: u8 = 0x8B;
const RECEIVE: u8 = 0x90;

const BROADCAST_64: u64 = 0xFFFF;
const BROADCAST_16: u16 = 0xFFFF;
/// The 16-bit address of a node of which only the other one is known.
const UNKNOWN_16: u16 = 0xFFFE;
/// The option bits of a received frame that say it was for everyone, in this PAN or in all.
const TO_EVERYONE: u8 = 0x06;
/// The option of a received frame whose sender got an acknowledgement.
const ACKNOWLEDGED: u8 = 0x01;
const DELIVERED: u8 = 0x00;

/// What a client without a radio says of its signal: -66 dBm.
const RSSI_WITHOUT_RADIO: u8 = 66;

/// One end of a line to a module.
#[derive(Debug)]
pub(super) struct Api {
    /// What a gateway's end receives is uplink; the other end is that of the module.
    received: Direction,
    escaping: Escaping,
    max_frame: usize,
    family: Family,
    short_addresses: ShortAddresses,
    last_id: u8,
}

/// Which frames transmit to a 64-bit address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    ZigBee,
    Ieee802154,
}

/// The last 16-bit address of each node. Without it the module has to look for the node before each frame.
#[derive(Debug, Default)]
struct ShortAddresses(BTreeMap<u64, u16>);

/// An API frame that makes sense at this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiFrame<'a> {
    /// From the module: a message that it received. `short` is the sender's address beside a 64-bit one.
    Receive {
        received: Received<'a>,
        family: Family,
        short: Option<u16>,
    },
    /// To the module: a message to transmit.
    Transmit {
        received: Received<'a>,
        family: Family,
        id: u8,
    },
    Status {
        delivery: u8,
    },
    ModemStatus {
        status: u8,
    },
    Other {
        kind: u8,
    },
}

impl Api {
    pub(super) fn new(received: Direction, escaping: Escaping, max_frame: usize) -> Self {
        let short_addresses = ShortAddresses::default();
        Self { received, escaping, max_frame, family: Family::ZigBee, short_addresses, last_id: 0 }
    }

    /// Reads an API frame, or says why it is none for this end.
    pub(super) fn read<'a>(&self, data: &'a [u8]) -> Result<ApiFrame<'a>, NoiseReason> {
        let frame = match self.received {
            Direction::Uplink => read_from_module(data),
            Direction::Downlink => read_to_module(data),
        };
        let frame = frame.ok_or(NoiseReason::NotAMessage)?;
        match frame {
            ApiFrame::Receive { received, .. } | ApiFrame::Transmit { received, .. } => {
                let length = received.frame.len();
                // Eight bits of checksum let one damaged frame in 256 pass.
                if judge(received.frame, self.received, length) != Verdict::Frame(length) {
                    return Err(NoiseReason::NotAMessage);
                }
                if length > self.max_frame { Err(NoiseReason::TooLong) } else { Ok(frame) }
            }
            ApiFrame::Status { .. } | ApiFrame::ModemStatus { .. } | ApiFrame::Other { .. } => Ok(frame),
        }
    }

    /// Gives what the frame says, and remembers what it shows.
    pub(super) fn take(&mut self, frame: ApiFrame<'_>, sink: &mut Sink<'_>) {
        match frame {
            ApiFrame::Receive { received, family, short } => {
                self.family = family;
                if let (NodeAddress::Long(long), Some(short)) = (received.node, short) {
                    self.short_addresses.learn(long, short);
                }
                sink(Found::Frame(received));
            }
            ApiFrame::Transmit { received, family, id } => {
                self.family = family;
                sink(Found::Frame(received));
                self.confirm(family, id, sink);
            }
            ApiFrame::Status { delivery: DELIVERED } => sink(Found::Receipt(Receipt::Taken)),
            ApiFrame::Status { delivery } => {
                sink(Found::Receipt(Receipt::Refused(Refusal::XbeeStatus { status: delivery })));
            }
            ApiFrame::ModemStatus { status } => {
                sink(Found::Text(&format!("XBee modem status {status:02x}, {}", modem_status_in_words(status))));
            }
            ApiFrame::Other { kind } => {
                sink(Found::Text(&format!("XBee API frame of type {kind:02x}, which carries no message")));
            }
        }
    }

    /// Appends the API frame around a message.
    pub(super) fn write(&mut self, node: Destination, frame: &[u8], data: &mut Vec<u8>) -> Result<(), WrongAddress> {
        match self.received {
            Direction::Uplink => self.write_to_module(node, data)?,
            Direction::Downlink => self.write_from_module(node, data)?,
        }
        data.extend_from_slice(frame);
        Ok(())
    }

    fn write_to_module(&mut self, node: Destination, data: &mut Vec<u8>) -> Result<(), WrongAddress> {
        let (long, radius) = match node {
            Destination::Node(NodeAddress::None) => return Err(WrongAddress),
            Destination::Node(NodeAddress::Short(short)) => {
                data.extend_from_slice(&[TRANSMIT_16, self.next_id()]);
                data.extend_from_slice(&short.to_be_bytes());
                data.push(0);
                return Ok(());
            }
            Destination::Node(NodeAddress::Long(long)) => (long, 0),
            Destination::Everyone { radius } => (BROADCAST_64, radius),
        };
        let id = self.next_id();
        match self.family {
            Family::ZigBee => {
                data.extend_from_slice(&[TRANSMIT, id]);
                data.extend_from_slice(&long.to_be_bytes());
                data.extend_from_slice(&self.short_addresses.of(long).to_be_bytes());
                data.extend_from_slice(&[radius, 0]);
            }
            Family::Ieee802154 => {
                data.extend_from_slice(&[TRANSMIT_64, id]);
                data.extend_from_slice(&long.to_be_bytes());
                data.push(0);
            }
        }
        Ok(())
    }

    fn write_from_module(&self, node: Destination, data: &mut Vec<u8>) -> Result<(), WrongAddress> {
        match (node, self.family) {
            (Destination::Node(NodeAddress::None) | Destination::Everyone { .. }, _) => return Err(WrongAddress),
            (Destination::Node(NodeAddress::Short(short)), _) => {
                data.push(RECEIVE_16);
                data.extend_from_slice(&short.to_be_bytes());
                data.extend_from_slice(&[RSSI_WITHOUT_RADIO, 0]);
            }
            (Destination::Node(NodeAddress::Long(long)), Family::ZigBee) => {
                data.push(RECEIVE);
                data.extend_from_slice(&long.to_be_bytes());
                data.extend_from_slice(&UNKNOWN_16.to_be_bytes());
                data.push(ACKNOWLEDGED);
            }
            (Destination::Node(NodeAddress::Long(long)), Family::Ieee802154) => {
                data.push(RECEIVE_64);
                data.extend_from_slice(&long.to_be_bytes());
                data.extend_from_slice(&[RSSI_WITHOUT_RADIO, 0]);
            }
        }
        Ok(())
    }

    /// Answers as a module does when the node has its frame. Id 0 asks for no answer.
    fn confirm(&self, family: Family, id: u8, sink: &mut Sink<'_>) {
        if id == 0 {
            return;
        }
        let mut octets = Vec::new();
        match family {
            Family::ZigBee => {
                let [high, low] = UNKNOWN_16.to_be_bytes();
                envelope::write(&[STATUS, id, high, low, 0, DELIVERED, 0], self.escaping, &mut octets);
            }
            Family::Ieee802154 => envelope::write(&[STATUS_802_15_4, id, DELIVERED], self.escaping, &mut octets),
        }
        sink(Found::Answer(&octets));
    }

    /// Returns an id other than 0, which would ask for no receipt.
    fn next_id(&mut self) -> u8 {
        self.last_id = self.last_id % u8::MAX + 1;
        self.last_id
    }
}

impl ShortAddresses {
    /// Nodes that are remembered; more than a ZigBee network has on one gateway. The others have to be looked for.
    const MAX: usize = 1_024;

    fn learn(&mut self, long: u64, short: u16) {
        if self.0.len() < Self::MAX || self.0.contains_key(&long) {
            self.0.insert(long, short);
        }
    }

    fn of(&self, long: u64) -> u16 {
        self.0.get(&long).copied().unwrap_or(UNKNOWN_16)
    }
}

fn read_from_module(data: &[u8]) -> Option<ApiFrame<'_>> {
    let (&kind, rest) = data.split_first()?;
    Some(match kind {
        RECEIVE => {
            let (long, rest) = rest.split_first_chunk()?;
            let (short, rest) = rest.split_first_chunk()?;
            let (&options, frame) = rest.split_first()?;
            let node = NodeAddress::Long(u64::from_be_bytes(*long));
            let received = Received { node, reach: reach(options), signal: None, frame };
            ApiFrame::Receive { received, family: Family::ZigBee, short: Some(u16::from_be_bytes(*short)) }
        }
        RECEIVE_64 => {
            let (long, rest) = rest.split_first_chunk()?;
            let node = NodeAddress::Long(u64::from_be_bytes(*long));
            ApiFrame::Receive { received: with_signal(node, rest)?, family: Family::Ieee802154, short: None }
        }
        RECEIVE_16 => {
            let (short, rest) = rest.split_first_chunk()?;
            let received = with_signal(NodeAddress::Short(u16::from_be_bytes(*short)), rest)?;
            ApiFrame::Receive { received, family: Family::Ieee802154, short: None }
        }
        STATUS => {
            let [_id, _, _, _retries, delivery, _discovery] = *rest else { return None };
            ApiFrame::Status { delivery }
        }
        STATUS_802_15_4 => {
            let [_id, delivery] = *rest else { return None };
            ApiFrame::Status { delivery }
        }
        MODEM_STATUS => {
            let [status] = *rest else { return None };
            ApiFrame::ModemStatus { status }
        }
        kind => ApiFrame::Other { kind },
    })
}

fn read_to_module(data: &[u8]) -> Option<ApiFrame<'_>> {
    let (&[kind, id], rest) = data.split_first_chunk()?;
    let addressed = |node, reach, frame| Received { node, reach, signal: None, frame };
    Some(match kind {
        TRANSMIT => {
            let (long, rest) = rest.split_first_chunk()?;
            let (&[_, _, _radius, _options], frame) = rest.split_first_chunk()?;
            let long = u64::from_be_bytes(*long);
            let received = addressed(NodeAddress::Long(long), reach_of(long == BROADCAST_64), frame);
            ApiFrame::Transmit { received, family: Family::ZigBee, id }
        }
        TRANSMIT_64 => {
            let (long, rest) = rest.split_first_chunk()?;
            let (_options, frame) = rest.split_first()?;
            let long = u64::from_be_bytes(*long);
            let received = addressed(NodeAddress::Long(long), reach_of(long == BROADCAST_64), frame);
            ApiFrame::Transmit { received, family: Family::Ieee802154, id }
        }
        TRANSMIT_16 => {
            let (short, rest) = rest.split_first_chunk()?;
            let (_options, frame) = rest.split_first()?;
            let short = u16::from_be_bytes(*short);
            let received = addressed(NodeAddress::Short(short), reach_of(short == BROADCAST_16), frame);
            ApiFrame::Transmit { received, family: Family::Ieee802154, id }
        }
        kind => ApiFrame::Other { kind },
    })
}

/// Reads what stands behind the address in the frames of 802.15.4 modules.
fn with_signal(node: NodeAddress, rest: &[u8]) -> Option<Received<'_>> {
    let (&[rssi, options], frame) = rest.split_first_chunk()?;
    // The octet lacks its sign.
    let signal = Some(Signal { rssi_dbm: -i16::from(rssi), lqi: None });
    Some(Received { node, reach: reach(options), signal, frame })
}

fn reach(options: u8) -> Reach {
    reach_of(options & TO_EVERYONE != 0)
}

fn reach_of(is_broadcast: bool) -> Reach {
    if is_broadcast { Reach::Everyone } else { Reach::One }
}

/// Says what a delivery status means.
pub(in crate::wire::framing) fn status_in_words(status: u8) -> &'static str {
    match status {
        0x01 => "the node did not acknowledge it",
        0x02 => "the radio channel was busy",
        0x15 => "invalid endpoint",
        0x21 => "no acknowledgement from the network",
        0x22 => "the module has joined no network",
        0x23 => "it was addressed to the module itself",
        0x24 => "the node was not found",
        0x25 => "no route to the node",
        0x31 | 0x32 => "the module lacks resources",
        0x74 => "it was too large for the module; lower `max_frame` to its setting NP",
        _ => "not delivered",
    }
}

fn modem_status_in_words(status: u8) -> &'static str {
    match status {
        0x00 => "hardware reset",
        0x01 => "watchdog reset",
        0x02 => "joined a network",
        0x03 => "left its network",
        0x06 => "coordinator started",
        0x07 => "network key updated",
        0x0D => "supply voltage too high",
        _ => "see its manual",
    }
}
