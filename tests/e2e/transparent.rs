//! Each device with a connection of its own to the broker.

use std::time::Instant;

use crate::support::process::PATIENCE;
use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, mosquitto_pub};

const TRANSPARENT: &str = "[gateway]\nmode = \"transparent\"\n";

fn transparent(broker: &Mosquitto, extra: &str) -> Gateway {
    let gateway = Gateway::start_with_config(&format!("{TRANSPARENT}{extra}"), &["--broker", &broker.url()]);
    gateway.wait_for_broker();
    gateway
}

#[test]
fn the_broker_knows_each_device_by_its_own_name() {
    let broker = Mosquitto::start();
    let gateway = transparent(&broker, "[broker]\ndevice_client_id = \"{name}/{client_id}\"\n");
    let mut node = Node::udp(gateway.udp());
    node.connect("meter");
    broker.wait_for("as gateway-1/meter (");
    let everything = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);
    let topic_id = node.register("iot/meter");
    node.ask(&format!("LL 0C 20 {topic_id} 0001 '17'"), &format!("07 0D {topic_id} 0001 00"));
    everything.wait_for("iot/meter 17");
    node.send("02 18");
    let [] = node.expect("02 18");
    broker.wait_for("Client gateway-1/meter disconnected");
}

#[test]
fn the_broker_keeps_the_messages_of_a_device_that_is_away() {
    let broker = Mosquitto::start();
    let gateway = transparent(&broker, "");
    let mut node = Node::udp(gateway.udp());
    node.ask("LL 04 00 01 003C 'led'", "03 05 00");
    node.send("LL 12 20 0102 'light'");
    let [_] = node.expect("08 13 20 ???? 0102 00");
    node.send("02 18");
    let [] = node.expect("02 18");
    broker.wait_for("Client led disconnected");
    mosquitto_pub(broker.port(), &["-q", "1", "-t", "light", "-m", "on"]);

    // Nor does it matter that the gateway is another one by then.
    assert!(gateway.terminate().success());
    let gateway = transparent(&broker, "");
    let mut node = Node::udp(gateway.udp());
    node.send("LL 04 00 01 003C 'led'");
    let [] = node.expect("03 05 00");
    let [new_id, msg_id] = node.expect("LL 0A ???? ???? 'light'");
    node.send(&format!("07 0B {new_id} {msg_id} 00"));
    let [msg_id] = node.expect(&format!("LL 0C 20 {new_id} ???? 'on'"));
    node.send(&format!("07 0D {new_id} {msg_id} 00"));
    node.expect_nothing();
}

#[test]
fn the_broker_publishes_the_wills_of_a_gateway_that_is_killed() {
    let broker = Mosquitto::start();
    let gateway = transparent(&broker, "");
    let wills = MosquittoSub::start(broker.port(), &["-t", "wills/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    node.send("LL 04 0C 01 003C 'pump'");
    let [] = node.expect("02 06");
    node.send("LL 07 00 'wills/pump'");
    let [] = node.expect("02 08");
    node.send("LL 09 'gone'");
    let [] = node.expect("03 05 00");
    drop(gateway);
    wills.wait_for("wills/pump gone");
}

#[test]
fn a_device_that_the_broker_refuses_is_told_so_and_so_is_the_log() {
    let broker = Mosquitto::start();
    let gateway = transparent(&broker, "");
    let mut node = Node::udp(gateway.udp());
    // Under this name the broker knows the gateway itself.
    node.send("LL 04 04 01 003C 'mqttsn-gateway-1'");
    let [] = node.expect("03 05 03");
    let line = gateway.wait_for("was refused: its client id is the gateway's own at the broker");
    assert!(line.contains("client \"mqttsn-gateway-1\" from UDP 127.0.0.1:"), "{line}");
    // The gateway's own connection is none the worse for it.
    Node::udp(gateway.udp()).connect("another");
}

#[test]
fn a_device_that_connects_while_the_gateway_starts_is_served() {
    let broker = Mosquitto::start();
    let gateway = Gateway::start_with_config(TRANSPARENT, &["--broker", &broker.url()]);
    // As soon as the port is open, and that is before the broker has answered.
    let mut node = Node::udp(gateway.udp());
    node.send("LL 04 04 01 003C 'early'");
    let [] = node.expect("03 05 00");
}

#[test]
fn a_hundred_devices_that_connect_while_the_broker_restarts_are_all_served() {
    let mut broker = Mosquitto::start();
    let gateway = transparent(&broker, "");
    let mut nodes: Vec<Node> = (0..100).map(|_| Node::udp(gateway.udp())).collect();
    let connect = |number: usize| format!("LL 04 04 01 003C 'node-{number}'");
    for (number, node) in nodes.iter_mut().enumerate() {
        node.send(&connect(number));
        match number {
            30 => drop(broker.stop()),
            70 => broker.restart(),
            _ => {}
        }
    }
    // Each hears something: that it is connected, or that it shall try again.
    for (number, node) in nodes.iter_mut().enumerate() {
        let deadline = Instant::now() + PATIENCE;
        while node.receive_any() != [3, 5, 0] {
            assert!(Instant::now() < deadline, "node-{number} is not let in");
            node.send(&connect(number));
        }
    }
    // And each has a connection that works, or gets one.
    for (number, node) in nodes.iter_mut().enumerate() {
        let msg_id = number + 1;
        node.ask(&format!("LL 0C 22 't1' {msg_id:04X} 'x'"), &format!("07 0D 7431 {msg_id:04X} 00"));
    }
    assert!(gateway.terminate().success());
    let log = broker.stop();
    let broken = log.iter().filter(|line| line.contains("node-") && line.contains("closed its connection")).count();
    assert_eq!(broken, 0, "the gateway takes leave of the broker for every device");
}
