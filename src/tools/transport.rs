//! The link under a client tool: a UDP socket of its own, or a serial port.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

/// Octets of the largest datagram that IPv4 carries.
const MAX_DATAGRAM: usize = 65_507;

/// Where a gateway is, as the options say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Udp { host: String, port: u16 },
}

/// One way to reach a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Udp(SocketAddr),
}

/// An open link to one peer.
#[derive(Debug)]
pub(super) enum Transport {
    /// Connected to the gateway, so that the system tells when nobody listens there, and drops what strangers send.
    Udp(UdpSocket),
}

/// What comes over a link.
#[derive(Debug)]
pub(super) enum Arrival {
    Frame(Vec<u8>),
}

impl Target {
    /// Looks the host's addresses up, in the order in which the system would have them tried.
    pub(super) async fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        match self {
            Self::Udp { host, port } => {
                let addresses = lookup_host((bare(host), *port)).await?;
                Ok(addresses.map(Endpoint::Udp).collect())
            }
        }
    }

    pub(super) fn max_frame(&self) -> usize {
        match self {
            Self::Udp { .. } => MAX_DATAGRAM,
        }
    }

    /// Returns what to look into when nobody answers.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Udp { .. } => "is the gateway running, and are --host and --port those of its UDP link?",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } => write!(f, "{host}, UDP port {port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "{address}"),
        }
    }
}

impl Endpoint {
    pub(super) async fn open(&self) -> io::Result<Transport> {
        match self {
            Self::Udp(address) => {
                let any = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok(Transport::Udp(socket))
            }
        }
    }
}

impl Transport {
    pub(super) async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(frame).await.map(drop),
        }
    }

    /// Waits for something to come. May be dropped and called again without a loss.
    pub(super) async fn receive(&mut self) -> io::Result<Arrival> {
        match self {
            Self::Udp(socket) => {
                let mut frame = Vec::with_capacity(MAX_DATAGRAM);
                socket.recv_buf(&mut frame).await?;
                Ok(Arrival::Frame(frame))
            }
        }
    }

    /// Returns the trouble that the system knows of by now: on one machine, that nobody listens.
    pub(super) fn trouble(&self) -> Option<io::Error> {
        match self {
            Self::Udp(socket) => socket.take_error().ok().flatten(),
        }
    }
}

/// An IPv6 address may stand in brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
