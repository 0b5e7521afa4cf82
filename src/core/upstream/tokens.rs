//! Tokens: what each question to the broker was about, and who waits for the answer.

use std::collections::BTreeMap;

use slab::Slab;

use crate::core::journal::is_durable;
use crate::core::sessions::SessionKey;
use crate::core::topics::TopicFilter;
use crate::core::{Message, SubscriptionId, Token};

/// The open questions. A token is good for one answer; an answer to one that has been redeemed finds nothing, even
/// after its place was given out again.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pending: Slab<(u32, Pending)>,
    issued: u32,
    /// The ones that outlive the process.
    durable: BTreeMap<Token, Pending>,
}

/// What a token stands for. The owner is gone once its session has lost interest.
#[derive(Debug)]
pub(super) enum Pending {
    Publish {
        owner: Option<SessionKey>,
    },
    /// Kept until the broker has it.
    Will {
        message: Message,
    },
    Subscribe {
        id: SubscriptionId,
        filter: TopicFilter,
        owner: Option<SessionKey>,
    },
    Renewal {
        id: SubscriptionId,
    },
    /// A message that the gateway has answered for.
    Kept {
        place: u64,
    },
}

impl Tokens {
    pub(super) fn issue(&mut self, pending: Pending) -> Token {
        // The highest bit marks the tokens that outlive the process.
        self.issued = self.issued.wrapping_add(1) & (u32::MAX >> 1);
        let place = self.pending.insert((self.issued, pending));
        Token(u64::from(self.issued) << 32 | place as u64 & 0xFFFF_FFFF)
    }

    /// Lets a token that was chosen elsewhere stand for a question.
    pub(super) fn issue_as(&mut self, token: Token, pending: Pending) -> Token {
        self.durable.insert(token, pending);
        token
    }

    /// Returns what a token that is still to be answered stands for.
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Pending> {
        if is_durable(token) {
            return self.durable.get_mut(&token);
        }
        let (issued, pending) = self.pending.get_mut(place(token))?;
        (u64::from(*issued) == token.0 >> 32).then_some(pending)
    }

    pub(super) fn redeem(&mut self, token: Token) -> Option<Pending> {
        if is_durable(token) {
            return self.durable.remove(&token);
        }
        let place = place(token);
        let (issued, _) = self.pending.get(place)?;
        if u64::from(*issued) != token.0 >> 32 {
            return None;
        }
        self.pending.try_remove(place).map(|(_, pending)| pending)
    }

    /// Lets the answer go unheard.
    pub(super) fn forget(&mut self, token: Token) {
        if let Some(Pending::Publish { owner } | Pending::Subscribe { owner, .. }) = self.get_mut(token) {
            *owner = None;
        }
    }
}

fn place(token: Token) -> usize {
    // The mask leaves 32 bits, which a place in the slab never exceeds: each holds a question to the broker.
    (token.0 & 0xFFFF_FFFF) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_a_redeemed_token_finds_nothing_even_when_its_place_is_taken_again() {
        let mut tokens = Tokens::default();
        let first = tokens.issue(Pending::Renewal { id: SubscriptionId(1) });
        assert!(tokens.redeem(first).is_some());
        let second = tokens.issue(Pending::Renewal { id: SubscriptionId(2) });
        assert!(tokens.redeem(first).is_none());
        assert!(tokens.redeem(second).is_some());
    }

    #[test]
    fn a_forgotten_question_is_still_answered_but_to_nobody() {
        let mut tokens = Tokens::default();
        let token = tokens.issue(Pending::Publish { owner: Some(SessionKey(3)) });
        tokens.forget(token);
        assert!(matches!(tokens.redeem(token), Some(Pending::Publish { owner: None })));
    }
}
