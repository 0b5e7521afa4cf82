//! Clients' own connections: what the broker hears of each client, and what the core hears of the broker.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use mqttsn_gateway::broker::{Broker, ClientSettings, Connection, Protocol, Submitted};
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerReason, ConnId, ConnectSpec, Delivery, Message, PublishOutcome, SessionNumber,
    Token,
};
use mqttsn_gateway::wire::Qos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::core::{Core, message, settings};
use crate::mosquitto::Mosquitto;
use crate::port::reserved_address;

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];
const PATIENCE: Duration = Duration::from_secs(30);

fn clean(client_id: &str) -> ConnectSpec {
    ConnectSpec { session: SessionNumber(1), client_id: client_id.into(), clean_session: true, will: None }
}

fn persistent(client_id: &str) -> ConnectSpec {
    ConnectSpec { clean_session: false, ..clean(client_id) }
}

fn with_will(client_id: &str) -> ConnectSpec {
    let will = Message { retain: true, ..message("will", "gone", Qos::AtLeastOnce) };
    ConnectSpec { will: Some(will), ..clean(client_id) }
}

/// MQTT 5: no session, success, no properties.
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

/// Plays a broker up to the client's CONNECT.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut packet = [0; 512];
    assert!(stream.read(&mut packet).await.unwrap() > 0, "CONNECT");
    stream
}

/// A broker that knows one user and refuses everyone else.
fn with_password() -> Mosquitto {
    Mosquitto::with(|directory| {
        let file = directory.join("passwords");
        let made = Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args(["user", "right"]).status();
        assert!(made.unwrap().success());
        format!("allow_anonymous false\npassword_file {}", file.display())
    })
}

#[tokio::test]
async fn the_broker_publishes_the_will_of_a_connection_that_breaks_and_of_no_other() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.subscribe(1, "will", Qos::AtLeastOnce).await;
        let mut left = Core::client(settings(&broker.url(), protocol), with_will("left"));
        left.up().await;
        assert_eq!(left.end().await, []);
        let mut broke = Core::client(settings(&broker.url(), protocol), with_will("broke"));
        broke.up().await;
        drop(broke);
        let will = onlooker.message().await;
        assert_eq!((&will.message.payload[..], will.message.qos), (&b"gone"[..], Qos::AtLeastOnce));
        onlooker.ack(will.delivery);
        assert_eq!(onlooker.end().await, [], "{protocol:?}: one will only");
    }
}

#[tokio::test]
async fn a_will_is_taken_back_even_if_the_broker_has_not_answered_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let client = Core::client(settings(&url, Protocol::V5), with_will("hasty"));
    let mut broker = accept(&listener).await;
    let (ended, heard) = tokio::join!(client.end(), async {
        broker.write_all(CONNACK).await.unwrap();
        let mut rest = Vec::new();
        broker.read_to_end(&mut rest).await.unwrap();
        rest
    });
    assert_eq!(heard.first(), Some(&0xE0), "DISCONNECT: {heard:02x?}");
    assert!(matches!(ended[..], [BrokerEvent::Up { .. }]), "{ended:?}");
}

#[tokio::test]
async fn a_persistent_session_is_taken_up_by_the_clients_next_connection() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let name = format!("{protocol:?}");
        let mut former = Core::client(settings(&broker.url(), protocol), persistent(&name));
        assert!(!former.up().await.0);
        former.subscribe(1, "a", Qos::AtLeastOnce).await;
        assert_eq!(former.end().await, []);

        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.publish(1, message("a", "meanwhile", Qos::AtLeastOnce));
        onlooker.published().await;

        let mut latter = Core::client(settings(&broker.url(), protocol), persistent(&name));
        assert!(latter.up().await.0, "{protocol:?}: the session is there");
        let received = latter.message().await;
        assert_eq!(&received.message.payload[..], b"meanwhile");
        latter.ack(received.delivery);
        // It can be used as any other.
        for (token, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
            latter.publish(token, message("b", "", qos));
            assert_eq!(latter.published().await, (token, PublishOutcome::Accepted));
        }
        latter.subscribe(2, "b", Qos::AtLeastOnce).await;
        assert_eq!(latter.end().await, []);

        let mut clean = Core::client(settings(&broker.url(), protocol), clean(&name));
        assert!(!clean.up().await.0, "{protocol:?}: the clean flag ends the session");
        assert_eq!(clean.end().await, []);
        let mut last = Core::client(settings(&broker.url(), protocol), persistent(&name));
        assert!(!last.up().await.0, "{protocol:?}: and leaves none");
    }
}

