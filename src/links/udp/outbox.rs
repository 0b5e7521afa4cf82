//! Datagrams that wait to leave together.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::ops::Range;

use super::link_address;
use super::system::send_all;
use crate::core::{LinkId, Peer};
use crate::links::{SendError, Unsent};

/// Datagrams in their order, in memory that is used again.
#[derive(Debug)]
pub(super) struct Outbox {
    link: LinkId,
    /// Datagrams that wait at most: as many as one system call sends.
    batch: usize,
    octets: Vec<u8>,
    waiting: Vec<Waiting>,
    /// What could not be sent: an entry for each reason, of which there are not many.
    unsent: Vec<Unsent>,
}

/// A datagram that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) to: SocketAddr,
    /// Where its octets are.
    pub(super) range: Range<usize>,
}

/// Octets after which nothing waits any longer, so that the memory stays small.
const MAX_OCTETS: usize = 64 * 1024;

impl Outbox {
    pub(super) fn new(link: LinkId, batch: usize) -> Self {
        Self { link, batch, octets: Vec::new(), waiting: Vec::new(), unsent: Vec::new() }
    }

    /// Appends a datagram. Those that wait are sent when there are enough of them.
    pub(super) fn push(&mut self, socket: &StdUdpSocket, to: SocketAddr, frame: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(frame);
        self.waiting.push(Waiting { to, range: start..self.octets.len() });
        if self.waiting.len() >= self.batch || self.octets.len() >= MAX_OCTETS {
            self.flush(socket);
        }
    }

    /// Sends all that wait.
    pub(super) fn flush(&mut self, socket: &StdUdpSocket) {
        if self.waiting.is_empty() {
            return;
        }
        let Self { link, octets, waiting, unsent, .. } = self;
        send_all(socket, waiting, octets, |Waiting { to, .. }, error| {
            let error = match error.kind() {
                ErrorKind::WouldBlock => SendError::Full,
                kind => SendError::Refused(kind),
            };
            let to = Peer { link: *link, address: link_address(*to) };
            match unsent.iter_mut().find(|unsent| unsent.error == error) {
                Some(unsent) => *unsent = Unsent { to, error, frames: unsent.frames + 1 },
                None => unsent.push(Unsent { to, error, frames: 1 }),
            }
        });
        octets.clear();
        waiting.clear();
    }

    /// Returns what could not be sent since this was asked last.
    pub(super) fn take_unsent(&mut self) -> impl Iterator<Item = Unsent> {
        self.unsent.drain(..)
    }
}
