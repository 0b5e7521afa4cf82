//! From clients to the broker: what a client was told has arrived has, at QoS 1 at least once and at QoS 2 once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vocabulary::Mark;
use super::Violation;
use super::account::Accounts;
use super::shadow::Shadow;
use crate::core::{BrokerCommand, BrokerEvent, BrokerOffer, ConnId, PublishOutcome, Token};
use crate::wire::Qos;

#[derive(Debug)]
pub(super) struct Uplink {
    offer: BrokerOffer,
    at_broker: BTreeMap<(ConnId, Token), Mark>,
    accepted: BTreeSet<Mark>,
}

impl Uplink {
    pub(super) fn new(offer: BrokerOffer) -> Self {
        Self { offer, at_broker: BTreeMap::new(), accepted: BTreeSet::new() }
    }

    pub(super) fn see_command(&mut self, conn: ConnId, command: &BrokerCommand, accounts: &mut Accounts) {
        if *command == BrokerCommand::Disconnect {
            // What has not been answered by now comes too late for the client.
            self.at_broker.retain(|(other, _), mark| {
                if *other == conn {
                    accounts.count_uncertainty(*mark);
                }
                *other != conn
            });
        }
        if let BrokerCommand::Publish { token: Some(token), message, .. } = command
            && let Some(mark) = Mark::read(&message.payload)
        {
            self.at_broker.insert((conn, *token), mark);
        }
    }

    pub(super) fn hear(&mut self, conn: ConnId, event: &BrokerEvent, accounts: &mut Accounts) {
        if let BrokerEvent::Published { token, outcome } = event
            && let Some(mark) = self.at_broker.remove(&(conn, *token))
        {
            match outcome {
                PublishOutcome::Lost => accounts.count_uncertainty(mark),
                PublishOutcome::Refused(_) => accounts.count_refusal(mark),
                PublishOutcome::Accepted | PublishOutcome::Busy => {}
            }
        }
    }

    /// A client has been told that the message has arrived.
    pub(super) fn accepted(&mut self, mark: Mark, is_abiding: bool, accounts: &Accounts) -> Result<(), Violation> {
        self.accepted.insert(mark);
        match accounts.get(mark) {
            Some(account) if is_abiding && account.copies == 0 => {
                Err(Violation(format!("{mark:?} was acknowledged to its sender, and the broker does not have it")))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn close(&self, accounts: &Accounts, shadows: &[Shadow]) -> Result<(), Violation> {
        let exactly_once_is_possible = self.offer.max_qos == Qos::ExactlyOnce;
        for (mark, account) in accounts.iter() {
            let Some(owner) = account.owner.filter(|owner| shadows[*owner].is_abiding) else { continue };
            // A will has no frame of its own.
            if account.arrivals == 0 {
                continue;
            }
            let most = match account.qos {
                Qos::AtMostOnce => account.arrivals,
                Qos::ExactlyOnce if exactly_once_is_possible => 1 + account.uncertainties,
                Qos::AtLeastOnce | Qos::ExactlyOnce => u32::MAX,
            };
            if account.copies > most {
                let copies = account.copies;
                return Err(Violation(format!("client {owner}: the broker has {mark:?} {copies} times: {account:?}")));
            }
        }
        Ok(())
    }
}
