//! The way to the broker: TCP, TLS where the URL asks for it, and the ledger on top where there is one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use super::ledger::{Ledger, Watched};
use super::settings::BrokerSettings;
use super::tls::HandshakeError;
use super::url::BrokerUrl;
use crate::mqtt::Version;

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
    pub(super) fn new(
        settings: &BrokerSettings,
        tls: Option<Arc<ClientConfig>>,
        ledger: Option<Ledger>,
        version: Version,
    ) -> Self {
        Self { url: settings.url.clone(), tls, ledger, version }
    }

    pub(super) async fn dial(&self) -> io::Result<Watched<Box<dyn Stream>>> {
        let Self { url, tls, ledger, version } = self;
        let stream = connect(lookup_host(url.authority()).await?).await?;
        // What is written is written at once, so there is nothing to wait for.
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(handshake(&url.host, Arc::clone(tls), stream).await?),
        };
        Ok(Watched::new(stream, ledger.clone(), *version))
    }
}

/// Connects to the first address that answers.
async fn connect(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let attempts = addresses.zip(0..).map(|(address, place)| async move {
        sleep(NEXT_ADDRESS_AFTER * place).await;
        TcpStream::connect(address).await
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
