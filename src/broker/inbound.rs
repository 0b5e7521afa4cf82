//! Messages from the broker that wait for the core's acknowledgement.
//!
//! The broker sends what we did not acknowledge again when the connection is back and the session with it. The core
//! has such a message already; it is not given out twice, and an acknowledgement that the core gives meanwhile is sent
//! when the message comes again, because only then may it be (the library ends a connection for anything else).

use std::collections::HashMap;

use crate::core::Delivery;
use crate::wire::Qos;

/// The incoming messages under way, by the broker's packet id: at most 65,535.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    open: HashMap<u16, Open>,
    serial: u64,
}

/// What to do with a message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Give it to the core under this name.
    New(Delivery),
    /// The core has it and has yet to acknowledge it.
    Known,
    /// The core has acknowledged it: pass that on to the broker.
    Acknowledge,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    delivery: Delivery,
    qos: Qos,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Arrived on the present connection; the core has yet to acknowledge it.
    Arrived,
    /// The core has it; the connection broke since, so the broker will send it again.
    Awaited,
    /// As [`State::Awaited`], and the core has acknowledged it.
    AwaitedAcknowledged,
    /// QoS 2: PUBREC has been asked for, but may not be on its way yet.
    Acknowledging,
}

impl Inbound {
    /// Notes a message at QoS 1 or 2.
    pub(super) fn arrived(&mut self, packet: u16, qos: Qos, duplicate: bool) -> Arrival {
        if let Some(open) = self.open.get_mut(&packet)
            && open.is_repeated_by(qos, duplicate)
        {
            return match open.state {
                State::Arrived | State::Acknowledging => Arrival::Known,
                State::Awaited => {
                    open.state = State::Arrived;
                    Arrival::Known
                }
                State::AwaitedAcknowledged => {
                    self.acknowledging(packet, qos);
                    Arrival::Acknowledge
                }
            };
        }
        self.serial += 1;
        // The packet id in the low bits finds the entry; the serial number tells it from all others that had the id.
        let delivery = Delivery(self.serial << 16 | u64::from(packet));
        self.open.insert(packet, Open { delivery, qos, state: State::Arrived });
        Arrival::New(delivery)
    }

    /// Notes the core's acknowledgement; returns the packet to acknowledge to the broker now, if that is allowed now.
    pub(super) fn acknowledged(&mut self, delivery: Delivery) -> Option<(Qos, u16)> {
        let packet = u16::try_from(delivery.0 & 0xFFFF).ok()?;
        let open = self.open.get_mut(&packet).filter(|open| open.delivery == delivery)?;
        match open.state {
            State::Arrived => {
                let qos = open.qos;
                self.acknowledging(packet, qos);
                Some((qos, packet))
            }
            State::Awaited => {
                open.state = State::AwaitedAcknowledged;
                None
            }
            State::AwaitedAcknowledged | State::Acknowledging => None,
        }
    }

    /// Notes that the library has taken over the rest of a QoS 2 exchange, or that the exchange is over.
    pub(super) fn settled(&mut self, packet: u16) {
        if let Some(open) = self.open.get(&packet) {
            match open.state {
                State::Acknowledging | State::AwaitedAcknowledged => {
                    self.open.remove(&packet);
                }
                State::Arrived | State::Awaited => {}
            }
        }
    }

    /// Notes that the connection broke.
    pub(super) fn disconnected(&mut self) {
        for open in self.open.values_mut() {
            open.state = match open.state {
                State::Arrived | State::Awaited => State::Awaited,
                State::Acknowledging | State::AwaitedAcknowledged => State::AwaitedAcknowledged,
            };
        }
    }

    /// Notes that the broker has forgotten the session: nothing comes again, and no delivery is valid any more.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    fn acknowledging(&mut self, packet: u16, qos: Qos) {
        match qos {
            // If the PUBACK gets lost the message comes again as a new one, as QoS 1 allows. To remember the id
            // instead could take a later message for it.
            Qos::AtMostOnce | Qos::AtLeastOnce => {
                self.open.remove(&packet);
            }
            Qos::ExactlyOnce => {
                if let Some(open) = self.open.get_mut(&packet) {
                    open.state = State::Acknowledging;
                }
            }
        }
    }
}

