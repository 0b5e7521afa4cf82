//! `decode`: explains frames that are given in hexadecimal, octet by octet.

mod hex;
mod words;

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, bail};

pub use hex::{HexError, Problem};

use crate::wire::{Envelope, Message};

/// Characters of the longest line: a frame of 65,535 octets, written generously.
const LONGEST_LINE: usize = 512 * 1024;
/// Forwarders behind forwarders that are looked through.
const MAX_NESTING: usize = 8;
/// Octets of a field that are shown.
const OCTETS_SHOWN: usize = 8;
const ENCAPSULATED: u8 = 0xFE;
const LONG_FORM: u8 = 0x01;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub frames: usize,
    /// Those that are no MQTT-SN 1.2.
    pub malformed: usize,
    /// Lines that are no hexadecimal.
    pub unreadable: usize,
}

/// Explains the frames in `lines`, one a line, to `out`. Empty lines and lines that begin with `#` are passed over.
///
/// A frame that is malformed is explained as far as it goes; a line that is no hexadecimal is told to `complain`, and the
/// next one is read.
pub fn run(
    mut lines: impl BufRead,
    out: &mut impl Write,
    mut complain: impl FnMut(&HexError),
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let length = lines
            .by_ref()
            .take(LONGEST_LINE as u64)
            .read_line(&mut line)
            .with_context(|| format!("line {number} cannot be read"))?;
        if length == 0 {
            break;
        }
        if length == LONGEST_LINE && !line.ends_with('\n') {
            bail!("line {number} is longer than any frame; give one frame a line");
        }
        let text = line.trim_end();
        if text.trim_start().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        let frame = match hex::parse(number, text) {
            Ok(frame) => frame,
            Err(error) => {
                summary.unreadable += 1;
                complain(&error);
                continue;
            }
        };
        if summary.frames > 0 {
            writeln!(out)?;
        }
        summary.frames += 1;
        summary.malformed += usize::from(explain(&frame, out)? == Verdict::Malformed);
    }
    Ok(summary)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Readable,
    Malformed,
}

/// One line of an explanation.
struct Row<'a> {
    octets: &'a [u8],
    name: &'static str,
    meaning: String,
}

fn explain(frame: &[u8], out: &mut impl Write) -> io::Result<Verdict> {
    let mut rows = Vec::new();
    let read = Envelope::open(frame, MAX_NESTING).and_then(|envelope| {
        push_layers(&mut rows, envelope);
        Ok((envelope, Message::decode(envelope.message())?))
    });
    let unread = rows.iter().fold(frame, |rest, row| rest.get(row.octets.len()..).unwrap_or_default());
    let body = push_header(&mut rows, unread);
    let (title, verdict, remarks) = match read {
        Ok((envelope, message)) => {
            push_fields(&mut rows, &message, body);
            let objections = [envelope.objection(), message.objection()];
            let remarks = objections.into_iter().flatten().map(|objection| objection.to_string()).collect();
            (envelope.to_string(), Verdict::Readable, remarks)
        }
        Err(error) => {
            if !body.is_empty() {
                rows.push(Row { octets: body, name: "?", meaning: "not read".into() });
            }
            ("MALFORMED".into(), Verdict::Malformed, vec![error.to_string()])
        }
    };
    writeln!(out, "{title}")?;
    write_rows(&rows, out)?;
    remarks.iter().try_for_each(|remark| writeln!(out, "   !  {remark}"))?;
    Ok(verdict)
}

fn push_layers<'a>(rows: &mut Vec<Row<'a>>, envelope: Envelope<'a>) {
    let mut rest = envelope.wrapper();
    for layer in envelope.layers() {
        let (wrapper, inner) = rest.split_at(layer.len());
        rest = inner;
        let (header, node_id) = wrapper.split_at(wrapper.len() - layer.node_id.len());
        let mut octets = header.chunks(1);
        let mut push = |name, octets: Option<&'a [u8]>, meaning| {
            rows.push(Row { octets: octets.unwrap_or_default(), name, meaning });
        };
        push("Length", octets.next(), format!("{} octets, up to the message inside", layer.len()));
        push("MsgType", octets.next(), words::type_code(ENCAPSULATED));
        push("Ctrl", octets.next(), words::radius(layer.radius()));
        push("WirelessNodeId", Some(node_id), "the node behind the forwarder".into());
    }
}

