//! What a connection keeps of itself across the end of the process: the QoS 2 messages that are under way.
//!
//! A message is entered before it goes out and struck off before the core hears what became of it. What is under way at
//! QoS 1 is not kept: whoever answers for it sends it again.

use bytestring::ByteString;

use crate::core::{ConnId, Message, PublishOutcome, Token};

/// The messages under way, oldest first.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Ledger(Vec<(Token, Message)>);

/// One change.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Entry {
    pub(super) conn: ConnId,
    /// Whose connection it is.
    pub(super) client_id: ByteString,
    pub(super) change: Change,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Begins {
        token: Token,
        message: Message,
    },
    Ends {
        token: Token,
        outcome: PublishOutcome,
    },
    /// The connection has ended in order, and nothing of it is taken up again.
    Closes,
}

impl Entry {
    pub(in crate::sim) fn client_id(&self) -> &ByteString {
        &self.client_id
    }
}

impl Ledger {
    /// Makes a change. Returns the message that the broker has answered for by it, and how.
    pub(in crate::sim) fn enter(&mut self, entry: &Entry) -> Option<(Token, PublishOutcome)> {
        match &entry.change {
            Change::Begins { token, message } => self.0.push((*token, message.clone())),
            Change::Ends { token, outcome } => {
                self.0.retain(|(other, _)| other != token);
                return Some((*token, *outcome));
            }
            Change::Closes => self.0.clear(),
        }
        None
    }

    pub(in crate::sim) fn tokens(&self) -> impl Iterator<Item = Token> {
        self.0.iter().map(|(token, _)| *token)
    }

    pub(super) fn into_messages(self) -> Vec<(Token, Message)> {
        self.0
    }
}
