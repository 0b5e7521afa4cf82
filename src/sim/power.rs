//! The gateway's process: what it writes takes its time, it may die at any moment, and another one takes up what is
//! stored.

use std::time::Duration;

use super::broker::Agenda;
use super::dice::Dice;
use super::referee::Violation;
use super::step::{Cause, Effect, Step};
use super::store::{Committed, Write};
use super::world::{Event, World, effects};
use crate::core::{ConnId, Durability, Gateway, Restored, Stats, StoreOp, StoreToken};

/// How long the gateway may be gone.
const GONE: [Duration; 4] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(180)];

#[derive(Debug)]
pub(super) enum Process {
    Running(Gateway),
    /// It dies in the middle of what its next call asks for.
    Doomed(Gateway),
    Gone(Stats),
}

impl Process {
    pub(super) fn gateway(&self) -> Option<&Gateway> {
        match self {
            Self::Running(gateway) | Self::Doomed(gateway) => Some(gateway),
            Self::Gone(_) => None,
        }
    }

    pub(super) fn gateway_mut(&mut self) -> Option<&mut Gateway> {
        match self {
            Self::Running(gateway) | Self::Doomed(gateway) => Some(gateway),
            Self::Gone(_) => None,
        }
    }

    /// Returns what the process counts, or counted.
    pub(super) fn stats(&self) -> &Stats {
        match self {
            Self::Running(gateway) | Self::Doomed(gateway) => gateway.stats(),
            Self::Gone(stats) => stats,
        }
    }

    fn doom(&mut self) {
        let gone = Self::Gone(*self.stats());
        *self = match std::mem::replace(self, gone) {
            Self::Running(gateway) | Self::Doomed(gateway) => Self::Doomed(gateway),
            gone @ Self::Gone(_) => gone,
        };
    }
}

impl World {
    /// Shows the referee what came of a call, and carries it out.
    pub(super) fn conclude(&mut self, cause: Cause) -> Result<(), Violation> {
        let mut step = Step { now: self.schedule.now(), cause, effects: effects(&mut self.outputs) };
        let survivor = match &self.process {
            Process::Running(gateway) => Some(gateway),
            Process::Doomed(_) | Process::Gone(_) => None,
        };
        if survivor.is_none() {
            cut_short(&mut step.effects, &mut self.fate);
        }
        let dies = survivor.is_none();
        let verdict = self.referee.watch(&step, survivor);
        if verdict.is_ok() {
            self.write(&step);
            step.effects.iter().for_each(|effect| self.carry_out(effect));
        }
        self.journal.note(step);
        verdict?;
        if dies { self.crash() } else { Ok(()) }
    }

    pub(super) fn schedule_crash(&mut self) {
        if let Some(longest) = self.scenario.crashes {
            let pause = self.fate.between(Duration::from_millis(10), longest);
            self.schedule.after(pause, Event::Crash);
        }
    }

    /// The gateway's process dies, now or in the middle of its next call.
    pub(super) fn on_crash(&mut self) -> Result<(), Violation> {
        if !self.is_busy {
            return Ok(());
        }
        if self.fate.chance(500) {
            self.process.doom();
            return Ok(());
        }
        self.crash()
    }

    /// Another process takes up what is stored.
    pub(super) fn restart(&mut self) -> Result<(), Violation> {
        let now = self.schedule.now();
        let mut gateway = Gateway::new(self.scenario.settings.clone());
        let mut restored = Restored::default();
        if self.scenario.settings.durability != Durability::Nothing {
            self.broker.take_up(self.store.ledgers());
            restored = gateway.restore(now, self.store.records(), self.store.under_way(), &mut self.outputs);
        }
        self.process = Process::Running(gateway);
        self.conclude(Cause::Restart(restored))?;
        let mut agenda = Agenda::new();
        self.broker.open(now, ConnId::OWN, None, &mut self.dice, &mut agenda);
        self.enter(agenda);
        self.schedule_crash();
        Ok(())
    }

    /// A connection to the broker keeps something.
    pub(super) fn keep(&mut self, write: Write) {
        if let Some(delay) = self.store.submit(write, &mut self.fate) {
            self.schedule.after(delay, Event::Store);
        }
    }

    /// The time of a commit is over.
    pub(super) fn on_store(&mut self) -> Result<(), Violation> {
        match self.store.end_commit(&mut self.fate) {
            Committed::Failed { again } => {
                self.schedule.after(again, Event::Store);
                self.call_gateway(Cause::StoreFailing, None)
            }
            Committed::Stored { writes, next } => {
                if let Some(delay) = next {
                    self.schedule.after(delay, Event::Store);
                }
                let stored = last_token(&writes);
                self.stored = stored.unwrap_or(self.stored);
                for write in writes {
                    let Write::Ledger(entry) = write else { continue };
                    let mut agenda = Agenda::new();
                    let heard = self.broker.kept(self.schedule.now(), entry, &mut self.dice, &mut agenda);
                    self.enter(agenda);
                    if let Some((conn, word)) = heard {
                        self.call_gateway(Cause::Word { conn, word }, None)?;
                    }
                }
                stored.map_or(Ok(()), |token| self.call_gateway(Cause::Stored(token), None))
            }
        }
    }

    fn write(&mut self, step: &Step) {
        let op = |effect: &Effect| match effect {
            Effect::Wrote { op, .. } => Some(op.clone()),
            Effect::Sent { .. }
            | Effect::Broadcast { .. }
            | Effect::Opened { .. }
            | Effect::Commanded { .. }
            | Effect::Noticed(_) => None,
        };
        let ops: Vec<StoreOp> = step.effects.iter().filter_map(op).collect();
        if let Some(token) = step.written() {
            self.keep(Write::Core { ops, token });
        }
    }

    fn crash(&mut self) -> Result<(), Violation> {
        let Some(gateway) = self.process.gateway() else { return Ok(()) };
        self.process = Process::Gone(*gateway.stats());
        self.outputs.clear();
        let now = self.schedule.now();
        let unheard = self.store.cut(&mut self.fate);
        let stored = last_token(&unheard).unwrap_or(self.stored);
        self.broker.lose_gateway(now, &mut self.dice);
        for message in self.broker.take_accepted() {
            self.referee.broker_took(&message)?;
        }
        self.schedule.retain(|event| !matches!(event, Event::Broker(_) | Event::Store));
        self.journal.note(Step { now, cause: Cause::Crash, effects: Vec::new() });
        self.referee.see_crash(now, stored, self.process.stats());
        self.stored = StoreToken::default();
        let gone = *self.fate.pick(&GONE);
        let gone = self.fate.between(Duration::ZERO, gone);
        self.schedule.after(gone, Event::Restart);
        Ok(())
    }
}

fn last_token(writes: &[Write]) -> Option<StoreToken> {
    writes.iter().rev().find_map(|write| match write {
        Write::Core { token, .. } => Some(*token),
        Write::Ledger(_) => None,
    })
}

/// The process dies on the way through its outputs. What it wrote is handed over as a whole or not at all; what it had
/// to tell people is not missed.
fn cut_short(effects: &mut Vec<Effect>, fate: &mut Dice) {
    let writes = fate.chance(500);
    let end = fate.below(effects.len() + 1);
    let mut position = 0;
    effects.retain(|effect| {
        position += 1;
        match effect {
            Effect::Noticed(_) => true,
            Effect::Wrote { .. } => writes,
            Effect::Sent { .. } | Effect::Broadcast { .. } | Effect::Opened { .. } | Effect::Commanded { .. } => {
                position <= end
            }
        }
    });
}
