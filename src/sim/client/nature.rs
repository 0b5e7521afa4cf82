//! What kind of client one is: how it uses the protocol, and how it breaks it.

use std::time::Duration;

use bitflags::bitflags;

use super::super::dice::Dice;

/// A client's habits.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Nature {
    pub(super) persistence: Persistence,
    /// Seconds; 0 is unsupervised.
    pub(super) keep_alive: u16,
    pub(super) sleeps: bool,
    pub(super) has_will: bool,
    pub(super) quirks: Quirks,
    /// The longest pause between two errands.
    pub(super) pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Clean,
    Persistent,
    /// As it comes.
    Mixed,
}

bitflags! {
    /// What real firmware does (MQTT-SN digest §21), the protocol allowing it or not.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::sim) struct Quirks: u16 {
        /// Allowed: answers with congestion now and then.
        const BUSY = 1;
        /// Allowed: forgets a topic id now and then, and says so.
        const FORGETS_IDS = 1 << 1;
        /// RIOT: has never heard of REGISTER.
        const IGNORES_REGISTER = 1 << 2;
        /// RIOT: refuses DUP, QoS 2 and pre-defined ids.
        const REFUSES_DUP = 1 << 3;
        /// Arduino: swaps the octets of both ids in PUBACK.
        const SWAPS_IDS = 1 << 4;
        /// Arduino: gives QoS 0 messages ids.
        const NUMBERS_QOS_0 = 1 << 5;
        /// njh: sends everything once.
        const NEVER_RESENDS = 1 << 6;
        const IGNORES_DISCONNECT = 1 << 7;
        const REFUSES_TOPICS = 1 << 8;
        /// Acknowledges with any message id.
        const WRONG_ACKS = 1 << 9;
        const NEVER_PINGS = 1 << 10;
        /// Publishes several at once and disconnects at once.
        const HURRIES = 1 << 11;
        /// Starts its message ids from 1 after each reset.
        const RESTARTS_IDS = 1 << 12;
        /// Begins QoS 2 exchanges and does not end them.
        const NEVER_RELEASES = 1 << 13;
        /// Publishes while asleep.
        const SLEEPWALKS = 1 << 14;
    }
}

impl Quirks {
    const ALLOWED: Self = Self::BUSY.union(Self::FORGETS_IDS);
}

impl Nature {
    /// Whether the client keeps to the protocol, so that all promises hold towards it.
    pub(in crate::sim) fn is_abiding(&self) -> bool {
        Quirks::ALLOWED.contains(self.quirks)
    }

    pub(super) fn has(&self, quirk: Quirks) -> bool {
        self.quirks.contains(quirk)
    }

    pub(in crate::sim) fn draw(dice: &mut Dice) -> Self {
        let quirks = match dice.below(10) {
            0..6 => Quirks::empty(),
            6 => *dice.pick(&[Quirks::BUSY, Quirks::FORGETS_IDS, Quirks::ALLOWED]),
            _ => {
                let one = Quirks::from_bits_truncate(1 << (2 + dice.below(13)));
                let other = Quirks::from_bits_truncate(1 << dice.below(15));
                if dice.chance(500) { one } else { one | other }
            }
        };
        Self {
            persistence: *dice.pick(&[Persistence::Clean, Persistence::Persistent, Persistence::Mixed]),
            keep_alive: *dice.pick(&[10, 30, 60, 300, 0]),
            sleeps: dice.chance(350),
            has_will: dice.chance(350),
            quirks,
            pause: *dice.pick(&[2, 10, 30].map(Duration::from_secs)),
        }
    }
}
