//! Devices that look for a gateway, over multicast that stays on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use socket2::{Domain, SockRef, Socket, Type};

use crate::support::process::PATIENCE;
use crate::support::{Gateway, Mosquitto, Node};

const GROUP: Ipv4Addr = Ipv4Addr::new(225, 1, 1, 1);
const SEARCHGW: [u8; 3] = [0x03, 0x01, 0x01];
const GWINFO: [u8; 3] = [0x03, 0x02, 0x07];
const ADVERTISE: [u8; 5] = [0x05, 0x00, 0x07, 0x00, 0x01];

#[test]
fn a_device_that_asks_the_group_is_answered_and_so_is_the_group() {
    let broker = Mosquitto::start();
    let group = free_group();
    let bystander = member_of(group);
    let gateway = discoverable(&broker, group, "");
    let device = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    SockRef::from(&device).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();

    device.send_to(&SEARCHGW, group).unwrap();

    assert_eq!(received(&device), (GWINFO.to_vec(), gateway.udp()));
    assert_eq!(received(&bystander).0, SEARCHGW);
    assert_eq!(received(&bystander), (GWINFO.to_vec(), gateway.udp()));
}

#[test]
fn the_group_is_told_again_and_again_that_the_gateway_is_there() {
    let broker = Mosquitto::start();
    let group = free_group();
    let bystander = member_of(group);
    let gateway = discoverable(&broker, group, "advertise = \"1s\"\n");

    for _ in 0..2 {
        assert_eq!(received(&bystander), (ADVERTISE.to_vec(), gateway.udp()));
    }
}

#[test]
fn a_device_that_asks_the_gateway_itself_is_answered_without_any_group() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut device = Node::udp(gateway.udp());
    device.send("03 01 00");
    let [] = device.expect("03 02 01");
}

fn discoverable(broker: &Mosquitto, group: SocketAddr, more: &str) -> Gateway {
    let config = format!(
        "[gateway]\nid = 7\n[broker]\nurl = \"{}\"\n[[udp]]\nlisten = \"127.0.0.1:0\"\n\
         multicast = [\"{group}\"]\nmulticast_interfaces = [\"127.0.0.1\"]\n{more}",
        broker.url()
    );
    let gateway = Gateway::start_as_configured(&config);
    gateway.wait_for("listens to the multicast group");
    gateway.wait_for_broker();
    gateway
}

/// A group on a port that nobody uses.
fn free_group() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    (GROUP, socket.local_addr().expect("it is bound").port()).into()
}

fn member_of(group: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&group.into()).unwrap();
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
    socket.into()
}

fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    socket.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
    let mut datagram = [0; 64];
    let (octets, from) = socket.recv_from(&mut datagram).expect("a datagram in time");
    (datagram[..octets].to_vec(), from)
}
