//! From clients to the broker: what a client was told has arrived has, at QoS 1 at least once and at QoS 2 once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vocabulary::Mark;
use super::account::{Account, Accounts};
use super::shadow::Shadow;
use super::{ClientNumber, Violation};
use crate::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, ConnId, ConnectSpec, Durability, Instant, Mode, Notice, PublishOutcome,
    Settings, Token,
};
use crate::wire::Qos;

#[derive(Debug)]
pub(super) struct Uplink {
    offer: BrokerOffer,
    at_broker: BTreeMap<(ConnId, Token), Mark>,
    /// What the broker has taken over, since the last crash.
    taken_over: Vec<TakenOver>,
    /// What was under way when a process died. The next one's connections have other numbers, and ask the broker again.
    former: BTreeMap<Token, Former>,
    /// What is under way on connections whose session the broker has lost since: that a message is lost may be stored
    /// before the gateway hears so, and a process that dies in between never does.
    in_doubt: BTreeSet<Token>,
    accepted: BTreeSet<Mark>,
    answers: Answers,
    /// Whose connection each one is; the gateway's own is nobody's.
    owners: BTreeMap<ConnId, ClientNumber>,
    /// Connections that keep nothing across the end of the process.
    forgetful: BTreeSet<ConnId>,
    /// Messages that the gateway had answered for, and that the broker does not take.
    kept_refused: u64,
    /// Messages for which a connection had no room: they go later than those behind them.
    deferred: BTreeSet<Mark>,
    /// The last message of each client that the broker has taken over, in the order of their coming.
    last: BTreeMap<ClientNumber, u64>,
    /// Crashes so far: each may send what nobody acknowledges once more.
    crashes: u32,
}

/// A message that the gateway knows to be at the broker; a process that dies before that is stored does not.
#[derive(Debug)]
struct TakenOver {
    at: Instant,
    conn: ConnId,
    token: Token,
    mark: Mark,
}

/// A message that another process had under way.
#[derive(Debug)]
struct Former {
    /// Whose connection it is on; the gateway's own is nobody's.
    owner: Option<ClientNumber>,
    mark: Mark,
}

/// When a client is told that a message has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// When the broker has it.
    AtBroker,
    /// When it is in good hands.
    Kept,
}

impl Uplink {
    pub(super) fn new(offer: BrokerOffer, settings: &Settings) -> Self {
        let answers = match (settings.mode, settings.durability) {
            (Mode::Aggregating, Durability::Strict | Durability::BestEffort) => Answers::Kept,
            (Mode::Aggregating, Durability::Nothing) | (Mode::Transparent, _) => Answers::AtBroker,
        };
        Self {
            offer,
            at_broker: BTreeMap::new(),
            taken_over: Vec::new(),
            former: BTreeMap::new(),
            in_doubt: BTreeSet::new(),
            accepted: BTreeSet::new(),
            answers,
            owners: BTreeMap::new(),
            forgetful: BTreeSet::new(),
            kept_refused: 0,
            deferred: BTreeSet::new(),
            last: BTreeMap::new(),
            crashes: 0,
        }
    }

    pub(super) fn see_opened(&mut self, conn: ConnId, spec: &ConnectSpec, owner: Option<ClientNumber>) {
        self.owners.extend(owner.map(|owner| (conn, owner)));
        if spec.clean_session {
            self.forgetful.insert(conn);
        } else {
            self.forgetful.remove(&conn);
        }
    }

    pub(super) fn see_notice(&mut self, notice: &Notice) {
        self.kept_refused += u64::from(matches!(notice, Notice::KeptRefused { .. }));
    }

    /// A client leaves. What the broker has not answered on a connection of its own comes too late.
    pub(super) fn see_departure(&self, client: ClientNumber, accounts: &mut Accounts) {
        let waiting = self.at_broker.iter().filter(|((conn, _), _)| *conn != ConnId::OWN);
        for mark in waiting.map(|(_, mark)| *mark) {
            if accounts.get(mark).is_some_and(|account| account.owner == Some(client)) {
                accounts.count_uncertainty(mark);
            }
        }
    }

    /// The gateway's process is gone, and the next one finds what was stored until `stored`. A connection that keeps its
    /// ledger goes on with what it had under way.
    pub(super) fn see_crash(&mut self, stored: Instant, accounts: &mut Accounts) {
        self.crashes += 1;
        for ((conn, token), mark) in std::mem::take(&mut self.at_broker) {
            // At QoS 1 it goes out again, behind what the connection goes on with at QoS 2.
            self.deferred.insert(mark);
            self.leave_under_way(conn, token, mark, accounts);
        }
        for TakenOver { at, conn, token, mark } in std::mem::take(&mut self.taken_over) {
            if at <= stored {
                continue;
            }
            self.leave_under_way(conn, token, mark, accounts);
        }
        for token in std::mem::take(&mut self.in_doubt) {
            if let Some(Former { mark, .. }) = self.former.get(&token) {
                accounts.count_uncertainty(*mark);
            }
        }
        self.owners.clear();
        self.forgetful.clear();
    }

