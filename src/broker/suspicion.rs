//! Which message or request it is that a broker hangs up on.
//!
//! Some brokers end the connection when they do not want a message or a filter. What was under way is repeated
//! in each new connection, so one device's packet would keep the gateway from the broker for ever. When
//! connections break early with the same packet under way, it becomes a suspect: the session is given up, and what
//! was under way is sent one by one. The packet with which the connection breaks then is the guilty one.

/// Connections that broke early with something under way, after which it is a suspect.
const SUSPECT_AFTER: u32 = 3;

/// How many connections the broker ended early while something was under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaks(u32);

/// How much that waits for an answer to send before the first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As much as the broker takes.
    Full,
    /// One publish or request, to find out which one breaks the connection.
    OneByOne,
}

impl Breaks {
    /// Counts one more. Together with others a suspect stays one; alone it is found guilty.
    pub(super) fn count(&mut self, pace: Pace) {
        let most = match pace {
            Pace::Full => SUSPECT_AFTER,
            Pace::OneByOne => SUSPECT_AFTER + 1,
        };
        self.0 = (self.0 + 1).min(most);
    }

    pub(super) fn any(self) -> bool {
        self.0 > 0
    }

    pub(super) fn is_suspect(self) -> bool {
        self.0 >= SUSPECT_AFTER
    }

    pub(super) fn is_guilty(self) -> bool {
        self.0 > SUSPECT_AFTER
    }

    /// Forgets the count: the broker had trouble of its own.
    pub(super) fn excuse(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_suspect_that_is_alone_is_found_guilty() {
        let mut breaks = Breaks::default();
        for _ in 0..10 {
            breaks.count(Pace::Full);
        }
        assert!(breaks.is_suspect() && !breaks.is_guilty());
        breaks.count(Pace::OneByOne);
        assert!(breaks.is_guilty());
        breaks.excuse();
        assert!(!breaks.any());
    }
}
