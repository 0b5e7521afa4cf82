//! Taking back the broker's side of a former process.

use bytestring::ByteString;

use super::tokens::Pending;
use super::{Clients, Origin, Upstream};
use crate::core::outage::OutageSettings;
use crate::core::sessions::SessionKey;
use crate::core::topics::TopicFilter;
use crate::core::{ArrivalRecord, FilterRecord, Instant, Token, UpstreamRecord};
use crate::wire::Qos;

impl Upstream {
    /// Returns how many messages wait for the broker.
    pub(in crate::core) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Returns how many messages of one client wait for the broker.
    pub(in crate::core) fn kept_of(&self, client: &ByteString) -> usize {
        self.kept.of(client)
    }

    /// Returns whether the record makes sense.
    pub(in crate::core) fn restore_filter(&mut self, record: &FilterRecord) -> bool {
        self.origin = Origin::Restored;
        self.held.restore(record)
    }

    pub(in crate::core) fn restore_arrival(&mut self, record: &ArrivalRecord) {
        self.arrivals.restore(record);
    }

    /// A client's own connection finds out by itself what the broker holds for it.
    pub(in crate::core) fn restore_subscription(&mut self, owner: SessionKey, filter: &TopicFilter, qos: Qos) {
        self.origin = Origin::Restored;
        match &mut self.mode {
            Clients::Aggregating(shared) => shared.restore(owner, filter, qos),
            Clients::Transparent(_) => {}
        }
    }

    /// A connection goes on with a client's message of a former process, and will tell how it ends.
    pub(in crate::core) fn expect_publish(&mut self, token: Token, owner: SessionKey) {
        self.publishes_in_flight += 1;
        self.tokens.issue_as(token, Pending::Publish { owner: Some(owner) });
    }

    /// Takes back a message that was kept. `under_way` is its token if a connection goes on with it. Returns whether
    /// the record makes sense.
    pub(in crate::core) fn restore_kept(
        &mut self,
        settings: &OutageSettings,
        now: Instant,
        record: UpstreamRecord,
        under_way: Option<Token>,
    ) -> bool {
        let place = record.place;
        if !self.kept.restore(settings, now, record) {
            return false;
        }
        if let Some(token) = under_way {
            self.kept.set_under_way(place);
            self.tokens.issue_as(token, Pending::Kept { place });
        }
        true
    }
}
