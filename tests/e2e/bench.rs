//! `bench` in front of the real gateway: what it counts must be what happened.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::gateway::{run, text_of};
use crate::support::{Gateway, Mosquitto, SerialLine};

#[test]
fn at_every_quality_of_service_all_that_is_published_arrives_at_the_broker() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    for flags in [&["-q", "0", "-r", "500"][..], &["-q", "1"], &["-q", "2"], &["-q", "1", "--forwarders", "2"]] {
        let result = bench("pub", &gateway, &broker, &[&["-c", "10", "-d", "0.5"], flags].concat());
        let up = flow(&result, "up");
        assert!(count(up, "sent") > 0, "{flags:?}: {up}");
        assert_eq!(up["arrived"], up["sent"], "{flags:?}: {up}");
        assert_eq!((count(up, "lost"), count(up, "duplicated")), (0, 0), "{flags:?}: {up}");
        assert_eq!(
            up["acknowledged"],
            if flags[1] == "0" { Value::Null } else { up["sent"].clone() },
            "{flags:?}: {up}"
        );
        assert!(up["end_to_end_us"]["p50"].is_u64(), "{flags:?}: {up}");
    }
}

#[test]
fn one_message_reaches_every_subscriber() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let result = bench("fanout", &gateway, &broker, &["-c", "20", "-d", "0.5", "-r", "1000"]);
    let down = flow(&result, "down");
    assert!(count(down, "sent") >= 20, "{down}");
    assert_eq!((&down["arrived"], count(down, "lost")), (&down["sent"], 0), "{down}");
}

#[test]
fn sleepers_get_what_was_queued_for_them() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let flags = ["-c", "20", "-d", "0.2", "--sleepers", "50", "--wake-every", "3600", "--queued", "3"];
    let result = bench("idle", &gateway, &broker, &flags);
    let down = flow(&result, "down");
    assert_eq!((count(down, "sent"), count(down, "arrived")), (30, 30), "{down}");
}

#[test]
fn a_mixed_load_goes_both_ways_and_the_gateways_cost_is_told() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let pid = gateway.process_id().to_string();
    let flags = ["-c", "20", "-d", "1", "--sleepers", "25", "--wake-every", "0.2", "-r", "200", "--commands", "50"];
    let result = bench("mixed", &gateway, &broker, &[&flags[..], &["--pid", &pid]].concat());
    for name in ["up", "down"] {
        let flow = flow(&result, name);
        assert_eq!((&flow["arrived"], count(flow, "lost")), (&flow["sent"], 0), "{name}: {flow}");
    }
    assert!(result["gateway"]["cpu_us_each"].as_f64() > Some(0.0), "{result}");
    assert!(result["gateway"]["memory_peak"].as_u64() > Some(1_000_000), "{result}");
}

#[test]
fn many_devices_behind_a_forwarder_share_a_serial_line() {
    let broker = Mosquitto::start();
    let line = SerialLine::plug_in();
    let port = |end: PathBuf| format!("{},baud=1000000,framing=slip-crc", end.display());
    let _gateway = Gateway::before(&broker.url(), &["--serial", &port(line.gateway_end())]);
    let flags = ["--serial", &port(line.node_end()), "--forwarders", "1", "-c", "3", "-d", "0.5"];
    let output = run(&[&["bench", "pub", "--broker", &broker.url(), "--json", "--quiet"][..], &flags].concat());
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)));
    let up = flow(&result, "up");
    assert!(count(up, "arrived") > 0, "{up}");
    assert_eq!((&up["arrived"], count(up, "lost")), (&up["sent"], 0), "{up}");
}

#[test]
fn the_floors_are_measured_and_told() {
    let broker = Mosquitto::start();
    let output = run(&["bench", "floor", "--broker", &broker.url(), "-c", "5", "-d", "0.2", "--quiet"]);
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    for line in ["bare UDP loop, 5 clients", "datagrams/s", "plain MQTT", "QoS 0", "QoS 1", "QoS 2"] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
}

#[test]
fn the_goals_are_compared_with_the_floors() {
    let output = run(&["bench", "goals", "-d", "0.2", "qos1", "size", "store-away-100"]);
    let text = text_of(&output);
    assert!(output.status.success(), "{text}");
    for part in [
        "| QoS 1 up, 100 clients, aggregating: CPU |",
        "bare UDP",
        "plain MQTT",
        "| memory after the start |",
        "| QoS 1 into the store while the broker is away, 100 clients |",
        "| the same: accepted and lost | 0 lost |",
        "| the same: arrived twice | 0 twice |",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_named() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    let port = nobody.local_addr().expect("it is bound").port().to_string();
    drop(nobody);
    let output = run(&["bench", "pub", "--broker", "none", "--quiet", "-p", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text_of(&output).contains(&format!("no gateway listens at 127.0.0.1, UDP port {port}")),
        "{}",
        text_of(&output)
    );
}

fn bench(kind: &str, gateway: &Gateway, broker: &Mosquitto, flags: &[&str]) -> Value {
    let port = gateway.udp().port().to_string();
    let common = ["bench", kind, "-p", &port, "--broker", &broker.url(), "--json", "--quiet"];
    let output = run(&[&common[..], flags].concat());
    assert!(output.status.success(), "{kind} {flags:?}: {}", text_of(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text_of(&output)))
}

fn flow<'v>(result: &'v Value, name: &str) -> &'v Value {
    let flows = result["flows"].as_array().expect("a list of flows");
    flows.iter().find(|flow| flow["flow"] == name).unwrap_or_else(|| panic!("no flow {name:?} in {result}"))
}

fn count(flow: &Value, name: &str) -> u64 {
    flow[name].as_u64().unwrap_or_else(|| panic!("no {name:?} in {flow}"))
}
