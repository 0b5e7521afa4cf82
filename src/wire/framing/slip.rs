//! SLIP (RFC 1055), without a checksum or with a CRC-16/XMODEM behind the frame.

use std::time::Duration;

use crc::{CRC_16_XMODEM, Crc};

use super::plausible::{Verdict, judge};
use super::residue::{is_text, report};
use super::{Deframe, Direction, Found, MIN_FRAME, NoiseReason, Scheme, Sink};

pub(super) const SCHEME: Scheme = Scheme {
    name: "slip",
    gap: GAP,
    deframer: |direction, max_frame| Box::new(Slip::new(Check::Plausible(direction), max_frame)),
    encode: |frame, out| enclose(frame.iter().copied(), out),
};

pub(super) const SCHEME_WITH_CRC: Scheme = Scheme {
    name: "slip-crc",
    gap: GAP,
    deframer: |_, max_frame| Box::new(Slip::new(Check::Crc, max_frame)),
    encode: |frame, out| enclose(frame.iter().copied().chain(CRC.checksum(frame).to_le_bytes()), out),
};

/// END resynchronises by itself; the gap only keeps a frame without its END from spoiling the next one.
const GAP: Duration = Duration::from_millis(500);

const END: u8 = 0xC0;
const ESC: u8 = 0xDB;
const ESC_END: u8 = 0xDC;
const ESC_ESC: u8 = 0xDD;

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
const CRC_OCTETS: usize = 2;

/// Writes END first, too: it closes whatever noise the line picked up before, and some firmware waits for it.
fn enclose(content: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    out.push(END);
    for octet in content {
        match octet {
            END => out.extend_from_slice(&[ESC, ESC_END]),
            ESC => out.extend_from_slice(&[ESC, ESC_ESC]),
            plain => out.push(plain),
        }
    }
    out.push(END);
}

/// What tells a frame from noise that stood between two ENDs.
#[derive(Clone, Copy, Debug)]
enum Check {
    /// It looks like a message of the direction.
    Plausible(Direction),
    Crc,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Content,
    /// After ESC.
    Escape,
    /// The frame is spoilt: skip to the next END.
    Spoilt(NoiseReason),
}

#[derive(Debug)]
struct Slip {
    check: Check,
    max_content: usize,
    state: State,
    /// The unescaped octets since the last END; at most `max_content`.
    content: Vec<u8>,
    /// How many octets there were on the line since the last END.
    octets: usize,
}

impl Slip {
    fn new(check: Check, max_frame: usize) -> Self {
        let max_content = match check {
            Check::Plausible(_) => max_frame,
            Check::Crc => max_frame.saturating_add(CRC_OCTETS),
        };
        Self { check, max_content, state: State::Content, content: Vec::new(), octets: 0 }
    }

    fn push(&mut self, octet: u8, sink: &mut Sink<'_>) {
        if self.content.len() == self.max_content {
            self.state = State::Spoilt(NoiseReason::TooLong);
            return;
        }
        self.content.push(octet);
        self.state = State::Content;
        // No message has a printable octet for its type, so this is a line of text, and there may be no END for long.
        // A type may well be a white space: 09 is WILLMSG, and the message behind it may have lines.
        if octet == b'\n'
            && self.content.get(1).is_some_and(|&msg_type| msg_type >= b' ')
            && self.content[..self.content.len() - 1].iter().all(|&c| is_text(c))
        {
            self.give_up(NoiseReason::NotAMessage, sink);
        }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        match self.state {
            // Frames have an END on both sides, so that between two frames there is an empty one.
            State::Content if self.content.is_empty() => self.restart(),
            State::Content => match self.checked() {
                Ok(frame) => {
                    sink(Found::Frame(frame));
                    self.restart();
                }
                Err(reason) => self.give_up(reason, sink),
            },
            State::Escape => self.give_up(NoiseReason::BadEscape, sink),
            State::Spoilt(reason) => self.give_up(reason, sink),
        }
    }

    fn checked(&self) -> Result<&[u8], NoiseReason> {
        match self.check {
            Check::Plausible(direction) => {
                let whole = Verdict::Frame(self.content.len());
                let verdict = judge(&self.content, direction, self.max_content);
                if verdict == whole { Ok(&self.content) } else { Err(NoiseReason::NotAMessage) }
            }
            Check::Crc => match self.content.split_last_chunk::<CRC_OCTETS>() {
                Some((frame, sum)) if frame.len() >= MIN_FRAME && CRC.checksum(frame) == u16::from_le_bytes(*sum) => {
                    Ok(frame)
                }
                Some(_) | None => Err(NoiseReason::BadChecksum),
            },
        }
    }

    fn give_up(&mut self, reason: NoiseReason, sink: &mut Sink<'_>) {
        report(&self.content, self.octets, reason, sink);
        self.restart();
    }

    fn restart(&mut self) {
        self.state = State::Content;
        self.content.clear();
        self.octets = 0;
    }
}

impl Deframe for Slip {
    fn feed(&mut self, octets: &[u8], sink: &mut Sink<'_>) {
        for &octet in octets {
            if octet == END {
                self.end(sink);
                continue;
            }
            self.octets = self.octets.saturating_add(1);
            match (self.state, octet) {
                (State::Spoilt(_), _) => {}
                (State::Content, ESC) => self.state = State::Escape,
                (State::Content, plain) => self.push(plain, sink),
                (State::Escape, ESC_END) => self.push(END, sink),
                (State::Escape, ESC_ESC) => self.push(ESC, sink),
                (State::Escape, _) => self.state = State::Spoilt(NoiseReason::BadEscape),
            }
        }
    }

    fn idle(&mut self, sink: &mut Sink<'_>) {
        if self.is_partial() {
            let reason = match self.state {
                State::Content | State::Escape => NoiseReason::Unfinished,
                State::Spoilt(reason) => reason,
            };
            self.give_up(reason, sink);
        }
    }

    fn is_partial(&self) -> bool {
        self.octets > 0
    }
}
