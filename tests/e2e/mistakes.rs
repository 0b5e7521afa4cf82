//! A mistake gets an answer that helps: the thing, the place, the remedy.

use std::net::UdpSocket;

use tempfile::TempDir;

use crate::support::Mosquitto;
use crate::support::gateway::{run, run_in, text_of};
use crate::support::port::reserved_address;

#[test]
fn a_udp_port_that_is_taken_is_named_with_the_remedy() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let address = taken.local_addr().expect("it is bound").to_string();

    let output = run(&["--udp", &address]);

    assert_says(&output, 1, &[&address, "in use", "--udp"]);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let output = run_with_config("[gateway]\nid = 1\n\n[broker]\nulr = \"mqtt://localhost\"\n");

    assert_says(&output, 1, &["gateway.toml:5", "`ulr`", "did you mean `url`?"]);
}

#[test]
fn a_predefined_topic_with_a_wildcard_is_refused_by_name() {
    let output = run_with_config("[predefined]\n7 = \"iot/+/led\"\n");

    assert_says(&output, 1, &["gateway.toml", "7", "iot/+/led"]);
}

#[test]
fn a_serial_port_that_is_not_there_is_named_with_the_ports_that_are() {
    let broker = Mosquitto::start();
    let output = run(&["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0", "--serial", "/dev/ttyNowhere0"]);

    assert_says(&output, 1, &["there is no serial port /dev/ttyNowhere0"]);
}

#[test]
fn a_flag_that_does_not_exist_is_a_wrong_usage() {
    assert_says(&run(&["--brokr", "mqtt://localhost"]), 2, &["--brokr", "--broker"]);
}

#[test]
fn check_passes_when_the_broker_answers() {
    let broker = Mosquitto::start();
    assert_says(&run(&["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0"]), 0, &[&broker.url()]);
}

#[test]
fn check_fails_and_names_the_broker_that_does_not_answer() {
    let url = format!("mqtt://{}", reserved_address());
    assert_says(&run(&["check", "--broker", &url, "--udp", "127.0.0.1:0"]), 1, &[&url]);
}

fn run_with_config(config: &str) -> std::process::Output {
    let home = TempDir::new().expect("a temporary directory");
    std::fs::write(home.path().join("gateway.toml"), config).expect("a temporary file");
    run_in(home.path(), &["--udp", "127.0.0.1:0"])
}

#[track_caller]
fn assert_says(output: &std::process::Output, code: i32, words: &[&str]) {
    let text = text_of(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}
