//! How many publishes may wait for the broker's answer at the same time.

use super::suspicion::Pace;
use crate::mqtt::{ConnAck, Version};
use crate::wire::Qos;

/// QoS 0 publishes that may be written and not have gone yet: enough for full writes, few enough to bound it. On a
/// connection with a short queue, as many as that has places.
pub(super) const QOS0_WINDOW: usize = 512;

/// QoS 2 publishes that may be under way in 3.1.1. Mosquitto takes 20 unless told otherwise (its
/// `max_inflight_messages`) and in 3.1.1 cannot say so; with more, version 2.0.11 acknowledges messages that it loses, or
/// ends the connection each time they are repeated. Half of it leaves room for the QoS 1 messages in between, which
/// count too.
const QOS2_WINDOW: u16 = 10;

/// What one connection allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// At QoS 1 and 2 together.
    pub(super) acknowledged: u16,
    /// At QoS 2.
    pub(super) exactly_once: u16,
}

/// How many are under way at each QoS.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    at_most_once: usize,
    at_least_once: usize,
    exactly_once: usize,
}

impl Window {
    /// The broker's word, if it is less than ours.
    pub(super) fn new(version: Version, connack: &ConnAck, in_flight: u16) -> Self {
        let acknowledged = connack.receive_maximum.min(in_flight);
        let exactly_once = match version {
            Version::V5 => acknowledged,
            Version::V311 => acknowledged.min(QOS2_WINDOW),
        };
        Self { acknowledged, exactly_once }
    }

    /// What is left of it at this pace, if requests are under way or not.
    pub(super) fn at(self, pace: Pace, requests_under_way: bool) -> Self {
        match pace {
            Pace::Full => self,
            Pace::OneByOne => {
                let one = u16::from(!requests_under_way);
                Self { acknowledged: one, exactly_once: one }
            }
        }
    }
}

impl UnderWay {
    pub(super) fn enter(&mut self, qos: Qos) {
        *self.at(qos) += 1;
    }

    pub(super) fn leave(&mut self, qos: Qos) {
        let at = self.at(qos);
        *at = at.saturating_sub(1);
    }

    /// All of QoS 0 have gone.
    pub(super) fn flushed(&mut self) {
        self.at_most_once = 0;
    }

    /// Returns whether one more may be under way.
    pub(super) fn allows(&self, qos: Qos, window: Window, at_most_once: usize) -> bool {
        let acknowledged = self.at_least_once + self.exactly_once < usize::from(window.acknowledged);
        match qos {
            Qos::AtMostOnce => self.at_most_once < at_most_once,
            Qos::AtLeastOnce => acknowledged,
            Qos::ExactlyOnce => acknowledged && self.exactly_once < usize::from(window.exactly_once),
        }
    }

    fn at(&mut self, qos: Qos) -> &mut usize {
        match qos {
            Qos::AtMostOnce => &mut self.at_most_once,
            Qos::AtLeastOnce => &mut self.at_least_once,
            Qos::ExactlyOnce => &mut self.exactly_once,
        }
    }
}
