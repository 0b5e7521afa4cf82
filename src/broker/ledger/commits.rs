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
    settled: Vec<(Token, PublishOutcome)>,
    keeping: Keeping,
}

impl Commits {
    pub(in crate::broker) fn new(ledger: Ledger) -> Self {
        Self { ledger, current: None, backoff: Backoff::new(), not_before: None }
    }

    /// Keeps what is to be kept, as soon as there is something, and returns the messages that are now settled for good.
    /// What fails is tried again after a while. May be dropped at any point and called again.
    pub(in crate::broker) async fn next(&mut self) -> Result<Vec<(Token, PublishOutcome)>, KeepError> {
        let commit = loop {
            match &mut self.current {
                Some(commit) => break commit,
                None => {
                    if let Some(at) = self.not_before {
                        sleep_until(at).await;
                        self.not_before = None;
                    }
                    self.current = self.ledger.begin_commit();
                    if self.current.is_none() {
                        self.ledger.0.changed.notified().await;
                    }
                }
            }
        };
        let kept = (&mut commit.keeping).await;
        let Commit { revision, settled, .. } = self.current.take().expect("it has just been waited for");
        let ended = self.ledger.end_commit(revision, settled, kept);
        match &ended {
            Ok(_) => self.backoff.reset(),
            Err(_) => self.not_before = Some(Instant::now() + self.backoff.pause()),
        }
        ended
    }
}

impl Ledger {
    fn begin_commit(&self) -> Option<Commit> {
        let (checkpoint, revision, settled) = {
            let mut state = self.state();
            let revision = state.book.revision();
            if state.kept == revision {
                return None;
            }
            state.failed = None;
            (state.book.checkpoint(), revision, state.book.take_settled())
        };
        let answered = settled.iter().filter(|(_, outcome)| *outcome != PublishOutcome::Lost);
        let completed = answered.map(|(token, _)| *token).collect();
        let keeping = self.0.keeper.save(checkpoint.as_ref().map(Checkpoint::encode), completed);
        Some(Commit { revision, settled, keeping })
    }

    fn end_commit(
        &self,
        revision: u64,
        settled: Vec<(Token, PublishOutcome)>,
        kept: Result<(), KeepError>,
    ) -> Result<Vec<(Token, PublishOutcome)>, KeepError> {
        let mut state = self.state();
        let ended = match kept {
            Ok(()) => {
                state.kept = revision;
                Ok(settled)
            }
            Err(error) => {
                state.book.give_back(settled);
                state.failed = Some(error.clone());
                Err(error)
            }
        };
        drop(state);
        self.0.writer.wake();
        ended
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commit").field("revision", &self.revision).finish_non_exhaustive()
    }
}
