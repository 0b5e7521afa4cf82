//! A plain MQTT connection for the load generator: MQTT 3.1.1, read and written in batches, without a task of its own.
//!
//! The gateway's own client library is made for keeping connections alive and messages safe. Here the receiver of all
//! messages must cost next to nothing, and one thread must serve a hundred publishers.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream as BlockingStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rumqttc_v4::mqttbytes::v4::{
    Connect, ConnectReturnCode, Packet, PubAck, PubComp, PubRec, PubRel, Publish, Subscribe, SubscribeReasonCode,
};
use rumqttc_v4::mqttbytes::{Error as CodecError, QoS};
use thiserror::Error;
use url::Url;

use crate::wire::Qos;

/// How long the broker may take to answer CONNECT and SUBSCRIBE.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of the longest packet.
const MAX_PACKET: usize = 1 << 20;
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
    #[error("the broker at {at} refuses the connection: {code:?}")]
    Refused { at: BrokerAddress, code: ConnectReturnCode },
    #[error("the broker at {at} refuses the subscription to {filter}")]
    NoSubscription { at: BrokerAddress, filter: String },
    #[error("the broker at {at} does not speak MQTT 3.1.1: {source}")]
    NotMqtt { at: BrokerAddress, source: CodecError },
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
    outbox: BytesMut,
    buffer: Box<[u8]>,
    next_packet: u16,
}

impl MqttConnection {
    /// Connects, and subscribes at QoS 0 if a filter is given. Waits for both answers.
    pub(super) fn open(at: &BrokerAddress, client_id: &str, filter: Option<&str>) -> Result<Self, BrokerError> {
        let unreachable = |source| BrokerError::Unreachable { at: at.clone(), source };
        let mut handshake = Handshake::connect(at).map_err(unreachable)?;
        // Keep-alive 0: a run that is busy elsewhere must not be cut off.
        let mut connect = Connect { keep_alive: 0, ..Connect::new(client_id) };
        if let Some((name, word)) = &at.credentials {
            connect.set_credentials(name, word.clone().into_bytes());
        }
        match handshake.ask(at, &Packet::Connect(connect))? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {}
            Packet::ConnAck(ack) => return Err(BrokerError::Refused { at: at.clone(), code: ack.code }),
            _ => return Err(unreachable(ErrorKind::InvalidData.into())),
        }
        if let Some(filter) = filter {
            let subscribe = Subscribe { pkid: 1, ..Subscribe::new(filter, QoS::AtMostOnce) };
            match handshake.ask(at, &Packet::Subscribe(subscribe))? {
                Packet::SubAck(ack) if !ack.return_codes.contains(&SubscribeReasonCode::Failure) => {}
                _ => return Err(BrokerError::NoSubscription { at: at.clone(), filter: filter.to_owned() }),
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
        let pkid = match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce | Qos::ExactlyOnce => {
                self.next_packet = self.next_packet.checked_add(1).unwrap_or(1);
                self.next_packet
            }
        };
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        let payload = Bytes::copy_from_slice(payload);
        self.write(&Packet::Publish(Publish { dup: false, qos: level(qos), retain: false, topic, pkid, payload }));
    }

    /// Octets that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.len()
    }

    /// Sends what is queued, as far as the socket takes it; the rest goes when an event says that there is room again.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => drop(self.outbox.split_to(sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all that has come. Answers of the handshakes at QoS 1 and 2 are queued; flush afterwards.
    pub(super) fn receive(&mut self, mut sink: impl FnMut(Received)) -> io::Result<()> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(octets) => self.inbox.extend_from_slice(&self.buffer[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some(packet) = next_packet(&mut self.inbox).map_err(io::Error::other)? {
                if let Some(received) = self.take(packet) {
                    sink(received);
                }
            }
        }
    }

    fn take(&mut self, packet: Packet) -> Option<Received> {
        match packet {
            Packet::Publish(publish) => {
                match publish.qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => self.write(&Packet::PubAck(PubAck { pkid: publish.pkid })),
                    QoS::ExactlyOnce => self.write(&Packet::PubRec(PubRec { pkid: publish.pkid })),
                }
                Some(Received::Message(publish.payload))
            }
            Packet::PubAck(_) | Packet::PubComp(_) => Some(Received::Acknowledged),
            Packet::PubRec(PubRec { pkid }) => {
                self.write(&Packet::PubRel(PubRel { pkid }));
                None
            }
            Packet::PubRel(PubRel { pkid }) => {
                self.write(&Packet::PubComp(PubComp { pkid }));
                None
            }
            _ => None,
        }
    }

    fn write(&mut self, packet: &Packet) {
        packet.write(&mut self.outbox, MAX_PACKET).expect("topics and payload sizes were checked with the options");
    }
}

/// What came over a connection.
#[derive(Debug)]
pub(super) enum Received {
    Message(Bytes),
    /// PUBACK or PUBCOMP.
    Acknowledged,
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
    fn ask(&mut self, at: &BrokerAddress, packet: &Packet) -> Result<Packet, BrokerError> {
        let unreachable = |source| BrokerError::Unreachable { at: at.clone(), source };
        let not_mqtt = |source| BrokerError::NotMqtt { at: at.clone(), source };
        let mut octets = BytesMut::new();
        packet.write(&mut octets, MAX_PACKET).map_err(not_mqtt)?;
        self.stream.write_all(&octets).map_err(unreachable)?;
        loop {
            if let Some(answer) = next_packet(&mut self.inbox).map_err(not_mqtt)? {
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
            outbox: BytesMut::new(),
            buffer: vec![0; READ_OCTETS].into(),
            next_packet: 0,
        })
    }
}

fn next_packet(inbox: &mut BytesMut) -> Result<Option<Packet>, CodecError> {
    match Packet::read(inbox, MAX_PACKET) {
        Ok(packet) => Ok(Some(packet)),
        Err(CodecError::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn level(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
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
