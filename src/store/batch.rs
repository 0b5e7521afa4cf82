//! What one commit changes: all that was asked for since the last one, each key once.

use std::collections::{BTreeMap, BTreeSet};

use super::key::{Key, SessionKeys};
use super::label::Label;
use crate::core::SessionNumber;

/// Changes that take effect together. The sessions are forgotten first; the other changes came after that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    forgotten: BTreeSet<SessionNumber>,
    changes: BTreeMap<Key, Change>,
    labels: BTreeMap<Label, Box<[u8]>>,
    bytes: usize,
}

/// The last that was asked for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Box<[u8]>),
    Remove,
}

impl Batch {
    pub(super) fn change(&mut self, key: Key, change: Change) {
        let entry = OVERHEAD + key.octets().len();
        self.bytes += entry + value_size(&change);
        if let Some(replaced) = self.changes.insert(key, change) {
            self.bytes -= entry + value_size(&replaced);
        }
    }

    /// Takes a change back, as if it had never been asked for.
    pub(super) fn cancel(&mut self, key: &Key) {
        if let Some(change) = self.changes.remove(key) {
            self.bytes -= size(key, &change);
        }
    }

    /// Forgets a session together with all changes of it so far.
    pub(super) fn forget(&mut self, session: SessionNumber) {
        self.cancel_session(session);
        if self.forgotten.insert(session) {
            self.bytes += OVERHEAD;
        }
    }

    /// Takes all changes of a session back.
    pub(super) fn cancel_session(&mut self, session: SessionNumber) {
        let keys = SessionKeys::of(session);
        let bytes = &mut self.bytes;
        let cancelled = self.changes.extract_if(keys.range(), |_, _| true);
        cancelled.for_each(|(key, change)| *bytes -= size(&key, &change));
    }

    pub(super) fn set_label(&mut self, label: Label, value: Box<[u8]>) {
        self.bytes += OVERHEAD + value.len();
        if let Some(replaced) = self.labels.insert(label, value) {
            self.bytes -= OVERHEAD + replaced.len();
        }
    }

    /// Adds what was asked for after all of this.
    pub(super) fn append(&mut self, newer: Self) {
        newer.forgotten.into_iter().for_each(|session| self.forget(session));
        newer.changes.into_iter().for_each(|(key, change)| self.change(key, change));
        newer.labels.into_iter().for_each(|(label, value)| self.set_label(label, value));
    }

    /// Takes back what would remove something that is not there.
    pub(super) fn prune(&mut self, is_there: impl Fn(&Key) -> bool, any_there: impl Fn(SessionNumber) -> bool) {
        let bytes = &mut self.bytes;
        self.changes.retain(|key, change| {
            let needed = match change {
                Change::Put(_) => true,
                Change::Remove => is_there(key),
            };
            *bytes -= if needed { 0 } else { size(key, change) };
            needed
        });
        self.forgotten.retain(|session| {
            let needed = any_there(*session);
            *bytes -= if needed { 0 } else { OVERHEAD };
            needed
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.changes.is_empty() && self.labels.is_empty()
    }

    /// Returns about how much memory the batch takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn forgotten(&self) -> impl Iterator<Item = SessionNumber> {
        self.forgotten.iter().copied()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = (&Key, &Change)> {
        self.changes.iter()
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = (Label, &[u8])> {
        self.labels.iter().map(|(label, value)| (*label, &value[..]))
    }

    /// Returns whether the batch would put a record under the key.
    pub(super) fn puts(&self, key: &Key) -> bool {
        matches!(self.changes.get(key), Some(Change::Put(_)))
    }

    /// Returns whether the batch names a key of the session.
    pub(super) fn mentions(&self, session: SessionNumber) -> bool {
        self.forgotten.contains(&session) || self.changes.range(SessionKeys::of(session).range()).next().is_some()
    }
}

/// What an entry takes besides its octets: its place in the tree and the allocator's headers.
const OVERHEAD: usize = 64;

fn size(key: &Key, change: &Change) -> usize {
    OVERHEAD + key.octets().len() + value_size(change)
}

fn value_size(change: &Change) -> usize {
    match change {
        Change::Put(value) => value.len(),
        Change::Remove => 0,
    }
}
