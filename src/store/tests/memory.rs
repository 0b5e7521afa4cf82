//! A disk for tests, in memory. Every commit on it can fail, before or after it took effect, and be held up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::super::batch::{Batch, Change};
use super::super::engine::{Engine, Opener, Outcome, Shelf};
use super::super::key::SessionKeys;
use super::super::label::Label;
use super::super::trouble::Trouble;

/// What is kept, whatever becomes of the engines on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    inner: Arc<(Mutex<Content>, Condvar)>,
}

/// What is to happen to one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails, and nothing of it is there.
    Refuse,
    /// It takes effect, but fails before anybody is told.
    Cut,
    /// The engine panics.
    Panic,
    /// It is refused, and the engine cannot be opened once.
    Lock,
}

#[derive(Debug, Default)]
struct Content {
    records: BTreeMap<Box<[u8]>, Box<[u8]>>,
    labels: BTreeMap<Label, Box<[u8]>>,
    faults: VecDeque<Fault>,
    closed_openings: u32,
    dead: bool,
    held: bool,
    /// Those that have come as far as the disk.
    begun: u64,
    written: Vec<usize>,
}

impl Disk {
    pub(super) fn opener(&self) -> Opener {
        let disk = self.clone();
        Box::new(move || disk.open())
    }

    /// Lets the next commits fail, one after the other.
    pub(super) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.extend(faults);
    }

    /// Lets every commit fail from now on, or none.
    pub(super) fn set_dead(&self, dead: bool) {
        self.lock().dead = dead;
        self.inner.1.notify_all();
    }

    /// Lets nothing fail any more.
    pub(super) fn heal(&self) {
        let mut content = self.lock();
        content.faults.clear();
        content.closed_openings = 0;
        content.dead = false;
    }

    /// Holds commits up until [`release`](Self::release).
    pub(super) fn hold(&self) {
        self.lock().held = true;
    }

    pub(super) fn release(&self) {
        self.lock().held = false;
        self.inner.1.notify_all();
    }

    /// Waits until so many commits have come to the disk since the beginning.
    pub(super) fn wait_for_commits(&self, number: u64) {
        drop(self.inner.1.wait_while(self.lock(), |content| content.begun < number).unwrap());
    }

    /// Returns how many records each commit wrote or removed that wrote anything.
    pub(super) fn written(&self) -> Vec<usize> {
        self.lock().written.clone()
    }

    fn open(&self) -> Result<Box<dyn Engine>, Trouble> {
        let mut content = self.lock();
        if content.closed_openings > 0 {
            content.closed_openings -= 1;
            return Err(Trouble::Full);
        }
        Ok(Box::new(MemoryEngine { disk: self.clone(), fit: true }))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.inner.0.lock().unwrap()
    }
}

struct MemoryEngine {
    disk: Disk,
    /// Not after an error, as with every engine.
    fit: bool,
}

impl Engine for MemoryEngine {
    fn commit(&mut self, batch: &Batch) -> Result<Outcome, Trouble> {
        assert!(self.fit, "an engine was used after an error");
        let mut content = self.disk.lock();
        content.begun += 1;
        self.disk.inner.1.notify_all();
        content = self.disk.inner.1.wait_while(content, |content| content.held && !content.dead).unwrap();
        let fault = if content.dead { Some(Fault::Refuse) } else { content.faults.pop_front() };
        self.fit = fault.is_none();
        match fault {
            None => Ok(content.apply(batch)),
            Some(Fault::Refuse) => Err(Trouble::Full),
            Some(Fault::Cut) => {
                content.apply(batch);
                Err(Trouble::Other("cut".to_owned()))
            }
            Some(Fault::Panic) => {
                drop(content);
                panic!("the engine was told to");
            }
            Some(Fault::Lock) => {
                content.closed_openings += 1;
                Err(Trouble::Full)
            }
        }
    }
}

impl Content {
    fn apply(&mut self, batch: &Batch) -> Outcome {
        let mut written = 0;
        for session in batch.forgotten() {
            let keys = SessionKeys::of(session);
            let before = self.records.len();
            self.records.retain(|key, _| !keys.octets().contains(&&key[..]));
            written += before - self.records.len();
        }
        for (key, change) in batch.changes() {
            let there = self.records.get(key.octets());
            match change {
                Change::Put(value) if there == Some(value) => {}
                Change::Put(value) => {
                    self.records.insert(key.octets().into(), value.clone());
                    written += 1;
                }
                Change::Remove => written += usize::from(self.records.remove(key.octets()).is_some()),
            }
        }
        for (label, value) in batch.labels() {
            if self.labels.insert(label, value.into()).as_deref() != Some(value) {
                written += 1;
            }
        }
        if written == 0 {
            return Outcome::Unchanged;
        }
        self.written.push(written);
        Outcome::Written
    }
}

impl Shelf for MemoryEngine {
    fn read(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Trouble> {
        self.disk.lock().records.iter().for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn label(&self, label: Label) -> Result<Option<Box<[u8]>>, Trouble> {
        Ok(self.disk.lock().labels.get(&label).cloned())
    }
}
