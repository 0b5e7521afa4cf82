//! How `sub` prints a message: the payload, topic and payload, or a format string as `mosquitto_sub -F` takes it.

use std::io::{self, Write};

use jiff::Zoned;
use jiff::fmt::strtime;
use serde::Serialize;
use thiserror::Error;

use crate::wire::{MsgId, Qos};

/// A message in the terms of its receiver.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub topic: &'a [u8],
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    pub msg_id: MsgId,
}

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

/// Why a format string is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    #[error("it ends in the middle of a sequence: {0} stands alone")]
    Incomplete(char),
    #[error("%{0} is not known here; write %% for a literal %")]
    Parameter(char),
    #[error("@{0} is not known to strftime; write @@ for a literal @")]
    Time(char),
    #[error("\\{0} is not known; write \\\\ for a literal backslash")]
    Escape(char),
    #[error("the width in %{0} is not a number up to 10000")]
    Width(char),
}

/// Why a message cannot be printed.
#[derive(Debug, Error)]
pub enum PrintError {
    #[error("message payload is not valid JSON on topic {0}")]
    NotJson(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Parameter(Parameter, Padding),
    Json(PayloadAs),
    Nanoseconds,
    Strftime(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Topic,
    Payload,
    PayloadHex,
    PayloadHexUpper,
    Length,
    Qos,
    Retain,
    MsgId,
    Iso8601,
    Unix,
    /// A property of MQTT 5, which MQTT-SN cannot carry.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PayloadAs {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Padding {
    fill: Fill,
    width: usize,
    max: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fill {
    #[default]
    BlanksLeft,
    ZerosLeft,
    BlanksRight,
}

impl Format {
    /// Parses a format string: `%` parameters, `@` times, `\` escapes, all else as it stands.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '%' => pieces.push(parameter(&mut characters)?),
                '@' => pieces.push(time(characters.next().ok_or(FormatError::Incomplete('@'))?)?),
                '\\' => push_literal(&mut pieces, escape(characters.next().ok_or(FormatError::Incomplete('\\'))?)?),
                literal => push_literal(&mut pieces, literal),
            }
        }
        Ok(Self(pieces))
    }

    /// Writes a message without an end of line. A message that cannot be printed leaves nothing behind.
    pub fn write(&self, out: &mut impl Write, message: &Received<'_>, now: &Zoned) -> Result<(), PrintError> {
        let mut line = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => line.extend_from_slice(text),
                Piece::Parameter(parameter, padding) => padding.write(&parameter.value(message, now), &mut line),
                Piece::Json(payload) => line.extend_from_slice(json(message, now, *payload)?.as_bytes()),
                Piece::Nanoseconds => write!(line, "{:09}", now.subsec_nanosecond())?,
                Piece::Strftime(format) => line.extend_from_slice(strftime(format, now).as_bytes()),
            }
        }
        Ok(out.write_all(&line)?)
    }
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn parameter(characters: &mut Characters<'_>) -> Result<Piece, FormatError> {
    let mut padding = Padding::default();
    while let Some(flag) = characters.next_if(|character| matches!(character, '0' | '-')) {
        padding.fill = match padding.fill {
            Fill::BlanksRight => Fill::BlanksRight,
            Fill::BlanksLeft | Fill::ZerosLeft if flag == '-' => Fill::BlanksRight,
            Fill::BlanksLeft | Fill::ZerosLeft => Fill::ZerosLeft,
        };
    }
    let width = number(characters);
    let max = characters.next_if_eq(&'.').map(|_| number(characters));
    let letter = characters.next().ok_or(FormatError::Incomplete('%'))?;
    padding.width = width.ok_or(FormatError::Width(letter))?;
    padding.max = max.map(|max| max.ok_or(FormatError::Width(letter))).transpose()?;
    let parameter = match letter {
        '%' => return Ok(Piece::Literal(b"%".to_vec())),
        'j' => return Ok(Piece::Json(PayloadAs::Text)),
        'J' => return Ok(Piece::Json(PayloadAs::Json)),
        't' => Parameter::Topic,
        'p' => Parameter::Payload,
        'x' => Parameter::PayloadHex,
        'X' => Parameter::PayloadHexUpper,
        'l' => Parameter::Length,
        'q' => Parameter::Qos,
        'r' => Parameter::Retain,
        'm' => Parameter::MsgId,
        'I' => Parameter::Iso8601,
        'U' => Parameter::Unix,
        'A' | 'C' | 'D' | 'E' | 'F' | 'P' | 'R' | 'S' => Parameter::Absent,
        unknown => return Err(FormatError::Parameter(unknown)),
    };
    Ok(Piece::Parameter(parameter, padding))
}

