//! Trouble with the disk: what the gateway says and does, at the start and while it runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use redb::{Database, TableDefinition};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::frame::hex;
use crate::support::gateway::text_of;
use crate::support::port::reserved_address;
use crate::support::process::GLANCE;
use crate::support::{Gateway, Home, Mosquitto, MosquittoSub, Node};

const CONTINUE: &str = "[store]\non_failure = \"continue\"\n";

/// Octets that a file may have: more than the store has in the beginning.
const LIMIT: u64 = 200_000;

#[test]
fn a_directory_that_may_not_be_written_to_is_named_with_the_remedy() {
    let home = Home::lasting("", &[]).without_privileges();
    forbid_writing(home.path());
    let output = home.run();
    assert_refuses(
        &output,
        &["cannot open the store in", "/data: no permission", "let the user that the gateway runs as"],
    );
    // Whoever does not need the promise finds the way around it.
    assert_refuses(&output, &["--data-dir \"\"", "on_failure = \"continue\""]);
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let home = Home::lasting("", &[]);
    fs::write(home.path().join("data"), "").expect("a temporary file");
    assert_refuses(&home.run(), &["/data: it is not a directory", "data_dir"]);
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    for damage in [damage_all, cut_off] {
        let (home, _) = gateway_without_broker("").terminate_at_home();
        let file = home.path().join("data/store.redb");
        damage(&file);
        let before = fs::read(&file).expect("it is there");
        assert_refuses(&home.run(), &["/data: the file is damaged", "from a backup, or move it away"]);
        assert_eq!(fs::read(&file).expect("it is there"), before);
    }
}

#[test]
fn a_store_of_a_newer_version_is_left_as_it_is() {
    let (home, _) = gateway_without_broker("").terminate_at_home();
    let file = Database::open(home.path().join("data/store.redb")).expect("a store");
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let change = file.begin_write().expect("nobody else writes");
    change.open_table(meta).expect("the store's table").insert("format", &[0, 0, 0, 99][..]).expect("there is room");
    change.commit().expect("there is room");
    drop(file);
    assert_refuses(&home.run(), &["/data is from a newer version of the gateway", "format 99", "use that version"]);
}

#[test]
fn a_second_gateway_on_the_same_directory_is_told_who_has_it() {
    let gateway = gateway_without_broker("");
    let data = gateway.home().join("data");
    let second = Home::lasting("", &["--data-dir", data.to_str().expect("plain letters")]);
    let process = format!("is in use by process {}", gateway.process_id());
    let output = second.run();
    assert_refuses(&output, &[&process, "data_dir of its own"]);
    // That would not help.
    assert!(!text_of(&output).contains("on_failure"), "{output:?}");
}

#[test]
fn a_gateway_that_may_go_on_without_a_store_does_not_start_beside_another_all_the_same() {
    let gateway = gateway_without_broker("");
    let data = gateway.home().join("data");
    let second = Home::lasting(CONTINUE, &["--data-dir", data.to_str().expect("plain letters")]);
    assert_refuses(&second.run(), &["is in use by process", "data_dir of its own"]);
}

