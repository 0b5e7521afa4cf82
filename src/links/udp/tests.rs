use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;
use crate::core::Peer;
use crate::links::{LinkConfig, Links};
use crate::wire::framing::Direction;

const LINK: LinkId = LinkId(1);
/// By default.
const BATCH: usize = 64;

fn open(listen: &str) -> Result<(Links, mpsc::Receiver<LinkEvent>), OpenError> {
    let (events, inbox) = mpsc::channel(4);
    let config = LinkConfig::Udp(UdpSettings::new(listen.parse().unwrap()));
    Ok((Links::open(&[(LINK, config)], Direction::Uplink, &events)?, inbox))
}

async fn next(inbox: &mut mpsc::Receiver<LinkEvent>) -> LinkEvent {
    timeout(Duration::from_secs(10), inbox.recv()).await.expect("an event within 10 s").expect("a live link")
}

/// Takes frames until there are `count`.
async fn frames(inbox: &mut mpsc::Receiver<LinkEvent>, count: usize) -> Vec<(Peer, Vec<u8>)> {
    let mut frames = Vec::new();
    while frames.len() < count {
        match next(inbox).await {
            LinkEvent::Frames(batch) => {
                assert!((1..=BATCH).contains(&batch.len()));
                assert!(batch.iter().all(|frame| frame.cast == Cast::Unicast));
                frames.extend(batch.iter().map(|frame| (frame.from, frame.bytes.to_vec())));
            }
            LinkEvent::Up { link, .. } => assert_eq!(link, LINK),
            event @ (LinkEvent::Down { .. }
            | LinkEvent::Joined { .. }
            | LinkEvent::NotJoined { .. }
            | LinkEvent::Text { .. }
            | LinkEvent::Overflowed { .. }
            | LinkEvent::Undelivered { .. }
            | LinkEvent::Noise { .. }) => panic!("{event:?}"),
        }
    }
    frames
}

