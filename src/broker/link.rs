//! One TCP connection to the broker that MQTT is spoken over: what is read is cut into packets, what is to be written
//! waits in one buffer and goes out at once.
//!
//! There may be tens of thousands of these, most of them quiet. So what has been read lies in a buffer of the thread's,
//! and only a packet whose rest has yet to come has memory of the connection's own.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::Instant;

use super::dial::Stream;
use super::failure::Failure;
use super::ledger::Watched;
use super::outbox::Outbox;
use super::purpose::LARGEST_INCOMING;
use crate::mqtt::{ConnAck, Frame, Packet, Version};

/// Octets that one read takes.
const READ_AT_ONCE: usize = 64 * 1024;

/// While so many octets wait to be written nothing is read: what a broker sends makes us answer, and one that takes no
/// answers must not make us keep them without end.
const UNWRITTEN_AT_MOST: usize = 8 << 20;

/// Octets of the largest packet of MQTT. A smaller limit would end the connection each time the broker sends more, and
/// the broker would send it again: 3.1.1 cannot tell the broker what is too much.
const LARGEST_PACKET: usize = 268_435_460;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_ONCE].into());
}

pub(super) struct Link {
    stream: Watched<Box<dyn Stream>>,
    version: Version,
    /// The start of a packet whose rest has yet to come.
    begun: Vec<u8>,
    pub(super) outbox: Outbox,
    /// Octets have gone that may lie in a buffer on the way.
    unflushed: bool,
    keep_alive: KeepAlive,
}

/// Asks for a sign of life at regular intervals, however busy the connection is.
#[derive(Debug)]
struct KeepAlive {
    every: Duration,
    /// `None`: the broker wants no PINGREQ.
    due: Option<Instant>,
    /// PINGREQ has been written, and nothing has come since.
    asked: bool,
}

impl Link {
    pub(super) fn new(stream: Watched<Box<dyn Stream>>, version: Version) -> Self {
        let keep_alive = KeepAlive { every: Duration::MAX, due: None, asked: false };
        Self { stream, version, begun: Vec::new(), outbox: Outbox::new(version), unflushed: false, keep_alive }
    }

    /// Sends CONNECT and waits for the answer, whatever it is.
    pub(super) async fn shake_hands(&mut self, connect: &[u8]) -> Result<ConnAck, Failure> {
        self.stream.write_all(connect).await.map_err(Failure::of_io)?;
        self.stream.flush().await.map_err(Failure::of_io)?;
        loop {
            if let Some((frame, rest)) = Frame::cut(&self.begun, self.largest()).map_err(Failure::garbage)? {
                let connack = match Packet::read(self.version, frame).map_err(Failure::garbage)? {
                    Packet::ConnAck(connack) => connack,
                    Packet::Disconnect { reason, text } => return Err(Failure::disconnected(reason, text)),
                    Packet::Publish(_)
                    | Packet::PubAck { .. }
                    | Packet::PubRec { .. }
                    | Packet::PubRel { .. }
                    | Packet::PubComp { .. }
                    | Packet::SubAck { .. }
                    | Packet::UnsubAck { .. }
                    | Packet::PingResp => return Err(Failure::Garbage("another packet than CONNACK".to_owned())),
                };
                self.begun = rest.to_vec();
                return Ok(connack);
            }
            if self.stream.read_buf(&mut self.begun).await.map_err(Failure::of_io)? == 0 {
                return Err(Failure::Closed);
            }
        }
    }

    /// Begins to look after the connection. Zero seconds are never (MQTT 5 §3.1.2.10).
    pub(super) fn keep_alive(&mut self, seconds: u16) {
        let every = Duration::from_secs(seconds.into());
        self.keep_alive = KeepAlive { every, due: (seconds > 0).then(|| Instant::now() + every), asked: false };
    }

