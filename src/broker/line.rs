//! Where a connection stands with the broker, from rest to DISCONNECT, and what happens there.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::failure::Failure;
use super::link::Link;
use super::session::Session;
use super::turns::Turn;
use super::window::Window;
use crate::core::BrokerOffer;
use crate::mqtt::ConnAck;

/// What takes its time and is then over. Boxed, so that a connection that is up has no room for it.
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(super) enum Line {
    /// Between two attempts.
    Resting {
        until: Instant,
    },
    /// Until few enough other connections are opening.
    Queuing(Pending<Turn>),
    /// An attempt is under way. While it is it has its turn.
    Opening {
        attempt: Pending<Result<(Box<Link>, ConnAck), Failure>>,
        #[expect(dead_code, reason = "others may open when it is dropped")]
        turn: Option<Turn>,
    },
    Up {
        link: Box<Link>,
        offer: BrokerOffer,
        window: Window,
        since: Instant,
    },
    /// DISCONNECT is on its way.
    Parting(Pending<io::Result<()>>),
}

/// What has happened.
pub(super) enum Happening {
    ItsTurn(Turn),
    Opened(Box<Link>, ConnAck),
    /// Something was read or has gone.
    Exchanged,
    Failed(Failure),
    Parted,
}

impl Line {
    /// Waits for something to happen, and gives the session what comes from the broker.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, session: &mut Session) -> Poll<Happening> {
        match self {
            Self::Resting { .. } => Poll::Pending,
            Self::Queuing(turn) => turn.as_mut().poll(context).map(Happening::ItsTurn),
            Self::Opening { attempt, .. } => attempt.as_mut().poll(context).map(|opened| match opened {
                Ok((link, connack)) => Happening::Opened(link, connack),
                Err(failure) => Happening::Failed(failure),
            }),
            Self::Up { link, .. } => exchange(link, context, session).map(|exchanged| match exchanged {
                Ok(()) => Happening::Exchanged,
                Err(failure) => Happening::Failed(failure),
            }),
            // However it went: the connection is over.
            Self::Parting(parted) => parted.as_mut().poll(context).map(|_| Happening::Parted),
        }
    }

    /// When there is something to do if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Resting { until } => Some(*until),
            Self::Up { link, .. } => link.due(),
            Self::Queuing(_) | Self::Opening { .. } | Self::Parting(_) => None,
        }
    }
}

/// Writes what waits, and reads once.
fn exchange(link: &mut Link, context: &mut Context<'_>, session: &mut Session) -> Poll<Result<(), Failure>> {
    let written = if link.has_unwritten() { link.poll_write(context) } else { Poll::Pending };
    match &written {
        Poll::Ready(Ok(())) => session.flushed(),
        Poll::Ready(Err(failure)) if failure.is_final() => return written,
        // A broker that hangs up may have said why: that is still to be read.
        Poll::Ready(Err(_)) | Poll::Pending => {}
    }
    match link.poll_read(context, |packet, outbox| session.on_packet(packet, outbox)) {
        Poll::Ready(read) => Poll::Ready(read),
        Poll::Pending => written,
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resting { .. } => "Resting",
            Self::Queuing(_) => "Queuing",
            Self::Opening { .. } => "Opening",
            Self::Up { .. } => "Up",
            Self::Parting(_) => "Parting",
        })
    }
}
