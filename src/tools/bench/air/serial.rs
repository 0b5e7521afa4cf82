//! Devices at the far end of a serial line: one, or many behind a forwarder.

use std::io;
use std::sync::Arc;
use std::sync::mpsc as handover;
use std::thread;

use mio::{Registry, Token, Waker};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::{AirError, Reachable, unwrap, wrap};
use crate::core::{LinkId, Peer};
use crate::links::serial::sole_node;
use crate::links::{LinkConfig, LinkEvent, Links, SerialSettings};
use crate::tools::bench::plan::Plan;
use crate::wire::framing::Direction;

const LINE: LinkId = LinkId(0);
/// Events of the port, and frames for the devices, that wait.
const WAITING: usize = 64;

/// A serial link runs on a thread of its own, which hands the frames over and wakes the poll.
#[derive(Debug)]
pub(in crate::tools::bench) struct SerialAir {
    links: Links,
    /// As which node the devices go, where the framing has nodes: this end is node and dongle in one.
    own: Peer,
    frames: handover::Receiver<Vec<u8>>,
    forwarded: Option<u32>,
    wrapped: Vec<u8>,
}

impl SerialAir {
    pub(super) fn open(plan: &Plan, settings: &SerialSettings, registry: &Registry) -> Result<Self, AirError> {
        if plan.clients > 1 && plan.forwarders.is_none() {
            return Err(AirError::OneClientOnly);
        }
        let failed = |error: io::Error| AirError::Serial(error.to_string());
        let waker = Arc::new(Waker::new(registry, Token(0)).map_err(failed)?);
        let (opened, opening) = handover::sync_channel(1);
        let (sender, frames) = handover::sync_channel(WAITING);
        let own = Peer { link: LINE, address: sole_node(settings.framing) };
        let settings = settings.clone();
        thread::Builder::new()
            .name("serial".to_owned())
            .spawn(move || serve(settings, &opened, &sender, &waker))
            .map_err(failed)?;
        let links = opening.recv().map_err(|_| AirError::Serial("its thread has ended".to_owned()))??;
        Ok(Self { links, own, frames, forwarded: plan.forwarders, wrapped: Vec::new() })
    }

    pub(super) fn send(&mut self, device: u32, frame: &[u8]) -> io::Result<()> {
        let frame = if self.forwarded.is_some() {
            wrap(device, frame, &mut self.wrapped);
            &self.wrapped
        } else {
            frame
        };
        self.links.send(self.own, frame).map_err(io::Error::other)
    }

    pub(super) fn receive(&self, sink: &mut dyn FnMut(u32, &[u8])) -> Reachable {
        while let Ok(frame) = self.frames.try_recv() {
            if self.forwarded.is_none() {
                sink(0, &frame);
            } else if let Some((device, frame)) = unwrap(&frame) {
                sink(device, frame);
            }
        }
        Reachable::Perhaps
    }
}

/// Runs the link until nobody wants its frames any more.
fn serve(
    settings: SerialSettings,
    opened: &handover::SyncSender<Result<Links, AirError>>,
    frames: &handover::SyncSender<Vec<u8>>,
    waker: &Waker,
) {
    let failed = |error: String| drop(opened.send(Err(AirError::Serial(error))));
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(error.to_string()),
    };
    runtime.block_on(async {
        let (sender, mut events) = mpsc::channel(WAITING);
        let config = LinkConfig::Serial(settings);
        let links = match Links::open(&[(LINE, config)], Direction::Downlink, &sender) {
            Ok(links) => links,
            Err(error) => return failed(error.to_string()),
        };
        drop(sender);
        // The port's first word is that it is open, or why not.
        if let Some(LinkEvent::Down { reason, .. }) = events.recv().await {
            return failed(reason.to_string());
        }
        if opened.send(Ok(links)).is_err() {
            return;
        }
        while let Some(event) = events.recv().await {
            let LinkEvent::Frames(batch) = event else { continue };
            for frame in batch.iter() {
                if frames.send(frame.bytes.to_vec()).is_err() {
                    return;
                }
                // Fails only if the poll is gone, and then the frames are too.
                let _ = waker.wake();
            }
        }
    });
}
