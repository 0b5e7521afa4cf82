//! Brokers that go away in the middle of it.

use std::collections::{BTreeMap, BTreeSet};

use mqttsn_gateway::broker::Protocol;
use mqttsn_gateway::core::{Message, PublishOutcome};
use mqttsn_gateway::wire::Qos;

use crate::core::{Core, message, settings};
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
