//! Mosquitto, the broker, and its two clients.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::port::reserved_address;
use super::process::{PATIENCE, Process, until};

/// A real broker on a port of its own.
pub struct Mosquitto {
    port: u16,
    home: TempDir,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts a broker that takes anyone, keeps sessions over an orderly restart and queues without bound.
    pub fn start() -> Self {
        let mut broker = Self::not_started();
        broker.restart();
        broker
    }

    /// Reserves a port and starts nothing on it yet.
    pub fn not_started() -> Self {
        Self { port: reserved_address().port(), home: TempDir::new().expect("a temporary directory"), process: None }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Starts the broker, on the same port and with the same store as before.
    pub fn restart(&mut self) {
        self.process = None;
        let config = self.write_config();
        let process = Process::start("mosquitto", Command::new("mosquitto").arg("-c").arg(config));
        process.wait_for(" running");
        self.process = Some(process);
    }

    /// Stops the broker in order: it closes its connections and writes its store. Returns its log.
    pub fn stop(&mut self) -> Vec<String> {
        let mut process = self.process.take().expect("the broker is running");
        process.terminate();
        process.wait_for_end(PATIENCE);
        process.lines()
    }

    /// Ends the broker on the spot, when it has saved all that it has acknowledged. It saves after it has acknowledged,
    /// so nobody may be connected by now who cares.
    pub fn save_and_kill(&mut self) {
        let store = self.home.path().join("mosquitto.db");
        let inode = |path: &Path| std::fs::metadata(path).map(|data| data.ino()).ok();
        let before = inode(&store);
        self.process().interrupt();
        // It writes another file and renames that.
        until("the broker saves", || inode(&store).filter(|now| Some(*now) != before));
        self.kill();
    }

    /// Ends the broker on the spot.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Makes the broker hang: it keeps its connections and says nothing any more.
    pub fn hang(&self) {
        self.process().halt();
    }

    /// Waits for a line of the broker's log since it was last started.
    pub fn wait_for(&self, text: &str) -> String {
        self.process().wait_for(text)
    }

    /// Returns the log since it was last started.
    pub fn log(&self) -> Vec<String> {
        self.process().lines()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the broker is running")
    }

    fn write_config(&self) -> PathBuf {
        let home = self.home.path();
        let path = home.join("mosquitto.conf");
        let config = format!(
            "listener {port} 127.0.0.1\n\
             allow_anonymous true\n\
             user root\n\
             persistence true\n\
             persistence_location {home}/\n\
             max_queued_messages 0\n\
             set_tcp_nodelay true\n\
             log_dest stderr\n\
             log_type all\n",
            port = self.port,
            home = home.display(),
        );
        std::fs::write(&path, config).expect("a temporary file");
        path
    }
}

/// `mosquitto_sub`, subscribed.
pub struct MosquittoSub {
    process: Process,
}

impl MosquittoSub {
    /// Starts `mosquitto_sub` with these arguments and waits for its subscription.
    pub fn start(port: u16, arguments: &[&str]) -> Self {
        let process = Process::start("mosquitto_sub", &mut mosquitto_sub(port, arguments));
        process.wait_for("Subscribed (mid:");
        Self { process }
    }

    /// Waits for a message, as it is printed.
    pub fn wait_for(&self, line: &str) {
        self.process
            .find(|printed| printed == line)
            .unwrap_or_else(|| panic!("mosquitto_sub: no message {line:?} within {PATIENCE:?}"));
    }

    /// Returns what was printed so far, without what `mosquitto_sub` says of itself.
    pub fn messages(&self) -> Vec<String> {
        messages_of(&self.process)
    }

    /// Waits for the end, after `-C` messages or `-W` seconds, and returns the messages.
    pub fn wait_for_end(mut self, patience: Duration) -> Vec<String> {
        self.process.wait_for_end(patience);
        messages_of(&self.process)
    }
}

/// Makes a persistent session with a subscription at the broker and leaves it behind.
pub fn leave_a_session(port: u16, client_id: &str, qos: &str, filter: &str) {
    let arguments = ["-c", "-q", qos, "-i", client_id, "-t", filter, "-E"];
    let mut process = Process::start("mosquitto_sub", &mut mosquitto_sub(port, &arguments));
    assert!(process.wait_for_end(PATIENCE).success());
}

/// Returns whether `mosquitto_pub` was told that the broker has the message.
pub fn is_published(port: u16, arguments: &[&str]) -> bool {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("mosquitto_pub is there").success()
}

/// Publishes with `mosquitto_pub`.
pub fn mosquitto_pub(port: u16, arguments: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    let status = Process::start("mosquitto_pub", &mut command).wait_for_end(PATIENCE);
    assert!(status.success(), "mosquitto_pub {arguments:?}: {status}");
}

/// Line by line: into a pipe it would write only when a buffer is full.
fn mosquitto_sub(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    command
}

/// `-d` mixes the client's own words with the messages; these begin as no topic or payload of ours does.
fn messages_of(process: &Process) -> Vec<String> {
    let own_words = |line: &String| line.starts_with("Client ") || line.starts_with("Subscribed (mid:");
    process.lines().into_iter().filter(|line| !own_words(line)).collect()
}
