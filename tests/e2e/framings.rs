//! Devices behind the dongles of every framing.

use std::fs;
use std::thread;

use tempfile::NamedTempFile;

use crate::support::frame;
use crate::support::gateway::{run, text_of};
use crate::support::process::until;
use crate::support::{Behind, Dongle, Gateway, Mosquitto, MosquittoSub, Node, SerialLine, Wire, mosquitto_pub};

/// A gateway with a line on which frames stand in this way.
struct Scene {
    broker: Mosquitto,
    gateway: Gateway,
    line: SerialLine,
    dongle: Dongle,
}

impl Scene {
    fn set(wire: Wire) -> Self {
        let broker = Mosquitto::start();
        let line = SerialLine::plug_in();
        let serial = format!("{},framing={}", line.gateway_end().display(), wire.name());
        let gateway = Gateway::before(&broker.url(), &["--log", "trace", "--serial", &serial]);
        let dongle = Dongle::open(&line.node_end(), wire);
        Self { broker, gateway, line, dongle }
    }
}

/// Plays a scene over every wire at the same time.
fn over_every_wire(play: impl Fn(&Scene) + Sync) {
    over_wires(&Wire::ALL, play);
}

fn over_wires(wires: &[Wire], play: impl Fn(&Scene) + Sync) {
    thread::scope(|scope| {
        for wire in wires {
            scope.spawn(|| play(&Scene::set(*wire)));
        }
    });
}

const WITH_ADDRESSES: [Wire; 3] = [Wire::Xbee, Wire::XbeeEscaped, Wire::Aquila];

#[test]
fn a_device_publishes_and_subscribes_at_qos_1_over_every_framing() {
    over_every_wire(|scene| {
        // What any of the framings has to escape, and line ends.
        const PAYLOAD: &str = "C0DB7E7D111300FE0D0A00C0DC";
        let subscriber = MosquittoSub::start(scene.broker.port(), &["-q", "1", "-t", "up/#", "-F", "%t %X"]);
        let mut node = Node::radio(&scene.dongle, 3, Behind::Dongle);
        node.connect("node-3");
        let topic_id = node.register("up/greet");
        node.send(&format!("LL 0C 20 {topic_id} 0002 {PAYLOAD}"));
        let [] = node.expect(&format!("07 0D {topic_id} 0002 00"));
        subscriber.wait_for(&format!("up/greet {PAYLOAD}"));

        node.send("LL 12 20 0003 'down/led'");
        let [topic_id] = node.expect("08 13 20 ???? 0003 00");
        let file = NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), frame::octets(PAYLOAD)).expect("a temporary file");
        let name = file.path().display().to_string();
        mosquitto_pub(scene.broker.port(), &["-t", "down/led", "-f", &name, "-q", "1"]);
        let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? {PAYLOAD}"));
        node.send(&format!("07 0D {topic_id} {msg_id} 00"));
        node.expect_nothing();
    });
}

#[test]
fn three_devices_behind_a_forwarder_are_told_apart_in_every_framing() {
    over_every_wire(|scene| {
        let nodes = [1, 2, 3].map(|number| (number, Node::radio(&scene.dongle, number, Behind::Forwarder(7))));
        each_gets_its_own_messages(scene, nodes);
    });
}

#[test]
fn three_devices_on_a_radio_with_addresses_are_told_apart() {
    over_wires(&WITH_ADDRESSES, |scene| {
        let nodes = [1, 2, 3].map(|number| (number, Node::radio(&scene.dongle, number, Behind::Dongle)));
        each_gets_its_own_messages(scene, nodes);
        scene.gateway.wait_for(" node ");
    });
}

fn each_gets_its_own_messages<const N: usize>(scene: &Scene, mut nodes: [(u16, Node); N]) {
    let port = scene.broker.port();
    let subscriber = MosquittoSub::start(port, &["-q", "1", "-t", "up/#", "-v"]);
    for (number, node) in &mut nodes {
        node.connect(&format!("node-{number}"));
        node.send(&format!("LL 12 20 0001 'down/{number}'"));
        let [_topic_id] = node.expect("08 13 20 ???? 0001 00");
    }
    for (number, node) in &mut nodes {
        let topic_id = node.register(&format!("up/{number}"));
        node.send(&format!("LL 0C 20 {topic_id} 0002 'from {number}'"));
        let [] = node.expect(&format!("07 0D {topic_id} 0002 00"));
        subscriber.wait_for(&format!("up/{number} from {number}"));
        mosquitto_pub(port, &["-t", &format!("down/{number}"), "-m", &format!("for {number}"), "-q", "1"]);
    }
    for (number, node) in &mut nodes {
        let [topic_id, msg_id] = node.expect(&format!("LL 0C 20 ???? ???? 'for {number}'"));
        node.send(&format!("07 0D {topic_id} {msg_id} 00"));
        node.expect_nothing();
    }
}

