//! What became of each message, from its first sending on.

use std::collections::BTreeMap;

use super::super::vocabulary::Mark;
use super::ClientNumber;
use crate::core::Message as BrokerMessage;
use crate::wire::{Message, Qos};

#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_mark: BTreeMap<Mark, Account>,
    arrived: u64,
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) qos: Qos,
    pub(super) owner: Option<ClientNumber>,
    /// Frames with it that reached the gateway.
    pub(super) arrivals: u32,
    /// Its place in the order in which messages have come to the gateway.
    pub(super) number: u64,
    /// Copies that the broker took over.
    pub(super) copies: u32,
    /// How often the broker refused it.
    pub(super) refusals: u32,
    /// How often nobody could know whether the broker has it, or the owner's session ended: it may come once more.
    pub(super) uncertainties: u32,
}

impl Accounts {
    pub(super) fn open(&mut self, mark: Mark, qos: Qos, owner: Option<(ClientNumber, u64)>) {
        let owner = owner.map(|(client, _)| client);
        let account = Account { qos, owner, arrivals: 0, number: 0, copies: 0, refusals: 0, uncertainties: 0 };
        self.by_mark.entry(mark).or_insert(account);
    }

    pub(super) fn get(&self, mark: Mark) -> Option<&Account> {
        self.by_mark.get(&mark)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Mark, &Account)> {
        self.by_mark.iter().map(|(mark, account)| (*mark, account))
    }

    pub(super) fn count_arrival(&mut self, message: &Message<'_>) {
        if let Message::Publish(publish) = message
            && let Some(account) = Mark::read(publish.data).and_then(|mark| self.by_mark.get_mut(&mark))
        {
            if account.arrivals == 0 {
                self.arrived += 1;
                account.number = self.arrived;
            }
            account.arrivals += 1;
        }
    }

    pub(super) fn count_copy(&mut self, message: &BrokerMessage) {
        if let Some(account) = Mark::read(&message.payload).and_then(|mark| self.by_mark.get_mut(&mark)) {
            account.copies += 1;
        }
    }

    pub(super) fn count_refusal(&mut self, mark: Mark) {
        if let Some(account) = self.by_mark.get_mut(&mark) {
            account.refusals += 1;
        }
    }

    pub(super) fn count_uncertainty(&mut self, mark: Mark) {
        if let Some(account) = self.by_mark.get_mut(&mark) {
            account.uncertainties += 1;
        }
    }

    /// What the owner had open may come again as something new.
    pub(super) fn session_ended(&mut self, client: ClientNumber) {
        for account in self.by_mark.values_mut().filter(|account| account.owner == Some(client)) {
            account.uncertainties += 1;
        }
    }
}
