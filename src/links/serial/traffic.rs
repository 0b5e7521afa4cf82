//! What goes over a serial line while its port is open: frames both ways, and what the framing says by itself.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::address::link_address;
use super::chatter::Chatter;
use super::window::Window;
use super::{DownReason, LinkEvent, Outgoing, Port, PortInfo, PortName, SerialSettings};
use crate::core::{Cast, LinkId};
use crate::links::batch::{BatchPool, FrameBatch};
use crate::links::event::Undelivered;
use crate::wire::framing::{Codec, Found, Reach, Receipt, Received};

/// A serial line, apart from the port that it is open on at present.
pub(super) struct Line {
    pub(super) id: LinkId,
    pub(super) settings: Arc<SerialSettings>,
    codec: Arc<Mutex<Codec>>,
    pub(super) events: mpsc::Sender<LinkEvent>,
}

/// `Ok` when nobody listens to the events any more, otherwise why the port is gone.
pub(super) type Ended = Result<(), DownReason>;

/// The way from the receiving to the transmitting side, for as long as the port is open.
#[derive(Debug)]
struct ToTransmit<'a> {
    reactions: mpsc::Sender<Reaction>,
    /// The other end was understood: it is not, or no longer, in its boot loader.
    heard: &'a Notify,
}

/// What the transmitting side has to do because of something that was received.
#[derive(Debug)]
enum Reaction {
    /// Write these octets before any frame.
    Answer(Vec<u8>),
    /// The dongle has dealt with a frame.
    Receipt,
}

/// Reactions that wait while a frame is being written. What is beyond is lost, as it may be on the line: the other end
/// asks again, or this one waits in vain for a while.
const REACTIONS: usize = 32;
/// Octets that one read can take: what a terminal holds at most.
const READ_OCTETS: usize = 4_096;

impl Line {
    pub(super) fn new(
        id: LinkId,
        settings: Arc<SerialSettings>,
        codec: Arc<Mutex<Codec>>,
        events: mpsc::Sender<LinkEvent>,
    ) -> Self {
        Self { id, settings, codec, events }
    }

    pub(super) async fn serve(
        &self,
        port: Port,
        info: Option<PortInfo>,
        queue: &mut mpsc::Receiver<Outgoing>,
    ) -> Ended {
        if self.events.send(LinkEvent::Up { link: self.id, port: info.map(Box::new) }).await.is_err() {
            return Ok(());
        }
        let (input, output) = tokio::io::split(port);
        let (sender, reactions) = mpsc::channel(REACTIONS);
        let heard = Notify::new();
        let to_transmit = ToTransmit { reactions: sender, heard: &heard };
        // What the port said last before it was gone.
        self.with_codec(|codec| codec.idle(|_| {}));
        tokio::select! {
            ended = self.receive(input, to_transmit) => ended,
            ended = self.transmit(output, queue, reactions, &heard) => ended,
        }
    }

