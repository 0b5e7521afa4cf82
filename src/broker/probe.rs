//! One attempt to connect, for a look at the broker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustls::ClientConfig;
use tokio::time::timeout;

use super::client::{Attempt, Opening, Purpose, Signal, Version, Wire};
use super::failure::{Failure, Moment};
use super::settings::BrokerSettings;
use super::tls;
use super::versions::{first_version, next_version};
use crate::core::BrokerOffer;

const PATIENCE: Duration = Duration::from_secs(5);

/// What a look at the broker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    pub version: Version,
    pub offer: BrokerOffer,
}

/// Connects to the broker once, disconnects, and returns what the broker is and offers. Takes 5 seconds at most.
///
/// It uses a client id of its own, so that a running gateway is not thrown out.
///
/// # Errors
///
/// What is wrong, in words, with the remedy where it is known.
pub async fn probe(settings: &BrokerSettings) -> Result<ProbeReport, String> {
    settings.check_values().map_err(|error| error.to_string())?;
    let tls = tls::client_config(settings).map_err(|error| error.to_string())?;
    let settings = BrokerSettings { client_id: format!("{}-check", settings.client_id), ..settings.clone() };
    match timeout(PATIENCE, attempt(&settings, tls)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::TimedOut.explain(Moment::Connecting, first_version(settings.protocol, None), &settings)),
    }
}

async fn attempt(settings: &BrokerSettings, tls: Option<Arc<ClientConfig>>) -> Result<ProbeReport, String> {
    let mut version = first_version(settings.protocol, None);
    loop {
        let tls = tls.clone();
        let purpose = &Purpose::Probe;
        let mut wire = version.open(&Opening { settings, tls, purpose, ledger: None, attempt: Attempt::Resume });
        match connect(&mut wire).await {
            Ok(offer) => return Ok(ProbeReport { version, offer }),
            Err(failure) => match next_version(settings.protocol, version, None, Moment::Connecting, &failure) {
                Version::V311 if version == Version::V5 => version = Version::V311,
                Version::V5 | Version::V311 => return Err(failure.explain(Moment::Connecting, version, settings)),
            },
        }
    }
}

async fn connect(wire: &mut Wire) -> Result<BrokerOffer, Failure> {
    let mut offered = None;
    loop {
        let signal = wire.signals.next().await.unwrap_or(Signal::Closed);
        match (signal, offered) {
            (Signal::Up { offer, .. }, _) => {
                offered = Some(offer);
                wire.client.disconnect();
            }
            // What happens after the broker's word does not change it.
            (Signal::Closed | Signal::Failed(_), Some(offer)) => return Ok(offer),
            (Signal::Closed, None) => return Err(Failure::Closed),
            (Signal::Failed(failure), None) => return Err(failure),
            (Signal::Message(_) | Signal::Unusable { .. } | Signal::Settled { .. }, _) => {}
        }
    }
}
