//! `sub` in the part of a battery device: it sleeps, and one day it is gone.

use tempfile::TempDir;

use crate::support::gateway::program;
use crate::support::process::{PATIENCE, Process};
use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, mosquitto_pub};

#[test]
fn a_sleeping_sub_prints_what_has_come_when_it_wakes_up() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &["--log", "debug"]);
    let flags = ["-i", "dozer", "-t", "iot/#", "-q", "1", "-v", "-C", "2", "--sleep", "60", "--wake-every", "0.5"];
    let mut sub = sub(&gateway, &flags);
    gateway.wait_for("\"dozer\" sleeps for up to 60 s");

    for payload in ["one", "two"] {
        mosquitto_pub(broker.port(), &["-q", "1", "-t", "iot/x", "-m", payload]);
    }

    assert!(sub.wait_for_end(PATIENCE).success());
    assert_eq!(sub.lines(), ["iot/x one", "iot/x two"]);
}

#[test]
fn a_device_that_connects_at_each_wake_up_is_no_news() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &["--log", "debug"]);
    let mut node = Node::udp(gateway.udp());
    node.connect("reporter");
    node.ask("04 18 003C", "02 18");
    node.connect("reporter");

    let line = gateway.wait_for("\"reporter\" woke up");
    assert!(line.contains("DEBUG"), "{line}");
}

#[test]
fn a_killed_sub_is_missed_and_its_will_goes_out() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mourner = MosquittoSub::start(broker.port(), &["-t", "wills/#", "-v"]);
    let will = ["--will-topic", "wills/fragile", "--will-payload", "gone", "--will-qos", "1"];
    let sub = sub(&gateway, &[&["-i", "fragile", "-t", "iot/#", "-k", "2"][..], &will].concat());
    gateway.wait_for("\"fragile\" connected");

    drop(sub);

    mourner.wait_for("wills/fragile gone");
}

/// Starts `sub` in front of this gateway; dropped, it is killed.
fn sub(gateway: &Gateway, flags: &[&str]) -> Process {
    let home = TempDir::new().expect("a temporary directory");
    let port = gateway.udp().port().to_string();
    Process::start("mqttsn-gateway sub", program(home.path()).args(["sub", "-h", "127.0.0.1", "-p", &port]).args(flags))
}
