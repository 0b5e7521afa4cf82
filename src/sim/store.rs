//! The gateway's store: what is written takes its time, and a crash takes what has not been written by then.
//!
//! As in the real one, all that has come together while a commit was under way goes into the next, in order, and what
//! one call of the gateway asked for stays together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytestring::ByteString;

use super::broker::{Entry, Ledger};
use super::dice::Dice;
use crate::core::{PublishOutcome, Record, RecordKey, StoreOp, StoreToken, Token};

/// How fast the store is, and how often it fails. Probabilities are in thousandths.
#[derive(Clone, Debug)]
pub(super) struct StoreTemper {
    /// How long a commit takes.
    pub(super) delay: (Duration, Duration),
    /// Commits that take much longer.
    pub(super) stalls: u32,
    /// Commits that fail; the store goes on trying.
    pub(super) fails: u32,
}

#[derive(Debug)]
pub(super) struct Store {
    temper: StoreTemper,
    shelf: BTreeMap<RecordKey, Record>,
    /// What the gateway's connections to the broker keep, by client id.
    ledgers: BTreeMap<ByteString, Ledger>,
    /// Oldest first.
    waiting: VecDeque<Write>,
    state: State,
}

/// What is written as a whole or not at all.
#[derive(Debug)]
pub(super) enum Write {
    /// All that one call of the gateway asked for.
    Core { ops: Vec<StoreOp>, token: StoreToken },
    /// What a connection to the broker keeps.
    Ledger(Entry),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// A commit is under way, of the first so many.
    Committing(usize),
    /// Nothing can be written for a while.
    Failing,
}

/// What became of a commit.
#[derive(Debug)]
pub(super) enum Committed {
    /// All this is stored. If another commit has begun, it takes so long.
    Stored { writes: Vec<Write>, next: Option<Duration> },
    /// Nothing was; it is tried again after so long.
    Failed { again: Duration },
}

impl StoreTemper {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self {
            delay: (Duration::from_millis(1), *dice.pick(&[2, 20, 200, 2_000].map(Duration::from_millis))),
            stalls: *dice.pick(&[0, 0, 10]),
            fails: *dice.pick(&[0, 0, 5, 30]),
        }
    }

    /// Fails no more.
    fn calmed(&self) -> Self {
        Self { delay: (Duration::from_millis(1), Duration::from_millis(20)), stalls: 0, fails: 0 }
    }
}

impl Store {
    pub(super) fn new(temper: StoreTemper) -> Self {
        Self { temper, shelf: BTreeMap::new(), ledgers: BTreeMap::new(), waiting: VecDeque::new(), state: State::Idle }
    }

