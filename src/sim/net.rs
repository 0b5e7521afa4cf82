//! The way between clients and gateway: it loses, also in bursts, delays, reorders, duplicates and corrupts.

use std::time::Duration;

use super::dice::Dice;
use crate::core::Peer;
use crate::wire::{Envelope, Message};

/// Where a client sits: a peer on a link, and behind a forwarder the node's name; empty for a client heard directly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) peer: Peer,
    pub(super) node: Vec<u8>,
}

/// How good the way is. Probabilities are in thousandths, and for each frame.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Frames lost in good times.
    pub(super) loss: u32,
    /// Frames lost in bad times (Gilbert-Elliott).
    pub(super) loss_in_burst: u32,
    /// Good times end.
    pub(super) burst_begins: u32,
    /// Bad times end.
    pub(super) burst_ends: u32,
    pub(super) duplicated: u32,
    pub(super) corrupted: u32,
    pub(super) delay: (Duration, Duration),
    pub(super) order: Order,
    pub(super) corruption: Corruption,
}

/// Whether a frame can overtake another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Kept,
    Broken,
}

/// What becomes of a corrupted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corruption {
    /// It is cut short or becomes rubbish, as where a line has no checksum but the frame makes no sense any more.
    Detected,
    /// Some bits change and it may well make sense. Then nothing can be promised of messages.
    Undetected,
}

/// One direction of one client's way.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    in_burst: bool,
    /// The delay, since the origin, of the latest arrival.
    latest: Duration,
}

impl Place {
    /// Puts a message into a frame from here.
    pub(super) fn wrap(&self, message: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(message.len() + 8);
        if !self.node.is_empty() {
            Envelope::wrap(&self.node, 0, &mut frame).expect("node names in the world are short");
        }
        frame.extend_from_slice(message);
        frame
    }
}

impl Weather {
    /// No faults, for the time when everything has to come to rest.
    pub(super) fn fine() -> Self {
        Self {
            loss: 0,
            loss_in_burst: 0,
            burst_begins: 0,
            burst_ends: 1_000,
            duplicated: 0,
            corrupted: 0,
            delay: (Duration::from_millis(5), Duration::from_millis(20)),
            order: Order::Kept,
            corruption: Corruption::Detected,
        }
    }
}

impl Way {
    /// Carries a frame that leaves at `now`. Calls `arrive` with the time after the origin for each copy.
    pub(super) fn carry(
        &mut self,
        now: Duration,
        dice: &mut Dice,
        weather: &Weather,
        frame: Vec<u8>,
        mut arrive: impl FnMut(Duration, Vec<u8>),
    ) {
        let turns = if self.in_burst { weather.burst_ends } else { weather.burst_begins };
        self.in_burst ^= dice.chance(turns);
        if dice.chance(if self.in_burst { weather.loss_in_burst } else { weather.loss }) {
            return;
        }
        let (least, most) = weather.delay;
        let mut at = now + dice.between(least, most);
        if weather.order == Order::Kept {
            at = at.max(self.latest);
        }
        self.latest = self.latest.max(at);
        let frame = if dice.chance(weather.corrupted) { corrupt(frame, dice, weather.corruption) } else { frame };
        if dice.chance(weather.duplicated) {
            // A copy made on the way arrives on the heels of the first.
            let heels = at + Duration::from_millis(1);
            self.latest = self.latest.max(heels);
            arrive(heels, frame.clone());
        }
        arrive(at, frame);
    }
}

fn corrupt(mut frame: Vec<u8>, dice: &mut Dice, corruption: Corruption) -> Vec<u8> {
    match corruption {
        Corruption::Undetected => {
            for _ in 0..=dice.below(3) {
                let at = dice.below(frame.len());
                frame[at] ^= 1 << dice.below(8);
            }
        }
        Corruption::Detected => {
            frame.truncate(dice.below(frame.len()));
            let readable = Envelope::open(&frame, 1).is_ok_and(|envelope| Message::decode(envelope.message()).is_ok());
            if readable {
                frame.insert(0, 0);
            }
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(weather: &Weather, frames: u8) -> Vec<(Duration, Vec<u8>)> {
        let mut dice = Dice::from_seed(3);
        let mut way = Way::default();
        let mut arrived = Vec::new();
        for number in 0..frames {
            let now = Duration::from_millis(u64::from(number));
            way.carry(now, &mut dice, weather, vec![3, 0x18, number], |at, frame| arrived.push((at, frame)));
        }
        arrived.sort();
        arrived
    }

    #[test]
    fn fine_weather_brings_every_frame_once_and_in_order() {
        let arrived = arrivals(&Weather::fine(), 200);
        assert!(arrived.iter().map(|(_, frame)| frame[2]).eq(0..200));
    }

    #[test]
    fn bursts_lose_frames_in_a_row() {
        let weather = Weather { burst_begins: 50, burst_ends: 200, loss_in_burst: 1_000, ..Weather::fine() };
        let arrived = arrivals(&weather, 200);
        let gaps = arrived.windows(2).filter(|pair| pair[1].1[2] - pair[0].1[2] > 3).count();
        assert!(arrived.len() < 190 && gaps > 2, "{} {gaps}", arrived.len());
    }

    #[test]
    fn broken_order_lets_frames_overtake() {
        let weather = Weather { order: Order::Broken, duplicated: 500, ..Weather::fine() };
        let arrived = arrivals(&weather, 50);
        assert!(arrived.len() > 60);
        assert!(arrived.windows(2).any(|pair| pair[1].1[2] < pair[0].1[2]));
    }

    #[test]
    fn a_detected_corruption_leaves_no_message() {
        let weather = Weather { corrupted: 1_000, ..Weather::fine() };
        assert!(arrivals(&weather, 50).iter().all(|(_, frame)| Message::decode(frame).is_err()));
    }
}
