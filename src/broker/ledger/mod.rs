//! QoS 2 that outlives the process: what is under way is kept before a packet goes out that depends on it.
//!
//! The ledger watches the packets of QoS 2 exchanges pass between the session and the network (`packets`), enters them
//! in a book (`book`), and holds back what is written until the book is kept (`socket`). Commits run one after the other
//! (`commits`), and each carries all that was entered since the last, so the messages of one write share one.
//!
//! When the process begins, the session goes on with what the book has.

mod book;
mod checkpoint;
mod commits;
mod keeper;
mod packets;
mod socket;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tracing::warn;

use self::book::Book;
use self::packets::{Direction, Seen};
use crate::core::{BrokerReason, Message, PublishOutcome, Token};

pub(super) use self::book::{Fate, Serial};
pub use self::checkpoint::{Checkpoint, CheckpointError};
pub(super) use self::checkpoint::{Outgoing, Progress};
pub(super) use self::commits::Commits;
pub use self::keeper::{KeepError, Keeping, SessionKeeper};
pub(super) use self::socket::Watched;

/// Reason codes from here on refuse (MQTT 5 §2.4).
const REFUSALS: u8 = 0x80;

/// One connection's book, and the keeper behind it. The driver and the socket share it, and run in
/// one task; nobody ever waits for the lock.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Shared>);

struct Shared {
    keeper: Arc<dyn SessionKeeper>,
    state: Mutex<State>,
    /// There is something to keep.
    changed: Notify,
    /// Waits for a commit to end.
    writer: AtomicWaker,
}

struct State {
    book: Book,
    /// The revision of the book that is kept.
    kept: u64,
    /// Why the last commit failed.
    failed: Option<KeepError>,
}

impl Ledger {
    /// Opens the book where the former process left it.
    pub(super) fn open(keeper: Arc<dyn SessionKeeper>) -> Self {
        let book = match keeper.load().map(|octets| Checkpoint::decode(&octets)) {
            Some(Ok(checkpoint)) => Book::resume(checkpoint),
            Some(Err(error)) => {
                warn!("cannot read what was under way at QoS 2, which begins anew: the store holds {error}");
                Book::default()
            }
            None => Book::default(),
        };
        let state = Mutex::new(State { book, kept: 0, failed: None });
        Self(Arc::new(Shared { keeper, state, changed: Notify::new(), writer: AtomicWaker::new() }))
    }

    /// Returns whether the broker may have a session that this book belongs to.
    pub(super) fn has_session(&self) -> bool {
        self.state().book.has_session()
    }

    /// Returns what is under way, for the session to go on with.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.state().book.checkpoint().unwrap_or_default()
    }

    /// Returns whether messages have been on the wire that nobody has answered for.
    pub(super) fn has_outgoing(&self) -> bool {
        self.state().book.has_outgoing()
    }

    /// Notes a QoS 2 message that is about to be sent.
    pub(super) fn hand_over(&self, token: Option<Token>, message: &Message) -> Serial {
        self.state().book.hand_over(token, message.clone())
    }

    /// Notes the answer that the session knows, and tells whose it is to pass on.
    pub(super) fn answered(&self, serial: Serial, outcome: PublishOutcome) -> Fate {
        self.state().book.answered(serial, outcome)
    }

    /// Notes that there is a session at the broker that is to be taken up after a crash.
    pub(super) fn session_begins(&self) {
        self.change(Book::session_begins);
    }

    /// Notes that the broker has forgotten the session.
    pub(super) fn session_lost(&self) {
        self.change(Book::session_lost);
    }

    /// Gives the session up.
    pub(super) fn forget(&self) {
        self.change(Book::forget);
    }

    /// Notes that the broker ended a connection early, and returns whether an earlier process's messages may be why.
    pub(super) fn broke_early(&self) -> bool {
        self.state().book.broke_early()
    }

    /// Notes that the broker cannot be reached.
    pub(super) fn excuse(&self) {
        self.state().book.excuse();
    }

    /// Returns whether all is kept, and all that was settled has been told.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        state.kept == state.book.revision()
    }

    /// Enters a packet, and returns the revision to wait for before it may go out.
    fn enter(&self, direction: Direction, seen: &Seen) -> u64 {
        let mut state = self.state();
        let book = &mut state.book;
        match (direction, seen) {
            (Direction::ToBroker, Seen::Publish { packet, retain, topic, payload }) => {
                book.publish(*packet, |message| {
                    message.retain == *retain
                        && message.topic.as_str().as_bytes() == topic
                        && message.payload == payload
                });
            }
            (Direction::ToBroker, Seen::PubRel { packet }) => book.release(*packet),
            (Direction::ToBroker, Seen::PubRec { packet, .. }) => book.receive(*packet),
            (Direction::ToBroker, Seen::PubComp { packet }) => book.finish(*packet),
            (Direction::FromBroker, Seen::PubRec { packet, reason: reason @ REFUSALS.. }) => {
                book.refused(*packet, BrokerReason(*reason));
            }
            (Direction::FromBroker, Seen::PubComp { packet }) => book.completed(*packet),
            (Direction::FromBroker, Seen::Publish { .. } | Seen::PubRec { .. } | Seen::PubRel { .. }) => {}
        }
        if book.revision() != state.kept {
            self.0.changed.notify_one();
        }
        state.book.required()
    }

    /// Waits until a revision is kept; fails if it cannot be.
    fn poll_kept(&self, context: &Context<'_>, revision: u64) -> Poll<io::Result<()>> {
        let waits = || {
            let mut state = self.state();
            if state.kept >= revision {
                return Poll::Ready(Ok(()));
            }
            match state.failed.take() {
                Some(error) => Poll::Ready(Err(io::Error::other(error))),
                None => Poll::Pending,
            }
        };
        if let Poll::Ready(kept) = waits() {
            return Poll::Ready(kept);
        }
        self.0.writer.register(context.waker());
        waits()
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.state().book);
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.state().book).finish()
    }
}
