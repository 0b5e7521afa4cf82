//! Brokers that go away in the middle of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use mqttsn_gateway::broker::Protocol;
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerReason, Message, PublishOutcome, SubscribeOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::Qos;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::core::{Core, filter, message, settings};
use crate::mosquitto::Mosquitto;

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];
const MANY: u64 = 3_000;

/// Publishes many retained messages, each to its own topic, interrupts the broker in between, and returns how each was
/// answered.
async fn publish_through(core: &mut Core, qos: Qos, interrupt: &mut dyn FnMut(usize)) -> BTreeMap<u64, PublishOutcome> {
    for token in 0..MANY {
        core.publish(token, Message { retain: true, ..message(&format!("t/{token}"), token.to_string(), qos) });
    }
    let mut answers = BTreeMap::new();
    while answers.len() < MANY.try_into().unwrap() {
        let (token, outcome) = core.published().await;
        assert_eq!(answers.insert(token, outcome), None, "{token} is answered twice");
        interrupt(answers.len());
    }
    answers
}

async fn retained(url: &str) -> BTreeSet<u64> {
    let mut onlooker = Core::onlooker(url).await;
    onlooker.subscribe(1, "t/#", Qos::AtMostOnce).await;
    onlooker.subscribe(2, "end", Qos::AtMostOnce).await;
    onlooker.publish(0, message("end", "", Qos::AtMostOnce));
    let mut found = BTreeSet::new();
    loop {
        let received = onlooker.message().await.message;
        if received.topic.as_str() == "end" {
            return found;
        }
        found.insert(std::str::from_utf8(&received.payload).unwrap().parse().unwrap());
    }
}

#[tokio::test]
async fn two_gateways_with_one_client_id_are_told_of_each_other() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let mut one = Core::start(settings(&broker.url(), protocol));
        one.up().await;
        let _other = Core::start(settings(&broker.url(), protocol));
        while !one.down().await.contains("perhaps another gateway uses client id `gateway` too") {}
    }
}

#[tokio::test]
async fn a_restart_of_the_broker_loses_no_accepted_message() {
    for protocol in BOTH {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut broker = Mosquitto::with_persistence("");
            let mut core = Core::start(settings(&broker.url(), protocol));
            core.up().await;
            let answers = publish_through(&mut core, qos, &mut |answered| {
                if answered == 500 || answered == 1_500 {
                    broker.stop();
                    broker.resume();
                }
            })
            .await;
            assert!(answers.values().all(|outcome| *outcome == PublishOutcome::Accepted), "{protocol:?} {qos:?}");
            assert_eq!(retained(&broker.url()).await, answers.into_keys().collect(), "{protocol:?} {qos:?}");
            for _ in 0..2 {
                core.down().await;
                assert!(core.up().await.0, "{protocol:?} {qos:?}: the session is resumed");
            }
            assert_eq!(core.end().await, []);
        }
    }
}

#[tokio::test]
async fn a_broker_that_forgets_the_session_gets_qos_1_again_and_qos_2_is_called_lost() {
    for protocol in BOTH {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut broker = Mosquitto::start();
            let mut core = Core::start(settings(&broker.url(), protocol));
            core.up().await;
            let answers = publish_through(&mut core, qos, &mut |answered| {
                if answered == 500 {
                    broker.kill();
                    broker.resume();
                }
            })
            .await;
            let with = |outcome| answers.values().filter(|found| **found == outcome).count();
            let (accepted, lost) = (with(PublishOutcome::Accepted), with(PublishOutcome::Lost));
            assert_eq!(accepted + lost, answers.len());
            match qos {
                Qos::ExactlyOnce => assert!((1..=256).contains(&lost), "{protocol:?}: {lost}"),
                Qos::AtMostOnce | Qos::AtLeastOnce => assert_eq!(lost, 0, "{protocol:?}"),
            }
            core.down().await;
            assert!(!core.up().await.0);
            // What was accepted after the broker came back is there.
            let there = retained(&broker.url()).await;
            let last: BTreeSet<u64> = (MANY - 500..MANY).collect();
            assert!(there.is_superset(&last), "{protocol:?} {qos:?}");
            assert_eq!(core.end().await, []);
        }
    }
}

#[tokio::test]
async fn subscribes_and_publishes_given_while_the_broker_is_away_are_carried_out_later() {
    for protocol in BOTH {
        let mut broker = Mosquitto::with_persistence("");
        let mut core = Core::start(settings(&broker.url(), protocol));
        core.up().await;
        broker.stop();
        core.down().await;
        core.publish(1, message("a", "one", Qos::AtLeastOnce));
        core.publish(2, message("a", "two", Qos::AtMostOnce));
        broker.resume();
        core.up().await;
        assert_eq!(core.published().await.1, PublishOutcome::Accepted);
        assert_eq!(core.published().await.1, PublishOutcome::Accepted);
        assert_eq!(core.end().await, []);
    }
}

