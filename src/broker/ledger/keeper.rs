//! Where what a connection has under way outlives the process.

use std::fmt::Display;
use std::pin::Pin;

use bytes::Bytes;
use thiserror::Error;

use crate::core::Token;

/// Keeps one connection's checkpoint. Exactly one connection uses it at a time.
pub trait SessionKeeper: Send + Sync {
    /// Returns the checkpoint that was kept last, as it was found when the process started.
    fn load(&self) -> Option<Bytes>;

    /// Keeps the checkpoint in place of the former one, or none, and notes the tokens of messages that the broker has
    /// answered for since; all of it or nothing. Resolves when it is durable.
    ///
    /// If it fails the connection tries again with what it has then, which includes the same tokens.
    fn save(&self, checkpoint: Option<Bytes>, completed: Vec<Token>) -> Keeping;
}

/// Resolves when what was handed to a keeper is durable.
pub type Keeping = Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send>>;

/// Why something could not be kept, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeepError(String);

impl KeepError {
    /// Makes an error of its reason and, where there is one, the remedy.
    pub fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}
