//! The connections to the broker by their names: the gateway's own, and in transparent mode one for each client.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::broker::{Broker, Connection, Events, SessionKeeper, Submitted};
use crate::core::{BrokerCommand, BrokerEvent, ConnId, ConnectSpec, PublishOutcome};

/// The connections that have not ended yet. A thousand cost no more than one, whatever is done.
pub(super) struct Connections {
    broker: Broker,
    events: Events,
    own: Option<Connection>,
    clients: HashMap<ConnId, Connection, RandomState>,
}

impl Connections {
    /// Starts the gateway's own connection. What happens on all of them goes to `events`.
    pub(super) fn start(broker: Broker, keeper: Option<Arc<dyn SessionKeeper>>, events: Events) -> Self {
        let own = Some(broker.connect(keeper, events.clone()));
        Self { broker, events, own, clients: HashMap::default() }
    }

    /// Starts a client's connection, or returns the event that answers one that may not be.
    pub(super) fn open(
        &mut self,
        conn: ConnId,
        spec: ConnectSpec,
        keeper: Option<Arc<dyn SessionKeeper>>,
    ) -> Result<(), BrokerEvent> {
        let connection = self.broker.connect_client(conn, spec, keeper, self.events.clone())?;
        self.clients.insert(conn, connection);
        Ok(())
    }

    /// Hands a command to its connection. One that is gone takes nothing any more.
    pub(super) fn submit(&mut self, conn: ConnId, command: BrokerCommand) -> Submitted {
        match self.get_mut(conn) {
            Some(connection) => connection.submit(command),
            None => Submitted::late(command),
        }
    }

    /// Takes note of what a connection tells. To be called before the core hears it: the name is free afterwards.
    pub(super) fn on_event(&mut self, conn: ConnId, event: &BrokerEvent) {
        match event {
            BrokerEvent::Closed if conn == ConnId::OWN => self.own = None,
            BrokerEvent::Closed => {
                self.clients.remove(&conn);
            }
            BrokerEvent::Published { outcome: PublishOutcome::Busy, .. } => {
                if let Some(connection) = self.get_mut(conn) {
                    connection.refusal_is_heard();
                }
            }
            BrokerEvent::Published {
                outcome: PublishOutcome::Accepted | PublishOutcome::Refused(_) | PublishOutcome::Lost,
                ..
            }
            | BrokerEvent::Up { .. }
            | BrokerEvent::Down { .. }
            | BrokerEvent::Subscribed { .. }
            | BrokerEvent::Message { .. } => {}
        }
    }

    /// Whether all have ended.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_none() && self.clients.is_empty()
    }

    /// Waits until the gateway's own connection has ended, which it does only when asked to, or by an error in this
    /// program.
    pub(super) async fn own_ended(&mut self) {
        if let Some(own) = &mut self.own {
            own.ended().await;
        }
    }

    fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        if conn == ConnId::OWN { self.own.as_mut() } else { self.clients.get_mut(&conn) }
    }
}
