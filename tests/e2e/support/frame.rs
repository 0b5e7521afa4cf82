//! Frames as the tests write them: octets in hexadecimal, text in quotes.
//!
//! `LL 0A 0000 0001 'iot/home/greet'` is a REGISTER. `LL` stands for the length of the frame, so that it need not be
//! counted; `????` in an expected frame stands for octets that the test does not know yet. Nothing here knows a
//! message: the tests are an opinion of their own about the protocol.

/// Writes the frame out.
pub fn octets(frame: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for atom in atoms(frame) {
        match atom {
            Atom::Octet(octet) => octets.push(octet),
            Atom::Length => octets.push(0),
            Atom::Any => panic!("{frame:?}: ?? has no meaning in a frame that is sent"),
        }
    }
    if frame.starts_with("LL") {
        octets[0] = u8::try_from(octets.len()).expect("frames of up to 255 octets have LL");
    }
    octets
}

/// Compares octets with a frame and returns what stands where the frame has `?`, in hexadecimal and group by group.
pub fn matches(frame: &str, received: &[u8]) -> Option<Vec<String>> {
    let atoms = atoms(frame);
    if atoms.len() != received.len() {
        return None;
    }
    for (atom, &octet) in atoms.iter().zip(received) {
        let fits = match *atom {
            Atom::Octet(expected) => expected == octet,
            Atom::Length => usize::from(octet) == received.len(),
            Atom::Any => true,
        };
        if !fits {
            return None;
        }
    }
    let runs = atoms.chunk_by(|a, b| matches!((a, b), (Atom::Any, Atom::Any)));
    let mut unknown = Vec::new();
    let mut at = 0;
    for run in runs {
        if matches!(run[0], Atom::Any) {
            unknown.push(hex(&received[at..at + run.len()]));
        }
        at += run.len();
    }
    Some(unknown)
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

#[derive(Clone, Copy)]
enum Atom {
    Octet(u8),
    Length,
    Any,
}

fn atoms(frame: &str) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for (index, part) in frame.split('\'').enumerate() {
        let quoted = index % 2 == 1;
        if quoted {
            atoms.extend(part.bytes().map(Atom::Octet));
        } else {
            let digits: Vec<char> = part.chars().filter(|c| !c.is_whitespace()).collect();
            atoms.extend(digits.chunks(2).map(|pair| atom(frame, pair)));
        }
    }
    atoms
}

fn atom(frame: &str, pair: &[char]) -> Atom {
    match pair {
        ['L', 'L'] => Atom::Length,
        ['?', '?'] => Atom::Any,
        _ => {
            let digits: String = pair.iter().collect();
            Atom::Octet(u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("{frame:?}: {digits:?} is no octet")))
        }
    }
}

#[test]
fn a_frame_is_written_with_its_length_and_its_text() {
    assert_eq!(octets("LL 0A 0000 0001 'a b'"), [9, 0x0A, 0, 0, 0, 1, b'a', b' ', b'b']);
}

#[test]
fn unknown_octets_are_returned_group_by_group() {
    let received = octets("LL 0A 0102 0304 'x'");
    assert_eq!(matches("LL 0A ???? 0304 ??", &received).unwrap(), ["0102", "78"]);
    assert!(matches("LL 0A ???? 0305 ??", &received).is_none());
}
