//! A client that others wrote: the Python package `mqtt-sn-12`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{PATIENCE, Process};

/// Publishes at a QoS of 0 to 2; ends when the exchange is complete. At -1 the topic is a pre-defined id.
pub fn publish(gateway: SocketAddr, qos: &str, topic: &str, payload: &str) {
    let mut process = start("publish.py", gateway, &[qos, topic, payload]);
    let status = process.wait_for_end(PATIENCE);
    assert!(status.success(), "the foreign client could not publish at QoS {qos}: {status}");
}

/// Subscribes; prints `subscribed` and then a line for each message.
pub fn subscribe(gateway: SocketAddr, client_id: &str, qos: &str, filter: &str) -> Process {
    let process = start("subscribe.py", gateway, &[client_id, qos, filter]);
    process.wait_for("subscribed");
    process
}

fn start(script: &str, gateway: SocketAddr, arguments: &[&str]) -> Process {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = root.join("target/test-venv/bin/python");
    let mut command = Command::new(python);
    command.arg("-u").arg(root.join("tests/e2e/foreign").join(script));
    command.arg(gateway.ip().to_string()).arg(gateway.port().to_string()).args(arguments);
    Process::start(script, &mut command)
}
