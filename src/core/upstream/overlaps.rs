//! Which copy of a message counts for a client that several of its filters lead to.
//!
//! It is the one for its best filter. But what was published before that filter was subscribed to comes for the others
//! only, and may wait at the broker for long. So a copy for another filter is dropped only when the best filter is known
//! to have been there when the message was published: a broker sends in the order in which it was published to, and
//! subscription identifiers are given out in ascending order, so the message is younger than each SUBSCRIBE that has been
//! named by then. Until that is known the copy counts that comes first.

use super::filters::{FilterKey, Recipient};
use super::replayed::Content;
use crate::core::SubscriptionId;
use crate::core::sessions::SessionKey;
use crate::wire::Qos;

#[derive(Debug, Default)]
pub(super) struct Overlaps {
    /// The newest SUBSCRIBE that a message has named: what comes from now on was published after it.
    latest: SubscriptionId,
    /// The same, from the next message on: of this one another copy may have yet to come.
    next: SubscriptionId,
    message: Option<Content>,
    /// Who has been given the last message with a copy that was not for the best filter, in ascending order.
    given: Vec<Given>,
}

/// A filter that leads to a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) recipient: Recipient,
    pub(super) filter: FilterKey,
    /// The SUBSCRIBE since which the broker has held it.
    pub(super) since: SubscriptionId,
    /// The least that the broker may have granted: while it has not answered, nobody knows what is in force.
    pub(super) assured: Qos,
    pub(super) standing: Standing,
    pub(super) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The broker has granted it.
    Active,
    /// The broker had granted it and has forgotten it since. Like a pending one until it is granted again.
    Lapsed,
    /// The broker has not answered yet. Its messages count, but never keep an active filter's from the client.
    Pending,
}

/// What a filter has to do with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The copy is for it.
    Brought,
    /// It matches, and the copy is for others.
    Matches,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    session: SessionKey,
    by: FilterKey,
    best: BestCopy,
}

/// The best filter's copy of a message that has been given with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BestCopy {
    Awaited,
    Came,
}

impl Overlaps {
    /// A copy has come at QoS 1 or 2 that is for one filter only.
    pub(super) fn pass(&mut self, ids: &[SubscriptionId]) {
        self.note(newest(ids));
    }

    /// A copy has come at QoS 1 or 2. Finds who gets it.
    pub(super) fn sort_out(
        &mut self,
        content: Content,
        ids: &[SubscriptionId],
        candidates: &mut [Candidate],
        found: &mut Vec<Recipient>,
    ) {
        if self.message != Some(content) {
            self.message = Some(content);
            self.given.clear();
            self.note(self.next);
        }
        let known = self.latest.max(newest(ids));
        let was_given = !self.given.is_empty();
        for candidates in of_each_session(candidates) {
            found.extend(self.choose(known, candidates));
        }
        // While somebody has been given the message before its best copy came, what comes next may be another copy of it
        // or a message just like it.
        if was_given || !self.given.is_empty() {
            self.next = self.next.max(known);
        } else {
            self.note(known);
        }
    }

    fn choose(&mut self, known: SubscriptionId, candidates: &[Candidate]) -> Option<Recipient> {
        let best = candidates.first()?;
        let is_brought = |candidate: &&Candidate| candidate.role == Role::Brought;
        let session = best.recipient.session;
        let place = self.given.binary_search_by_key(&session, |given| given.session);
        let given = place.ok().and_then(|index| self.given.get_mut(index));
        let brings =
            |filter: FilterKey| candidates.iter().filter(is_brought).any(|candidate| candidate.filter == filter);

        if is_brought(&best) && best.standing == Standing::Active {
            return match given {
                Some(given) if given.best == BestCopy::Awaited && !brings(given.by) => {
                    given.best = BestCopy::Came;
                    None
                }
                Some(_) | None => Some(best.recipient),
            };
        }
        // Of filters that are not granted, nobody knows which is the best: the first copy counts.
        if best.standing == Standing::Active && best.since <= known {
            return None;
        }
        let mut assured = candidates.iter().filter(|candidate| candidate.assured > Qos::AtMostOnce);
        let Some(other) = assured.find(is_brought) else {
            return Some(best.recipient).filter(|_| is_brought(&best));
        };
        match given {
            Some(given) if !brings(given.by) => return None,
            Some(given) => given.best = BestCopy::Awaited,
            None => {
                let new = Given { session, by: other.filter, best: BestCopy::Awaited };
                self.given.insert(place.unwrap_or_else(|index| index), new);
            }
        }
        Some(other.recipient)
    }

    fn note(&mut self, known: SubscriptionId) {
        if known > self.latest {
            self.latest = known;
            self.given.clear();
        }
    }
}

/// Finds who gets a copy at QoS 0, of which none need come: only the best filter's counts.
pub(super) fn sort_out_unassured(candidates: &mut [Candidate], found: &mut Vec<Recipient>) {
    let best = of_each_session(candidates).filter_map(|candidates| candidates.first());
    found.extend(best.filter(|best| best.role == Role::Brought).map(|best| best.recipient));
}

/// The best filter of a session comes first: granted, highest QoS, oldest.
fn of_each_session(candidates: &mut [Candidate]) -> impl Iterator<Item = &[Candidate]> {
    candidates.sort_unstable_by_key(|candidate| {
        let Candidate { recipient, assured, standing, since, filter, .. } = *candidate;
        (recipient.session, standing, std::cmp::Reverse(assured), since, filter)
    });
    candidates.chunk_by(|one, other| one.recipient.session == other.recipient.session)
}

