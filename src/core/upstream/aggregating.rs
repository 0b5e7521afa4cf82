//! Aggregating mode: all clients share one MQTT connection, and the gateway does for them what a broker would.

use std::collections::VecDeque;

use slab::Slab;

use super::deliveries::{Deliveries, Receipt};
use super::filters::{Audience, FilterKey, Filters, Recipient};
use crate::core::sessions::SessionKey;
use crate::core::topics::TopicFilter;
use crate::core::{
    BrokerCommand, BrokerOffer, ConnId, Delivery, Instant, Message, Output, Outputs, PublishOutcome, SubscribeOutcome,
    SubscriptionId, Token,
};
use crate::wire::Qos;

/// Subscriptions that may be on their way at once when all are renewed; the rest follow as answers come.
const RENEWALS_AT_ONCE: usize = 64;
/// Octets that MQTT adds to topic and payload at most: fixed header, lengths, packet id, properties.
const PUBLISH_OVERHEAD: usize = 16;

/// Why a publish was not handed to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum PublishRefusal {
    /// There is no connection to the broker.
    Down,
    /// As many publishes as allowed wait for the broker.
    Full,
    /// The broker does not take packets of this size.
    TooLarge,
}

#[derive(Debug, Default)]
pub(in crate::core) struct Aggregating {
    link: BrokerLink,
    pending: Slab<Pending>,
    publishes_in_flight: usize,
    filters: Filters,
    deliveries: Deliveries,
    /// Filters that the broker has to be asked for again.
    renewals: VecDeque<FilterKey>,
    renewals_asked: usize,
    /// Wills of lost clients that wait for the broker to come back.
    wills: VecDeque<Message>,
    wills_in_flight: usize,
}

#[derive(Debug, Default)]
enum BrokerLink {
    #[default]
    Down,
    Up(BrokerOffer),
}

/// What a token stands for. The owner is gone once its session has lost interest.
#[derive(Debug)]
enum Pending {
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

impl Aggregating {
    pub(in crate::core) fn is_up(&self) -> bool {
        matches!(self.link, BrokerLink::Up(_))
    }

    /// Hands a message to the broker; the answer comes back under the token.
    pub(in crate::core) fn publish(
        &mut self,
        out: &mut Outputs,
        owner: SessionKey,
        message: Message,
        limit: usize,
    ) -> Result<Token, PublishRefusal> {
        let message = self.fit(message)?;
        if self.publishes_in_flight >= limit {
            return Err(PublishRefusal::Full);
        }
        self.publishes_in_flight += 1;
        let token = self.token(Pending::Publish { owner: Some(owner) });
        command(out, BrokerCommand::Publish { token: Some(token), message });
        Ok(token)
    }

    /// Hands a message to the broker at QoS 0; nobody hears what became of it.
    pub(in crate::core) fn publish_at_most_once(
        &self,
        out: &mut Outputs,
        message: Message,
    ) -> Result<(), PublishRefusal> {
        let message = self.fit(message)?;
        command(out, BrokerCommand::Publish { token: None, message });
        Ok(())
    }

    /// Publishes the will of a lost client. While the broker is away it waits, among at most `limit` others;
    /// returns whether it was taken.
    pub(in crate::core) fn publish_will(&mut self, out: &mut Outputs, message: Message, limit: usize) -> bool {
        if self.wills.len() + self.wills_in_flight >= limit {
            return false;
        }
        match self.fit(message.clone()) {
            Ok(fitting) => {
                self.wills_in_flight += 1;
                let token = self.token(Pending::Will { message });
                command(out, BrokerCommand::Publish { token: Some(token), message: fitting });
                true
            }
            Err(PublishRefusal::Down | PublishRefusal::Full) => {
                self.wills.push_back(message);
                true
            }
            Err(PublishRefusal::TooLarge) => false,
        }
    }

