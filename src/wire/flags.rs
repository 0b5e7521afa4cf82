//! The flags octet (MQTT-SN 1.2 §5.3.4). Each message uses some of its bits and ignores the others.

use bitflags::bitflags;

use super::{Qos, QosField};

bitflags! {
    /// The flags octet. [`Flags::QOS`] and [`Flags::TOPIC_ID_TYPE`] are fields of two bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Flags: u8 {
        const DUP = 0x80;
        const QOS = 0x60;
        const RETAIN = 0x10;
        const WILL = 0x08;
        const CLEAN_SESSION = 0x04;
        const TOPIC_ID_TYPE = 0x03;
    }
}

/// How the topic field of a PUBLISH, SUBSCRIBE or UNSUBSCRIBE is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicIdType {
    /// A normal topic id; in SUBSCRIBE and UNSUBSCRIBE the topic's name.
    Normal,
    Predefined,
    Short,
    Reserved,
}

impl Flags {
    /// Returns the flag if `set`, or no flag.
    pub(super) fn when(set: bool, flag: Self) -> Self {
        if set { flag } else { Self::empty() }
    }

    /// Returns the quality of service.
    pub fn qos(self) -> QosField {
        match (self.bits() & Self::QOS.bits()) >> 5 {
            0 => QosField::Level(Qos::AtMostOnce),
            1 => QosField::Level(Qos::AtLeastOnce),
            2 => QosField::Level(Qos::ExactlyOnce),
            _ => QosField::MinusOne,
        }
    }

    /// Returns how the topic field is to be read.
    pub fn topic_id_type(self) -> TopicIdType {
        match self.bits() & Self::TOPIC_ID_TYPE.bits() {
            0 => TopicIdType::Normal,
            1 => TopicIdType::Predefined,
            2 => TopicIdType::Short,
            _ => TopicIdType::Reserved,
        }
    }
}

impl From<QosField> for Flags {
    fn from(qos: QosField) -> Self {
        Self::from_bits_retain(match qos {
            QosField::Level(Qos::AtMostOnce) => 0x00,
            QosField::Level(Qos::AtLeastOnce) => 0x20,
            QosField::Level(Qos::ExactlyOnce) => 0x40,
            QosField::MinusOne => 0x60,
        })
    }
}

impl From<TopicIdType> for Flags {
    fn from(topic_id_type: TopicIdType) -> Self {
        Self::from_bits_retain(match topic_id_type {
            TopicIdType::Normal => 0x00,
            TopicIdType::Predefined => 0x01,
            TopicIdType::Short => 0x02,
            TopicIdType::Reserved => 0x03,
        })
    }
}
