//! The header: Length and MsgType in two octets, or in four (MQTT-SN 1.2 §5.2).

use super::envelope::ENCAPSULATED;
use super::{DecodeError, EncodeError, MsgType};

/// The first octet of a long header; no short one can begin with it.
pub(super) const LONG_FORM: u8 = 0x01;

/// The two forms of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderForm {
    /// Length in one octet, then MsgType.
    Short,
    /// 01, Length in two octets, then MsgType. Legal on a short message too.
    Long,
}

impl HeaderForm {
    /// Returns the octets of the header itself.
    pub fn octets(self) -> usize {
        match self {
            Self::Short => 2,
            Self::Long => 4,
        }
    }
}

/// A message's header, whose Length agrees with the octets that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub form: HeaderForm,
    /// The MsgType octet, which may be reserved.
    pub type_code: u8,
}

impl Header {
    /// Reads the header of a message that fills `bytes`; returns it and the body.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (form, length, type_code, body) = match *bytes {
            [LONG_FORM, high, low, type_code, ref body @ ..] => {
                (HeaderForm::Long, usize::from(u16::from_be_bytes([high, low])), type_code, body)
            }
            [LONG_FORM, _, ..] => return Err(DecodeError::LongHeaderTruncated { found: bytes.len() }),
            [length, type_code, ref body @ ..] => (HeaderForm::Short, usize::from(length), type_code, body),
            [_] | [] => return Err(DecodeError::TooShort { found: bytes.len() }),
        };
        if length < form.octets() {
            return Err(DecodeError::LengthTooSmall { stated: length, least: form.octets() });
        }
        if length != bytes.len() {
            return Err(DecodeError::LengthMismatch { stated: length, found: bytes.len() });
        }
        Ok((Self { form, type_code }, body))
    }

    /// Returns the type of message, unless the code is reserved or the encapsulation's.
    pub fn msg_type(self) -> Result<MsgType, DecodeError> {
        MsgType::from_code(self.type_code).ok_or_else(|| match self.type_code {
            ENCAPSULATED => DecodeError::Encapsulated,
            code => DecodeError::ReservedType { code },
        })
    }
}

/// Returns the octets of a message with such a body, in the shortest form.
pub(super) fn total_len(body_len: usize) -> usize {
    let short = HeaderForm::Short.octets() + body_len;
    if short <= usize::from(u8::MAX) { short } else { HeaderForm::Long.octets() + body_len }
}

/// Appends the header of a message with such a body, in the shortest form.
pub(super) fn write(msg_type: MsgType, body_len: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let total = total_len(body_len);
    match (u8::try_from(total), u16::try_from(total)) {
        (Ok(length), _) => out.extend_from_slice(&[length, msg_type.code()]),
        (Err(_), Ok(length)) => {
            let [high, low] = length.to_be_bytes();
            out.extend_from_slice(&[LONG_FORM, high, low, msg_type.code()]);
        }
        (Err(_), Err(_)) => return Err(EncodeError::MessageTooLong { msg_type, length: total }),
    }
    Ok(())
}
