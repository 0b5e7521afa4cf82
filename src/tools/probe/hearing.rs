//! What was heard on a line, as each framing understands it.

use crate::wire::framing::{Codec, Direction, Found, Framing, Receipt};
use crate::wire::{Envelope, Field, Message};

/// What one baud rate has brought.
#[derive(Debug)]
pub(super) struct Hearing {
    octets: u64,
    first: Vec<u8>,
    ears: Vec<Ear>,
}

/// One framing listening.
#[derive(Debug)]
struct Ear {
    framing: Framing,
    codec: Codec,
    heard: Heard,
}

/// What a framing makes of the octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) frames: u64,
    /// The most frames that stood one behind the other, with nothing but text between them.
    run: u64,
    current_run: u64,
    /// Octets that are neither frame nor text.
    pub(super) noise: u64,
    /// The first frames, in words.
    pub(super) messages: Vec<String>,
    /// The first lines of text.
    pub(super) lines: Vec<String>,
}

/// A framing that makes sense of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) framing: Framing,
    pub(super) heard: Heard,
    /// Others that make as much sense of it.
    pub(super) as_well: Vec<Framing>,
}

/// Octets of the longest frame that is looked for.
const MAX_FRAME: usize = 1_024;
/// Frames and lines that are kept to be shown.
const SHOWN: usize = 5;
/// Octets that are kept to be shown.
const FIRST: usize = 16;
/// So many frames in a row are no coincidence.
const ENOUGH: u64 = 3;
/// Forwarders that a frame may have passed.
const MAX_NESTING: usize = 8;

impl Hearing {
    pub(super) fn new() -> Self {
        let ear = |framing| Ear {
            framing,
            codec: Codec::new(framing, Direction::Uplink, MAX_FRAME),
            heard: Heard::default(),
        };
        Self { octets: 0, first: Vec::new(), ears: Framing::ALL.into_iter().map(ear).collect() }
    }

    pub(super) fn feed(&mut self, octets: &[u8]) {
        self.octets = self.octets.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        let room = FIRST - self.first.len();
        self.first.extend(octets.iter().take(room));
        for Ear { codec, heard, .. } in &mut self.ears {
            codec.feed(octets, |found| heard.take(found));
        }
    }

    /// The line has been quiet: what is unfinished stays so.
    pub(super) fn idle(&mut self) {
        for Ear { codec, heard, .. } in self.ears.iter_mut().filter(|ear| ear.codec.is_partial()) {
            codec.idle(|found| heard.take(found));
        }
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The first octets heard.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// The lines of text, if there is more text than noise.
    pub(super) fn lines(&self) -> &[String] {
        let clearest = self.ears.iter().filter(|ear| !ear.heard.lines.is_empty()).min_by_key(|ear| ear.heard.noise);
        match clearest {
            Some(ear) if ear.heard.noise * 2 <= self.octets => &ear.heard.lines,
            Some(_) | None => &[],
        }
    }

    /// Returns the framing that explains most, if there is one that is no coincidence.
    pub(super) fn fit(&self) -> Option<Fit> {
        let is_clear = |heard: &Heard| heard.frames > 0 && heard.noise * 5 <= self.octets;
        let fits = |ear: &&Ear| ear.heard.run >= ENOUGH || is_clear(&ear.heard);
        let best = self.ears.iter().filter(fits).min_by_key(|ear| ear.heard.noise)?;
        let is_equal = |ear: &&Ear| ear.framing != best.framing && ear.heard.noise == best.heard.noise;
        let as_well = self.ears.iter().filter(fits).filter(is_equal).map(|ear| ear.framing).collect();
        Some(Fit { framing: best.framing, heard: best.heard.clone(), as_well })
    }

    /// Whether more of the same would change nothing.
    pub(super) fn is_certain(&self) -> bool {
        self.fit().is_some_and(|fit| fit.heard.run >= ENOUGH)
    }
}

impl Heard {
    fn take(&mut self, found: Found<'_>) {
        match found {
            Found::Frame(received) => self.take_frame(received.frame),
            Found::Receipt(Receipt::Taken) => self.take_words("a receipt: the dongle took a frame".to_owned()),
            Found::Receipt(Receipt::Refused(refusal)) => self.take_words(format!("a receipt: {refusal}")),
            // Who listens does not answer.
            Found::Answer(_) => {}
            Found::Text(line) => {
                if self.lines.len() < SHOWN {
                    self.lines.push(line.to_owned());
                }
            }
            Found::Noise(noise) => self.take_noise(noise.octets),
        }
    }

