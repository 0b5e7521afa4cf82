//! A plain MQTT connection for the load generator: MQTT 3.1.1, read and written in batches, without a task of its own.
//!
//! The gateway's own connections are made for keeping alive and for keeping messages safe. Here the receiver of all
//! messages must cost next to nothing, and one thread must serve a hundred publishers.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream as BlockingStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use thiserror::Error;
use url::Url;

use crate::mqtt::{self, Ack, Connect, Frame, FrameError, Packet, PacketError, Publish, Version};
use crate::wire::Qos;

const VERSION: Version = Version::V311;

/// How long the broker may take to answer CONNECT and SUBSCRIBE.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of the longest packet.
const MAX_PACKET: usize = 1 << 20;
/// Reason codes from here on refuse.
const REFUSALS: u8 = 0x80;
/// Octets that one read takes.
const READ_OCTETS: usize = 64 * 1024;

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BrokerAddress {
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

/// Why there is no connection to the broker.
#[derive(Debug, Error)]
pub(super) enum BrokerError {
    #[error("cannot reach the broker at {at}: {source}; is it running, and is --broker right?")]
    Unreachable { at: BrokerAddress, source: io::Error },
    #[error("the broker at {at} refuses the connection: reason code 0x{reason:02X}")]
    Refused { at: BrokerAddress, reason: u8 },
    #[error("the broker at {at} refuses the subscription to {filter}")]
    NoSubscription { at: BrokerAddress, filter: String },
    #[error("the broker at {at} does not speak MQTT 3.1.1: {source}")]
    NotMqtt { at: BrokerAddress, source: NotMqtt },
}

/// What makes octets no MQTT.
#[derive(Debug, Error)]
pub(super) enum NotMqtt {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Packet(#[from] PacketError),
    #[error("another packet than the one that was due")]
    Unexpected,
}

impl FromStr for BrokerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is no broker; write mqtt://HOST:PORT, or none to go without");
        let url = Url::parse(text).map_err(|_| wanted())?;
        if url.scheme() != "mqtt" {
            return Err(format!("{text:?}: the load generator speaks plain MQTT only; write mqtt://HOST:PORT"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wanted)?;
        let plain = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        let credentials =
            (!url.username().is_empty()).then(|| (plain(url.username()), plain(url.password().unwrap_or_default())));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(1883), credentials })
    }
}

impl BrokerAddress {
    /// Names a broker on this machine.
    pub(super) fn local(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port, credentials: None }
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, TCP port {}", self.host, self.port)
    }
}

/// One connection: a socket that never blocks, and what waits in front of it.
#[derive(Debug)]
pub(super) struct MqttConnection {
    stream: TcpStream,
    inbox: BytesMut,
    outbox: Vec<u8>,
    /// How many octets of the outbox have gone.
    sent: usize,
    buffer: Box<[u8]>,
    next_packet: u16,
}

impl MqttConnection {
    /// Connects, and subscribes at QoS 0 if a filter is given. Waits for both answers.
    pub(super) fn open(at: &BrokerAddress, client_id: &str, filter: Option<&str>) -> Result<Self, BrokerError> {
        let unreachable = |source| BrokerError::Unreachable { at: at.clone(), source };
        let not_mqtt = |source: PacketError| BrokerError::NotMqtt { at: at.clone(), source: source.into() };
        let mut handshake = Handshake::connect(at).map_err(unreachable)?;
        let credentials = at.credentials.as_ref();
        let connect = Connect {
            client_id,
            username: credentials.map(|(name, _)| name.as_str()),
            password: credentials.map(|(_, word)| word.as_str()),
            // None: a run that is busy elsewhere must not be cut off.
            keep_alive: 0,
            clean: true,
            session_expiry: None,
            receive_maximum: u16::MAX,
            largest_packet: u32::MAX,
            will: None,
        };
        let connack = handshake.ask(at, &connect.write(VERSION).map_err(not_mqtt)?, |packet| {
            if let Packet::ConnAck(connack) = packet { Some(connack.reason) } else { None }
        })?;
        if connack != 0 {
            return Err(BrokerError::Refused { at: at.clone(), reason: connack });
        }
        if let Some(filter) = filter {
            let mut subscribe = Vec::new();
            mqtt::write_subscribe(VERSION, 1, filter, Qos::AtMostOnce, None, &mut subscribe).map_err(not_mqtt)?;
            let granted = handshake.ask(at, &subscribe, |packet| {
                if let Packet::SubAck { reason, .. } = packet { Some(reason) } else { None }
            })?;
            if granted >= REFUSALS {
                return Err(BrokerError::NoSubscription { at: at.clone(), filter: filter.to_owned() });
            }
        }
        handshake.finish().map_err(unreachable)
    }

