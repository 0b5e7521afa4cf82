//! The embedded broker, used by the gateway's connection and by Mosquitto's clients.
#![cfg(feature = "embedded-broker")]

use std::process::{Command, Stdio};

use mqttsn_gateway::broker::{EmbeddedBroker, Protocol};
use mqttsn_gateway::core::PublishOutcome;
use mqttsn_gateway::wire::Qos;

use crate::core::{Core, message, settings};

#[tokio::test]
async fn the_embedded_broker_serves_the_gateway_and_common_clients() {
    let broker = EmbeddedBroker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("mqtt://{}", broker.local_addr());
    for protocol in [EmbeddedBroker::PROTOCOL, Protocol::Auto] {
        let mut core = Core::start(settings(&url, protocol));
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
