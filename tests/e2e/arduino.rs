//! The Arduino examples: the sketches themselves, built for this computer, on a serial line to the real gateway.

use std::path::Path;

use crate::support::process::{Process, until};
use crate::support::sketch::{Air, Sketch};
use crate::support::{Gateway, Mosquitto, MosquittoSub, SerialLine, mosquitto_pub};

/// Shorter than on a real board, so that what went lost while a line came up is soon repeated.
const QUICK: [&str; 2] = ["MQTTSN_T_RETRY_MS=1000", "MQTTSN_REST_MS=100"];

const AWAKE: [&str; 2] = ["NODE_SLEEPS=0", "NODE_PERIOD_S=1"];

#[test]
fn the_framing_of_the_examples_agrees_with_the_vectors() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/serial/frames.tsv");
    Sketch::test("framing").passes(&[&vectors]);
}

#[test]
fn the_client_of_the_examples_behaves_as_the_protocol_says() {
    Sketch::test("client").passes(&[]);
}

#[test]
fn a_node_publishes_readings_and_obeys_a_command() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let gateway = gateway_on(&broker, &line, 64);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-q", "1", "-F", "%q %t %p"]);

    let node = Sketch::node(&[QUICK, AWAKE].concat());
    let node = node.on(&line.node_end());
    gateway.wait_for("says \"node node-1 started\"");
    for reading in 1..=3 {
        subscriber.wait_for(&format!("1 iot/node-1/light {reading}"));
    }

    command(&broker, "node-1", "on");
    node.wait_for("pin 13 high");
    command(&broker, "node-1", "off");
    node.wait_for("pin 13 low");
}

#[test]
fn a_node_gets_the_command_that_came_while_it_slept() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let gateway = gateway_on(&broker, &line, 64);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    let node = Sketch::node(&[&QUICK[..], &["NODE_PERIOD_S=3600"]].concat());
    let node = node.on(&line.node_end());
    gateway.wait_for("\"node-1\" sleeps for up to 10800 s");
    node.wait_for("delay 3600000 ms");
    command(&broker, "node-1", "on");

    // The command may still be on its way to the gateway at the first wake-up; then a later one fetches it.
    wake_until(&node, "pin 13 high");
    for reading in ["iot/node-1/light 1", "iot/node-1/light 2"] {
        subscriber.wait_for(reading);
    }
}

#[test]
fn a_node_finds_back_to_a_gateway_that_was_restarted() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let gateway = gateway_on(&broker, &line, 64);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/node-1/light", "-q", "1"]);
    let node = Sketch::node(&[QUICK, AWAKE].concat());
    let node = node.on(&line.node_end());
    subscriber.wait_for("1");

    gateway.terminate();
    let gateway = gateway_on(&broker, &line, 64);
    gateway.wait_for("\"node-1\" connected");
    let before = subscriber.messages().len();
    until("a reading after the restart", || (subscriber.messages().len() > before).then_some(()));

    until("the subscription after the restart", || {
        command(&broker, "node-1", "on");
        node.lines().contains(&"pin 13 high".to_owned()).then_some(())
    });
}

#[test]
fn three_nodes_share_a_forwarder() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    // The largest packet of the radio, and the wrapper.
    let gateway = gateway_on(&broker, &line, 61 + 5);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-q", "1", "-v"]);

    let air = Air::still();
    let _forwarder = Sketch::forwarder().on_air(&air, 0, Some(&line.node_end()));
    gateway.wait_for("says \"forwarder started\"");
    let nodes = ["node-1", "node-2", "node-3"].map(|name| {
        let setting = format!("NODE_ID=\"{name}\"");
        (name, Sketch::node_on_radio(&[&QUICK[..], &AWAKE, &[&setting]].concat()))
    });
    let nodes: Vec<(&str, Process)> =
        (0x00C0..).zip(&nodes).map(|(address, (name, node))| (*name, node.on_air(&air, address, None))).collect();

    for (name, _) in &nodes {
        subscriber.wait_for(&format!("iot/{name}/light 3"));
    }
    for (name, node) in &nodes {
        let lit = |node: &Process| node.lines().contains(&"pin 13 high".to_owned());
        assert!(!lit(node), "{name} obeys a command for another node");
        command(&broker, name, "on");
        node.wait_for("pin 13 high");
    }
}

/// The gateway as the README of the examples says.
fn gateway_on(broker: &Mosquitto, line: &SerialLine, max_frame: usize) -> Gateway {
    let port = line.gateway_end();
    let port = port.display();
    let config =
        format!("[[serial]]\nport = \"{port}\"\nbaud = 115200\nframing = \"slip-crc\"\nmax_frame = {max_frame}\n");
    let gateway = Gateway::start_with_config(&config, &["--broker", &broker.url(), "--log", "debug"]);
    gateway.wait_for_broker();
    gateway.wait_for("slip-crc is open");
    gateway
}

fn command(broker: &Mosquitto, node: &str, payload: &str) {
    mosquitto_pub(broker.port(), &["-t", &format!("iot/{node}/led"), "-m", payload, "-q", "1"]);
}

/// Wakes a node from each of its naps, until it prints the line.
fn wake_until(node: &Process, line: &str) {
    until(line, || {
        node.interrupt();
        node.lines().iter().any(|printed| printed == line).then_some(())
    });
}
