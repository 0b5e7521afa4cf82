//! UDP links: one socket each, IPv4 and IPv6, and one more for each multicast group on each interface.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::tasks::Tasks;
use super::{DownReason, LinkEvent, SendError, UdpSettings, Unsent};
use crate::core::{Cast, LinkAddress, LinkId};

mod address;
mod buffers;
mod interface;
#[cfg(target_os = "linux")]
mod many;
mod multicast;
mod outbox;
mod receive;
// Tested where it is not used, too.
#[cfg(any(test, not(target_os = "linux")))]
mod single;

pub use address::{link_address, socket_address};
pub use buffers::{Buffer, Buffers, RECEIVE_LIMIT, SEND_LIMIT, limit};
pub use multicast::{JoinError, Membership, is_of_one_link};

#[cfg(target_os = "linux")]
use many as system;
#[cfg(not(target_os = "linux"))]
use single as system;

use multicast::Member;
use outbox::Outbox;
use receive::Receiver;

/// Opens a link's sockets and lets them go: whether it could open, and which groups it could join.
pub fn try_open(settings: &UdpSettings) -> Result<Vec<TriedGroup>, OpenError> {
    let (socket, ..) = bind(settings)?;
    let attempt =
        |membership: Membership| TriedGroup { outcome: multicast::join(&membership, &socket).map(drop), membership };
    Ok(Membership::all(&settings.multicast).into_iter().map(attempt).collect())
}

/// A group that was joined for a moment, or could not be.
#[derive(Debug)]
pub struct TriedGroup {
    pub membership: Membership,
    pub outcome: Result<(), JoinError>,
}

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "cannot listen on UDP {listen}: another program uses port {port}. Find it with \
         `ss -lunp 'sport = :{port}'` and stop it, or listen on another port, such as {other}",
        port = listen.port(),
        other = another_port(*listen)
    )]
    InUse { listen: SocketAddr },
    #[error(
        "cannot listen on UDP {listen}: this machine has no such address. Listen on one that `ip address` shows, \
         or on [::]:{port} for all",
        port = listen.port()
    )]
    NoSuchAddress { listen: SocketAddr },
    #[error(
        "cannot listen on UDP {listen}: not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE. \
         Listen on a port from 1024 on, such as 1883"
    )]
    NoPermission { listen: SocketAddr },
    #[error("cannot listen on UDP {listen}: {source}")]
    Other { listen: SocketAddr, source: io::Error },
}

impl OpenError {
    fn new(listen: SocketAddr, source: io::Error) -> Self {
        let kind = source.kind();
        if kind == ErrorKind::AddrInUse {
            Self::InUse { listen }
        } else if kind == ErrorKind::AddrNotAvailable {
            Self::NoSuchAddress { listen }
        } else if kind == ErrorKind::PermissionDenied {
            Self::NoPermission { listen }
        } else {
            Self::Other { listen, source }
        }
    }
}

fn another_port(listen: SocketAddr) -> SocketAddr {
    SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(1883))
}

/// The sending side of a link.
#[derive(Debug)]
pub(super) struct UdpLink {
    /// Shared with the task that receives. Not Tokio's: sending never waits, and the kernel says when it is full.
    socket: StdUdpSocket,
    local: SocketAddr,
    versions: IpVersions,
    buffers: Buffers,
    outbox: Outbox,
    members: Vec<Member>,
    /// Networks that a frame to a group may cross.
    ttl: u8,
}

/// What the socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IpVersions {
    V4,
    /// IPv6, and IPv4 as well if it listens on `[::]`.
    V6,
    /// IPv4, because the machine has no IPv6.
    OnlyV4,
}

impl UdpLink {
    pub(super) fn open(
        id: LinkId,
        settings: &UdpSettings,
        events: mpsc::Sender<LinkEvent>,
        tasks: &mut Tasks,
    ) -> Result<Self, OpenError> {
        let (socket, versions) = bind(settings)?;
        let error = |source| OpenError::new(settings.listen, source);
        let local = socket.local_addr().map_err(error)?;
        let buffers = Buffers::ask(SockRef::from(&socket), settings);
        let receiver = socket.try_clone().map_err(error)?;
        let receiver = Receiver::new(id, receiver, Cast::Unicast, settings.batch).map_err(error)?;
        tasks.spawn(id, receive(id, receiver, events.clone()));
        let mut members = Vec::new();
        for membership in Membership::all(&settings.multicast) {
            let link_socket = socket.try_clone().map_err(error)?;
            members.push(Member::join(id, membership, link_socket, settings, events.clone(), tasks));
        }
        let outbox = Outbox::new(id, settings.batch);
        Ok(Self { socket, local, versions, buffers, outbox, members, ttl: settings.multicast.ttl })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// Queues a frame; it leaves with the next [`Self::flush`], or before if there are many.
    pub(super) fn send(&mut self, to: LinkAddress, frame: &[u8]) -> Result<(), SendError> {
        let to = socket_address(to).and_then(|to| self.reachable(to)).ok_or(SendError::WrongAddress)?;
        self.outbox.push(&self.socket, to, frame);
        Ok(())
    }

    /// Sends what is queued, and returns what could not be sent since the last flush.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = Unsent> {
        self.outbox.flush(&self.socket);
        self.outbox.take_unsent()
    }

