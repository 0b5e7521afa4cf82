//! What a serial line says beside its frames, at a rate that a log can bear.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::LinkId;
use crate::links::{LinkEvent, Stage, Undelivered};
use crate::wire::framing::{Noise, NoiseReason};

/// Turns what the line says beside its frames into events: some lines a second, all noise of a second as one, and all
/// frames that a dongle did not send.
#[derive(Debug)]
pub(super) struct Chatter {
    link: LinkId,
    lines: VecDeque<String>,
    lines_left: usize,
    lines_renewed: Instant,
    noise: Option<Gathered>,
    noise_due: Instant,
    /// Octets of frames since the last event about noise.
    in_frames: u64,
    settled_at: Instant,
    undelivered: Option<(u64, Undelivered)>,
    undelivered_due: Instant,
}

/// The noise since the last event.
#[derive(Debug)]
struct Gathered {
    octets: u64,
    first: Vec<u8>,
    reason: NoiseReason,
    stage: Stage,
}

const PERIOD: Duration = Duration::from_secs(1);
/// Lines of text per period. What is beyond counts as noise: a wrong baud rate can look like text as well.
const LINES: usize = 20;

impl Chatter {
    /// Begins with a port that has just been opened, and settles after `settle`.
    pub(super) fn new(link: LinkId, settle: Duration) -> Self {
        let now = Instant::now();
        Self {
            link,
            lines: VecDeque::new(),
            lines_left: LINES,
            lines_renewed: now,
            noise: None,
            noise_due: now,
            in_frames: 0,
            settled_at: now + settle,
            undelivered: None,
            undelivered_due: now,
        }
    }

    pub(super) fn text(&mut self, now: Instant, line: &str) {
        if now.duration_since(self.lines_renewed) >= PERIOD {
            self.lines_renewed = now;
            self.lines_left = LINES;
        }
        if self.lines_left > 0 {
            self.lines_left -= 1;
            self.lines.push_back(line.to_owned());
        } else {
            let first = &line.as_bytes()[..line.len().min(Noise::MAX_FIRST)];
            self.noise(now, Noise { octets: line.len(), first, reason: NoiseReason::NotAMessage });
        }
    }

    pub(super) fn frames(&mut self, octets: usize) {
        self.in_frames = self.in_frames.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
    }

    pub(super) fn noise(&mut self, now: Instant, noise: Noise<'_>) {
        let stage = if now < self.settled_at { Stage::Settling } else { Stage::Settled };
        let gathered = self.noise.get_or_insert_with(|| Gathered {
            octets: 0,
            first: noise.first.to_vec(),
            reason: noise.reason,
            stage,
        });
        gathered.octets = gathered.octets.saturating_add(u64::try_from(noise.octets).unwrap_or(u64::MAX));
    }

    /// Notes a frame that the dongle did not send. Of several in a second the first reason is told.
    pub(super) fn undelivered(&mut self, reason: Undelivered) {
        let (frames, _) = self.undelivered.get_or_insert((0, reason));
        *frames += 1;
    }

    /// Returns when to ask for an event again, if one is held back.
    pub(super) fn due(&self) -> Option<Instant> {
        let noise = self.noise.is_some().then_some(self.noise_due);
        let undelivered = self.undelivered.is_some().then_some(self.undelivered_due);
        [noise, undelivered].into_iter().flatten().min()
    }

    /// Takes the next event that may go out now.
    pub(super) fn next_event(&mut self, now: Instant) -> Option<LinkEvent> {
        if let Some(line) = self.lines.pop_front() {
            return Some(LinkEvent::Text { link: self.link, line });
        }
        if now >= self.undelivered_due
            && let Some((frames, reason)) = self.undelivered.take()
        {
            self.undelivered_due = now + PERIOD;
            return Some(LinkEvent::Undelivered { link: self.link, frames, reason });
        }
        if now < self.noise_due {
            return None;
        }
        let Gathered { octets, first, reason, stage } = self.noise.take()?;
        self.noise_due = now + PERIOD;
        let in_frames = std::mem::take(&mut self.in_frames);
        Some(LinkEvent::Noise { link: self.link, octets, in_frames, first, reason, stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::framing::Refusal;

    const NOISE: Noise<'_> = Noise { octets: 3, first: &[1, 2, 3], reason: NoiseReason::NotAMessage };

    #[test]
    fn noise_is_told_at_once_and_then_once_a_second() {
        let mut chatter = Chatter::new(LinkId(0), Duration::ZERO);
        let start = Instant::now();
        chatter.noise(start, NOISE);
        assert!(matches!(chatter.next_event(start), Some(LinkEvent::Noise { octets: 3, .. })));
        chatter.noise(start, NOISE);
        chatter.noise(start, NOISE);
        assert!(chatter.next_event(start + PERIOD / 2).is_none());
        assert_eq!(chatter.due(), Some(start + PERIOD));
        assert!(matches!(chatter.next_event(start + PERIOD), Some(LinkEvent::Noise { octets: 6, .. })));
        assert_eq!(chatter.due(), None);
    }

    #[test]
    fn noise_comes_with_its_stage_and_with_what_was_good_beside_it() {
        let settle = Duration::from_secs(2);
        let mut chatter = Chatter::new(LinkId(0), settle);
        let start = Instant::now();
        chatter.noise(start, NOISE);
        let event = chatter.next_event(start);
        assert!(matches!(event, Some(LinkEvent::Noise { stage: Stage::Settling, in_frames: 0, .. })), "{event:?}");
        chatter.frames(40);
        chatter.frames(2);
        chatter.noise(start + settle, NOISE);
        let event = chatter.next_event(start + settle);
        assert!(matches!(event, Some(LinkEvent::Noise { stage: Stage::Settled, in_frames: 42, .. })), "{event:?}");
        chatter.noise(start + settle, NOISE);
        let event = chatter.next_event(start + settle + PERIOD);
        assert!(matches!(event, Some(LinkEvent::Noise { in_frames: 0, .. })), "{event:?}");
    }

    #[test]
    fn frames_that_a_dongle_did_not_send_are_told_once_a_second() {
        let mut chatter = Chatter::new(LinkId(0), Duration::ZERO);
        let start = Instant::now();
        chatter.undelivered(Undelivered::Refused(Refusal::Nack));
        assert!(matches!(chatter.next_event(start), Some(LinkEvent::Undelivered { frames: 1, .. })));
        chatter.undelivered(Undelivered::Refused(Refusal::Nack));
        chatter.undelivered(Undelivered::Unconfirmed);
        assert!(chatter.next_event(start + PERIOD / 2).is_none());
        assert_eq!(chatter.due(), Some(start + PERIOD));
        let event = chatter.next_event(start + PERIOD);
        let reason = Undelivered::Refused(Refusal::Nack);
        assert!(matches!(event, Some(LinkEvent::Undelivered { frames: 2, reason: r, .. }) if r == reason), "{event:?}");
    }

    #[test]
    fn a_flood_of_text_becomes_noise() {
        let mut chatter = Chatter::new(LinkId(0), Duration::ZERO);
        let now = Instant::now();
        (0..1_000).for_each(|_| chatter.text(now, "rst"));
        let events: Vec<_> = std::iter::from_fn(|| chatter.next_event(now)).collect();
        assert_eq!(events.len(), LINES + 1);
        assert!(matches!(events.last(), Some(LinkEvent::Noise { octets: 2_940, .. })), "{events:?}");
        chatter.text(now + PERIOD, "rst");
        assert!(matches!(chatter.next_event(now + PERIOD), Some(LinkEvent::Text { .. })));
    }
}
