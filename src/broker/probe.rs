//! One attempt to connect, for a look at the broker.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::timeout;

use super::driver::offer;
use super::failure::{Failure, Moment};
use super::opening::{DISCONNECT_TIMEOUT, Opening};
use super::purpose::Purpose;
use super::settings::BrokerSettings;
use super::tls;
use super::versions::{first_version, next_version};
use crate::core::BrokerOffer;
use crate::mqtt::Version;

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
        match connect(settings, tls.clone(), version).await {
            Ok(offer) => return Ok(ProbeReport { version, offer }),
            Err(failure) => match next_version(settings.protocol, version, None, Moment::Connecting, &failure) {
                Version::V311 if version == Version::V5 => version = Version::V311,
                Version::V5 | Version::V311 => return Err(failure.explain(Moment::Connecting, version, settings)),
            },
        }
    }
}

async fn connect(
    settings: &BrokerSettings,
    tls: Option<Arc<ClientConfig>>,
    version: Version,
) -> Result<BrokerOffer, Failure> {
    let purpose = Purpose::Probe;
    let opening = Opening::new(settings, tls, &purpose, None, purpose.stage(None), version)?;
    let (link, connack) = opening.open().await?;
    // What happens after the broker's word does not change it.
    let _parted_either_way = timeout(DISCONNECT_TIMEOUT, link.part(purpose.expiry_at_end(None))).await;
    Ok(offer(&connack))
}
