//! What outlives a connection, kept in the test's memory; it can fail, and the process can die in it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use mqttsn_gateway::broker::{Checkpoint, KeepError, Keeping, SessionKeeper};
use mqttsn_gateway::core::Token;
use tokio::sync::watch;

/// Keeps a checkpoint.
pub(crate) struct MemoryKeeper {
    memory: Mutex<Memory>,
    /// How many commits were asked for.
    asked: watch::Sender<usize>,
}

#[derive(Default)]
struct Memory {
    checkpoint: Option<Bytes>,
    completed: Vec<u64>,
    fate: Fate,
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Kept,
    Fails,
    /// The commit of this number is the process's last: it is kept, but nobody hears of it.
    DiesAfter(usize),
    /// As [`Fate::DiesAfter`], and it is not kept.
    DiesBefore(usize),
}

impl MemoryKeeper {
    pub(crate) fn new() -> Self {
        Self { memory: Mutex::default(), asked: watch::Sender::new(0) }
    }

    /// What becomes of the commits from now on. They are counted from 1 again.
    pub(crate) fn set_fate(&self, fate: Fate) {
        self.memory().fate = fate;
        self.asked.send_replace(0);
    }

    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until so many commits were asked for.
    pub(crate) async fn has_been_asked(&self, times: usize) {
        self.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }

    /// The tokens that are under way, as the next process learns it.
    pub(crate) fn under_way(&self) -> Vec<u64> {
        let checkpoint = self.memory().checkpoint.clone();
        let tokens = checkpoint.map(|octets| Checkpoint::tokens(&octets).unwrap()).unwrap_or_default();
        tokens.into_iter().map(|token| token.0).collect()
    }

    /// The tokens that the broker has answered for, in order.
    pub(crate) fn completed(&self) -> Vec<u64> {
        self.memory().completed.clone()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionKeeper for MemoryKeeper {
    fn load(&self) -> Option<Bytes> {
        self.memory().checkpoint.clone()
    }

    fn save(&self, checkpoint: Option<Bytes>, completed: Vec<Token>) -> Keeping {
        let mut memory = self.memory();
        self.asked.send_modify(|asked| *asked += 1);
        let asked = *self.asked.borrow();
        let (kept, answered) = match memory.fate {
            Fate::Kept => (true, true),
            Fate::Fails => return Box::pin(async { Err(KeepError::new("the disk is full")) }),
            Fate::DiesAfter(last) => (asked <= last, asked < last),
            Fate::DiesBefore(last) => (asked < last, asked < last),
        };
        if kept {
            memory.checkpoint = checkpoint;
            memory.completed.extend(completed.into_iter().map(|token| token.0));
        }
        Box::pin(async move {
            if !answered {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}