fn newest(ids: &[SubscriptionId]) -> SubscriptionId {
    ids.iter().copied().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Message;
    use crate::core::topics::TopicName;
    use crate::core::upstream::replayed::Replayed;

    const THIRD: u32 = 0;
    const OLD: u32 = 1;
    const BEST: u32 = 2;

    /// One session with filters at QoS 1, and with a later one at QoS 2.
    #[derive(Default)]
    struct Table {
        overlaps: Overlaps,
        replayed: Replayed,
    }

    impl Table {
        /// Returns the QoS of a copy that counts.
        fn copy(&mut self, payload: &'static str, ids: &[u32]) -> Option<Qos> {
            let topic = TopicName::parse(b"a/b").unwrap();
            let message = Message { topic, payload: payload.into(), qos: Qos::ExactlyOnce, retain: false };
            let candidate = |id: u32, qos| Candidate {
                recipient: Recipient { session: SessionKey(1), qos },
                filter: FilterKey::for_test(id as usize),
                since: SubscriptionId(id),
                assured: qos,
                standing: Standing::Active,
                role: if ids.contains(&id) { Role::Brought } else { Role::Matches },
            };
            let mut candidates = [THIRD, OLD].map(|id| candidate(id, Qos::AtLeastOnce)).to_vec();
            candidates.push(candidate(BEST, Qos::ExactlyOnce));
            let ids: Vec<SubscriptionId> = ids.iter().copied().map(SubscriptionId).collect();
            let mut found = Vec::new();
            self.overlaps.sort_out(self.replayed.content(&message), &ids, &mut candidates, &mut found);
            assert!(found.len() <= 1, "{found:?}");
            found.first().map(|recipient| recipient.qos)
        }
    }

    #[test]
    fn a_message_from_before_the_best_filter_comes_at_the_qos_of_another() {
        let mut table = Table::default();
        for payload in ["1", "2", "2"] {
            assert_eq!(table.copy(payload, &[OLD]), Some(Qos::AtLeastOnce));
        }
    }

    #[test]
    fn once_a_message_has_named_the_best_filter_only_its_copies_count() {
        let mut table = Table::default();
        assert_eq!(table.copy("1", &[BEST]), Some(Qos::ExactlyOnce));
        assert_eq!(table.copy("1", &[OLD]), None);
        assert_eq!(table.copy("2", &[OLD]), None);
        assert_eq!(table.copy("2", &[BEST]), Some(Qos::ExactlyOnce));
    }

    #[test]
    fn a_message_that_has_been_given_does_not_come_again_with_the_best_filters_copy() {
        let mut table = Table::default();
        assert_eq!(table.copy("1", &[OLD]), Some(Qos::AtLeastOnce));
        assert_eq!(table.copy("1", &[BEST]), None);
        assert_eq!(table.copy("2", &[OLD]), None);
        assert_eq!(table.copy("2", &[BEST]), Some(Qos::ExactlyOnce));
    }

    #[test]
    fn a_copy_for_a_third_filter_brings_nothing_again_whenever_it_comes() {
        for copies in [[OLD, THIRD, BEST], [OLD, BEST, THIRD], [BEST, THIRD, OLD], [THIRD, BEST, OLD]] {
            let mut table = Table::default();
            let given = copies.iter().filter(|id| table.copy("1", &[**id]).is_some());
            assert_eq!(given.count(), 1, "{copies:?}");
        }
    }

    #[test]
    fn a_copy_for_a_later_filter_of_another_client_changes_nothing() {
        let mut table = Table::default();
        assert_eq!(table.copy("1", &[OLD]), Some(Qos::AtLeastOnce));
        assert_eq!(table.copy("1", &[BEST + 1]), None);
        assert_eq!(table.copy("1", &[BEST]), None);
        assert_eq!(table.copy("2", &[OLD]), None);
    }

    #[test]
    fn a_message_like_the_last_one_from_before_comes_as_well() {
        for copies in [[OLD, BEST], [BEST, OLD]] {
            let mut table = Table::default();
            assert_eq!(table.copy("on", &[OLD]), Some(Qos::AtLeastOnce));
            let given = copies.iter().filter(|id| table.copy("on", &[**id]).is_some());
            assert_eq!(given.count(), 1, "{copies:?}");
        }
    }

    #[test]
    fn one_copy_for_all_filters_comes_at_the_best_qos() {
        let mut table = Table::default();
        assert_eq!(table.copy("on", &[OLD]), Some(Qos::AtLeastOnce));
        assert_eq!(table.copy("on", &[OLD, BEST]), Some(Qos::ExactlyOnce));
        assert_eq!(table.copy("on", &[OLD, BEST]), Some(Qos::ExactlyOnce));
    }

    #[test]
    fn copies_of_two_messages_that_come_crosswise_lose_neither() {
        for (first, second) in [(OLD, BEST), (BEST, OLD)] {
            let mut table = Table::default();
            let copies = [("1", first), ("2", first), ("1", second), ("2", second)];
            let given = copies.map(|(payload, id)| table.copy(payload, &[id]).map(|_| payload));
            assert!(given.contains(&Some("1")) && given.contains(&Some("2")), "{given:?}");
        }
    }
}
