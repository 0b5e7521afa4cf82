//! What a readable message says that MQTT-SN 1.2 forbids.

use thiserror::Error;

use super::message::*;
use super::{FilterRef, Message, MsgId, Qos, QosField, ReturnCode, TopicId, TopicRef};

/// The only ProtocolId there is (MQTT-SN 1.2 §5.3.9).
const PROTOCOL_ID: u8 = 0x01;
/// Characters of the longest ClientId (MQTT-SN 1.2 §5.3.1).
const CLIENT_ID_MAX: usize = 23;

/// Something that MQTT-SN 1.2 forbids, though the message can be read. Some of these a gateway had better tolerate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Objection {
    #[error("the client id is empty")]
    EmptyClientId,
    #[error("the client id has {characters} characters; 23 are allowed")]
    LongClientId { characters: usize },
    #[error("the client id is not UTF-8 without U+0000")]
    ClientIdNotText,
    #[error("protocol id {found} is not 1, MQTT-SN 1.2")]
    ProtocolId { found: u8 },
    #[error("return code {code} is reserved")]
    ReservedReturnCode { code: u8 },
    #[error("the will has flags but no topic; to delete a will the message must have no body at all")]
    FlagsWithoutTopic,
    #[error("the will has QoS -1, which only a PUBLISH may have")]
    WillQosMinusOne,
    #[error("QoS -1 is asked for, which only a PUBLISH may have")]
    RequestedQosMinusOne,
    #[error("QoS -1 is granted, which only a PUBLISH may have")]
    GrantedQosMinusOne,
    #[error("QoS -1 goes with a pre-defined topic id or a short topic name only")]
    QosMinusOneTopic,
    #[error("the topic is empty")]
    EmptyTopic,
    #[error("the topic is not UTF-8 without U+0000")]
    TopicNotText,
    #[error("the topic has a wildcard (+ or #), and one topic is named here, not many")]
    WildcardInTopicName,
    #[error("topic id type 3 is reserved")]
    ReservedTopicIdType,
    #[error("topic id {id} is reserved")]
    ReservedTopicId { id: TopicId },
    #[error("message id 0 cannot be answered")]
    MsgIdZero,
    #[error("message id 0 cannot be acknowledged, as QoS 1 and 2 need")]
    MsgIdZeroWithQos,
    #[error("message id {msg_id} should be 0, for nothing answers QoS 0 and -1")]
    MsgIdShouldBeZero { msg_id: MsgId },
    #[error("a sleep of 0 seconds is no sleep")]
    SleepDurationZero,
    #[error("Ctrl is {ctrl:02X}, but only its two lowest bits have a meaning")]
    CtrlReservedBits { ctrl: u8 },
    #[error("an encapsulation stands in another one, which the protocol does not know")]
    NestedEncapsulation,
}

impl Objection {
    /// Returns a short name of the kind of objection, for counters and fixtures.
    pub fn label(&self) -> &'static str {
        match self {
            Self::EmptyClientId => "empty-clientid",
            Self::LongClientId { .. } => "clientid-longer-than-23",
            Self::ClientIdNotText => "clientid-not-text",
            Self::ProtocolId { .. } => "protocol-id",
            Self::ReservedReturnCode { .. } => "reserved-return-code",
            Self::FlagsWithoutTopic => "flags-without-topic",
            Self::WillQosMinusOne => "will-qos-3",
            Self::RequestedQosMinusOne => "requested-qos-3",
            Self::GrantedQosMinusOne => "granted-qos-3",
            Self::QosMinusOneTopic => "qos-1-needs-predef-or-short",
            Self::EmptyTopic => "empty-topic",
            Self::TopicNotText => "topic-not-text",
            Self::WildcardInTopicName => "wildcard-in-topic-name",
            Self::ReservedTopicIdType => "reserved-topic-id-type",
            Self::ReservedTopicId { .. } => "reserved-topic-id",
            Self::MsgIdZero => "msgid-0",
            Self::MsgIdZeroWithQos => "msgid-0-with-qos-1",
            Self::MsgIdShouldBeZero { .. } => "msgid-should-be-0",
            Self::SleepDurationZero => "sleep-duration-0",
            Self::CtrlReservedBits { .. } => "ctrl-reserved-bits",
            Self::NestedEncapsulation => "nested-encapsulation",
        }
    }
}

