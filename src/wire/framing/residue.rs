//! What is left of the stream when the frames are out of it: lines of text, and noise.

use std::borrow::Cow;

use super::{Found, Noise, NoiseReason, Sink};

/// Gathers octets that belong to no frame until a line, or a run of noise, is complete.
#[derive(Debug, Default)]
pub(super) struct Residue {
    run: Vec<u8>,
    reason: Option<NoiseReason>,
}

impl Residue {
    /// Octets after which a run is given even if it goes on.
    const MAX_RUN: usize = 256;

    /// Takes one octet; a line end completes the run.
    pub(super) fn push(&mut self, octet: u8, reason: NoiseReason, sink: &mut Sink<'_>) {
        self.reason.get_or_insert(reason);
        self.run.push(octet);
        if octet == b'\n' || self.run.len() == Self::MAX_RUN {
            self.flush(sink);
        }
    }

    /// Gives the run, if there is one.
    pub(super) fn flush(&mut self, sink: &mut Sink<'_>) {
        if let Some(reason) = self.reason.take() {
            report(&self.run, self.run.len(), reason, sink);
        }
        self.run.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.run.is_empty()
    }

    /// Returns whether the first of `rest` ends a line of text, or is the last character before its end.
    ///
    /// A line feed is also the type of REGISTER, and a line end the header of one: without this rule every line of
    /// boot text would hold back the frame behind it.
    pub(super) fn continues_as_text(&self, rest: &[u8]) -> bool {
        let in_text = self.run.len() >= MIN_VISIBLE && self.run.iter().all(|&octet| is_text(octet));
        in_text
            && match *rest {
                [b'\n', ..] => true,
                [octet, b'\n', ..] => is_text(octet),
                _ => false,
            }
    }
}

/// Gives octets that are no frame: as lines of text if that is what they are, otherwise as noise.
///
/// `octets` is how many there were on the line, of which `content` may be only the first.
pub(super) fn report(content: &[u8], octets: usize, reason: NoiseReason, sink: &mut Sink<'_>) {
    let Some(text) = as_text(content) else {
        let first = &content[..content.len().min(Noise::MAX_FIRST)];
        return sink(Found::Noise(Noise { octets, first, reason }));
    };
    without_colours(text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .for_each(|line| sink(Found::Text(line)));
}

/// Characters from which on a run of printable octets counts as text.
const MIN_VISIBLE: usize = 3;

const ESCAPE: char = '\x1b';

/// Returns whether an octet may stand in a line of text. A tab may not: it is also the type of WILLMSG.
pub(super) fn is_text(octet: u8) -> bool {
    matches!(octet, b' '..=b'~' | b'\r' | b'\x1b')
}

fn as_text(content: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(content).ok()?;
    let visible = |character: &char| !character.is_control() && !character.is_whitespace();
    let blank = |character: char| character.is_whitespace() || character == ESCAPE;
    let is_text = text.chars().all(|character| visible(&character) || blank(character));
    (is_text && text.chars().filter(visible).count() >= MIN_VISIBLE).then_some(text)
}

/// Takes out the escape sequences with which firmware colours its log, and which have no business in ours.
fn without_colours(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPE) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split(ESCAPE);
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        // CSI, parameters, and one letter that says what they are for.
        let end = part.strip_prefix('[').and_then(|sequence| sequence.find(|c: char| c.is_ascii_alphabetic()));
        plain.push_str(end.map_or(part, |end| &part[end + 2..]));
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        report(content, content.len(), NoiseReason::NotAMessage, &mut |item| {
            found.push(match item {
                Found::Text(line) => line.to_owned(),
                Found::Noise(noise) => format!("{} {:02x?}", noise.octets, noise.first),
                Found::Frame(_) | Found::Receipt(_) | Found::Answer(_) => unreachable!("a residue is none"),
            });
        });
        found
    }

    #[test]
    fn printable_octets_are_lines_of_text() {
        assert_eq!(found(b"ets Jan  8\r\nrst cause:2\r\n\r\n"), ["ets Jan  8", "rst cause:2"]);
        assert_eq!(found("größer".as_bytes()), ["größer"]);
    }

    #[test]
    fn colours_do_not_reach_the_log() {
        assert_eq!(found(b"\x1b[0;32mI (31) boot\x1b[0m: ok\n"), ["I (31) boot: ok"]);
        assert_eq!(found(b"ok\x1bb\x1b[9"), ["okb[9"]);
    }

    #[test]
    fn other_octets_are_noise_of_which_the_first_are_shown() {
        assert_eq!(found(&[0xFF]), ["1 [ff]"]);
        assert_eq!(found(b"\r\n"), ["2 [0d, 0a]"]);
        assert_eq!(found(&[7; 40]), [format!("40 {:02x?}", [7; 16])]);
    }
}
