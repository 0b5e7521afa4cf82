//! A publish on its way to the broker: what belongs to it, before it is sent and while it is under way.

use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{Progress, Serial};
use super::suspicion::Breaks;
use crate::core::{BrokerOffer, BrokerReason, Message, Token};
use crate::wire::Qos;

/// MQTT 5 §2.4.
pub(super) const PACKET_TOO_LARGE: BrokerReason = BrokerReason(0x95);

/// A publish of this process.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) message: Message,
    pub(super) own: Own,
}

/// What a publish of this process has beside its message.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) token: Option<Token>,
    /// When it is of no use any more.
    expires: Option<Instant>,
    pub(super) breaks: Breaks,
    /// QoS 2, with a ledger: once it is under way.
    pub(super) entry: Option<Serial>,
}

/// A publish at QoS 1 or 2 that the broker has not answered for.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Gives the order.
    pub(super) number: u64,
    pub(super) progress: Progress,
    pub(super) owner: Owner,
}

/// Who tells the core when the broker has answered.
#[derive(Debug)]
pub(super) enum Owner {
    Us(Own),
    /// The ledger: an earlier process has sent it.
    Ledger,
}

/// Gives out packet ids: 1 to 65,535 in turn (MQTT 5 §2.2.1).
#[derive(Debug, Default)]
pub(super) struct PacketIds {
    /// The one that was given out last.
    pub(super) newest: u16,
}

impl Publish {
    pub(super) fn new(token: Option<Token>, message: Message, expires: Option<Instant>) -> Self {
        Self { message, own: Own { token, expires, breaks: Breaks::default(), entry: None } }
    }
}

impl Own {
    pub(super) fn expires_in(&self) -> Option<Duration> {
        self.expires.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl InFlight {
    pub(super) fn qos(&self) -> Qos {
        match &self.progress {
            Progress::Sent(message) => message.qos,
            Progress::Released => Qos::ExactlyOnce,
        }
    }

    pub(super) fn expires_in(&self) -> Option<Duration> {
        match &self.owner {
            Owner::Us(own) => own.expires_in(),
            Owner::Ledger => None,
        }
    }

    pub(super) fn is_an_earlier_ones(&self) -> bool {
        match self.owner {
            Owner::Us(_) => false,
            Owner::Ledger => true,
        }
    }

    pub(super) fn own_mut(&mut self) -> Option<&mut Own> {
        match &mut self.owner {
            Owner::Us(own) => Some(own),
            Owner::Ledger => None,
        }
    }

    pub(super) fn into_own(self) -> Option<Own> {
        match self.owner {
            Owner::Us(own) => Some(own),
            Owner::Ledger => None,
        }
    }
}

impl PacketIds {
    /// Returns the next one that is free, if there is one.
    pub(super) fn next(&mut self, is_taken: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..u16::MAX {
            self.newest = self.newest.checked_add(1).unwrap_or(1);
            if !is_taken(self.newest) {
                return Some(self.newest);
            }
        }
        None
    }
}

/// Refuses what the broker would answer by ending the connection.
pub(super) fn refusal(message: &Message, offer: &BrokerOffer) -> Option<BrokerReason> {
    const RETAIN_NOT_SUPPORTED: BrokerReason = BrokerReason(0x9A);
    const QOS_NOT_SUPPORTED: BrokerReason = BrokerReason(0x9B);
    // Fixed header (1 to 5 octets), length of the topic, packet id, length of the properties.
    const OVERHEAD: usize = 5 + 2 + 2 + 1;

    let octets = message.topic.as_str().len() + message.payload.len() + OVERHEAD;
    if offer.max_packet.is_some_and(|most| u32::try_from(octets).is_ok_and(|octets| octets > most)) {
        return Some(PACKET_TOO_LARGE);
    }
    if message.retain && !offer.retain {
        return Some(RETAIN_NOT_SUPPORTED);
    }
    (message.qos > offer.max_qos).then_some(QOS_NOT_SUPPORTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_are_given_out_in_turn_and_never_twice_at_a_time() {
        let mut ids = PacketIds { newest: u16::MAX - 1 };
        assert_eq!(ids.next(|_| false), Some(u16::MAX));
        assert_eq!(ids.next(|id| id < 5), Some(5), "0 is none, and 1 to 4 are taken");
        assert_eq!(ids.next(|_| true), None);
    }
}