    /// When [`Link::look_after`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.keep_alive.due
    }

    /// Writes PINGREQ when it is time.
    ///
    /// # Errors
    ///
    /// [`Failure::Silent`] if nothing has come since the last one.
    pub(super) fn look_after(&mut self, now: Instant) -> Result<(), Failure> {
        let KeepAlive { every, due, asked } = &mut self.keep_alive;
        if due.is_none_or(|due| now < due) {
            return Ok(());
        }
        if *asked {
            return Err(Failure::Silent);
        }
        *asked = true;
        *due = Some(now + *every);
        self.outbox.ping();
        Ok(())
    }

    /// Takes the packets that are there already.
    pub(super) fn take_begun(
        &mut self,
        take: impl FnMut(Packet<'_>, &mut Outbox) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.take(&[], take)
    }

    /// Reads once, and takes the packets.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnMut(Packet<'_>, &mut Outbox) -> Result<(), Failure>,
    ) -> Poll<Result<(), Failure>> {
        if self.outbox.waiting().len() > UNWRITTEN_AT_MOST {
            return Poll::Pending;
        }
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)).map_err(Failure::of_io)?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(Failure::Closed));
            }
            self.keep_alive.asked = false;
            Poll::Ready(self.take(buffer.filled(), take))
        })
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unflushed || !self.outbox.waiting().is_empty()
    }

    /// Writes all that waits; ready when it has gone.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.outbox.waiting().is_empty() {
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write(context, self.outbox.waiting())).map_err(Failure::of_io)? {
                0 => return Poll::Ready(Err(Failure::of_io(io::ErrorKind::WriteZero.into()))),
                octets => self.outbox.written(octets),
            }
            self.unflushed = true;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(Failure::of_io)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Writes as much as the network takes now.
    pub(super) fn try_write(&mut self) -> Poll<Result<(), Failure>> {
        self.poll_write(&mut Context::from_waker(Waker::noop()))
    }

    /// Writes all that waits, with DISCONNECT behind it, and returns when the broker has closed the connection.
    ///
    /// It would not wait if it could: but what nobody has read when a connection ends makes the network drop what is
    /// still on its way to the broker, and DISCONNECT is what takes back a will.
    pub(super) async fn part(mut self, session_expiry: Option<u32>) -> io::Result<()> {
        self.outbox.disconnect(session_expiry);
        self.stream.write_all(self.outbox.waiting()).await?;
        self.stream.shutdown().await?;
        let mut unheard = [0; 512];
        while self.stream.read(&mut unheard).await? > 0 {}
        Ok(())
    }

    fn largest(&self) -> usize {
        match self.version {
            Version::V5 => LARGEST_INCOMING as usize,
            Version::V311 => LARGEST_PACKET,
        }
    }

    fn take(
        &mut self,
        octets: &[u8],
        mut take: impl FnMut(Packet<'_>, &mut Outbox) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (version, largest) = (self.version, self.largest());
        let mut begun = std::mem::take(&mut self.begun);
        let mut rest = if begun.is_empty() {
            octets
        } else {
            begun.extend_from_slice(octets);
            &begun
        };
        while let Some((frame, behind)) = Frame::cut(rest, largest).map_err(Failure::garbage)? {
            take(Packet::read(version, frame).map_err(Failure::garbage)?, &mut self.outbox)?;
            rest = behind;
        }
        self.begun = if rest.len() == begun.len() { begun } else { rest.to_vec() };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// PUBLISH of "x" to "a" at QoS 0, in 3.1.1.
    const PUBLISH: [u8; 6] = [0x30, 4, 0, 1, b'a', b'x'];

    struct Rig {
        link: Link,
        broker: DuplexStream,
    }

    impl Rig {
        fn new(version: Version) -> Self {
            let (stream, broker) = duplex(1 << 20);
            let stream: Box<dyn Stream> = Box::new(stream);
            Self { link: Link::new(Watched::new(stream, None, version), version), broker }
        }

        /// The broker writes, and the link reads once; returns how many packets there were.
        async fn reads(&mut self, octets: &[u8]) -> Result<usize, Failure> {
            self.broker.write_all(octets).await.unwrap();
            let mut packets = 0;
            let mut count = |_: Packet<'_>, _: &mut Outbox| {
                packets += 1;
                Ok(())
            };
            std::future::poll_fn(|context| self.link.poll_read(context, &mut count)).await?;
            Ok(packets)
        }
    }

    #[tokio::test]
    async fn a_packet_that_comes_in_pieces_is_taken_when_it_is_whole() {
        let mut rig = Rig::new(Version::V311);
        let stream = [PUBLISH, PUBLISH, PUBLISH].concat();
        assert_eq!(rig.reads(&stream[..8]).await.unwrap(), 1);
        assert_eq!(rig.reads(&stream[8..9]).await.unwrap(), 0);
        assert_eq!(rig.reads(&stream[9..]).await.unwrap(), 2);
        assert_eq!(rig.link.begun.capacity(), 0, "nothing is kept of what has been taken");
    }

    #[tokio::test]
    async fn a_packet_that_is_too_large_ends_the_connection_before_it_is_there() {
        let mut rig = Rig::new(Version::V5);
        let failure = rig.reads(&[0x30, 0x80, 0x80, 0x80, 0x01]).await.unwrap_err();
        assert!(matches!(&failure, Failure::Garbage(words) if words.contains("1048576")), "{failure:?}");
    }

    #[tokio::test]
    async fn a_broker_that_takes_no_answers_is_not_listened_to() {
        let mut rig = Rig::new(Version::V311);
        (0..=UNWRITTEN_AT_MOST / 2).for_each(|_| rig.link.outbox.ping());
        rig.broker.write_all(&PUBLISH).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(rig.link.poll_read(&mut context, |_, _| Ok(())).is_pending());
        assert!(rig.link.try_write().is_pending());
        let mut taken = vec![0; 1 << 19];
        rig.broker.read_exact(&mut taken).await.unwrap();
        assert!(rig.link.try_write().is_pending());
        assert!(rig.link.poll_read(&mut context, |_, _| Ok(())).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_does_not_answer_pingreq_is_silent() {
        let mut rig = Rig::new(Version::V311);
        rig.link.keep_alive(30);
        let round = Duration::from_secs(30);
        let now = Instant::now();
        rig.link.look_after(now).unwrap();
        assert!(rig.link.outbox.waiting().is_empty());
        rig.link.look_after(now + round).unwrap();
        assert_eq!(rig.link.outbox.waiting(), [0xC0, 0]);
        assert_eq!(rig.reads(&PUBLISH).await.unwrap(), 1, "any packet is a sign of life");
        rig.link.look_after(now + 2 * round).unwrap();
        assert!(matches!(rig.link.look_after(now + 3 * round), Err(Failure::Silent)));
        rig.link.keep_alive(0);
        assert_eq!(rig.link.due(), None);
    }
}
