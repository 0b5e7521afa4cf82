//! A broker as the application sees it: where connections to it come from.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::mpsc;
use tracing::debug;

use super::connection::Connection;
use super::driver::Setup;
use super::ledger::{Ledger, SessionKeeper};
use super::purpose::{ClientSession, Lifetime, Purpose, whole_seconds};
use super::settings::{BrokerSettings, ClientSettings, SettingsError};
use super::tls;
use super::turns::Turns;
use super::versions::Proven;
use crate::core::{BrokerEvent, BrokerReason, ConnId, ConnectSpec};

/// Where connections send what happens on them, in batches and in order. While it is full they read nothing from the
/// broker.
pub type Events = mpsc::Sender<(ConnId, Vec<BrokerEvent>)>;

/// Everything that the connections to one broker have in common. TLS files are read once.
#[derive(Debug)]
pub struct Broker {
    settings: BrokerSettings,
    clients: ClientSettings,
    tls: Option<Arc<ClientConfig>>,
    proven: Proven,
    turns: Turns,
}

impl Broker {
    /// Prepares for connections, and makes none.
    ///
    /// # Errors
    ///
    /// What [`BrokerSettings::check`] finds. A broker that is not there is no error: it is waited for.
    pub fn new(settings: BrokerSettings, clients: ClientSettings) -> Result<Self, SettingsError> {
        settings.check_values()?;
        clients.check()?;
        let tls = tls::client_config(&settings)?;
        let turns = Turns::new(clients.connects_at_once);
        Ok(Self { settings, clients, tls, proven: Proven::default(), turns })
    }

    /// Starts the gateway's own connection. Must be called in a Tokio runtime.
    ///
    /// With a keeper it goes on with the session of the process before, and what is under way at QoS 2 is carried out
    /// exactly once whatever becomes of the process. Without one it begins with a new session.
    pub fn connect(&self, keeper: Option<Arc<dyn SessionKeeper>>, events: Events) -> Connection {
        self.start(ConnId::OWN, self.settings.clone(), Purpose::Gateway, keeper, events)
    }

    /// Starts a client's connection. Must be called in a Tokio runtime.
    ///
    /// With a keeper of the client's own, what is under way at QoS 2 outlives the process, if the session does.
    ///
    /// # Errors
    ///
    /// The event that answers a client who may not have a connection: its id is the one that the gateway itself has at
    /// the broker, and the two would throw each other out for ever.
    pub fn connect_client(
        &self,
        conn: ConnId,
        spec: ConnectSpec,
        keeper: Option<Arc<dyn SessionKeeper>>,
        events: Events,
    ) -> Result<Connection, BrokerEvent> {
        let ConnectSpec { session: _, client_id, clean_session, will } = spec;
        let settings = self.clients.of_client(&client_id, &self.settings);
        if settings.client_id == self.settings.client_id {
            let reason = format!("the gateway itself is `{}` at the broker", settings.client_id);
            debug!(conn = conn.0, "no connection for a client: {reason}");
            return Err(BrokerEvent::Down { reason, refusal: Some(CLIENT_ID_NOT_VALID) });
        }
        let (lifetime, keeper) = if clean_session {
            (Lifetime::Connection, None)
        } else {
            (Lifetime::Kept { seconds: whole_seconds(self.clients.session_expiry) }, keeper)
        };
        Ok(self.start(conn, settings, Purpose::Client(ClientSession { lifetime, will }), keeper, events))
    }

    fn start(
        &self,
        conn: ConnId,
        settings: BrokerSettings,
        purpose: Purpose,
        keeper: Option<Arc<dyn SessionKeeper>>,
        events: Events,
    ) -> Connection {
        let (tls, proven) = (self.tls.clone(), self.proven.clone());
        let turns = match &purpose {
            Purpose::Client(_) => Some(self.turns.clone()),
            // Never behind its clients.
            Purpose::Gateway | Purpose::Probe => None,
        };
        Connection::spawn(Setup {
            conn,
            settings,
            tls,
            purpose,
            proven,
            turns,
            ledger: keeper.map(Ledger::open),
            events,
        })
    }
}

/// MQTT 5 §3.2.2.2.
const CLIENT_ID_NOT_VALID: BrokerReason = BrokerReason(0x85);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::SessionNumber;

    #[tokio::test]
    async fn a_client_may_not_have_the_gateways_own_id() {
        let settings = BrokerSettings::new("mqtt://127.0.0.1:1".parse().unwrap(), "gateway");
        let broker = Broker::new(settings, ClientSettings::default()).unwrap();
        let (events, _receiver) = mpsc::channel(1);
        let named = |name: &str| ConnectSpec {
            session: SessionNumber(1),
            client_id: name.into(),
            clean_session: true,
            will: None,
        };
        let refused = broker.connect_client(ConnId(1), named("gateway"), None, events.clone()).unwrap_err();
        assert!(matches!(refused, BrokerEvent::Down { refusal: Some(CLIENT_ID_NOT_VALID), .. }), "{refused:?}");
        broker.connect_client(ConnId(1), named("sensor"), None, events).unwrap();
    }
}
