//! Independent judges: tshark and scapy read every kind of frame that we write, and must see what we meant.

mod frames;
mod pcap;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use frames::Frame;
use mqttsn_gateway::wire::{Field, Flags, Message, MsgType, QosField, TopicIdType};

const PORT: u16 = 10_000;

/// What tshark is asked to show of a frame.
const TSHARK_FIELDS: &[&str] = &[
    "_ws.malformed",
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

#[test]
fn tshark_reads_what_we_write() {
    // tshark shows a node id as a number and gives up on one of more than 4 octets.
    let frames: Vec<Frame> = frames::all().into_iter().filter(|frame| frame.node_id.len() <= 4).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&pcap::of_datagrams(PORT, frames.iter().map(|frame| &frame.octets[..]))).unwrap();

    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(file.path()).args(["-d", &format!("udp.port=={PORT},mqttsn")]);
    tshark.args(["-T", "fields", "-E", "separator=/t", "-E", "aggregator=,"]);
    TSHARK_FIELDS.iter().for_each(|name| _ = tshark.args(["-e", name]));
    let lines = lines_of(tshark.output(), "tshark");

    assert_eq!(lines.len(), frames.len());
    for (frame, line) in frames.iter().zip(&lines) {
        let shown: Vec<&str> = line.split('\t').collect();
        let expected = expected_of_tshark(frame);
        for (name, shown) in TSHARK_FIELDS.iter().zip(shown) {
            let mut wanted =
                expected.iter().filter(|(expected, _)| expected == name).map(|(_, value)| value).peekable();
            let wanted = match wanted.peek() {
                // It stops where the flags of an empty will message would be, though there need be none.
                None if *name == "_ws.malformed" && frame.is_empty_will_topic() => continue,
                Some(Shown::NotLegibly) => continue,
                _ => wanted.map(Shown::to_string).collect::<Vec<_>>().join(","),
            };
            assert_eq!(shown, wanted, "{name} of {}", frame.message);
        }
    }
}

#[test]
fn scapy_reads_what_we_write() {
    let frames = frames::all();
    let python = std::env::var_os("MQTTSN_TEST_PYTHON").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-venv/bin/python")),
        PathBuf::from,
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/judges/dissect.py");
    let hex: String = frames.iter().map(|frame| hex(&frame.octets) + "\n").collect();

    let mut input = tempfile::tempfile().unwrap();
    input.write_all(hex.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let lines = lines_of(Command::new(&python).arg(script).stdin(input).output(), &python.to_string_lossy());

    assert_eq!(lines.len(), frames.len());
    for (frame, line) in frames.iter().zip(&lines) {
        assert_eq!(*line, expected_of_scapy(frame), "{}", frame.message);
    }
}

#[test]
fn the_judges_see_every_type_of_message_bare_and_encapsulated() {
    for &msg_type in MsgType::ALL {
        let of_this_type = || frames::all().into_iter().filter(|frame| frame.message.msg_type() == msg_type);
        assert!(of_this_type().any(|frame| frame.node_id.is_empty()), "{msg_type}");
        assert!(of_this_type().any(|frame| !frame.node_id.is_empty()), "{msg_type}");
    }
}

/// A value as tshark shows it.
enum Shown {
    Number(u16),
    Hex(u8),
    Text(&'static [u8]),
    /// It shows octets that are not ASCII in ways not worth to follow; scapy is the judge of these.
    NotLegibly,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Hex(octet) => write!(f, "0x{octet:02x}"),
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::NotLegibly => Ok(()),
        }
    }
}

fn text(octets: &'static [u8]) -> Shown {
    if octets.is_ascii() && !octets.iter().any(u8::is_ascii_control) { Shown::Text(octets) } else { Shown::NotLegibly }
}

fn expected_of_tshark(frame: &Frame) -> Vec<(&'static str, Shown)> {
    let mut expected = Vec::new();
    if !frame.node_id.is_empty() {
        expected.push(("mqttsn.msg.len", Shown::Number(3 + u16::try_from(frame.node_id.len()).unwrap())));
        expected.push(("mqttsn.msg.type", Shown::Hex(0xFE)));
        expected.push(("mqttsn.control.info", Shown::Hex(frame.radius)));
        expected.push(("mqttsn.wireless.node.id", Shown::NotLegibly));
    }
    let msg_type = frame.message.msg_type();
    expected.push(("mqttsn.msg.len", Shown::Number(u16::try_from(frame.message.encoded_len()).unwrap())));
    expected.push(("mqttsn.msg.type", Shown::Hex(msg_type.code())));
    frame.message.fields(&mut |field| match field {
        Field::Flags { value, .. } => expect_flags_of_tshark(msg_type, value, &mut expected),
        Field::GwId(id) => expected.push(("mqttsn.gw.id", Shown::Number(id.0.into()))),
        Field::GwAdd(address) => expected.push(("mqttsn.gw.addr", text(address))),
        Field::Duration(seconds) => {
            let name = match frame.message {
                Message::Advertise(_) => "mqttsn.adv.interv",
                Message::Disconnect(_) => "mqttsn.sleep.timer",
                _ => "mqttsn.keep.alive",
            };
            expected.push((name, Shown::Number(seconds)));
        }
        Field::Radius(hops) => expected.push(("mqttsn.radius", Shown::Number(hops.into()))),
        Field::ProtocolId(id) => expected.push(("mqttsn.protocol.id", Shown::Hex(id))),
        Field::ClientId(id) => expected.push(("mqttsn.client.id", text(id))),
        Field::ReturnCode(code) => expected.push(("mqttsn.return.code", Shown::Hex(code.into()))),
        Field::TopicId(id) => match frame.message {
            // Shown as two characters.
            Message::Subscribe(_) | Message::Unsubscribe(_) => {
                expected.push(("mqttsn.topic.name.or.id", Shown::NotLegibly));
            }
            _ => expected.push(("mqttsn.topic.id", Shown::Number(id.0))),
        },
        Field::ShortTopic(name) => match frame.message {
            Message::Publish(_) => expected.push(("mqttsn.topic.id", Shown::Number(u16::from_be_bytes(name)))),
            _ => expected.push(("mqttsn.topic.name.or.id", text(name.to_vec().leak()))),
        },
        Field::TopicName(name) => match frame.message {
            Message::Register(_) => expected.push(("mqttsn.topic", text(name))),
            _ => expected.push(("mqttsn.topic.name.or.id", text(name))),
        },
        Field::MsgId(id) => expected.push(("mqttsn.msg.id", Shown::Number(id.0))),
        Field::WillTopic(topic) => expected.push(("mqttsn.will.topic", text(topic))),
        Field::WillMsg(message) => expected.push(("mqttsn.will.msg", text(message))),
        Field::Data(data) => expected.push(("mqttsn.pub.msg", text(data))),
    });
    expected
}

