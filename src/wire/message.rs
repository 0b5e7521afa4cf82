//! What each message carries, as values (MQTT-SN 1.2 §5.4). They borrow from the frame they were read from.

use super::{FilterRef, GwId, MsgId, QosField, ReturnCode, TopicId, TopicRef};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertise {
    pub gw_id: GwId,
    /// Seconds to the next one.
    pub duration: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchGw {
    /// Hops; 0 is the whole network.
    pub radius: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GwInfo<'a> {
    pub gw_id: GwId,
    /// Empty from a gateway.
    pub gw_add: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    pub will: bool,
    pub clean_session: bool,
    pub protocol_id: u8,
    /// Keep-alive in seconds; 0 is unsupervised.
    pub duration: u16,
    pub client_id: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck {
    pub return_code: ReturnCode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillTopicReq;

/// WILLTOPIC: `None` is the empty message of two octets, which deletes the will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillTopic<'a> {
    pub will: Option<WillTopicFields<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillTopicFields<'a> {
    pub qos: QosField,
    pub retain: bool,
    pub topic: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillMsgReq;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillMsg<'a> {
    pub message: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<'a> {
    /// [`TopicId::NONE`] from a client.
    pub topic_id: TopicId,
    pub msg_id: MsgId,
    pub topic_name: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegAck {
    pub topic_id: TopicId,
    pub msg_id: MsgId,
    pub return_code: ReturnCode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub dup: bool,
    pub qos: QosField,
    pub retain: bool,
    pub topic: TopicRef,
    /// [`MsgId::NONE`] at QoS 0 and -1, though real firmware counts it up there too.
    pub msg_id: MsgId,
    pub data: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubAck {
    /// Echoes the octets of the PUBLISH, whatever their type: [`TopicRef::octets`].
    pub topic_id: TopicId,
    pub msg_id: MsgId,
    pub return_code: ReturnCode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubComp {
    pub msg_id: MsgId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubRec {
    pub msg_id: MsgId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubRel {
    pub msg_id: MsgId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    pub dup: bool,
    pub qos: QosField,
    pub msg_id: MsgId,
    pub topic: FilterRef<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The granted QoS. Peers put garbage into the unused flag bits; decoding ignores them.
    pub qos: QosField,
    pub topic_id: TopicId,
    pub msg_id: MsgId,
    pub return_code: ReturnCode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    pub msg_id: MsgId,
    pub topic: FilterRef<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    pub msg_id: MsgId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReq<'a> {
    /// Empty unless a sleeping client wakes up.
    pub client_id: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingResp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Seconds of sleep, from a client that goes to sleep.
    pub duration: Option<u16>,
}

/// WILLTOPICUPD: `None` is the empty message of two octets, which deletes the will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillTopicUpd<'a> {
    pub will: Option<WillTopicFields<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillTopicResp {
    pub return_code: ReturnCode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillMsgUpd<'a> {
    pub message: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillMsgResp {
    pub return_code: ReturnCode,
}
