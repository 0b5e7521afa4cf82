//! What a field means, in words.

use crate::wire::{Field, Flags, MsgId, MsgType, Quoted, ReturnCode, TopicId, TopicIdType};

/// Says what the field of such a message means. `octets` are the field's own, as they stand in the frame.
pub(super) fn meaning(msg_type: MsgType, field: Field<'_>, octets: &[u8]) -> String {
    match field {
        Field::Flags { value, used } => flags(msg_type, value, used, octets),
        Field::GwId(id) => format!("gateway {id}"),
        Field::GwAdd([]) => "none: the gateway itself speaks".into(),
        Field::GwAdd(_) => "the gateway's address".into(),
        Field::Duration(seconds) => duration(msg_type, seconds),
        Field::Radius(0) => "the whole network".into(),
        Field::Radius(hops) => format!("as far as {hops} hops"),
        Field::ProtocolId(1) => "1, MQTT-SN 1.2".into(),
        Field::ProtocolId(id) => format!("{id}, unknown"),
        Field::ClientId(id) => Quoted(id).to_string(),
        Field::ReturnCode(code) => return_code(code),
        Field::TopicId(id) => topic_id(msg_type, id),
        Field::ShortTopic(name) => Quoted(&name).to_string(),
        Field::TopicName(name) | Field::WillTopic(name) => Quoted(name).to_string(),
        Field::MsgId(MsgId::NONE) => "0, none".into(),
        Field::MsgId(id) => id.to_string(),
        Field::WillMsg(payload) | Field::Data(payload) => text_or_size(payload),
    }
}

/// The meaning of a MsgType octet.
pub(super) fn type_code(code: u8) -> String {
    match (MsgType::from_code(code), code) {
        (Some(msg_type), _) => msg_type.to_string(),
        (None, 0xFE) => "forwarder encapsulation".into(),
        (None, _) => "reserved".into(),
    }
}

/// The meaning of a broadcast radius in a forwarder encapsulation.
pub(super) fn radius(radius: u8) -> String {
    format!("broadcast radius {radius}")
}

fn flags(msg_type: MsgType, value: Flags, used: Flags, octets: &[u8]) -> String {
    let mut words: Vec<String> = Vec::new();
    if value.contains(Flags::DUP) {
        words.push("DUP: sent again".into());
    }
    if used.contains(Flags::QOS) {
        words.push(format!("QoS {}", value.qos()));
    }
    if value.contains(Flags::RETAIN) {
        words.push("retain".into());
    }
    if used.contains(Flags::WILL) {
        words.push(if value.contains(Flags::WILL) { "will" } else { "no will" }.into());
    }
    if used.contains(Flags::CLEAN_SESSION) {
        words.push(if value.contains(Flags::CLEAN_SESSION) { "clean session" } else { "session is kept" }.into());
    }
    if used.contains(Flags::TOPIC_ID_TYPE) {
        words.push(
            match value.topic_id_type() {
                TopicIdType::Normal if msg_type == MsgType::Publish => "normal topic id",
                TopicIdType::Normal => "topic name",
                TopicIdType::Predefined => "pre-defined topic id",
                TopicIdType::Short => "short topic name",
                TopicIdType::Reserved => "reserved topic id type",
            }
            .into(),
        );
    }
    let unused = octets.first().map_or(0, |octet| octet & !used.bits());
    if unused != 0 {
        words.push(format!("bits {unused:02X} are set and have no meaning here"));
    }
    words.join(", ")
}

fn duration(msg_type: MsgType, seconds: u16) -> String {
    if msg_type == MsgType::Advertise {
        format!("the next ADVERTISE follows within {seconds} s")
    } else if msg_type == MsgType::Disconnect {
        format!("sleeps for {seconds} s")
    } else if seconds == 0 {
        "0, the client is not supervised".into()
    } else {
        format!("keep-alive {seconds} s")
    }
}

fn return_code(code: ReturnCode) -> String {
    match code {
        ReturnCode::Accepted => "0, accepted".into(),
        ReturnCode::Congestion => "1, rejected: congestion".into(),
        ReturnCode::InvalidTopicId => "2, rejected: invalid topic id".into(),
        ReturnCode::NotSupported => "3, rejected: not supported".into(),
        ReturnCode::Reserved(code) => format!("{code}, rejected for a reason that is reserved"),
    }
}

/// An acknowledgement does not say of which type its topic id is.
fn topic_id(msg_type: MsgType, id: TopicId) -> String {
    let name = id.0.to_be_bytes();
    if id == TopicId::NONE {
        "0, none".into()
    } else if matches!(msg_type, MsgType::PubAck | MsgType::SubAck) && name.iter().all(u8::is_ascii_graphic) {
        format!("{id}, or the short name {}", Quoted(&name))
    } else {
        id.to_string()
    }
}

fn text_or_size(payload: &[u8]) -> String {
    let is_text = |text: &str| !text.contains(char::is_control);
    match str::from_utf8(payload) {
        Ok("") => "empty".into(),
        Ok(text) if is_text(text) => Quoted(payload).to_string(),
        Ok(_) | Err(_) => format!("binary, length {}", payload.len()),
    }
}
