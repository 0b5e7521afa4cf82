//! The command-line tools beside the gateway: `pub`, `sub`, `decode`.

use std::process::Command;

use tempfile::TempDir;

use crate::support::gateway::{program, run, text_of};
use crate::support::process::{PATIENCE, Process, until};
use crate::support::{Gateway, Mosquitto, MosquittoSub, SerialLine, mosquitto_pub};

#[test]
fn sub_prints_over_udp_what_mosquitto_sub_prints() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let port = gateway.udp().port().to_string();
    for style in [&["-v"][..], &[], &["-F", "%t|%p|%q|%r|%l|%x"]] {
        prints_the_same(&broker, &["-h", "127.0.0.1", "-p", &port], style);
    }
}

#[test]
fn sub_prints_over_a_serial_line_what_mosquitto_sub_prints() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let _gateway = Gateway::before(&broker.url(), &["--serial", &line.gateway_end().display().to_string()]);
    prints_the_same(&broker, &["--serial", &line.node_end().display().to_string()], &["-v"]);
}

#[test]
fn pub_publishes_over_udp_what_mosquitto_pub_would() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let port = gateway.udp().port().to_string();
    publishes(&broker, &["-h", "127.0.0.1", "-p", &port]);
}

#[test]
fn pub_publishes_over_a_serial_line_what_mosquitto_pub_would() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let _gateway = Gateway::before(&broker.url(), &["--serial", &line.gateway_end().display().to_string()]);
    publishes(&broker, &["--serial", &line.node_end().display().to_string()]);
}

#[test]
fn sub_gets_what_pub_sends_without_any_other_program() {
    let port = crate::support::port::reserved_address().port();
    let gateway = Gateway::start(&[&format!("--embedded-broker=127.0.0.1:{port}")]);
    gateway.wait_for_broker();
    let port = gateway.udp().port().to_string();
    let address = ["-h", "127.0.0.1", "-p", &port];

    // The message is retained, so it does not matter who comes first.
    tool("pub", &address, &["-t", "iot/home1/livingroom/temperature", "-m", "21.5", "-q", "1", "-r"]);
    let printed = tool("sub", &address, &["-t", "iot/#", "-v", "-C", "1"]);

    assert_eq!(printed, "iot/home1/livingroom/temperature 21.5\n");
}

#[test]
fn pub_to_nobody_fails_with_the_address_it_tried() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let port = nobody.local_addr().expect("it is bound").port().to_string();
    drop(nobody);
    let output = run(&["pub", "-h", "127.0.0.1", "-p", &port, "-t", "a/b", "-m", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains(&format!("127.0.0.1:{port}")), "{}", text_of(&output));
}

#[test]
fn decode_explains_a_frame() {
    let output = run(&["decode", "0A040401000A756E6F31"]);
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    for word in ["CONNECT", "uno1", "10"] {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[test]
fn decode_says_what_is_wrong_with_a_frame() {
    let output = run(&["decode", "0A0404"]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(!text_of(&output).contains("panicked"));
}

#[test]
fn decode_passes_over_what_is_no_hexadecimal_and_says_so() {
    let home = TempDir::new().expect("a temporary directory");
    let frames = home.path().join("frames");
    std::fs::write(&frames, "0216\nno frame\n0217\n").expect("a file with frames");
    let stdin = std::fs::File::open(&frames).expect("the file");
    let output = program(home.path()).args(["decode", "-"]).stdin(stdin).output().expect("decode runs");
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in ["PINGREQ", "line 2, column 1: 'n' is no hexadecimal digit", "PINGRESP"] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
}

/// Both subscribers print every message of the same sequence, and print it alike.
fn prints_the_same(broker: &Mosquitto, address: &[&str], style: &[&str]) {
    let flags = [&["-q", "1", "-t", "iot/#"], style].concat();
    let theirs = MosquittoSub::start(broker.port(), &flags);
    let home = TempDir::new().expect("a temporary directory");
    let mut command = program(home.path());
    command.arg("sub").args(address).args(&flags);
    let ours = Process::start("mqttsn-gateway sub", &mut command);

    // Nothing but its first message tells that `sub` has subscribed.
    until("sub has subscribed", || {
        mosquitto_pub(broker.port(), &["-t", "iot/ready", "-m", "ready?"]);
        ours.lines().iter().any(|line| is_ready(line)).then_some(())
    });
    for (topic, payload) in [
        ("iot/home1/livingroom/temperature", "21.5"),
        ("iot/home1/greet", "안녕하세요"),
        ("iot/home1/empty", ""),
        ("iot/home1/two lines", "first\nsecond"),
        ("iot/home1/spaces", "  around  "),
        ("iot", "the parent level"),
        ("iot/end", "the end"),
    ] {
        mosquitto_pub(broker.port(), &["-q", "1", "-t", topic, "-m", payload]);
    }
    ours.wait_for("the end");
    until("mosquitto_sub has everything", || {
        theirs.messages().iter().any(|line| line.contains("the end")).then_some(())
    });

    let without_ready =
        |lines: Vec<String>| -> Vec<String> { lines.into_iter().filter(|line| !is_ready(line)).collect() };
    assert_eq!(without_ready(ours.lines()), without_ready(theirs.messages()));
}

fn is_ready(line: &str) -> bool {
    line.contains("ready?")
}

/// What `pub` publishes arrives with its topic, payload, QoS and retain flag.
fn publishes(broker: &Mosquitto, address: &[&str]) {
    let subscriber =
        MosquittoSub::start(broker.port(), &["-q", "2", "-V", "mqttv5", "-t", "#", "-F", "%q %t %p", "-C", "5"]);
    tool("pub", address, &["-t", "iot/home1/livingroom/temperature", "-m", "21.5", "-q", "1"]);
    tool("pub", address, &["-t", "iot/home1/greet", "-m", "안녕하세요"]);
    tool("pub", address, &["-t", "iot/home1/meter", "-m", "4711", "-q", "2"]);
    tool("pub", address, &["-t", "iot/home1/nothing", "-n", "-q", "1"]);
    tool("pub", address, &["-t", "iot/home1/mode", "-m", "eco", "-q", "1", "-r"]);

    // In any order: the subscriber prints a message at QoS 2 when the four frames for it are through.
    let mut messages = subscriber.wait_for_end(PATIENCE);
    messages.sort();
    assert_eq!(
        messages,
        [
            "0 iot/home1/greet 안녕하세요",
            "1 iot/home1/livingroom/temperature 21.5",
            "1 iot/home1/mode eco",
            "1 iot/home1/nothing ",
            "2 iot/home1/meter 4711",
        ]
    );
    let retained = MosquittoSub::start(broker.port(), &["-t", "#", "-v", "--retained-only", "-C", "1"]);
    assert_eq!(retained.wait_for_end(PATIENCE), ["iot/home1/mode eco"]);
}

/// Runs a tool to its successful end and returns its standard output.
fn tool(name: &str, address: &[&str], arguments: &[&str]) -> String {
    let home = TempDir::new().expect("a temporary directory");
    let mut command: Command = program(home.path());
    let output = command.arg(name).args(address).args(arguments).output().expect("the program under test is there");
    assert!(output.status.success(), "{name} {arguments:?}: {}", text_of(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