    fn take_frame(&mut self, frame: &[u8]) {
        match sensible_words(frame) {
            Some(words) => self.take_words(words),
            None => self.take_noise(frame.len()),
        }
    }

    fn take_words(&mut self, words: String) {
        self.frames += 1;
        self.current_run += 1;
        self.run = self.run.max(self.current_run);
        if self.messages.len() < SHOWN {
            self.messages.push(words);
        }
    }

    fn take_noise(&mut self, octets: usize) {
        self.noise = self.noise.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
        self.current_run = 0;
    }
}

/// Returns the message in words if a device may have meant it. A framing without a checksum finds messages in any noise,
/// but hardly any whose names can be read.
fn sensible_words(frame: &[u8]) -> Option<String> {
    let envelope = Envelope::open(frame, MAX_NESTING).ok()?;
    let mut is_readable = true;
    Message::decode(envelope.message()).ok()?.fields(&mut |field| {
        is_readable &= match field {
            Field::ClientId(text) | Field::TopicName(text) | Field::WillTopic(text) | Field::WillMsg(text) => {
                str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control))
            }
            Field::ShortTopic(text) => text.iter().all(u8::is_ascii_graphic),
            Field::Flags { .. }
            | Field::GwId(_)
            | Field::GwAdd(_)
            | Field::Duration(_)
            | Field::Radius(_)
            | Field::ProtocolId(_)
            | Field::ReturnCode(_)
            | Field::TopicId(_)
            | Field::MsgId(_)
            | Field::Data(_) => true,
        };
    });
    is_readable.then(|| envelope.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::framing::Destination;

    /// A CONNECT and a PUBLISH, as a node says them.
    const FRAMES: [&[u8]; 2] =
        [&[10, 4, 4, 1, 0, 60, b'u', b'n', b'o', b'1'], &[9, 0x0C, 0x20, 0, 1, 0, 7, b'2', b'1']];

    fn line(framing: Framing, rounds: usize) -> Vec<u8> {
        let (mut node, mut octets) = (Codec::new(framing, Direction::Downlink, MAX_FRAME), Vec::new());
        for frame in FRAMES.repeat(rounds) {
            node.encode(Destination::Node(framing.sole_node()), frame, &mut octets).unwrap();
        }
        octets
    }

    #[test]
    fn every_framing_is_recognised() {
        for framing in Framing::ALL {
            let mut hearing = Hearing::new();
            hearing.feed(&line(framing, 2));
            hearing.idle();
            let fit = hearing.fit().unwrap();
            assert!(fit.framing == framing || fit.as_well.contains(&framing), "{framing}: {fit:?}");
            assert_eq!((fit.heard.frames, hearing.is_certain()), (4, true), "{framing}");
            assert!(fit.heard.messages[0].contains("uno1"), "{fit:?}");
        }
    }

    #[test]
    fn a_dongle_that_only_answers_is_known_by_its_receipts() {
        let mut hearing = Hearing::new();
        // Transmit status of an XBee in 802.15.4: delivered, and no acknowledgement from the node.
        hearing.feed(b"\x7E\x00\x03\x89\x01\x00\x75");
        hearing.feed(&b"\x7E\x00\x03\x89\x02\x01\x73".repeat(2));
        let fit = hearing.fit().unwrap();
        assert_eq!((fit.framing, fit.as_well.as_slice()), (Framing::Xbee, [Framing::XbeeEscaped].as_slice()));
        assert!(hearing.is_certain());
        assert_eq!(fit.heard.messages[0], "a receipt: the dongle took a frame");
        assert!(fit.heard.messages[1].starts_with("a receipt: XBee delivery status 01"), "{fit:?}");
    }

    #[test]
    fn boot_text_before_the_frames_does_not_mislead() {
        let mut hearing = Hearing::new();
        hearing.feed(b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET)\r\n");
        hearing.feed(&line(Framing::SlipCrc, 1));
        let fit = hearing.fit().unwrap();
        assert_eq!(fit.framing, Framing::SlipCrc);
        assert_eq!(hearing.lines()[0], "ets Jul 29 2019 12:21:46");
    }

    #[test]
    fn noise_fits_nothing() {
        let mut mistaken = 0;
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let noise: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(2_000).collect();
            let mut hearing = Hearing::new();
            hearing.feed(&noise);
            hearing.idle();
            assert_eq!((hearing.octets(), hearing.first()), (2_000, &noise[..16]));
            mistaken += usize::from(hearing.fit().is_some());
        }
        assert!(mistaken <= 2, "{mistaken} of 200");
    }

    #[test]
    fn silence_is_not_certain() {
        assert_eq!(Hearing::new().fit(), None);
        assert!(!Hearing::new().is_certain());
    }
}