/// Reads digits; none are 0. Returns `None` if the number would make absurd lines.
fn number(characters: &mut Characters<'_>) -> Option<usize> {
    let mut number = Some(0_usize);
    while let Some(digit) = characters.peek().and_then(|character| character.to_digit(10)) {
        characters.next();
        number = number.map(|number| number * 10 + digit as usize).filter(|number| *number <= 10_000);
    }
    number
}

fn time(letter: char) -> Result<Piece, FormatError> {
    match letter {
        '@' => Ok(Piece::Literal(b"@".to_vec())),
        'N' => Ok(Piece::Nanoseconds),
        letter => {
            let format = format!("%{letter}");
            strtime::format(&format, &Zoned::now()).map_err(|_| FormatError::Time(letter))?;
            Ok(Piece::Strftime(format))
        }
    }
}

fn escape(letter: char) -> Result<char, FormatError> {
    match letter {
        '\\' => Ok('\\'),
        '0' => Ok('\0'),
        'a' => Ok('\x07'),
        'e' => Ok('\x1B'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\x0B'),
        unknown => Err(FormatError::Escape(unknown)),
    }
}

fn push_literal(pieces: &mut Vec<Piece>, character: char) {
    let mut encoded = [0; 4];
    let octets = character.encode_utf8(&mut encoded).as_bytes();
    match pieces.last_mut() {
        Some(Piece::Literal(text)) => text.extend_from_slice(octets),
        Some(Piece::Parameter(..) | Piece::Json(_) | Piece::Nanoseconds | Piece::Strftime(_)) | None => {
            pieces.push(Piece::Literal(octets.to_vec()));
        }
    }
}

impl Parameter {
    fn value(self, message: &Received<'_>, now: &Zoned) -> Vec<u8> {
        match self {
            Self::Topic => message.topic.to_vec(),
            Self::Payload => message.payload.to_vec(),
            Self::PayloadHex => hex::encode(message.payload).into_bytes(),
            Self::PayloadHexUpper => hex::encode_upper(message.payload).into_bytes(),
            Self::Length => message.payload.len().to_string().into_bytes(),
            Self::Qos => level(message.qos).to_string().into_bytes(),
            Self::Retain => u8::from(message.retain).to_string().into_bytes(),
            Self::MsgId => message.msg_id.to_string().into_bytes(),
            Self::Iso8601 => strftime("%Y-%m-%dT%H:%M:%S%z", now).into_bytes(),
            Self::Unix => {
                let now = now.timestamp();
                format!("{}.{:09}", now.as_second(), now.subsec_nanosecond()).into_bytes()
            }
            Self::Absent => Vec::new(),
        }
    }
}

impl Padding {
    fn write(self, value: &[u8], line: &mut Vec<u8>) {
        let value = &value[..value.len().min(self.max.unwrap_or(usize::MAX))];
        let missing = self.width.saturating_sub(value.len());
        match self.fill {
            Fill::BlanksLeft => {
                line.resize(line.len() + missing, b' ');
                line.extend_from_slice(value);
            }
            Fill::ZerosLeft => {
                line.resize(line.len() + missing, b'0');
                line.extend_from_slice(value);
            }
            Fill::BlanksRight => {
                line.extend_from_slice(value);
                line.resize(line.len() + missing, b' ');
            }
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    tst: String,
    topic: &'a str,
    qos: u8,
    retain: u8,
    payloadlen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    mid: Option<u16>,
    payload: serde_json::Value,
}

fn json(message: &Received<'_>, now: &Zoned, payload: PayloadAs) -> Result<String, PrintError> {
    let topic = String::from_utf8_lossy(message.topic);
    let not_json = |_| PrintError::NotJson(topic.clone().into_owned());
    let json = Json {
        tst: strftime("%Y-%m-%dT%H:%M:%S.%6f%z", now),
        topic: &topic,
        qos: level(message.qos),
        retain: message.retain.into(),
        payloadlen: message.payload.len(),
        mid: (message.qos > Qos::AtMostOnce).then_some(message.msg_id.0),
        payload: match payload {
            PayloadAs::Text => String::from_utf8_lossy(message.payload).into(),
            PayloadAs::Json => serde_json::from_slice(message.payload).map_err(not_json)?,
        },
    };
    serde_json::to_string(&json).map_err(not_json)
}

fn level(qos: Qos) -> u8 {
    match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    }
}

/// The format was tried out when it was parsed, so that the empty string never shows.
fn strftime(format: &str, now: &Zoned) -> String {
    strtime::format(format, now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Received<'_> =
        Received { topic: b"a/b", payload: b"hi \"q\"", qos: Qos::AtLeastOnce, retain: true, msg_id: MsgId(7) };

    fn print(format: &str, message: &Received<'_>) -> Result<String, PrintError> {
        let now: Zoned = "2020-05-06T22:12:03.000786368+01:00[+01:00]".parse().unwrap();
        let mut out = Vec::new();
        Format::parse(format).unwrap().write(&mut out, message, &now)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn printed(format: &str) -> String {
        print(format, &MESSAGE).unwrap()
    }

    #[test]
    fn parameters_show_the_parts_of_a_message() {
        assert_eq!(printed("%t|%p|%q|%r|%l|%m|%x|%X|%%"), "a/b|hi \"q\"|1|1|6|7|686920227122|686920227122|%");
        assert_eq!(printed("[%A%C%D%E%F%P%R%S]"), "[]");
    }

    #[test]
    fn times_are_shown_as_mosquitto_sub_shows_them() {
        assert_eq!(printed("%I %U"), "2020-05-06T22:12:03+0100 1588799523.000786368");
        assert_eq!(printed("@Y-@m-@dT@H:@M:@S@z @N @@"), "2020-05-06T22:12:03+0100 000786368 @");
    }

    #[test]
    fn widths_pad_and_cut() {
        assert_eq!(printed("[%5t][%-5t][%05l][%5.2t][%.2t][%0-3q]"), "[  a/b][a/b  ][00006][   a/][a/][1  ]");
    }

    #[test]
    fn escapes_stand_for_control_characters() {
        assert_eq!(printed(r"\n\t\\\e\0\a\r\v"), "\n\t\\\x1B\0\x07\r\x0B");
    }

    #[test]
    fn json_carries_the_payload_as_text_or_as_json() {
        let head =
            r#"{"tst":"2020-05-06T22:12:03.000786+0100","topic":"a/b","qos":1,"retain":1,"payloadlen":6,"mid":7"#;
        assert_eq!(printed("%j"), format!(r#"{head},"payload":"hi \"q\""}}"#));
        let message = Received { payload: br#"{"b":1, "a": [ ]}"#, qos: Qos::AtMostOnce, retain: false, ..MESSAGE };
        let head = r#"{"tst":"2020-05-06T22:12:03.000786+0100","topic":"a/b","qos":0,"retain":0,"payloadlen":17"#;
        assert_eq!(print("%J", &message).unwrap(), format!(r#"{head},"payload":{{"b":1,"a":[]}}}}"#));
        assert_eq!(print("%J", &MESSAGE).unwrap_err().to_string(), "message payload is not valid JSON on topic a/b");
    }

    #[test]
    fn binary_payloads_are_printed_as_they_are() {
        let mut out = Vec::new();
        let message = Received { payload: &[0, 0xFF, b'A'], ..MESSAGE };
        Format::parse("%p %x").unwrap().write(&mut out, &message, &Zoned::now()).unwrap();
        assert_eq!(out, b"\x00\xFFA 00ff41");
    }

    #[test]
    fn a_mistake_in_a_format_is_named() {
        assert_eq!(Format::parse("x%"), Err(FormatError::Incomplete('%')));
        assert_eq!(Format::parse("x@"), Err(FormatError::Incomplete('@')));
        assert_eq!(Format::parse("x\\"), Err(FormatError::Incomplete('\\')));
        assert_eq!(Format::parse("%z"), Err(FormatError::Parameter('z')));
        assert_eq!(Format::parse(r"\q"), Err(FormatError::Escape('q')));
        assert_eq!(Format::parse("@!"), Err(FormatError::Time('!')));
        assert_eq!(Format::parse("%99999999999999999999999t"), Err(FormatError::Width('t')));
    }
}
