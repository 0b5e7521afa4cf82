//! The numbers of the protocol, each a type of its own so that they cannot be mixed up.

use std::fmt;

/// A message id: pairs a request with its answer, per client and direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MsgId(pub u16);

impl MsgId {
    /// The value of the field where it is not used (MQTT-SN 1.2 §5.3.8).
    pub const NONE: Self = Self(0);

    /// Returns whether an answer can refer to this id.
    pub fn is_usable(self) -> bool {
        self != Self::NONE
    }
}

/// A topic id: normal or pre-defined, as the topic id type beside it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub u16);

impl TopicId {
    /// "No id": a wildcard subscription, a rejection, a client's REGISTER.
    pub const NONE: Self = Self(0);

    /// Returns whether the id may name a topic: 0000 and FFFF are reserved (MQTT-SN 1.2 §5.3.11).
    pub fn is_assignable(self) -> bool {
        self.0 != 0x0000 && self.0 != 0xFFFF
    }
}

/// A gateway id, unique in one network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GwId(pub u8);

macro_rules! shown_as_number {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}
shown_as_number!(MsgId TopicId GwId);
