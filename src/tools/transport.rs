//! The link under a client tool: a UDP socket of its own, or a serial port.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use crate::core::{LinkId, Peer};
use crate::links::serial::{PortName, sole_node};
use crate::links::{LinkConfig, LinkEvent, Links, SendError, SerialSettings};
use crate::wire::framing::Direction;

/// Octets of the largest datagram that IPv4 carries.
const MAX_DATAGRAM: usize = 65_507;
/// The serial line, the only link of a tool.
const LINE: LinkId = LinkId(0);
/// Octets that a framing may add to a frame.
const OVERHEAD: usize = 20;
/// Events of the serial port that wait; a full channel stops its reading.
const EVENTS: usize = 16;

/// Where a gateway is, as the options say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Udp { host: String, port: u16 },
    Serial(SerialSettings),
}

/// One way to reach a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Udp(SocketAddr),
    Serial(SerialSettings),
}

/// An open link to one peer.
#[derive(Debug)]
pub(super) enum Transport {
    /// Connected to the gateway, so that the system tells when nobody listens there, and drops what strangers send.
    Udp(UdpSocket),
    Serial(Box<SerialPort>),
}

/// What comes over a link.
#[derive(Debug)]
pub(super) enum Arrival {
    Frame(Vec<u8>),
    /// Something else on a serial line, in words.
    Chatter(String),
}

impl Target {
    /// Looks the host's addresses up, in the order in which the system would have them tried.
    pub(super) async fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        match self {
            Self::Udp { host, port } => {
                let addresses = lookup_host((without_brackets(host), *port)).await?;
                Ok(addresses.map(Endpoint::Udp).collect())
            }
            Self::Serial(settings) => Ok(vec![Endpoint::Serial(settings.clone())]),
        }
    }

    /// Returns the octets of the largest frame.
    pub(super) fn max_frame(&self) -> usize {
        match self {
            Self::Udp { .. } => MAX_DATAGRAM,
            Self::Serial(settings) => settings.max_frame,
        }
    }

    /// Returns what to look into when nobody answers.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Udp { .. } => "is the gateway running, and are --host and --port those of its UDP link?",
            Self::Serial(_) => "is a gateway at its other end, with the same baud rate and framing?",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } => write!(f, "{host}, UDP port {port}"),
            Self::Serial(settings) => write!(f, "the serial port {}", settings.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "{address}"),
            Self::Serial(SerialSettings { port: PortName::Tcp { .. }, framing, .. }) => write!(f, "framing {framing}"),
            Self::Serial(settings) => write!(f, "{} baud, framing {}", settings.baud, settings.framing),
        }
    }
}

impl Endpoint {
    pub(super) async fn open(&self) -> io::Result<Transport> {
        match self {
            Self::Udp(address) => {
                let any = match address {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok(Transport::Udp(socket))
            }
            Self::Serial(settings) => SerialPort::open(settings).await.map(Box::new).map(Transport::Serial),
        }
    }
}

impl Transport {
    pub(super) async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(frame).await.map(drop),
            Self::Serial(port) => port.send(frame),
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
            Self::Serial(port) => port.receive().await,
        }
    }

    /// Returns the trouble that the system knows of by now: on one machine, that nobody listens.
    pub(super) fn trouble(&self) -> Option<io::Error> {
        match self {
            Self::Udp(socket) => socket.take_error().ok().flatten(),
            Self::Serial(_) => None,
        }
    }

    /// Waits until what was sent has left, where no answer can tell.
    pub(super) async fn drain(&self) {
        match self {
            Self::Udp(_) => {}
            Self::Serial(port) => time::sleep_until(port.quiet_at).await,
        }
    }
}

/// A serial port that is open; once it is gone it is an error.
#[derive(Debug)]
pub(super) struct SerialPort {
    links: Links,
    events: mpsc::Receiver<LinkEvent>,
    arrived: VecDeque<Vec<u8>>,
    /// As whom the tool sends; the gateway is whoever is at the other end.
    own: Peer,
    settings: SerialSettings,
    /// When all that was sent will have left.
    quiet_at: Instant,
}

impl SerialPort {
    async fn open(settings: &SerialSettings) -> io::Result<Self> {
        let (sender, events) = mpsc::channel(EVENTS);
        let config = LinkConfig::Serial(settings.clone());
        let links = Links::open(&[(LINE, config)], Direction::Downlink, &sender).map_err(io::Error::other)?;
        let settings = settings.clone();
        let quiet_at = Instant::now() + settings.settle;
        let own = Peer { link: LINE, address: sole_node(settings.framing) };
        let mut port = Self { links, events, arrived: VecDeque::new(), own, settings, quiet_at };
        match port.event().await? {
            LinkEvent::Down { reason, .. } => Err(io::Error::other(reason)),
            LinkEvent::Up { .. }
            | LinkEvent::Frames(_)
            | LinkEvent::Text { .. }
            | LinkEvent::Noise { .. }
            | LinkEvent::Undelivered { .. }
            | LinkEvent::Overflowed { .. }
            | LinkEvent::Joined { .. }
            | LinkEvent::NotJoined { .. } => Ok(port),
        }
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self.links.send(self.own, frame) {
            // MQTT-SN sends again what matters.
            Ok(()) | Err(SendError::Full) => {}
            Err(
                error @ (SendError::Down
                | SendError::TooLong { .. }
                | SendError::NoSuchLink(_)
                | SendError::WrongAddress
                | SendError::Refused(_)),
            ) => return Err(io::Error::other(error)),
        }
        self.quiet_at = self.quiet_at.max(Instant::now()) + self.time_on_the_line(frame);
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<Arrival> {
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return Ok(Arrival::Frame(frame));
            }
            match self.event().await? {
                LinkEvent::Up { .. }
                | LinkEvent::Joined { .. }
                | LinkEvent::NotJoined { .. }
                | LinkEvent::Overflowed { .. } => {}
                LinkEvent::Down { reason, .. } => {
                    return Err(io::Error::other(format!("the serial port is gone: {reason}")));
                }
                LinkEvent::Frames(batch) => self.arrived.extend(batch.iter().map(|frame| frame.bytes.to_vec())),
                LinkEvent::Text { line, .. } => return Ok(Arrival::Chatter(format!("text: {line}"))),
                LinkEvent::Noise { octets, reason, .. } => {
                    return Ok(Arrival::Chatter(format!("{octets} octets of noise: {reason}")));
                }
                LinkEvent::Undelivered { frames, reason, .. } => {
                    return Ok(Arrival::Chatter(format!("{frames} frames were not delivered: {reason}")));
                }
            }
        }
    }

    async fn event(&mut self) -> io::Result<LinkEvent> {
        self.events.recv().await.ok_or_else(|| io::Error::other("the serial port's task has ended"))
    }

    /// Ten bits an octet; every framing may double the octets at worst.
    fn time_on_the_line(&self, frame: &[u8]) -> Duration {
        let bits = u32::try_from(frame.len() + OVERHEAD).unwrap_or(u32::MAX).saturating_mul(20);
        Duration::from_secs(1) * bits / self.settings.baud.max(1) + self.settings.gap
    }
}

/// An IPv6 address may stand in brackets.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
