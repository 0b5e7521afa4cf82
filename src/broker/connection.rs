//! A connection to the broker as the application holds it.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::driver::Driver;
use super::outbound::{Load, Outbound};
use super::settings::{BrokerSettings, SettingsError};
use super::tls;
use crate::core::{BrokerCommand, BrokerEvent, ConnId, PublishOutcome, SubscribeOutcome};

/// A connection that keeps itself up: it reconnects for ever, and says so in its events.
///
/// Dropped without [`BrokerCommand::Disconnect`] it ends at once and without a word to the broker.
#[derive(Debug)]
pub struct Connection {
    /// Unbounded, because commands that may pile up take a place in `load` first, and the others answer something:
    /// there are never more acknowledgements than deliveries, nor more unsubscribes than subscriptions.
    commands: mpsc::UnboundedSender<BrokerCommand>,
    load: Arc<Load>,
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
    /// It cannot be carried out, and nobody waits for an answer: count it.
    Dropped,
}

impl Connection {
    /// Starts the connection. Must be called in a Tokio runtime.
    ///
    /// Events come in batches, in order. While `events` is full nothing is read from the broker.
    ///
    /// # Errors
    ///
    /// What [`BrokerSettings::check`] finds. A broker that is not there is no error: it is waited for.
    pub fn start(
        conn: ConnId,
        settings: BrokerSettings,
        events: mpsc::Sender<(ConnId, Vec<BrokerEvent>)>,
    ) -> Result<Self, SettingsError> {
        settings.check_values()?;
        let tls = tls::client_config(&settings)?;
        let load = Arc::new(Load::new(settings.queue));
        let (commands, receiver) = mpsc::unbounded_channel();
        let driver = Driver::new(conn, settings, tls, events, receiver, Outbound::new(Arc::clone(&load)));
        Ok(Self { commands, load, task: tokio::spawn(driver.run()) })
    }

    /// Hands over a command. Never blocks.
    pub fn submit(&self, command: BrokerCommand) -> Submitted {
        let takes_a_place = match &command {
            BrokerCommand::Publish { .. } | BrokerCommand::Subscribe { .. } => true,
            BrokerCommand::Unsubscribe { .. } | BrokerCommand::Ack { .. } | BrokerCommand::Disconnect => false,
        };
        if takes_a_place && !self.load.enter() {
            return refused(command);
        }
        match self.commands.send(command) {
            Ok(()) => Submitted::Queued,
            // The connection has ended.
            Err(mpsc::error::SendError(command)) => refused(command),
        }
    }

    /// Waits until the connection has ended, after [`BrokerCommand::Disconnect`] was submitted.
    ///
    /// A broker that takes what was submitted before but never answers can make this last: bound it. So can events
    /// that nobody takes: take them or drop the receiver.
    pub async fn closed(&mut self) {
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

fn refused(command: BrokerCommand) -> Submitted {
    match command {
        BrokerCommand::Publish { token: Some(token), .. } => {
            Submitted::Answered(BrokerEvent::Published { token, outcome: PublishOutcome::Busy })
        }
        BrokerCommand::Subscribe { token, .. } => {
            Submitted::Answered(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Lost })
        }
        BrokerCommand::Publish { token: None, .. }
        | BrokerCommand::Unsubscribe { .. }
        | BrokerCommand::Ack { .. }
        | BrokerCommand::Disconnect => Submitted::Dropped,
    }
}
