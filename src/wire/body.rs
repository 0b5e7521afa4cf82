//! The layout of each message's body (MQTT-SN 1.2 §5.4): which fields, in which order.

use super::message::*;
use super::reader::Reader;
use super::{DecodeError, Field, FilterRef, Flags, MsgId, TopicId, TopicIdType, TopicRef};

/// The part of a message behind its header.
pub(super) trait Body<'a>: Sized {
    /// Reads the body. The reader has checked its size already.
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Shows the fields to `visit`, in their order on the wire.
    fn fields(&self, visit: &mut impl FnMut(Field<'a>));
}

/// Bodies that are their fields one after the other. Each row: the type, and per field the member and its [`Field`].
macro_rules! plain_bodies {
    ($a:lifetime; $($body:ident $(<$b:lifetime>)? { $($member:ident: $field:ident),* })*) => {$(
        impl<$a> Body<$a> for $body $(<$b>)? {
            fn read(_reader: &mut Reader<$a>) -> Result<Self, DecodeError> {
                Ok(Self { $($member: _reader.take()?),* })
            }

            fn fields(&self, _visit: &mut impl FnMut(Field<$a>)) {
                $(_visit(Field::$field(self.$member));)*
            }
        }
    )*};
}

plain_bodies! { 'a;
    Advertise { gw_id: GwId, duration: Duration }
    SearchGw { radius: Radius }
    GwInfo<'a> { gw_id: GwId, gw_add: GwAdd }
    ConnAck { return_code: ReturnCode }
    WillTopicReq {}
    WillMsgReq {}
    WillMsg<'a> { message: WillMsg }
    Register<'a> { topic_id: TopicId, msg_id: MsgId, topic_name: TopicName }
    RegAck { topic_id: TopicId, msg_id: MsgId, return_code: ReturnCode }
    PubAck { topic_id: TopicId, msg_id: MsgId, return_code: ReturnCode }
    PubComp { msg_id: MsgId }
    PubRec { msg_id: MsgId }
    PubRel { msg_id: MsgId }
    UnsubAck { msg_id: MsgId }
    PingResp {}
    WillTopicResp { return_code: ReturnCode }
    WillMsgUpd<'a> { message: WillMsg }
    WillMsgResp { return_code: ReturnCode }
}

impl<'a> Body<'a> for Connect<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags: Flags = reader.take()?;
        Ok(Self {
            will: flags.contains(Flags::WILL),
            clean_session: flags.contains(Flags::CLEAN_SESSION),
            protocol_id: reader.take()?,
            duration: reader.take()?,
            client_id: reader.take()?,
        })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        visit(Field::Flags {
            value: Flags::when(self.will, Flags::WILL) | Flags::when(self.clean_session, Flags::CLEAN_SESSION),
            used: Flags::WILL | Flags::CLEAN_SESSION,
        });
        visit(Field::ProtocolId(self.protocol_id));
        visit(Field::Duration(self.duration));
        visit(Field::ClientId(self.client_id));
    }
}

impl<'a> Body<'a> for WillTopic<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { will: unless_at_end(reader)? })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        self.will.iter().for_each(|will| will.fields(visit));
    }
}

impl<'a> Body<'a> for WillTopicUpd<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { will: unless_at_end(reader)? })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        self.will.iter().for_each(|will| will.fields(visit));
    }
}

impl<'a> Body<'a> for WillTopicFields<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags: Flags = reader.take()?;
        Ok(Self { qos: flags.qos(), retain: flags.contains(Flags::RETAIN), topic: reader.take()? })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        visit(Field::Flags {
            value: Flags::from(self.qos) | Flags::when(self.retain, Flags::RETAIN),
            used: Flags::QOS | Flags::RETAIN,
        });
        visit(Field::WillTopic(self.topic));
    }
}

