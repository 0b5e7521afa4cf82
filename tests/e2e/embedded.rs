//! The broker inside the gateway, with the ordinary MQTT clients.

use crate::support::port::reserved_address;
use crate::support::{Gateway, MosquittoSub, Node, mosquitto_pub};

#[test]
fn mosquitto_clients_and_a_node_meet_at_the_embedded_broker() {
    let port = reserved_address().port();
    let gateway = Gateway::start(&[&format!("--embedded-broker=127.0.0.1:{port}")]);
    gateway.wait_for_broker();
    let subscriber = MosquittoSub::start(port, &["-t", "iot/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");

    let topic_id = node.register("iot/home1/livingroom/temperature");
    node.send(&format!("LL 0C 20 {topic_id} 0001 '21.5'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
    subscriber.wait_for("iot/home1/livingroom/temperature 21.5");

    node.subscribe_to_wildcard("iot/home1/+/led");
    mosquitto_pub(port, &["-t", "iot/home1/livingroom/led", "-m", "on", "-q", "1"]);
    let [topic_id, msg_id] = node.expect("LL 0A ???? ???? 'iot/home1/livingroom/led'");
    node.send(&format!("07 0B {topic_id} {msg_id} 00"));
    let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? 'on'"));
    node.send(&format!("07 0D {topic_id} {msg_id} 00"));
    node.expect_nothing();
}

#[test]
fn a_later_subscriber_of_the_embedded_broker_gets_the_retained_message_too() {
    let port = reserved_address().port();
    let gateway = Gateway::start(&[&format!("--embedded-broker=127.0.0.1:{port}")]);
    gateway.wait_for_broker();
    mosquitto_pub(port, &["-t", "iot/led", "-m", "on", "-q", "1", "-r"]);
    for client_id in ["first", "second", "third"] {
        let mut node = Node::udp(gateway.udp());
        node.connect(client_id);
        node.send("LL 12 00 0001 'iot/led'");
        let [topic_id] = node.expect("08 13 00 ???? 0001 00");
        let [] = node.expect(&format!("LL 0C 10 {topic_id} 0000 'on'"));
    }
}

#[test]
fn overlapping_filters_at_the_embedded_broker_bring_each_client_one_copy() {
    let port = reserved_address().port();
    let gateway = Gateway::start(&[&format!("--embedded-broker=127.0.0.1:{port}")]);
    gateway.wait_for_broker();
    let mut nodes = ["iot/#", "iot/+"].map(|filter| {
        let mut node = Node::udp(gateway.udp());
        node.connect(filter);
        node.subscribe_to_wildcard(filter);
        node
    });
    for _ in 0..2 {
        mosquitto_pub(port, &["-t", "iot/led", "-m", "on", "-q", "1"]);
    }
    for node in &mut nodes {
        let [topic_id, msg_id] = node.expect("LL 0A ???? ???? 'iot/led'");
        node.send(&format!("07 0B {topic_id} {msg_id} 00"));
        for _ in 0..2 {
            let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? 'on'"));
            node.send(&format!("07 0D {topic_id} {msg_id} 00"));
        }
        node.expect_nothing();
    }
}

#[test]
fn the_banner_says_what_listens_where_and_what_to_try_next() {
    let port = reserved_address().port();
    let gateway = Gateway::start(&[&format!("--embedded-broker=127.0.0.1:{port}")]);
    gateway.wait_for(&gateway.udp().to_string());
    gateway.wait_for(&format!("127.0.0.1:{port}"));
    gateway.wait_for(&format!("sub -p {} -t 'iot/#' -v", gateway.udp().port()));
    gateway.wait_for(&format!("pub -p {} -t iot/home1/livingroom/temperature -m 21.5 -q 1", gateway.udp().port()));
}
