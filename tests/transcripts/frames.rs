//! Frames in hex, and the few that the tests' shorthands make themselves.

use mqttsn_gateway::wire::{DecodeError, Envelope, Message, ReturnCode, TopicId, TopicRef};

/// Reads hex up to the first space; the rest is a comment.
#[track_caller]
pub(crate) fn parse(text: &str) -> Vec<u8> {
    let hex = text.split_whitespace().next().unwrap_or_default();
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii(), "not hex: {text}");
    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or_else(|_| panic!("not hex: {text}"));
    (0..hex.len()).step_by(2).map(octet).collect()
}

/// Reads a frame with or without a forwarder's wrapper.
pub(crate) fn decode(octets: &[u8]) -> Result<Message<'_>, DecodeError> {
    Envelope::open(octets, 2).and_then(|envelope| Message::decode(envelope.message()))
}

/// Shows a frame as it stands in tests, with what it means.
pub(crate) fn explain(octets: &[u8]) -> String {
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    match decode(octets) {
        Ok(message) => format!("{hex} {message}"),
        Err(error) => format!("{hex} ({error})"),
    }
}

/// Checks what is true of every frame that the gateway sends, whatever the test is about.
#[track_caller]
pub(crate) fn check(octets: &[u8]) {
    let envelope = Envelope::open(octets, 2).unwrap();
    let message = Message::decode(envelope.message()).unwrap_or_else(|error| panic!("sent: {error}"));
    let mut again = envelope.wrapper().to_vec();
    message.encode(&mut again).unwrap();
    assert_eq!(again, octets, "not the one way to write this message");
    let named = |id: TopicId| assert!(id.is_assignable(), "topic id {id} is sent: {message}");
    match &message {
        Message::Register(register) => named(register.topic_id),
        Message::Publish(publish) => match publish.topic {
            TopicRef::Normal(id) | TopicRef::Predefined(id) => named(id),
            TopicRef::Short(_) => {}
            TopicRef::Reserved(_) => panic!("sent: {message}"),
        },
        Message::RegAck(ack) if ack.return_code == ReturnCode::Accepted => named(ack.topic_id),
        // 0000 stands for a wildcard; a rejection echoes whatever was asked for.
        Message::SubAck(ack) if ack.return_code == ReturnCode::Accepted => assert!(ack.topic_id.0 != 0xFFFF),
        _ => {}
    }
}

pub(crate) fn connect(client_id: &str, flags: u8, keep_alive: u16) -> Vec<u8> {
    frame(0x04, &[&[flags, 0x01], &keep_alive.to_be_bytes(), client_id.as_bytes()])
}

pub(crate) fn register(topic: &str, msg_id: u16) -> Vec<u8> {
    frame(0x0A, &[&[0, 0], &msg_id.to_be_bytes(), topic.as_bytes()])
}

pub(crate) fn subscribe(filter: &str, qos: u8, msg_id: u16) -> Vec<u8> {
    frame(0x12, &[&[qos << 5], &msg_id.to_be_bytes(), filter.as_bytes()])
}

pub(crate) fn unsubscribe(filter: &str, msg_id: u16) -> Vec<u8> {
    frame(0x14, &[&[0], &msg_id.to_be_bytes(), filter.as_bytes()])
}

pub(crate) fn publish(flags: u8, topic_id: u16, msg_id: u16, data: &[u8]) -> Vec<u8> {
    frame(0x0C, &[&[flags], &topic_id.to_be_bytes(), &msg_id.to_be_bytes(), data])
}

/// A message with the shortest header, written without the crate's encoder.
pub(crate) fn frame(msg_type: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut frame = match u8::try_from(body.len() + 2) {
        Ok(length) => vec![length, msg_type],
        Err(_) => {
            let [high, low] = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
            vec![0x01, high, low, msg_type]
        }
    };
    frame.extend(body);
    frame
}
