//! Messages from the broker that wait for the core's acknowledgement, and at QoS 2 for the end of their exchange.
//!
//! The broker sends what we did not acknowledge again when the connection is back and the session with it. The core
//! has such a message already; it is not given out twice, and an acknowledgement that the core gives meanwhile is sent
//! when the message comes again.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::core::Delivery;
use crate::wire::Qos;

/// The incoming messages under way, by the broker's packet id: at most 65,535.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    open: HashMap<u16, Open, RandomState>,
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
    /// The core has acknowledged it. At QoS 1 the broker has yet to send it again; at QoS 2 PUBREL has yet to come.
    Acknowledged,
}

impl Inbound {
    /// Goes on with the messages that an earlier process has answered with PUBREC.
    pub(super) fn take_up(&mut self, packets: &[u16]) {
        packets.iter().for_each(|packet| self.answer(*packet, Qos::ExactlyOnce));
    }

    /// Notes a message at QoS 1 or 2.
    pub(super) fn arrived(&mut self, packet: u16, qos: Qos, duplicate: bool) -> Arrival {
        if let Some(open) = self.open.get_mut(&packet)
            && open.is_repeated_by(qos, duplicate)
        {
            return match open.state {
                State::Arrived | State::Awaited => {
                    open.state = State::Arrived;
                    Arrival::Known
                }
                State::Acknowledged => {
                    self.answered(packet, qos);
                    Arrival::Acknowledge
                }
            };
        }
        let delivery = self.next_delivery(packet);
        self.open.insert(packet, Open { delivery, qos, state: State::Arrived });
        Arrival::New(delivery)
    }

    /// Notes a message that is answered without the core, because nobody can use it.
    pub(super) fn answer(&mut self, packet: u16, qos: Qos) {
        let delivery = self.next_delivery(packet);
        self.open.insert(packet, Open { delivery, qos, state: State::Acknowledged });
        self.answered(packet, qos);
    }

    /// Notes the core's acknowledgement; returns the packet to acknowledge to the broker now, if that is allowed now.
    pub(super) fn acknowledged(&mut self, delivery: Delivery) -> Option<(Qos, u16)> {
        let packet = u16::try_from(delivery.0 & 0xFFFF).ok()?;
        let open = self.open.get_mut(&packet).filter(|open| open.delivery == delivery)?;
        let (qos, former) = (open.qos, std::mem::replace(&mut open.state, State::Acknowledged));
        match former {
            State::Arrived => {
                self.answered(packet, qos);
                Some((qos, packet))
            }
            State::Awaited | State::Acknowledged => None,
        }
    }

    /// Notes PUBREL; returns whether it belongs to a message that is under way.
    pub(super) fn released(&mut self, packet: u16) -> bool {
        let is_answered = |open: &Open| open.state == State::Acknowledged && open.qos == Qos::ExactlyOnce;
        let released = self.open.get(&packet).is_some_and(is_answered);
        if released {
            self.open.remove(&packet);
        }
        released
    }

    /// Notes that the connection broke.
    pub(super) fn disconnected(&mut self) {
        for open in self.open.values_mut() {
            open.state = match open.state {
                State::Arrived | State::Awaited => State::Awaited,
                State::Acknowledged => State::Acknowledged,
            };
        }
    }

    /// Notes that the broker has forgotten the session: nothing comes again, and no delivery is valid any more.
    pub(super) fn forget(&mut self) {
        self.open = HashMap::default();
    }

    /// Notes that PUBACK or PUBREC is on its way.
    fn answered(&mut self, packet: u16, qos: Qos) {
        match qos {
            // If the PUBACK gets lost the message comes again as a new one, as QoS 1 allows. To remember the id
            // instead could take a later message for it.
            Qos::AtMostOnce | Qos::AtLeastOnce => {
                self.open.remove(&packet);
            }
            // Until PUBREL has come, another message with this id is this one (MQTT 5 §4.3.3).
            Qos::ExactlyOnce => {}
        }
    }

    /// The packet id in the low bits finds the entry; the serial number tells it from all others that had the id.
    fn next_delivery(&mut self, packet: u16) -> Delivery {
        self.serial += 1;
        Delivery(self.serial << 16 | u64::from(packet))
    }
}

impl Open {
    /// Returns whether a message under this packet id is this one again.
    ///
    /// At QoS 2 the broker cannot give the id to another message before the exchange is over (MQTT 5 §4.3.3), so it is
    /// this one, whatever its DUP flag says. At QoS 1 a message without the flag is taken for a new one: twice is better
    /// than never.
    fn is_repeated_by(&self, qos: Qos, duplicate: bool) -> bool {
        self.qos == qos && (duplicate || qos == Qos::ExactlyOnce)
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
        assert!(inbound.released(7) && !inbound.released(7));
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

    #[test]
    fn what_an_earlier_process_has_answered_is_not_given_out() {
        let mut inbound = Inbound::default();
        inbound.take_up(&[7]);
        assert_eq!(inbound.arrived(7, Qos::ExactlyOnce, DUP), Arrival::Acknowledge);
        assert!(inbound.released(7));
    }
}
