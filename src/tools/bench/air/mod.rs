//! The devices' links: many UDP sockets or one serial line, all under one poll, without a task or a thread a device.

mod serial;
mod udp;

use std::io;

use mio::{Registry, Token};
use thiserror::Error;

use super::plan::Plan;
use crate::tools::transport::Target;
use crate::wire::Envelope;
use serial::SerialAir;
use udp::UdpAir;

/// The links of all devices.
#[derive(Debug)]
pub(super) enum Air {
    Udp(UdpAir),
    Serial(SerialAir),
}

/// Why there is no link.
#[derive(Debug, Error)]
pub(super) enum AirError {
    #[error("cannot find the address of {host}: {source}")]
    Unresolved { host: String, source: io::Error },
    #[error(
        "cannot open a socket for each of {clients} clients, only for {opened}: {source}. Raise the limit of open files \
         (ulimit -n), or put the clients behind forwarders, which share a socket: --forwarders 10"
    )]
    TooManySockets { clients: u32, opened: u32, source: io::Error },
    #[error("a serial line without forwarder encapsulation carries one client; add --forwarders 1 for more")]
    OneClientOnly,
    #[error("cannot open the serial port: {0}")]
    Serial(String),
}

impl Air {
    /// Opens the links; their events come under the tokens from 0 on, as many as there are sockets.
    pub(super) fn open(plan: &Plan, registry: &Registry) -> Result<Self, AirError> {
        match &plan.gateway {
            Target::Udp { host, port } => UdpAir::open(plan, (host, *port), registry).map(Self::Udp),
            Target::Serial(settings) => SerialAir::open(plan, settings, registry).map(Self::Serial),
        }
    }

    /// Sends a frame of one device. An error is about this frame only.
    pub(super) fn send(&mut self, device: u32, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(air) => air.send(device, frame),
            Self::Serial(air) => air.send(device, frame),
        }
    }

    /// Gives `sink` all frames that have come on the socket with this token. Returns whether nobody listens there.
    pub(super) fn receive(&mut self, token: Token, mut sink: impl FnMut(u32, &[u8])) -> Reachable {
        match self {
            Self::Udp(air) => air.receive(token, &mut sink),
            Self::Serial(air) => air.receive(&mut sink),
        }
    }
}

/// Whether somebody is there at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachable {
    Perhaps,
    /// The system says that nobody listens.
    No,
}

/// Takes the wrapper off a frame for a device behind a forwarder: the device is its node id.
fn unwrap(frame: &[u8]) -> Option<(u32, &[u8])> {
    let envelope = Envelope::open(frame, 1).ok()?;
    let node_id = envelope.layers().next()?.node_id;
    Some((u32::from_be_bytes(node_id.try_into().ok()?), envelope.message()))
}

/// Puts a frame of a device into the wrapper of its forwarder.
fn wrap(device: u32, frame: &[u8], out: &mut Vec<u8>) {
    out.clear();
    Envelope::wrap(&device.to_be_bytes(), 0, out).expect("a node id of four octets is a valid one");
    out.extend_from_slice(frame);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_frame_comes_back_with_its_device() {
        let mut octets = Vec::new();
        wrap(70_000, &[2, 0x17], &mut octets);
        assert_eq!(unwrap(&octets), Some((70_000, &[2, 0x17][..])));
        assert_eq!(unwrap(&[2, 0x17]), None, "no wrapper");
    }
}
