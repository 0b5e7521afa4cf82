//! Serial links: a port that is opened, served, and opened again when it is gone.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::tasks::Tasks;
use super::{DownReason, LinkEvent, SendError, SerialSettings};
use crate::core::{LinkAddress, LinkId};
use crate::wire::framing::{Codec, Destination, Direction, NodeAddress, WrongAddress};

mod address;
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
mod traffic;
mod window;

pub use address::sole_node;
pub use error::PortError;
pub use holders::Holder;
pub use inventory::{Inventory, PortInfo, PortState, UsbDevice};
pub use line::{CharacterFormat, ControlLine, FlowControl, Parity, StopBits, UnknownName};
pub use name::{PortName, PortNameError, UsbIds, UsbMatch};
pub use port::{Opened, Port, open, try_open};

use traffic::Line;

/// Octets of the shortest frame.
const SHORTEST_FRAME: usize = 2;

/// Octets of the largest frame that is received even if none as large is sent: all that one octet of Length can say.
const RECEIVED_FRAME: usize = 255;

/// The sending side of a link.
#[derive(Debug)]
pub(super) struct SerialLink {
    settings: Arc<SerialSettings>,
    /// Shared with the receiving side: an answer goes where, and as, its node was heard.
    codec: Arc<Mutex<Codec>>,
    outbox: mpsc::Sender<Outgoing>,
    /// One permit for each octet that may yet wait.
    room: Arc<Semaphore>,
    is_up: Arc<AtomicBool>,
}

/// A frame on its way out, as it will stand on the line. Its room in the queue is free again when it is dropped.
#[derive(Debug)]
struct Outgoing {
    octets: Vec<u8>,
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
        let codec = Codec::new(settings.framing, direction, settings.max_frame.max(RECEIVED_FRAME));
        let codec = Arc::new(Mutex::new(codec));
        let line = Line::new(id, Arc::clone(&settings), Arc::clone(&codec), events);
        tasks.spawn(id, supervise(line, queue, Arc::clone(&is_up)));
        let room = Arc::new(Semaphore::new(octets));
        Self { settings, codec, outbox, room, is_up }
    }

    pub(super) fn settings(&self) -> &SerialSettings {
        &self.settings
    }

    pub(super) fn describe_peer(&self, address: LinkAddress) -> String {
        let port = &self.settings.port;
        match address::node(address) {
            Some(NodeAddress::None) => format!("serial {port}"),
            Some(node @ (NodeAddress::Short(_) | NodeAddress::Long(_))) => format!("serial {port} node {node}"),
            None => format!("serial {port} {address:?}"),
        }
    }

    pub(super) fn send(&self, to: LinkAddress, frame: &[u8]) -> Result<(), SendError> {
        let node = address::node(to).ok_or(SendError::WrongAddress)?;
        self.queue(Destination::Node(node), frame)
    }

    /// Sends a frame to all nodes within so many hops, or where the framing has no addresses, to the other end.
    pub(super) fn broadcast(&self, radius: u8, frame: &[u8]) -> Result<(), SendError> {
        self.queue(Destination::Everyone { radius }, frame)
    }

    fn queue(&self, to: Destination, frame: &[u8]) -> Result<(), SendError> {
        let too_long = SendError::TooLong { octets: frame.len(), max: self.settings.max_frame };
        if frame.len() > self.settings.max_frame {
            return Err(too_long);
        }
        if !self.is_up.load(Ordering::Acquire) {
            return Err(SendError::Down);
        }
        let room = u32::try_from(frame.len()).map_err(|_| too_long)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(room).map_err(|_| SendError::Full)?;
        let mut octets = Vec::new();
        let mut codec = self.codec.lock().unwrap_or_else(PoisonError::into_inner);
        codec.encode(to, frame, &mut octets).map_err(|WrongAddress| SendError::WrongAddress)?;
        drop(codec);
        self.outbox.try_send(Outgoing { octets, _room: room }).map_err(|error| match error {
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod machine;
#[cfg(test)]
#[cfg(unix)]
mod tests;
