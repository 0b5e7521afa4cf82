//! Stands between a connection and its broker, and can hold packets back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes on all that goes between its clients and the broker.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

/// A packet's way and its type (MQTT 5 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    ToBroker(u8),
    FromBroker(u8),
}

pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const PUBCOMP: u8 = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Passing,
    /// The next such packet, and whatever comes after it on its way, stays here for ever.
    Watching(Packet),
    /// Such a packet has come.
    Holding,
}

impl Proxy {
    pub(crate) async fn start(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::Passing));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, broker, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Holds back the next packet of this kind.
    pub(crate) fn hold(&self, packet: Packet) {
        self.state.send_replace(State::Watching(packet));
    }

    /// Waits until the packet has come.
    pub(crate) async fn holds(&self) {
        self.state.subscribe().wait_for(|state| *state == State::Holding).await.unwrap();
        self.state.send_replace(State::Passing);
    }
}

/// Ends, and with it both connections, when one side has closed.
async fn pass(client: TcpStream, broker: SocketAddr, state: Arc<watch::Sender<State>>) {
    let Ok(broker) = TcpStream::connect(broker).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        () = one_way(from_client, to_broker, Packet::ToBroker, &state) => {}
        () = one_way(from_broker, to_client, Packet::FromBroker, &state) => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    packet: impl Fn(u8) -> Packet,
    state: &watch::Sender<State>,
) {
    let mut octets = Vec::new();
    let mut is_held = false;
    while from.read_buf(&mut octets).await.is_ok_and(|read| read > 0) {
        while let Some(length) = packet_length(&octets) {
            let rest = octets.split_off(length);
            let whole = std::mem::replace(&mut octets, rest);
            is_held |= state.send_if_modified(|state| {
                let is_it = *state == State::Watching(packet(whole[0] >> 4));
                if is_it {
                    *state = State::Holding;
                }
                is_it
            });
            if !is_held && to.write_all(&whole).await.is_err() {
                return;
            }
        }
    }
}

/// The octets of the first packet, if it is whole.
fn packet_length(octets: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (place, octet) in octets.iter().skip(1).take(4).enumerate() {
        length |= usize::from(octet & 0x7F) << (7 * place);
        if octet & 0x80 == 0 {
            let whole = 2 + place + length;
            return (octets.len() >= whole).then_some(whole);
        }
    }
    None
}
