//! Over the loopback interface, with frames that never leave the machine.

use socket2::{InterfaceIndexOrAddress, SockRef};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;
use crate::core::Peer;
use crate::links::udp::link_address;
use crate::links::{LinkConfig, Links, UdpSettings};
use crate::wire::framing::Direction;

const LINK: LinkId = LinkId(0);
const SEARCHGW: [u8; 3] = [3, 1, 1];
const GWINFO: [u8; 3] = [3, 2, 1];
const GROUP: Ipv4Addr = Ipv4Addr::new(225, 1, 1, 1);
const LOOPBACK: &str = "127.0.0.1";

/// A link that has joined a group on the loopback interface, and whoever else is on that network.
struct Network {
    links: Links,
    inbox: mpsc::Receiver<LinkEvent>,
    group: SocketAddr,
}

impl Network {
    async fn new(listen: &str, port: GroupPort) -> Self {
        let listen = free_port(listen);
        let group = match port {
            GroupPort::OfTheLink => SocketAddr::from((GROUP, listen.port())),
            GroupPort::Another => SocketAddr::from((GROUP, free_port("127.0.0.1:0").port())),
        };
        Self::joined(listen, group, LOOPBACK).await
    }

    async fn joined(listen: SocketAddr, group: SocketAddr, interface: &str) -> Self {
        let (links, mut inbox) = open(listen, group, &[interface]);
        let membership = Membership { group, interface: Some(interface.to_owned()) };
        loop {
            match next(&mut inbox).await {
                LinkEvent::Up { .. } => {}
                LinkEvent::Joined { link: LINK, membership: joined } => {
                    assert_eq!(joined, membership);
                    return Self { links, inbox, group };
                }
                event => panic!("{event:?}"),
            }
        }
    }

    fn link_address(&self) -> SocketAddr {
        let port = self.links.local_addr(LINK).unwrap().port();
        (LOOPBACK.parse::<Ipv4Addr>().unwrap(), port).into()
    }

    /// Takes the next frame of the link.
    async fn frame(&mut self) -> (Peer, Cast, Vec<u8>) {
        loop {
            if let LinkEvent::Frames(batch) = next(&mut self.inbox).await {
                let frames: Vec<_> = batch.iter().collect();
                let [frame] = frames[..] else { panic!("{frames:?}") };
                return (frame.from, frame.cast, frame.bytes.to_vec());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum GroupPort {
    OfTheLink,
    Another,
}

fn open(listen: SocketAddr, group: SocketAddr, interfaces: &[&str]) -> (Links, mpsc::Receiver<LinkEvent>) {
    let (events, inbox) = mpsc::channel(16);
    let interfaces = interfaces.iter().map(|&interface| interface.to_owned()).collect();
    let multicast = Multicast { groups: vec![group], interfaces, ttl: 1 };
    let config = LinkConfig::Udp(UdpSettings { multicast, ..UdpSettings::new(listen) });
    (Links::open(&[(LINK, config)], Direction::Uplink, &events).unwrap(), inbox)
}

/// A group's port cannot be left to the system, so one is taken that the system has just had free.
fn free_port(address: &str) -> SocketAddr {
    StdUdpSocket::bind(address).unwrap().local_addr().unwrap()
}

async fn next(inbox: &mut mpsc::Receiver<LinkEvent>) -> LinkEvent {
    timeout(Duration::from_secs(10), inbox.recv()).await.expect("an event within 10 s").expect("a live link")
}

/// A client that sends to groups by the loopback interface.
async fn client() -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&client).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    client
}

/// A client that has joined the group.
fn listener(group: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&group.into()).unwrap();
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Address(Ipv4Addr::LOCALHOST)).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = [0; 64];
    let (length, from) = timeout(Duration::from_secs(10), socket.recv_from(&mut octets)).await.unwrap().unwrap();
    (octets[..length].to_vec(), from)
}

async fn frames_are_told_apart_by_whom_they_were_sent_to(listen: &str, port: GroupPort) {
    let mut network = Network::new(listen, port).await;
    let client = client().await;
    let from = Peer { link: LINK, address: link_address(client.local_addr().unwrap()) };
    for _ in 0..2 {
        client.send_to(&SEARCHGW, network.group).await.unwrap();
        assert_eq!(network.frame().await, (from, Cast::Group, SEARCHGW.to_vec()));
        client.send_to(&GWINFO, network.link_address()).await.unwrap();
        assert_eq!(network.frame().await, (from, Cast::Unicast, GWINFO.to_vec()));
    }
}

#[tokio::test]
async fn a_group_with_a_port_of_its_own_is_heard_apart_from_the_link() {
    frames_are_told_apart_by_whom_they_were_sent_to("0.0.0.0:0", GroupPort::Another).await;
}

#[tokio::test]
async fn a_group_with_the_links_port_is_heard_apart_from_the_link() {
    frames_are_told_apart_by_whom_they_were_sent_to("0.0.0.0:0", GroupPort::OfTheLink).await;
    frames_are_told_apart_by_whom_they_were_sent_to("127.0.0.1:0", GroupPort::OfTheLink).await;
}

#[tokio::test]
async fn an_ipv4_group_is_heard_beside_a_dual_stack_link() {
    if StdUdpSocket::bind("[::]:0").is_ok() {
        frames_are_told_apart_by_whom_they_were_sent_to("[::]:0", GroupPort::OfTheLink).await;
    }
}

