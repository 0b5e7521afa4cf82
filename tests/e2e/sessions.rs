//! Those who run the gateway look at its devices, and end a session; while it runs, and while it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::gateway::{run, run_without_privileges, text_of};
use crate::support::{Gateway, Home, Mosquitto, Node, mosquitto_pub};

/// A data directory that outlives the gateway.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("temporary directories have plain names")
    }

    fn gateway(&self, broker: &Mosquitto) -> Gateway {
        Gateway::before(&broker.url(), &["--data-dir", self.path()])
    }

    fn sessions(&self, arguments: &[&str]) -> Output {
        run(&[&["sessions", "--data-dir", self.path()], arguments].concat())
    }

    fn says(&self, arguments: &[&str], code: i32, words: &[&str]) -> String {
        let output = self.sessions(arguments);
        assert_says(&output, code, words);
        text_of(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.sessions(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        serde_json::from_slice(&output.stdout).expect("what is printed is JSON")
    }
}

/// Two devices: `sleeper`, subscribed to `cmd/led`, with "on" waiting for it; and `talker`, which is connected.
fn two_devices(broker: &Mosquitto, gateway: &Gateway) -> [Node; 2] {
    let mut sleeper = Node::udp(gateway.udp());
    sleeper.ask("LL 04 00 01 003C 'sleeper'", "03 05 00");
    sleeper.send("LL 12 20 0001 'cmd/led'");
    let [_] = sleeper.expect("08 13 20 ???? 0001 00");
    sleeper.send("04 18 012C");
    let [] = sleeper.expect("02 18");
    mosquitto_pub(broker.port(), &["-q", "1", "-t", "cmd/led", "-m", "on"]);
    // The gateway has taken it over when it has acknowledged it.
    broker.wait_for("Received PUBACK from mqttsn-gateway-1");
    let mut talker = Node::udp(gateway.udp());
    talker.connect("talker");
    talker.register("iot/door");
    [sleeper, talker]
}

#[test]
fn the_devices_of_a_running_gateway_are_listed_and_shown() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    data.says(&[], 0, &["No device has a session with the gateway."]);
    let [sleeper, _talker] = two_devices(&broker, &gateway);

    let address = sleeper.address().to_string();
    data.says(&[], 0, &["sleeper", "asleep", "persistent", &address, "1 (9 octets)", "talker", "active", "clean"]);
    data.says(&["list"], 0, &["2 sessions: 1 active, 1 asleep. 1 message for devices, 0 messages for the broker."]);
    data.says(&["show", "sleeper"], 0, &["1 = cmd/led", "cmd/led (QoS 1)", "cmd/led (QoS 1, 2 octets)", "of silence"]);
    data.says(&["show", "nobody"], 1, &["no device \"nobody\" has a session", "`mqttsn-gateway sessions`"]);

    let list = data.json(&[]);
    assert_eq!((&list["gateway"], &list["sessions"][0]["client_id"]), (&"running".into(), &"sleeper".into()));
    let talker = data.json(&["show", "talker"]);
    assert_eq!((&talker["topics"], &talker["topic_names"][0]["name"]), (&1.into(), &"iot/door".into()));
}

#[test]
fn a_connected_device_that_is_forgotten_is_told_to_connect_anew() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    let [mut sleeper, mut talker] = two_devices(&broker, &gateway);

    data.says(&["forget", "talker"], 0, &["The session of \"talker\" has ended; nothing of it is kept."]);
    let [] = talker.expect("02 18");
    assert_eq!(data.json(&["forget", "sleeper"])["forgotten"], "sleeper");
    sleeper.ask("LL 16 'sleeper'", "02 18");
    broker.wait_for("Received UNSUBSCRIBE from mqttsn-gateway-1");
    data.says(&[], 0, &["No device has a session with the gateway."]);
    data.says(&["forget", "talker"], 1, &["no device \"talker\" has a session"]);

    // Neither comes back with the next process.
    assert_eq!(gateway.terminate().code(), Some(0));
    data.says(&[], 0, &["no device has a session"]);
}

#[test]
fn the_devices_of_a_stopped_gateway_are_read_from_its_store_and_can_be_forgotten() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    let [_, talker] = two_devices(&broker, &gateway);
    assert_eq!(gateway.terminate().code(), Some(0));

    data.says(&[], 0, &["sleeper", "asleep", "1 (9 octets)", "talker", "The gateway is stopped; it takes this up"]);
    data.says(&["show", "talker"], 0, &[&talker.address().to_string(), "1 = iot/door", "clean, active"]);
    assert_eq!(data.json(&[])["gateway"], "stopped");
    data.says(&["forget", "sleeper"], 0, &["The session of \"sleeper\" has ended"]);
    data.says(&["show", "sleeper"], 1, &["no device \"sleeper\" has a session"]);

    let gateway = data.gateway(&broker);
    gateway.wait_for("taken up from the store: 1 device with 0 subscriptions, 0 messages");
    data.says(&[], 0, &["talker"]);
    // The gateway's port has changed: the device looks for it anew.
    let mut sleeper = Node::udp(gateway.udp());
    sleeper.ask("LL 16 'sleeper'", "02 18");
}

#[test]
fn what_a_killed_gateway_has_left_is_read_and_its_socket_is_in_nobody_s_way() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    let _nodes = two_devices(&broker, &gateway);
    // As kill -9 does.
    drop(gateway);
    assert!(data.0.path().join("control.sock").exists());

    data.says(&[], 0, &["sleeper", "talker", "The gateway is stopped"]);
    let _gateway = data.gateway(&broker);
    assert_eq!(data.json(&[])["gateway"], "running");
}

