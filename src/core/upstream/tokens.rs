//! Tokens: what each question to the broker was about, and who waits for the answer.

use slab::Slab;

use crate::core::sessions::SessionKey;
use crate::core::topics::TopicFilter;
use crate::core::{Message, SubscriptionId, Token};

/// The open questions. A token is good for one answer; an answer to one that has been redeemed finds nothing, even
/// after its place was given out again.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pending: Slab<(u32, Pending)>,
    issued: u32,
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
}

impl Tokens {
    pub(super) fn issue(&mut self, pending: Pending) -> Token {
        self.issued = self.issued.wrapping_add(1);
        let place = self.pending.insert((self.issued, pending));
        Token(u64::from(self.issued) << 32 | place as u64 & 0xFFFF_FFFF)
    }

    pub(super) fn redeem(&mut self, token: Token) -> Option<Pending> {
        let place = place(token);
        let (issued, _) = self.pending.get(place)?;
        if u64::from(*issued) != token.0 >> 32 {
            return None;
        }
        self.pending.try_remove(place).map(|(_, pending)| pending)
    }

    /// Lets the answer go unheard.
    pub(super) fn forget(&mut self, token: Token) {
        match self.pending.get_mut(place(token)) {
            Some((issued, Pending::Publish { owner } | Pending::Subscribe { owner, .. }))
                if u64::from(*issued) == token.0 >> 32 =>
            {
                *owner = None;
            }
            Some(_) | None => {}
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
