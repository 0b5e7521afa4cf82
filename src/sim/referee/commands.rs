//! What the gateway asks of the broker connections: tokens, acknowledgements, and nothing left open.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::step::{Cause, Effect, Step};
use super::Violation;
use crate::core::{BrokerCommand, BrokerEvent, ConnId, Delivery, Settings, Token};

#[derive(Debug, Default)]
pub(super) struct Commands {
    connections: BTreeMap<ConnId, Open>,
}

#[derive(Debug, Default)]
struct Open {
    publishes: BTreeSet<Token>,
    subscribes: BTreeSet<Token>,
    deliveries: VecDeque<Delivery>,
}

impl Commands {
    pub(super) fn watch(&mut self, step: &Step, settings: &Settings) -> Result<(), Violation> {
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
        let limits = &settings.limits;
        for (conn, open) in &self.connections {
            // On a client's own connection only the client itself waits, and the broker's window is the limit.
            if *conn == ConnId::OWN {
                check("messages not acknowledged", open.deliveries.len(), limits.unacknowledged_deliveries)?;
            }
            check("publishes in flight", open.publishes.len(), limits.publishes_in_flight + limits.wills_waiting)?;
        }
        Ok(())
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
