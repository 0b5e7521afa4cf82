//! What is not yet on disk, and what is known to be there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::{Batch, Change};
use super::format::encode;
use super::key::{Key, SessionKeys};
use super::label::Label;
use crate::core::{SessionNumber, StoreOp};

/// The way of changes to the disk: they wait, are written, and are on disk.
///
/// It is bounded by what is live. A record that is put and removed while it waits leaves no trace, because it is known
/// what the disk holds; so what waits is no more than the records that there are, and the removal of those on disk.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Batch,
    /// Being written at present, by another thread.
    writing: Arc<Batch>,
    /// The keys that are on disk, or may be. No key that is on disk is missing here and in `writing`.
    on_disk: BTreeSet<Key>,
}

impl Backlog {
    pub(super) fn new(on_disk: BTreeSet<Key>) -> Self {
        Self { on_disk, ..Self::default() }
    }

    pub(super) fn add(&mut self, op: StoreOp) {
        match op {
            StoreOp::Put(record) => self.waiting.change(Key::of(&record.key()), Change::Put(encode(&record))),
            StoreOp::Delete(key) => {
                let key = Key::of(&key);
                if self.may_be_on_disk(&key) {
                    self.waiting.change(key, Change::Remove);
                } else {
                    self.waiting.cancel(&key);
                }
            }
            StoreOp::ForgetSession(session) => {
                if self.any_may_be_on_disk(session) {
                    self.waiting.forget(session);
                } else {
                    self.waiting.cancel_session(session);
                }
            }
        }
    }

    pub(super) fn set_label(&mut self, label: Label, value: Box<[u8]>) {
        self.waiting.set_label(label, value);
    }

    /// Returns whether there is anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns about how much memory waits for the disk.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.bytes() + self.writing.bytes()
    }

    /// Takes all that waits, to write it. Ends with [`written`](Self::written) or [`failed`](Self::failed).
    pub(super) fn begin(&mut self) -> Arc<Batch> {
        self.writing = Arc::new(std::mem::take(&mut self.waiting));
        Arc::clone(&self.writing)
    }

    /// Notes that sessions are no longer on disk, before the changes are noted with [`note`](Self::note).
    pub(super) fn note_forgotten(&mut self, session: SessionNumber) {
        self.on_disk.extract_if(SessionKeys::of(session).range(), |_| true).for_each(drop);
    }

    /// Notes a change that is on disk.
    pub(super) fn note(&mut self, key: &Key, change: &Change) {
        match change {
            Change::Put(_) => {
                if !self.on_disk.contains(key) {
                    self.on_disk.insert(key.clone());
                }
            }
            Change::Remove => {
                self.on_disk.remove(key);
            }
        }
    }

    /// Ends the writing: all of it is on disk and noted.
    pub(super) fn written(&mut self) {
        self.writing = Arc::default();
    }

    /// Ends the writing: it may be on disk or not, and waits to be written again.
    pub(super) fn failed(&mut self) {
        let written = std::mem::take(&mut self.writing);
        self.on_disk
            .extend(written.changes().filter(|(_, change)| **change != Change::Remove).map(|(key, _)| key.clone()));
        let newer = std::mem::replace(&mut self.waiting, Arc::unwrap_or_clone(written));
        self.waiting.append(newer);
    }

    /// Takes note of what is on disk in truth, when nothing is being written.
    pub(super) fn found(&mut self, on_disk: BTreeSet<Key>) {
        self.on_disk = on_disk;
        let Self { waiting, on_disk, .. } = self;
        waiting.prune(|key| on_disk.contains(key), |session| any_of(session, on_disk));
    }

    fn may_be_on_disk(&self, key: &Key) -> bool {
        self.writing.puts(key) || self.on_disk.contains(key)
    }

    fn any_may_be_on_disk(&self, session: SessionNumber) -> bool {
        self.writing.mentions(session) || any_of(session, &self.on_disk)
    }
}

fn any_of(session: SessionNumber, keys: &BTreeSet<Key>) -> bool {
    keys.range(SessionKeys::of(session).range()).next().is_some()
}
