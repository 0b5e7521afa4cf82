//! A dongle at the far end of a serial line, with the nodes of its radio.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wire::{Given, To, Wire};

/// A dongle that is plugged in.
pub struct Dongle {
    wire: Wire,
    port: File,
    nodes: Arc<Nodes>,
}

/// Who gets the frames for a node.
type Nodes = Mutex<BTreeMap<u16, Sender<Vec<u8>>>>;

impl Dongle {
    /// Opens the port and deals with what the gateway says, until the line is gone.
    pub fn open(port: &Path, wire: Wire) -> Self {
        let port = OpenOptions::new().read(true).write(true).open(port).expect("the serial line is there");
        let dongle = Self { wire, port, nodes: Arc::default() };
        let (port, nodes) = (dongle.port(), Arc::clone(&dongle.nodes));
        thread::spawn(move || listen(port, wire, &nodes));
        dongle
    }

    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The line, to write to.
    pub fn port(&self) -> File {
        self.port.try_clone().expect("a file can be cloned")
    }

    /// The frames for this node: those with its number, as the radio has it or a forwarder, and those for everyone.
    pub fn frames_for(&self, number: u16) -> Receiver<Vec<u8>> {
        let (sender, frames) = channel();
        self.nodes.lock().unwrap().insert(number, sender);
        frames
    }

    /// Writes octets to the line, whatever they are.
    pub fn write(&self, octets: &[u8]) {
        (&self.port).write_all(octets).expect("the serial line is there");
    }
}

fn listen(mut port: File, wire: Wire, nodes: &Nodes) {
    let mut stream = Vec::new();
    let mut chunk = [0; 512];
    // The line's end, or its removal, ends the thread.
    while let Ok(octets @ 1..) = port.read(&mut chunk) {
        stream.extend_from_slice(&chunk[..octets]);
        while let Some(Given { to, frame, receipt }) = wire.take_first(&mut stream) {
            deliver(nodes, to, &frame);
            if port.write_all(&receipt).is_err() {
                return;
            }
        }
    }
}

fn deliver(nodes: &Nodes, to: To, frame: &[u8]) {
    let (to, frame) = match frame {
        [0x05, 0xFE, _ctrl, high, low, inner @ ..] => (To::Node(u16::from_be_bytes([*high, *low])), inner),
        _ => (to, frame),
    };
    let nodes = nodes.lock().unwrap();
    let meant = nodes.iter().filter(|(number, _)| match to {
        To::Node(node) => **number == node,
        To::Everyone | To::WhoeverListens => true,
    });
    // A node that is gone hears nothing.
    meant.for_each(|(_, node)| drop(node.send(frame.to_vec())));
}