    /// Takes the broker's answer to a publish. Returns whom it concerns.
    pub(in crate::core) fn published(&mut self, token: Token, outcome: PublishOutcome) -> Option<SessionKey> {
        match self.answered(token)? {
            Pending::Will { message } => {
                self.wills_in_flight = self.wills_in_flight.saturating_sub(1);
                // Tried again when the connection is next made: it broke, or could not keep up.
                if matches!(outcome, PublishOutcome::Busy | PublishOutcome::Lost) {
                    self.wills.push_back(message);
                }
                None
            }
            Pending::Publish { owner } => {
                self.publishes_in_flight = self.publishes_in_flight.saturating_sub(1);
                owner
            }
            Pending::Subscribe { .. } | Pending::Renewal { .. } => None,
        }
    }

    /// Subscribes for a session, which hears the retained messages too, even where others have the filter already.
    pub(in crate::core) fn subscribe(
        &mut self,
        out: &mut Outputs,
        now: Instant,
        owner: SessionKey,
        filter: &TopicFilter,
        qos: Qos,
    ) -> Token {
        let key = self.filters.add(filter, owner, qos);
        let (id, filter, qos) = self.filters.asked(key, Audience::One(owner), now);
        let token = self.token(Pending::Subscribe { id, filter: filter.clone(), owner: Some(owner) });
        command(out, BrokerCommand::Subscribe { token, filter, qos, id });
        token
    }

    /// Takes the broker's answer to a subscribe. Returns whom it concerns, and the QoS it may have.
    pub(in crate::core) fn subscribed(
        &mut self,
        out: &mut Outputs,
        now: Instant,
        token: Token,
        outcome: SubscribeOutcome,
    ) -> Option<(SessionKey, SubscribeOutcome)> {
        match self.answered(token)? {
            Pending::Subscribe { id, filter, owner } => {
                let owner = owner?;
                // The subscription may have been ended before the broker's answer came.
                let Some(key) = self.filters.find(&filter) else { return Some((owner, SubscribeOutcome::Lost)) };
                let outcome = match outcome {
                    SubscribeOutcome::Granted(qos) => match self.filters.granted(key, id, owner, qos) {
                        Some(qos) => SubscribeOutcome::Granted(qos),
                        None => SubscribeOutcome::Lost,
                    },
                    SubscribeOutcome::Refused(_) | SubscribeOutcome::Lost => {
                        // What was asked for in vain is no subscription; the broker may hold one all the same.
                        self.leave(out, key, owner);
                        outcome
                    }
                };
                Some((owner, outcome))
            }
            Pending::Renewal { id } => {
                self.renewals_asked = self.renewals_asked.saturating_sub(1);
                match (outcome, self.filters.by_id(id)) {
                    (SubscribeOutcome::Granted(_), Some(key)) => self.filters.renewed(key, id),
                    (SubscribeOutcome::Lost, Some(key)) => self.renewals.push_back(key),
                    (SubscribeOutcome::Refused(_), _) | (_, None) => {}
                }
                self.renew(out, now);
                None
            }
            Pending::Publish { .. } | Pending::Will { .. } => None,
        }
    }

    /// Ends a session's subscription to a filter, and the broker's if it was the last.
    pub(in crate::core) fn unsubscribe(&mut self, out: &mut Outputs, owner: SessionKey, filter: &TopicFilter) {
        if let Some(key) = self.filters.find(filter) {
            self.leave(out, key, owner);
        }
    }

    /// Lets the answer to a token go unheard: its session is gone.
    pub(in crate::core) fn forget(&mut self, token: Token) {
        let pending = usize::try_from(token.0).ok().and_then(|index| self.pending.get_mut(index));
        match pending {
            Some(Pending::Publish { owner } | Pending::Subscribe { owner, .. }) => *owner = None,
            Some(Pending::Renewal { .. } | Pending::Will { .. }) | None => {}
        }
    }

    /// The broker has accepted the connection.
    pub(in crate::core) fn up(&mut self, out: &mut Outputs, now: Instant, session_present: bool, offer: BrokerOffer) {
        self.link = BrokerLink::Up(offer);
        if !session_present {
            self.deliveries.forget();
            self.filters.lapse();
            self.renewals = self.filters.keys().collect();
        }
        self.renew(out, now);
        for message in std::mem::take(&mut self.wills) {
            self.publish_will(out, message, usize::MAX);
        }
    }

