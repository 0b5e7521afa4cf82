//! What the core publishes and subscribes while the broker is there.

use std::collections::BTreeSet;

use mqttsn_gateway::broker::{Protocol, Submitted};
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerReason, Message, PublishOutcome, SubscribeOutcome, SubscriptionId, Token,
};
use mqttsn_gateway::wire::Qos;

use crate::core::{Core, filter, message, settings};
use crate::mosquitto::Mosquitto;
use crate::port::reserved_address;

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];
const LEVELS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

#[tokio::test]
async fn a_publish_is_answered_at_every_qos_and_arrives() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.subscribe(1, "a/#", Qos::ExactlyOnce).await;
        let mut core = Core::start(settings(&broker.url(), protocol));
        assert!(!core.up().await.0, "a first session cannot be resumed");
        for (token, qos) in (0..).zip(LEVELS) {
            core.publish(token, message("a/b", format!("{qos:?}"), qos));
            assert_eq!(core.published().await, (token, PublishOutcome::Accepted), "{protocol:?} {qos:?}");
            let received = onlooker.message().await;
            assert_eq!(received.message, message("a/b", format!("{qos:?}"), qos), "{protocol:?}");
            if qos != Qos::AtMostOnce {
                onlooker.ack(received.delivery);
            }
        }
        assert_eq!(core.end().await, []);
    }
}

#[tokio::test]
async fn many_publishes_are_answered_once_each_and_arrive_in_order() {
    const MANY: u64 = 2_000;
    let broker = Mosquitto::with(|_| "allow_anonymous true\nmax_queued_messages 0".to_owned());
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.subscribe(1, "a", Qos::AtLeastOnce).await;
        let mut core = Core::start(settings(&broker.url(), protocol));
        core.up().await;
        for token in 0..MANY {
            core.publish(token, message("a", token.to_string(), LEVELS[usize::try_from(token % 2 + 1).unwrap()]));
        }
        let mut answered = BTreeSet::new();
        for _ in 0..MANY {
            let (token, outcome) = core.published().await;
            assert_eq!(outcome, PublishOutcome::Accepted, "{protocol:?}: {}", broker.log());
            assert!(answered.insert(token), "{token} is answered twice");
        }
        // Of one QoS; a QoS 2 message is passed on later than a QoS 1 message sent after it.
        let mut last = [None, None];
        for _ in 0..MANY {
            let received = onlooker.message().await;
            onlooker.ack(received.delivery);
            let number: u64 = std::str::from_utf8(&received.message.payload).unwrap().parse().unwrap();
            let last = &mut last[usize::try_from(number % 2).unwrap()];
            assert!(*last < Some(number));
            *last = Some(number);
        }
        assert_eq!(core.end().await, []);
    }
}

#[tokio::test]
async fn messages_carry_the_ids_of_the_subscriptions_that_brought_them() {
    let broker = Mosquitto::start();
    let mut core = Core::start(settings(&broker.url(), Protocol::V5));
    let (_, offer) = core.up().await;
    assert!(offer.subscription_ids);
    assert_eq!(core.subscribe(1, "a/+", Qos::AtMostOnce).await, SubscribeOutcome::Granted(Qos::AtMostOnce));
    assert_eq!(
        core.subscribe(SubscriptionId::MAX.0, "a/b", Qos::AtLeastOnce).await,
        SubscribeOutcome::Granted(Qos::AtLeastOnce)
    );
    core.publish(1, message("a/c", "", Qos::AtMostOnce));
    assert_eq!(core.message().await.subscriptions, [SubscriptionId(1)]);
    // The broker may send one message with both ids or one with each.
    core.publish(2, message("a/b", "", Qos::AtLeastOnce));
    let mut ids = BTreeSet::new();
    while ids.len() < 2 {
        ids.extend(core.message().await.subscriptions.into_iter().map(|id| id.0));
    }
    assert_eq!(ids, BTreeSet::from([1, SubscriptionId::MAX.0]));
}

#[tokio::test]
async fn subscriptions_end_and_3_1_1_has_no_ids() {
    let broker = Mosquitto::start();
    let mut core = Core::start(settings(&broker.url(), Protocol::V311));
    let (_, offer) = core.up().await;
    assert!(!offer.subscription_ids);
    core.subscribe(1, "a", Qos::ExactlyOnce).await;
    core.subscribe(2, "b", Qos::ExactlyOnce).await;
    core.submit(BrokerCommand::Unsubscribe { filter: filter("a") });
    // Answered after the unsubscribe, because the broker takes them in order.
    core.subscribe(3, "c", Qos::AtMostOnce).await;
    core.publish(1, message("a", "", Qos::AtMostOnce));
    core.publish(2, message("b", "", Qos::AtMostOnce));
    let received = core.message().await;
    assert_eq!((received.message.topic.as_str(), received.subscriptions.as_slice()), ("b", &[][..]));
}

