//! Multicast: a socket for each group on each interface, joined again whenever it is gone, and the way to send there.
//!
//! Frames to a group come in by sockets of their own, so that a link knows what was sent to everyone. Frames to a group
//! go out by the link's own socket: its address is the one that clients are to take as the gateway's.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket as StdUdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::interface::Interface;
use super::receive::Receiver;
use crate::core::{Cast, LinkId};
use crate::links::backoff::Backoff;
use crate::links::tasks::Tasks;
use crate::links::{LinkEvent, Multicast, UdpSettings};

/// A group, and the interface on which to hear it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    pub group: SocketAddr,
    /// By name or address; `None` is the one that the system chooses.
    pub interface: Option<String>,
}

/// Why a group cannot be heard.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("this machine has no interface {wanted}; it has {}", .others.join(", "))]
    NoInterface { wanted: String, others: Vec<String> },
    #[error("interface {interface} has no IPv4 address")]
    NoIpv4 { interface: String },
    #[error("the system knows no way there; name an interface with `multicast_interfaces`, such as \"eth0\"")]
    NoRoute,
    #[error("another program, or another listener of this gateway, uses port {0} and does not share it")]
    InUse(u16),
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl Membership {
    /// Lists every group on every interface.
    pub(super) fn all(Multicast { groups, interfaces, .. }: &Multicast) -> Vec<Self> {
        let interfaces: Vec<_> =
            if interfaces.is_empty() { vec![None] } else { interfaces.iter().cloned().map(Some).collect() };
        let on_all = |group: &SocketAddr| interfaces.iter().map(|interface| (*group, interface.clone())).collect();
        let pairs = groups.iter().flat_map(|group| -> Vec<_> { on_all(group) });
        pairs.map(|(group, interface)| Self { group, interface }).collect()
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{} on {interface}", self.group),
            None => write!(f, "{}", self.group),
        }
    }
}

/// A membership that is kept up in the background.
#[derive(Debug)]
pub(super) struct Member {
    destination: watch::Receiver<Option<Destination>>,
}

/// A group as a destination of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) group: SocketAddr,
    exit: Exit,
}

/// The interface by which frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    V4(Ipv4Addr),
    V6 { index: u32 },
}

impl Member {
    /// Joins, at once if possible, and from then on whenever the interface is back. `link` is the link's own socket.
    pub(super) fn join(
        link: LinkId,
        membership: Membership,
        link_socket: StdUdpSocket,
        UdpSettings { receive_buffer, batch, .. }: &UdpSettings,
        events: mpsc::Sender<LinkEvent>,
        tasks: &mut Tasks,
    ) -> Self {
        let (report, destination) = watch::channel(None);
        let first = join(&membership, &link_socket);
        report.send_replace(first.as_ref().ok().map(|joined| joined.destination));
        let (receive_buffer, batch) = (*receive_buffer, *batch);
        let supervisor = Supervisor { link, membership, link_socket, receive_buffer, batch, events, report };
        tasks.spawn(link, supervisor.run(first));
        Self { destination }
    }

    /// Returns where to send frames to the group, while its interface is there.
    pub(super) fn destination(&self) -> Option<Destination> {
        *self.destination.borrow()
    }
}

impl Destination {
    /// Sets a socket's way out to groups.
    pub(super) fn select(self, socket: &StdUdpSocket, hops: u8) -> io::Result<()> {
        let socket = SockRef::from(socket);
        match self.exit {
            Exit::V4(address) => {
                socket.set_multicast_if_v4(&address)?;
                socket.set_multicast_ttl_v4(hops.into())
            }
            Exit::V6 { index } => {
                socket.set_multicast_if_v6(index)?;
                socket.set_multicast_hops_v6(hops.into())
            }
        }
    }
}

/// A group that has been joined.
#[derive(Debug)]
pub(super) struct Joined {
    socket: StdUdpSocket,
    interface: Option<Interface>,
    destination: Destination,
}

/// Keeps one membership up.
struct Supervisor {
    link: LinkId,
    membership: Membership,
    link_socket: StdUdpSocket,
    receive_buffer: usize,
    batch: usize,
    events: mpsc::Sender<LinkEvent>,
    report: watch::Sender<Option<Destination>>,
}

/// The first delay before a group is joined again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often it is looked whether the interface is still the same. One that was unplugged and plugged in again has
/// lost its memberships without a word.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Supervisor {
    /// Runs until nobody listens to the events.
    async fn run(self, first: Result<Joined, JoinError>) {
        let (link, mut backoff) = (self.link, Backoff::new(RETRY.0, RETRY.1));
        let mut attempt = first;
        loop {
            self.report.send_replace(attempt.as_ref().ok().map(|joined| joined.destination));
            let reason = match attempt {
                Ok(joined) => {
                    backoff.reset();
                    let membership = self.membership.clone();
                    if self.events.send(LinkEvent::Joined { link, membership }).await.is_err() {
                        return;
                    }
                    match self.receive(joined).await {
                        Ended::NobodyListens => return,
                        Ended::InterfaceChanged => {
                            attempt = join(&self.membership, &self.link_socket);
                            continue;
                        }
                        Ended::Failed(error) => error.into(),
                    }
                }
                Err(reason) => reason,
            };
            let (membership, retry_in) = (self.membership.clone(), backoff.next_delay());
            if self.events.send(LinkEvent::NotJoined { link, membership, reason, retry_in }).await.is_err() {
                return;
            }
            sleep(retry_in).await;
            attempt = join(&self.membership, &self.link_socket);
        }
    }

    async fn receive(&self, Joined { socket, interface, .. }: Joined) -> Ended {
        // The system may allow less, or refuse: the buffer it has will do.
        let _ = SockRef::from(&socket).set_recv_buffer_size(self.receive_buffer);
        let mut receiver = match Receiver::new(self.link, socket, Cast::Group, self.batch) {
            Ok(receiver) => receiver,
            Err(error) => return Ended::Failed(error),
        };
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = receiver.next() => event,
                _ = look.tick() => {
                    let present = self.membership.interface.as_deref().map(Interface::find).transpose();
                    if present.ok().as_ref() != Some(&interface) {
                        return Ended::InterfaceChanged;
                    }
                    continue;
                }
            };
            match event {
                Ok(event) => {
                    if self.events.send(event).await.is_err() {
                        return Ended::NobodyListens;
                    }
                }
                Err(error) => return Ended::Failed(error),
            }
        }
    }
}