#[tokio::test]
async fn what_a_client_has_not_acknowledged_its_next_connection_gets_again() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let name = format!("{protocol:?}");
        let mut former = Core::client(settings(&broker.url(), protocol), persistent(&name));
        former.up().await;
        for (id, topic, qos) in [(1, "one", Qos::AtLeastOnce), (2, "two", Qos::ExactlyOnce)] {
            former.subscribe(id, topic, qos).await;
            former.publish(id.into(), message(topic, topic, qos));
            former.published().await;
            former.message().await;
        }
        former.end().await;
        let mut latter = Core::client(settings(&broker.url(), protocol), persistent(&name));
        latter.up().await;
        for topic in ["one", "two"] {
            let received = latter.message().await;
            assert_eq!(received.message.topic.as_str(), topic, "{protocol:?}");
            latter.ack(received.delivery);
        }
        assert_eq!(latter.end().await, []);
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_the_brokers_reason_at_each_attempt() {
    let broker = with_password();
    for protocol in BOTH {
        let mut client = Core::client(settings(&broker.url(), protocol), clean("stranger"));
        for _ in 0..3 {
            let (words, refusal) = client.refused().await;
            assert_eq!(refusal, Some(BrokerReason(0x87)), "{protocol:?}: {words}");
            assert!(words.contains("refused the connection"), "{words}");
        }
        client.end().await;
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_or_is_not_there_is_no_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("mqtt://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut packet = [0; 512];
            let _closed_either_way = stream.read(&mut packet).await;
        }
    });
    let absent = format!("mqtt://{}", reserved_address());
    for url in [silent, absent] {
        for protocol in [Protocol::Auto, Protocol::V5, Protocol::V311] {
            let mut client = Core::client(settings(&url, protocol), clean("early"));
            assert_eq!(client.refused().await.1, None, "{protocol:?}");
            assert_eq!(client.refused().await.1, None, "{protocol:?}: told again");
            client.end().await;
        }
    }
}

#[tokio::test]
async fn being_thrown_out_by_another_connection_is_told_with_the_brokers_reason() {
    // Mosquitto 2.0 closes the former connection without a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let mut client = Core::client(settings(&url, Protocol::V5), clean("twin"));
    let mut broker = accept(&listener).await;
    broker.write_all(CONNACK).await.unwrap();
    client.up().await;
    broker.write_all(&[0xE0, 2, 0x8E, 0]).await.unwrap();
    let (words, refusal) = client.refused().await;
    assert_eq!(refusal, Some(BrokerReason(0x8E)), "{words}");
    assert!(words.contains("another client connected with the client id `twin`"), "{words}");
}

#[tokio::test]
async fn a_broker_that_shuts_down_refuses_nobody() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start();
        let mut client = Core::client(settings(&broker.url(), protocol), clean("client"));
        client.up().await;
        broker.stop();
        assert_eq!(client.refused().await.1, None, "{protocol:?}");
        broker.resume();
        client.up().await;
        client.publish(1, message("a", "", Qos::AtLeastOnce));
        assert_eq!(client.published().await, (1, PublishOutcome::Accepted));
        assert_eq!(client.end().await.iter().filter(|event| !matches!(event, BrokerEvent::Down { .. })).count(), 0);
    }
}

#[tokio::test]
async fn closed_comes_last_and_always() {
    // The broker is not there.
    let absent = format!("mqtt://{}", reserved_address());
    let mut client = Core::client(settings(&absent, Protocol::V5), clean("client"));
    client.down().await;
    client.publish(1, message("a", "", Qos::AtLeastOnce));
    let last = client.end().await;
    assert!(last.contains(&BrokerEvent::Published { token: Token(1), outcome: PublishOutcome::Busy }));

    // The broker takes everything and answers nothing any more.
    let mut broker = Mosquitto::start();
    let mut client = Core::client(settings(&broker.url(), Protocol::V5), clean("client"));
    client.up().await;
    broker.freeze();
    client.publish(1, message("a", "", Qos::AtLeastOnce));
    let asked = Instant::now();
    client.end().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());

    // The core takes its time, and the channel is full.
    broker.kill();
    broker.resume();
    let (sender, mut events) = mpsc::channel(1);
    let gateway = Broker::new(settings(&broker.url(), Protocol::V5), ClientSettings::default()).unwrap();
    let mut client = gateway.connect_client(ConnId(1), clean("client"), None, sender.clone()).unwrap();
    assert!(matches!(events.recv().await.unwrap().1[..], [BrokerEvent::Up { .. }]));
    sender.send((ConnId(2), Vec::new())).await.unwrap();
    assert_eq!(client.submit(BrokerCommand::Disconnect), Submitted::Queued);
    while broker.log().matches("disconnected").count() == 0 {
        tokio::task::yield_now().await;
    }
    events.recv().await.unwrap();
    assert_eq!(events.recv().await.unwrap(), (ConnId(1), vec![BrokerEvent::Closed]));
    client.ended().await;
    assert_eq!(client.submit(BrokerCommand::Disconnect), Submitted::Answered(BrokerEvent::Closed));
    assert_eq!(client.submit(BrokerCommand::Ack { delivery: Delivery(1) }), Submitted::TooLate);
}

