//! The octets to and from the broker, with the ledger looking on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Ledger;
use super::packets::{Direction, Watch};
use crate::mqtt::Version;

/// A stream of MQTT octets in both directions. What is written goes out when the ledger has kept what it tells.
#[derive(Debug)]
pub(in crate::broker) struct Watched<S> {
    stream: S,
    /// `None`: nothing is to be kept.
    book: Option<Book>,
}

#[derive(Debug)]
struct Book {
    ledger: Ledger,
    to_broker: Watch,
    from_broker: Watch,
    /// How many octets of those that are to be written next have been looked at.
    ahead: usize,
    /// What has to be kept before they go out.
    required: u64,
}

impl<S> Watched<S> {
    pub(in crate::broker) fn new(stream: S, ledger: Option<Ledger>, version: Version) -> Self {
        let book = ledger.map(|ledger| Book {
            ledger,
            to_broker: Watch::new(version, Direction::ToBroker),
            from_broker: Watch::new(version, Direction::FromBroker),
            ahead: 0,
            required: 0,
        });
        Self { stream, book }
    }
}

impl Book {
    /// Looks at what is about to go out, and waits until it may.
    ///
    /// The link keeps what it could not write and offers it again, with more behind it.
    fn poll_leave(&mut self, context: &Context<'_>, octets: &[u8]) -> Poll<io::Result<()>> {
        let Self { ledger, to_broker, ahead, required, .. } = self;
        if let Some(new) = octets.get(*ahead..) {
            to_broker.take(new, |seen| *required = ledger.enter(Direction::ToBroker, &seen));
            *ahead = octets.len();
        }
        if *required > 0 {
            ready!(ledger.poll_kept(context, *required))?;
            *required = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, book } = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        if let Some(Book { ledger, from_broker, .. }) = book {
            from_broker.take(&buffer.filled()[before..], |seen| {
                ledger.enter(Direction::FromBroker, &seen);
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, book } = self.get_mut();
        if let Some(book) = book {
            ready!(book.poll_leave(context, octets))?;
        }
        let written = ready!(Pin::new(stream).poll_write(context, octets))?;
        if let Some(book) = book {
            book.ahead = book.ahead.saturating_sub(written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::oneshot;

    use super::super::{Commits, KeepError, Keeping, SessionKeeper};
    use super::*;
    use crate::core::topics::TopicName;
    use crate::core::{Message, PublishOutcome, Token};
    use crate::wire::Qos;

    /// PUBLISH of "x" to "a" at QoS 2 under packet id 1, in 3.1.1.
    const PUBLISH: &[u8] = &[0x34, 6, 0, 1, b'a', 0, 1, b'x'];
    const PUBREC: &[u8] = &[0x50, 2, 0, 1];
    const PUBREL: &[u8] = &[0x62, 2, 0, 1];
    const PUBCOMP: &[u8] = &[0x70, 2, 0, 1];
    const PINGREQ: &[u8] = &[0xC0, 0];

    type Saved = (Option<Bytes>, Vec<Token>, oneshot::Sender<Result<(), KeepError>>);

    /// A keeper whose commits end when the test says so.
    #[derive(Default)]
    struct SlowKeeper(Mutex<Vec<Saved>>);

    impl SessionKeeper for SlowKeeper {
        fn load(&self) -> Option<Bytes> {
            None
        }

        fn save(&self, checkpoint: Option<Bytes>, completed: Vec<Token>) -> Keeping {
            let (done, ended) = oneshot::channel();
            self.0.lock().unwrap().push((checkpoint, completed, done));
            Box::pin(async move { ended.await.unwrap() })
        }
    }

    struct Rig {
        keeper: Arc<SlowKeeper>,
        ledger: Ledger,
        commits: Commits,
        link: Watched<DuplexStream>,
        broker: DuplexStream,
    }

    impl Rig {
        fn new() -> Self {
            let keeper = Arc::new(SlowKeeper::default());
            let (stream, broker) = tokio::io::duplex(1_024);
            let ledger = Ledger::open(keeper.clone());
            let commits = Commits::new(ledger.clone());
            let link = Watched::new(stream, Some(ledger.clone()), Version::V311);
            Self { keeper, ledger, commits, link, broker }
        }

        fn hands(&self, token: u64) {
            let topic = TopicName::parse(b"a").unwrap();
            let message = Message { topic, payload: "x".into(), qos: Qos::ExactlyOnce, retain: false };
            self.ledger.hand_over(Some(Token(token)), &message);
        }

        /// The link writes; returns whether it could.
        fn writes(&mut self, octets: &[u8]) -> bool {
            self.link.write_all(octets).now_or_never().map(|written| written.unwrap()).is_some()
        }

        fn reads(&mut self, octets: &[u8]) {
            self.broker.write_all(octets).now_or_never().unwrap().unwrap();
            let mut heard = vec![0; octets.len()];
            self.link.read_exact(&mut heard).now_or_never().unwrap().unwrap();
        }

        fn broker_got(&mut self) -> Vec<u8> {
            let mut heard = vec![0; 1_024];
            let octets = self.broker.read(&mut heard).now_or_never().map_or(0, |read| read.unwrap());
            heard.truncate(octets);
            heard
        }

        /// Lets commits go on, and returns how many have begun and not ended.
        fn commits_begun(&mut self) -> usize {
            assert!(self.commits.next().now_or_never().is_none(), "no commit has ended");
            self.keeper.0.lock().unwrap().len()
        }

        /// Ends the commit under way, and returns what was settled with it.
        fn commit_ends(&mut self, how: Result<(), KeepError>) -> Result<Vec<(Token, PublishOutcome)>, KeepError> {
            let (_, _, done) = self.keeper.0.lock().unwrap().pop().unwrap();
            done.send(how).unwrap();
            self.commits.next().now_or_never().unwrap()
        }
    }

    #[test]
    fn nothing_goes_out_before_what_it_tells_is_kept() {
        let mut rig = Rig::new();
        rig.hands(1);
        assert!(rig.writes(PINGREQ), "other packets do not wait");
        assert_eq!(rig.broker_got(), PINGREQ);
        assert_eq!(rig.commits_begun(), 0, "and nothing is written for them");
        assert!(!rig.writes(PUBLISH));
        assert_eq!(rig.commits_begun(), 1);
        assert!(!rig.writes(PUBLISH), "offered again");
        assert!(rig.broker_got().is_empty());
        assert_eq!(rig.commit_ends(Ok(())), Ok(vec![]));
        assert!(rig.writes(PUBLISH));
        assert_eq!(rig.broker_got(), PUBLISH);
        rig.reads(PUBREC);
        assert!(!rig.writes(PUBREL));
        assert_eq!(rig.commits_begun(), 1);
        assert_eq!(rig.commit_ends(Ok(())), Ok(vec![]));
        assert!(rig.writes(PUBREL));
    }

    #[test]
    fn the_end_of_an_exchange_is_told_when_it_is_kept_and_holds_nothing_back() {
        let mut rig = Rig::new();
        rig.hands(1);
        for packet in [PUBLISH, PUBREL] {
            assert!(!rig.writes(packet));
            assert_eq!(rig.commits_begun(), 1);
            rig.commit_ends(Ok(())).unwrap();
            assert!(rig.writes(packet));
        }
        rig.reads(PUBCOMP);
        assert!(rig.writes(PINGREQ));
        assert_eq!(rig.commits_begun(), 1);
        assert_eq!(rig.keeper.0.lock().unwrap()[0].1, [Token(1)]);
        assert_eq!(rig.keeper.0.lock().unwrap()[0].0, None, "nothing is under way any more");
        assert_eq!(rig.commit_ends(Ok(())), Ok(vec![(Token(1), PublishOutcome::Accepted)]));
        assert!(rig.ledger.is_settled());
    }

    #[test]
    fn messages_of_one_write_share_a_commit() {
        let mut rig = Rig::new();
        let mut packets = Vec::new();
        for packet in 1..=100 {
            rig.hands(packet.into());
            packets.extend([0x34, 6, 0, 1, b'a', 0, packet, b'x']);
        }
        assert!(!rig.writes(&packets));
        assert_eq!(rig.commits_begun(), 1);
        rig.commit_ends(Ok(())).unwrap();
        assert!(rig.writes(&packets));
        assert_eq!(rig.commits_begun(), 0);
        assert_eq!(rig.ledger.checkpoint().outgoing.len(), 100);
    }

    #[test]
    fn what_was_looked_at_is_not_looked_at_again_after_a_partial_write() {
        let keeper = Arc::new(SlowKeeper::default());
        let (stream, mut broker) = tokio::io::duplex(3);
        let ledger = Ledger::open(keeper);
        let mut link = Watched::new(stream, Some(ledger.clone()), Version::V311);
        let packets = [PUBREC, PUBCOMP, PINGREQ].concat();
        ledger.0.state.lock().unwrap().kept = u64::MAX;
        let mut rest = &packets[..];
        let mut heard = Vec::new();
        while !rest.is_empty() {
            let written = link.write(rest).now_or_never().unwrap().unwrap();
            rest = &rest[written..];
            let mut octets = [0; 3];
            let read = broker.read(&mut octets).now_or_never().unwrap().unwrap();
            heard.extend_from_slice(&octets[..read]);
        }
        assert_eq!(heard, packets);
        assert_eq!(ledger.0.state.lock().unwrap().book.revision(), 2, "received and finished, once each");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_kept_breaks_the_connection_and_is_kept_later() {
        let mut rig = Rig::new();
        rig.hands(1);
        assert!(!rig.writes(PUBLISH));
        assert_eq!(rig.commits_begun(), 1);
        let full = KeepError::new("the disk is full");
        assert_eq!(rig.commit_ends(Err(full.clone())), Err(full.clone()));
        let error = rig.link.write_all(PUBLISH).await.unwrap_err();
        assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&full));
        assert!(rig.broker_got().is_empty());

        let (stream, broker) = tokio::io::duplex(1_024);
        rig.link = Watched::new(stream, Some(rig.ledger.clone()), Version::V311);
        rig.broker = broker;
        assert!(!rig.writes(PUBLISH), "on the next connection it waits too");
        assert_eq!(rig.commits_begun(), 0, "not tried again at once");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(rig.commits_begun(), 1);
        rig.commit_ends(Ok(())).unwrap();
        assert!(rig.writes(PUBLISH));
    }
}
