//! Carries the book to its keeper, one commit after the other.

use tokio::time::{Instant, sleep_until};

use super::keeper::{KeepError, Keeping};
use super::{Checkpoint, Ledger};
use crate::broker::backoff::Backoff;
use crate::core::{PublishOutcome, Token};

/// The commits of one ledger.
#[derive(Debug)]
pub(in crate::broker) struct Commits {
    ledger: Ledger,
    current: Option<Commit>,
    backoff: Backoff,
    /// After a failure: when to try again.
    not_before: Option<Instant>,
}

struct Commit {
    revision: u64,
    keeping: Keeping,
}

/// A commit, and the messages that it settles.
type Begun = (Commit, Vec<(Token, PublishOutcome)>);

impl Commits {
    pub(in crate::broker) fn new(ledger: Ledger) -> Self {
        Self { ledger, current: None, backoff: Backoff::new(), not_before: None }
    }

    /// Keeps what is to be kept, as soon as there is something. Returns when a commit begins that settles messages, with
    /// these, and when one ends.
    ///
    /// Whoever hears that a message is settled need not wait until that is durable: what they keep because of it lies
    /// behind it in line. What fails is tried again after a while. May be dropped at any point and called again.
    pub(in crate::broker) async fn next(&mut self) -> Result<Vec<(Token, PublishOutcome)>, KeepError> {
        loop {
            if let Some(commit) = &mut self.current {
                let kept = (&mut commit.keeping).await;
                let revision = commit.revision;
                self.current = None;
                return self.ended(revision, kept);
            }
            if let Some(at) = self.not_before {
                sleep_until(at).await;
                self.not_before = None;
            }
            match self.ledger.begin_commit() {
                Some(Ok((commit, settled))) => {
                    self.current = Some(commit);
                    if !settled.is_empty() {
                        return Ok(settled);
                    }
                }
                Some(Err((revision, error))) => return self.ended(revision, Err(error)),
                None => self.ledger.0.changed.notified().await,
            }
        }
    }

    fn ended(&mut self, revision: u64, kept: Result<(), KeepError>) -> Result<Vec<(Token, PublishOutcome)>, KeepError> {
        match &kept {
            Ok(()) => self.backoff.reset(),
            Err(_) => self.not_before = Some(Instant::now() + self.backoff.pause()),
        }
        self.ledger.end_commit(revision, kept)?;
        Ok(Vec::new())
    }
}

impl Ledger {
    /// Hands what is to be kept to the keeper, if there is something.
    fn begin_commit(&self) -> Option<Result<Begun, (u64, KeepError)>> {
        let mut state = self.state();
        let revision = state.book.revision();
        if state.kept == revision {
            return None;
        }
        state.failed = None;
        let checkpoint = state.book.checkpoint().as_ref().map(Checkpoint::encode);
        let settled = state.book.take_settled();
        let answered = settled.iter().filter(|(_, outcome)| *outcome != PublishOutcome::Lost);
        let completed = answered.map(|(token, _)| *token).collect();
        match self.0.keeper.save(checkpoint, completed) {
            Ok(keeping) => Some(Ok((Commit { revision, keeping }, settled))),
            Err(error) => {
                state.book.give_back(settled);
                Some(Err((revision, error)))
            }
        }
    }

    fn end_commit(&self, revision: u64, kept: Result<(), KeepError>) -> Result<(), KeepError> {
        let mut state = self.state();
        match &kept {
            Ok(()) => state.kept = revision,
            Err(error) => state.failed = Some(error.clone()),
        }
        drop(state);
        self.0.writer.wake();
        kept
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commit").field("revision", &self.revision).finish_non_exhaustive()
    }
}
