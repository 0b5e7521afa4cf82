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
    filters: BTreeMap<TopicFilter, Grant>,
    asked: BTreeMap<Token, (TopicFilter, SubscriptionId)>,
}

/// What is known of one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// The broker was asked and may hold it or not.
    Unknown,
    /// The broker holds it under this number.
    Under(SubscriptionId),
}

impl Held {
    /// Takes back what a former process stored. Returns whether it is a filter.
    pub(super) fn restore(&mut self, record: &FilterRecord) -> bool {
        let Ok(filter) = TopicFilter::parse(record.filter.as_bytes()) else { return false };
        self.filters.insert(filter, record.granted.map_or(Grant::Unknown, |id| Grant::Under(SubscriptionId(id))));
        true
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<Grant> {
        self.filters.get(filter).copied()
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.filters.keys()
    }

    /// The broker holds nothing any more.
    pub(super) fn clear(&mut self, out: &mut Outputs, journal: &mut Journal) {
        self.asked.clear();
        for (filter, _) in std::mem::take(&mut self.filters) {
            journal.delete(out, RecordKey::Filter(filter.as_shared().clone()));
        }
    }

    /// Takes note of what is being asked. Returns the questions that put an end to a grant: were they asked and then
    /// forgotten in a restart, messages would come under a number that nobody knows.
    pub(super) fn watch(&mut self, out: &mut Outputs, journal: &mut Journal) -> Vec<Token> {
        let mut news = Vec::new();
        for output in &out.queue {
            let Output::Broker { conn: ConnId::OWN, command } = output else { continue };
            if let BrokerCommand::Subscribe { token, filter, id, .. } = command {
                self.asked.insert(*token, (filter.clone(), *id));
                news.push((filter.clone(), Some(*token)));
            } else if let BrokerCommand::Unsubscribe { filter } = command {
                news.push((filter.clone(), None));
            }
        }
        let mut replacing = Vec::new();
        for (filter, question) in news {
            let key = filter.as_shared().clone();
            let Some(token) = question else {
                self.filters.remove(&filter);
                journal.delete(out, RecordKey::Filter(key));
                continue;
            };
            match self.filters.insert(filter, Grant::Unknown) {
                Some(Grant::Unknown) => continue,
                Some(Grant::Under(_)) => replacing.push(token),
                None => {}
            }
            journal.put(out, Record::Filter(FilterRecord { filter: key, granted: None }));
        }
        replacing
    }

    /// Takes note of an answer.
    pub(super) fn answered(
        &mut self,
        out: &mut Outputs,
        journal: &mut Journal,
        token: Token,
        outcome: SubscribeOutcome,
    ) {
        let Some((filter, id)) = self.asked.remove(&token) else { return };
        let SubscribeOutcome::Granted(_) = outcome else { return };
        if let Some(grant) = self.filters.get_mut(&filter) {
            *grant = Grant::Under(id);
            let filter = filter.as_shared().clone();
            journal.put(out, Record::Filter(FilterRecord { filter, granted: Some(id.0) }));
        }
    }
}
