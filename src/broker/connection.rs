//! A connection to the broker as the application holds it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::commands::{self, Unsent};
use super::driver::{Driver, Setup};
use super::load::Load;
use crate::core::{BrokerCommand, BrokerEvent, PublishOutcome, SubscribeOutcome};

/// MQTT numbers packets from 1 to 65535, in each direction.
const PACKET_IDS: usize = 65_535;

/// Unsubscribes that fit into the queue when publishes and subscribes no longer do.
const UNSUBSCRIBES_BEYOND: usize = 65_536;

/// A connection that keeps itself up: it reconnects for ever, and says so in its events.
///
/// Dropped without [`BrokerCommand::Disconnect`] it ends at once and without a word to the broker.
#[derive(Debug)]
pub struct Connection {
    /// Has room for all that `load` lets in, for one acknowledgement of every open delivery, and for the one
    /// disconnect. An acknowledgement can thus find it full only if the core gives one twice, or if the broker
    /// breaks MQTT's rules; it is then dropped, and the broker sends the message again when it next connects.
    ///
    /// The room is not reserved in memory: the queue grows and shrinks with what is in it, and takes next to none when
    /// it is empty, as a client's mostly is.
    commands: commands::Sender,
    load: Arc<Load>,
    /// Publishes that were not taken, while the core has not heard of it: no later one is to pass them.
    unheard: usize,
    task: JoinHandle<()>,
}

/// What [`Connection::submit`] did with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Submitted {
    /// It will be carried out; if an answer is due it comes as an event.
    Queued,
    /// It cannot be carried out, and this is the answer: give it to the core like any other event.
    Answered(BrokerEvent),
    /// The queue is full, and nobody waits for an answer: count it.
    Dropped,
    /// The connection has ended, and nobody waits for an answer.
    TooLate,
}

impl Connection {
    pub(super) fn spawn(setup: Setup) -> Self {
        let load = Arc::new(Load::new(setup.settings.queue, UNSUBSCRIBES_BEYOND));
        let room = setup.settings.queue + UNSUBSCRIBES_BEYOND + PACKET_IDS + 1;
        let (commands, receiver) = commands::queue(room);
        let mut driver = Driver::new(setup, receiver, Arc::clone(&load));
        Self { commands, load, unheard: 0, task: tokio::spawn(async move { driver.run().await }) }
    }

    /// Hands over a command. Never blocks.
    pub fn submit(&mut self, command: BrokerCommand) -> Submitted {
        let has_a_place = match &command {
            BrokerCommand::Publish { .. } => self.unheard == 0 && self.load.enter(),
            BrokerCommand::Subscribe { .. } => self.load.enter(),
            BrokerCommand::Unsubscribe { .. } => self.load.enter_beyond(),
            BrokerCommand::Ack { .. } | BrokerCommand::Disconnect => true,
        };
        if !has_a_place {
            self.unheard += usize::from(matches!(command, BrokerCommand::Publish { token: Some(_), .. }));
            return Submitted::refused(command);
        }
        match self.commands.send(command) {
            Ok(()) => Submitted::Queued,
            Err(Unsent::Closed(command)) => Submitted::late(command),
            Err(Unsent::Full(command)) => Submitted::refused(command),
        }
    }

    /// Notes that the core hears next that a publish was not taken.
    pub fn refusal_is_heard(&mut self) {
        self.unheard = self.unheard.saturating_sub(1);
    }

    /// Waits until the connection has ended: after the core took [`BrokerEvent::Closed`], or by an error in this
    /// program.
    pub async fn ended(&mut self) {
        if !self.task.is_finished() {
            // An error is a panic, which the runtime has reported, or an abort, which only the drop does.
            let _ended = (&mut self.task).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Submitted {
    /// Answers a command to a connection that has ended.
    pub fn late(command: BrokerCommand) -> Self {
        answer(command).map_or(Self::TooLate, Self::Answered)
    }

    /// Answers a command that finds the queue full.
    fn refused(command: BrokerCommand) -> Self {
        answer(command).map_or(Self::Dropped, Self::Answered)
    }
}

/// Returns what the core is told about a command that is not carried out, if it waits for anything.
fn answer(command: BrokerCommand) -> Option<BrokerEvent> {
    match command {
        BrokerCommand::Publish { token: Some(token), .. } => {
            Some(BrokerEvent::Published { token, outcome: PublishOutcome::Busy })
        }
        BrokerCommand::Subscribe { token, .. } => {
            Some(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Lost })
        }
        // It has its place in every queue, so the connection is gone.
        BrokerCommand::Disconnect => Some(BrokerEvent::Closed),
        BrokerCommand::Publish { token: None, .. } | BrokerCommand::Unsubscribe { .. } | BrokerCommand::Ack { .. } => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Broker, BrokerSettings, ClientSettings};
    use crate::core::topics::TopicName;
    use crate::core::{Message, Token};
    use crate::wire::Qos;

    #[tokio::test]
    async fn no_publish_passes_one_that_was_not_taken_before_the_core_has_heard_of_that() {
        let mut settings = BrokerSettings::new("mqtt://127.0.0.1:9".parse().unwrap(), "gateway");
        settings.queue = 1;
        let broker = Broker::new(settings, ClientSettings::default()).unwrap();
        let mut connection = broker.connect(None, tokio::sync::mpsc::channel(1).0);
        let submit = |connection: &mut Connection, token| {
            let topic = TopicName::parse(b"a").unwrap();
            let message = Message { topic, payload: "".into(), qos: Qos::AtLeastOnce, retain: false };
            connection.submit(BrokerCommand::Publish { token: Some(Token(token)), message, expires_in: None })
        };
        let busy = |token| {
            let (token, outcome) = (Token(token), PublishOutcome::Busy);
            Submitted::Answered(BrokerEvent::Published { token, outcome })
        };
        assert_eq!(submit(&mut connection, 1), Submitted::Queued);
        assert_eq!(submit(&mut connection, 2), busy(2));
        connection.load.leave();
        assert_eq!(submit(&mut connection, 3), busy(3), "there is room for it");
        connection.refusal_is_heard();
        connection.refusal_is_heard();
        assert_eq!(submit(&mut connection, 2), Submitted::Queued);
    }
}