/// Stands before a broker and ends the connection when the word comes by. Returns its address.
pub(crate) async fn touchy_broker(broker: SocketAddr, word: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = TcpStream::connect(broker).await.unwrap().into_split();
                let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 65_536];
                while let Ok(octets) = from_client.read(&mut buffer).await {
                    let heard = &buffer[..octets];
                    if octets == 0 || heard.windows(word.len()).any(|part| part == word) {
                        break;
                    }
                    to_server.write_all(heard).await.unwrap();
                }
                answers.abort();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_message_that_the_broker_answers_by_hanging_up_does_not_block_the_others() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let url = format!("mqtt://{}", touchy_broker(broker.addr(), b"forbidden").await);
        let mut core = Core::start(settings(&url, protocol));
        core.up().await;
        for token in 0..20 {
            let topic = if token == 10 { "forbidden" } else { "allowed" };
            core.publish(token, message(topic, "", Qos::AtLeastOnce));
        }
        let mut answers = BTreeMap::new();
        while answers.len() < 20 {
            let (token, outcome) = core.published().await;
            assert_eq!(answers.insert(token, outcome), None, "{token} is answered twice");
        }
        for (token, outcome) in answers {
            let refused = matches!(outcome, PublishOutcome::Refused(_));
            assert_eq!(refused, token == 10, "{protocol:?}: {token} {outcome:?}");
            assert!(refused || outcome == PublishOutcome::Accepted, "{protocol:?}: {token} {outcome:?}");
        }
        core.publish(20, message("allowed", "", Qos::ExactlyOnce));
        assert_eq!(core.published().await, (20, PublishOutcome::Accepted));
    }
}

/// What a broker says to a filter by hanging up.
const GIVEN_UP: SubscribeOutcome = SubscribeOutcome::Refused(BrokerReason(0x80));

impl Core {
    /// Subscribes to all filters at once, and returns the answers in the filters' order.
    async fn subscribe_to_all(&mut self, filters: &[&str]) -> Vec<SubscribeOutcome> {
        for (number, text) in (1..).zip(filters) {
            let (token, id) = (Token(u64::from(number)), SubscriptionId(number));
            self.submit(BrokerCommand::Subscribe { token, filter: filter(text), qos: Qos::AtLeastOnce, id });
        }
        let mut answers = BTreeMap::new();
        while answers.len() < filters.len() {
            let (token, outcome) = self
                .next_that(|event| match event {
                    BrokerEvent::Subscribed { token, outcome } => Some((*token, *outcome)),
                    _ => None,
                })
                .await;
            assert_eq!(answers.insert(token, outcome), None, "{token:?} is answered twice");
        }
        answers.into_values().collect()
    }
}

#[tokio::test]
async fn a_filter_that_the_broker_answers_by_hanging_up_does_not_block_the_others() {
    const GRANTED: SubscribeOutcome = SubscribeOutcome::Granted(Qos::AtLeastOnce);
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let url = format!("mqtt://{}", touchy_broker(broker.addr(), b"forbidden").await);
        let mut core = Core::start(settings(&url, protocol));
        core.up().await;
        core.publish(1, message("a", "", Qos::AtLeastOnce));
        let answers = core.subscribe_to_all(&["a", "b/#", "forbidden/#", "c"]).await;
        assert_eq!(answers, [GRANTED, GRANTED, GIVEN_UP, GRANTED], "{protocol:?}");
        assert_eq!(core.published().await, (1, PublishOutcome::Accepted));
        core.publish(2, message("c", "after", Qos::AtLeastOnce));
        loop {
            let received = core.message().await;
            core.ack(received.delivery);
            if received.message.topic.as_str() == "c" {
                break;
            }
        }
        // As the core does in a new session. Nothing breaks this time.
        assert_eq!(core.subscribe_to_all(&["forbidden/#", "a"]).await, [GIVEN_UP, GRANTED], "{protocol:?}");
    }
}

#[tokio::test]
async fn an_unsubscribe_that_the_broker_answers_by_hanging_up_is_dropped() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let url = format!("mqtt://{}", touchy_broker(broker.addr(), b"forbidden").await);
        let mut core = Core::start(settings(&url, protocol));
        core.up().await;
        core.submit(BrokerCommand::Unsubscribe { filter: filter("forbidden") });
        core.publish(1, message("a", "", Qos::AtLeastOnce));
        assert_eq!(core.published().await, (1, PublishOutcome::Accepted), "{protocol:?}");
    }
}