#[tokio::test]
async fn the_brokers_refusal_reaches_the_core() {
    let broker = Mosquitto::with(|directory| {
        let acl = directory.join("acl");
        std::fs::write(&acl, "topic read open/#\ntopic write open/#\n").unwrap();
        format!("allow_anonymous true\nacl_file {}", acl.display())
    });
    let mut core = Core::start(settings(&broker.url(), Protocol::V5));
    core.up().await;
    for (token, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
        core.publish(token, message("closed", "", qos));
        assert_eq!(core.published().await, (token, PublishOutcome::Refused(BrokerReason(0x87))));
    }
    core.publish(3, message("open/a", "", Qos::AtLeastOnce));
    assert_eq!(core.published().await, (3, PublishOutcome::Accepted));
}

#[tokio::test]
async fn what_the_broker_would_punish_is_not_sent() {
    let broker = Mosquitto::with(|_| "allow_anonymous true\nmax_packet_size 200\nretain_available false".to_owned());
    let mut core = Core::start(settings(&broker.url(), Protocol::V5));
    let (_, offer) = core.up().await;
    assert_eq!((offer.max_packet, offer.retain), (Some(200), false));
    core.publish(1, message("a", vec![b'x'; 200], Qos::AtLeastOnce));
    assert_eq!(core.published().await, (1, PublishOutcome::Refused(BrokerReason(0x95))));
    core.publish(2, Message { retain: true, ..message("a", "x", Qos::AtLeastOnce) });
    assert_eq!(core.published().await, (2, PublishOutcome::Refused(BrokerReason(0x9A))));
    core.publish(3, message("a", vec![b'x'; 180], Qos::ExactlyOnce));
    assert_eq!(core.published().await, (3, PublishOutcome::Accepted));
    assert_eq!(core.end().await, []);
}

#[tokio::test]
async fn what_does_not_fit_into_the_queue_is_answered_at_once() {
    let mut nobody = settings(&format!("mqtt://{}", reserved_address()), Protocol::V5);
    nobody.queue = 2;
    let mut core = Core::start(nobody);
    core.down().await;
    core.publish(1, message("a", "", Qos::AtLeastOnce));
    core.publish(2, message("a", "", Qos::AtMostOnce));
    let publish =
        |token| BrokerCommand::Publish { token, message: message("a", "", Qos::AtMostOnce), expires_in: None };
    let token = Token(3);
    assert_eq!(
        core.connection.submit(publish(Some(token))),
        Submitted::Answered(BrokerEvent::Published { token, outcome: PublishOutcome::Busy })
    );
    assert_eq!(core.connection.submit(publish(None)), Submitted::Dropped);
    let subscribe =
        BrokerCommand::Subscribe { token, filter: filter("a"), qos: Qos::AtMostOnce, id: SubscriptionId(1) };
    assert_eq!(
        core.connection.submit(subscribe),
        Submitted::Answered(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Lost })
    );
    let left = core.end().await;
    let answers = [1, 2].map(|token| BrokerEvent::Published { token: Token(token), outcome: PublishOutcome::Busy });
    assert_eq!(left, answers, "what was never sent is answered when the connection ends");
}

#[tokio::test]
async fn disconnect_sends_everything_first_and_says_goodbye() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.subscribe(1, "a/#", Qos::AtLeastOnce).await;
        let mut core = Core::start(settings(&broker.url(), protocol));
        core.up().await;
        for number in 0..500_usize {
            core.submit(BrokerCommand::Publish {
                token: None,
                message: message("a/b", number.to_string(), LEVELS[number % 2 + 1]),
                expires_in: None,
            });
        }
        core.submit(BrokerCommand::Publish {
            token: None,
            message: message("a/last", "", Qos::AtMostOnce),
            expires_in: None,
        });
        core.end().await;
        let mut arrived = 0;
        let mut last = false;
        while arrived < 500 || !last {
            let received = onlooker.message().await;
            match received.delivery {
                Some(_) => {
                    onlooker.ack(received.delivery);
                    arrived += 1;
                }
                None => last = true,
            }
        }
        onlooker.end().await;
        assert!(broker.log().contains("Client gateway disconnected."), "{protocol:?}: {}", broker.log());
    }
}
