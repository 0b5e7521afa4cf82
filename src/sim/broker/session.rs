//! What the broker keeps for one client, whether it has a connection or not.

use std::collections::{BTreeMap, VecDeque};

use super::{Overlap, matches};
use crate::core::topics::TopicFilter;
use crate::core::{Delivery, Instant, Message, PacketId, SubscriptionId};
use crate::wire::Qos;

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) subscriptions: BTreeMap<TopicFilter, Subscription>,
    /// Sent and not acknowledged, as far as the broker knows.
    pub(super) deliveries: Vec<Delivered>,
    /// Messages beyond the window, or for a client whose connection is broken.
    pub(super) backlog: VecDeque<Copy>,
    last_packet: u16,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    pub(super) qos: Qos,
    pub(super) id: SubscriptionId,
}

/// A message as it goes over one connection.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) message: Message,
    pub(super) ids: Vec<SubscriptionId>,
    pub(super) brought_by: Vec<TopicFilter>,
    pub(super) made: Instant,
    /// QoS 2: the packet id that it has had since it was first sent.
    pub(super) packet: Option<PacketId>,
}

#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) delivery: Delivery,
    pub(super) copy: Copy,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Sent,
    /// The gateway has it.
    Heard,
    /// The gateway has acknowledged it; the broker has yet to hear that.
    Acknowledged,
}

impl Session {
    /// Whether the gateway has all that may be sent to it before it acknowledges something.
    pub(super) fn waits_for_gateway(&self) -> bool {
        !self.deliveries.is_empty() && self.deliveries.iter().all(|open| open.progress == Progress::Heard)
    }

    /// Makes the copies of a live message that this client gets.
    pub(super) fn copies(&self, made: Instant, message: &Message, overlap: Overlap) -> Vec<Copy> {
        let live = Message { retain: false, ..message.clone() };
        let copy = |(filter, subscription): (&TopicFilter, &Subscription)| Copy {
            message: Message { qos: live.qos.min(subscription.qos), ..live.clone() },
            ids: vec![subscription.id],
            brought_by: vec![filter.clone()],
            made,
            packet: None,
        };
        let each = self.subscriptions.iter().filter(|(filter, _)| matches(filter, &message.topic)).map(copy);
        match overlap {
            Overlap::CopyEach => each.collect(),
            Overlap::OneCopy => each.reduce(merge).into_iter().collect(),
        }
    }

    /// Returns a packet id that no message on its way has.
    pub(super) fn free_packet(&mut self) -> PacketId {
        loop {
            self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
            let packet = PacketId(self.last_packet);
            let mut taken = self.deliveries.iter().map(|open| &open.copy).chain(&self.backlog);
            if taken.all(|copy| copy.packet != Some(packet)) {
                return packet;
            }
        }
    }

    /// Keeps copies until the client has a connection again; at QoS 0 they are not kept.
    pub(super) fn keep(&mut self, copies: Vec<Copy>) {
        self.backlog.extend(copies.into_iter().filter(|copy| copy.message.qos > Qos::AtMostOnce));
    }

    /// A connection goes on with a session that was interrupted: what the gateway has not got goes out again; what it
    /// has is not given to it twice, except a QoS 1 message whose acknowledgement was lost on the way.
    pub(super) fn redeliver(&mut self) {
        self.send_again(|open| match (open.progress, open.copy.message.qos) {
            (Progress::Heard, _) => Fate::Stays,
            (Progress::Acknowledged, Qos::ExactlyOnce) => Fate::Done,
            (Progress::Acknowledged | Progress::Sent, _) => Fate::GoesAgain,
        });
    }

    /// The connection is gone for good, and what it gave to the gateway is the gateway's no more.
    pub(super) fn abandon(&mut self) {
        self.send_again(|_| Fate::GoesAgain);
    }

    fn send_again(&mut self, fate: impl Fn(&Delivered) -> Fate) {
        let mut again = Vec::new();
        self.deliveries.retain(|open| match fate(open) {
            Fate::Stays => true,
            Fate::Done => false,
            Fate::GoesAgain => {
                again.push(open.copy.clone());
                false
            }
        });
        for copy in again.into_iter().rev() {
            self.backlog.push_front(copy);
        }
    }
}

enum Fate {
    Stays,
    Done,
    GoesAgain,
}

fn merge(mut one: Copy, other: Copy) -> Copy {
    one.message.qos = one.message.qos.max(other.message.qos);
    one.ids.extend(other.ids);
    one.brought_by.extend(other.brought_by);
    one
}
