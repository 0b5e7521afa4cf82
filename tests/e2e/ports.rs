//! The life of serial ports: dongles that are pulled out, plugged in again, renumbered, and flap; a serial server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::support::gateway::{run, text_of};
use crate::support::machine::Adapter;
use crate::support::process::PATIENCE;
use crate::support::{Gateway, Machine, Mosquitto, MosquittoSub, Node, frame, mosquitto_pub};

/// Starts a gateway for ports of a machine, which it opens again without much ado.
fn gateway_on(broker: &Mosquitto, machine: &Machine, ports: &[&str]) -> Gateway {
    let section = |port: &&str| {
        format!(
            "[[serial]]\nport = \"{port}\"\nbaud = 115200\nframing = \"raw\"\ngap = \"0s\"\n\
             reopen_after = \"20ms\"\nreopen_at_most = \"100ms\"\n"
        )
    };
    let config: String = ports.iter().map(section).collect();
    let flags = machine.flags();
    let broker_url = broker.url();
    let gateway = Gateway::start_with_config(&config, &["--broker", &broker_url, &flags[0], &flags[1]]);
    gateway.wait_for_broker();
    gateway
}

/// A client that publishes numbers at QoS 1, each as often as it takes, and takes commands, over whatever line it has.
struct Sensor {
    topic_id: String,
    published: u16,
}

impl Sensor {
    fn connect(node: &mut Node, client_id: &str) -> Self {
        node.ask(&format!("LL 04 00 01 003C '{client_id}'"), "03 05 00");
        node.send(&format!("LL 12 20 0001 'cmd/{client_id}'"));
        let [_] = node.expect("08 13 20 ???? 0001 00");
        Self { topic_id: node.register(&format!("iot/{client_id}")), published: 0 }
    }

    fn publish(&mut self, node: &mut Node) {
        self.published += 1;
        self.repeat(node);
    }

    /// Publishes the last number until it is acknowledged; the gateway may have taken it already.
    fn repeat(&mut self, node: &mut Node) {
        let Self { topic_id, published } = self;
        node.ask(
            &format!("LL 0C A0 {topic_id} {published:04X} '{published}'"),
            &format!("07 0D {topic_id} {published:04X} 00"),
        );
    }
}

/// Takes commands until this one has come, each once or repeated, and acknowledges them all.
fn take_commands(node: &mut Node, last: &str) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.last().is_none_or(|command| command != last) {
        let received = node.receive_any();
        let [_, 0x0C, _, topic_high, topic_low, id_high, id_low, payload @ ..] = received.as_slice() else {
            panic!("no PUBLISH: {}", frame::hex(&received));
        };
        node.send_octets(&[7, 0x0D, *topic_high, *topic_low, *id_high, *id_low, 0]);
        taken.push(String::from_utf8(payload.to_vec()).unwrap());
    }
    taken.dedup();
    taken
}