#[test]
fn an_answer_to_everyone_reaches_all_nodes_of_a_radio() {
    over_wires(&WITH_ADDRESSES, |scene| {
        let mut asker = Node::radio(&scene.dongle, 1, Behind::Dongle);
        let mut others = [2, 3].map(|number| Node::radio(&scene.dongle, number, Behind::Dongle));
        asker.send("03 01 00");
        // Once as the answer, once as one of everyone.
        let [] = asker.expect("03 02 01");
        let [] = asker.expect("03 02 01");
        for node in &mut others {
            let [] = node.expect("03 02 01");
        }
    });
}

#[test]
fn what_a_dongle_prints_goes_into_the_log_and_spoils_no_frame() {
    over_every_wire(|scene| {
        let subscriber = MosquittoSub::start(scene.broker.port(), &["-t", "up/#", "-v"]);
        scene.dongle.write(b"\r\nrst:0x1 (POWERON_RESET)\r\nsensor v1.3 starts\r\n");
        let mut node = Node::radio(&scene.dongle, 3, Behind::Dongle);
        node.connect("node-3");
        let topic_id = node.register("up/door");
        scene.dongle.write(b"door: opened\n");
        node.send(&format!("LL 0C 20 {topic_id} 0001 'open'"));
        let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
        subscriber.wait_for("up/door open");
        for line in ["rst:0x1 (POWERON_RESET)", "sensor v1.3 starts", "door: opened"] {
            scene.gateway.wait_for(&format!("says {line:?}"));
        }
    });
}

#[test]
fn a_message_that_does_not_fit_into_a_frame_of_the_dongle_is_refused_and_said() {
    over_wires(&[Wire::Aquila, Wire::Xbee], |scene| {
        let mut node = Node::radio(&scene.dongle, 3, Behind::Dongle);
        node.connect("node-3");
        node.send("LL 12 20 0001 'down/text'");
        let [topic_id] = node.expect("08 13 20 ???? 0001 00");
        let port = scene.broker.port();
        mosquitto_pub(port, &["-t", "down/text", "-m", &"x".repeat(100), "-q", "1"]);
        scene.gateway.wait_for("it does not fit into a frame of the client's link (max_frame)");
        mosquitto_pub(port, &["-t", "down/text", "-m", "short", "-q", "1"]);
        let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? 'short'"));
        node.send(&format!("07 0D {topic_id} {msg_id} 00"));
        node.expect_nothing();
    });
}

#[test]
fn the_strength_of_a_signal_is_in_the_trace() {
    let scene = Scene::set(Wire::Aquila);
    let mut node = Node::radio(&scene.dongle, 3, Behind::Dongle);
    node.connect("node-3");
    let port = scene.line.gateway_end();
    scene.gateway.wait_for(&format!("<- serial {} node 0003 (-66 dBm, LQI 196) CONNECT", port.display()));
}

#[test]
fn pub_and_sub_work_over_every_framing() {
    thread::scope(|scope| {
        for wire in Wire::ALL {
            scope.spawn(move || tools_over(wire));
        }
    });
}

fn tools_over(wire: Wire) {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let serial = format!("{},framing={}", line.gateway_end().display(), wire.name());
    let _gateway = Gateway::before(&broker.url(), &["--serial", &serial]);
    let serial = format!("{},framing={}", line.node_end().display(), wire.name());

    let subscriber = MosquittoSub::start(broker.port(), &["-q", "1", "-t", "up/#", "-v"]);
    let published = run(&["pub", "--serial", &serial, "-t", "up/x", "-m", "21.5", "-q", "1"]);
    assert!(published.status.success(), "{wire:?}: {}", text_of(&published));
    subscriber.wait_for("up/x 21.5");

    mosquitto_pub(broker.port(), &["-t", "down/x", "-m", "kept", "-q", "1", "-r"]);
    let received = until("sub has the message", || {
        let arguments = ["sub", "--serial", &serial, "-t", "down/#", "-q", "1", "-v", "-C", "1"];
        let output = run(&arguments);
        output.status.success().then(|| text_of(&output))
    });
    assert!(received.contains("down/x kept"), "{wire:?}: {received}");
}