/// tshark shows some flags in some messages, and the topic id type in all of them.
fn expect_flags_of_tshark(msg_type: MsgType, value: Flags, expected: &mut Vec<(&'static str, Shown)>) {
    let bit = |flag| Shown::Number(value.contains(flag).into());
    if msg_type == MsgType::Publish {
        expected.push(("mqttsn.dup", bit(Flags::DUP)));
        expected.push(("mqttsn.qos", Shown::Hex(qos_bits(value))));
        expected.push(("mqttsn.retain", bit(Flags::RETAIN)));
    }
    if msg_type == MsgType::Connect {
        expected.push(("mqttsn.will", bit(Flags::WILL)));
        expected.push(("mqttsn.clean.session", bit(Flags::CLEAN_SESSION)));
    }
    expected.push(("mqttsn.topic.id.type", Shown::Hex(topic_id_type_bits(value))));
}

fn expected_of_scapy(frame: &Frame) -> String {
    let mut words = Vec::new();
    if !frame.node_id.is_empty() {
        words.push(format!("len={} type=254 resvd=0 radius={}", 3 + frame.node_id.len(), frame.radius));
        words.push(format!("w_node_id={}", hex(frame.node_id)));
    }
    words.push(format!("len={} type={}", frame.message.encoded_len(), frame.message.msg_type().code()));
    let mut body_len = 0;
    let mut body = Vec::new();
    frame.message.fields(&mut |field| {
        body_len += field.len();
        body.push(match field {
            Field::Flags { value, .. } => {
                let bit = |flag| u8::from(value.contains(flag));
                format!(
                    "dup={} qos={} retain={} will={} cleansess={} tid_type={}",
                    bit(Flags::DUP),
                    qos_bits(value),
                    bit(Flags::RETAIN),
                    bit(Flags::WILL),
                    bit(Flags::CLEAN_SESSION),
                    topic_id_type_bits(value)
                )
            }
            Field::GwId(id) => format!("gw_id={id}"),
            Field::GwAdd(address) => format!("gw_addr={}", hex(address)),
            Field::Duration(seconds) => format!("duration={seconds}"),
            Field::Radius(hops) => format!("radius={hops}"),
            Field::ProtocolId(id) => format!("prot_id={id}"),
            Field::ClientId(id) => format!("client_id={}", hex(id)),
            Field::ReturnCode(code) => format!("return_code={}", u8::from(code)),
            Field::TopicId(id) => format!("tid={id}"),
            Field::ShortTopic(name) => match frame.message {
                Message::Publish(_) => format!("tid={}", u16::from_be_bytes(name)),
                _ => format!("short_topic={}", hex(&name)),
            },
            Field::TopicName(name) => format!("topic_name={}", hex(name)),
            Field::MsgId(id) => format!("mid={id}"),
            Field::WillTopic(topic) => format!("will_topic={}", hex(topic)),
            Field::WillMsg(message) => format!("will_msg={}", hex(message)),
            Field::Data(data) => format!("data={}", hex(data)),
        });
    });
    // It has no body to show where there is no octet of it.
    if body_len > 0 {
        words.append(&mut body);
    }
    words.join(" ")
}

fn qos_bits(flags: Flags) -> u8 {
    match flags.qos() {
        QosField::Level(qos) => qos as u8,
        QosField::MinusOne => 3,
    }
}

fn topic_id_type_bits(flags: Flags) -> u8 {
    match flags.topic_id_type() {
        TopicIdType::Normal => 0,
        TopicIdType::Predefined => 1,
        TopicIdType::Short => 2,
        TopicIdType::Reserved => 3,
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Returns the lines that a judge wrote, and insists that there is a judge.
fn lines_of(output: std::io::Result<Output>, judge: &str) -> Vec<String> {
    let output = output.unwrap_or_else(|error| panic!("cannot run {judge}: {error}; scripts/test installs it"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{judge} failed (scripts/test installs what it needs): {complaint}");
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}
