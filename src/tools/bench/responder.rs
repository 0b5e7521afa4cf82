//! The least that any gateway on this machine can cost: a loop that receives a datagram and answers it, one by one.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::usage::Subject;
use crate::wire::MsgType;

/// How often the loop looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);
/// Octets that the kernel may hold for the socket: as many as the gateway asks for.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The loop, on a thread of its own. Ends when dropped.
#[derive(Debug)]
pub(super) struct Responder {
    address: SocketAddr,
    subject: Option<Subject>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    pub(super) fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        socket.set_read_timeout(Some(GLANCE))?;
        // The buffer that it has will do if the system refuses.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let ends = Arc::new(AtomicBool::new(false));
        let (said, name) = mpsc::channel();
        let thread = thread::Builder::new().name("bare UDP loop".to_owned()).spawn({
            let ends = Arc::clone(&ends);
            move || {
                // Whoever waits for the name is there until it comes.
                let _ = said.send(Subject::this_thread());
                serve(&socket, &ends);
            }
        })?;
        let subject = name.recv().ok().flatten();
        Ok(Self { address, subject, ends, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whose CPU time the loop's is.
    pub(super) fn subject(&self) -> Option<Subject> {
        self.subject.clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A loop that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, ends: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while !ends.load(Ordering::Relaxed) {
        let Ok((octets, from)) = socket.recv_from(&mut buffer) else { continue };
        let (answer, length) = answer(&buffer[..octets]);
        // What the system does not take is lost, as any datagram may be.
        let _ = socket.send_to(&answer[..length], from);
    }
}

/// Answers as a gateway would that does nothing else: no state, no check. Returns the answer and its length.
fn answer(frame: &[u8]) -> ([u8; 7], usize) {
    let msg_type = frame.get(1).copied().and_then(MsgType::from_code);
    let octet = |index: usize| frame.get(index).copied().unwrap_or_default();
    match msg_type {
        Some(MsgType::Connect) => ([3, MsgType::ConnAck.code(), 0, 0, 0, 0, 0], 3),
        // Topic id 1; the message id stands behind the one that the client leaves empty.
        Some(MsgType::Register) => ([7, MsgType::RegAck.code(), 0, 1, octet(4), octet(5), 0], 7),
        Some(MsgType::Publish) => ([7, MsgType::PubAck.code(), octet(3), octet(4), octet(5), octet(6), 0], 7),
        Some(_) | None => ([2, MsgType::PingResp.code(), 0, 0, 0, 0, 0], 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ConnAck, Message, MsgId, PubAck, RegAck, ReturnCode, TopicId};

    fn answered(frame: &[u8]) -> Message<'static> {
        let (octets, length) = answer(frame);
        Message::decode(Box::leak(Box::new(octets)).get(..length).unwrap()).unwrap()
    }

    #[test]
    fn it_says_what_a_device_waits_for() {
        let (msg_id, return_code) = (MsgId(0x0102), ReturnCode::Accepted);
        assert_eq!(answered(&[7, 4, 4, 1, 0, 10, b'x']), ConnAck { return_code }.into());
        let registered = RegAck { topic_id: TopicId(1), msg_id, return_code };
        assert_eq!(answered(&[7, 0x0A, 0, 0, 1, 2, b't']), registered.into());
        let published = PubAck { topic_id: TopicId(1), msg_id, return_code };
        assert_eq!(answered(&[8, 0x0C, 0x20, 0, 1, 1, 2, 0xFF]), published.into());
    }
}
