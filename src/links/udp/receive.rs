//! The receiving side of a socket: datagrams become batches of frames, and what the kernel dropped is told.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::Instant;

use super::link_address;
use super::system::{Inbox, Socket, wait_for};
use crate::core::{Cast, LinkId};
use crate::links::batch::BatchPool;
use crate::links::{FrameBatch, LinkEvent};

/// No datagram is longer.
pub(super) const MAX_DATAGRAM: usize = 65_535;
/// Octets after which a batch is sent off although there is more, so that its buffer stays small.
const MAX_BATCH_OCTETS: usize = 64 * 1024;
/// How often it is told that datagrams were dropped, at most.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A datagram, in two parts if it is long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) from: SocketAddr,
    pub(super) head: &'a [u8],
    pub(super) tail: &'a [u8],
}

/// Takes datagrams from one socket.
#[derive(Debug)]
pub(super) struct Receiver {
    link: LinkId,
    socket: Socket,
    /// Whom the socket is for.
    cast: Cast,
    inbox: Inbox,
    pool: BatchPool,
    drops: Drops,
}

impl Receiver {
    /// Takes over a socket that does not block, to take up to `batch` datagrams from it at a time.
    pub(super) fn new(link: LinkId, socket: UdpSocket, cast: Cast, batch: usize) -> io::Result<Self> {
        let socket = wait_for(socket)?;
        let (inbox, pool) = (Inbox::new(&socket, batch), BatchPool::new(link));
        Ok(Self { link, socket, cast, inbox, pool, drops: Drops::default() })
    }

    /// Waits for datagrams and takes those that are there. Can be dropped without losing any.
    pub(super) async fn next(&mut self) -> io::Result<LinkEvent> {
        while self.inbox.is_empty() {
            match self.inbox.fill(&self.socket) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let _ready = self.socket.readable().await?;
                }
                // The ICMP answer to a datagram of ours: one peer is gone, not the socket.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {}
                Err(error) => return Err(error),
            }
        }
        if self.drops.note(self.inbox.dropped())
            && let Some(datagrams) = self.drops.due(Instant::now())
        {
            return Ok(LinkEvent::Overflowed { link: self.link, datagrams });
        }
        Ok(LinkEvent::Frames(self.batch()))
    }

    fn batch(&mut self) -> FrameBatch {
        let mut batch = self.pool.take();
        while batch.octets() < MAX_BATCH_OCTETS
            && let Some(Datagram { from, head, tail }) = self.inbox.next()
        {
            batch.buffer().extend_from_slice(head);
            batch.buffer().extend_from_slice(tail);
            batch.end_frame(link_address(from), self.cast);
        }
        batch
    }
}

/// Datagrams that the kernel had no room for.
#[derive(Debug, Default)]
struct Drops {
    /// The kernel's counter, as it was.
    counter: u32,
    untold: u64,
    told: Option<Instant>,
}

impl Drops {
    /// Takes the kernel's counter, and returns whether there is something to tell.
    fn note(&mut self, counter: u32) -> bool {
        self.untold += u64::from(counter.wrapping_sub(self.counter));
        self.counter = counter;
        self.untold > 0
    }

    /// Returns how many have not been told, if it is time to tell.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.untold == 0 || self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_drops_are_told_at_once_and_later_ones_together() {
        let (mut drops, start) = (Drops::default(), Instant::now());
        assert!(!drops.note(0));
        assert_eq!(drops.due(start), None);
        assert!(drops.note(3));
        assert_eq!(drops.due(start), Some(3));
        assert!(!drops.note(3));
        assert!(drops.note(5) && drops.note(10));
        assert_eq!(drops.due(start + TELL_EVERY / 2), None);
        assert_eq!(drops.due(start + TELL_EVERY), Some(7));
    }

    #[test]
    fn the_kernels_counter_may_wrap_around() {
        let mut drops = Drops { counter: u32::MAX - 1, ..Drops::default() };
        assert!(drops.note(2));
        assert_eq!(drops.due(Instant::now()), Some(4));
    }
}
