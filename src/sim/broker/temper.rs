//! How a broker behaves: what it can do, how fast it is, and how often it fails.

use std::time::Duration;

use super::super::dice::Dice;
use crate::core::BrokerOffer;
use crate::wire::Qos;

/// Probabilities are in thousandths.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Temper {
    /// One way.
    pub(in crate::sim) latency: (Duration, Duration),
    pub(in crate::sim) offer: BrokerOffer,
    pub(in crate::sim) overlap: Overlap,
    /// QoS 1 and 2 messages that it sends before it wants the first acknowledged.
    pub(in crate::sim) window: usize,
    /// Publishes and subscribes that it refuses without a reason.
    pub(in crate::sim) refuses: u32,
    /// Publishes for which the connection has no room.
    pub(in crate::sim) busy: u32,
    /// The longest time between two troubles; `None`: there are none.
    pub(in crate::sim) trouble: Option<Duration>,
    /// Connections that come back without their session.
    pub(in crate::sim) forgets: u32,
}

/// What a broker does with a message that several subscriptions of one connection match (MQTT 5 §3.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Overlap {
    /// One copy that names all subscriptions.
    OneCopy,
    /// One copy for each subscription, as Mosquitto does.
    CopyEach,
}

impl Temper {
    /// Keeps what it can do and its session, and makes no trouble any more.
    pub(in crate::sim) fn calmed(&self) -> Self {
        let latency = (Duration::from_millis(1), Duration::from_millis(5));
        Self { latency, refuses: 0, busy: 0, trouble: None, forgets: 0, ..self.clone() }
    }

    pub(in crate::sim) fn draw(dice: &mut Dice) -> Self {
        let trouble = match dice.below(4) {
            0 => None,
            1 => Some(Duration::from_secs(600)),
            2 => Some(Duration::from_secs(180)),
            _ => Some(Duration::from_secs(40)),
        };
        let is_moody = trouble.is_some() && dice.chance(500);
        Self {
            latency: (Duration::from_millis(1), *dice.pick(&[5, 50, 1_000].map(Duration::from_millis))),
            offer: BrokerOffer {
                max_qos: *dice.pick(&[Qos::ExactlyOnce, Qos::ExactlyOnce, Qos::ExactlyOnce, Qos::AtLeastOnce]),
                retain: !dice.chance(100),
                subscription_ids: !dice.chance(330),
                max_packet: dice.chance(100).then_some(200),
            },
            overlap: *dice.pick(&[Overlap::OneCopy, Overlap::CopyEach]),
            window: *dice.pick(&[20, 100]),
            refuses: if is_moody { 30 } else { 0 },
            busy: if is_moody { 30 } else { 0 },
            trouble,
            forgets: *dice.pick(&[0, 300, 1_000]),
        }
    }
}
