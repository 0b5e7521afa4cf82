//! Devices on a serial line.

use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, SerialLine, mosquitto_pub};

#[test]
fn what_a_node_on_a_serial_line_publishes_is_printed_by_mosquitto_sub() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let _gateway = gateway_on(&broker, &line);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    let mut node = Node::serial(&line.node_end());
    node.connect("node-1");
    node.send("LL 0A 0000 0001 'iot/home/greet'");
    let [topic_id] = node.expect("07 0B ???? 0001 00");
    node.send(&format!("LL 0C 20 {topic_id} 0002 '안녕하세요'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0002 00"));

    subscriber.wait_for("iot/home/greet 안녕하세요");
}

#[test]
fn a_command_from_mosquitto_pub_reaches_a_node_on_a_serial_line() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let _gateway = gateway_on(&broker, &line);

    let mut node = Node::serial(&line.node_end());
    node.connect("node-1");
    node.send("LL 12 20 0001 'iot/home1/livingroom/led'");
    let [topic_id] = node.expect("08 13 20 ???? 0001 00");
    mosquitto_pub(broker.port(), &["-t", "iot/home1/livingroom/led", "-m", "off", "-q", "1"]);

    let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? 'off'"));
    node.send(&format!("07 0D {topic_id} {msg_id} 00"));
    node.expect_nothing();
}

#[test]
fn traffic_goes_on_after_the_serial_line_was_pulled_out_and_plugged_in_again() {
    let broker = Mosquitto::start();
    let mut line = SerialLine::plug_in();
    let _gateway = gateway_on(&broker, &line);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    let mut node = Node::serial(&line.node_end());
    node.connect("node-1");
    publish(&mut node, "before");
    subscriber.wait_for("iot/home1/door before");

    line.pull_out();
    line.plug_in_again();

    let mut node = Node::serial(&line.node_end());
    node.connect("node-1");
    publish(&mut node, "after");
    subscriber.wait_for("iot/home1/door after");
}

#[test]
fn the_boot_text_of_a_node_does_not_spoil_its_frames() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let _gateway = gateway_on(&broker, &line);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    let mut node = Node::serial(&line.node_end());
    node.send_octets(b"ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET)\r\n");
    node.connect("node-1");
    publish(&mut node, "booted");
    subscriber.wait_for("iot/home1/door booted");
}

fn gateway_on(broker: &Mosquitto, line: &SerialLine) -> Gateway {
    Gateway::before(&broker.url(), &["--serial", &line.gateway_end().display().to_string()])
}

fn publish(node: &mut Node, payload: &str) {
    let topic_id = node.register("iot/home1/door");
    node.send(&format!("LL 0C 20 {topic_id} 0001 '{payload}'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
}