impl Message<'_> {
    /// Returns the gravest thing the message says that MQTT-SN 1.2 forbids; what to tolerate is the caller's choice.
    ///
    /// The syntax of topic filters is MQTT's and not looked at here.
    pub fn objection(&self) -> Option<Objection> {
        match self {
            Self::Connect(connect) => connect_objection(connect),
            Self::WillTopic(WillTopic { will }) | Self::WillTopicUpd(WillTopicUpd { will }) => {
                will.as_ref().and_then(will_objection)
            }
            Self::ConnAck(ConnAck { return_code })
            | Self::RegAck(RegAck { return_code, .. })
            | Self::PubAck(PubAck { return_code, .. })
            | Self::WillTopicResp(WillTopicResp { return_code })
            | Self::WillMsgResp(WillMsgResp { return_code }) => return_code_objection(*return_code),
            Self::SubAck(SubAck { qos, return_code, .. }) => return_code_objection(*return_code)
                .or_else(|| (*qos == QosField::MinusOne).then_some(Objection::GrantedQosMinusOne)),
            Self::Register(Register { msg_id, topic_name, .. }) => {
                topic_name_objection(topic_name).or_else(|| msg_id_objection(*msg_id))
            }
            Self::Publish(publish) => publish_objection(publish),
            Self::Subscribe(subscribe) => filter_objection(subscribe.topic)
                .or_else(|| (subscribe.qos == QosField::MinusOne).then_some(Objection::RequestedQosMinusOne))
                .or_else(|| msg_id_objection(subscribe.msg_id)),
            Self::Unsubscribe(Unsubscribe { msg_id, topic }) => {
                filter_objection(*topic).or_else(|| msg_id_objection(*msg_id))
            }
            Self::PubRec(PubRec { msg_id }) | Self::PubRel(PubRel { msg_id }) => msg_id_objection(*msg_id),
            Self::PingReq(PingReq { client_id: [] }) => None,
            Self::PingReq(PingReq { client_id }) => client_id_objection(client_id),
            Self::Disconnect(Disconnect { duration: Some(0) }) => Some(Objection::SleepDurationZero),
            Self::Advertise(_)
            | Self::SearchGw(_)
            | Self::GwInfo(_)
            | Self::WillTopicReq(_)
            | Self::WillMsgReq(_)
            | Self::WillMsg(_)
            | Self::PubComp(_)
            | Self::UnsubAck(_)
            | Self::PingResp(_)
            | Self::Disconnect(_)
            | Self::WillMsgUpd(_) => None,
        }
    }
}

fn connect_objection(connect: &Connect<'_>) -> Option<Objection> {
    if connect.protocol_id != PROTOCOL_ID {
        return Some(Objection::ProtocolId { found: connect.protocol_id });
    }
    client_id_objection(connect.client_id)
}

fn client_id_objection(client_id: &[u8]) -> Option<Objection> {
    if client_id.is_empty() {
        return Some(Objection::EmptyClientId);
    }
    let Some(text) = text(client_id) else {
        return Some(Objection::ClientIdNotText);
    };
    let characters = text.chars().count();
    (characters > CLIENT_ID_MAX).then_some(Objection::LongClientId { characters })
}

fn will_objection(will: &WillTopicFields<'_>) -> Option<Objection> {
    if will.topic.is_empty() {
        return Some(Objection::FlagsWithoutTopic);
    }
    if will.qos == QosField::MinusOne {
        return Some(Objection::WillQosMinusOne);
    }
    topic_name_objection(will.topic)
}

fn publish_objection(publish: &Publish<'_>) -> Option<Objection> {
    topic_ref_objection(publish.topic).or_else(|| match (publish.qos, publish.topic) {
        (QosField::MinusOne, TopicRef::Normal(_)) => Some(Objection::QosMinusOneTopic),
        (QosField::Level(Qos::AtLeastOnce | Qos::ExactlyOnce), _) => {
            (!publish.msg_id.is_usable()).then_some(Objection::MsgIdZeroWithQos)
        }
        (QosField::Level(Qos::AtMostOnce) | QosField::MinusOne, _) => {
            publish.msg_id.is_usable().then_some(Objection::MsgIdShouldBeZero { msg_id: publish.msg_id })
        }
    })
}

fn topic_ref_objection(topic: TopicRef) -> Option<Objection> {
    match topic {
        TopicRef::Normal(id) | TopicRef::Predefined(id) => topic_id_objection(id),
        TopicRef::Short(name) => topic_name_objection(&name),
        TopicRef::Reserved(_) => Some(Objection::ReservedTopicIdType),
    }
}

/// A filter may have wildcards; whether they stand where MQTT allows them is for whoever parses it.
fn filter_objection(topic: FilterRef<'_>) -> Option<Objection> {
    match topic {
        FilterRef::Name(name) => topic_text_objection(name),
        FilterRef::Predefined(id) => topic_id_objection(id),
        FilterRef::Short(name) => topic_text_objection(&name),
    }
}