#[test]
fn a_gateway_that_may_go_on_without_a_store_says_so_and_goes_on() {
    let broker = Mosquitto::start();
    let home = Home::lasting(CONTINUE, &["--broker", &broker.url()]).without_privileges();
    forbid_writing(home.path());
    let gateway = home.start();
    gateway.wait_for("/data: no permission");
    gateway.wait_for("going on without a store");
    gateway.wait_for_broker();
    Node::udp(gateway.udp()).connect("door");
    fs::set_permissions(gateway.home(), Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn while_the_disk_takes_nothing_new_work_is_refused_and_afterwards_nothing_is_missing() {
    let mut scene = FullDisk::new("");
    let line = scene.gateway.wait_for("the store cannot write");
    assert!(line.contains("/data: the file is larger than the system allows"), "{line}");
    assert!(line.contains("raise the limit of the size of files"), "{line}");
    scene.gateway.wait_for("messages at QoS 1 and 2 for sleeping devices stay with the broker");
    // Congestion, whether it is to publish, to subscribe or to connect.
    let door = scene.topic_id.clone();
    scene.node.ask(&format!("LL 0C 20 {door} 7001 'x'"), &format!("07 0D {door} 7001 01"));
    scene.node.ask("LL 12 20 7002 'cmd/+'", "08 13 ?? 0000 7002 01");
    Node::udp(scene.gateway.udp()).ask("LL 04 04 01 003C 'late'", "03 05 01");
    scene.gets_room();
    scene.node.ask(&format!("LL 0C 20 {door} 7003 'after'"), &format!("07 0D {door} 7003 00"));
    scene.everything_arrives();
}

#[test]
fn a_gateway_that_may_go_on_without_its_disk_accepts_and_keeps_what_it_can_when_there_is_room() {
    let mut scene = FullDisk::new(CONTINUE);
    scene.gateway.wait_for("the store cannot write");
    scene.gateway.wait_for("what is accepted meanwhile does not survive a restart");
    let door = scene.topic_id.clone();
    scene.node.ask(&format!("LL 0C 20 {door} 7003 'after'"), &format!("07 0D {door} 7003 00"));
    Node::udp(scene.gateway.udp()).connect("late");
    scene.gets_room();
    scene.everything_arrives();
}

/// A gateway without a broker, whose store has grown until its file may not grow any more, and the device that made it.
struct FullDisk {
    broker: Mosquitto,
    gateway: Gateway,
    node: Node,
    topic_id: String,
    accepted: Vec<String>,
}

impl FullDisk {
    fn new(config: &str) -> Self {
        let broker = Mosquitto::not_started();
        let gateway = Home::lasting(config, &["--broker", &broker.url()]).start();
        gateway.wait_for("no connection to the broker");
        limit_files(&gateway, Some(LIMIT));
        let mut node = Node::udp(gateway.udp());
        node.connect("door");
        let topic_id = node.register("iot/door");
        let mut scene = Self { broker, gateway, node, topic_id, accepted: Vec::new() };
        while !scene.is_full() {
            scene.publish();
        }
        scene
    }

    fn is_full(&self) -> bool {
        self.gateway.log().iter().any(|line| line.contains("the store cannot write"))
    }

    /// Publishes until it is accepted, or will not be.
    fn publish(&mut self) {
        let Self { topic_id, accepted, node, .. } = self;
        let (number, filling) = (accepted.len() + 1, "x".repeat(200));
        let payload = format!("{number}{filling}");
        node.send(&format!("LL 0C 20 {topic_id} {number:04X} '{payload}'"));
        while !self.is_full() {
            if let Some(answer) = self.node.receive(GLANCE) {
                assert_eq!(hex(&answer), format!("070D{}{number:04X}00", self.topic_id));
                return self.accepted.push(payload);
            }
        }
    }

    fn gets_room(&self) {
        limit_files(&self.gateway, None);
        self.gateway.wait_for("the store writes again");
    }

    /// What was accepted is in the store, and goes from there to the broker.
    fn everything_arrives(mut self) {
        let (home, _) = self.gateway.kill();
        self.broker.restart();
        let everything = MosquittoSub::start(self.broker.port(), &["-q", "1", "-t", "iot/#"]);
        let _gateway = home.start();
        everything.wait_for("after");
        let arrived = everything.messages();
        assert!(self.accepted.len() > 10, "the disk was full before it began");
        for payload in &self.accepted {
            assert!(arrived.contains(payload), "{payload} was accepted");
        }
    }
}

/// Limits what the gateway may write to one file from now on.
fn limit_files(gateway: &Gateway, octets: Option<u64>) {
    let process = i32::try_from(gateway.process_id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: octets, maximum: None };
    prlimit(process, Resource::Fsize, limit).expect("our own child can be limited");
}

fn forbid_writing(directory: &Path) {
    fs::set_permissions(directory, Permissions::from_mode(0o555)).expect("it is ours");
}

fn damage_all(file: &Path) {
    fs::write(file, "this is no store").expect("it is ours");
}

fn cut_off(file: &Path) {
    let length = fs::metadata(file).expect("it is there").len();
    fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(length / 2)).expect("it is ours");
}

fn gateway_without_broker(config: &str) -> Gateway {
    let gateway = Home::lasting(config, &["--broker", &format!("mqtt://{}", reserved_address())]).start();
    gateway.wait_for("no connection to the broker");
    gateway
}

/// Asserts that the gateway did not start, and said all of this.
#[track_caller]
fn assert_refuses(output: &Output, words: &[&str]) {
    let text = text_of(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}
