//! Devices that sleep, and devices that die.

use crate::support::process::PATIENCE;
use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, mosquitto_pub};

#[test]
fn a_sleeping_node_gets_its_messages_when_it_wakes() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("sleeper");
    node.send("LL 12 20 0001 'iot/home1/led'");
    let [topic_id] = node.expect("08 13 20 ???? 0001 00");
    node.send("04 18 012C");
    let [] = node.expect("02 18");

    for payload in ["on", "off"] {
        mosquitto_pub(broker.port(), &["-q", "1", "-t", "iot/home1/led", "-m", payload]);
    }
    // The gateway has taken both over when it has acknowledged them.
    broker.wait_for("Received PUBACK from mqttsn-gateway-1 (Mid: 2");

    node.send("LL 16 'sleeper'");
    for payload in ["on", "off"] {
        let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? '{payload}'"));
        node.send(&format!("07 0D {topic_id} {msg_id} 00"));
    }
    let [] = node.expect("02 17");
}

#[test]
fn the_will_of_a_node_that_falls_silent_is_published() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    connect_with_will(&mut node, "mortal", "iot/home1/state");

    // A keep-alive of one second goes by.
    subscriber.wait_for("iot/home1/state gone");
}

#[test]
fn a_node_that_disconnects_takes_its_will_with_it() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v", "-C", "1"]);
    let mut node = Node::udp(gateway.udp());
    connect_with_will(&mut node, "polite", "iot/home1/polite");
    node.send("02 18");
    let [] = node.expect("02 18");

    // The will of another one that falls silent later shows when the first one's would have come.
    let mut other = Node::udp(gateway.udp());
    connect_with_will(&mut other, "mortal", "iot/home1/mortal");
    assert_eq!(subscriber.wait_for_end(PATIENCE), ["iot/home1/mortal gone"]);
}

/// Connects with a keep-alive of one second and the will "gone" on `topic`.
fn connect_with_will(node: &mut Node, client_id: &str, topic: &str) {
    node.send(&format!("LL 04 0C 01 0001 '{client_id}'"));
    let [] = node.expect("02 06");
    node.send(&format!("LL 07 20 '{topic}'"));
    let [] = node.expect("02 08");
    node.send("LL 09 'gone'");
    let [] = node.expect("03 05 00");
}
