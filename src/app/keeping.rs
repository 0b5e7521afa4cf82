//! The store as the gateway uses it: what the core writes, what it is told, and what the broker connections keep there.

use std::collections::BTreeMap;
use std::path::{self, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::config::Config;
use super::store_words::shown;
use crate::broker::{Checkpoint, KeepError, Keeping as Kept, SessionKeeper};
use crate::core::{
    CheckpointRecord, Durability, FilterRecord, Instant, LinkId, PresenceRecord, Record, RecordKey, SessionNumber,
    SessionRecord, StoreOp, StoreToken, Token,
};
use crate::store::{BrokerSession, OpenError, Restored, Store, StoreEvent, StoreSettings, Writer};

/// How often a store is tried to open that is in use.
const ATTEMPTS: usize = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// For how long the disk may keep the gateway from connecting to the broker.
const BEFORE_CONNECTING: Duration = Duration::from_secs(1);

/// The store, if there is one, and what waits to be handed to it.
pub(super) struct Keeping {
    store: Option<Store>,
    /// What broker connections have kept last, by whose they are.
    checkpoints: BTreeMap<SessionNumber, LastCheckpoint>,
    durability: Durability,
    ops: Vec<StoreOp>,
    written: StoreToken,
}

/// What a former process left for the core.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    pub(super) records: Vec<Record>,
    /// The messages that connections to the broker still have under way.
    pub(super) under_way: Vec<Token>,
}

/// Shared by the connections that a client has one after the other.
type LastCheckpoint = Arc<Mutex<Option<Bytes>>>;

/// One connection's part of the store.
struct Keeper {
    session: SessionNumber,
    last: LastCheckpoint,
    writer: Writer,
    durability: Durability,
}

impl Keeping {
    /// Opens the store that the configuration names, and reads what is in it. Returns as well how durable things are.
    pub(super) fn open(config: &Config) -> anyhow::Result<(Self, Legacy, Durability)> {
        let Some(dir) = &config.keeping.dir else {
            info!(
                "data_dir is \"\": nothing is kept on disk; a restart forgets every device and what waits for it, and \
                 while the broker is away devices are told congestion"
            );
            return Ok((Self::without(), Legacy::default(), Durability::Nothing));
        };
        // As it is found from everywhere: a person reads it.
        let dir = &path::absolute(dir).unwrap_or_else(|_| dir.clone());
        let (store, found) = match open_patiently(dir, config.keeping.settings) {
            Ok(opened) => opened,
            // Two gateways must not share a directory; that is no trouble with the disk.
            Err(problem @ OpenError::InUse { .. }) => anyhow::bail!("{problem}"),
            Err(problem) if config.keeping.durability == Durability::BestEffort => {
                error!("{problem}");
                warn!(
                    "going on without a store, as [store] on_failure = \"continue\" says: a restart forgets everything"
                );
                return Ok((Self::without(), Legacy::default(), Durability::Nothing));
            }
            Err(problem) => {
                anyhow::bail!(
                    "{problem}\n  what devices are told must survive a restart; to start all the same without a store, \
                     set data_dir = \"\" or --data-dir \"\", or [store] on_failure = \"continue\""
                );
            }
        };
        let state = if found.fresh { ", which is empty yet" } else { "" };
        info!("what must survive a restart or a power cut is kept in {}{state}", shown(dir));
        for unreadable in &found.unreadable {
            warn!("the store in {} holds what cannot be read: {unreadable}", dir.display());
        }
        let durability = config.keeping.durability;
        let mut keeping = Self { store: Some(store), durability, ..Self::without() };
        let mut records = found.records;
        keeping.leave_former_broker(config, found.broker.as_deref(), &mut records);
        keeping.follow_links(config, &found.links, &mut records);
        if found.session == BrokerSession::Doubtful {
            forget_grants(&mut records);
        }
        let mut under_way = Vec::new();
        for record in &records {
            if let Record::Checkpoint(CheckpointRecord { session, octets }) = record {
                // What cannot be read begins anew; the connection says so.
                under_way.extend(Checkpoint::tokens(octets).unwrap_or_default());
                keeping.checkpoints.insert(*session, Arc::new(Mutex::new(Some(octets.clone()))));
            }
        }
        Ok((keeping, Legacy { records, under_way }, durability))
    }