    pub(in crate::core) fn down(&mut self) {
        self.link = BrokerLink::Down;
    }

    /// Finds who gets a message from the broker.
    pub(in crate::core) fn recipients(
        &mut self,
        now: Instant,
        message: &Message,
        ids: &[SubscriptionId],
        found: &mut Vec<Recipient>,
    ) {
        // The broker clears the flag on live messages (MQTT 3.1.1 §3.3.1.3), so what has it is a replay.
        if message.retain {
            self.filters.retained(&message.topic, ids, now, found);
        } else {
            self.filters.live(&message.topic, ids, found);
        }
    }

    /// Notes a delivery that `waiting` sessions have to settle, and returns their receipts one by one.
    pub(in crate::core) fn open(&mut self, delivery: Delivery, waiting: usize) -> impl FnMut() -> Receipt + use<> {
        self.deliveries.open(delivery, waiting)
    }

    /// Takes one session's part in a delivery as done; the broker is told when all are.
    pub(in crate::core) fn settle(&mut self, out: &mut Outputs, receipt: Receipt) {
        self.deliveries.settle(receipt);
        self.acknowledge(out);
    }

    /// Acknowledges what is complete. Returns how many more were acknowledged because over `limit` were open.
    pub(in crate::core) fn bound_deliveries(&mut self, out: &mut Outputs, limit: usize) -> u64 {
        self.acknowledge(out);
        let mut early = 0;
        while let Some(delivery) = self.deliveries.pop_excess(limit) {
            command(out, BrokerCommand::Ack { delivery });
            early += 1;
        }
        if early > 0 {
            self.acknowledge(out);
        }
        early
    }

    pub(in crate::core) fn shut_down(&self, out: &mut Outputs) {
        command(out, BrokerCommand::Disconnect);
    }

    fn acknowledge(&mut self, out: &mut Outputs) {
        while let Some(delivery) = self.deliveries.pop_complete() {
            command(out, BrokerCommand::Ack { delivery });
        }
    }

    fn leave(&mut self, out: &mut Outputs, key: FilterKey, owner: SessionKey) {
        if let Some(filter) = self.filters.remove(key, owner) {
            command(out, BrokerCommand::Unsubscribe { filter });
        }
    }

    /// Asks the broker for filters it has forgotten, a few at a time.
    fn renew(&mut self, out: &mut Outputs, now: Instant) {
        while self.is_up() && self.renewals_asked < RENEWALS_AT_ONCE {
            let Some(key) = self.renewals.pop_front() else { return };
            if !self.filters.contains(key) {
                continue;
            }
            let (id, filter, qos) = self.filters.asked(key, Audience::All, now);
            let token = self.token(Pending::Renewal { id });
            self.renewals_asked += 1;
            command(out, BrokerCommand::Subscribe { token, filter, qos, id });
        }
    }

    /// Brings a message into the form that the broker takes, or says why there is none.
    fn fit(&self, mut message: Message) -> Result<Message, PublishRefusal> {
        let BrokerLink::Up(offer) = &self.link else { return Err(PublishRefusal::Down) };
        let octets = message.topic.as_str().len() + message.payload.len() + PUBLISH_OVERHEAD;
        if offer.max_packet.is_some_and(|max| octets > max as usize) {
            return Err(PublishRefusal::TooLarge);
        }
        message.qos = message.qos.min(offer.max_qos);
        message.retain &= offer.retain;
        Ok(message)
    }

    fn token(&mut self, pending: Pending) -> Token {
        Token(self.pending.insert(pending) as u64)
    }

    fn answered(&mut self, token: Token) -> Option<Pending> {
        self.pending.try_remove(usize::try_from(token.0).ok()?)
    }
}

fn command(out: &mut Outputs, command: BrokerCommand) {
    out.queue.push(Output::Broker { conn: ConnId::OWN, command });
}
