//! Whatever fails and wherever it is cut: what is read back is the state after some of what was submitted, in order, and
//! all that was reported as stored is among it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::flaky_file::FlakyFile;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<StoreOp>),
    /// The next writes fail, this way.
    Fail(Fault),
    /// All that was submitted is waited for.
    Settle,
    /// The power fails, and comes back.
    PowerCut {
        seed: u64,
    },
    /// The program ends in order, and starts again.
    Restart,
}

/// Something to keep a store on that can be told to fail.
trait Ground {
    fn opener(&self) -> Opener;
    fn fail(&self, fault: Fault);
    /// Takes the power away: nothing is written until it is back, and what was under way may or may not be there.
    fn cut(&self, seed: u64);
    /// Gives the power back, and lets nothing fail any more.
    fn power(&self);
}

impl Ground for Disk {
    fn opener(&self) -> Opener {
        Self::opener(self)
    }

    fn fail(&self, fault: Fault) {
        Self::fail(self, [fault]);
    }

    fn cut(&self, _seed: u64) {
        self.set_dead(true);
    }

    fn power(&self) {
        self.heal();
    }
}

impl Ground for FlakyFile {
    fn opener(&self) -> Opener {
        Self::opener(self)
    }

    fn fail(&self, fault: Fault) {
        match fault {
            Fault::Refuse => self.fail_after(1),
            Fault::Cut => self.fail_sync(),
            Fault::Panic => self.fail_after(4),
            Fault::Lock => self.fail_after(0),
        }
    }

    fn cut(&self, seed: u64) {
        Self::cut(self, seed);
    }

    fn power(&self) {
        Self::power(self);
    }
}

type State = BTreeMap<RecordKey, Record>;

/// What was submitted, as far as it may still be lost.
#[derive(Default)]
struct Model {
    certain: State,
    /// With the token of each.
    pending: Vec<(StoreToken, Vec<StoreOp>)>,
    submitted: u64,
}

impl Model {
    fn submit(&mut self, ops: Vec<StoreOp>) -> StoreToken {
        self.submitted += 1;
        self.pending.push((StoreToken(self.submitted), ops));
        StoreToken(self.submitted)
    }

    fn stored(&mut self, token: StoreToken) {
        while self.pending.first().is_some_and(|(first, _)| *first <= token) {
            apply(&mut self.certain, self.pending.remove(0).1);
        }
    }

    /// Accepts what was read back as the truth, if it is the state after some of the pending batches.
    fn accept(&mut self, found: Vec<Record>) -> Result<(), TestCaseError> {
        let found: State = found.into_iter().map(|record| (record.key(), record)).collect();
        let mut state = self.certain.clone();
        let pending = std::mem::take(&mut self.pending);
        let reached = state == found
            || pending.into_iter().any(|(_, ops)| {
                apply(&mut state, ops);
                state == found
            });
        prop_assert!(reached, "not a state on the way: {found:#?}, certain was {:#?}", self.certain);
        self.certain = found;
        Ok(())
    }
}

fn apply(state: &mut State, ops: Vec<StoreOp>) {
    for op in ops {
        match op {
            StoreOp::Put(record) => drop(state.insert(record.key(), record)),
            StoreOp::Delete(key) => drop(state.remove(&key)),
            StoreOp::ForgetSession(session) => state.retain(|key, _| key.session() != Some(session)),
        }
    }
}

fn play(ground: &impl Ground, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let (mut store, _) = start(ground.opener());
    for step in steps.into_iter().chain([Step::Settle, Step::Restart]) {
        match step {
            Step::Submit(ops) => {
                let token = model.submit(ops.clone());
                store.submit(ops, token);
            }
            Step::Fail(fault) => ground.fail(fault),
            Step::Settle => {
                store.submit(Vec::new(), model.submit(Vec::new()));
                store.wait_for(model.submitted);
                model.stored(StoreToken(model.submitted));
            }
            Step::PowerCut { seed } => {
                ground.cut(seed);
                store.end();
                while let Ok(event) = store.events.try_recv() {
                    if let StoreEvent::Stored(token) = event {
                        model.stored(token);
                    }
                }
                ground.power();
                let restored;
                (store, restored) = start(ground.opener());
                model.accept(restored.records)?;
            }
            Step::Restart => {
                store.end();
                ground.power();
                let restored;
                (store, restored) = start(ground.opener());
                model.accept(restored.records)?;
            }
        }
    }
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![Just(Fault::Refuse), Just(Fault::Cut), Just(Fault::Panic), Just(Fault::Lock)];
    let step = prop_oneof![
        8 => prop::collection::vec(op(), 0..6).prop_map(Step::Submit),
        3 => fault.prop_map(Step::Fail),
        2 => Just(Step::Settle),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..40)
}

/// Few keys, so that they meet.
fn op() -> impl Strategy<Value = StoreOp> {
    let record = prop_oneof![
        (0..3u64, 0..3u64, prop::sample::select(vec![&b"on"[..], b"off"]))
            .prop_map(|(session, place, payload)| queued(session, place, payload)),
        prop::sample::select(every_kind()),
    ];
    prop_oneof![
        5 => record.clone().prop_map(StoreOp::Put),
        3 => record.prop_map(|record| StoreOp::Delete(record.key())),
        1 => (0..4u64).prop_map(|session| StoreOp::ForgetSession(SessionNumber(session))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_read_back_is_what_was_submitted_up_to_a_point_behind_all_that_was_stored(steps in steps()) {
        play(&Disk::default(), steps)?;
    }

    #[test]
    fn a_file_of_redb_keeps_that_promise_on_a_disk_that_fails_and_loses_what_was_not_synced(steps in steps()) {
        play(&FlakyFile::default(), steps)?;
    }
}
