//! Whether octets can be a message of a direction: what a line without checksums has to tell frames from noise.

use super::Direction;

/// What the octets from some place in the stream on look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A frame of so many octets, all there.
    Frame(usize),
    /// So far a frame, but there is more to come.
    Unfinished,
    /// No frame starts here.
    Impossible,
}

/// Judges the octets from the first header on. Once not [`Verdict::Unfinished`], more octets do not change the verdict.
pub(super) fn judge(octets: &[u8], direction: Direction, max_frame: usize) -> Verdict {
    let mut start = 0;
    for _ in 0..=MAX_NESTING {
        match judge_message(&octets[start..], direction, max_frame.saturating_sub(start)) {
            Part::Unfinished => return Verdict::Unfinished,
            Part::Impossible => return Verdict::Impossible,
            Part::Message(length) if start + length <= octets.len() => return Verdict::Frame(start + length),
            Part::Message(_) => return Verdict::Unfinished,
            // The Length of an encapsulation is that of its header; the message inside has one of its own
            // (MQTT-SN 1.2 §5.4.35).
            Part::Encapsulation(length) => start += length,
        }
        if start >= octets.len() {
            return if start + 2 > max_frame { Verdict::Impossible } else { Verdict::Unfinished };
        }
    }
    Verdict::Impossible
}

/// Forwarders behind forwarders. One exists in the field; a limit keeps a judgement cheap.
const MAX_NESTING: usize = 4;

enum Part {
    /// A message of so many octets, which may not all be there.
    Message(usize),
    /// The header of a forwarder encapsulation, of so many octets.
    Encapsulation(usize),
    Unfinished,
    Impossible,
}

fn judge_message(octets: &[u8], direction: Direction, max: usize) -> Part {
    let (length, msg_type, body) = match *octets {
        [] => return Part::Unfinished,
        // A Length of 1 announces the long form: two more octets of Length (MQTT-SN 1.2 §5.2.1).
        [1, high, low, ref rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length < 4 || length > max {
                return Part::Impossible;
            }
            let [msg_type, body @ ..] = rest else {
                return Part::Unfinished;
            };
            (length, *msg_type, Body { present: body, octets: length - 4 })
        }
        [1, ..] => return Part::Unfinished,
        [length, ref rest @ ..] => {
            let length = usize::from(length);
            if length < 2 || length > max {
                return Part::Impossible;
            }
            let [msg_type, body @ ..] = rest else {
                return Part::Unfinished;
            };
            (length, *msg_type, Body { present: body, octets: length - 2 })
        }
    };
    if !length_fits(direction, msg_type, body.octets)
        || !fields_fit(direction, msg_type, body)
        || is_line_end(direction, octets)
    {
        Part::Impossible
    } else if msg_type == ENCAPSULATED {
        Part::Encapsulation(length)
    } else {
        Part::Message(length)
    }
}

/// What follows the message type: how much of it the header announces, and the part that is there.
#[derive(Clone, Copy)]
struct Body<'a> {
    octets: usize,
    present: &'a [u8],
}

const ENCAPSULATED: u8 = 0xFE;

