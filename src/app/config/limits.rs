//! `[limits]`: what the core bounds, and what the tasks around it bound.

use std::ops::RangeInclusive;

use super::mistakes;
use super::problem::Problem;
use crate::core::Limits;

/// The bounds of the queues between the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Batches of frames and states from all links that wait for the gateway; beyond it the links wait, and the
    /// kernel drops.
    pub link_events: usize,
    /// Batches from the broker that wait for the gateway; beyond it the connection stops reading.
    pub broker_events: usize,
    /// Publishes, subscribes and unsubscribes that wait to be sent to the broker; the next one is refused.
    pub broker_queue: usize,
    /// Publishes at QoS 1 and 2 that wait for the broker's answer at the same time.
    pub broker_in_flight: u16,
}

impl Default for Queues {
    fn default() -> Self {
        Self { link_events: 64, broker_events: 64, broker_queue: 10_000, broker_in_flight: 256 }
    }
}

/// Writes down the section's keys once, and derives the ways there and back.
macro_rules! section {
    (Limits { $($bound:ident: $bound_type:ty,)* } Queues { $($queue:ident: $queue_type:ty,)* }) => {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct RawLimits {
            $($bound: $bound_type,)*
            $($queue: $queue_type,)*
        }

        impl RawLimits {
            fn of(limits: Limits, queues: Queues) -> Self {
                let Limits { $($bound),* } = limits;
                let Queues { $($queue),* } = queues;
                Self { $($bound,)* $($queue,)* }
            }

            fn split(&self) -> (Limits, Queues) {
                (Limits { $($bound: self.$bound),* }, Queues { $($queue: self.$queue),* })
            }

            /// Every key with its value.
            fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($bound), self.$bound as u64),)* $((stringify!($queue), self.$queue as u64),)*].into_iter()
            }
        }
    };
}

section! {
    Limits {
        clients: usize,
        client_id_octets: usize,
        topics_per_client: usize,
        subscriptions_per_client: usize,
        publishes_per_client: usize,
        publishes_in_flight: usize,
        broker_connects_at_once: usize,
        wills_waiting: usize,
        queued_messages_per_client: usize,
        queued_bytes_per_client: usize,
        messages_per_wake_up: usize,
        unacknowledged_deliveries: usize,
        withheld_frames: usize,
        qos_minus_one_per_second: u32,
        strays_per_second: u32,
    }
    Queues {
        link_events: usize,
        broker_events: usize,
        broker_queue: usize,
        broker_in_flight: u16,
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self::of(Limits::default(), Queues::default())
    }
}

/// The largest count. It is far above what one machine can serve, and far below what the code beneath can count: a
/// client's place in the table has 32 bits, and a channel of Tokio has fewer permits than a `usize` has numbers.
const MOST: u64 = 10_000_000;
/// The most octets that may wait for one client: a gibibyte.
const MOST_OCTETS: u64 = 1 << 30;

/// Returns from where to where a limit may be set. A bound of nothing would stop the gateway; only a rate may be 0.
fn range(key: &str) -> RangeInclusive<u64> {
    match key {
        // Longer ones do not fit into a frame.
        "client_id_octets" => 1..=65_535,
        "queued_bytes_per_client" => 1..=MOST_OCTETS,
        // MQTT's message ids have 16 bits.
        "broker_in_flight" => 1..=65_535,
        rate if rate.ends_with("_per_second") => 0..=MOST,
        _ => 1..=MOST,
    }
}

impl RawLimits {
    /// Refuses what stands outside the range of its key.
    pub(super) fn check(&self) -> Result<(Limits, Queues), Problem> {
        let outside = |(key, value): &(&'static str, u64)| !range(key).contains(value);
        let Some((key, value)) = self.named().find(outside) else { return Ok(self.split()) };
        let (least, most) = range(key).into_inner();
        let text = format!("`{key}` in [limits] must be from {least} to {most}, not {value}");
        let problem = Problem::at(["limits", key], text);
        Err(match mistakes::example("limits", key) {
            Some(example) => problem.hint(example),
            None => problem,
        })
    }
}

/// A limit that the configuration sets to something of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedLimit {
    pub key: &'static str,
    pub value: u64,
    pub default: u64,
}

/// Lists the limits that differ from their defaults.
pub fn changed(limits: Limits, queues: Queues) -> Vec<ChangedLimit> {
    RawLimits::of(limits, queues)
        .named()
        .zip(RawLimits::default().named())
        .filter(|((_, value), (_, default))| value != default)
        .map(|((key, value), (_, default))| ChangedLimit { key, value, default })
        .collect()
}