/// Explains the header as far as it is there, whether or not it is right; returns what is behind it.
fn push_header<'a>(rows: &mut Vec<Row<'a>>, frame: &'a [u8]) -> &'a [u8] {
    let (length, form, rest) = match frame {
        [LONG_FORM, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), "long header", rest),
        [LONG_FORM, ..] | [] => return frame,
        [length, rest @ ..] => (u16::from(*length), "short header", rest),
    };
    let length_octets = &frame[..frame.len() - rest.len()];
    rows.push(Row { octets: length_octets, name: "Length", meaning: format!("{length} octets, {form}") });
    let Some((msg_type, body)) = rest.split_at_checked(1) else { return rest };
    let meaning = msg_type.first().map_or_else(String::new, |&code| words::type_code(code));
    rows.push(Row { octets: msg_type, name: "MsgType", meaning });
    body
}

fn push_fields<'a>(rows: &mut Vec<Row<'a>>, message: &Message<'a>, body: &'a [u8]) {
    let mut rest = body;
    message.fields(&mut |field| {
        let (octets, behind) = rest.split_at_checked(field.len()).unwrap_or_default();
        rest = behind;
        rows.push(Row { octets, name: field.name(), meaning: words::meaning(message.msg_type(), field, octets) });
    });
}

fn write_rows(rows: &[Row<'_>], out: &mut impl Write) -> io::Result<()> {
    let shown: Vec<String> = rows.iter().map(|row| octets_shown(row.octets)).collect();
    let octets_width = shown.iter().map(String::len).max().unwrap_or_default();
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut offset = 0;
    for (row, octets) in rows.iter().zip(&shown) {
        // A field of no octets has a meaning all the same: an empty payload.
        writeln!(out, "{offset:4}  {octets:octets_width$}  {:name_width$}  {}", row.name, row.meaning)?;
        offset += row.octets.len();
    }
    Ok(())
}

fn octets_shown(octets: &[u8]) -> String {
    let in_full = octets.len() <= OCTETS_SHOWN;
    let shown = if in_full { octets } else { octets.get(..OCTETS_SHOWN - 1).unwrap_or_default() };
    let mut words: Vec<String> = shown.iter().map(|octet| format!("{octet:02X}")).collect();
    if !in_full {
        words.push("..".into());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_complaint(error: &HexError) {
        panic!("{error}");
    }

    fn explained(lines: &str) -> String {
        let mut out = Vec::new();
        run(lines.as_bytes(), &mut out, no_complaint).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_connect_is_explained_field_by_field() {
        assert_eq!(
            explained("0A040401000A756E6F31"),
            r#"CONNECT will=0 clean=1 proto=1 duration=10 clientid="uno1"
   0  0A           Length      10 octets, short header
   1  04           MsgType     CONNECT
   2  04           Flags       no will, clean session
   3  01           ProtocolId  1, MQTT-SN 1.2
   4  00 0A        Duration    keep-alive 10 s
   6  75 6E 6F 31  ClientId    "uno1"
"#
        );
    }

    #[test]
    fn an_encapsulated_publish_with_a_long_header_is_explained_with_its_wrapper() {
        assert_eq!(
            explained("05:fe:03:1a:2b 01:00:12:0c:f2:54:31:00:07:00:01:02:03:04:05:06:07:08"),
            r#"ENCAPS radius=3 node=1a2b { PUBLISH dup=1 qos=-1 retain=1 tit=short topic="T1" msgid=7 data=000102030405060708 }
   0  05                       Length          5 octets, up to the message inside
   1  FE                       MsgType         forwarder encapsulation
   2  03                       Ctrl            broadcast radius 3
   3  1A 2B                    WirelessNodeId  the node behind the forwarder
   5  01 00 12                 Length          18 octets, long header
   8  0C                       MsgType         PUBLISH
   9  F2                       Flags           DUP: sent again, QoS -1, retain, short topic name
  10  54 31                    TopicName       "T1"
  12  00 07                    MsgId           7
  14  00 01 02 03 04 05 06 ..  Data            binary, length 9
   !  message id 7 should be 0, for nothing answers QoS 0 and -1
"#
        );
    }

    #[test]
    fn what_is_ignored_and_what_is_forbidden_is_pointed_out() {
        assert_eq!(
            explained("08 04 F7 02 00 3C 63 31"),
            r#"CONNECT will=0 clean=1 proto=2 duration=60 clientid="c1"
   0  08     Length      8 octets, short header
   1  04     MsgType     CONNECT
   2  F7     Flags       no will, clean session, bits F3 are set and have no meaning here
   3  02     ProtocolId  2, unknown
   4  00 3C  Duration    keep-alive 60 s
   6  63 31  ClientId    "c1"
   !  protocol id 2 is not 1, MQTT-SN 1.2
"#
        );
    }

    #[test]
    fn a_malformed_frame_is_explained_as_far_as_it_goes() {
        assert_eq!(
            explained("05fe001a2b 0804040100"),
            "MALFORMED
   0  05        Length          5 octets, up to the message inside
   1  FE        MsgType         forwarder encapsulation
   2  00        Ctrl            broadcast radius 0
   3  1A 2B     WirelessNodeId  the node behind the forwarder
   5  08        Length          8 octets, short header
   6  04        MsgType         CONNECT
   7  04 01 00  ?               not read
   !  Length says 8, but the message has 5 octets
"
        );
        assert_eq!(
            explained("020C"),
            "MALFORMED
   0  02  Length   2 octets, short header
   1  0C  MsgType  PUBLISH
   !  PUBLISH has a body of length 0; it must be at least 5
"
        );
        assert_eq!(
            explained("01"),
            "MALFORMED
   0  01  ?  not read
   !  the message's length is 1; the shortest has 2 octets
"
        );
    }

    #[test]
    fn every_line_is_a_frame_and_malformed_ones_are_counted() {
        let mut out = Vec::new();
        let summary = run("# a note\n0217\n\n  0216 \r\n02fd".as_bytes(), &mut out, no_complaint).unwrap();
        assert_eq!(summary, Summary { frames: 3, malformed: 1, unreadable: 0 });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PINGRESP
   0  02  Length   2 octets, short header
   1  17  MsgType  PINGRESP

PINGREQ clientid=-
   0  02  Length   2 octets, short header
   1  16  MsgType  PINGREQ

MALFORMED
   0  02  Length   2 octets, short header
   1  FD  MsgType  reserved
   !  message type FD is reserved
"
        );
    }

    #[test]
    fn a_line_that_is_no_hexadecimal_is_passed_over_and_the_place_is_named() {
        let mut places = Vec::new();
        let lines = "0217\n02 1g\nnot at all\n0216".as_bytes();
        let summary = run(lines, &mut Vec::new(), |error| places.push((error.line, error.column))).unwrap();
        assert_eq!(summary, Summary { frames: 2, malformed: 0, unreadable: 2 });
        assert_eq!(places, [(2, 5), (3, 1)]);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let error = run(io::BufReader::new(io::repeat(b'0')), &mut Vec::new(), no_complaint).unwrap_err();
        assert_eq!(error.to_string(), "line 1 is longer than any frame; give one frame a line");
    }

    #[test]
    fn no_frame_of_the_fixtures_is_beyond_explanation() {
        let table = include_str!("../../fixtures/mqtt-sn-1.2/frames.tsv");
        let frames: Vec<&str> = table.lines().skip(1).filter_map(|row| row.split('\t').nth(1)).collect();
        let summary = run(frames.join("\n").as_bytes(), &mut Vec::new(), no_complaint).unwrap();
        assert_eq!(summary, Summary { frames: 179, malformed: 45, unreadable: 0 });
    }
}
