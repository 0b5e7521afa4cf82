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
        MsgType::from_code(self.type_code).ok_or(match self.type_code {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, WillMsg};

    #[test]
    fn the_short_header_serves_up_to_a_total_of_255() {
        for total in 253..=258_usize {
            let message = vec![0x55; total - HeaderForm::Short.octets()];
            let message = Message::from(WillMsg { message: &message });
            let mut out = Vec::new();
            message.encode(&mut out).unwrap();
            let start = match total {
                253..=255 => vec![u8::try_from(total).unwrap(), 0x09],
                _ => vec![0x01, 0x01, u8::try_from(total + 2 - 256).unwrap(), 0x09],
            };
            assert!(out.starts_with(&start), "{total}: {:02x?}", &out[..4]);
            assert_eq!(out.len(), message.encoded_len());
            assert_eq!(Message::decode(&out), Ok(message));
        }
    }

    #[test]
    fn the_long_header_is_read_at_any_total_from_4_on() {
        for total in (4..=20).chain(253..=258_u16) {
            let message = vec![0x55; usize::from(total) - HeaderForm::Long.octets()];
            let [high, low] = total.to_be_bytes();
            let frame = [&[0x01, high, low, 0x09], &message[..]].concat();
            assert_eq!(Message::decode(&frame), Ok(WillMsg { message: &message }.into()), "{total}");
        }
    }

    #[test]
    fn a_length_that_disagrees_with_the_frame_is_refused() {
        for (frame, error) in [
            (&[][..], DecodeError::TooShort { found: 0 }),
            (&[0x01, 0x00], DecodeError::LongHeaderTruncated { found: 2 }),
            (&[0x00, 0x16], DecodeError::LengthTooSmall { stated: 0, least: 2 }),
            (&[0x01, 0x00, 0x03, 0x16], DecodeError::LengthTooSmall { stated: 3, least: 4 }),
            (&[0x03, 0x16], DecodeError::LengthMismatch { stated: 3, found: 2 }),
            (&[0x02, 0x16, 0x00], DecodeError::LengthMismatch { stated: 2, found: 3 }),
        ] {
            assert_eq!(Message::decode(frame), Err(error));
        }
    }

    #[test]
    fn an_encapsulation_is_no_bare_message() {
        assert_eq!(Message::decode(&[0x02, 0xFE]), Err(DecodeError::Encapsulated));
        assert_eq!(Message::decode(&[0x01, 0x00, 0x04, 0xFE]), Err(DecodeError::Encapsulated));
    }
}