    /// Keeps nothing.
    pub(super) fn without() -> Self {
        let durability = Durability::Nothing;
        Self { store: None, checkpoints: BTreeMap::new(), durability, ops: Vec::new(), written: StoreToken::default() }
    }

    /// Sees to it that a process that ends before the broker's answer to CONNECT is understood makes the next one ask
    /// again for all subscriptions: if the broker has lost the session, that answer has begun another, and says so once.
    /// To be waited for before the first CONNECT.
    pub(super) async fn doubt_session(&self) {
        let Some(store) = &self.store else { return };
        store.set_session(BrokerSession::Doubtful);
        // Should the disk fail, that is told elsewhere.
        let _written = timeout(BEFORE_CONNECTING, store.writer().write(Vec::new())).await;
    }

    /// The connection to the broker broke: its next CONNECT comes after a pause, and this is written by then.
    pub(super) fn on_down(&self) {
        if let Some(store) = &self.store {
            store.set_session(BrokerSession::Doubtful);
        }
    }

    /// What the broker's answer means is noted, and is written before this.
    pub(super) fn on_up(&mut self) {
        self.submit();
        if let Some(store) = &self.store {
            store.set_session(BrokerSession::Known);
        }
    }

    /// Returns what a connection keeps its state with.
    pub(super) fn keeper(&mut self, session: SessionNumber) -> Option<Arc<dyn SessionKeeper>> {
        let writer = self.store.as_ref()?.writer();
        let last = Arc::clone(self.checkpoints.entry(session).or_default());
        Some(Arc::new(Keeper { session, last, writer, durability: self.durability }))
    }

    /// What it means that the store cannot write, for as long as that lasts.
    pub(super) fn meanwhile(&self) -> &'static str {
        match self.durability {
            Durability::BestEffort => {
                "what is accepted meanwhile does not survive a restart, as on_failure = \"continue\" says"
            }
            Durability::Nothing | Durability::Strict => {
                "meanwhile devices are told congestion where something would have to be stored, and messages at QoS 1 and \
                 2 for sleeping devices stay with the broker; in mode \"aggregating\", once as many of them wait as it \
                 sends ahead, those for all other devices wait behind them"
            }
        }
    }

    /// Takes one operation of the core's.
    pub(super) fn note(&mut self, op: StoreOp, token: StoreToken) {
        if let StoreOp::ForgetSession(session) = &op {
            self.checkpoints.remove(session);
        }
        self.ops.push(op);
        self.written = token;
    }

    /// Returns the last operation of the core's.
    pub(super) fn written(&self) -> StoreToken {
        self.written
    }

    /// Hands over what was noted. To be called when all that one input has brought about is noted, before the tasks of
    /// broker connections get their turn: what they keep because of it must come behind it.
    pub(super) fn submit(&mut self) {
        if self.ops.is_empty() {
            return;
        }
        if let Some(store) = &self.store {
            store.submit(std::mem::take(&mut self.ops), self.written);
        }
    }

    /// Waits for news from the store; without one for ever.
    pub(super) async fn next_event(&mut self) -> StoreEvent {
        match &mut self.store {
            Some(store) => store.next_event().await,
            None => std::future::pending().await,
        }
    }

    /// Writes what is left. Blocks.
    pub(super) fn close(self) {
        if let Some(store) = self.store
            && let Err(problem) = store.close()
        {
            error!("the store could not be closed in order: {problem}");
        }
    }

    /// What a broker was asked for, or sent, means nothing to another.
    fn leave_former_broker(&self, config: &Config, former: Option<&str>, records: &mut Vec<Record>) {
        let broker = format!("{} as {}", config.broker.url, config.broker.client_id);
        let Some(store) = &self.store else { return };
        if former == Some(&broker) {
            return;
        }
        if let Some(former) = former {
            info!("the broker was {former} before; what was under way there is sent again");
        }
        let is_former = |record: &Record| match record.key() {
            RecordKey::Arrival(..) | RecordKey::Filter(_) | RecordKey::Checkpoint(_) => true,
            RecordKey::Session(_)
            | RecordKey::Topic(..)
            | RecordKey::Subscription(..)
            | RecordKey::Queued(..)
            | RecordKey::Exchange(..)
            | RecordKey::Upstream(_)
            | RecordKey::Completed(_) => false,
        };
        let outdated: Vec<StoreOp> =
            records.extract_if(.., |record| is_former(record)).map(|record| StoreOp::Delete(record.key())).collect();
        store.submit(outdated, StoreToken::default());
        store.set_broker(&broker);
    }

    /// Links are numbered in the order of the configuration, which may have changed: routes follow the link's name.
    /// A client whose link is gone is away.
    fn follow_links(&self, config: &Config, former: &[(u16, String)], records: &mut [Record]) {
        let names: Vec<(u16, String)> = config.links().iter().map(|(LinkId(id), link)| (*id, link.name())).collect();
        if names == former {
            return;
        }
        let renumbered = |link: u16| {
            let (_, name) = former.iter().find(|(id, _)| *id == link)?;
            names.iter().find(|(_, other)| other == name).map(|(id, _)| *id)
        };
        let mut moved = Vec::new();
        for record in records {
            let Record::Session(SessionRecord { presence, .. }) = record else { continue };
            match presence {
                PresenceRecord::Active { route, .. } | PresenceRecord::Asleep { route, .. } => {
                    match renumbered(route.link) {
                        Some(link) => route.link = link,
                        // Kept for as long as the core keeps a session whose client is away.
                        None => *presence = PresenceRecord::Away { expires: Instant::from_origin(Duration::MAX) },
                    }
                }
                PresenceRecord::Away { .. } => {}
            }
            moved.push(StoreOp::Put(record.clone()));
        }
        if let Some(store) = &self.store {
            store.submit(moved, StoreToken::default());
            store.set_links(&names);
        }
    }
}

