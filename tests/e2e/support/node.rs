//! A device: sends and expects frames written by hand, over UDP or at the far end of a serial line.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::dongle::Dongle;
use super::frame;
use super::process::PATIENCE;
use super::wire::Wire;

/// How long a device waits for an answer before it asks again.
const RETRY: Duration = Duration::from_secs(1);

pub struct Node {
    transport: Transport,
}

enum Transport {
    Udp(UdpSocket),
    Serial { port: File, wire: Wire, number: u16, behind: Behind, frames: Receiver<Vec<u8>> },
}

/// Who knows the number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The dongle, if its framing has addresses.
    Dongle,
    /// A forwarder, which is itself a node with this number.
    Forwarder(u16),
}

impl Node {
    /// A device that talks to the gateway from a UDP port of its own.
    pub fn udp(gateway: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        socket.connect(gateway).expect("loopback can be reached");
        Self { transport: Transport::Udp(socket) }
    }

    /// A device at the far end of a serial line, raw framing.
    pub fn serial(port: &Path) -> Self {
        Self::radio(&Dongle::open(port, Wire::Raw), 0, Behind::Dongle)
    }

    /// A device on the radio behind a dongle.
    pub fn radio(dongle: &Dongle, number: u16, behind: Behind) -> Self {
        let frames = dongle.frames_for(number);
        Self { transport: Transport::Serial { port: dongle.port(), wire: dongle.wire(), number, behind, frames } }
    }

    /// The address that the gateway sees; only over UDP.
    pub fn address(&self) -> SocketAddr {
        match &self.transport {
            Transport::Udp(socket) => socket.local_addr().expect("it is bound"),
            Transport::Serial { .. } => panic!("a device on a serial line has no address"),
        }
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: &str) {
        let frame = frame::octets(frame);
        let octets = match &self.transport {
            Transport::Udp(_) => frame,
            Transport::Serial { wire, number, behind: Behind::Dongle, .. } => wire.up(*number, &frame),
            Transport::Serial { wire, number, behind: Behind::Forwarder(forwarder), .. } => {
                let [high, low] = number.to_be_bytes();
                wire.up(*forwarder, &[&[0x05, 0xFE, 0x00, high, low], &frame[..]].concat())
            }
        };
        self.send_octets(&octets);
    }

    /// Sends octets, whether they are a frame or not.
    pub fn send_octets(&mut self, octets: &[u8]) {
        match &mut self.transport {
            // A refused datagram is the previous one's: the gateway may be on its way up or down.
            Transport::Udp(socket) => drop(socket.send(octets)),
            Transport::Serial { port, .. } => port.write_all(octets).expect("the serial line is there"),
        }
    }

    /// Expects this frame and no other, and returns what stands at its `?`.
    pub fn expect<const N: usize>(&mut self, frame: &str) -> [String; N] {
        let received = self
            .receive(PATIENCE)
            .unwrap_or_else(|| panic!("expected {frame:?}, received nothing within {PATIENCE:?}"));
        let unknown = frame::matches(frame, &received)
            .unwrap_or_else(|| panic!("expected {frame:?}, received {}", frame::hex(&received)));
        unknown.try_into().unwrap_or_else(|found| panic!("{frame:?}: {N} unknown fields asked for, not {found:?}"))
    }

    /// Expects that nothing is on its way: the answer to a PINGREQ is the next frame.
    pub fn expect_nothing(&mut self) {
        self.send("02 16");
        let [] = self.expect("02 17");
    }

    /// Expects a frame, whatever it is.
    pub fn receive_any(&mut self) -> Vec<u8> {
        self.receive(PATIENCE).unwrap_or_else(|| panic!("received nothing within {PATIENCE:?}"))
    }

    /// Waits for a frame, whatever it is.
    pub fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        match &mut self.transport {
            Transport::Udp(socket) => receive_datagram(socket, patience),
            Transport::Serial { frames, .. } => frames.recv_timeout(patience).ok(),
        }
    }

    /// Connects with a clean session, as often as it takes.
    pub fn connect(&mut self, client_id: &str) {
        self.ask(&format!("LL 04 04 01 003C '{client_id}'"), "03 05 00");
    }

    /// Registers a topic name and returns its id.
    pub fn register(&mut self, topic: &str) -> String {
        self.send(&format!("LL 0A 0000 0101 '{topic}'"));
        let [topic_id] = self.expect("07 0B ???? 0101 00");
        topic_id
    }

    /// Subscribes to a filter with wildcards, at QoS 1.
    pub fn subscribe_to_wildcard(&mut self, filter: &str) {
        self.send(&format!("LL 12 20 0102 '{filter}'"));
        let [] = self.expect("08 13 20 0000 0102 00");
    }

    /// Sends a request until it gets the answer, as a device does; other answers are passed over.
    pub fn ask(&mut self, request: &str, answer: &str) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.send(request);
            let retry = Instant::now() + RETRY;
            while let Some(left) = retry.checked_duration_since(Instant::now()) {
                match self.receive(left) {
                    Some(received) if frame::matches(answer, &received).is_some() => return,
                    Some(_) | None => {}
                }
            }
        }
        panic!("no {answer:?} for {request:?} within {PATIENCE:?}");
    }
}

fn receive_datagram(socket: &UdpSocket, patience: Duration) -> Option<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut datagram = [0; 2048];
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).expect("the time left is not zero");
        // An error is a time-out, or the refusal of what was sent before: the loop asks the clock.
        if let Ok(octets) = socket.recv(&mut datagram) {
            return Some(datagram[..octets].to_vec());
        }
    }
    None
}
