//! One attempt to connect: from the name of the broker's host to CONNACK.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::timeout;

use super::dial::Dialer;
use super::failure::Failure;
use super::ledger::Ledger;
use super::link::Link;
use super::purpose::{Purpose, Stage};
use super::settings::BrokerSettings;
use crate::core::BrokerReason;
use crate::mqtt::{ConnAck, Connect, Version};

/// From the first step of an attempt to the broker's CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the way of DISCONNECT to the broker, with nothing before it, and for the broker to close.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An attempt that is ready to be made. Not to be shown: the password is in it.
pub(super) struct Opening {
    dialer: Dialer,
    version: Version,
    /// CONNECT with which the broker forgets the session of a former process, on a connection before.
    wipe: Option<Vec<u8>>,
    connect: Vec<u8>,
    keep_alive: u16,
    /// Whether the broker may have a session that goes on.
    resumes: bool,
}

impl Opening {
    pub(super) fn new(
        settings: &BrokerSettings,
        tls: Option<Arc<ClientConfig>>,
        purpose: &Purpose,
        ledger: Option<&Ledger>,
        stage: Stage,
        version: Version,
    ) -> Result<Self, Failure> {
        let connect = purpose.connect(settings, ledger);
        let wipe = match stage {
            // In 3.1.1 the clean flag also means that no session is kept, and in MQTT 5 Mosquitto does not keep one
            // that began with the flag over a restart: so it cannot stand in the lasting connection.
            Stage::ToWipe => Some(Connect { clean: true, session_expiry: None, ..connect.clone() }.write(version)),
            Stage::Established => None,
        };
        Ok(Self {
            dialer: Dialer::new(settings, tls, ledger.cloned(), version),
            version,
            resumes: !connect.clean && wipe.is_none(),
            wipe: wipe.transpose().map_err(Failure::garbage)?,
            connect: connect.write(version).map_err(Failure::garbage)?,
            keep_alive: connect.keep_alive,
        })
    }

    /// Connects. The broker has accepted when this returns a link.
    pub(super) async fn open(self) -> Result<(Box<Link>, ConnAck), Failure> {
        if let Some(wipe) = &self.wipe {
            let (link, _) = self.attempt(wipe).await?;
            // The broker has forgotten with its CONNACK.
            let _parted_either_way = timeout(DISCONNECT_TIMEOUT, link.part(None)).await;
        }
        let (mut link, connack) = self.attempt(&self.connect).await?;
        if connack.session_present && !self.resumes {
            // Somebody with our client id was there in between. Nothing in that session is ours.
            return Err(Failure::Garbage("it resumes a session that it was asked to forget".to_owned()));
        }
        link.keep_alive(connack.keep_alive.unwrap_or(self.keep_alive));
        Ok((link, connack))
    }

    async fn attempt(&self, connect: &[u8]) -> Result<(Box<Link>, ConnAck), Failure> {
        let attempt = async {
            let mut link = Box::new(Link::new(self.dialer.dial().await.map_err(Failure::of_io)?, self.version));
            let connack = link.shake_hands(connect).await?;
            match connack.reason {
                0 => Ok((link, connack)),
                reason => Err(Failure::Refused(BrokerReason(reason))),
            }
        };
        timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or(Err(Failure::TimedOut))
    }
}