    /// The broker takes a message over. None of one client's overtakes another, but one that it refuses is out of its
    /// turn: should it come again after a crash, others have gone meanwhile.
    pub(super) fn broker_takes(
        &mut self,
        mark: Mark,
        accounts: &Accounts,
        shadows: &[Shadow],
    ) -> Result<(), Violation> {
        let Some(account) = accounts.get(mark) else { return Ok(()) };
        let Some(owner) = account.owner.filter(|owner| shadows[*owner].is_abiding) else { return Ok(()) };
        let is_ordered = account.qos > Qos::AtMostOnce && account.arrivals > 0 && !self.deferred.contains(&mark);
        let is_repeated = account.copies > 1 || account.uncertainties > 0 || account.refusals > 0;
        if !is_ordered || is_repeated || self.answers == Answers::AtBroker {
            return Ok(());
        }
        let last = self.last.entry(owner).or_default();
        if account.number < *last {
            return Err(Violation(format!("{mark:?} of client {owner} has been overtaken by a later one")));
        }
        *last = account.number;
        Ok(())
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
            if let Some(owner) = self.owners.remove(&conn) {
                let ended = self.former.extract_if(.., |_, former| former.owner == Some(owner));
                ended.for_each(|(_, Former { mark, .. })| accounts.count_uncertainty(mark));
            }
        }
        if let BrokerCommand::Publish { token: Some(token), message, .. } = command
            && let Some(mark) = Mark::read(&message.payload)
        {
            self.at_broker.insert((conn, *token), mark);
        }
    }

    pub(super) fn hear(&mut self, now: Instant, conn: ConnId, event: &BrokerEvent, accounts: &mut Accounts) {
        if let BrokerEvent::Up { session_present: false, .. } = event {
            let owner = self.owners.get(&conn).copied();
            let former = self.former.iter().filter(|(_, former)| former.owner == owner).map(|(token, _)| *token);
            self.in_doubt.extend(former);
            let under_way = self.at_broker.keys().filter(|(other, _)| *other == conn).map(|(_, token)| *token);
            self.in_doubt.extend(under_way);
        }
        let BrokerEvent::Published { token, outcome } = event else { return };
        let token = *token;
        self.in_doubt.remove(&token);
        let under_way = self.at_broker.remove(&(conn, token));
        let Some(mark) = under_way.or_else(|| Some(self.former.remove(&token)?.mark)) else { return };
        match outcome {
            PublishOutcome::Lost => accounts.count_uncertainty(mark),
            PublishOutcome::Refused(_) => accounts.count_refusal(mark),
            PublishOutcome::Busy => _ = self.deferred.insert(mark),
            PublishOutcome::Accepted => self.taken_over.push(TakenOver { at: now, conn, token, mark }),
        }
    }

    /// A client has been told that the message has arrived.
    pub(super) fn accepted(&mut self, mark: Mark, is_abiding: bool, accounts: &Accounts) -> Result<(), Violation> {
        self.accepted.insert(mark);
        match accounts.get(mark) {
            Some(account) if is_abiding && account.copies == 0 && self.answers == Answers::AtBroker => {
                Err(Violation(format!("{mark:?} was acknowledged to its sender, and the broker does not have it")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Looks at what has arrived. So many that waited were to be dropped.
    pub(super) fn close(&self, accounts: &Accounts, shadows: &[Shadow], dropped: u64) -> Result<(), Violation> {
        let is_missing = |(_, account): &(Mark, &Account)| {
            let is_abiding = account.owner.is_some_and(|owner| shadows[owner].is_abiding);
            is_abiding && account.copies == 0 && account.refusals == 0
        };
        let told = accounts.iter().filter(|(mark, _)| self.accepted.contains(mark));
        let missing: Vec<Mark> = told.filter(is_missing).map(|(mark, _)| mark).collect();
        if missing.len() as u64 > dropped + self.kept_refused {
            return Err(Violation(format!(
                "acknowledged, and never at the broker: {missing:?}; {dropped} were dropped"
            )));
        }
        let exactly_once_is_possible = self.offer.max_qos == Qos::ExactlyOnce;
        for (mark, account) in accounts.iter() {
            let Some(owner) = account.owner.filter(|owner| shadows[*owner].is_abiding) else { continue };
            // A will has no frame of its own.
            if account.arrivals == 0 {
                continue;
            }
            let most = match account.qos {
                Qos::AtMostOnce => account.arrivals + self.crashes,
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

    /// The process has died and did not know, or had not stored, what became of a message.
    fn leave_under_way(&mut self, conn: ConnId, token: Token, mark: Mark, accounts: &mut Accounts) {
        if self.forgetful.contains(&conn) {
            accounts.count_uncertainty(mark);
        }
        self.former.insert(token, Former { owner: self.owners.get(&conn).copied(), mark });
    }
}
