//! The embedded broker, used by the gateway's connection and by Mosquitto's clients.
#![cfg(feature = "embedded-broker")]

use std::process::{Command, Stdio};

use mqttsn_gateway::broker::{BrokerSettings, EmbeddedBroker, Protocol, RetainedMessages};
use mqttsn_gateway::core::{BrokerCommand, Message, PublishOutcome, SubscriptionId};
use mqttsn_gateway::wire::Qos;

use crate::core::{Core, filter, message, settings};

#[tokio::test]
async fn the_embedded_broker_serves_the_gateway_and_common_clients() {
    let broker = EmbeddedBroker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let own = settings(&format!("mqtt://{}", broker.gateway_addr()), EmbeddedBroker::PROTOCOL);
    // As another gateway on the port for clients, which speaks 3.1.1.
    let other = settings(&format!("mqtt://{}", broker.addr()), Protocol::Auto);
    for settings in [own, other] {
        let mut core = Core::start(settings);
        core.up().await;
        core.subscribe(1, "to/gateway", Qos::AtLeastOnce).await;
        let client = |program: &str| {
            let mut command = Command::new(program);
            command.args(["-h", "127.0.0.1", "-p", &broker.addr().port().to_string(), "-q", "1", "-t"]);
            command
        };
        assert!(client("mosquitto_pub").args(["to/gateway", "-m", "hello"]).status().unwrap().success());
        let received = core.message().await;
        assert_eq!(&received.message.payload[..], b"hello");
        core.ack(received.delivery);

        // `-E` ends the first run when the broker has the subscription, which `-c` then keeps.
        let listener = ["to/client", "-i", "listener", "-c"];
        assert!(client("mosquitto_sub").args(listener).arg("-E").status().unwrap().success());
        core.publish(1, message("to/client", "hello", Qos::AtLeastOnce));
        assert_eq!(core.published().await, (1, PublishOutcome::Accepted));
        let heard = client("mosquitto_sub").args(listener).args(["-C", "1"]).stderr(Stdio::null()).output().unwrap();
        assert_eq!(heard.stdout, b"hello\n");
        core.end().await;
    }
}

#[tokio::test]
async fn each_subscription_to_the_embedded_broker_brings_the_messages_with_its_id() {
    let broker = EmbeddedBroker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut core = Core::start(settings(&format!("mqtt://{}", broker.gateway_addr()), EmbeddedBroker::PROTOCOL));
    assert!(core.up().await.1.subscription_ids);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        core.subscribe(1, "a/+", qos).await;
        core.subscribe(2, "a/#", qos).await;
        core.publish(1, message("a/b", "", qos));
        let mut ids = Vec::new();
        while ids.len() < 2 {
            let received = core.message().await;
            ids.extend(received.subscriptions);
            if qos != Qos::AtMostOnce {
                core.ack(received.delivery);
            }
        }
        ids.sort_by_key(|id| id.0);
        assert_eq!(ids, [SubscriptionId(1), SubscriptionId(2)], "{qos:?}");
        for text in ["a/+", "a/#"] {
            core.submit(BrokerCommand::Unsubscribe { filter: filter(text) });
        }
    }
    core.published().await;
    core.published().await;
    core.published().await;
    assert_eq!(core.end().await, []);
}

#[tokio::test]
async fn a_later_subscribe_at_the_embedded_broker_brings_the_retained_message_too() {
    let broker = EmbeddedBroker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut core = Core::start(BrokerSettings {
        retained: RetainedMessages::OnFirstSubscribe,
        ..settings(&format!("mqtt://{}", broker.gateway_addr()), EmbeddedBroker::PROTOCOL)
    });
    core.up().await;
    core.publish(1, Message { retain: true, ..message("a", "", Qos::AtMostOnce) });
    core.publish(2, Message { retain: true, ..message("a", "kept", Qos::AtLeastOnce) });
    for _ in 0..2 {
        core.published().await;
    }
    for id in [1, 2, 3] {
        core.subscribe(id, "a", Qos::AtLeastOnce).await;
        let received = core.message().await;
        assert!(received.message.retain);
        assert_eq!((&received.message.payload[..], received.subscriptions), (&b"kept"[..], vec![SubscriptionId(id)]));
        core.ack(received.delivery);
    }
    // What is not held the broker would not answer.
    core.submit(BrokerCommand::Unsubscribe { filter: filter("never") });
    core.publish(3, message("a", "live", Qos::AtLeastOnce));
    assert_eq!(core.published().await, (3, PublishOutcome::Accepted));
    let received = core.message().await;
    assert_eq!((&received.message.payload[..], received.message.retain), (&b"live"[..], false));
    core.ack(received.delivery);
    assert_eq!(core.end().await, []);
}