impl Open {
    /// Returns whether a message under this packet id is this one again.
    ///
    /// The broker cannot give the id to another message before we acknowledge (MQTT 5 §4.3), so at QoS 2 it is this
    /// one, whatever its DUP flag says, as long as the core has not acknowledged. In all other cases a message without
    /// the flag is taken for a new one: twice is better than never.
    fn is_repeated_by(&self, qos: Qos, duplicate: bool) -> bool {
        let surely = match self.state {
            State::Arrived | State::Awaited => self.qos == Qos::ExactlyOnce,
            State::AwaitedAcknowledged | State::Acknowledging => false,
        };
        self.qos == qos && (duplicate || surely)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: bool = false;
    const DUP: bool = true;

    fn new(arrival: Arrival) -> Delivery {
        match arrival {
            Arrival::New(delivery) => delivery,
            Arrival::Known | Arrival::Acknowledge => panic!("{arrival:?}"),
        }
    }

    #[test]
    fn a_message_is_acknowledged_once() {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut inbound = Inbound::default();
            let delivery = new(inbound.arrived(7, qos, FIRST));
            assert_eq!(inbound.acknowledged(delivery), Some((qos, 7)));
            assert_eq!(inbound.acknowledged(delivery), None);
        }
    }

    #[test]
    fn a_message_that_comes_again_after_a_reconnect_is_not_given_out_again() {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut inbound = Inbound::default();
            let delivery = new(inbound.arrived(7, qos, FIRST));
            inbound.disconnected();
            assert_eq!(inbound.arrived(7, qos, DUP), Arrival::Known);
            assert_eq!(inbound.acknowledged(delivery), Some((qos, 7)));
        }
    }

    #[test]
    fn an_acknowledgement_given_while_disconnected_is_sent_when_the_message_comes_again() {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut inbound = Inbound::default();
            let delivery = new(inbound.arrived(7, qos, FIRST));
            inbound.disconnected();
            assert_eq!(inbound.acknowledged(delivery), None);
            assert_eq!(inbound.arrived(7, qos, DUP), Arrival::Acknowledge);
        }
    }

    #[test]
    fn a_lost_pubrec_does_not_bring_the_message_twice() {
        let mut inbound = Inbound::default();
        let delivery = new(inbound.arrived(7, Qos::ExactlyOnce, FIRST));
        assert_eq!(inbound.acknowledged(delivery), Some((Qos::ExactlyOnce, 7)));
        inbound.disconnected();
        assert_eq!(inbound.arrived(7, Qos::ExactlyOnce, DUP), Arrival::Acknowledge);
        inbound.settled(7);
        new(inbound.arrived(7, Qos::ExactlyOnce, FIRST));
    }

    #[test]
    fn a_packet_id_used_anew_brings_a_new_delivery() {
        let mut inbound = Inbound::default();
        let former = new(inbound.arrived(7, Qos::AtLeastOnce, FIRST));
        assert!(inbound.acknowledged(former).is_some());
        let latter = new(inbound.arrived(7, Qos::AtLeastOnce, FIRST));
        assert_ne!(former, latter);
        assert_eq!(inbound.acknowledged(former), None);
        assert!(inbound.acknowledged(latter).is_some());
    }

    #[test]
    fn deliveries_of_a_lost_session_are_void() {
        let mut inbound = Inbound::default();
        let former = new(inbound.arrived(7, Qos::ExactlyOnce, FIRST));
        inbound.disconnected();
        inbound.forget();
        let latter = new(inbound.arrived(7, Qos::ExactlyOnce, FIRST));
        assert_eq!(inbound.acknowledged(former), None);
        assert!(inbound.acknowledged(latter).is_some());
    }
}
