//! QoS 2 messages from the broker that were taken over, by their packet ids.
//!
//! Between the moment in which a message is stored for its clients and the one in which the broker has heard of it the
//! gateway may be killed. The broker then sends the message again, and it must not come to anyone twice.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::core::journal::Journal;
use crate::core::{ArrivalRecord, Message, Outputs, PacketId, Record, RecordKey, SessionNumber};

/// At most one for each packet id of each connection.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    contents: BTreeMap<(SessionNumber, PacketId), u64>,
}

/// What tells a message from another one that the broker sends under the same packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct Arrival {
    packet: PacketId,
    content: u64,
}

impl Arrival {
    pub(super) fn new(packet: PacketId, message: &Message) -> Self {
        Self { packet, content: content_of(message) }
    }
}

impl Arrivals {
    /// Notes that a message on a session's connection has been taken over. It stands until the broker uses the packet
    /// id anew.
    pub(super) fn note(&mut self, out: &mut Outputs, journal: &mut Journal, session: SessionNumber, arrival: Arrival) {
        let Arrival { packet, content } = arrival;
        self.contents.insert((session, packet), content);
        journal.put(out, Record::Arrival(ArrivalRecord { session, packet: packet.0, content }));
    }

    /// Returns whether this message was taken over before, under the same packet id.
    pub(super) fn knows(&self, session: SessionNumber, arrival: Arrival) -> bool {
        self.contents.get(&(session, arrival.packet)) == Some(&arrival.content)
    }

    pub(super) fn restore(&mut self, record: &ArrivalRecord) {
        self.contents.insert((record.session, PacketId(record.packet)), record.content);
    }

    /// The broker has forgotten the session of a connection, and nothing comes again.
    pub(super) fn clear(&mut self, out: &mut Outputs, journal: &mut Journal, session: SessionNumber) {
        for packet in self.take(session) {
            journal.delete(out, RecordKey::Arrival(session, packet.0));
        }
    }

    /// The session is over, in the store too.
    pub(super) fn forget(&mut self, session: SessionNumber) {
        self.take(session);
    }

    fn take(&mut self, session: SessionNumber) -> Vec<PacketId> {
        let all = (session, PacketId(0))..=(session, PacketId(u16::MAX));
        let known: Vec<PacketId> = self.contents.range(all).map(|((_, packet), _)| *packet).collect();
        for packet in &known {
            self.contents.remove(&(session, *packet));
        }
        known
    }
}

/// A fixed seed: the number must be the same after a restart.
fn content_of(message: &Message) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    message.topic.as_str().hash(&mut hasher);
    message.payload.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_over_takes_its_arrivals_and_no_others_with_it() {
        let mut arrivals = Arrivals::default();
        let record = |session| ArrivalRecord { session: SessionNumber(session), packet: 7, content: 1 };
        [1, 2].iter().for_each(|session| arrivals.restore(&record(*session)));
        arrivals.forget(SessionNumber(1));
        assert_eq!(arrivals.contents.keys().copied().collect::<Vec<_>>(), [(SessionNumber(2), PacketId(7))]);
    }
}
