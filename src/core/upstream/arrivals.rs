//! QoS 2 messages from the broker that were taken over, by their packet ids.
//!
//! Between the moment in which a message is stored for its clients and the one in which the broker has heard of it the
//! gateway may be killed. The broker then sends the message again, and it must not come to anyone twice.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::core::journal::Journal;
use crate::core::{ArrivalRecord, Message, Outputs, PacketId, Record, RecordKey, SessionNumber};

/// At most one for each packet id: 65,535.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    contents: BTreeMap<PacketId, u64>,
}

impl Arrivals {
    /// Notes that a message has been taken over. It stands until the broker uses the packet id anew.
    pub(super) fn note(&mut self, out: &mut Outputs, journal: &mut Journal, packet: PacketId, message: &Message) {
        let content = content_of(message);
        self.contents.insert(packet, content);
        journal.put(out, Record::Arrival(ArrivalRecord { session: SessionNumber::GATEWAY, packet: packet.0, content }));
    }

    /// Returns whether this message was taken over before, under the same packet id.
    pub(super) fn knows(&self, packet: PacketId, message: &Message) -> bool {
        self.contents.get(&packet) == Some(&content_of(message))
    }

    pub(super) fn restore(&mut self, record: &ArrivalRecord) {
        self.contents.insert(PacketId(record.packet), record.content);
    }

    /// The broker has forgotten its session, and nothing comes again.
    pub(super) fn clear(&mut self, out: &mut Outputs, journal: &mut Journal) {
        for packet in std::mem::take(&mut self.contents).into_keys() {
            journal.delete(out, RecordKey::Arrival(SessionNumber::GATEWAY, packet.0));
        }
    }
}

/// A fixed seed: the number must be the same after a restart.
fn content_of(message: &Message) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    message.topic.as_str().hash(&mut hasher);
    message.payload.hash(&mut hasher);
    hasher.finish()
}
