//! Many datagrams in one system call: `recvmmsg` and `sendmmsg`, which Linux has.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket as StdUdpSocket};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::outbox::Waiting;
use super::receive::{Datagram, MAX_DATAGRAM};

/// Octets of a datagram that lie beside those of the others. Nearly every frame ends here.
const HEAD: usize = 512;
/// Octets that follow in the longest datagram.
const TAIL: usize = MAX_DATAGRAM - HEAD;
/// Datagrams that are asked for when there were hardly any the last time.
const FEWEST: usize = 8;

/// A socket that can be waited for.
pub(super) type Socket = AsyncFd<StdUdpSocket>;

/// Makes a socket one that can be waited for.
///
/// For datagrams only: each one sent leaves room for another when it is taken up at the other end, and who waited for
/// room too would be woken by every one of them.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for types that may close their descriptor; this one does not"
)]
pub(super) fn wait_for(socket: StdUdpSocket) -> io::Result<Socket> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Datagrams that were taken from a socket at once.
#[derive(Debug)]
pub(super) struct Inbox {
    heads: Box<[u8]>,
    /// Large, but the system gives memory only to what was written to: they cost nothing until somebody sends long
    /// datagrams.
    tails: Box<[u8]>,
    /// Datagrams at most in one call.
    batch: usize,
    /// Datagrams to ask for next: preparing a call costs something for each.
    ask: usize,
    arrived: Vec<Arrived>,
    /// How many of them have been handed on.
    taken: usize,
    dropped: u32,
}

#[derive(Clone, Copy, Debug)]
struct Arrived {
    from: SocketAddr,
    length: usize,
}

impl Inbox {
    /// Prepares to take up to `batch` datagrams at once from a socket.
    pub(super) fn new(socket: &Socket, batch: usize) -> Self {
        // Refused by no Linux since 2.6.33. Without it drops go unseen, and nothing else is wrong.
        let _ = setsockopt(socket.get_ref(), sockopt::RxqOvfl, &1);
        let zeroed = |octets| vec![0; octets].into_boxed_slice();
        let (heads, tails) = (zeroed(batch * HEAD), zeroed(batch * TAIL));
        Self { heads, tails, batch, ask: FEWEST.min(batch), arrived: Vec::new(), taken: 0, dropped: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.arrived.len()
    }

    /// How many datagrams the kernel had no room for, since the socket is there and until the last datagram that was
    /// taken. It wraps around.
    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Takes the datagrams that are there; an empty inbox only.
    pub(super) fn fill(&mut self, socket: &Socket) -> io::Result<()> {
        debug_assert!(self.is_empty(), "datagrams would be lost");
        self.arrived.clear();
        self.taken = 0;
        let outcome = socket.try_io(Interest::READABLE, |socket| {
            self.receive(socket)?;
            // Fewer than could be: the kernel found its queue empty at the end. That the socket is no longer readable
            // is said here, which saves the call to learn it. What comes from now on makes it readable again.
            if self.arrived.len() < self.ask { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if self.arrived.is_empty() {
            return outcome;
        }
        self.ask = (self.arrived.len() * 2).max(FEWEST).min(self.batch);
        Ok(())
    }

    /// Returns the next datagram.
    pub(super) fn next(&mut self) -> Option<Datagram<'_>> {
        let &Arrived { from, length } = self.arrived.get(self.taken)?;
        let head = &self.heads[self.taken * HEAD..][..length.min(HEAD)];
        let tail = &self.tails[self.taken * TAIL..][..length.saturating_sub(HEAD)];
        self.taken += 1;
        Some(Datagram { from, head, tail })
    }

    fn receive(&mut self, socket: &StdUdpSocket) -> io::Result<()> {
        let slots = self.heads.chunks_exact_mut(HEAD).zip(self.tails.chunks_exact_mut(TAIL)).take(self.ask);
        let mut slots: Vec<_> = slots.map(|(head, tail)| [IoSliceMut::new(head), IoSliceMut::new(tail)]).collect();
        // Made anew each time: they are bound to their thread, which a task is not, and the kernel overwrites in them
        // how much room it has for control messages.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(self.ask, Some(cmsg_space!(u32)));
        let received = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slots, MsgFlags::empty(), None)?;
        for message in received {
            // A UDP socket always says from where.
            let Some(from) = message.address.as_ref().and_then(socket_address) else { continue };
            self.arrived.push(Arrived { from, length: message.bytes });
            self.dropped = dropped(&message).unwrap_or(self.dropped);
        }
        Ok(())
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || Some(SocketAddrV4::from(*address.as_sockaddr_in()?).into());
    let v6 = || Some(SocketAddrV6::from(*address.as_sockaddr_in6()?).into());
    v6().or_else(v4)
}

/// How many datagrams were dropped before this one came; the kernel says it once there were any.
fn dropped(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<u32> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::RxqOvfl(dropped) => Some(dropped),
        _ => None,
    })
}

/// Sends datagrams in their order. `failed` is told which could not be sent; the rest go out all the same.
pub(super) fn send_all(
    socket: &StdUdpSocket,
    waiting: &[Waiting],
    octets: &[u8],
    mut failed: impl FnMut(&Waiting, io::Error),
) {
    // The usual case when little happens, and the cheaper call for it.
    if let [one] = waiting {
        return match socket.send_to(&octets[one.range.clone()], one.to) {
            Ok(_) => {}
            Err(error) => failed(one, error),
        };
    }
    let slices: Vec<_> = waiting.iter().map(|one| [IoSlice::new(&octets[one.range.clone()])]).collect();
    let addresses: Vec<_> = waiting.iter().map(|one| one.to.as_any()).collect();
    let mut controls: Vec<_> = waiting.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let messages = addresses.iter().zip(&slices).zip(&mut controls);
    let mut messages: Vec<_> = messages.map(|((to, slice), none)| MMsgHdr::new_with_addr(to, slice, none)).collect();
    let mut next = 0;
    while next < messages.len() {
        match sendmmsg(socket, &mut messages[next..], SendFlags::empty()) {
            Ok(sent) => next += sent.max(1),
            Err(rustix::io::Errno::INTR) => {}
            // It is about the first one: what went wrong after a success is told by the next call.
            Err(error) => {
                failed(&waiting[next], error.into());
                next += 1;
            }
        }
    }
}
