//! Ports that belong to one test alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use socket2::{Domain, Socket, Type};

/// Sockets that keep their ports for as long as the test program runs.
static RESERVED: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// Returns a loopback address at which nobody listens but who is told of it.
///
/// A socket that is bound and does not listen has the port: the system gives it to nobody else, and whoever connects is
/// refused. A server may listen there all the same, again and again, because it sets `SO_REUSEADDR` as this socket does.
pub(crate) fn reserved_address() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket that is not bound yet takes it");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a loopback port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    RESERVED.lock().expect("nobody panics with it").push(socket);
    address
}
