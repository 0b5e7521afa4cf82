//! One datagram in one system call: what every system has.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};

use tokio::net::UdpSocket;

use super::outbox::Waiting;
use super::receive::{Datagram, MAX_DATAGRAM};

/// A socket that can be waited for.
pub(super) type Socket = UdpSocket;

/// Makes a socket one that can be waited for.
pub(super) fn wait_for(socket: StdUdpSocket) -> io::Result<Socket> {
    UdpSocket::from_std(socket)
}

/// The datagram that was taken last.
#[derive(Debug)]
pub(super) struct Inbox {
    octets: Box<[u8]>,
    from: SocketAddr,
    /// Its length, until it has been handed on.
    arrived: Option<usize>,
}

impl Inbox {
    /// Prepares to take datagrams from a socket. How many at once is the system's business.
    pub(super) fn new(_: &Socket, _: usize) -> Self {
        let octets = vec![0; MAX_DATAGRAM].into_boxed_slice();
        Self { octets, from: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), arrived: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_none()
    }

    /// Nothing: systems other than Linux do not tell.
    pub(super) fn dropped(&self) -> u32 {
        0
    }

    /// Takes a datagram that is there; an empty inbox only.
    pub(super) fn fill(&mut self, socket: &Socket) -> io::Result<()> {
        let (length, from) = socket.try_recv_from(&mut self.octets)?;
        (self.arrived, self.from) = (Some(length), from);
        Ok(())
    }

    /// Returns the datagram.
    pub(super) fn next(&mut self) -> Option<Datagram<'_>> {
        let head = &self.octets[..self.arrived.take()?];
        Some(Datagram { from: self.from, head, tail: &[] })
    }
}

/// Sends datagrams in their order. `failed` is told which could not be sent; the rest go out all the same.
pub(super) fn send_all(
    socket: &StdUdpSocket,
    waiting: &[Waiting],
    octets: &[u8],
    mut failed: impl FnMut(&Waiting, io::Error),
) {
    for one in waiting {
        if let Err(error) = socket.send_to(&octets[one.range.clone()], one.to) {
            failed(one, error);
        }
    }
}
