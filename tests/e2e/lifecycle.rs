//! Starting and stopping.

use std::time::{Duration, Instant};

use crate::support::port::reserved_address;
use crate::support::{Gateway, Mosquitto, Node};

#[test]
fn sigterm_ends_the_gateway_within_five_seconds_as_asked() {
    let mut broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");

    let asked = Instant::now();
    let status = gateway.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
    // To the broker it was an orderly end, not a broken connection.
    let log = broker.stop();
    assert!(!log.iter().any(|line| line.contains("Client mqttsn-gateway-1 closed its connection")), "{log:#?}");
}

#[test]
fn sigterm_ends_the_gateway_as_asked_while_the_broker_hangs() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");
    let topic_id = node.register("iot/home1/door");

    broker.hang();
    node.send(&format!("LL 0C 20 {topic_id} 0001 'open'"));
    // The gateway has the message, and the broker will not acknowledge it.
    node.expect_nothing();
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[test]
fn sigterm_ends_the_gateway_in_time_while_it_tries_to_reach_the_broker() {
    let gateway = Gateway::start(&["--broker", &format!("mqtt://{}", reserved_address())]);
    let asked = Instant::now();
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}
