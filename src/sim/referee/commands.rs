//! What the gateway asks of the broker connections: tokens, acknowledgements, and nothing left open.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::step::{Cause, Effect, Step};
use super::Violation;
use crate::core::{BrokerCommand, BrokerEvent, ConnId, Delivery, Durability, Settings, Token};

/// Messages that the gateway has answered for and that are on their way at once.
const KEPT_AT_ONCE: usize = 64;

#[derive(Debug)]
pub(super) struct Commands {
    /// Messages on the gateway's own connection that may be unacknowledged.
    unacknowledged: usize,
    connections: BTreeMap<ConnId, Open>,
}

#[derive(Debug, Default)]
struct Open {
    publishes: BTreeSet<Token>,
    subscribes: BTreeSet<Token>,
    deliveries: VecDeque<Delivery>,
}

impl Commands {
    /// The broker sends at most `window` messages before it wants the first acknowledged.
    pub(super) fn new(settings: &Settings, window: usize) -> Self {
        let unacknowledged = match settings.durability {
            Durability::Nothing => settings.limits.unacknowledged_deliveries,
            // Nothing is acknowledged before it is stored, and the store takes its time.
            Durability::Strict | Durability::BestEffort => window,
        };
        Self { unacknowledged, connections: BTreeMap::new() }
    }

    pub(super) fn watch(&mut self, step: &Step, settings: &Settings) -> Result<(), Violation> {
        self.note(step)?;
        self.check_limits(settings)
    }

    /// Takes note of what was asked.
    pub(super) fn note(&mut self, step: &Step) -> Result<(), Violation> {
        if let Cause::Word { conn, word } = &step.cause {
            self.connections.entry(*conn).or_default().hear(&word.event);
            if word.event == BrokerEvent::Closed {
                self.connections.remove(conn);
            }
        }
        for effect in &step.effects {
            if let Effect::Commanded { conn, command } = effect {
                self.connections.entry(*conn).or_default().command(command)?;
            }
        }
        Ok(())
    }

    fn check_limits(&self, settings: &Settings) -> Result<(), Violation> {
        let limits = &settings.limits;
        for (conn, open) in &self.connections {
            // On a client's own connection only the client itself waits, and the broker's window is the limit.
            if *conn == ConnId::OWN {
                check("messages not acknowledged", open.deliveries.len(), self.unacknowledged)?;
            }
            let limit = limits.publishes_in_flight + limits.wills_waiting + KEPT_AT_ONCE;
            check("publishes in flight", open.publishes.len(), limit)?;
        }
        Ok(())
    }

    /// The gateway's process is gone, and what it had open is the next one's affair.
    pub(super) fn see_crash(&mut self) {
        self.connections.clear();
    }

    pub(super) fn close(&self) -> Result<(), Violation> {
        let is_open =
            |open: &&Open| !(open.publishes.is_empty() && open.subscribes.is_empty() && open.deliveries.is_empty());
        match self.connections.values().find(is_open) {
            Some(open) => Err(Violation(format!("left open with the broker: {open:?}"))),
            None => Ok(()),
        }
    }
}

impl Open {
    fn hear(&mut self, event: &BrokerEvent) {
        match event {
            BrokerEvent::Up { session_present: false, .. } => self.deliveries.clear(),
            BrokerEvent::Published { token, .. } => {
                self.publishes.remove(token);
            }
            BrokerEvent::Subscribed { token, .. } => {
                self.subscribes.remove(token);
            }
            BrokerEvent::Message { delivery: Some(delivery), .. } => self.deliveries.push_back(*delivery),
            BrokerEvent::Message { delivery: None, .. }
            | BrokerEvent::Up { session_present: true, .. }
            | BrokerEvent::Down { .. }
            | BrokerEvent::Closed => {}
        }
    }

    fn command(&mut self, command: &BrokerCommand) -> Result<(), Violation> {
        let is_good = match command {
            BrokerCommand::Publish { token: Some(token), .. } => {
                !self.subscribes.contains(token) && self.publishes.insert(*token)
            }
            BrokerCommand::Subscribe { token, .. } => !self.publishes.contains(token) && self.subscribes.insert(*token),
            // In the order of the messages (MQTT 3.1.1 §4.6).
            BrokerCommand::Ack { delivery } => self.deliveries.pop_front() == Some(*delivery),
            BrokerCommand::Publish { token: None, .. }
            | BrokerCommand::Unsubscribe { .. }
            | BrokerCommand::Disconnect => true,
        };
        if is_good { Ok(()) } else { Err(Violation(format!("{command:?} is out of order: {self:?}"))) }
    }
}

fn check(what: &str, found: usize, limit: usize) -> Result<(), Violation> {
    if found <= limit { Ok(()) } else { Err(Violation(format!("{found} {what}; the limit is {limit}"))) }
}