#[test]
fn what_is_kept_for_the_broker_is_counted_although_its_senders_have_left() {
    let gateway = Home::lasting("", &["--broker", &Mosquitto::not_started().url()]).start();
    gateway.wait_for("no connection to the broker");
    let mut node = Node::udp(gateway.udp());
    node.connect("door");
    for number in ["0001", "0002"] {
        node.ask(&format!("LL 0C 22 6162 {number} 'x'"), &format!("07 0D 6162 {number} 00"));
    }
    node.ask("02 18", "02 18");
    let (home, _) = gateway.terminate_at_home();
    let output = run(&["sessions", "--data-dir", home.path().join("data").to_str().expect("plain letters")]);
    assert_says(
        &output,
        0,
        &["no device has a session that it will take up", "keeps 2 messages of devices that have no session"],
    );
}

#[test]
fn a_store_that_cannot_be_written_to_is_read() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    let _nodes = two_devices(&broker, &gateway);
    // Not closed in order, too.
    drop(gateway);
    let dir = data.0.path();
    fs::remove_file(dir.join("control.sock")).unwrap();
    for (file, mode) in [("store.redb", 0o444), ("store.lock", 0o444), ("", 0o555)] {
        fs::set_permissions(dir.join(file), Permissions::from_mode(mode)).unwrap();
    }
    let output = run_without_privileges(&["sessions", "--data-dir", data.path()]);
    assert_says(&output, 0, &["sleeper", "talker", "The gateway is stopped"]);
    let output = run_without_privileges(&["sessions", "--data-dir", data.path(), "forget", "sleeper"]);
    assert_says(&output, 1, &["no permission", "let the user that the gateway runs as"]);
}

#[test]
fn who_looks_in_the_wrong_place_is_told_where_else_to_look() {
    let empty = Data::new();
    empty.says(&[], 1, &["there is no store in", empty.path(), "--data-dir DIR", "--config FILE"]);
    empty.says(&["show", "c1"], 1, &["there is no store in"]);
    assert!(fs::read_dir(empty.path()).unwrap().next().is_none(), "looking leaves nothing behind");
    assert_says(&run(&["sessions", "--data-dir", ""]), 1, &["data_dir is \"\"", "--data-dir DIR"]);
    assert_says(&run(&["sessions", "--config", "/no/such/gateway.toml"]), 1, &["/no/such/gateway.toml"]);
}

#[test]
fn the_directory_of_another_user_is_refused_with_the_remedy() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    fs::set_permissions(data.0.path().join("control.sock"), Permissions::from_mode(0o000)).unwrap();
    let arguments = ["sessions", "--data-dir", data.path()];
    assert_says(&run_without_privileges(&arguments), 1, &["no permission to ask the gateway", "as the user that"]);

    assert_eq!(gateway.terminate().code(), Some(0));
    fs::set_permissions(data.0.path().join("store.redb"), Permissions::from_mode(0o000)).unwrap();
    assert_says(&run_without_privileges(&arguments), 1, &["no permission", data.path()]);
}

#[test]
fn a_data_dir_too_long_for_a_socket_costs_only_the_questions() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let long = data.0.path().join("d".repeat(120));
    let long = long.to_str().unwrap();
    let gateway = Gateway::before(&broker.url(), &["--data-dir", long]);
    gateway.wait_for("is too long for a socket: choose a shorter data_dir");
    Node::udp(gateway.udp()).connect("c1");
    let process = format!("process {}", gateway.process_id());
    assert_says(&run(&["sessions", "--data-dir", long]), 1, &[&process, "it has no control socket"]);
    assert_eq!(gateway.terminate().code(), Some(0));
    assert_says(&run(&["sessions", "--data-dir", long]), 0, &["c1"]);
}

#[test]
fn check_says_what_the_data_dir_is_and_leaves_it_as_it_is() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let dir = data.0.path().join("store");
    let check = |dir: &Path| {
        let dir = dir.to_str().unwrap();
        run(&["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0", "--data-dir", dir])
    };
    assert_says(&check(&dir), 0, &["there is no store in", "one can be made", "while the disk fails, new work is"]);
    assert!(!dir.exists());

    let gateway = Gateway::before(&broker.url(), &["--data-dir", dir.to_str().unwrap()]);
    let _nodes = two_devices(&broker, &gateway);
    let process = format!("in use by a gateway that runs (process {})", gateway.process_id());
    assert_says(&check(&dir), 1, &[&process, "If it is this gateway, all is well"]);

    assert_eq!(gateway.terminate().code(), Some(0));
    assert_says(&check(&dir), 0, &["holds 2 sessions, 1 message for devices and 0 for the broker"]);

    fs::set_permissions(&dir, Permissions::from_mode(0o500)).unwrap();
    let arguments = ["check", "--broker", &broker.url(), "--udp", "127.0.0.1:0", "--data-dir", dir.to_str().unwrap()];
    assert_says(&run_without_privileges(&arguments), 1, &["no permission", "let the user that the gateway runs as"]);
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_log_says_where_what_must_survive_is_kept() {
    let (broker, data) = (Mosquitto::start(), Data::new());
    let gateway = data.gateway(&broker);
    gateway.wait_for(&format!("is kept in {}, which is empty yet", data.path()));
}

#[track_caller]
fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let text = text_of(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}
