//! What outlives the process. The core's records are written by a thread of their own, as many at a time as have come
//! together while the disk was busy, so that a slow disk stalls nobody.
//!
//! What is submitted becomes durable in the order of submission: after a crash the store holds all of it up to some
//! point, and that point lies behind everything that was reported as stored. The records are not interpreted here.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::core::{Record, StoreOp, StoreToken};

mod backlog;
mod batch;
mod committer;
mod desk;
mod directory;
mod engine;
mod format;
mod guard;
mod inspection;
mod key;
mod label;
mod open_error;
mod pace;
mod redb;
mod stats;
mod trouble;
mod watched;

#[cfg(test)]
mod tests;

pub use desk::{Failed, Writer};
pub use format::Unreadable;
pub use inspection::Inspection;
pub use open_error::OpenError;
pub use stats::StoreStats;
pub use trouble::Trouble;

use backlog::Backlog;
use batch::Batch;
use committer::Committer;
use desk::Desk;
use directory::Directory;
use engine::{Opener, Shelf};
use format::FORMAT;
use guard::guarded;
use key::Key;
use label::Label;
use pace::Pace;
use redb::{Expect, RedbEngine, RedbReader};
use watched::SyncWatch;

/// How the store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The time from the beginning of one commit to that of the next, on average: after a rest some follow at once. It
    /// trades delay for writing, which wears SD cards out: a commit writes 19 KB, however little changed.
    pub commit_every: Duration,
    /// When about so many octets wait, they do not wait for `commit_every`: then a commit writes little besides.
    pub commit_bytes: usize,
    /// Octets that may wait for the disk. Beyond it the store reports [`StoreEvent::Failing`], and refuses what comes
    /// by a [`Writer`]. What the core submits is bounded by its own limits.
    pub max_backlog: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { commit_every: Duration::from_millis(20), commit_bytes: 8 << 10, max_backlog: 16 << 20 }
    }
}

/// What the store has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// All that was submitted up to this token is durable.
    Stored(StoreToken),
    /// Nothing becomes durable at present. Said once, and again from time to time while it lasts.
    Failing { reason: String, remedy: String },
    /// It works again: all that was submitted in the meantime is durable.
    Recovered,
}

/// What was found on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// There was nothing yet.
    pub fresh: bool,
    /// A session comes before what belongs to it; its messages are in order.
    pub records: Vec<Record>,
    /// Records that are left where they are because they cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// The names of the links by their numbers, as they were kept last.
    pub links: Vec<(u16, String)>,
    /// The broker as it was kept last.
    pub broker: Option<String>,
    /// The session there as it was kept last.
    pub session: BrokerSession,
}

/// Whether the broker is known to hold for the gateway what the records say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerSession {
    #[default]
    Known,
    /// It may have lost its session and begun another.
    Doubtful,
}

/// The store of a running gateway. Dropping it writes what still waits, or gives up if that fails.
#[derive(Debug)]
pub struct Store {
    desk: Arc<Desk>,
    events: mpsc::UnboundedReceiver<StoreEvent>,
    committer: Option<JoinHandle<()>>,
    /// Locked as long as the store is open.
    _directory: Option<Directory>,
}

impl Store {
    /// Opens the store in a directory, which is made if it is missing, and reads all of it.
    pub fn open(dir: &Path, settings: StoreSettings) -> Result<(Self, Restored), OpenError> {
        let directory = Directory::lock(dir)?;
        let file = directory.file();
        let (watch, mut expect) = (SyncWatch::default(), Expect::Any);
        let opener: Opener = Box::new(move || {
            let engine = RedbEngine::open(&file, expect, &watch)?;
            expect = Expect::Existing;
            Ok(Box::new(engine))
        });
        let (mut store, restored) = Self::start(dir, settings.into(), settings.max_backlog, opener)?;
        if restored.fresh {
            directory.sync().map_err(|error| OpenError::disk(dir, error.into()))?;
        }
        store._directory = Some(directory);
        Ok((store, restored))
    }

    /// Reads the store of a gateway that does not run, which stays as it is.
    pub fn read_only(dir: &Path) -> Result<Restored, OpenError> {
        let directory = Directory::find(dir)?;
        let file = directory.file();
        let read = guarded(|| match RedbReader::open(&file) {
            Ok(reader) => Ok(read_all(&reader, dir)),
            Err(Trouble::NeedsRepair) => Ok(read_all(&RedbEngine::rehearse(&file)?, dir)),
            Err(trouble) => Err(trouble),
        });
        Ok(read.map_err(|trouble| OpenError::disk(dir, trouble))??.0)
    }