#[tokio::test]
async fn only_so_many_connections_are_opening_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let (sender, mut events) = mpsc::channel(16);
    let clients = ClientSettings { connects_at_once: 2, ..ClientSettings::default() };
    let broker = Broker::new(settings(&url, Protocol::V5), clients).unwrap();
    let connect = |number| broker.connect_client(ConnId(number), clean("client"), None, sender.clone()).unwrap();
    let _clients: Vec<Connection> = (1..=5).map(connect).collect();

    let (mut opening, mut up) = (VecDeque::new(), Vec::new());
    while up.len() < 4 {
        while opening.len() < 2 {
            opening.push_back(timeout(PATIENCE, accept(&listener)).await.expect("as many as may be"));
        }
        assert!(listener.accept().now_or_never().is_none(), "one more than may be");
        let mut stream = opening.pop_front().unwrap();
        stream.write_all(CONNACK).await.unwrap();
        up.push(stream);
        let (_, batch) = timeout(PATIENCE, events.recv()).await.expect("it is up").unwrap();
        assert!(matches!(batch[..], [BrokerEvent::Up { .. }]), "{batch:?}");
    }
    // An attempt that fails makes room as well.
    drop(opening.pop_front());
    timeout(PATIENCE, accept(&listener)).await.expect("the next one");
}

/// What 200 clients have heard so far.
struct Crowd {
    clients: BTreeMap<ConnId, Connection>,
    events: mpsc::Receiver<(ConnId, Vec<BrokerEvent>)>,
}

impl Crowd {
    const SIZE: u32 = 200;

    fn start(url: &str) -> Self {
        let (sender, events) = mpsc::channel(16);
        let broker = Broker::new(settings(url, Protocol::Auto), ClientSettings::default()).unwrap();
        let connect = |number| {
            let (conn, spec) = (ConnId(number), persistent(&format!("client-{number}")));
            (conn, broker.connect_client(conn, spec, None, sender.clone()).unwrap())
        };
        Self { clients: (1..=Self::SIZE).map(connect).collect(), events }
    }

    fn submit(&mut self, command: &BrokerCommand) {
        for client in self.clients.values_mut() {
            assert_eq!(client.submit(command.clone()), Submitted::Queued);
        }
    }

    /// Waits until each client has heard what fits.
    async fn all(&mut self, fits: impl Fn(&BrokerEvent) -> bool) {
        let mut missing: Vec<ConnId> = self.clients.keys().copied().collect();
        while !missing.is_empty() {
            let (conn, batch) = timeout(PATIENCE, self.events.recv()).await.expect("all hear it").unwrap();
            if batch.iter().any(&fits) {
                missing.retain(|waiting| *waiting != conn);
            }
        }
    }
}

#[tokio::test]
async fn two_hundred_clients_outlive_a_restart_of_the_broker() {
    let mut broker = Mosquitto::with_persistence("");
    let mut crowd = Crowd::start(&broker.url());
    crowd.all(|event| matches!(event, BrokerEvent::Up { session_present: false, .. })).await;
    broker.stop();
    crowd.all(|event| matches!(event, BrokerEvent::Down { refusal: None, .. })).await;
    let token = Some(Token(1));
    crowd.submit(&BrokerCommand::Publish { token, message: message("a", "", Qos::AtLeastOnce), expires_in: None });
    broker.resume();
    crowd.all(|event| matches!(event, BrokerEvent::Published { outcome: PublishOutcome::Accepted, .. })).await;
    crowd.submit(&BrokerCommand::Disconnect);
    crowd.all(|event| *event == BrokerEvent::Closed).await;
}
