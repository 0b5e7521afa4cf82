//! Serial links: a port that is opened, served, and opened again when it is gone.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::batch::BatchPool;
use super::tasks::Tasks;
use super::{DownReason, LinkEvent, SendError, SerialSettings};
use crate::core::{Cast, LinkAddress, LinkId};
use crate::wire::framing::{self, Decoder, Direction, Found};

mod chatter;
mod error;
mod holders;
mod inventory;
mod line;
mod name;
mod network;
mod permission;
mod port;
#[cfg(target_os = "linux")]
mod sysfs;

pub use error::PortError;
pub use holders::Holder;
pub use inventory::{Inventory, PortInfo, PortState, UsbDevice};
pub use line::{CharacterFormat, ControlLine, FlowControl, Parity, StopBits, UnknownName};
pub use name::{PortName, PortNameError, UsbIds, UsbMatch};
pub use port::{Opened, Port, open, try_open};

use chatter::Chatter;

/// Octets of the shortest frame.
const SHORTEST_FRAME: usize = 2;

/// The sending side of a link.
#[derive(Debug)]
pub(super) struct SerialLink {
    settings: Arc<SerialSettings>,
    outbox: mpsc::Sender<Outgoing>,
    /// One permit for each octet that may yet wait.
    room: Arc<Semaphore>,
    is_up: Arc<AtomicBool>,
}

/// A frame on its way out. Its room in the queue is free again when it is dropped.
#[derive(Debug)]
struct Outgoing {
    frame: Box<[u8]>,
    _room: OwnedSemaphorePermit,
}

impl SerialLink {
    pub(super) fn open(
        id: LinkId,
        settings: SerialSettings,
        direction: Direction,
        events: mpsc::Sender<LinkEvent>,
        tasks: &mut Tasks,
    ) -> Self {
        let settings = Arc::new(settings);
        let octets = settings.send_queue.max(settings.max_frame);
        let (outbox, queue) = mpsc::channel(octets.div_ceil(SHORTEST_FRAME));
        let is_up = Arc::new(AtomicBool::new(false));
        let line = Line { id, settings: Arc::clone(&settings), direction, events, heard: Notify::new() };
        tasks.spawn(id, supervise(line, queue, Arc::clone(&is_up)));
        let room = Arc::new(Semaphore::new(octets));
        Self { settings, outbox, room, is_up }
    }

    pub(super) fn settings(&self) -> &SerialSettings {
        &self.settings
    }

    pub(super) fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        let too_long = SendError::TooLong { octets: frame.len(), max: self.settings.max_frame };
        if frame.len() > self.settings.max_frame {
            return Err(too_long);
        }
        if !self.is_up.load(Ordering::Acquire) {
            return Err(SendError::Down);
        }
        let octets = u32::try_from(frame.len()).map_err(|_| too_long)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(octets).map_err(|_| SendError::Full)?;
        self.outbox.try_send(Outgoing { frame: frame.into(), _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Down,
        })
    }
}

impl fmt::Display for SerialLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serial {}", self.settings)
    }
}

/// Opens the port, serves it until it is gone, and starts again; ends when nobody listens to the events.
async fn supervise(line: Line, mut queue: mpsc::Receiver<Outgoing>, is_up: Arc<AtomicBool>) {
    let longest = line.settings.reopen_at_most;
    let mut backoff = Backoff::new(line.settings.reopen_after, longest);
    let mut former = None;
    loop {
        let reason = match open_in_background(&line.settings, former.clone()).await {
            Ok(Opened { port, info }) => {
                former = info.as_ref().and_then(|info| info.usb.clone()).or(former);
                let since = Instant::now();
                empty(&mut queue);
                is_up.store(true, Ordering::Release);
                let reason = line.serve(port, info, &mut queue).await;
                is_up.store(false, Ordering::Release);
                empty(&mut queue);
                // A port that is gone as soon as it is open has not recovered.
                if since.elapsed() >= longest {
                    backoff.reset();
                }
                reason
            }
            Err(error) => Err(DownReason::CannotOpen(error)),
        };
        let Err(reason) = reason else { return };
        let retry_in = backoff.next_delay();
        if line.events.send(LinkEvent::Down { link: line.id, reason, retry_in }).await.is_err() {
            return;
        }
        sleep(retry_in).await;
    }
}

