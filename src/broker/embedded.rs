//! A small MQTT broker inside the gateway, for trying out: it keeps nothing across restarts and refuses nobody.
//!
//! A port of rumqttd speaks one version only. The one that is asked for speaks MQTT 3.1.1, as the common command-line
//! clients do unless told otherwise; a second one, on this machine only, speaks MQTT 5 with the gateway, because there
//! each message says which subscription brought it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use thiserror::Error;
use tracing::error;

use super::settings::{Protocol, RetainedMessages};

/// How long the broker may take to open its port.
const PATIENCE: Duration = Duration::from_secs(5);

/// A broker on a port of this machine. It runs in threads of its own and ends with the process: it cannot be stopped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    addr: SocketAddr,
    gateway_addr: SocketAddr,
}

/// Why the embedded broker did not start.
#[derive(Debug, Error)]
pub enum EmbeddedBrokerError {
    #[error("the embedded broker cannot listen on {addr}: {problem}")]
    Listen { addr: SocketAddr, problem: io::Error },
    #[error("the embedded broker cannot start its thread: {0}")]
    Thread(io::Error),
    #[error("the embedded broker did not open {0} in time")]
    NotReady(SocketAddr),
}

impl EmbeddedBroker {
    /// The protocol that a connection to the embedded broker must use.
    pub const PROTOCOL: Protocol = Protocol::V5;

    /// When it sends retained messages to the gateway.
    pub const RETAINED: RetainedMessages = RetainedMessages::OnFirstSubscribe;

    /// A directive for the log filter: what rumqttd logs, such as each client that leaves, is not for our users.
    pub const LOG_FILTER: &'static str = "rumqttd=off";

    /// Starts the broker and waits until it listens. With port 0 the system chooses a free one.
    pub fn start(addr: SocketAddr) -> Result<Self, EmbeddedBrokerError> {
        let [addr, gateway_addr] = free([addr, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])?;
        let mut broker = Broker::new(config(addr, gateway_addr));
        thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || {
                if let Err(problem) = broker.start() {
                    error!("the embedded broker stopped: {problem}");
                }
            })
            .map_err(EmbeddedBrokerError::Thread)?;
        wait_until_open(addr)?;
        wait_until_open(gateway_addr)?;
        Ok(Self { addr, gateway_addr })
    }

    /// Returns where the broker listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns where the gateway finds the broker, for connections in [`Self::PROTOCOL`].
    pub fn gateway_addr(&self) -> SocketAddr {
        self.gateway_addr
    }
}

/// Makes sure that both addresses are free, and finds out what port 0 becomes: rumqttd only logs that one is taken, and
/// does not tell what it has chosen.
fn free(addrs: [SocketAddr; 2]) -> Result<[SocketAddr; 2], EmbeddedBrokerError> {
    let listen = |addr| {
        let listener = TcpListener::bind(addr)?;
        Ok((listener.local_addr()?, listener))
    };
    let listen = |addr| listen(addr).map_err(|problem| EmbeddedBrokerError::Listen { addr, problem });
    // Both at the same time, so that they differ.
    let ((first, _taken), (second, _taken_too)) = (listen(addrs[0])?, listen(addrs[1])?);
    Ok([first, second])
}

fn config(clients: SocketAddr, gateway: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 1 << 20,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = |name: &str, listen| ServerSettings {
        name: name.to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: connections.clone(),
    };
    let server = |name: &str, listen| Some(HashMap::from([(name.to_owned(), server(name, listen))]));
    Config {
        router: RouterConfig {
            max_connections: 10_000,
            max_outgoing_packet_count: 200,
            // Per filter in use: small, because all of it is memory.
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: server("embedded-mqtt", clients),
        v5: server("embedded-mqtt5", gateway),
        ..Config::default()
    }
}

fn wait_until_open(addr: SocketAddr) -> Result<(), EmbeddedBrokerError> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect_timeout(&reachable(addr), PATIENCE).is_err() {
        if Instant::now() >= deadline {
            return Err(EmbeddedBrokerError::NotReady(addr));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Replaces "any address" by the loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let loopback = match addr.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let ip = if addr.ip().is_unspecified() { loopback } else { addr.ip() };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = EmbeddedBroker::start(taken.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("cannot listen on 127.0.0.1:"), "{error}");
    }

    #[test]
    fn port_zero_becomes_a_free_port() {
        let broker = EmbeddedBroker::start("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(broker.addr().port(), 0);
    }
}
