//! Where changes are handed in: the side of the store that never waits for the disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::StoreEvent;
use super::backlog::Backlog;
use super::batch::{Batch, Change};
use super::engine::Outcome;
use super::key::Key;
use super::label::Label;
use super::stats::StoreStats;
use super::trouble::Trouble;
use crate::core::{StoreOp, StoreToken};

/// Why changes are not durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// They stay in line, and become durable when the disk works again unless newer ones take their place.
    #[error("{0}")]
    Disk(Trouble),
    /// They were not taken.
    #[error("too much waits for the disk")]
    Backlog,
    /// They were not taken.
    #[error("the store is closed")]
    Closed,
}

/// A way to make changes durable and to wait for it.
#[derive(Clone, Debug)]
pub struct Writer {
    desk: Arc<Desk>,
}

impl Writer {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// Makes changes durable, together: the future ends when they are. They take their place in line with the call, not
    /// with the first poll, and keep it if the future is dropped.
    pub fn write(&self, ops: Vec<StoreOp>) -> impl Future<Output = Result<(), Failed>> + Send + use<> {
        let answer = self.desk.write(ops);
        async move {
            match answer?.await {
                Ok(result) => result,
                Err(oneshot::error::RecvError { .. }) => Err(Failed::Closed),
            }
        }
    }
}

/// The desk: changes come in on one side, the committer takes them on the other.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    /// Something has come in, or the store closes.
    changed: Condvar,
    max_backlog: usize,
    dir: PathBuf,
    /// Without a bound: there is one event for what the receiver has submitted, and now and then one of trouble.
    events: mpsc::UnboundedSender<StoreEvent>,
}

#[derive(Debug)]
struct State {
    backlog: Backlog,
    promised: Promises,
    health: Health,
    phase: Phase,
    committer: Waiting,
    stats: StoreStats,
}

/// What the committer waits for. It is woken for nothing else: that costs as much as a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Nothing: it writes, or pauses.
    Nothing,
    /// Something to do.
    Work,
    /// So many octets.
    Octets(usize),
}

/// Who waits for what is in the backlog.
#[derive(Debug, Default)]
struct Promises {
    token: Option<StoreToken>,
    writers: Vec<oneshot::Sender<Result<(), Failed>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// More waits than may, though the disk works.
    Slow,
    Failing(Trouble),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What waits is written, nothing more is taken.
    Closing,
    Closed,
}

/// What the committer has taken to write.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Arc<Batch>,
    promised: Promises,
}

/// Whether the committer is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Write,
    Stop,
}

/// The side of the app.
impl Desk {
    pub(super) fn new(
        backlog: Backlog,
        max_backlog: usize,
        dir: &Path,
        events: mpsc::UnboundedSender<StoreEvent>,
    ) -> Self {
        let state = State {
            backlog,
            promised: Promises::default(),
            health: Health::Well,
            phase: Phase::Open,
            committer: Waiting::Nothing,
            stats: StoreStats::default(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_backlog, dir: dir.to_owned(), events }
    }

    pub(super) fn submit(&self, ops: Vec<StoreOp>, token: StoreToken) {
        let mut state = self.lock();
        state.add(ops);
        state.promised.token = Some(token);
        if state.health == Health::Well && state.backlog.bytes() > self.max_backlog {
            state.health = Health::Slow;
            self.say_slow(state.backlog.bytes());
        }
        self.wake(&state);
    }

    pub(super) fn set_label(&self, label: Label, value: Box<[u8]>) {
        let mut state = self.lock();
        state.backlog.set_label(label, value);
        self.wake(&state);
    }

    pub(super) fn stats(&self) -> StoreStats {
        let state = self.lock();
        StoreStats { backlog: state.backlog.bytes(), ..state.stats }
    }

    /// Lets the committer write what waits and end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        self.changed.notify_one();
    }

    /// Returns, when the committer has ended, whether all is durable.
    pub(super) fn ended(&self) -> Result<(), Failed> {
        let state = self.lock();
        match &state.health {
            _ if state.backlog.is_empty() => Ok(()),
            Health::Failing(trouble) => Err(Failed::Disk(trouble.clone())),
            Health::Well | Health::Slow => Err(Failed::Closed),
        }
    }

    fn write(&self, ops: Vec<StoreOp>) -> Result<oneshot::Receiver<Result<(), Failed>>, Failed> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(Failed::Closed);
        }
        if state.backlog.bytes() > self.max_backlog {
            state.stats.refused += 1;
            return Err(Failed::Backlog);
        }
        state.add(ops);
        self.wake(&state);
        if let Health::Failing(trouble) = &state.health {
            return Err(Failed::Disk(trouble.clone()));
        }
        let (promise, answer) = oneshot::channel();
        state.promised.writers.push(promise);
        Ok(answer)
    }

    fn wake(&self, state: &State) {
        let is_awaited = match state.committer {
            Waiting::Nothing => false,
            Waiting::Work => true,
            Waiting::Octets(enough) => state.backlog.bytes() >= enough,
        };
        if is_awaited {
            self.changed.notify_one();
        }
    }

    fn say_slow(&self, bytes: usize) {
        let reason = format!(
            "{} KiB wait to be written to the store in {}, and {} KiB may",
            bytes >> 10,
            self.dir.display(),
            self.max_backlog >> 10
        );
        let remedy = "the disk is slower than the messages come: a faster one helps".to_owned();
        self.say(StoreEvent::Failing { reason, remedy });
    }
}

