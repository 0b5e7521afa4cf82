//! What scapy shows of our frames, and what it ought to show.

use std::io::{Seek, Write};
use std::path::PathBuf;
use std::process::Command;

use mqttsn_gateway::wire::{Field, Flags, Message};

use super::frames::Frame;
use super::{bit, lines_of, qos_bits, topic_id_type_bits};

/// Has scapy read the frames; returns one line for each.
pub(crate) fn read(frames: &[Frame]) -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python =
        std::env::var_os("MQTTSN_TEST_PYTHON").map_or_else(|| root.join("target/test-venv/bin/python"), PathBuf::from);
    let mut input = tempfile::tempfile().unwrap();
    frames.iter().for_each(|frame| writeln!(input, "{}", hex(&frame.octets)).unwrap());
    input.rewind().unwrap();
    let output = Command::new(&python).arg(root.join("tests/judges/dissect.py")).stdin(input).output();
    lines_of(output, &python.to_string_lossy())
}

/// Returns the line that it must show.
pub(crate) fn expected(frame: &Frame) -> String {
    let mut words = Vec::new();
    if !frame.node_id.is_empty() {
        let length = 3 + frame.node_id.len();
        words.push(format!("len={length} type=254 resvd=0 radius={} w_node_id={}", frame.radius, hex(frame.node_id)));
    }
    words.push(format!("len={} type={}", frame.message.encoded_len(), frame.message.msg_type().code()));
    // Where there is no octet of a body it shows none of its fields.
    if frame.message.encoded_len() > 2 {
        frame.message.fields(&mut |field| words.push(shown(&frame.message, field)));
    }
    words.join(" ")
}

fn shown(message: &Message<'_>, field: Field<'_>) -> String {
    match field {
        Field::Flags { value, .. } => format!(
            "dup={} qos={} retain={} will={} cleansess={} tid_type={}",
            bit(value, Flags::DUP),
            qos_bits(value),
            bit(value, Flags::RETAIN),
            bit(value, Flags::WILL),
            bit(value, Flags::CLEAN_SESSION),
            topic_id_type_bits(value)
        ),
        Field::GwId(id) => format!("gw_id={id}"),
        Field::GwAdd(address) => format!("gw_addr={}", hex(address)),
        Field::Duration(seconds) => format!("duration={seconds}"),
        Field::Radius(hops) => format!("radius={hops}"),
        Field::ProtocolId(id) => format!("prot_id={id}"),
        Field::ClientId(id) => format!("client_id={}", hex(id)),
        Field::ReturnCode(code) => format!("return_code={}", u8::from(code)),
        Field::TopicId(id) => format!("tid={id}"),
        Field::ShortTopic(name) if matches!(message, Message::Publish(_)) => {
            format!("tid={}", u16::from_be_bytes(name))
        }
        Field::ShortTopic(name) => format!("short_topic={}", hex(&name)),
        Field::TopicName(name) => format!("topic_name={}", hex(name)),
        Field::MsgId(id) => format!("mid={id}"),
        Field::WillTopic(topic) => format!("will_topic={}", hex(topic)),
        Field::WillMsg(message) => format!("will_msg={}", hex(message)),
        Field::Data(data) => format!("data={}", hex(data)),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
