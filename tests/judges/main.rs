//! Independent judges: tshark and scapy read every kind of frame that we write, and must see what we meant.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod frames;
mod pcap;
mod scapy;
mod tshark;

use std::process::Output;

use mqttsn_gateway::wire::{Flags, MsgType, Qos, QosField, TopicIdType};

#[test]
fn tshark_reads_what_we_write() {
    let mut frames = frames::all();
    frames.retain(|frame| frame.node_id.len() <= tshark::LONGEST_NODE_ID);
    let lines = tshark::read(&frames);
    assert_eq!(lines.len(), frames.len());
    for (frame, line) in frames.iter().zip(&lines) {
        let expected = tshark::Expected::of(frame);
        let shown: Vec<&str> = line.split('\t').collect();
        assert_eq!(shown.len(), tshark::COLUMNS.len(), "{}", frame.message);
        for (column, shown) in tshark::COLUMNS.iter().zip(shown) {
            if *column == tshark::MALFORMED && frame.is_empty_will_topic() {
                // It wants flags there, though MQTT-SN 1.2 §5.4.7 has none: to delete a will.
                continue;
            }
            if let Some(expected) = expected.column(column) {
                assert_eq!(shown, expected, "{column} of {}", frame.message);
            }
        }
    }
}

#[test]
fn scapy_reads_what_we_write() {
    let frames = frames::all();
    let lines = scapy::read(&frames);
    assert_eq!(lines.len(), frames.len());
    for (frame, line) in frames.iter().zip(&lines) {
        assert_eq!(*line, scapy::expected(frame), "{}", frame.message);
    }
}

#[test]
fn the_judges_see_every_type_of_message_bare_and_encapsulated() {
    let frames = frames::all();
    for &msg_type in MsgType::ALL {
        let mut of_this_type = frames.iter().filter(|frame| frame.message.msg_type() == msg_type);
        assert!(of_this_type.clone().any(|frame| frame.node_id.is_empty()), "{msg_type}");
        assert!(of_this_type.any(|frame| !frame.node_id.is_empty()), "{msg_type}");
    }
}

fn bit(flags: Flags, flag: Flags) -> u8 {
    flags.contains(flag).into()
}

fn qos_bits(flags: Flags) -> u8 {
    match flags.qos() {
        QosField::Level(Qos::AtMostOnce) => 0,
        QosField::Level(Qos::AtLeastOnce) => 1,
        QosField::Level(Qos::ExactlyOnce) => 2,
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

/// Returns the lines that a judge wrote, and insists that there is a judge.
fn lines_of(output: std::io::Result<Output>, judge: &str) -> Vec<String> {
    let output =
        output.unwrap_or_else(|error| panic!("cannot run {judge} ({error}): run scripts/test, it installs it"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{judge} failed; run scripts/test, it installs what is missing:\n{complaint}");
    String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect()
}