fn topic_id_objection(id: TopicId) -> Option<Objection> {
    (!id.is_assignable()).then_some(Objection::ReservedTopicId { id })
}

fn topic_name_objection(name: &[u8]) -> Option<Objection> {
    topic_text_objection(name).or_else(|| {
        let is_wildcard = |octet: &u8| matches!(octet, b'+' | b'#');
        name.iter().any(is_wildcard).then_some(Objection::WildcardInTopicName)
    })
}

fn topic_text_objection(name: &[u8]) -> Option<Objection> {
    if name.is_empty() {
        return Some(Objection::EmptyTopic);
    }
    text(name).is_none().then_some(Objection::TopicNotText)
}

fn msg_id_objection(msg_id: MsgId) -> Option<Objection> {
    (!msg_id.is_usable()).then_some(Objection::MsgIdZero)
}

fn return_code_objection(return_code: ReturnCode) -> Option<Objection> {
    match return_code {
        ReturnCode::Reserved(code) => Some(Objection::ReservedReturnCode { code }),
        ReturnCode::Accepted | ReturnCode::Congestion | ReturnCode::InvalidTopicId | ReturnCode::NotSupported => None,
    }
}

/// Returns the octets as text if MQTT would take them as a string: UTF-8 without U+0000.
fn text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The objections that no row of `frames.tsv` has.
    #[test]
    fn what_the_protocol_forbids_is_objected_to() {
        for (frame, objection) in [
            (&[0x07, 0x04, 0x04, 0x01, 0x00, 0x0A, 0xFF][..], Objection::ClientIdNotText),
            (&[0x03, 0x16, 0x00], Objection::ClientIdNotText),
            (&[0x04, 0x07, 0x00, 0xFF], Objection::TopicNotText),
            (&[0x04, 0x1A, 0x00, b'#'], Objection::WildcardInTopicName),
            (&[0x03, 0x1A, 0x00], Objection::FlagsWithoutTopic),
            (&[0x07, 0x0A, 0x00, 0x00, 0x00, 0x00, b't'], Objection::MsgIdZero),
            (&[0x07, 0x0C, 0x02, b'a', b'+', 0x00, 0x00], Objection::WildcardInTopicName),
            (&[0x07, 0x0C, 0x62, b'a', b'b', 0x00, 0x07], Objection::MsgIdShouldBeZero { msg_id: MsgId(7) }),
            (&[0x07, 0x0C, 0x01, 0xFF, 0xFF, 0x00, 0x00], Objection::ReservedTopicId { id: TopicId(0xFFFF) }),
            (&[0x04, 0x0F, 0x00, 0x00], Objection::MsgIdZero),
            (&[0x04, 0x10, 0x00, 0x00], Objection::MsgIdZero),
            (&[0x07, 0x12, 0x02, 0x00, 0x01, 0x00, b'a'], Objection::TopicNotText),
            (&[0x07, 0x12, 0x01, 0x00, 0x01, 0x00, 0x00], Objection::ReservedTopicId { id: TopicId(0) }),
            (&[0x08, 0x13, 0x60, 0x00, 0x01, 0x00, 0x01, 0x00], Objection::GrantedQosMinusOne),
            (&[0x05, 0x14, 0x00, 0x00, 0x01], Objection::EmptyTopic),
            (&[0x06, 0x14, 0x00, 0x00, 0x00, b'a'], Objection::MsgIdZero),
            (&[0x03, 0x1D, 0x80], Objection::ReservedReturnCode { code: 0x80 }),
        ] {
            assert_eq!(Message::decode(frame).unwrap().objection(), Some(objection), "{frame:02x?}");
        }
    }

    #[test]
    fn a_client_id_is_measured_in_characters() {
        let objection = |client_id: &str| Message::from(PingReq { client_id: client_id.as_bytes() }).objection();
        assert_eq!(objection(&"é".repeat(23)), None);
        assert_eq!(objection(&"é".repeat(24)), Some(Objection::LongClientId { characters: 24 }));
    }

    #[test]
    fn an_objection_is_put_in_plain_words() {
        assert_eq!(Objection::ProtocolId { found: 2 }.to_string(), "protocol id 2 is not 1, MQTT-SN 1.2");
        assert_eq!(
            Objection::CtrlReservedBits { ctrl: 0xFD }.to_string(),
            "Ctrl is FD, but only its two lowest bits have a meaning"
        );
    }
}
