//! The scripted store: it has everything at once, unless the test holds it back or lets it fail.

use std::collections::{BTreeMap, VecDeque};

use mqttsn_gateway::core::{Input, Record, RecordKey, SessionRecord, StoreOp, StoreToken};

use crate::broker::Asked;
use crate::world::World;

/// What the store has, and what it was asked for and does not have yet.
#[derive(Default)]
pub(crate) struct StoreMemory {
    hands: Hands,
    records: BTreeMap<RecordKey, Record>,
    /// By turns: what one call of the gateway asks for is stored as a whole or not at all.
    asked: VecDeque<Turn>,
    turn: Turn,
    /// Turns that have left the records other than they were.
    writes: usize,
}

/// Who says when something is stored.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Hands {
    #[default]
    Store,
    Test,
}

#[derive(Default)]
struct Turn {
    ops: Vec<StoreOp>,
    last: StoreToken,
}

/// What the store does.
pub(crate) struct Store<'w> {
    world: &'w mut World,
}

impl StoreMemory {
    /// The gateway asks for something.
    #[track_caller]
    pub(crate) fn asked(&mut self, op: StoreOp, token: StoreToken) {
        assert!(token > self.turn.last, "tokens ascend");
        self.turn.ops.push(op);
        self.turn.last = token;
    }

    /// The gateway has been called once. Returns up to where everything is stored now, if that is news.
    pub(crate) fn end_turn(&mut self) -> Option<StoreToken> {
        let last = self.turn.last;
        let ops = std::mem::take(&mut self.turn.ops);
        if ops.is_empty() {
            return None;
        }
        self.asked.push_back(Turn { ops, last });
        (self.hands == Hands::Store).then(|| self.store_all()).flatten()
    }

    /// Whether something was asked for that is not stored.
    pub(crate) fn is_behind(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Only what is stored outlives the gateway.
    pub(crate) fn restarts(&mut self) -> Vec<Record> {
        let records = std::mem::take(&mut self.records);
        *self = Self { records, ..Self::default() };
        self.records.values().cloned().collect()
    }

    fn store_all(&mut self) -> Option<StoreToken> {
        std::iter::from_fn(|| self.store_turn()).last()
    }

    fn store_turn(&mut self) -> Option<StoreToken> {
        let Turn { ops, last } = self.asked.pop_front()?;
        let before = self.records.clone();
        for op in ops {
            match op {
                StoreOp::Put(record) => _ = self.records.insert(record.key(), record),
                StoreOp::Delete(key) => _ = self.records.remove(&key),
                StoreOp::ForgetSession(number) => self.records.retain(|key, _| key.session() != Some(number)),
            }
        }
        self.writes += usize::from(self.records != before);
        Some(last)
    }
}

impl<'w> Store<'w> {
    pub(crate) fn new(world: &'w mut World) -> Self {
        Self { world }
    }

    /// From now on nothing is stored before the test says so.
    pub(crate) fn holds(&mut self) {
        self.world.store.hands = Hands::Test;
    }

    /// What the gateway asked for first is stored, and nothing else.
    #[track_caller]
    pub(crate) fn stores_one(&mut self) {
        let stored = self.world.store.store_turn().expect("something to store");
        self.world.input(Input::Stored(stored));
    }

    /// Everything asked for so far is stored, and the gateway killed before it hears of that.
    #[track_caller]
    pub(crate) fn stores_unheard(&mut self) {
        self.world.store.store_all().expect("something to store");
    }

    /// Everything asked for so far is stored.
    #[track_caller]
    pub(crate) fn stores(&mut self) {
        let stored = self.world.store.store_all().expect("something to store");
        self.world.input(Input::Stored(stored));
    }

    /// It cannot write, and says so.
    #[track_caller]
    pub(crate) fn fails(&mut self) {
        self.holds();
        self.world.input(Input::StoreFailing);
    }

    /// It can write again, and has written what it was asked for.
    #[track_caller]
    pub(crate) fn recovers(&mut self) {
        self.world.store.hands = Hands::Store;
        let stored = self.world.store.store_all().unwrap_or(self.world.store.turn.last);
        self.world.input(Input::Stored(stored));
    }

    /// A connection to the broker notes that the broker has this message for good.
    pub(crate) fn completes(&mut self, publish: &Asked) {
        let record = Record::Completed(publish.token().expect("only what has a token is completed"));
        self.world.store.records.insert(record.key(), record);
    }

    /// Somebody else writes a record.
    pub(crate) fn gets(&mut self, record: Record) {
        self.world.store.records.insert(record.key(), record);
    }

    /// How many inputs have changed what it has since this was asked last.
    pub(crate) fn writes(&mut self) -> usize {
        std::mem::take(&mut self.world.store.writes)
    }

    /// Returns what it has of a client's session.
    #[track_caller]
    pub(crate) fn session(&self, client_id: &str) -> SessionRecord {
        let of_client = |record: &Record| match record {
            Record::Session(session) if session.client_id == client_id => Some(session.clone()),
            _ => None,
        };
        self.records().find_map(of_client).unwrap_or_else(|| panic!("no session of {client_id} is stored"))
    }

    /// Returns what it has.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.world.store.records.values()
    }
}
