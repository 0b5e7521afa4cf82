//! One MQTT connection as the core sees it: up or down, what it can carry, what it has delivered.

use super::arrivals::Arrival;
use super::deliveries::{Deliveries, DeliveryNumber, Holders, Receipt};
use crate::core::topics::TopicName;
use crate::core::{BrokerCommand, BrokerOffer, ConnId, ConnectSpec, Delivery, Message, Output, Outputs};

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
    /// The topic is the broker's own: it would close the connection.
    BrokersOwn,
    /// The store cannot write, and without it nothing may be promised.
    StoreFails,
    /// There is no connection to the broker, and what comes on this topic is not kept.
    NotKept,
    /// There is no connection to the broker, and as many messages as allowed are kept.
    TooManyKept,
}

impl PublishRefusal {
    /// Whether the same message may be taken later.
    pub(super) fn may_pass(self) -> bool {
        match self {
            Self::Down | Self::Full | Self::StoreFails | Self::NotKept | Self::TooManyKept => true,
            Self::TooLarge | Self::BrokersOwn => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Line {
    conn: ConnId,
    state: State,
    deliveries: Deliveries,
    /// What has been acknowledged to the broker and must be known if it comes again.
    taken: Vec<Arrival>,
}

#[derive(Debug)]
enum State {
    Down,
    Up(BrokerOffer),
}

impl Line {
    pub(super) fn new(conn: ConnId) -> Self {
        Self { conn, state: State::Down, deliveries: Deliveries::default(), taken: Vec::new() }
    }

    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    pub(super) fn up(&mut self, session_present: bool, offer: BrokerOffer) {
        self.state = State::Up(offer);
        if !session_present {
            self.deliveries.forget();
        }
    }

    pub(super) fn down(&mut self) {
        self.state = State::Down;
    }

    /// Brings a message into the form that the broker takes, or says why there is none.
    pub(super) fn fit(&self, mut message: Message) -> Result<Message, PublishRefusal> {
        let State::Up(offer) = &self.state else { return Err(PublishRefusal::Down) };
        check_topic(&message.topic)?;
        let octets = message.topic.as_str().len() + message.payload.len() + PUBLISH_OVERHEAD;
        if offer.max_packet.is_some_and(|max| octets > max as usize) {
            return Err(PublishRefusal::TooLarge);
        }
        message.qos = message.qos.min(offer.max_qos);
        message.retain &= offer.retain;
        Ok(message)
    }

    pub(super) fn publish_at_most_once(&self, out: &mut Outputs, message: Message) -> Result<(), PublishRefusal> {
        let message = self.fit(message)?;
        out.command(self.conn, BrokerCommand::Publish { token: None, message, expires_in: None });
        Ok(())
    }

    pub(super) fn open(
        &mut self,
        delivery: Delivery,
        holders: Holders,
        arrival: Option<Arrival>,
    ) -> impl FnMut() -> Receipt + use<> {
        self.deliveries.open(self.conn, delivery, holders, arrival)
    }

    pub(super) fn settle(&mut self, out: &mut Outputs, receipt: Receipt) {
        self.deliveries.settle(receipt);
        self.acknowledge(out);
    }

    /// Returns what a message is known by when it comes again, unless that is noted already.
    pub(super) fn take_over(&mut self, receipt: &Receipt) -> Option<Arrival> {
        self.deliveries.take_arrival(receipt)
    }

    pub(super) fn take_taken(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.taken)
    }

    pub(super) fn acknowledge(&mut self, out: &mut Outputs) {
        while let Some((delivery, arrival)) = self.deliveries.pop_complete() {
            self.taken.extend(arrival);
            out.command(self.conn, BrokerCommand::Ack { delivery });
        }
    }

    /// Returns the oldest delivery if more than `limit` are open, and who has yet to take it.
    pub(super) fn excess(&self, limit: usize) -> Option<(DeliveryNumber, Holders)> {
        self.deliveries.excess(limit).map(|(number, holders)| (number, holders.clone()))
    }

    /// Acknowledges what is complete. Returns how many more were acknowledged because over `limit` were open.
    pub(super) fn bound_deliveries(&mut self, out: &mut Outputs, limit: usize) -> u64 {
        self.acknowledge(out);
        let mut early = 0;
        while let Some((delivery, arrival)) = self.deliveries.pop_excess(limit) {
            self.taken.extend(arrival);
            out.command(self.conn, BrokerCommand::Ack { delivery });
            early += 1;
        }
        if early > 0 {
            self.acknowledge(out);
        }
        early
    }
}

/// Refuses topics that are the broker's own.
pub(super) fn check_topic(topic: &TopicName) -> Result<(), PublishRefusal> {
    // Not all of `$`: AWS, for one, has topics like `$aws/things/...` to publish to.
    if topic.as_str().starts_with("$SYS/") || topic.as_str().starts_with("$share/") {
        return Err(PublishRefusal::BrokersOwn);
    }
    Ok(())
}

impl Outputs {
    pub(super) fn command(&mut self, conn: ConnId, command: BrokerCommand) {
        self.queue.push(Output::Broker { conn, command });
    }

    pub(super) fn connect(&mut self, conn: ConnId, spec: ConnectSpec) {
        self.queue.push(Output::Connect { conn, spec });
    }
}