    async fn receive(&self, mut port: ReadHalf<Port>, to_transmit: ToTransmit<'_>) -> Ended {
        let gap = self.settings.receive_gap.unwrap_or_else(|| self.with_codec(|codec| codec.gap()));
        let pool = BatchPool::new(self.id);
        let mut chatter = Chatter::new(self.id, self.settings.settle);
        let mut buffer = vec![0; READ_OCTETS];
        let mut gives_up_at = None;
        loop {
            let mut batch = pool.take();
            let wake_at = [gives_up_at, chatter.due()].into_iter().flatten().min();
            let heard = tokio::select! {
                read = port.read(&mut buffer) => Some(read),
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => None,
            };
            let now = Instant::now();
            let sink = |found: Found<'_>| self.sort(now, found, &mut batch, &mut chatter, &to_transmit);
            match heard {
                Some(Ok(0)) => return Err(self.ended()),
                Some(Ok(octets)) => {
                    let is_partial = self.with_codec(|codec| {
                        codec.feed(&buffer[..octets], sink);
                        codec.is_partial()
                    });
                    gives_up_at = is_partial.then(|| now + gap);
                }
                Some(Err(error)) => return Err(lost(&error)),
                None if gives_up_at.is_some_and(|at| at <= now) => {
                    self.with_codec(|codec| codec.idle(sink));
                    gives_up_at = None;
                }
                None => {}
            }
            chatter.frames(batch.octets());
            if !batch.is_empty() && self.events.send(LinkEvent::Frames(batch)).await.is_err() {
                return Ok(());
            }
            while let Some(event) = chatter.next_event(now) {
                if self.events.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Takes one thing that was found in the stream to where it belongs.
    fn sort(
        &self,
        now: Instant,
        found: Found<'_>,
        batch: &mut FrameBatch,
        chatter: &mut Chatter,
        to_transmit: &ToTransmit<'_>,
    ) {
        let react = |reaction| {
            // Full: see `REACTIONS`.
            let _ = to_transmit.reactions.try_send(reaction);
        };
        match found {
            Found::Frame(Received { node, reach, signal, frame }) => {
                let cast = match reach {
                    Reach::One => Cast::Unicast,
                    Reach::Everyone => Cast::Group,
                };
                batch.push_from_radio(link_address(node), cast, signal, frame);
                to_transmit.heard.notify_one();
            }
            Found::Receipt(receipt) => {
                if let Receipt::Refused(refusal) = receipt {
                    chatter.undelivered(refusal.into());
                }
                react(Reaction::Receipt);
                to_transmit.heard.notify_one();
            }
            Found::Answer(octets) => react(Reaction::Answer(octets.to_vec())),
            Found::Text(line) => chatter.text(now, line),
            Found::Noise(noise) => chatter.noise(now, noise),
        }
    }

    /// Why there is nothing more to read.
    fn ended(&self) -> DownReason {
        DownReason::Lost(match self.settings.port {
            PortName::Device(_) | PortName::Usb(_) => "unplugged".to_owned(),
            PortName::Tcp { .. } => "the serial server has closed the connection".to_owned(),
        })
    }

    async fn transmit(
        &self,
        mut port: WriteHalf<Port>,
        queue: &mut mpsc::Receiver<Outgoing>,
        mut reactions: mpsc::Receiver<Reaction>,
        heard: &Notify,
    ) -> Ended {
        tokio::select! {
            () = sleep(self.settings.settle) => {}
            () = heard.notified() => {}
        }
        let mut window = Window::new(self.with_codec(|codec| codec.flow()));
        loop {
            let next_overdue = window.next_overdue().filter(|_| window.is_full());
            let octets = tokio::select! {
                biased;
                Some(reaction) = reactions.recv() => match reaction {
                    Reaction::Answer(octets) => octets,
                    Reaction::Receipt => {
                        window.confirm();
                        continue;
                    }
                },
                () = sleep_until(next_overdue.unwrap_or_else(Instant::now)), if next_overdue.is_some() => {
                    let frames = window.give_up_overdue(Instant::now());
                    let event = LinkEvent::Undelivered { link: self.id, frames, reason: Undelivered::Unconfirmed };
                    if self.events.send(event).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                outgoing = queue.recv(), if next_overdue.is_none() => {
                    let Some(Outgoing { octets, .. }) = outgoing else { return Ok(()) };
                    window.send(Instant::now());
                    octets
                }
            };
            // One write() as long as the kernel has room: some firmware takes a pause for the end of a message.
            // No flush: it blocks the thread until the last bit is on the line.
            port.write_all(&octets).await.map_err(|error| lost(&error))?;
            sleep(time_on_the_line(octets.len(), &self.settings) + self.settings.gap).await;
        }
    }

    fn with_codec<T>(&self, act: impl FnOnce(&mut Codec) -> T) -> T {
        act(&mut self.codec.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long octets take that have only reached the kernel.
fn time_on_the_line(octets: usize, settings: &SerialSettings) -> Duration {
    let bits = u32::try_from(octets).unwrap_or(u32::MAX).saturating_mul(settings.format.bits());
    Duration::from_secs(1).saturating_mul(bits) / settings.baud.max(1)
}

fn lost(error: &io::Error) -> DownReason {
    // What Linux says when an adapter is pulled out, or the other side of a pseudo-terminal closed.
    const EIO: i32 = 5;
    match error.raw_os_error() {
        Some(EIO) => DownReason::Lost("unplugged".to_owned()),
        Some(_) | None => DownReason::Lost(error.to_string()),
    }
}
