//! The way to the broker: TCP, TLS where the URL asks for it, and the ledger on top where there is one.
//!
//! TLS is not left to the MQTT library, because the ledger has to see MQTT.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rumqttc_v5::tokio_rustls::TlsConnector;
use rumqttc_v5::{NetworkOptions, default_socket_connect};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

use super::client::{Opening, Version};
use super::ledger::{Ledger, Watched};
use super::tls::HandshakeError;
use super::url::BrokerUrl;

/// A host may have several addresses. The next one is tried after this time, while the former ones still are.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(100);

/// Octets to and from the broker.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// Opens connections to one broker.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    url: BrokerUrl,
    tls: Option<Arc<ClientConfig>>,
    ledger: Option<Ledger>,
    version: Version,
}

impl Dialer {
    pub(super) fn new(opening: &Opening<'_>, version: Version) -> Self {
        let Opening { settings, tls, ledger, .. } = opening;
        Self { url: settings.url.clone(), tls: tls.clone(), ledger: ledger.cloned(), version }
    }

    pub(super) async fn dial(self, network: NetworkOptions) -> io::Result<Watched<Box<dyn Stream>>> {
        let Self { url, tls, ledger, version } = self;
        let stream = connect(lookup_host(url.authority()).await?, network).await?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(handshake(&url.host, tls, stream).await?),
        };
        Ok(Watched::new(stream, ledger, version))
    }
}

/// Connects to the first address that answers.
async fn connect(addresses: impl Iterator<Item = SocketAddr>, network: NetworkOptions) -> io::Result<TcpStream> {
    let attempts = addresses.zip(0..).map(|(address, place)| {
        let network = network.clone();
        async move {
            sleep(NEXT_ADDRESS_AFTER * place).await;
            default_socket_connect(address.to_string(), network).await
        }
    });
    let mut attempts: FuturesUnordered<_> = attempts.collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn handshake(
    host: &str,
    tls: Arc<ClientConfig>,
    stream: TcpStream,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Sync + Unpin + use<>> {
    let failed = |problem| io::Error::other(HandshakeError::new(problem));
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        failed(io::Error::other(format!("`{host}` is no name that a certificate can be checked against")))
    })?;
    TlsConnector::from(tls).connect(name, stream).await.map_err(failed)
}