    /// Makes no trouble from now on.
    pub(super) fn calm(&mut self) {
        self.temper = self.temper.calmed();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Takes something to be written. If a commit begins with it, returns how long that takes.
    pub(super) fn submit(&mut self, write: Write, dice: &mut Dice) -> Option<Duration> {
        self.waiting.push_back(write);
        if self.state == State::Idle { self.begin(dice) } else { None }
    }

    /// The time of the commit under way is over.
    pub(super) fn end_commit(&mut self, dice: &mut Dice) -> Committed {
        let writes = match self.state {
            // What has come meanwhile goes with the rest when it works again.
            State::Failing => self.waiting.len(),
            State::Committing(_) if dice.chance(self.temper.fails) => {
                self.state = State::Failing;
                return Committed::Failed { again: *dice.pick(&[1, 10, 60].map(Duration::from_secs)) };
            }
            State::Committing(writes) => writes,
            State::Idle => 0,
        };
        self.state = State::Idle;
        let writes: Vec<Write> = self.waiting.drain(..writes).collect();
        writes.iter().for_each(|write| self.apply(write));
        Committed::Stored { writes, next: self.begin(dice) }
    }

    /// The process is gone: what was not written is lost. Of a commit under way nobody knows. Returns what was
    /// written without anyone being told.
    pub(super) fn cut(&mut self, dice: &mut Dice) -> Vec<Write> {
        let written = match self.state {
            State::Committing(writes) if dice.chance(500) => writes,
            State::Idle | State::Committing(_) | State::Failing => 0,
        };
        self.state = State::Idle;
        let writes: Vec<Write> = self.waiting.drain(..written).collect();
        writes.iter().for_each(|write| self.apply(write));
        self.waiting.clear();
        writes
    }

    /// Returns all that is stored. Records of a session come after the session.
    pub(super) fn records(&self) -> Vec<Record> {
        self.shelf.values().cloned().collect()
    }

    /// Returns what the connections to the broker have under way, by client id.
    pub(super) fn ledgers(&self) -> BTreeMap<ByteString, Ledger> {
        self.ledgers.clone()
    }

    /// Returns the tokens of what all connections have under way.
    pub(super) fn under_way(&self) -> BTreeSet<Token> {
        self.ledgers.values().flat_map(Ledger::tokens).collect()
    }

    fn begin(&mut self, dice: &mut Dice) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        self.state = State::Committing(self.waiting.len());
        let (least, most) = self.temper.delay;
        let delay = dice.between(least, most);
        Some(if dice.chance(self.temper.stalls) { delay + Duration::from_secs(10) } else { delay })
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Core { ops, .. } => {
                for op in ops {
                    self.apply_op(op);
                }
            }
            Write::Ledger(entry) => {
                let ledger = self.ledgers.entry(entry.client_id().clone()).or_default();
                // In one commit with the connection's own state, so that a message is under way or done with.
                if let Some((token, PublishOutcome::Accepted)) = ledger.enter(entry) {
                    self.shelf.insert(RecordKey::Completed(token), Record::Completed(token));
                }
            }
        }
    }

    fn apply_op(&mut self, op: &StoreOp) {
        match op {
            StoreOp::Put(record) => _ = self.shelf.insert(record.key(), record.clone()),
            StoreOp::Delete(key) => _ = self.shelf.remove(key),
            StoreOp::ForgetSession(session) => self.shelf.retain(|key, _| key.session() != Some(*session)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{ArrivalRecord, SessionNumber};

    fn put(number: u16, token: u64) -> Write {
        let record = ArrivalRecord { session: SessionNumber::GATEWAY, packet: number, content: 0 };
        Write::Core { ops: vec![StoreOp::Put(Record::Arrival(record))], token: StoreToken(token) }
    }

    fn store() -> Store {
        let delay = (Duration::from_millis(1), Duration::from_millis(1));
        Store::new(StoreTemper { delay, stalls: 0, fails: 0 })
    }

    #[test]
    fn what_comes_during_a_commit_goes_into_the_next() {
        let (mut store, mut dice) = (store(), Dice::from_seed(1));
        assert!(store.submit(put(1, 1), &mut dice).is_some());
        assert!(store.submit(put(2, 2), &mut dice).is_none());
        assert!(store.submit(put(3, 3), &mut dice).is_none());
        let Committed::Stored { writes, next: Some(_) } = store.end_commit(&mut dice) else { panic!("{store:?}") };
        assert_eq!((writes.len(), store.records().len()), (1, 1));
        let Committed::Stored { writes, next: None } = store.end_commit(&mut dice) else { panic!("{store:?}") };
        assert_eq!((writes.len(), store.records().len()), (2, 3));
        assert!(store.is_idle());
    }

    #[test]
    fn a_crash_leaves_what_was_stored_and_perhaps_the_commit_under_way() {
        for seed in 0..20 {
            let (mut store, mut dice) = (store(), Dice::from_seed(seed));
            store.submit(put(1, 1), &mut dice);
            store.end_commit(&mut dice);
            store.submit(put(2, 2), &mut dice);
            store.submit(put(3, 3), &mut dice);
            let unheard = store.cut(&mut dice).len();
            assert_eq!(store.records().len(), 1 + unheard);
            assert!(unheard <= 1);
        }
    }
}
