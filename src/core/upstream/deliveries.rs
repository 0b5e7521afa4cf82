//! Messages from the broker that are not acknowledged to it yet, and who has still to take them.
//!
//! A delivery goes to any number of clients; the broker hears of it once, when all have it. MQTT wants
//! acknowledgements in the order of the messages (MQTT 3.1.1 §4.6), so one that is complete waits for those
//! before it. A bound keeps a slow client from holding the broker's window: beyond it the oldest delivery is
//! acknowledged while it still waits in memory.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::arrivals::Arrival;
use crate::core::sessions::SessionKey;
use crate::core::{ConnId, Delivery};

/// One client's part in a delivery: to be settled exactly once, when the client has the message or never will.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an unsettled receipt holds the broker's window"]
pub(in crate::core) struct Receipt {
    conn: ConnId,
    number: DeliveryNumber,
}

/// Tells the deliveries of one connection apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct DeliveryNumber(u64);

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// The number of the delivery at the front of `open`.
    first: u64,
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    delivery: Delivery,
    /// Clients that have not settled; the message is complete at zero.
    waiting: usize,
    /// All whom it was for.
    holders: Holders,
    /// What to remember it by once it is taken over.
    arrival: Option<Arrival>,
}

/// The sessions that a delivery is for; most often one.
pub(in crate::core) type Holders = SmallVec<[SessionKey; 4]>;

impl Receipt {
    /// Returns the connection that the message came on.
    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(in crate::core) fn number(&self) -> DeliveryNumber {
        self.number
    }
}

impl Deliveries {
    /// Notes a delivery for `holders` and returns a receipt for each, one after the other.
    pub(super) fn open(
        &mut self,
        conn: ConnId,
        delivery: Delivery,
        holders: Holders,
        arrival: Option<Arrival>,
    ) -> impl FnMut() -> Receipt + use<> {
        let number = DeliveryNumber(self.first + self.open.len() as u64);
        self.open.push_back(Open { delivery, waiting: holders.len(), holders, arrival });
        move || Receipt { conn, number }
    }

    /// Takes one client's part as done. Receipts from before [`Deliveries::forget`] or an early end do nothing.
    pub(super) fn settle(&mut self, receipt: Receipt) {
        if let Some(open) = self.find(receipt.number) {
            open.waiting = open.waiting.saturating_sub(1);
        }
    }

    /// Takes what the message is to be remembered by, once.
    pub(super) fn take_arrival(&mut self, receipt: &Receipt) -> Option<Arrival> {
        self.find(receipt.number)?.arrival.take()
    }

    /// Returns the next delivery to acknowledge to the broker, in order.
    pub(super) fn pop_complete(&mut self) -> Option<(Delivery, Option<Arrival>)> {
        if self.open.front()?.waiting > 0 {
            return None;
        }
        self.pop()
    }

    /// Returns the oldest delivery and whom it is for, if more than `limit` are open.
    pub(super) fn excess(&self, limit: usize) -> Option<(DeliveryNumber, &Holders)> {
        let oldest = self.open.front().filter(|_| self.open.len() > limit)?;
        Some((DeliveryNumber(self.first), &oldest.holders))
    }

    /// Returns the oldest delivery if more than `limit` are open, complete or not.
    pub(super) fn pop_excess(&mut self, limit: usize) -> Option<(Delivery, Option<Arrival>)> {
        (self.open.len() > limit).then(|| self.pop()).flatten()
    }

    /// Forgets all: the broker's session is gone, and what it had delivered is void.
    pub(super) fn forget(&mut self) {
        self.first += self.open.len() as u64;
        self.open.clear();
    }

    fn find(&mut self, number: DeliveryNumber) -> Option<&mut Open> {
        let index = number.0.checked_sub(self.first)?;
        self.open.get_mut(usize::try_from(index).ok()?)
    }

    fn pop(&mut self) -> Option<(Delivery, Option<Arrival>)> {
        let open = self.open.pop_front()?;
        self.first += 1;
        Some((open.delivery, open.arrival))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(count: u32) -> Holders {
        (0..count).map(SessionKey).collect()
    }

    #[test]
    fn a_delivery_is_complete_when_every_client_has_settled() {
        let mut deliveries = Deliveries::default();
        let mut receipt = deliveries.open(ConnId::OWN, Delivery(7), holders(2), None);
        let (one, other) = (receipt(), receipt());
        deliveries.settle(one);
        assert_eq!(deliveries.pop_complete(), None);
        deliveries.settle(other);
        assert_eq!(deliveries.pop_complete(), Some((Delivery(7), None)));
        assert_eq!(deliveries.pop_complete(), None);
    }

    #[test]
    fn acknowledgements_keep_the_order_of_the_messages() {
        let mut deliveries = Deliveries::default();
        let first = deliveries.open(ConnId::OWN, Delivery(1), holders(1), None)();
        let second = deliveries.open(ConnId::OWN, Delivery(2), holders(1), None)();
        deliveries.settle(second);
        assert_eq!(deliveries.pop_complete(), None);
        deliveries.settle(first);
        assert_eq!(deliveries.pop_complete(), Some((Delivery(1), None)));
        assert_eq!(deliveries.pop_complete(), Some((Delivery(2), None)));
    }

    #[test]
    fn beyond_the_bound_the_oldest_goes_and_its_receipt_does_nothing() {
        let mut deliveries = Deliveries::default();
        let slow = deliveries.open(ConnId::OWN, Delivery(1), holders(1), None)();
        let fast = deliveries.open(ConnId::OWN, Delivery(2), holders(1), None)();
        assert_eq!(deliveries.pop_excess(1), Some((Delivery(1), None)));
        assert_eq!(deliveries.pop_excess(1), None);
        deliveries.settle(slow);
        assert_eq!(deliveries.pop_complete(), None);
        deliveries.settle(fast);
        assert_eq!(deliveries.pop_complete(), Some((Delivery(2), None)));
    }

    #[test]
    fn receipts_from_a_lost_session_do_nothing() {
        let mut deliveries = Deliveries::default();
        let old = deliveries.open(ConnId::OWN, Delivery(1), holders(1), None)();
        deliveries.forget();
        let _new = deliveries.open(ConnId::OWN, Delivery(1), holders(1), None)();
        deliveries.settle(old);
        assert_eq!(deliveries.pop_complete(), None);
    }
}
