//! The filters that the broker holds for the shared connection, as far as the gateway knows: kept in the store, so
//! that after a restart nothing is asked for twice, nothing stays behind, and each message still says whose it is.
//!
//! It watches what is asked of the broker and what that answers, and needs no word from whoever does the asking.

use std::collections::BTreeMap;

use crate::core::journal::Journal;
use crate::core::topics::TopicFilter;
use crate::core::{
    BrokerCommand, ConnId, FilterRecord, Output, Outputs, Record, RecordKey, SubscribeOutcome, SubscriptionId, Token,
};

#[derive(Debug, Default)]
pub(super) struct Held {
    filters: BTreeMap<TopicFilter, Holding>,
    asked: BTreeMap<Token, Question>,
    /// Filters that the broker was told to give up, and when. They stay in the store until it has certainly heard that:
    /// until it answers what it was asked after that. There are at most as many as it held when it answered last.
    given_up: BTreeMap<TopicFilter, Turn>,
    turn: Turn,
}

/// A SUBSCRIBE that the broker has not answered.
#[derive(Debug)]
struct Question {
    filter: TopicFilter,
    id: SubscriptionId,
    turn: Turn,
}

/// Counts what the broker is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(u64);

/// What is known of one filter that the broker was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    /// The number that its messages carry; nobody knows while the broker has not answered.
    pub(super) granted: Option<SubscriptionId>,
    /// Numbers that they may carry too, oldest first: what waits at the broker keeps the number that it came with.
    pub(super) others: Vec<SubscriptionId>,
}

/// Numbers kept of one filter. Messages from before so many further questions do not wait at the broker.
const OTHERS: usize = 16;

impl Held {
    /// Takes back what a former process stored. Returns whether it is a filter.
    pub(super) fn restore(&mut self, record: &FilterRecord) -> bool {
        let Ok(filter) = TopicFilter::parse(record.filter.as_bytes()) else { return false };
        let others = record.others.iter().rev().take(OTHERS).rev().copied().map(SubscriptionId).collect();
        self.filters.insert(filter, Holding { granted: record.granted.map(SubscriptionId), others });
        true
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<&Holding> {
        self.filters.get(filter)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, &Holding)> {
        self.filters.iter()
    }

    /// The broker holds nothing any more, and will hold what the connection asks it again, having got no answer.
    pub(super) fn clear(&mut self, out: &mut Outputs, journal: &mut Journal) {
        let given_up = std::mem::take(&mut self.given_up).into_keys();
        for filter in std::mem::take(&mut self.filters).into_keys().chain(given_up) {
            journal.delete(out, RecordKey::Filter(filter.as_shared().clone()));
        }
        let mut questions: Vec<&Question> = self.asked.values().collect();
        questions.sort_unstable_by_key(|question| question.turn);
        for Question { filter, id, .. } in questions {
            self.filters.entry(filter.clone()).or_default().ask(*id);
        }
        self.filters.keys().for_each(|filter| self.write(out, journal, filter));
    }

    /// Takes note of what is being asked by the outputs from `start` on.
    pub(super) fn watch(&mut self, out: &mut Outputs, start: usize, journal: &mut Journal) {
        let mut news: Vec<TopicFilter> = Vec::new();
        for output in out.queue.iter().skip(start) {
            let Output::Broker { conn: ConnId::OWN, command } = output else { continue };
            match command {
                BrokerCommand::Subscribe { token, filter, id, .. } => {
                    let turn = self.next_turn();
                    self.asked.insert(*token, Question { filter: filter.clone(), id: *id, turn });
                    self.given_up.remove(filter);
                    if self.filters.entry(filter.clone()).or_default().ask(*id) == Change::Made {
                        news.push(filter.clone());
                    }
                }
                BrokerCommand::Unsubscribe { filter } => {
                    let turn = self.next_turn();
                    if self.filters.remove(filter).is_some() {
                        self.given_up.insert(filter.clone(), turn);
                    }
                }
                BrokerCommand::Publish { .. } | BrokerCommand::Ack { .. } | BrokerCommand::Disconnect => {}
            }
        }
        for filter in news {
            self.write(out, journal, &filter);
        }
    }

    /// Takes note of an answer.
    pub(super) fn answered(
        &mut self,
        out: &mut Outputs,
        journal: &mut Journal,
        token: Token,
        outcome: SubscribeOutcome,
    ) {
        let Some(Question { filter, id, turn }) = self.asked.remove(&token) else { return };
        match outcome {
            SubscribeOutcome::Lost => return,
            SubscribeOutcome::Refused(_) | SubscribeOutcome::Granted(_) => self.strike_given_up(out, journal, turn),
        }
        let SubscribeOutcome::Granted(_) = outcome else { return };
        if let Some(holding) = self.filters.get_mut(&filter)
            && holding.grant(id) == Change::Made
        {
            self.write(out, journal, &filter);
        }
    }

    fn write(&self, out: &mut Outputs, journal: &mut Journal, filter: &TopicFilter) {
        let Some(Holding { granted, others }) = self.filters.get(filter) else { return };
        let (granted, others) = (granted.map(|id| id.0), others.iter().map(|id| id.0).collect());
        journal.put(out, Record::Filter(FilterRecord { filter: filter.as_shared().clone(), granted, others }));
    }

    /// The broker has heard everything up to this turn.
    fn strike_given_up(&mut self, out: &mut Outputs, journal: &mut Journal, heard: Turn) {
        for (filter, _) in self.given_up.extract_if(.., |_, turn| *turn < heard) {
            journal.delete(out, RecordKey::Filter(filter.as_shared().clone()));
        }
    }

    fn next_turn(&mut self) -> Turn {
        self.turn.0 += 1;
        self.turn
    }
}

/// Whether there is something new to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Made,
    None,
}

