//! The sensor side's I/O: UDP sockets and serial ports. Each link is a task of its own; what they receive comes in
//! batches over one bounded channel, what is to be sent goes out without waiting, on UDP many datagrams at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use tokio::sync::mpsc;

use crate::core::{LinkId, Peer};
use crate::wire::framing::Direction;

mod argument;
mod backoff;
mod batch;
mod event;
pub mod serial;
mod settings;
mod tasks;
pub mod udp;

pub use argument::{SerialArgument, SerialArgumentError};
pub use batch::{Frame, FrameBatch};
pub use event::{DownReason, LinkEvent, Stage, Undelivered};
pub use settings::{LinkConfig, Multicast, SerialSettings, UdpSettings};
pub use udp::{JoinError, Membership, OpenError};

use serial::SerialLink;
use tasks::Tasks;
use udp::{Buffers, UdpLink};

/// All links of the gateway, or the one link of a client tool. Dropping it closes them.
#[derive(Debug)]
pub struct Links {
    links: BTreeMap<LinkId, Link>,
    /// The receiving side of each link.
    tasks: Tasks,
}

#[derive(Debug)]
enum Link {
    Udp(UdpLink),
    Serial(SerialLink),
}

impl Links {
    /// Opens the links; what they receive goes to `events`. Must be called within a Tokio runtime.
    ///
    /// UDP sockets are bound at once. Multicast groups are joined and serial ports opened in the background, and again
    /// whenever they are gone, for as long as the links live. `direction` is which way the frames that they receive travel.
    pub fn open(
        configs: &[(LinkId, LinkConfig)],
        direction: Direction,
        events: &mpsc::Sender<LinkEvent>,
    ) -> Result<Self, OpenError> {
        let (mut links, mut tasks) = (BTreeMap::new(), Tasks::default());
        for (id, config) in configs {
            let link = match config {
                LinkConfig::Udp(settings) => Link::Udp(UdpLink::open(*id, settings, events.clone(), &mut tasks)?),
                LinkConfig::Serial(settings) => {
                    Link::Serial(SerialLink::open(*id, settings.clone(), direction, events.clone(), &mut tasks))
                }
            };
            links.insert(*id, link);
        }
        Ok(Self { links, tasks })
    }

    /// Queues a frame for one peer, without waiting. On UDP it leaves with the next [`Links::flush`] at the latest.
    pub fn send(&mut self, to: Peer, frame: &[u8]) -> Result<(), SendError> {
        match self.link_mut(to.link)? {
            Link::Udp(link) => link.send(to.address, frame),
            Link::Serial(link) => link.send(to.address, frame),
        }
    }

    /// Sends a frame to everyone on a link: on UDP to its multicast groups, of which there may be none; on a serial line
    /// to all nodes of the radio behind it, or to whoever is at its other end.
    ///
    /// `radius` is how many networks it may cross; 0 is as many as the configuration allows.
    pub fn broadcast(&mut self, link: LinkId, radius: u8, frame: &[u8]) -> Result<(), SendError> {
        match self.link_mut(link)? {
            Link::Udp(link) => link.broadcast(radius, frame),
            Link::Serial(link) => link.broadcast(radius, frame),
        }
    }

    /// Sends what is queued, and returns what could not be sent since the last flush: an entry for each link and reason.
    /// To be called before waiting for anything.
    pub fn flush(&mut self) -> Vec<Unsent> {
        let mut unsent = Vec::new();
        for link in self.links.values_mut() {
            match link {
                Link::Udp(link) => unsent.extend(link.flush()),
                // Its task sends, as fast as the line is.
                Link::Serial(_) => {}
            }
        }
        unsent
    }

    /// Waits until a task of a link has ended, and returns that link: it is deaf from now on. While somebody listens to
    /// the events that happens only by an error in this program. Can be dropped without losing an end.
    pub async fn next_ended(&mut self) -> LinkId {
        self.tasks.next_ended().await
    }

    /// Says what a link is: `UDP [::]:1883`, `serial /dev/ttyUSB0, 9600 baud, raw`.
    pub fn describe(&self, link: LinkId) -> String {
        match self.link(link) {
            Ok(Link::Udp(link)) => link.to_string(),
            Ok(Link::Serial(link)) => link.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Says who a peer is: `UDP 192.0.2.7:5000`, `serial /dev/ttyUSB0`, `serial /dev/ttyUSB0 node 0003`.
    pub fn describe_peer(&self, peer: Peer) -> String {
        match self.link(peer.link) {
            Ok(Link::Udp(_)) => match udp::socket_address(peer.address) {
                Some(address) => format!("UDP {address}"),
                None => format!("UDP {:?}", peer.address),
            },
            Ok(Link::Serial(link)) => link.describe_peer(peer.address),
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

    /// Returns the kernel's buffers of a UDP link.
    pub fn udp_buffers(&self, link: LinkId) -> Option<Buffers> {
        match self.link(link) {
            Ok(Link::Udp(link)) => Some(link.buffers()),
            Ok(Link::Serial(_)) | Err(_) => None,
        }
    }

    /// Returns what a serial link was told.
    pub fn serial_settings(&self, link: LinkId) -> Option<&SerialSettings> {
        match self.link(link) {
            Ok(Link::Serial(link)) => Some(link.settings()),
            Ok(Link::Udp(_)) | Err(_) => None,
        }
    }

    fn link(&self, id: LinkId) -> Result<&Link, SendError> {
        self.links.get(&id).ok_or(SendError::NoSuchLink(id))
    }

    fn link_mut(&mut self, id: LinkId) -> Result<&mut Link, SendError> {
        self.links.get_mut(&id).ok_or(SendError::NoSuchLink(id))
    }
}

/// Frames that were queued and could not be sent, all for the same reason. They are lost, as with [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsent {
    pub error: SendError,
    /// To whom the last of them was.
    pub to: Peer,
    pub frames: u64,
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