/// Returns whether a message of this type travels in this direction, with a body of so many octets.
fn length_fits(direction: Direction, msg_type: u8, octets: usize) -> bool {
    use Direction::{Downlink, Uplink};
    match (direction, msg_type) {
        (Downlink, 0x00) => octets == 3,                 // ADVERTISE
        (Uplink, 0x01) => octets == 1,                   // SEARCHGW
        (Downlink, 0x02) => octets >= 1,                 // GWINFO
        (Uplink, 0x04) => octets >= 4,                   // CONNECT
        (Downlink, 0x05) => octets == 1,                 // CONNACK
        (Downlink, 0x06) => octets == 0,                 // WILLTOPICREQ
        (Uplink, 0x07) => true,                          // WILLTOPIC
        (Downlink, 0x08) => octets == 0,                 // WILLMSGREQ
        (Uplink, 0x09) => true,                          // WILLMSG
        (Uplink | Downlink, 0x0A) => octets >= 4,        // REGISTER
        (Uplink | Downlink, 0x0B | 0x0D) => octets == 5, // REGACK, PUBACK
        (Uplink | Downlink, 0x0C) => octets >= 5,        // PUBLISH
        (Uplink | Downlink, 0x0E..=0x10) => octets == 2, // PUBCOMP, PUBREC, PUBREL
        (Uplink, 0x12 | 0x14) => octets >= 3,            // SUBSCRIBE, UNSUBSCRIBE
        (Downlink, 0x13) => octets == 6,                 // SUBACK
        (Downlink, 0x15) => octets == 2,                 // UNSUBACK
        (Uplink, 0x16) => true,                          // PINGREQ
        (Downlink, 0x16) => octets == 0,                 // PINGREQ
        (Uplink | Downlink, 0x17) => octets == 0,        // PINGRESP
        (Uplink, 0x18) => octets == 0 || octets == 2,    // DISCONNECT
        (Downlink, 0x18) => octets == 0,                 // DISCONNECT
        (Uplink, 0x1A | 0x1C) => true,                   // WILLTOPICUPD, WILLMSGUPD
        (Downlink, 0x1B | 0x1D) => octets == 1,          // WILLTOPICRESP, WILLMSGRESP
        (Uplink | Downlink, ENCAPSULATED) => (2..=253).contains(&octets),
        (Uplink | Downlink, _) => false,
    }
}

/// Returns whether the fields with few legal values have one, as far as they are there.
fn fields_fit(direction: Direction, msg_type: u8, body: Body<'_>) -> bool {
    let octet = |at: usize| body.present.get(at).copied();
    let return_code = |at: usize| octet(at).is_none_or(|code| code <= 3);
    if !names_fit(msg_type, body) {
        return false;
    }
    match (direction, msg_type) {
        // Protocol id.
        (Direction::Uplink, 0x04) => octet(1).is_none_or(|id| id == 1),
        (Direction::Downlink, 0x05 | 0x1B | 0x1D) => return_code(0),
        (_, 0x0B | 0x0D) => return_code(4),
        // Flags: a message's Length makes a likely message type, and the type behind it unlikely flags.
        (_, 0x0C) => octet(0)
            .is_none_or(|flags| flags & (WILL | CLEAN_SESSION) == 0 && flags & TOPIC_ID_TYPE != RESERVED_TOPIC_ID_TYPE),
        (Direction::Uplink, 0x12 | 0x14) => octet(0).is_none_or(|flags| {
            flags & (RETAIN | WILL | CLEAN_SESSION) == 0
                && match flags & TOPIC_ID_TYPE {
                    TOPIC_NAME => true,
                    RESERVED_TOPIC_ID_TYPE => false,
                    // A topic id or a short name: two octets.
                    _ => body.octets == 5,
                }
        }),
        (Direction::Downlink, 0x13) => return_code(5),
        // Ctrl: all but the broadcast radius is reserved.
        (_, ENCAPSULATED) => octet(0).is_none_or(|ctrl| ctrl & !3 == 0),
        (Direction::Uplink | Direction::Downlink, _) => true,
    }
}

/// Returns whether topic names, as far as they are there, hold only what topic names hold.
///
/// What follows a false header is mostly the beginning of the next message, and that has zeros in it.
fn names_fit(msg_type: u8, body: Body<'_>) -> bool {
    let name_at = match (msg_type, body.present.first()) {
        (0x0A, _) => 4,
        (0x12 | 0x14, Some(flags)) if flags & TOPIC_ID_TYPE == TOPIC_NAME => 3,
        _ => return true,
    };
    let end = body.octets.min(body.present.len());
    let name = body.present.get(name_at..end).unwrap_or_default();
    // Firmware in C may send the zero at the end as well.
    let name = if end == body.octets { name.strip_suffix(&[0]).unwrap_or(name) } else { name };
    name.iter().all(|&octet| octet >= b' ')
}

/// Returns whether this is CR LF and not a REGISTER of 13 octets: that comes from a client with the TopicId 0
/// (MQTT-SN 1.2 §5.4.10).
fn is_line_end(direction: Direction, octets: &[u8]) -> bool {
    match (direction, octets) {
        (Direction::Uplink, [b'\r', b'\n', topic_id @ ..]) => topic_id.iter().take(2).any(|&octet| octet != 0),
        (Direction::Uplink | Direction::Downlink, _) => false,
    }
}

