//! The sensor side's I/O: UDP sockets and serial ports. Each link is a task of its own; what they receive comes in
//! batches over one bounded channel, what is to be sent goes out without waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::core::{LinkAddress, LinkId, Peer};
use crate::wire::framing::Direction;

mod backoff;
mod batch;
mod event;
pub mod serial;
mod settings;
pub mod udp;

pub use batch::FrameBatch;
pub use event::{DownReason, LinkEvent};
pub use settings::{LinkConfig, SerialSettings, UdpSettings};
pub use udp::OpenError;

use serial::SerialLink;
use udp::UdpLink;

/// All links of the gateway, or the one link of a client tool. Dropping it closes them.
#[derive(Debug)]
pub struct Links {
    links: BTreeMap<LinkId, Link>,
    /// The receiving side of each link; aborted when dropped.
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
enum Link {
    Udp(UdpLink),
    Serial(SerialLink),
}

impl Links {
    /// Opens the links; what they receive goes to `events`. Must be called within a Tokio runtime.
    ///
    /// UDP sockets are bound at once. Serial ports open in the background, and again whenever they are gone, for as
    /// long as the links live. `direction` is which way the frames that they receive travel.
    pub fn open(
        configs: &[(LinkId, LinkConfig)],
        direction: Direction,
        events: &mpsc::Sender<LinkEvent>,
    ) -> Result<Self, OpenError> {
        let (mut links, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for (id, config) in configs {
            let link = match config {
                LinkConfig::Udp(settings) => Link::Udp(UdpLink::open(*id, settings, events.clone(), &mut tasks)?),
                LinkConfig::Serial(settings) => {
                    Link::Serial(SerialLink::open(*id, settings.clone(), direction, events.clone(), &mut tasks))
                }
            };
            links.insert(*id, link);
        }
        Ok(Self { links, _tasks: tasks })
    }

    /// Sends a frame to one peer, or queues it, without waiting.
    pub fn send(&self, to: Peer, frame: &[u8]) -> Result<(), SendError> {
        match self.link(to.link)? {
            Link::Udp(link) => link.send(to.address, frame),
            Link::Serial(link) if to.address == LinkAddress::NONE => link.send(frame),
            Link::Serial(_) => Err(SendError::WrongAddress),
        }
    }

    /// Sends a frame to everyone on a link. On a serial line that is whoever is at its other end; a UDP link has no
    /// multicast group yet, and nobody is reached.
    ///
    /// `_radius` is for links whose framing carries it.
    pub fn broadcast(&self, link: LinkId, _radius: u8, frame: &[u8]) -> Result<(), SendError> {
        match self.link(link)? {
            Link::Udp(_) => Ok(()),
            Link::Serial(link) => link.send(frame),
        }
    }

    /// Says what a link is: `UDP [::]:1883`, `serial /dev/ttyUSB0, 9600 baud, raw`.
    pub fn describe(&self, link: LinkId) -> String {
        match self.link(link) {
            Ok(Link::Udp(link)) => link.to_string(),
            Ok(Link::Serial(link)) => link.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Says who a peer is: `UDP 192.0.2.7:5000`, `serial /dev/ttyUSB0`.
    pub fn describe_peer(&self, peer: Peer) -> String {
        match self.link(peer.link) {
            Ok(Link::Udp(_)) => match udp::socket_address(peer.address) {
                Some(address) => format!("UDP {address}"),
                None => format!("UDP {:?}", peer.address),
            },
            Ok(Link::Serial(link)) => format!("serial {}", link.port()),
            Err(error) => error.to_string(),
        }
    }

    /// Returns the address that a UDP link is bound to.
    pub fn local_addr(&self, link: LinkId) -> Option<SocketAddr> {
        match self.link(link) {
            Ok(Link::Udp(link)) => Some(link.local_addr()),
            Ok(Link::Serial(_)) | Err(_) => None,
        }
    }

    fn link(&self, id: LinkId) -> Result<&Link, SendError> {
        self.links.get(&id).ok_or(SendError::NoSuchLink(id))
    }
}

/// Why a frame was not sent. The frame is lost; MQTT-SN sends again what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("there is no link {}", .0.0)]
    NoSuchLink(LinkId),
    #[error("the address is none of this link")]
    WrongAddress,
    #[error("the send queue is full")]
    Full,
    #[error("the port is down")]
    Down,
    #[error("{octets} octets, and the link carries {max}")]
    TooLong { octets: usize, max: usize },
    #[error("the system refuses to send: {0}")]
    Refused(io::ErrorKind),
}
