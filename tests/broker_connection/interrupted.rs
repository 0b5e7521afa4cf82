//! Connections that break while they still repeat what an earlier one has left.

use std::net::Ipv4Addr;
use std::sync::Arc;

use mqttsn_gateway::broker::Protocol;
use mqttsn_gateway::core::PublishOutcome;
use mqttsn_gateway::wire::Qos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::core::{Core, message, settings};
use crate::keeper::MemoryKeeper;

const TOKEN: u64 = 1 << 63 | 7;

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x34;
const PUBREL: u8 = 0x62;

#[tokio::test]
async fn pubrel_goes_out_at_last_though_the_connection_breaks_as_soon_as_it_is_made() {
    for protocol in [Protocol::V5, Protocol::V311] {
        for _ in 0..5 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let url = format!("mqtt://{}", listener.local_addr().unwrap());
            let broker = tokio::spawn(forgetful_of_connections(listener, protocol));
            let mut core = Core::kept(settings(&url, protocol), &Arc::new(MemoryKeeper::new()));
            core.up().await;
            core.publish(TOKEN, message("a", "once", Qos::ExactlyOnce));
            assert_eq!(core.published().await, (TOKEN, PublishOutcome::Accepted), "{protocol:?}");
            broker.abort();
        }
    }
}

/// A broker that keeps its session and loses the connection after the first PUBREL, and again after the next CONNACK.
async fn forgetful_of_connections(listener: TcpListener, protocol: Protocol) {
    let (mut stream, packet) = accept(&listener, protocol, 0).await;
    assert_eq!(packet[0], PUBLISH);
    // Behind the topic "a" is the packet id.
    let id = [packet[5], packet[6]];
    stream.write_all(&[0x50, 2, id[0], id[1]]).await.unwrap();
    assert_eq!(read(&mut stream).await.expect("PUBREL")[0], PUBREL);
    drop(stream);

    drop(connack(&listener, protocol, 1).await);

    let (mut stream, packet) = accept(&listener, protocol, 1).await;
    assert_eq!(packet[..4], [PUBREL, 2, id[0], id[1]]);
    stream.write_all(&[0x70, 2, id[0], id[1]]).await.unwrap();
    while read(&mut stream).await.is_some() {}
}

/// Takes connections until something comes on one, and returns that.
async fn accept(listener: &TcpListener, protocol: Protocol, session_present: u8) -> (TcpStream, Vec<u8>) {
    loop {
        let mut stream = connack(listener, protocol, session_present).await;
        if let Some(packet) = read(&mut stream).await.filter(|packet| packet[0] != 0xE0) {
            return (stream, packet);
        }
    }
}

async fn connack(listener: &TcpListener, protocol: Protocol, session_present: u8) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut stream).await.expect("CONNECT")[0], CONNECT);
    let connack: &[u8] =
        if protocol == Protocol::V5 { &[0x20, 3, session_present, 0, 0] } else { &[0x20, 2, session_present, 0] };
    stream.write_all(connack).await.unwrap();
    stream
}

/// Reads a packet of up to 127 octets behind its length.
async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).await.ok()?;
    packet.resize(2 + usize::from(packet[1]), 0);
    stream.read_exact(&mut packet[2..]).await.ok()?;
    Some(packet)
}