impl Holding {
    /// The broker is asked for the filter. Under the number that it holds it under, nothing comes of that but the
    /// retained messages.
    fn ask(&mut self, id: SubscriptionId) -> Change {
        if self.granted == Some(id) {
            return Change::None;
        }
        self.others.extend(self.granted.take());
        self.others.push(id);
        let surplus = self.others.len().saturating_sub(OTHERS);
        self.others.drain(..surplus);
        Change::Made
    }

    fn grant(&mut self, id: SubscriptionId) -> Change {
        if self.granted == Some(id) {
            return Change::None;
        }
        self.others.retain(|other| *other != id);
        self.granted = Some(id);
        Change::Made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Durability, StoreOp};
    use crate::wire::Qos;

    #[derive(Default)]
    struct Shelf {
        held: Held,
        records: BTreeMap<RecordKey, Record>,
    }

    impl Shelf {
        fn ask(&mut self, filter: &str, number: u32) {
            let (token, id) = (Token(number.into()), SubscriptionId(number));
            let command = BrokerCommand::Subscribe { token, filter: parse(filter), qos: Qos::AtLeastOnce, id };
            self.command(command);
        }

        fn give_up(&mut self, filter: &str) {
            self.command(BrokerCommand::Unsubscribe { filter: parse(filter) });
        }

        fn command(&mut self, command: BrokerCommand) {
            self.act(|held, out, journal| {
                out.queue.push(Output::Broker { conn: ConnId::OWN, command });
                held.watch(out, 0, journal);
            });
        }

        fn grant(&mut self, number: u32) {
            let outcome = SubscribeOutcome::Granted(Qos::AtLeastOnce);
            self.act(|held, out, journal| held.answered(out, journal, Token(number.into()), outcome));
        }

        fn act(&mut self, act: impl FnOnce(&mut Held, &mut Outputs, &mut Journal)) {
            let (mut out, mut journal) = (Outputs::default(), Journal::new(Durability::Strict));
            act(&mut self.held, &mut out, &mut journal);
            for output in out.queue.drain(..) {
                if let Output::Persist { op: StoreOp::Put(record), .. } = output {
                    self.records.insert(record.key(), record);
                } else if let Output::Persist { op: StoreOp::Delete(key), .. } = output {
                    self.records.remove(&key);
                }
            }
        }

        /// Shows the records: each filter with the number that was granted, and the others.
        fn stored(&self) -> Vec<String> {
            let show = |record: &Record| {
                let Record::Filter(FilterRecord { filter, granted, others }) = record else { panic!("{record:?}") };
                format!("{filter} {granted:?} {others:?}")
            };
            self.records.values().map(show).collect()
        }
    }

    fn parse(filter: &str) -> TopicFilter {
        TopicFilter::parse(filter.as_bytes()).unwrap()
    }

    #[test]
    fn a_filter_that_is_given_up_stays_until_the_broker_has_heard_so_for_sure() {
        let mut shelf = Shelf::default();
        shelf.ask("a", 1);
        shelf.grant(1);
        shelf.give_up("a");
        assert_eq!(shelf.stored(), ["a Some(1) []"]);
        shelf.ask("b", 2);
        assert_eq!(shelf.stored(), ["a Some(1) []", "b None [2]"]);
        shelf.grant(2);
        assert_eq!(shelf.stored(), ["b Some(2) []"]);
    }

    #[test]
    fn an_answer_to_an_earlier_question_does_not_strike_off_what_was_given_up_since() {
        let mut shelf = Shelf::default();
        shelf.ask("a", 1);
        shelf.grant(1);
        shelf.ask("b", 2);
        shelf.give_up("a");
        shelf.grant(2);
        assert_eq!(shelf.stored(), ["a Some(1) []", "b Some(2) []"]);
    }

    #[test]
    fn what_the_broker_had_not_answered_when_it_lost_the_session_may_be_granted_yet() {
        let mut shelf = Shelf::default();
        shelf.ask("a", 1);
        shelf.grant(1);
        shelf.ask("b", 2);
        shelf.grant(2);
        shelf.ask("b", 3);
        shelf.act(Held::clear);
        assert_eq!(shelf.stored(), ["b None [3]"]);
        shelf.grant(3);
        shelf.give_up("b");
        assert_eq!(shelf.stored(), ["b Some(3) []"], "nobody knows that the broker has heard so");
    }

    #[test]
    fn the_numbers_of_earlier_questions_are_kept_because_messages_may_still_carry_them() {
        let mut shelf = Shelf::default();
        shelf.ask("a", 1);
        shelf.grant(1);
        shelf.ask("a", 2);
        assert_eq!(shelf.stored(), ["a None [1, 2]"]);
        shelf.grant(2);
        assert_eq!(shelf.stored(), ["a Some(2) [1]"]);
        (3..30).for_each(|number| shelf.ask("a", number));
        assert_eq!(shelf.stored(), [format!("a None {:?}", (14..30).collect::<Vec<u32>>())]);
    }
}
