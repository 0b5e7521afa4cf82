//! What tshark shows of our frames, and what it ought to show.

use std::fmt;
use std::io::Write;
use std::process::Command;

use mqttsn_gateway::wire::{Field, Flags, Message, MsgType};

use super::frames::Frame;
use super::{bit, lines_of, pcap, qos_bits, topic_id_type_bits};

const PORT: u16 = 10_000;

/// The longest node id that tshark can show: it takes it for a number.
pub(crate) const LONGEST_NODE_ID: usize = 4;

/// The column that says whether it takes the frame for malformed.
pub(crate) const MALFORMED: &str = "_ws.malformed";

/// The columns of its output.
pub(crate) const COLUMNS: &[&str] = &[
    MALFORMED,
    "mqttsn.msg.len",
    "mqttsn.msg.type",
    "mqttsn.dup",
    "mqttsn.qos",
    "mqttsn.retain",
    "mqttsn.will",
    "mqttsn.clean.session",
    "mqttsn.topic.id.type",
    "mqttsn.return.code",
    "mqttsn.gw.id",
    "mqttsn.gw.addr",
    "mqttsn.adv.interv",
    "mqttsn.radius",
    "mqttsn.protocol.id",
    "mqttsn.topic.id",
    "mqttsn.msg.id",
    "mqttsn.topic",
    "mqttsn.topic.name.or.id",
    "mqttsn.sleep.timer",
    "mqttsn.will.topic",
    "mqttsn.will.msg",
    "mqttsn.pub.msg",
    "mqttsn.client.id",
    "mqttsn.keep.alive",
    "mqttsn.control.info",
    "mqttsn.wireless.node.id",
];

/// Has tshark read the frames; returns one line for each, the columns parted by tabs.
pub(crate) fn read(frames: &[Frame]) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&pcap::of_datagrams(PORT, frames.iter().map(|frame| &frame.octets[..]))).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file.path()).args(["-d", &format!("udp.port=={PORT},mqttsn")]);
    tshark.args(["-T", "fields", "-E", "separator=/t", "-E", "aggregator=,"]);
    COLUMNS.iter().for_each(|column| _ = tshark.args(["-e", column]));
    lines_of(tshark.output(), "tshark")
}

/// The values to be shown, each with its column.
pub(crate) struct Expected(Vec<(&'static str, Shown)>);

enum Shown {
    Number(u16),
    Hex(u8),
    Text(String),
    /// It shows octets that are not ASCII in ways not worth following; scapy is the judge of these.
    NotLegibly,
}

impl Expected {
    pub(crate) fn of(frame: &Frame) -> Self {
        let mut expected = Self(Vec::new());
        if !frame.node_id.is_empty() {
            expected.push("mqttsn.msg.len", Shown::length(3 + frame.node_id.len()));
            expected.push("mqttsn.msg.type", Shown::Hex(0xFE));
            expected.push("mqttsn.control.info", Shown::Hex(frame.radius));
            expected.push("mqttsn.wireless.node.id", Shown::NotLegibly);
        }
        let msg_type = frame.message.msg_type();
        expected.push("mqttsn.msg.len", Shown::length(frame.message.encoded_len()));
        expected.push("mqttsn.msg.type", Shown::Hex(msg_type.code()));
        frame.message.fields(&mut |field| expected.push_field(&frame.message, field));
        expected
    }

    /// Returns what the column must show, or `None` if that cannot be said.
    pub(crate) fn column(&self, column: &str) -> Option<String> {
        let values = || self.0.iter().filter(|(name, _)| *name == column).map(|(_, value)| value);
        if values().any(|value| matches!(value, Shown::NotLegibly)) {
            return None;
        }
        Some(values().map(Shown::to_string).collect::<Vec<_>>().join(","))
    }

    fn push(&mut self, column: &'static str, value: Shown) {
        self.0.push((column, value));
    }

    fn push_field(&mut self, message: &Message<'_>, field: Field<'_>) {
        let name_or_id = matches!(message, Message::Subscribe(_) | Message::Unsubscribe(_));
        match field {
            Field::Flags { value, .. } => self.push_flags(message.msg_type(), value),
            Field::GwId(id) => self.push("mqttsn.gw.id", Shown::Number(id.0.into())),
            Field::GwAdd(address) => self.push("mqttsn.gw.addr", Shown::text(address)),
            Field::Duration(seconds) if matches!(message, Message::Advertise(_)) => {
                self.push("mqttsn.adv.interv", Shown::Number(seconds));
            }
            Field::Duration(seconds) if matches!(message, Message::Disconnect(_)) => {
                self.push("mqttsn.sleep.timer", Shown::Number(seconds));
            }
            Field::Duration(seconds) => self.push("mqttsn.keep.alive", Shown::Number(seconds)),
            Field::Radius(hops) => self.push("mqttsn.radius", Shown::Number(hops.into())),
            Field::ProtocolId(id) => self.push("mqttsn.protocol.id", Shown::Hex(id)),
            Field::ClientId(id) => self.push("mqttsn.client.id", Shown::text(id)),
            Field::ReturnCode(code) => self.push("mqttsn.return.code", Shown::Hex(code.into())),
            Field::TopicId(id) if name_or_id => {
                self.push("mqttsn.topic.name.or.id", Shown::text(&id.0.to_be_bytes()));
            }
            Field::TopicId(id) => self.push("mqttsn.topic.id", Shown::Number(id.0)),
            Field::ShortTopic(name) if name_or_id => self.push("mqttsn.topic.name.or.id", Shown::text(&name)),
            Field::ShortTopic(name) => self.push("mqttsn.topic.id", Shown::Number(u16::from_be_bytes(name))),
            Field::TopicName(name) if name_or_id => self.push("mqttsn.topic.name.or.id", Shown::text(name)),
            Field::TopicName(name) => self.push("mqttsn.topic", Shown::text(name)),
            Field::MsgId(id) => self.push("mqttsn.msg.id", Shown::Number(id.0)),
            Field::WillTopic(topic) => self.push("mqttsn.will.topic", Shown::text(topic)),
            Field::WillMsg(message) => self.push("mqttsn.will.msg", Shown::text(message)),
            Field::Data(data) => self.push("mqttsn.pub.msg", Shown::text(data)),
        }
    }

    /// Of the flags it shows those of PUBLISH and CONNECT, and the topic id type everywhere.
    fn push_flags(&mut self, msg_type: MsgType, flags: Flags) {
        let shown = |flag| Shown::Number(bit(flags, flag).into());
        if msg_type == MsgType::Publish {
            self.push("mqttsn.dup", shown(Flags::DUP));
            self.push("mqttsn.qos", Shown::Hex(qos_bits(flags)));
            self.push("mqttsn.retain", shown(Flags::RETAIN));
        }
        if msg_type == MsgType::Connect {
            self.push("mqttsn.will", shown(Flags::WILL));
            self.push("mqttsn.clean.session", shown(Flags::CLEAN_SESSION));
        }
        self.push("mqttsn.topic.id.type", Shown::Hex(topic_id_type_bits(flags)));
    }
}

impl Shown {
    fn length(octets: usize) -> Self {
        Self::Number(u16::try_from(octets).unwrap())
    }

    fn text(octets: &[u8]) -> Self {
        match str::from_utf8(octets) {
            Ok(text) if text.chars().all(|c| c.is_ascii() && !c.is_ascii_control()) => Self::Text(text.into()),
            _ => Self::NotLegibly,
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Hex(octet) => write!(f, "0x{octet:02x}"),
            Self::Text(text) => f.write_str(text),
            Self::NotLegibly => Ok(()),
        }
    }
}