#[test]
fn a_dongle_that_comes_back_under_a_new_number_loses_nothing_that_was_acknowledged() {
    let broker = Mosquitto::start();
    let machine = Machine::new();
    let dongle = machine.plug("0001", "ttyUSB0");
    let gateway = gateway_on(&broker, &machine, &["usb:10c4:ea60:0001"]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v", "-q", "1"]);
    let mut node = dongle.node();
    let mut sensor = Sensor::connect(&mut node, "node-1");
    (0..20).for_each(|_| sensor.publish(&mut node));
    mosquitto_pub(broker.port(), &["-t", "cmd/node-1", "-m", "1", "-q", "1"]);
    take_commands(&mut node, "1");
    // Its answer shows that the gateway has read the PUBACK of the command.
    sensor.publish(&mut node);

    // In mid-traffic: one publish is on its way, and commands come while the line is gone.
    sensor.published += 1;
    let Sensor { topic_id, published } = &sensor;
    node.send(&format!("LL 0C 20 {topic_id} {published:04X} '{published}'"));
    machine.pull(dongle);
    gateway.wait_for("is down: unplugged; its devices are kept for 1h");
    for command in ["2", "3", "4"] {
        mosquitto_pub(broker.port(), &["-t", "cmd/node-1", "-m", command, "-q", "1"]);
    }
    let dongle = machine.plug("0001", "ttyUSB1");
    let told = gateway.wait_for("ttyUSB1 (Acme Radio Dongle)");
    assert!(told.contains("serial usb:10c4:ea60:0001 is back at "), "{told}");

    // The device has not noticed: it goes on in the same session, without a new CONNECT.
    let mut node = dongle.node();
    assert_eq!(take_commands(&mut node, "4"), ["2", "3", "4"]);
    sensor.repeat(&mut node);
    (0..20).for_each(|_| sensor.publish(&mut node));
    (1..=sensor.published).for_each(|number| subscriber.wait_for(&format!("iot/node-1 {number}")));
    node.expect_nothing();
}

#[test]
fn a_dongle_that_was_named_by_its_number_is_found_under_another() {
    let broker = Mosquitto::start();
    let machine = Machine::new();
    let dongle = machine.plug("0001", "ttyUSB0");
    let port = machine.device("ttyUSB0").display().to_string();
    let gateway = gateway_on(&broker, &machine, &[&port]);
    let told = gateway.wait_for("always finds this adapter");
    assert!(told.contains(&format!("; {} always", machine.by_id("0001").display())), "{told}");
    machine.pull(dongle);
    gateway.wait_for("there is no serial port");
    let dongle = machine.plug("0001", "ttyUSB1");
    gateway.wait_for("ttyUSB1 (Acme Radio Dongle)");
    Sensor::connect(&mut dongle.node(), "node-1").publish(&mut dongle.node());
}

#[test]
fn a_dongle_that_flaps_does_not_disturb_the_other() {
    let broker = Mosquitto::start();
    let machine = Machine::new();
    let steady = machine.plug("0001", "ttyUSB0");
    let mut flapping = Some(machine.plug("0002", "ttyUSB1"));
    let ports = ["0001", "0002"].map(|serial| machine.by_id(serial).display().to_string());
    let gateway = gateway_on(&broker, &machine, &[&ports[0], &ports[1]]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v", "-q", "1"]);
    let mut steady_node = steady.node();
    let mut steady_sensor = Sensor::connect(&mut steady_node, "steady");
    let mut flapping_sensor = Sensor::connect(&mut node_of(&flapping), "flapping");

    for _ in 0..5 {
        machine.pull(flapping.take().unwrap());
        (0..10).for_each(|_| steady_sensor.publish(&mut steady_node));
        flapping = Some(machine.plug("0002", "ttyUSB1"));
        // The same session still: no CONNECT.
        flapping_sensor.publish(&mut node_of(&flapping));
        (0..10).for_each(|_| steady_sensor.publish(&mut steady_node));
    }
    (1..=steady_sensor.published).for_each(|number| subscriber.wait_for(&format!("iot/steady {number}")));
    (1..=flapping_sensor.published).for_each(|number| subscriber.wait_for(&format!("iot/flapping {number}")));
    assert!(!gateway.lines().iter().any(|line| line.contains("ttyUSB0") && line.contains("is down")));
}

fn node_of(dongle: &Option<Adapter>) -> Node {
    dongle.as_ref().unwrap().node()
}

#[test]
fn text_between_frames_is_shown_and_spoils_none() {
    let broker = Mosquitto::start();
    let machine = Machine::new();
    let dongle = machine.plug("0001", "ttyUSB0");
    let gateway = gateway_on(&broker, &machine, &["usb:10c4:ea60"]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v", "-q", "1"]);
    let mut node = dongle.node();
    node.send_octets(b"ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\nradio ready\r\n");
    let mut sensor = Sensor::connect(&mut node, "node-1");
    for number in 1..=5 {
        node.send_octets(format!("measurement {number} follows\r\n").as_bytes());
        sensor.publish(&mut node);
        node.send_octets(format!("measurement {number} sent\r\n").as_bytes());
        subscriber.wait_for(&format!("iot/node-1 {number}"));
    }
    gateway.wait_for("says \"radio ready\"");
    gateway.wait_for("says \"measurement 5 sent\"");
    assert!(!gateway.lines().iter().any(|line| line.contains("no frames")), "text was taken for noise");
}

#[test]
fn a_serial_server_is_a_port_like_any_other() {
    let broker = Mosquitto::start();
    let server = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = format!("tcp://{}", server.local_addr().expect("it is bound"));
    let config = format!(
        "[[serial]]\nport = \"{port}\"\nframing = \"raw\"\nreopen_after = \"20ms\"\nreopen_at_most = \"100ms\"\n"
    );
    let gateway = Gateway::start_with_config(&config, &["--broker", &broker.url()]);
    gateway.wait_for_broker();
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v", "-q", "1"]);
    let mut line = accept(&server);
    gateway.wait_for(&format!("serial {port}, raw is open"));
    exchange(&mut line, "LL 04 04 01 003C 'node-1'", "03 05 00");
    exchange(&mut line, "08 0C 22 6162 0007 '1'", "07 0D 6162 0007 00");

    // The server is switched off and on again; the session is the same.
    drop(line);
    gateway.wait_for("the serial server has closed the connection");
    let mut line = accept(&server);
    exchange(&mut line, "08 0C 22 6162 0008 '2'", "07 0D 6162 0008 00");
    drop(subscriber);

    drop((line, server));
    gateway.wait_for(&format!("nobody listens on {port}; is the serial server running"));
    let output = run(&["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0", "--serial", &port]);
    assert!(text_of(&output).contains(&format!("PROBLEM       nobody listens on {port}")), "{}", text_of(&output));
}

fn accept(server: &TcpListener) -> TcpStream {
    let (line, _) = server.accept().expect("the gateway connects");
    line.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    line
}

/// Sends a frame and reads the answer.
fn exchange(line: &mut TcpStream, request: &str, answer: &str) {
    line.write_all(&frame::octets(request)).expect("the gateway is there");
    let wanted = frame::octets(answer);
    let mut received = vec![0; wanted.len()];
    line.read_exact(&mut received).expect("the gateway answers");
    assert_eq!(frame::hex(&received), frame::hex(&wanted), "for {request}");
}

#[test]
fn the_ports_of_a_machine_are_listed_with_their_lasting_names_and_their_holders() {
    let machine = Machine::new();
    let _free = machine.plug("0001", "ttyUSB0");
    let _held = machine.plug("0002", "ttyUSB1");
    let flags = machine.flags();
    let gateway = Gateway::start(&["--serial", "usb:10c4:ea60:0002,baud=9600,framing=raw", &flags[0], &flags[1]]);
    gateway.wait_for(" is open");

    let text = text_of(&run(&["ports", &flags[0], &flags[1]]));
    for serial in ["0001", "0002"] {
        let line = text.lines().find(|line| line.contains(&format!("10c4:ea60  {serial}"))).expect("a line");
        assert!(line.contains("Acme Radio Dongle") && line.ends_with(&machine.by_id(serial).display().to_string()));
    }
    assert!(text.contains(&format!("mqttsn-gateway (process {})", gateway.process_id())), "{text}");

    let json = text_of(&run(&["ports", "--json", &flags[0], &flags[1]]));
    assert!(json.contains(&format!("\"name\": \"{}\"", machine.by_id("0001").display())), "{json}");
    assert!(json.contains("\"state\": \"in use\""), "{json}");
}

#[test]
fn an_adapter_that_is_not_there_is_named_with_those_that_are() {
    let machine = Machine::new();
    let _dongle = machine.plug("0001", "ttyUSB0");
    let flags = machine.flags();
    let output = run(&["check", "--udp", "127.0.0.1:0", "--serial", "usb:10c4:ea60:0007", &flags[0], &flags[1]]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1));
    let there = machine.device("ttyUSB0");
    let expected =
        format!("there is no serial port usb:10c4:ea60:0007; there is {} (usb:10c4:ea60:0001)", there.display());
    assert!(text.contains(&expected), "{text}");
    assert!(Path::new(&there).exists());
}