/// The side of the committer.
impl Desk {
    /// Waits until there is something to do.
    pub(super) fn wait(&self) -> Next {
        let idle = |state: &mut State| state.phase == Phase::Open && !state.has_work();
        let mut state = self.lock();
        state.committer = Waiting::Work;
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        state.committer = Waiting::Nothing;
        if state.has_work() { Next::Write } else { Next::Stop }
    }

    /// Waits for a time, shorter if so many octets come together or the store closes.
    pub(super) fn gather(&self, time: Duration, enough: usize) {
        let mut state = self.lock();
        state.committer = Waiting::Octets(enough);
        let waits = |state: &mut State| state.phase == Phase::Open && state.backlog.bytes() < enough;
        let waited = self.changed.wait_timeout_while(state, time, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.committer = Waiting::Nothing;
    }

    /// Waits for a time, shorter if the store closes.
    pub(super) fn pause(&self, time: Duration) {
        let open = |state: &mut State| state.phase == Phase::Open;
        drop(self.changed.wait_timeout_while(self.lock(), time, open));
    }

    /// Returns whether anything waits for the disk, and not only for word that it is done.
    pub(super) fn has_changes(&self) -> bool {
        !self.lock().backlog.is_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().phase == Phase::Open
    }

    /// Takes all that waits. Ends with [`written`](Self::written) or [`failed`](Self::failed).
    pub(super) fn begin(&self) -> Work {
        let mut state = self.lock();
        Work { batch: state.backlog.begin(), promised: std::mem::take(&mut state.promised) }
    }

    /// Keeps the promises of what is now durable.
    pub(super) fn written(&self, work: Work, outcome: Outcome) {
        self.note(&work.batch);
        let mut state = self.lock();
        state.backlog.written();
        if outcome == Outcome::Written {
            state.stats.commits += 1;
            state.stats.changes += work.batch.changes().count() as u64;
        }
        let drained = state.backlog.bytes() <= self.max_backlog / 2;
        let recovered = state.health != Health::Well && drained;
        state.health = match state.health {
            Health::Well => Health::Well,
            Health::Slow | Health::Failing(_) if drained => Health::Well,
            Health::Slow | Health::Failing(_) => Health::Slow,
        };
        drop(state);
        if let Some(token) = work.promised.token {
            self.say(StoreEvent::Stored(token));
        }
        if recovered {
            self.say(StoreEvent::Recovered);
        }
        for promise in work.promised.writers {
            // Whoever no longer waits need not know.
            let _ = promise.send(Ok(()));
        }
    }

    /// Puts work back that may be durable or not.
    pub(super) fn failed(&self, work: Work, trouble: &Trouble) {
        let Work { batch, promised } = work;
        drop(batch);
        let mut state = self.lock();
        state.backlog.failed();
        state.promised.token = state.promised.token.or(promised.token);
        state.promised.writers.extend(promised.writers);
        drop(state);
        self.trouble(trouble);
    }

    /// Breaks the promises: there is no telling when they can be kept.
    pub(super) fn trouble(&self, trouble: &Trouble) {
        let mut state = self.lock();
        state.stats.failures += 1;
        let writers = std::mem::take(&mut state.promised.writers);
        let news = state.health != Health::Failing(trouble.clone());
        state.health = Health::Failing(trouble.clone());
        drop(state);
        if news {
            self.say_failing(trouble);
        }
        for promise in writers {
            let _ = promise.send(Err(Failed::Disk(trouble.clone())));
        }
    }

    pub(super) fn say_failing(&self, trouble: &Trouble) {
        let reason = format!("nothing can be written to the store in {}: {trouble}", self.dir.display());
        self.say(StoreEvent::Failing { reason, remedy: trouble.remedy(&self.dir) });
    }

    /// Takes note of what is on disk after a failure.
    pub(super) fn found(&self, on_disk: BTreeSet<Key>) {
        self.lock().backlog.found(on_disk);
    }

    /// Nothing is written any more.
    pub(super) fn committer_ended(&self) {
        let mut state = self.lock();
        let unexpected = state.phase == Phase::Open;
        state.phase = Phase::Closed;
        let promised = std::mem::take(&mut state.promised);
        drop(state);
        for promise in promised.writers {
            let _ = promise.send(Err(Failed::Closed));
        }
        if unexpected {
            self.say_failing(&Trouble::Other(
                "the thread that writes has ended by an error in this program".to_owned(),
            ));
        }
    }

    /// Notes what is on disk. The lock is given away in between, so that a large commit stalls nobody.
    fn note(&self, batch: &Batch) {
        const AT_ONCE: usize = 256;
        for session in batch.forgotten() {
            self.lock().backlog.note_forgotten(session);
        }
        let changes: Vec<(&Key, &Change)> = batch.changes().collect();
        for some in changes.chunks(AT_ONCE) {
            let mut state = self.lock();
            some.iter().for_each(|(key, change)| state.backlog.note(key, change));
        }
    }

    fn say(&self, event: StoreEvent) {
        // Nobody listens while the store is being dropped.
        let _ = self.events.send(event);
    }

    /// Nothing panics while it holds the lock; if something did, the state would still be whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, ops: Vec<StoreOp>) {
        self.stats.ops += ops.len() as u64;
        ops.into_iter().for_each(|op| self.backlog.add(op));
    }

    fn has_work(&self) -> bool {
        !self.backlog.is_empty() || self.promised.token.is_some() || !self.promised.writers.is_empty()
    }
}
