//! The broker is absent, restarts, dies.

use std::collections::BTreeSet;

use crate::support::mosquitto::leave_a_session;
use crate::support::process::until;
use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, mosquitto_pub};

#[test]
fn a_gateway_without_a_broker_says_so_and_serves_when_the_broker_appears() {
    let mut broker = Mosquitto::not_started();
    let gateway = Gateway::start(&["--broker", &broker.url()]);
    // What it tried, and what else there is.
    gateway.wait_for(&format!("127.0.0.1:{}", broker.port()));
    gateway.wait_for("--embedded-broker");

    broker.restart();
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");
    let topic_id = node.register("iot/home1/door");
    node.ask(&format!("LL 0C 20 {topic_id} 0001 'open'"), &format!("07 0D {topic_id} 0001 00"));
    subscriber.wait_for("iot/home1/door open");
}

#[test]
fn nothing_that_was_acknowledged_is_missing_after_the_broker_restarted() {
    let mut broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &["--data-dir", ""]);
    leave_a_session(broker.port(), "collector", "1", "iot/home1/count");

    let mut node = Node::udp(gateway.udp());
    node.connect("counter");
    let topic_id = node.register("iot/home1/count");
    let mut acknowledged = BTreeSet::new();
    let mut publish = |node: &mut Node, number: u16| {
        let publish = format!("LL 0C 20 {topic_id} {number:04X} 'n{number}'");
        // A device waits after a refusal and sends again when an answer stays away; so does `ask`.
        node.ask(&publish, &format!("07 0D {topic_id} {number:04X} 00"));
        acknowledged.insert(format!("n{number}"));
    };
    for round in 0..3 {
        for number in 1..=20 {
            publish(&mut node, round * 100 + number);
        }
        // This one is on its way while the broker goes.
        node.send(&format!("LL 0C 20 {topic_id} {:04X} 'n{}'", round * 100 + 21, round * 100 + 21));
        broker.stop();
        node.send(&format!("LL 0C 20 {topic_id} {:04X} 'n{}'", round * 100 + 22, round * 100 + 22));
        broker.restart();
        publish(&mut node, round * 100 + 23);
    }
    drop(gateway);

    // The session's messages come before the one that is sent now.
    let collector = MosquittoSub::start(broker.port(), &["-c", "-q", "1", "-i", "collector", "-t", "iot/home1/count"]);
    let missing = until("every acknowledged message arrives", || {
        let arrived: BTreeSet<String> = collector.messages().into_iter().collect();
        acknowledged.is_subset(&arrived).then(|| acknowledged.difference(&arrived).count())
    });
    assert_eq!(missing, 0);
}

#[test]
fn a_subscription_outlives_the_death_of_the_broker() {
    let mut broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("led");
    node.subscribe_to_wildcard("iot/home1/+/led");

    broker.kill();
    broker.restart();
    // The broker knows nothing of the subscription until the gateway has made it again.
    broker.wait_for("iot/home1/+/led");
    mosquitto_pub(broker.port(), &["-t", "iot/home1/hall/led", "-m", "on"]);

    let [topic_id, msg_id] = node.expect("LL 0A ???? ???? 'iot/home1/hall/led'");
    node.send(&format!("07 0B {topic_id} {msg_id} 00"));
    let [] = node.expect(&format!("LL 0C 00 {topic_id} 0000 'on'"));
}

#[test]
fn a_publish_without_a_broker_is_refused_as_congestion() {
    let mut broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &["--data-dir", ""]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");
    let topic_id = node.register("iot/home1/door");
    broker.kill();
    gateway.wait_for("no connection to the broker");

    node.send(&format!("LL 0C 20 {topic_id} 0001 'open'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 01"));
}