/// Opens the port on another thread: a driver may take its time, and so may finding out who holds the port.
async fn open_in_background(settings: &Arc<SerialSettings>, former: Option<UsbDevice>) -> Result<Opened, PortError> {
    let settings = Arc::clone(settings);
    let name = settings.port.to_string();
    match tokio::task::spawn_blocking(move || open(&settings, former.as_ref())).await {
        Ok(result) => result,
        Err(error) => Err(PortError::Other { port: name, reason: error.to_string() }),
    }
}

/// Forgets the frames that wait: they were for a port that is gone.
fn empty(queue: &mut mpsc::Receiver<Outgoing>) {
    while queue.try_recv().is_ok() {}
}

/// A serial line, apart from the port that it is open on at present.
struct Line {
    id: LinkId,
    settings: Arc<SerialSettings>,
    direction: Direction,
    events: mpsc::Sender<LinkEvent>,
    /// Told when a frame was received: the other end is not, or no longer, in its boot loader.
    heard: Notify,
}

/// `Ok` when nobody listens to the events any more, otherwise why the port is gone.
type Ended = Result<(), DownReason>;

impl Line {
    async fn serve(&self, port: Port, info: Option<PortInfo>, queue: &mut mpsc::Receiver<Outgoing>) -> Ended {
        if self.events.send(LinkEvent::Up { link: self.id, port: info.map(Box::new) }).await.is_err() {
            return Ok(());
        }
        let (input, output) = tokio::io::split(port);
        tokio::select! {
            ended = self.receive(input) => ended,
            ended = self.transmit(output, queue) => ended,
        }
    }

    async fn receive(&self, mut port: ReadHalf<Port>) -> Ended {
        let SerialSettings { framing, max_frame, receive_gap, .. } = *self.settings;
        let mut decoder = Decoder::new(framing, self.direction, max_frame);
        let gap = receive_gap.unwrap_or_else(|| decoder.gap());
        let mut pool = BatchPool::new(self.id);
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
            let sink = |found: Found<'_>| match found {
                Found::Frame(frame) => batch.push(LinkAddress::NONE, Cast::Unicast, frame),
                Found::Text(line) => chatter.text(now, line),
                Found::Noise(noise) => chatter.noise(now, noise),
            };
            match heard {
                Some(Ok(0)) => return Err(self.ended()),
                Some(Ok(octets)) => {
                    decoder.feed(&buffer[..octets], sink);
                    gives_up_at = decoder.is_partial().then(|| now + gap);
                }
                Some(Err(error)) => return Err(lost(&error)),
                None if gives_up_at.is_some_and(|at| at <= now) => {
                    decoder.idle(sink);
                    gives_up_at = None;
                }
                None => {}
            }
            chatter.frames(batch.octets());
            if !batch.is_empty() {
                self.heard.notify_one();
                if self.events.send(LinkEvent::Frames(batch)).await.is_err() {
                    return Ok(());
                }
            }
            while let Some(event) = chatter.next_event(now) {
                if self.events.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Why there is nothing more to read.
    fn ended(&self) -> DownReason {
        DownReason::Lost(match self.settings.port {
            PortName::Device(_) | PortName::Usb(_) => "unplugged".to_owned(),
            PortName::Tcp { .. } => "the serial server has closed the connection".to_owned(),
        })
    }

    async fn transmit(&self, mut port: WriteHalf<Port>, queue: &mut mpsc::Receiver<Outgoing>) -> Ended {
        tokio::select! {
            () = sleep(self.settings.settle) => {}
            () = self.heard.notified() => {}
        }
        let mut octets = Vec::new();
        while let Some(outgoing) = queue.recv().await {
            octets.clear();
            framing::encode(self.settings.framing, &outgoing.frame, &mut octets);
            // One write() as long as the kernel has room: some firmware takes a pause for the end of a message.
            // No flush: it blocks the thread until the last bit is on the line.
            port.write_all(&octets).await.map_err(|error| lost(&error))?;
            sleep(time_on_the_line(octets.len(), &self.settings) + self.settings.gap).await;
        }
        Ok(())
    }
}

/// Octets that one read can take: what a terminal holds at most.
const READ_OCTETS: usize = 4_096;

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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod machine;
#[cfg(test)]
#[cfg(unix)]
mod tests;
