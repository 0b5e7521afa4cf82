//! Starting and stopping.

use std::time::{Duration, Instant};

use crate::support::mosquitto::free_tcp_port;
use crate::support::{Gateway, Mosquitto, Node};

#[test]
fn sigterm_ends_the_gateway_within_five_seconds_as_asked() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");

    let asked = Instant::now();
    let status = gateway.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
    // An orderly end, not a broken connection.
    broker.wait_for("Received DISCONNECT from mqttsn-");
}

#[test]
fn sigterm_ends_the_gateway_in_time_while_it_tries_to_reach_the_broker() {
    let gateway = Gateway::start(&["--broker", &format!("mqtt://127.0.0.1:{}", free_tcp_port())]);
    let asked = Instant::now();
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}