    /// Sends a frame to all groups on all interfaces that are there, from the link's own address: that is the one at
    /// which clients are to find the gateway.
    pub(super) fn broadcast(&mut self, radius: u8, frame: &[u8]) -> Result<(), SendError> {
        // Radius 0 is the whole network (MQTT-SN 1.2 §5.3.9).
        let hops = if radius == 0 { self.ttl } else { radius.min(self.ttl) };
        let mut outcome = Ok(());
        for destination in self.members.iter().filter_map(Member::destination) {
            let sent = match (self.reachable(destination.group), destination.select(&self.socket, hops)) {
                // The way out is the socket's: nothing may wait for another one.
                (Some(group), Ok(())) => {
                    self.outbox.push(&self.socket, group, frame);
                    self.outbox.flush(&self.socket);
                    Ok(())
                }
                (None, _) => Err(SendError::WrongAddress),
                (_, Err(error)) => Err(SendError::Refused(error.kind())),
            };
            outcome = outcome.and(sent);
        }
        outcome
    }

    /// Returns an address as this socket wants it, if it reaches it.
    fn reachable(&self, to: SocketAddr) -> Option<SocketAddr> {
        match (self.versions, to) {
            (IpVersions::V4 | IpVersions::OnlyV4, SocketAddr::V4(_)) | (IpVersions::V6, SocketAddr::V6(_)) => Some(to),
            (IpVersions::V6, SocketAddr::V4(v4)) => Some(SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())),
            (IpVersions::V4 | IpVersions::OnlyV4, SocketAddr::V6(_)) => None,
        }
    }
}

impl fmt::Display for UdpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP {}", self.local)?;
        match self.versions {
            IpVersions::V4 | IpVersions::V6 => Ok(()),
            IpVersions::OnlyV4 => f.write_str(" (this machine has no IPv6)"),
        }
    }
}

fn bind(settings: &UdpSettings) -> Result<(StdUdpSocket, IpVersions), OpenError> {
    let listen = settings.listen;
    let (socket, versions) = match bind_to(listen) {
        Ok(socket) if listen.is_ipv6() => (socket, IpVersions::V6),
        Ok(socket) => (socket, IpVersions::V4),
        Err(error) if listen.is_ipv6() && listen.ip().is_unspecified() && is_about_the_address(&error) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, listen.port()));
            // If IPv4 fails as well, the address that was asked for is the one to name.
            (bind_to(v4).map_err(|_| OpenError::new(listen, error))?, IpVersions::OnlyV4)
        }
        Err(error) => return Err(OpenError::new(listen, error)),
    };
    // Who sends to everyone must not seem to send to us.
    multicast::only_what_was_joined(&socket, listen.is_ipv6());
    Ok((socket.into(), versions))
}

/// Returns whether another address with the same port may succeed.
fn is_about_the_address(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

fn bind_to(listen: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(!listen.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    Ok(socket)
}

/// Receives until nobody listens to the events.
async fn receive(link: LinkId, mut receiver: Receiver, events: mpsc::Sender<LinkEvent>) {
    let mut event = LinkEvent::Up { link, port: None };
    loop {
        // A full channel stops the receiving; the kernel's buffer holds what comes meanwhile, and then drops.
        if events.send(event).await.is_err() {
            return;
        }
        event = match receiver.next().await {
            Ok(event) => event,
            Err(error) => {
                let down = LinkEvent::Down { link, reason: DownReason::Lost(error.to_string()), retry_in: RETRY };
                if events.send(down).await.is_err() {
                    return;
                }
                sleep(RETRY).await;
                LinkEvent::Up { link, port: None }
            }
        };
    }
}

/// How long a socket rests after an error that is not one peer's.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
