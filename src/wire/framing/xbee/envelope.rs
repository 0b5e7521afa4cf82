//! The envelope of an API frame: start octet, length, checksum, and in mode 2 escapes.

use crate::wire::framing::NoiseReason;

const START: u8 = 0x7E;
const ESCAPE: u8 = 0x7D;
const XON: u8 = 0x11;
const XOFF: u8 = 0x13;
/// What an escaped octet is changed by.
const FLIP: u8 = 0x20;

/// Octets that the length can count.
pub(super) const MAX_DATA: usize = 65_535;

/// API mode 2 escapes, API mode 1 does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    Off,
    On,
}

/// What the octets from some place in the stream on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// An API frame that takes so many octets on the line.
    Whole { octets: usize },
    /// So far an API frame, but there is more to come.
    Unfinished,
    /// No API frame starts here.
    Impossible(NoiseReason),
}

/// Judges the octets from the first on, and leaves in `data` what a whole frame says.
///
/// Once not [`Parsed::Unfinished`], more octets do not change the result.
pub(super) fn parse(octets: &[u8], escaping: Escaping, max_data: usize, data: &mut Vec<u8>) -> Parsed {
    data.clear();
    match octets.first() {
        None => return Parsed::Unfinished,
        Some(&START) => {}
        Some(_) => return Parsed::Impossible(NoiseReason::NotAMessage),
    }
    let mut line = Line { octets, at: 1, escaping };
    match read(&mut line, max_data, data) {
        Ok(()) => Parsed::Whole { octets: line.at },
        Err(Stop::End) => Parsed::Unfinished,
        Err(Stop::Spoilt(reason)) => Parsed::Impossible(reason),
    }
}

/// Appends an API frame to `out` as it stands on the line. There must be no more than [`MAX_DATA`] octets.
pub(super) fn write(data: &[u8], escaping: Escaping, out: &mut Vec<u8>) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    out.push(START);
    for octet in length.to_be_bytes().into_iter().chain(data.iter().copied()).chain([checksum(data)]) {
        match (escaping, octet) {
            (Escaping::On, START | ESCAPE | XON | XOFF) => out.extend_from_slice(&[ESCAPE, octet ^ FLIP]),
            (Escaping::On | Escaping::Off, _) => out.push(octet),
        }
    }
}

/// The octets behind the start, unescaped.
struct Line<'a> {
    octets: &'a [u8],
    at: usize,
    escaping: Escaping,
}

enum Stop {
    End,
    Spoilt(NoiseReason),
}

fn read(line: &mut Line<'_>, max_data: usize, data: &mut Vec<u8>) -> Result<(), Stop> {
    let length = usize::from(u16::from_be_bytes([line.next()?, line.next()?]));
    if length == 0 || length > max_data {
        let reason = if length == 0 { NoiseReason::NotAMessage } else { NoiseReason::TooLong };
        return Err(Stop::Spoilt(reason));
    }
    for _ in 0..length {
        data.push(line.next()?);
    }
    if line.next()? == checksum(data) { Ok(()) } else { Err(Stop::Spoilt(NoiseReason::BadChecksum)) }
}

impl Line<'_> {
    fn next(&mut self) -> Result<u8, Stop> {
        let octet = self.raw()?;
        match self.escaping {
            Escaping::Off => Ok(octet),
            Escaping::On if octet == ESCAPE => Ok(self.unescaped_raw()? ^ FLIP),
            Escaping::On => self.no_start(octet),
        }
    }

    fn unescaped_raw(&mut self) -> Result<u8, Stop> {
        let octet = self.raw()?;
        self.no_start(octet)
    }

    /// In mode 2 a start octet is always the start of a frame.
    fn no_start(&self, octet: u8) -> Result<u8, Stop> {
        if octet == START { Err(Stop::Spoilt(NoiseReason::Unfinished)) } else { Ok(octet) }
    }

    fn raw(&mut self) -> Result<u8, Stop> {
        let octet = *self.octets.get(self.at).ok_or(Stop::End)?;
        self.at += 1;
        Ok(octet)
    }
}

fn checksum(data: &[u8]) -> u8 {
    0xFF - data.iter().fold(0_u8, |sum, &octet| sum.wrapping_add(octet))
}
