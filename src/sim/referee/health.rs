//! The store as the gateway knows it, and what was promised while it could not be relied on.

use super::super::step::{Cause, Step};
use crate::core::{Durability, StoreToken};

#[derive(Debug)]
pub(super) struct Health {
    durability: Durability,
    state: State,
    /// The last that the gateway has asked for.
    written: StoreToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    Failing,
    /// It works again. What was promised without it by then is not all stored.
    Recovering {
        promised: StoreToken,
    },
}

impl Health {
    pub(super) fn new(durability: Durability) -> Self {
        Self { durability, state: State::Well, written: StoreToken::default() }
    }

    pub(super) fn watch(&mut self, step: &Step) {
        match step.cause {
            Cause::Stored(token) => {
                self.state = match self.state {
                    State::Failing => State::Recovering { promised: self.written },
                    State::Recovering { promised } if promised > token => State::Recovering { promised },
                    State::Recovering { .. } | State::Well => State::Well,
                };
            }
            Cause::StoreFailing => self.state = State::Failing,
            Cause::Frame { .. } | Cause::Word { .. } | Cause::Deadline | Cause::Restart(_) | Cause::Crash => {}
        }
        self.written = step.written().unwrap_or(self.written);
    }

    /// Whether what is accepted now outlives the process.
    pub(super) fn can_promise(&self) -> bool {
        match self.durability {
            Durability::Nothing => false,
            Durability::Strict => self.state != State::Failing,
            Durability::BestEffort => true,
        }
    }

    /// The process is gone, and has left behind what was stored up to `stored`. Returns whether that is all it promised.
    pub(super) fn crash(&mut self, stored: StoreToken) -> bool {
        let promised = match self.state {
            State::Well => stored,
            State::Failing => self.written,
            State::Recovering { promised } => promised,
        };
        *self = Self::new(self.durability);
        match self.durability {
            Durability::Nothing => false,
            Durability::Strict => true,
            Durability::BestEffort => promised <= stored,
        }
    }
}