/// Why a group is no longer heard.
enum Ended {
    NobodyListens,
    InterfaceChanged,
    Failed(io::Error),
}

/// Opens a socket for a group on an interface. `link` is the link's own socket, which may have the same port.
pub(super) fn join(membership: &Membership, link: &StdUdpSocket) -> Result<Joined, JoinError> {
    let interface = membership.interface.as_deref().map(Interface::find).transpose()?;
    match membership.group {
        SocketAddr::V4(group) => join_v4(group, interface, link),
        SocketAddr::V6(group) => join_v6(group, interface, link),
    }
}

fn join_v4(group: SocketAddrV4, interface: Option<Interface>, link: &StdUdpSocket) -> Result<Joined, JoinError> {
    let address = match &interface {
        None => Ipv4Addr::UNSPECIFIED,
        Some(Interface { name, address, .. }) => {
            address.ok_or_else(|| JoinError::NoIpv4 { interface: name.clone() })?
        }
    };
    let socket = bind(group.into(), interface.as_ref(), link)?;
    socket.join_multicast_v4(group.ip(), &address).map_err(|error| not_joined(error, interface.as_ref()))?;
    let destination = Destination { group: group.into(), exit: Exit::V4(address) };
    Ok(Joined { socket: socket.into(), interface, destination })
}

fn join_v6(mut group: SocketAddrV6, interface: Option<Interface>, link: &StdUdpSocket) -> Result<Joined, JoinError> {
    let index = interface.as_ref().map_or(0, |interface| interface.index);
    if is_of_one_link(*group.ip()) {
        group.set_scope_id(index);
    }
    let socket = bind(group.into(), interface.as_ref(), link)?;
    socket.join_multicast_v6(group.ip(), index).map_err(|error| not_joined(error, interface.as_ref()))?;
    let destination = Destination { group: group.into(), exit: Exit::V6 { index } };
    Ok(Joined { socket: socket.into(), interface, destination })
}

/// Returns whether a group is another one on each link (RFC 4291 §2.7), so that it means nothing without an interface.
pub fn is_of_one_link(group: Ipv6Addr) -> bool {
    const INTERFACE_LOCAL: u8 = 1;
    const LINK_LOCAL: u8 = 2;
    let [_, flags_and_scope, ..] = group.octets();
    group.is_multicast() && matches!(flags_and_scope & 0x0F, INTERFACE_LOCAL | LINK_LOCAL)
}

fn bind(group: SocketAddr, interface: Option<&Interface>, link: &StdUdpSocket) -> Result<Socket, JoinError> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    only_what_was_joined(&socket, group.is_ipv6());
    only_from(&socket, interface);
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    // Bound to the group, the socket takes no datagram that was sent to the link. Windows cannot do that.
    let any = if group.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let address = if cfg!(windows) { SocketAddr::new(any, group.port()) } else { group };
    // The link's own socket shares its port for this moment only: a second gateway is still told that it is in use.
    let link = SockRef::from(link);
    link.set_reuse_address(true)?;
    let bound = socket.bind(&address.into());
    link.set_reuse_address(false)?;
    match bound {
        Ok(()) => Ok(socket),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(JoinError::InUse(group.port())),
        Err(error) => Err(error.into()),
    }
}

/// Keeps datagrams of groups away that this socket has not joined, but others on this machine have.
pub(super) fn only_what_was_joined(socket: &Socket, is_ipv6: bool) {
    #[cfg(target_os = "linux")]
    {
        // An IPv6 socket may take IPv4 as well. Linux before 4.20 has no such switch for IPv6.
        let _ = socket.set_multicast_all_v4(false);
        let _ = if is_ipv6 { socket.set_multicast_all_v6(false) } else { Ok(()) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, is_ipv6);
}

/// Keeps datagrams of the same group away that came by other interfaces: for IPv6 membership alone does not.
fn only_from(socket: &Socket, interface: Option<&Interface>) {
    #[cfg(target_os = "linux")]
    {
        // Linux before 5.7 allows this to the administrator only; the worst is that a frame is taken twice.
        let _ = socket.bind_device(interface.map(|interface| interface.name.as_bytes()));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, interface);
}

fn not_joined(error: io::Error, interface: Option<&Interface>) -> JoinError {
    // The number is the same on all Unix systems: the routing table does not say by which interface.
    const ENODEV: i32 = 19;
    match (error.raw_os_error(), interface) {
        (Some(ENODEV), None) => JoinError::NoRoute,
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests;
