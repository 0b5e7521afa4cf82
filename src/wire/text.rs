//! Messages in one line of text, for logs: `PUBACK topicid=1 msgid=7 rc=0`. Safe to show whatever a peer sent.

use std::fmt::{self, Write};

use super::message::*;
use super::{Envelope, Field, Flags, Layer, Message, Qos, QosField, TopicIdType};

/// Octets up to which a binary field is shown in full.
const HEX_IN_FULL: usize = 32;
/// Octets up to which a text is shown in full.
const TEXT_IN_FULL: usize = 128;

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.msg_type().name())?;
        if let Some(note) = note_on_absence(self) {
            return write!(f, " {note}");
        }
        let mut result = Ok(());
        self.fields(&mut |field| {
            if result.is_ok() {
                result = write_field(f, field);
            }
        });
        result
    }
}

/// Shows the wrappers and the message inside, or why it is none.
impl fmt::Display for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers().try_for_each(|layer| write!(f, "{layer} {{ "))?;
        match Message::decode(self.message()) {
            Ok(message) => message.fmt(f),
            Err(error) => write!(f, "MALFORMED {error}"),
        }?;
        self.layers().try_for_each(|_| f.write_str(" }"))
    }
}

impl fmt::Display for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ENCAPS radius={} node={}", self.radius(), Hex(self.node_id))
    }
}

/// Some messages say something by having no field.
fn note_on_absence(message: &Message<'_>) -> Option<&'static str> {
    if let Message::WillTopic(WillTopic { will: None }) | Message::WillTopicUpd(WillTopicUpd { will: None }) = message {
        Some("(empty: delete will)")
    } else if let Message::PingReq(PingReq { client_id: [] }) = message {
        Some("clientid=-")
    } else if let Message::Disconnect(Disconnect { duration: None }) = message {
        Some("duration=-")
    } else {
        None
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, field: Field<'_>) -> fmt::Result {
    match field {
        Field::Flags { value, used } => write_flags(f, value, used),
        Field::GwId(id) => write!(f, " gwid={id}"),
        Field::GwAdd(address) => write!(f, " gwadd={}", Hex(address)),
        Field::Duration(seconds) => write!(f, " duration={seconds}"),
        Field::Radius(hops) => write!(f, " radius={hops}"),
        Field::ProtocolId(id) => write!(f, " proto={id}"),
        Field::ClientId(id) => write!(f, " clientid={}", Quoted(id)),
        Field::ReturnCode(code) => write!(f, " rc={}", u8::from(code)),
        Field::TopicId(id) => write!(f, " topicid={id}"),
        Field::ShortTopic(name) => write!(f, " topic={}", Quoted(&name)),
        Field::TopicName(name) | Field::WillTopic(name) => write!(f, " topic={}", Quoted(name)),
        Field::MsgId(id) => write!(f, " msgid={id}"),
        Field::WillMsg(message) => write!(f, " msg={}", Hex(message)),
        Field::Data(data) => write!(f, " data={}", Hex(data)),
    }
}

fn write_flags(f: &mut fmt::Formatter<'_>, value: Flags, used: Flags) -> fmt::Result {
    let bit = |flag| u8::from(value.contains(flag));
    if used.contains(Flags::DUP) {
        write!(f, " dup={}", bit(Flags::DUP))?;
    }
    if used.contains(Flags::QOS) {
        write!(f, " qos={}", value.qos())?;
    }
    if used.contains(Flags::RETAIN) {
        write!(f, " retain={}", bit(Flags::RETAIN))?;
    }
    if used.contains(Flags::WILL) {
        write!(f, " will={}", bit(Flags::WILL))?;
    }
    if used.contains(Flags::CLEAN_SESSION) {
        write!(f, " clean={}", bit(Flags::CLEAN_SESSION))?;
    }
    if used.contains(Flags::TOPIC_ID_TYPE) {
        write!(f, " tit={}", value.topic_id_type())?;
    }
    Ok(())
}

impl fmt::Display for QosField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Level(Qos::AtMostOnce) => "0",
            Self::Level(Qos::AtLeastOnce) => "1",
            Self::Level(Qos::ExactlyOnce) => "2",
            Self::MinusOne => "-1",
        })
    }
}

impl fmt::Display for TopicIdType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Predefined => "predef",
            Self::Short => "short",
            Self::Reserved => "reserved",
        })
    }
}

/// Text from a peer, in quotes, in one line: what is not UTF-8 or cannot be printed is escaped. Long text is cut.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        match cut(self.0, TEXT_IN_FULL, 8, 4) {
            None => {
                write_escaped(f, self.0)?;
                f.write_char('"')
            }
            Some((head, tail)) => {
                write_escaped(f, head)?;
                f.write_str("..")?;
                write_escaped(f, tail)?;
                write!(f, "[{}]\"", self.0.len())
            }
        }
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        chunk.invalid().iter().try_for_each(|octet| write!(f, "\\x{octet:02x}"))?;
    }
    Ok(())
}

/// Octets in hexadecimal, `-` for none. Many are cut.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write_octets =
            |f: &mut fmt::Formatter<'_>, octets: &[u8]| octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"));
        match cut(self.0, HEX_IN_FULL, 4, 4) {
            None if self.0.is_empty() => f.write_char('-'),
            None => write_octets(f, self.0),
            Some((head, tail)) => {
                write_octets(f, head)?;
                f.write_str("..")?;
                write_octets(f, tail)?;
                write!(f, "[{}]", self.0.len())
            }
        }
    }
}

/// Returns the ends of what is too long to be shown in full.
fn cut(octets: &[u8], in_full: usize, head: usize, tail: usize) -> Option<(&[u8], &[u8])> {
    let end = octets.len().checked_sub(tail).filter(|_| octets.len() > in_full)?;
    Some((octets.get(..head)?, octets.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_peer_stays_in_its_quotes_and_in_its_line() {
        for (octets, shown) in [
            (&b"plain"[..], r#""plain""#),
            ("maison/température".as_bytes(), r#""maison/température""#),
            (b"it's", r#""it's""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\r\n\x1b[2J\0", r#""\r\n\u{1b}[2J\0""#),
            ("\u{202e}gpj".as_bytes(), r#""\u{202e}gpj""#),
            (b"\xc3(\xff", r#""\xc3(\xff""#),
        ] {
            assert_eq!(Quoted(octets).to_string(), shown);
        }
    }

    #[test]
    fn long_text_and_long_data_are_cut() {
        assert_eq!(Quoted(&[b't'; 128]).to_string().len(), 130);
        assert_eq!(Quoted(&[b't'; 129]).to_string(), r#""tttttttt..tttt[129]""#);
        assert_eq!(Hex(&[0xAB; 32]).to_string().len(), 64);
        assert_eq!(Hex(&[0xAB; 33]).to_string(), "abababab..abababab[33]");
    }

    #[test]
    fn an_envelope_shows_what_is_inside_even_if_it_is_no_message() {
        let shown = |frame: &[u8]| Envelope::open(frame, 2).unwrap().to_string();
        assert_eq!(
            shown(&[4, 0xFE, 0, 1, 4, 0xFE, 0, 2, 2, 0x17]),
            "ENCAPS radius=0 node=01 { ENCAPS radius=0 node=02 { PINGRESP } }"
        );
        assert_eq!(
            shown(&[4, 0xFE, 0, 1, 9]),
            "ENCAPS radius=0 node=01 { MALFORMED the message's length is 1; the shortest has 2 octets }"
        );
    }
}
