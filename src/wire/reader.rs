//! Takes values off the front of a message's body.

use super::{DecodeError, Flags, GwId, MsgId, MsgType, ReturnCode, TopicId};

/// The body of a message, as far as it has not been read.
pub(super) struct Reader<'a> {
    pub(super) msg_type: MsgType,
    whole: usize,
    rest: &'a [u8],
}

/// A value that can be taken off a body.
pub(super) trait Value<'a>: Sized {
    fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

impl<'a> Reader<'a> {
    /// Begins to read a body, if it has a size that the type of message allows.
    pub(super) fn new(msg_type: MsgType, body: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = Self { msg_type, whole: body.len(), rest: body };
        if msg_type.body_size().admits(body.len()) { Ok(reader) } else { Err(reader.wrong_size()) }
    }

    pub(super) fn take<T: Value<'a>>(&mut self) -> Result<T, DecodeError> {
        T::take(self)
    }

    /// Returns whether everything has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes two octets that must be the last ones: the topic field of a SUBSCRIBE or UNSUBSCRIBE without a name.
    pub(super) fn take_topic_field(&mut self) -> Result<[u8; 2], DecodeError> {
        let field: &[u8] = self.take()?;
        field.try_into().map_err(|_| DecodeError::TopicFieldSize { msg_type: self.msg_type, found: field.len() })
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (octets, rest) = self.rest.split_first_chunk().ok_or_else(|| self.wrong_size())?;
        self.rest = rest;
        Ok(*octets)
    }

    fn wrong_size(&self) -> DecodeError {
        DecodeError::BodySize { msg_type: self.msg_type, found: self.whole, wanted: self.msg_type.body_size() }
    }
}

impl Value<'_> for u8 {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take_array().map(|[octet]| octet)
    }
}

impl Value<'_> for u16 {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take_array().map(Self::from_be_bytes)
    }
}

impl Value<'_> for Flags {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take().map(Self::from_bits_retain)
    }
}

impl Value<'_> for GwId {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take().map(Self)
    }
}

impl Value<'_> for MsgId {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take().map(Self)
    }
}

impl Value<'_> for TopicId {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take().map(Self)
    }
}

impl Value<'_> for ReturnCode {
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take::<u8>().map(Self::from)
    }
}

/// All that is left.
impl<'a> Value<'a> for &'a [u8] {
    fn take(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(std::mem::take(&mut reader.rest))
    }
}