#[tokio::test]
async fn a_broadcast_reaches_who_has_joined_and_comes_from_the_links_own_address() {
    for listen in ["0.0.0.0:0", "127.0.0.1:0", "[::]:0"] {
        if StdUdpSocket::bind(listen).is_err() {
            continue;
        }
        let mut network = Network::new(listen, GroupPort::Another).await;
        let client = listener(network.group);
        for radius in [0, 1, 255] {
            network.links.broadcast(LINK, radius, &GWINFO).unwrap();
            assert_eq!(received(&client).await, (GWINFO.to_vec(), network.link_address()));
            // It comes back to the gateway, which knows its own id.
            let (from, cast, _) = network.frame().await;
            assert_eq!((from.address, cast), (link_address(network.link_address()), Cast::Group));
        }
    }
}

#[tokio::test]
async fn the_radius_is_the_hop_limit_up_to_the_configured_one() {
    let (events, _inbox) = mpsc::channel(16);
    let group = SocketAddr::from((GROUP, free_port("127.0.0.1:0").port()));
    let multicast = Multicast { groups: vec![group], interfaces: vec![LOOPBACK.to_owned()], ttl: 5 };
    let settings = UdpSettings { multicast, ..UdpSettings::new("127.0.0.1:0".parse().unwrap()) };
    let mut tasks = Tasks::default();
    let mut link = super::super::UdpLink::open(LINK, &settings, events, &mut tasks).unwrap();
    for (radius, hops) in [(0, 5), (1, 1), (4, 4), (200, 5)] {
        link.broadcast(radius, &GWINFO).unwrap();
        assert_eq!(SockRef::from(&link.socket).multicast_ttl_v4().unwrap(), hops);
    }
}

#[tokio::test]
async fn an_ipv6_group_is_heard_and_reached() {
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xFF1E, 0xFEED, 0xCACA, 0xDEAD, 0, 0, 0, 1);
    let loopback = Interface::find(LOOPBACK).unwrap();
    let Ok(client) = UdpSocket::bind("[::1]:0").await else { return eprintln!("not tested: there is no IPv6 here") };
    SockRef::from(&client).set_multicast_if_v6(loopback.index).unwrap();
    let listen = free_port("[::]:0");
    let group = SocketAddr::from((GROUP, listen.port()));
    if client.send_to(&SEARCHGW, group).await.is_err() {
        return eprintln!("not tested: there is no route for IPv6 multicast on the loopback interface");
    }
    let mut network = Network::joined(listen, group, &loopback.name).await;
    client.send_to(&SEARCHGW, group).await.unwrap();
    let (from, cast, frame) = network.frame().await;
    assert_eq!((from.address, cast), (link_address(client.local_addr().unwrap()), Cast::Group));
    assert_eq!(frame, SEARCHGW);
    network.links.broadcast(LINK, 0, &GWINFO).unwrap();
    assert_eq!(network.frame().await.2, GWINFO);
}

#[tokio::test]
async fn a_link_without_groups_broadcasts_to_nobody() {
    let (events, _inbox) = mpsc::channel(16);
    let config = LinkConfig::Udp(UdpSettings::new("127.0.0.1:0".parse().unwrap()));
    let mut links = Links::open(&[(LINK, config)], Direction::Uplink, &events).unwrap();
    assert_eq!(links.broadcast(LINK, 0, &GWINFO), Ok(()));
}

#[tokio::test]
async fn an_interface_that_is_missing_is_named_and_stops_nothing_else() {
    let listen = free_port("127.0.0.1:0");
    let group = SocketAddr::from((GROUP, listen.port()));
    let (mut links, mut inbox) = open(listen, group, &["eth77", LOOPBACK]);
    let mut reason = None;
    let mut joined = None;
    while reason.is_none() || joined.is_none() {
        match next(&mut inbox).await {
            LinkEvent::NotJoined { reason: why, membership, .. } => reason = Some(format!("{membership}: {why}")),
            LinkEvent::Joined { membership, .. } => joined = Some(membership.to_string()),
            _ => {}
        }
    }
    let reason = reason.unwrap();
    assert!(reason.contains("on eth77: this machine has no interface eth77; it has "), "{reason}");
    assert_eq!(joined.unwrap(), format!("{group} on 127.0.0.1"));
    let client = listener(group);
    links.broadcast(LINK, 0, &GWINFO).unwrap();
    assert_eq!(received(&client).await.0, GWINFO);
}

#[tokio::test]
async fn a_port_shared_with_a_group_still_belongs_to_one_gateway() {
    let network = Network::new("127.0.0.1:0", GroupPort::OfTheLink).await;
    let again = UdpSettings::new(network.link_address());
    assert!(matches!(super::super::try_open(&again), Err(super::super::OpenError::InUse { .. })));
}

#[test]
fn groups_can_be_tried_without_opening_the_link() {
    let listen = free_port("127.0.0.1:0");
    let groups = vec![SocketAddr::from((GROUP, listen.port()))];
    let multicast = Multicast { groups, interfaces: vec![LOOPBACK.to_owned(), "eth77".to_owned()], ttl: 1 };
    let tried = super::super::try_open(&UdpSettings { multicast, ..UdpSettings::new(listen) }).unwrap();
    let [loopback, missing] = &tried[..] else { panic!("{tried:?}") };
    assert!(loopback.outcome.is_ok());
    assert!(matches!(missing.outcome, Err(JoinError::NoInterface { .. })));
}

#[tokio::test]
async fn a_group_whose_port_another_program_keeps_to_itself_is_named() {
    let other = StdUdpSocket::bind("0.0.0.0:0").unwrap();
    let group = SocketAddr::from((GROUP, other.local_addr().unwrap().port()));
    let (_links, mut inbox) = open(free_port("127.0.0.1:0"), group, &[LOOPBACK]);
    loop {
        match next(&mut inbox).await {
            LinkEvent::NotJoined { reason: JoinError::InUse(port), .. } => return assert_eq!(port, group.port()),
            LinkEvent::Up { .. } => {}
            event => panic!("{event:?}"),
        }
    }
}
