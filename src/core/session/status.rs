//! What can be seen of a session from outside.

use super::will::Will;
use super::{Persistence, Phase, Session};
use crate::core::route::Route;
use crate::core::{ClientDetails, ClientPhase, ClientStatus};

impl Session {
    /// Returns what can be said of the session from outside, or `None` if it is over. What is kept for the broker the
    /// session does not know.
    pub(in crate::core) fn status(&self) -> Option<ClientStatus<'_>> {
        let (phase, until) = match &self.phase {
            Phase::Handshake(_) => (ClientPhase::Handshake, None),
            // Behind a lost link it is kept as if it slept.
            Phase::Active(presence) if self.cut_off.is_some() => (ClientPhase::Asleep, self.lost_at(presence)),
            Phase::Active(presence) => (ClientPhase::Active, self.lost_at(presence)),
            Phase::Asleep(presence) => (ClientPhase::Asleep, self.lost_at(presence)),
            Phase::Awake { presence, .. } => (ClientPhase::Awake, presence.lost_at()),
            Phase::Away { expires } => (ClientPhase::Away, Some(*expires)),
            Phase::Over => return None,
        };
        Some(ClientStatus {
            place: self.key.0,
            client_id: &self.client_id,
            phase,
            is_persistent: self.persistence == Persistence::Persistent,
            peer: self.route().map(Route::peer),
            heard: self.phase.presence().map(|presence| presence.heard),
            until,
            topics: self.registry.len(),
            subscriptions: self.subscriptions.len(),
            publishes: self.uplink.len(),
            queued: self.outbox.len(),
            queued_octets: self.outbox.octets(),
            kept: 0,
        })
    }

    pub(in crate::core) fn details<'a>(&'a self, status: ClientStatus<'a>) -> ClientDetails<'a> {
        ClientDetails {
            status,
            will: self.will.as_ref().map(Will::record),
            topics: self.registry.iter().collect(),
            subscriptions: self.subscriptions.iter().collect(),
            queue: self.outbox.parcels().map(|parcel| (&parcel.message, parcel.terms.expires)).collect(),
        }
    }
}
