//! The filters that the broker holds for the shared connection, as far as the gateway knows: kept in the store, so
//! that after a restart nothing is asked for twice, nothing stays behind, and each message still says whose it is.
//!
//! It watches what is asked of the broker and what that answers, and needs no word from whoever does the asking.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
    /// Takes back what a former process stored; a filter that it could not have stored is none.
    pub(super) fn restore(&mut self, record: &FilterRecord) {
        let Ok(filter) = TopicFilter::parse(record.filter.as_bytes()) else { return };
        self.filters.insert(filter, record.granted.map_or(Grant::Unknown, |id| Grant::Under(SubscriptionId(id))));
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

    /// Takes note of what is being asked.
    pub(super) fn watch(&mut self, out: &mut Outputs, journal: &mut Journal) {
        let mut news = Vec::new();
        for output in &out.queue {
            let Output::Broker { conn: ConnId::OWN, command } = output else { continue };
            if let BrokerCommand::Subscribe { token, filter, id, .. } = command {
                self.asked.insert(*token, (filter.clone(), *id));
                news.push((filter.clone(), true));
            } else if let BrokerCommand::Unsubscribe { filter } = command {
                news.push((filter.clone(), false));
            }
        }
        for (filter, is_wanted) in news {
            let key = filter.as_shared().clone();
            if !is_wanted {
                self.filters.remove(&filter);
                journal.delete(out, RecordKey::Filter(key));
            } else if let Entry::Vacant(place) = self.filters.entry(filter) {
                place.insert(Grant::Unknown);
                journal.put(out, Record::Filter(FilterRecord { filter: key, granted: None }));
            }
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
        let Some((filter, id)) = self.asked.remove(&token) else { return };
        let SubscribeOutcome::Granted(_) = outcome else { return };
        if let Some(grant) = self.filters.get_mut(&filter) {
            *grant = Grant::Under(id);
            let filter = filter.as_shared().clone();
            journal.put(out, Record::Filter(FilterRecord { filter, granted: Some(id.0) }));
        }
    }
}
