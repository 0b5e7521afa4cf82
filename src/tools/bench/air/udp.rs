//! Devices on UDP: each with a socket of its own, or all behind a few forwarders.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket as BlockingSocket};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::{AirError, Reachable, unwrap, wrap};
use crate::tools::bench::plan::Plan;

/// Octets of the largest datagram.
const MAX_DATAGRAM: usize = 65_535;
/// Octets that the kernel may hold for a socket that many devices share; the system may allow less.
const SHARED_BUFFER: usize = 4 << 20;
/// Open files that a run needs beside its sockets.
const OTHER_FILES: u64 = 64;

#[derive(Debug)]
pub(in crate::tools::bench) struct UdpAir {
    sockets: Vec<UdpSocket>,
    /// Whether devices share the sockets, and are told apart by forwarder encapsulation.
    sharing: Sharing,
    buffer: Box<[u8]>,
    wrapped: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Own,
    Forwarders,
}

impl UdpAir {
    pub(super) fn open(plan: &Plan, (host, port): (&str, u16), registry: &Registry) -> Result<Self, AirError> {
        let unresolved = |source| AirError::Unresolved { host: host.to_owned(), source };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<SocketAddr> = (bare, port).to_socket_addrs().map_err(unresolved)?.collect();
        // Where a name stands for both, most gateways listen on IPv4.
        let gateway = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
        let gateway = *gateway.ok_or_else(|| unresolved(ErrorKind::NotFound.into()))?;
        let (wanted, sharing) = match plan.forwarders {
            Some(forwarders) => (forwarders.min(plan.clients), Sharing::Forwarders),
            None => (plan.clients, Sharing::Own),
        };
        // Without the right to raise the limit, opening the sockets says so.
        #[cfg(unix)]
        let _ = rlimit::increase_nofile_limit(u64::from(wanted) + OTHER_FILES);
        let mut sockets = Vec::with_capacity(wanted as usize);
        for index in 0..wanted {
            let socket = open_socket(gateway, sharing, Token(index as usize), registry)
                .map_err(|source| AirError::TooManySockets { clients: plan.clients, opened: index, source })?;
            sockets.push(socket);
        }
        Ok(Self { sockets, sharing, buffer: vec![0; MAX_DATAGRAM].into(), wrapped: Vec::new() })
    }

    pub(super) fn send(&mut self, device: u32, frame: &[u8]) -> io::Result<()> {
        let index = device as usize % self.sockets.len().max(1);
        let socket = self.sockets.get(index).ok_or(ErrorKind::NotConnected)?;
        match self.sharing {
            Sharing::Own => socket.send(frame).map(drop),
            Sharing::Forwarders => {
                wrap(device, frame, &mut self.wrapped);
                socket.send(&self.wrapped).map(drop)
            }
        }
    }

    /// Reads until nothing is left: the poll tells of each arrival once.
    pub(super) fn receive(&mut self, Token(index): Token, sink: &mut dyn FnMut(u32, &[u8])) -> Reachable {
        let (Some(socket), Ok(device)) = (self.sockets.get(index), u32::try_from(index)) else {
            return Reachable::Perhaps;
        };
        let mut reachable = Reachable::Perhaps;
        loop {
            let frame = match socket.recv(&mut self.buffer) {
                Ok(octets) => &self.buffer[..octets],
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    reachable = Reachable::No;
                    continue;
                }
                Err(_) => return reachable,
            };
            match self.sharing {
                Sharing::Own => sink(device, frame),
                Sharing::Forwarders => {
                    if let Some((device, frame)) = unwrap(frame) {
                        sink(device, frame);
                    }
                }
            }
        }
    }
}

fn open_socket(gateway: SocketAddr, sharing: Sharing, token: Token, registry: &Registry) -> io::Result<UdpSocket> {
    let any = match gateway {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = BlockingSocket::bind(any)?;
    socket.connect(gateway)?;
    socket.set_nonblocking(true)?;
    if sharing == Sharing::Forwarders {
        // The buffer that it has will do if the system refuses.
        let _ = SockRef::from(&socket).set_recv_buffer_size(SHARED_BUFFER);
    }
    let mut socket = UdpSocket::from_std(socket);
    registry.register(&mut socket, token, Interest::READABLE)?;
    Ok(socket)
}