const RETAIN: u8 = 0x10;
const WILL: u8 = 0x08;
const CLEAN_SESSION: u8 = 0x04;
const TOPIC_ID_TYPE: u8 = 0x03;
const TOPIC_NAME: u8 = 0x00;
const RESERVED_TOPIC_ID_TYPE: u8 = 0x03;

#[cfg(test)]
mod tests {
    use super::Direction::{Downlink, Uplink};
    use super::Verdict::{Frame, Impossible, Unfinished};
    use super::*;

    fn uplink(octets: &[u8]) -> Verdict {
        judge(octets, Uplink, 255)
    }

    #[test]
    fn a_frame_ends_where_its_length_says() {
        assert_eq!(uplink(&[3, 1, 0, 9, 9]), Frame(3));
        assert_eq!(uplink(&[1, 0, 5, 1, 0, 9]), Frame(5));
    }

    #[test]
    fn an_encapsulated_frame_ends_where_the_message_inside_ends() {
        assert_eq!(uplink(&[5, 0xFE, 0, 0, 3, 2, 0x18, 9]), Frame(7));
        assert_eq!(uplink(&[5, 0xFE, 0, 0, 9, 5, 0xFE, 0, 0, 3, 2, 0x16]), Frame(12));
        assert_eq!(uplink(&[4, 0xFE, 0, 7, 1, 0, 5, 1, 0]), Frame(9));
    }

    #[test]
    fn a_prefix_of_a_frame_is_unfinished() {
        let frame = [5, 0xFE, 1, 0, 3, 1, 0, 12, 0x0C, 0, 0, 1, 0, 0, 0x41, 0x42, 0x43];
        for end in 0..frame.len() {
            assert_eq!(uplink(&frame[..end]), Unfinished, "{end}");
        }
        assert_eq!(uplink(&frame), Frame(frame.len()));
    }

    #[test]
    fn an_impossible_header_is_refused_as_soon_as_it_shows() {
        for header in [
            &[0][..],                  // no Length
            &[1, 0, 3],                // long Length, shorter than its header
            &[1, 2, 0],                // longer than 255
            &[3, 0x03],                // reserved type
            &[3, 0x05],                // CONNACK comes from a gateway
            &[4, 0x01],                // SEARCHGW of 4
            &[9, 0x0D],                // PUBACK of 9
            &[3, 0x18],                // DISCONNECT of 3
            &[5, 0x04],                // CONNECT of 5
            &[9, 0x04, 4, 2],          // protocol id 2
            &[8, 0x0C, 3],             // reserved topic id type
            &[8, 0x0C, 0x0C],          // will and clean session on a PUBLISH
            &[9, 0x12, 1],             // pre-defined topic id of 4 octets
            &[3, 0xFE],                // no node id
            &[5, 0xFE, 0x80],          // reserved bits in Ctrl
            &[4, 0xFE, 0, 9, 0],       // a Length of 0 inside
            &[7, 0x0D, 0, 1, 0, 1, 9], // return code 9
        ] {
            assert_eq!(uplink(header), Impossible, "{header:02x?}");
            assert_eq!(uplink(&header[..header.len() - 1]), Unfinished, "{header:02x?}");
        }
    }

    #[test]
    fn each_direction_has_its_types() {
        assert_eq!(judge(&[3, 5, 0], Downlink, 255), Frame(3));
        assert_eq!(judge(&[3, 1, 0], Downlink, 255), Impossible);
        assert_eq!(judge(&[5, 0, 1, 3, 0x84], Downlink, 255), Frame(5));
        assert_eq!(judge(&[8, 0x13, 0, 0, 1, 0, 1, 0], Downlink, 255), Frame(8));
    }

    #[test]
    fn a_frame_that_cannot_fit_is_impossible_not_unfinished() {
        assert_eq!(judge(&[9, 0x0C], Uplink, 8), Impossible);
        assert_eq!(judge(&[8, 0xFE, 0, 1, 2, 3, 4, 5], Uplink, 9), Impossible);
        for max_frame in 2..32 {
            let nested = [4, 0xFE, 0, 1].repeat(16);
            assert_eq!(judge(&nested[..max_frame], Uplink, max_frame), Impossible, "{max_frame}");
        }
    }
}