impl<'a> Body<'a> for Publish<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags: Flags = reader.take()?;
        let id: TopicId = reader.take()?;
        Ok(Self {
            dup: flags.contains(Flags::DUP),
            qos: flags.qos(),
            retain: flags.contains(Flags::RETAIN),
            topic: match flags.topic_id_type() {
                TopicIdType::Normal => TopicRef::Normal(id),
                TopicIdType::Predefined => TopicRef::Predefined(id),
                TopicIdType::Short => TopicRef::Short(id.0.to_be_bytes()),
                TopicIdType::Reserved => TopicRef::Reserved(id),
            },
            msg_id: reader.take()?,
            data: reader.take()?,
        })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        let (topic_id_type, topic) = match self.topic {
            TopicRef::Normal(id) => (TopicIdType::Normal, Field::TopicId(id)),
            TopicRef::Predefined(id) => (TopicIdType::Predefined, Field::TopicId(id)),
            TopicRef::Short(name) => (TopicIdType::Short, Field::ShortTopic(name)),
            TopicRef::Reserved(id) => (TopicIdType::Reserved, Field::TopicId(id)),
        };
        visit(Field::Flags {
            value: Flags::when(self.dup, Flags::DUP)
                | self.qos.into()
                | Flags::when(self.retain, Flags::RETAIN)
                | topic_id_type.into(),
            used: Flags::DUP | Flags::QOS | Flags::RETAIN | Flags::TOPIC_ID_TYPE,
        });
        visit(topic);
        visit(Field::MsgId(self.msg_id));
        visit(Field::Data(self.data));
    }
}

impl<'a> Body<'a> for Subscribe<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags: Flags = reader.take()?;
        let msg_id = reader.take()?;
        let topic = filter(reader, flags.topic_id_type(), msg_id)?;
        Ok(Self { dup: flags.contains(Flags::DUP), qos: flags.qos(), msg_id, topic })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        let (topic_id_type, topic) = filter_field(self.topic);
        visit(Field::Flags {
            value: Flags::when(self.dup, Flags::DUP) | self.qos.into() | topic_id_type.into(),
            used: Flags::DUP | Flags::QOS | Flags::TOPIC_ID_TYPE,
        });
        visit(Field::MsgId(self.msg_id));
        visit(topic);
    }
}

impl<'a> Body<'a> for SubAck {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            qos: reader.take::<Flags>()?.qos(),
            topic_id: reader.take()?,
            msg_id: reader.take()?,
            return_code: reader.take()?,
        })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        visit(Field::Flags { value: self.qos.into(), used: Flags::QOS });
        visit(Field::TopicId(self.topic_id));
        visit(Field::MsgId(self.msg_id));
        visit(Field::ReturnCode(self.return_code));
    }
}

impl<'a> Body<'a> for Unsubscribe<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags: Flags = reader.take()?;
        let msg_id = reader.take()?;
        Ok(Self { msg_id, topic: filter(reader, flags.topic_id_type(), msg_id)? })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        let (topic_id_type, topic) = filter_field(self.topic);
        visit(Field::Flags { value: topic_id_type.into(), used: Flags::TOPIC_ID_TYPE });
        visit(Field::MsgId(self.msg_id));
        visit(topic);
    }
}

/// The ClientId is a field only if it is not empty: a PINGREQ without one is another message than one with it.
impl<'a> Body<'a> for PingReq<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { client_id: reader.take()? })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        if !self.client_id.is_empty() {
            visit(Field::ClientId(self.client_id));
        }
    }
}

impl<'a> Body<'a> for Disconnect {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let duration = if reader.is_at_end() { None } else { Some(reader.take()?) };
        Ok(Self { duration })
    }

    fn fields(&self, visit: &mut impl FnMut(Field<'a>)) {
        self.duration.iter().for_each(|&seconds| visit(Field::Duration(seconds)));
    }
}

fn unless_at_end<'a, T: Body<'a>>(reader: &mut Reader<'a>) -> Result<Option<T>, DecodeError> {
    if reader.is_at_end() { Ok(None) } else { T::read(reader).map(Some) }
}

/// Reads a filter. `msg_id` is the message's, for whoever answers one that cannot be read.
fn filter<'a>(
    reader: &mut Reader<'a>,
    topic_id_type: TopicIdType,
    msg_id: MsgId,
) -> Result<FilterRef<'a>, DecodeError> {
    match topic_id_type {
        TopicIdType::Normal => reader.take().map(FilterRef::Name),
        TopicIdType::Predefined => {
            let octets = reader.take_topic_field()?;
            Ok(FilterRef::Predefined(TopicId(u16::from_be_bytes(octets))))
        }
        TopicIdType::Short => reader.take_topic_field().map(FilterRef::Short),
        TopicIdType::Reserved => Err(DecodeError::ReservedTopicIdType { msg_type: reader.msg_type, msg_id }),
    }
}

fn filter_field(topic: FilterRef<'_>) -> (TopicIdType, Field<'_>) {
    match topic {
        FilterRef::Name(name) => (TopicIdType::Normal, Field::TopicName(name)),
        FilterRef::Predefined(id) => (TopicIdType::Predefined, Field::TopicId(id)),
        FilterRef::Short(name) => (TopicIdType::Short, Field::ShortTopic(name)),
    }
}
