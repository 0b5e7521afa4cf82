//! The kernel's buffers of a socket: what was asked for, and what the system gave.

use std::fs;

use socket2::SockRef;

use crate::links::UdpSettings;

/// One of the kernel's two buffers of a socket, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub asked: usize,
    pub given: usize,
}

/// The kernel's buffers of a UDP link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    pub receive: Buffer,
    pub send: Buffer,
}

impl Buffers {
    /// Asks for buffers as configured. The system may give less, or refuse: then the ones it has will do.
    pub(super) fn ask(socket: SockRef<'_>, UdpSettings { receive_buffer, send_buffer, .. }: &UdpSettings) -> Self {
        let _ = socket.set_recv_buffer_size(*receive_buffer);
        let _ = socket.set_send_buffer_size(*send_buffer);
        let given = |octets: std::io::Result<usize>| octets.unwrap_or(0) / COUNTED_TIMES;
        Self {
            receive: Buffer { asked: *receive_buffer, given: given(socket.recv_buffer_size()) },
            send: Buffer { asked: *send_buffer, given: given(socket.send_buffer_size()) },
        }
    }
}

/// Linux doubles what it is asked for, to pay for its bookkeeping, and tells the double (socket(7)).
const COUNTED_TIMES: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

/// Where Linux says how large a receive buffer may be.
pub const RECEIVE_LIMIT: &str = "net.core.rmem_max";
/// The same for a send buffer.
pub const SEND_LIMIT: &str = "net.core.wmem_max";

/// Returns what a limit is at present, where there is such a thing.
pub fn limit(name: &str) -> Option<usize> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?.trim().parse().ok()
}
