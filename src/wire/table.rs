//! The table of all messages (MQTT-SN 1.2 §5.2.2), and everything that follows from it.

use std::fmt;

use super::body::Body;
use super::header::{self, Header};
use super::message::*;
use super::reader::Reader;
use super::{DecodeError, EncodeError, Field};

/// Generates [`MsgType`] and [`Message`] and the dispatch between them. `$a` is the lifetime the rows use.
macro_rules! messages {
    ($a:lifetime; $($code:literal $name:literal $variant:ident($body:ty) $size:expr;)*) => {
        /// A type of message. The forwarder encapsulation is none: see [`Envelope`](super::Envelope).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MsgType {
            $($variant,)*
        }

        impl MsgType {
            /// All types, by code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the type with this code, or `None` if the code is reserved or the encapsulation's.
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns the MsgType octet.
            pub fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Returns the specification's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns how many octets may follow the header.
            pub fn body_size(self) -> BodySize {
                use BodySize::*;
                match self {
                    $(Self::$variant => $size,)*
                }
            }
        }

        /// One MQTT-SN message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Message<$a> {
            $($variant($body),)*
        }

        impl<$a> Message<$a> {
            /// Returns the message's type.
            pub fn msg_type(&self) -> MsgType {
                match self {
                    $(Self::$variant(_) => MsgType::$variant,)*
                }
            }

            /// Shows the message's fields to `visit`, in their order on the wire.
            pub fn fields(&self, visit: &mut impl FnMut(Field<$a>)) {
                match self {
                    $(Self::$variant(body) => body.fields(visit),)*
                }
            }

            fn decode_body(msg_type: MsgType, body: &$a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(msg_type, body)?;
                match msg_type {
                    $(MsgType::$variant => Body::read(&mut reader).map(Self::$variant),)*
                }
            }
        }

        $(impl<$a> From<$body> for Message<$a> {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })*
    };
}

messages! { 'a;
    0x00 "ADVERTISE"     Advertise(Advertise)           Exactly(3);
    0x01 "SEARCHGW"      SearchGw(SearchGw)             Exactly(1);
    0x02 "GWINFO"        GwInfo(GwInfo<'a>)             AtLeast(1);
    0x04 "CONNECT"       Connect(Connect<'a>)           AtLeast(4);
    0x05 "CONNACK"       ConnAck(ConnAck)               Exactly(1);
    0x06 "WILLTOPICREQ"  WillTopicReq(WillTopicReq)     Exactly(0);
    0x07 "WILLTOPIC"     WillTopic(WillTopic<'a>)       AtLeast(0);
    0x08 "WILLMSGREQ"    WillMsgReq(WillMsgReq)         Exactly(0);
    0x09 "WILLMSG"       WillMsg(WillMsg<'a>)           AtLeast(0);
    0x0A "REGISTER"      Register(Register<'a>)         AtLeast(4);
    0x0B "REGACK"        RegAck(RegAck)                 Exactly(5);
    0x0C "PUBLISH"       Publish(Publish<'a>)           AtLeast(5);
    0x0D "PUBACK"        PubAck(PubAck)                 Exactly(5);
    0x0E "PUBCOMP"       PubComp(PubComp)               Exactly(2);
    0x0F "PUBREC"        PubRec(PubRec)                 Exactly(2);
    0x10 "PUBREL"        PubRel(PubRel)                 Exactly(2);
    0x12 "SUBSCRIBE"     Subscribe(Subscribe<'a>)       AtLeast(3);
    0x13 "SUBACK"        SubAck(SubAck)                 Exactly(6);
    0x14 "UNSUBSCRIBE"   Unsubscribe(Unsubscribe<'a>)   AtLeast(3);
    0x15 "UNSUBACK"      UnsubAck(UnsubAck)             Exactly(2);
    0x16 "PINGREQ"       PingReq(PingReq<'a>)           AtLeast(0);
    0x17 "PINGRESP"      PingResp(PingResp)             Exactly(0);
    0x18 "DISCONNECT"    Disconnect(Disconnect)         ZeroOr(2);
    0x1A "WILLTOPICUPD"  WillTopicUpd(WillTopicUpd<'a>) AtLeast(0);
    0x1B "WILLTOPICRESP" WillTopicResp(WillTopicResp)   Exactly(1);
    0x1C "WILLMSGUPD"    WillMsgUpd(WillMsgUpd<'a>)     AtLeast(0);
    0x1D "WILLMSGRESP"   WillMsgResp(WillMsgResp)       Exactly(1);
}

impl<'a> Message<'a> {
    /// Reads one bare message that fills `bytes`, in either form of header.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, body) = Header::read(bytes)?;
        Self::decode_body(header.msg_type()?, body)
    }

    /// Appends the message to `out`, with the short header wherever it can serve. An error leaves `out` as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let body_len = self.body_len();
        header::write(self.msg_type(), body_len, out)?;
        out.reserve(body_len);
        self.fields(&mut |field| field.write(out));
        Ok(())
    }

    /// Returns how many octets [`Message::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        header::total_len(self.body_len())
    }

    fn body_len(&self) -> usize {
        let mut octets = 0;
        self.fields(&mut |field| octets += field.len());
        octets
    }
}

impl fmt::Display for MsgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many octets may follow a message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySize {
    Exactly(usize),
    AtLeast(usize),
    ZeroOr(usize),
}

impl BodySize {
    /// Returns whether a body of so many octets is allowed.
    pub fn admits(self, octets: usize) -> bool {
        match self {
            Self::Exactly(size) => octets == size,
            Self::AtLeast(size) => octets >= size,
            Self::ZeroOr(size) => octets == 0 || octets == size,
        }
    }
}

impl fmt::Display for BodySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(size) => write!(f, "{size}"),
            Self::AtLeast(size) => write!(f, "at least {size}"),
            Self::ZeroOr(size) => write!(f, "0 or {size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgId, Qos, TopicId, TopicRef};

    #[test]
    fn the_table_has_every_type_of_the_specification_once_and_in_order() {
        assert_eq!(MsgType::ALL.len(), 27);
        assert!(MsgType::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        for code in 0..=0xFF {
            let reserved = matches!(code, 0x03 | 0x11 | 0x19 | 0x1E..);
            assert_eq!(MsgType::from_code(code).map(MsgType::code), (!reserved).then_some(code));
        }
    }

    #[test]
    fn a_message_that_length_cannot_count_is_refused_and_nothing_is_written() {
        let data = [0; 65_527];
        let publish = |data| {
            Message::from(Publish {
                dup: false,
                qos: Qos::AtMostOnce.into(),
                retain: false,
                topic: TopicRef::Normal(TopicId(1)),
                msg_id: MsgId::NONE,
                data,
            })
        };
        let mut out = b"kept".to_vec();
        assert_eq!(
            publish(&data).encode(&mut out),
            Err(EncodeError::MessageTooLong { msg_type: MsgType::Publish, length: 65_536 })
        );
        assert_eq!(out, b"kept");
        publish(&data[1..]).encode(&mut out).unwrap();
        assert_eq!(out[4..8], [0x01, 0xFF, 0xFF, 0x0C]);
        assert_eq!(Message::decode(&out[4..]), Ok(publish(&data[1..])));
    }
}
