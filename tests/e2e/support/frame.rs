//! Frames as the tests write them: octets in hexadecimal, text in quotes.
//!
//! `LL 0A 0000 0001 'iot/home/greet'` is a REGISTER. `LL` stands for the length of the frame, so that it need not be
//! counted; `????` in an expected frame stands for two octets that the test does not know yet. Nothing here knows a
//! message: the tests are an opinion of their own about the protocol.

/// Writes the frame out.
pub fn octets(frame: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for word in words(frame) {
        match word {
            Word::Octets(known) => octets.extend(known),
            Word::Length => octets.push(0),
            Word::Unknown(_) => panic!("{frame:?}: ? has no meaning in a frame that is sent"),
        }
    }
    if frame.starts_with("LL") {
        octets[0] = u8::try_from(octets.len()).expect("frames of up to 255 octets have LL");
    }
    octets
}

/// Compares octets with a frame and returns what stands where the frame has `?`, word by word and in hexadecimal.
pub fn matches(frame: &str, received: &[u8]) -> Option<Vec<String>> {
    let mut unknown = Vec::new();
    let mut rest = received;
    for word in words(frame) {
        match word {
            Word::Octets(known) => rest = rest.strip_prefix(known.as_slice())?,
            Word::Length => {
                let (length, after) = rest.split_first()?;
                rest = (usize::from(*length) == received.len()).then_some(after)?;
            }
            Word::Unknown(octets) => {
                let (found, after) = rest.split_at_checked(octets)?;
                unknown.push(hex(found));
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(unknown)
}

/// Writes octets in hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect()
}

/// Takes the first frame off a stream of octets.
pub fn take_first(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = match stream.as_slice() {
        [0x01, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        [0x01, ..] | [] => return None,
        [length, ..] => usize::from(*length),
    };
    (stream.len() >= length).then(|| stream.drain(..length).collect())
}

enum Word {
    Octets(Vec<u8>),
    Length,
    Unknown(usize),
}

fn words(frame: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for (index, part) in frame.split('\'').enumerate() {
        let quoted = index % 2 == 1;
        if quoted {
            words.push(Word::Octets(part.into()));
        } else {
            words.extend(part.split_whitespace().map(|digits| word(frame, digits)));
        }
    }
    words
}

fn word(frame: &str, digits: &str) -> Word {
    match digits {
        "LL" => Word::Length,
        _ if digits.chars().all(|digit| digit == '?') => Word::Unknown(digits.len() / 2),
        _ => {
            let octet = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
            let octets: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(octet).collect();
            Word::Octets(octets.unwrap_or_else(|| panic!("{frame:?}: {digits:?} is no octet")))
        }
    }
}

#[test]
fn a_frame_is_written_with_its_length_and_its_text() {
    assert_eq!(octets("LL 0A 0000 0001 'a b'"), [9, 0x0A, 0, 0, 0, 1, b'a', b' ', b'b']);
}

#[test]
fn unknown_octets_are_returned_word_by_word() {
    let received = octets("LL 0A 0102 0304 'x'");
    assert_eq!(matches("LL 0A ???? ???? 'x'", &received).unwrap(), ["0102", "0304"]);
    assert_eq!(matches("LL 0A ???? 0304 ??", &received).unwrap(), ["0102", "78"]);
    assert!(matches("LL 0A ???? 0305 ??", &received).is_none());
}