/// Takes nothing for granted by the broker. Messages may still carry the numbers of former days.
fn forget_grants(records: &mut [Record]) {
    for record in records {
        if let Record::Filter(FilterRecord { granted, others, .. }) = record {
            others.extend(granted.take().filter(|number| *number != 0));
        }
    }
}

impl SessionKeeper for Keeper {
    fn load(&self) -> Option<Bytes> {
        lock(&self.last).clone()
    }

    fn save(&self, checkpoint: Option<Bytes>, completed: Vec<Token>) -> Kept {
        let session = self.session;
        lock(&self.last).clone_from(&checkpoint);
        let mut ops = vec![match checkpoint {
            Some(octets) => StoreOp::Put(Record::Checkpoint(CheckpointRecord { session, octets })),
            None => StoreOp::Delete(RecordKey::Checkpoint(session)),
        }];
        ops.extend(completed.into_iter().map(|token| StoreOp::Put(Record::Completed(token))));
        let written = self.writer.write(ops);
        let durability = self.durability;
        Box::pin(async move {
            match (written.await, durability) {
                // It goes on as if there were no store.
                (Err(_), Durability::BestEffort) => Ok(()),
                (written, _) => written.map_err(KeepError::new),
            }
        })
    }
}

/// Opens a store that somebody may still be looking at: `sessions` and `check` have it for a moment.
fn open_patiently(dir: &Path, settings: StoreSettings) -> Result<(Store, Restored), OpenError> {
    for _ in 1..ATTEMPTS {
        match Store::open(dir, settings) {
            Err(OpenError::InUse { .. }) => std::thread::sleep(BETWEEN_ATTEMPTS),
            outcome @ (Ok(_) | Err(_)) => return outcome,
        }
    }
    Store::open(dir, settings)
}

/// Nothing is done under the lock that could leave the value half changed.
fn lock(last: &LastCheckpoint) -> MutexGuard<'_, Option<Bytes>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