    /// Has the connection's events come under `token`.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Queues a PUBLISH.
    pub(super) fn publish(&mut self, topic: &str, qos: Qos, payload: &[u8]) {
        let packet = match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce | Qos::ExactlyOnce => {
                self.next_packet = self.next_packet.checked_add(1).unwrap_or(1);
                self.next_packet
            }
        };
        let publish = Publish {
            duplicate: false,
            qos,
            retain: false,
            topic: topic.as_bytes(),
            packet,
            payload,
            expires_in: None,
            subscriptions: Vec::new(),
        };
        publish.write(VERSION, &mut self.outbox);
    }

    /// Octets that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.len() - self.sent
    }

    /// Sends what is queued, as far as the socket takes it; the rest goes when an event says that there is room again.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.backlog() > 0 {
            match self.stream.write(&self.outbox[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(octets) => self.sent += octets,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outbox.drain(..std::mem::take(&mut self.sent));
        Ok(())
    }

    /// Reads all that has come. Answers of the handshakes at QoS 1 and 2 are queued; flush afterwards.
    pub(super) fn receive(&mut self, mut sink: impl FnMut(Received<'_>)) -> io::Result<()> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(octets) => self.inbox.extend_from_slice(&self.buffer[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let Self { inbox, outbox, .. } = self;
            let mut rest = &inbox[..];
            while let Some((frame, behind)) = Frame::cut(rest, MAX_PACKET).map_err(io::Error::other)? {
                if let Some(received) = take(Packet::read(VERSION, frame).map_err(io::Error::other)?, outbox) {
                    sink(received);
                }
                rest = behind;
            }
            let taken = inbox.len() - rest.len();
            inbox.advance(taken);
        }
    }
}

/// What came over a connection.
#[derive(Debug)]
pub(super) enum Received<'a> {
    Message(&'a [u8]),
    /// PUBACK or PUBCOMP.
    Acknowledged,
}

/// Answers a packet as the handshakes at QoS 1 and 2 have it, and returns what it tells.
fn take<'a>(packet: Packet<'a>, outbox: &mut Vec<u8>) -> Option<Received<'a>> {
    let mut answer = |ack: Ack, packet| ack.write(VERSION, packet, outbox);
    match packet {
        Packet::Publish(publish) => {
            match publish.qos {
                Qos::AtMostOnce => {}
                Qos::AtLeastOnce => answer(Ack::PubAck, publish.packet),
                Qos::ExactlyOnce => answer(Ack::PubRec, publish.packet),
            }
            Some(Received::Message(publish.payload))
        }
        Packet::PubAck { .. } | Packet::PubComp { .. } => Some(Received::Acknowledged),
        Packet::PubRec { packet, .. } => {
            answer(Ack::PubRel, packet);
            None
        }
        Packet::PubRel { packet } => {
            answer(Ack::PubComp, packet);
            None
        }
        Packet::ConnAck(_)
        | Packet::SubAck { .. }
        | Packet::UnsubAck { .. }
        | Packet::PingResp
        | Packet::Disconnect { .. } => None,
    }
}

/// A connection that may still be waited for.
struct Handshake {
    stream: BlockingStream,
    inbox: BytesMut,
}

impl Handshake {
    fn connect(at: &BrokerAddress) -> io::Result<Self> {
        let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for address in (at.host.as_str(), at.port).to_socket_addrs()? {
            match BlockingStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    return Ok(Self { stream, inbox: BytesMut::new() });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sends a packet and waits for the one that answers it.
    fn ask<T>(
        &mut self,
        at: &BrokerAddress,
        octets: &[u8],
        answer: impl Fn(Packet<'_>) -> Option<T>,
    ) -> Result<T, BrokerError> {
        let unreachable = |source| BrokerError::Unreachable { at: at.clone(), source };
        let not_mqtt = |source| BrokerError::NotMqtt { at: at.clone(), source };
        self.stream.write_all(octets).map_err(unreachable)?;
        loop {
            if let Some((frame, rest)) = Frame::cut(&self.inbox, MAX_PACKET).map_err(|error| not_mqtt(error.into()))? {
                let packet = Packet::read(VERSION, frame).map_err(|error| not_mqtt(error.into()))?;
                let answer = answer(packet).ok_or_else(|| not_mqtt(NotMqtt::Unexpected))?;
                let taken = self.inbox.len() - rest.len();
                self.inbox.advance(taken);
                return Ok(answer);
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer).map_err(unreachable)? {
                0 => return Err(unreachable(ErrorKind::ConnectionAborted.into())),
                octets => self.inbox.extend_from_slice(&buffer[..octets]),
            }
        }
    }

    fn finish(self) -> io::Result<MqttConnection> {
        self.stream.set_nonblocking(true)?;
        Ok(MqttConnection {
            stream: TcpStream::from_std(self.stream),
            inbox: self.inbox,
            outbox: Vec::new(),
            sent: 0,
            buffer: vec![0; READ_OCTETS].into(),
            next_packet: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_url_with_what_may_be_left_out() {
        let address = |text: &str| text.parse::<BrokerAddress>().unwrap();
        assert_eq!(address("mqtt://localhost").to_string(), "localhost, TCP port 1883");
        assert_eq!(address("mqtt://[::1]:1884").to_string(), "::1, TCP port 1884");
        assert_eq!(address("mqtt://me:a%20word@b").credentials, Some(("me".to_owned(), "a word".to_owned())));
    }

    #[test]
    fn what_is_no_broker_is_refused_with_the_remedy() {
        let error = |text: &str| text.parse::<BrokerAddress>().unwrap_err();
        assert!(error("localhost").contains("mqtt://HOST:PORT"));
        assert!(error("mqtts://localhost").contains("plain MQTT only"));
    }
}
