//! Messages that only the gateway's process has, or that the broker has to send again after a crash.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vocabulary::Mark;
use crate::core::{ConnId, Delivery};

#[derive(Debug, Default)]
pub(super) struct AtRisk {
    /// Messages that the broker was not told of being taken over. It sends them again to another process, unless it has
    /// forgotten them.
    unacknowledged: BTreeMap<(ConnId, Delivery), Mark>,
    /// Of these, the ones that it has forgotten: nobody has them but the process.
    forgotten: BTreeSet<Mark>,
    /// What comes again after a crash, if the broker does not forget it first.
    repeated: BTreeMap<ConnId, BTreeSet<Mark>>,
}

impl AtRisk {
    pub(super) fn handed(&mut self, conn: ConnId, delivery: Delivery, mark: Mark) {
        self.unacknowledged.insert((conn, delivery), mark);
        if let Some(repeated) = self.repeated.get_mut(&conn) {
            repeated.remove(&mark);
        }
    }

    pub(super) fn acknowledged(&mut self, conn: ConnId, delivery: Delivery) {
        self.unacknowledged.remove(&(conn, delivery));
    }

    /// Whether the broker has yet to send the message again, which only another process had.
    pub(super) fn is_to_come_again(&self, mark: Mark) -> bool {
        self.repeated.values().any(|marks| marks.contains(&mark))
    }

    /// The broker has forgotten a connection's session. Returns what is lost by that.
    pub(super) fn session_lost(&mut self, conn: ConnId) -> BTreeSet<Mark> {
        let deliveries = (conn, Delivery(0))..=(conn, Delivery(u64::MAX));
        let void: Vec<Delivery> = self.unacknowledged.range(deliveries).map(|((_, delivery), _)| *delivery).collect();
        for delivery in void {
            self.forgotten.extend(self.unacknowledged.remove(&(conn, delivery)));
        }
        self.repeated.remove(&conn).unwrap_or_default()
    }

    /// The gateway's process is gone. Returns what is lost by that. A message of which one copy was acknowledged may be
    /// on its way with another; such ones are `recent`.
    pub(super) fn crash(&mut self, recent: impl Iterator<Item = Mark>) -> BTreeSet<Mark> {
        for ((conn, _), mark) in std::mem::take(&mut self.unacknowledged) {
            self.repeated.entry(conn).or_default().insert(mark);
        }
        self.repeated.entry(ConnId::OWN).or_default().extend(recent);
        std::mem::take(&mut self.forgotten)
    }
}
