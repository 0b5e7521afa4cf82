//! A real Mosquitto of the test's own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::port::reserved_address;

const PATIENCE: Duration = Duration::from_secs(20);

/// A Mosquitto on a free port, with its files in a directory that goes with it.
pub(crate) struct Mosquitto {
    addr: SocketAddr,
    directory: TempDir,
    process: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker that everyone may use.
    pub(crate) fn start() -> Self {
        Self::with(|_| "allow_anonymous true".to_owned())
    }

    /// Starts a broker that keeps its sessions and messages when it is stopped in order.
    pub(crate) fn with_persistence(extra: &str) -> Self {
        Self::with(|directory| {
            let place = directory.display();
            format!("allow_anonymous true\npersistence true\npersistence_location {place}/\n{extra}")
        })
    }

    /// Starts a broker with these lines in its configuration; they are given the directory of the broker's files.
    pub(crate) fn with(lines: impl FnOnce(&Path) -> String) -> Self {
        let mut broker = Self::at(reserved_address(), lines);
        broker.resume();
        broker
    }

    /// Makes a broker that is not started yet.
    pub(crate) fn at(addr: SocketAddr, lines: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, log) = (addr.port(), directory.path().join("log"));
        let lines = lines(directory.path());
        // Without `user root` a Mosquitto started by root becomes a user who cannot read the directory.
        let config =
            format!("listener {port} 127.0.0.1\nuser root\nlog_type all\nlog_dest file {}\n{lines}\n", log.display());
        fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        Self { addr, directory, process: None }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.addr)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Puts one more line into the configuration, for when the process is started again.
    pub(crate) fn configure(&self, line: &str) {
        let config = fs::read_to_string(self.file("mosquitto.conf")).unwrap();
        fs::write(self.file("mosquitto.conf"), format!("{config}{line}\n")).unwrap();
    }

    /// Starts the process and waits until it accepts connections.
    pub(crate) fn resume(&mut self) {
        let process = Command::new("mosquitto")
            .arg("-c")
            .arg(self.file("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto can be started (apt-get install mosquitto mosquitto-clients)");
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.addr).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the process in order: it writes what it keeps.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(&process, "TERM");
            process.wait().unwrap();
        }
    }

    /// Lets the process stand still: its connections stay, and nobody answers.
    pub(crate) fn freeze(&self) {
        signal(self.process.as_ref().expect("the broker runs"), "STOP");
    }

    /// Kills the process: it forgets everything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(process: &Child, name: &str) {
    let told = Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()).status().unwrap();
    assert!(told.success());
}