/// Sends a frame from `client_ip` to the link, and the answer back.
async fn there_and_back(listen: &str, client_ip: &str) -> String {
    let (mut links, mut inbox) = open(listen).unwrap();
    let client = UdpSocket::bind((client_ip, 0)).await.unwrap();
    client.send_to(&[2, 0x16], (client_ip, links.local_addr(LINK).unwrap().port())).await.unwrap();

    let [(peer, frame)] = &frames(&mut inbox, 1).await[..] else { panic!() };
    assert_eq!(frame, &[2, 0x16]);
    assert_eq!(links.describe_peer(*peer), format!("UDP {}", client.local_addr().unwrap()));

    links.send(*peer, &[2, 0x17]).unwrap();
    assert_eq!(links.flush(), []);
    let mut answer = [0; 8];
    let (length, _) = timeout(Duration::from_secs(10), client.recv_from(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[..length], [2, 0x17]);
    links.describe(LINK)
}

#[tokio::test]
async fn an_ipv4_client_reaches_a_dual_stack_link_and_is_shown_as_ipv4() {
    let link = there_and_back("[::]:0", "127.0.0.1").await;
    assert!(link.starts_with("UDP [::]:") || link.ends_with("(this machine has no IPv6)"), "{link}");
}

#[tokio::test]
async fn an_ipv4_client_reaches_an_ipv4_link() {
    assert!(there_and_back("127.0.0.1:0", "127.0.0.1").await.starts_with("UDP 127.0.0.1:"));
}

#[tokio::test]
async fn an_ipv6_client_reaches_a_dual_stack_link() {
    if StdUdpSocket::bind("[::1]:0").is_ok() {
        there_and_back("[::]:0", "::1").await;
        there_and_back("[::1]:0", "::1").await;
    }
}

#[tokio::test]
async fn many_datagrams_arrive_whole_and_in_order() {
    let (links, mut inbox) = open("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(links.local_addr(LINK).unwrap()).await.unwrap();
    for number in 0..300_u16 {
        client.send(&number.to_be_bytes()).await.unwrap();
    }
    let received = frames(&mut inbox, 300).await;
    for (number, (_, frame)) in (0..300_u16).zip(received) {
        assert_eq!(frame, number.to_be_bytes());
    }
}

#[tokio::test]
async fn the_longest_datagram_arrives_whole() {
    let (links, mut inbox) = open("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let longest = vec![7; 65_507];
    for _ in 0..3 {
        client.send_to(&longest, links.local_addr(LINK).unwrap()).await.unwrap();
    }
    assert!(frames(&mut inbox, 3).await.iter().all(|(_, frame)| *frame == longest));
}

#[tokio::test]
async fn a_peer_that_is_gone_does_not_disturb_the_others() {
    let (mut links, mut inbox) = open("127.0.0.1:0").unwrap();
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for _ in 0..3 {
        links.send(Peer { link: LINK, address: link_address(gone) }, &[2, 0x17]).unwrap();
        links.flush();
    }
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(&[2, 0x16], links.local_addr(LINK).unwrap()).await.unwrap();
    frames(&mut inbox, 1).await;
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused() {
    let (mut links, _inbox) = open("127.0.0.1:0").unwrap();
    for address in [LinkAddress::NONE, link_address("[::1]:1883".parse().unwrap())] {
        assert_eq!(links.send(Peer { link: LINK, address }, &[2, 0x17]), Err(SendError::WrongAddress));
    }
    let elsewhere = Peer { link: LinkId(9), address: LinkAddress::NONE };
    assert_eq!(links.send(elsewhere, &[2, 0x17]), Err(SendError::NoSuchLink(LinkId(9))));
}

/// Returns the frames that a client gets, in their order.
async fn heard(client: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let mut octets = vec![0; 65_536];
    while heard.len() < count {
        let received = timeout(Duration::from_secs(10), client.recv_from(&mut octets)).await;
        let (length, _) = received.expect("a datagram within 10 s").unwrap();
        heard.push(octets[..length].to_vec());
    }
    heard
}

#[tokio::test]
async fn queued_frames_leave_in_order_whether_flushed_or_because_there_are_many() {
    let (mut links, _inbox) = open("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = Peer { link: LINK, address: link_address(client.local_addr().unwrap()) };
    let numbers = 0..BATCH as u16 + 3;
    for number in numbers.clone() {
        links.send(to, &number.to_be_bytes()).unwrap();
    }
    let sent: Vec<_> = numbers.map(|number| number.to_be_bytes().to_vec()).collect();
    assert_eq!(heard(&client, BATCH).await, sent[..BATCH]);
    assert_eq!(links.flush(), []);
    assert_eq!(heard(&client, 3).await, sent[BATCH..]);
}

#[tokio::test]
async fn a_frame_that_the_system_refuses_is_told_and_the_others_leave() {
    let (mut links, _inbox) = open("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = Peer { link: LINK, address: link_address(client.local_addr().unwrap()) };
    // One octet more than UDP can carry over IPv4.
    let too_long = vec![0; 65_508];
    for (frame, same_again) in [(&b"one"[..], 1), (&too_long, 2), (b"two", 1), (&too_long, 1), (b"three", 1)] {
        (0..same_again).for_each(|_| links.send(to, frame).unwrap());
    }
    let [Unsent { error: SendError::Refused(_), to: last, frames: 3 }] = links.flush()[..] else { panic!() };
    assert_eq!(last, to);
    assert_eq!(links.flush(), []);
    assert_eq!(heard(&client, 3).await, [&b"one"[..], b"two", b"three"]);
}

#[tokio::test]
async fn datagrams_that_the_kernel_dropped_are_counted() {
    let receive_buffer = 4096;
    let (events, mut inbox) = mpsc::channel(4);
    let settings = UdpSettings { receive_buffer, ..UdpSettings::new("127.0.0.1:0".parse().unwrap()) };
    let links = Links::open(&[(LINK, LinkConfig::Udp(settings))], Direction::Uplink, &events).unwrap();
    assert!(links.udp_buffers(LINK).is_some_and(|buffers| buffers.receive.asked == receive_buffer));
    let client = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(links.local_addr(LINK).unwrap()).unwrap();
    // The link's task does not run meanwhile: the test's runtime has one thread.
    const SENT: u64 = 100;
    (0..SENT).for_each(|_| assert_eq!(client.send(&[2, 0x16]).unwrap(), 2));

    let (mut arrived, mut dropped) = (0, 0);
    while dropped == 0 {
        let event = next(&mut inbox).await;
        if let LinkEvent::Frames(batch) = event {
            arrived += batch.len() as u64;
            // The kernel tells the number with a datagram that came after the drops.
            client.send(&[2, 0x16]).unwrap();
        } else if let LinkEvent::Overflowed { link: LINK, datagrams } = event {
            dropped = datagrams;
        }
    }
    assert!(arrived > 0 && arrived < SENT, "{arrived}");
    assert!(arrived + dropped >= SENT, "{arrived} arrived, {dropped} dropped");
}

mod one_datagram_in_one_call {
    use super::*;
    use crate::links::udp::outbox::Waiting;
    use crate::links::udp::receive::Datagram;
    use crate::links::udp::single::{Inbox, send_all, wait_for};

    #[tokio::test]
    async fn datagrams_leave_and_arrive_whole_and_in_order() {
        let receiver = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_nonblocking(true).unwrap();
        let receiver = wait_for(receiver).unwrap();
        let sender = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let octets = b"onethree";
        let waiting = [0..3, 3..3, 3..8].map(|range| Waiting { to, range });
        send_all(&sender, &waiting, octets, |waiting, error| panic!("{waiting:?}: {error}"));

        let mut inbox = Inbox::new(&receiver, 64);
        for expected in [&b"one"[..], b"", b"three"] {
            while inbox.is_empty() {
                receiver.readable().await.unwrap();
                let _ = inbox.fill(&receiver);
            }
            let Some(Datagram { from, head, tail: [] }) = inbox.next() else { panic!() };
            assert_eq!((from, head), (sender.local_addr().unwrap(), expected));
        }
        assert_eq!(inbox.dropped(), 0);
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_a_remedy() {
    let (links, _inbox) = open("127.0.0.1:0").unwrap();
    let taken = links.local_addr(LINK).unwrap();
    let error = open(&taken.to_string()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::InUse { listen } if listen == taken), "{error:?}");
    assert!(error.to_string().contains(&format!("sport = :{}", taken.port())), "{error}");
    assert!(matches!(try_open(&UdpSettings::new(taken)), Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_a_remedy() {
    let error = open("192.0.2.1:1883").map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NoSuchAddress { .. }), "{error:?}");
    assert!(error.to_string().contains("[::]:1883"), "{error}");
}

#[tokio::test]
async fn a_dropped_link_frees_its_port() {
    let (links, mut inbox) = open("127.0.0.1:0").unwrap();
    let address = links.local_addr(LINK).unwrap();
    drop(links);
    // The channel closes when the task is gone, and the socket with it.
    while timeout(Duration::from_secs(10), inbox.recv()).await.unwrap().is_some() {}
    try_open(&UdpSettings::new(address)).unwrap();
}
