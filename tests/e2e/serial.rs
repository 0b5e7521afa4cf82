//! Devices on a serial line.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::gateway::{run, run_without_privileges, text_of};
use crate::support::port::reserved_address;
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
    let gateway = gateway_on(&broker, &line);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    let mut node = Node::serial(&line.node_end());
    node.send_octets(b"\r\nets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET)\r\n");
    gateway.wait_for("says \"ets Jul 29 2019 12:21:46\"");
    gateway.wait_for("says \"rst:0x1 (POWERON_RESET)\"");
    node.connect("node-1");
    publish(&mut node, "booted");
    subscriber.wait_for("iot/home1/door booted");
}

#[test]
fn a_serial_line_that_is_plugged_in_after_the_start_is_served() {
    let broker = Mosquitto::start();
    let mut line = SerialLine::plug_in();
    line.pull_out();
    let gateway = gateway_on(&broker, &line);
    gateway.wait_for("there is no serial port");
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    line.plug_in_again();
    let mut node = Node::serial(&line.node_end());
    node.connect("node-1");
    publish(&mut node, "late");
    subscriber.wait_for("iot/home1/door late");
}

#[test]
fn a_serial_port_in_use_is_named_with_its_holder_and_served_when_it_is_free() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let port = line.gateway_end().display().to_string();
    let holder = gateway_on(&broker, &line);
    holder.wait_for(" is open");
    let in_use = format!("{port} is in use by ");
    // socat, which plays the line, has the port open as well and is named beside it.
    let by_whom = format!("mqttsn-gateway (process {})", holder.process_id());

    let output = run(&["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0", "--serial", &port]);
    let report = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains(&in_use) && report.contains(&by_whom), "{report}");

    let second = Gateway::start(&["--broker", &nobody(), "--serial", &port]);
    let told = second.wait_for(&in_use);
    assert!(told.contains(&by_whom), "{told}");
    holder.terminate();
    second.wait_for(&format!("serial {port}, 9600 baud, raw is open"));
}

#[test]
fn a_serial_port_that_may_not_be_opened_is_named_with_the_remedy() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let port = line.gateway_end().display().to_string();
    fs::set_permissions(&port, Permissions::from_mode(0o000)).expect("the line is ours");
    let no_permission = format!("no permission to open {port}; ");

    let output =
        run_without_privileges(&["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0", "--serial", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains(&no_permission), "{}", text_of(&output));

    let gateway = Gateway::start_without_privileges(&["--broker", &nobody(), "--serial", &port]);
    let told = gateway.wait_for(&no_permission);
    // Which remedy depends on the group that the system gives to its pseudo-terminals.
    assert!(told.contains("usermod") || told.contains("udev"), "{told}");
}

/// A broker that is not there.
fn nobody() -> String {
    format!("mqtt://{}", reserved_address())
}

fn gateway_on(broker: &Mosquitto, line: &SerialLine) -> Gateway {
    Gateway::before(&broker.url(), &["--serial", &line.gateway_end().display().to_string()])
}

fn publish(node: &mut Node, payload: &str) {
    let topic_id = node.register("iot/home1/door");
    node.send(&format!("LL 0C 20 {topic_id} 0001 '{payload}'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
}
