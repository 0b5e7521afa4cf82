//! A serial line behind a serial server: a TCP connection that carries its octets and nothing else.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use url::Host;

use super::PortError;

/// How long a server may take to answer. One that is switched off does not answer at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Silence after which the server is asked whether it is still there. A line may be silent for hours, and a server that
/// was switched off says no farewell.
const ASKED_AFTER: Duration = Duration::from_secs(15);
const ASKED_EVERY: Duration = Duration::from_secs(5);
#[cfg(unix)]
const ASKED_TIMES: u32 = 3;

/// Connects to a serial server, address by address.
pub(super) fn connect(name: &str, host: &Host, port: u16) -> Result<TcpStream, PortError> {
    let addresses = addresses(host, port).map_err(|_| PortError::ServerUnknown { port: name.to_owned() })?;
    let mut last = PortError::ServerUnknown { port: name.to_owned() };
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE).and_then(prepared) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = PortError::from_network(name, &error),
        }
    }
    Err(last)
}

fn addresses(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        Host::Domain(name) => Ok((name.as_str(), port).to_socket_addrs()?.collect()),
        Host::Ipv4(address) => Ok(vec![(*address, port).into()]),
        Host::Ipv6(address) => Ok(vec![(*address, port).into()]),
    }
}

/// Frames go out one by one and at once, and a server that is gone is noticed.
fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let keepalive = TcpKeepalive::new().with_time(ASKED_AFTER).with_interval(ASKED_EVERY);
    #[cfg(unix)]
    let keepalive = keepalive.with_retries(ASKED_TIMES);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    SockRef::from(&stream).set_tcp_user_timeout(Some(ASKED_AFTER + ASKED_EVERY * ASKED_TIMES))?;
    Ok(stream)
}