    /// Makes changes durable, some time soon, and then reports the token. Never waits.
    pub fn submit(&self, ops: Vec<StoreOp>, token: StoreToken) {
        self.desk.submit(ops, token);
    }

    /// Returns a way to make changes durable and wait for it, which can be given away.
    pub fn writer(&self) -> Writer {
        Writer::new(Arc::clone(&self.desk))
    }

    /// Keeps the names of the links by their numbers, in line with what is submitted.
    pub fn set_links(&self, links: &[(u16, String)]) {
        self.desk.set_label(Label::Links, format::encode(links));
    }

    /// Keeps which broker the records belong to, and who the gateway is there, in line with what is submitted.
    pub fn set_broker(&self, broker: &str) {
        self.desk.set_label(Label::Broker, format::encode(broker));
    }

    /// Keeps whether the session at the broker is known, in line with what is submitted.
    pub fn set_session(&self, session: BrokerSession) {
        self.desk.set_label(Label::Session, format::encode(&session));
    }

    /// Waits for the next event. Can be dropped without losing one.
    pub async fn next_event(&mut self) -> StoreEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The desk has a sender and lives as long as the store.
            None => std::future::pending().await,
        }
    }

    /// Returns what was counted since the start.
    pub fn stats(&self) -> StoreStats {
        self.desk.stats()
    }

    /// Writes what still waits and closes the file. Blocks for as long as that takes; it is tried once.
    pub fn close(mut self) -> Result<(), Failed> {
        self.end();
        self.desk.ended()
    }

    fn start(dir: &Path, pace: Pace, max_backlog: usize, mut opener: Opener) -> Result<(Self, Restored), OpenError> {
        let opened = guarded(|| {
            let mut engine = opener()?;
            let known = read_all(&*engine, dir);
            if let Ok((restored, _)) = &known
                && restored.fresh
            {
                let mut batch = Batch::default();
                batch.set_label(Label::Format, Box::new(FORMAT.to_be_bytes()));
                engine.commit(&batch)?;
            }
            Ok((engine, known))
        });
        let (engine, known) = opened.map_err(|trouble| OpenError::disk(dir, trouble))?;
        let (restored, on_disk) = known?;
        let (sender, events) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk::new(Backlog::new(on_disk), max_backlog, dir, sender));
        let committer = Committer::new(Arc::clone(&desk), engine, opener, pace);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || committer.run());
        let committer = Some(thread.map_err(|error| OpenError::disk(dir, error.into()))?);
        Ok((Self { desk, events, committer, _directory: None }, restored))
    }

    fn end(&mut self) {
        self.desk.close();
        if let Some(committer) = self.committer.take() {
            // Its panics are reported by itself.
            let _ = committer.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads all that an engine holds, and its keys, those of unreadable records too.
fn read_all(shelf: &(impl Shelf + ?Sized), dir: &Path) -> Result<(Restored, BTreeSet<Key>), OpenError> {
    let disk = |trouble| OpenError::disk(dir, trouble);
    let mut restored = Restored::default();
    match shelf.label(Label::Format).map_err(disk)? {
        None => restored.fresh = true,
        Some(format) => check_format(&format, dir)?,
    }
    if let Some(links) = shelf.label(Label::Links).map_err(disk)? {
        restored.links = format::decode(&links).map_err(|reason| disk(Trouble::Damaged(reason)))?;
    }
    if let Some(broker) = shelf.label(Label::Broker).map_err(disk)? {
        restored.broker = Some(format::decode(&broker).map_err(|reason| disk(Trouble::Damaged(reason)))?);
    }
    if let Some(session) = shelf.label(Label::Session).map_err(disk)? {
        restored.session = format::decode(&session).map_err(|reason| disk(Trouble::Damaged(reason)))?;
    }
    let mut keys = BTreeSet::new();
    let read = shelf.read(&mut |key, value| {
        let key = Key::from_octets(key);
        match format::read_record(&key, value) {
            Ok(record) => restored.records.push(record),
            Err(unreadable) => restored.unreadable.push(unreadable),
        }
        keys.insert(key);
    });
    read.map_err(disk)?;
    Ok((restored, keys))
}

fn check_format(octets: &[u8], dir: &Path) -> Result<(), OpenError> {
    let Ok(octets) = octets.try_into() else {
        return Err(OpenError::disk(dir, Trouble::NotOurs));
    };
    let (dir, found) = (dir.to_owned(), u32::from_be_bytes(octets));
    match found.cmp(&FORMAT) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(OpenError::Newer { dir, found }),
        std::cmp::Ordering::Less => Err(OpenError::Older { dir, found }),
    }
}
