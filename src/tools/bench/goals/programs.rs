//! The programs that are measured: a Mosquitto and gateways of our own, each ended when dropped.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::tools::bench::mqtt::BrokerAddress;
use crate::tools::bench::usage::Subject;
use crate::tools::transport::Target;

/// How long a program may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a port.
const GLANCE: Duration = Duration::from_millis(20);
/// Lines of a log that an error shows.
const LINES_KEPT: usize = 5;

/// Where the programs are, and a folder for their files.
#[derive(Debug)]
pub(super) struct Programs {
    gateway: PathBuf,
    mosquitto: PathBuf,
    home: PathBuf,
}

/// A directory for a store, which is removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct DataDir(PathBuf);

/// A running broker.
#[derive(Debug)]
pub(super) struct Mosquitto {
    _process: Process,
    port: u16,
}

/// A running gateway.
#[derive(Debug)]
pub(super) struct GatewayProcess {
    process: Process,
    port: u16,
    log: mpsc::Receiver<String>,
}

#[derive(Debug)]
struct Process(Child);

impl Programs {
    pub(super) fn new(gateway: PathBuf, mosquitto: PathBuf) -> anyhow::Result<Self> {
        let home = std::env::temp_dir().join(format!("mqttsn-bench-{}", std::process::id()));
        fs::create_dir_all(&home).with_context(|| format!("cannot make the folder {}", home.display()))?;
        Ok(Self { gateway, mosquitto, home })
    }

    /// Returns the gateway's own file.
    pub(super) fn gateway_file(&self) -> &PathBuf {
        &self.gateway
    }

    /// Makes a directory for a store. It lies in the working directory, because the folder for other files may be memory:
    /// what counts is a disk.
    pub(super) fn data_dir() -> anyhow::Result<DataDir> {
        let parent = std::env::current_dir().context("cannot find the working directory")?;
        let path = parent.join(format!("mqttsn-bench-store-{:08x}", fastrand::u32(..)));
        fs::create_dir(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(DataDir(path))
    }

    /// Starts a broker that takes anyone, keeps nothing on disk and queues without bound. Its window is not what limits:
    /// by default it takes 20 messages at a time from a connection, and of these the gateway has one for all.
    pub(super) fn mosquitto(&self) -> anyhow::Result<Mosquitto> {
        let port = free_port()?;
        let config = self.home.join("mosquitto.conf");
        let lines = [
            &format!("listener {port} 127.0.0.1"),
            "allow_anonymous true",
            "persistence false",
            "max_queued_messages 0",
            "max_inflight_messages 0",
            "set_tcp_nodelay true",
            "log_type error",
        ];
        fs::write(&config, lines.join("\n") + "\n").context("cannot write the broker's configuration")?;
        let mut command = Command::new(&self.mosquitto);
        command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(&mut command).context("is Mosquitto installed, or where? --mosquitto PROGRAM")?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                bail!("{} does not listen within {} s", self.mosquitto.display(), PATIENCE.as_secs());
            }
            thread::sleep(GLANCE);
        }
        Ok(Mosquitto { _process: process, port })
    }

    /// Starts a gateway in front of the broker, and waits until the broker has taken it. It keeps nothing on disk unless
    /// the flags name a directory.
    pub(super) fn gateway(&self, broker: &Mosquitto, flags: &[&str]) -> anyhow::Result<GatewayProcess> {
        self.gateway_at(broker.port, flags)
    }

    /// The same, where the broker is reached at another port than its own.
    pub(super) fn gateway_at(&self, broker_port: u16, flags: &[&str]) -> anyhow::Result<GatewayProcess> {
        let url = format!("mqtt://127.0.0.1:{broker_port}");
        let mut command = Command::new(&self.gateway);
        command.args(["--udp", "127.0.0.1:0", "--broker", &url]).args(flags);
        if !flags.contains(&"--data-dir") {
            command.args(["--data-dir", ""]);
        }
        // No configuration but the flags, whatever lies in the working directory.
        command.current_dir(&self.home).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command).context("cannot start the gateway")?;
        let log = process.0.stderr.take().context("the gateway's log is a pipe")?;
        let (lines, log_lines) = mpsc::sync_channel(4096);
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                // Later nobody listens; the pipe must be read all the same.
                let _ = lines.try_send(line);
            }
        });
        let mut port = None;
        let mut last = VecDeque::new();
        while let Ok(line) = log_lines.recv_timeout(PATIENCE) {
            port = port.or_else(|| port_in(&line));
            if let Some(port) = port.filter(|_| line.contains("connected to mqtt")) {
                return Ok(GatewayProcess { process, port, log: log_lines });
            }
            last.push_back(line);
            if last.len() > LINES_KEPT {
                last.pop_front();
            }
        }
        bail!("the gateway does not start: {}", Vec::from(last).join("; "))
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // A folder that stays behind does no harm.
        let _ = fs::remove_dir_all(&self.home);
    }
}

impl DataDir {
    pub(super) fn name(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // One that stays behind does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Mosquitto {
    pub(super) fn address(&self) -> BrokerAddress {
        BrokerAddress::local(self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl GatewayProcess {
    pub(super) fn target(&self) -> Target {
        Target::Udp { host: "127.0.0.1".to_owned(), port: self.port }
    }

    /// Waits until the log says this.
    pub(super) fn says(&self, words: &str) -> anyhow::Result<()> {
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            if line.contains(words) {
                return Ok(());
            }
        }
        bail!("the gateway does not say {words:?}")
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::Process(self.process.0.id())
    }
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Self).with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a program that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

/// Reads the port from the gateway's line "listening on UDP 127.0.0.1:PORT".
fn port_in(line: &str) -> Option<u16> {
    let (_, after) = line.split_once("listening on UDP 127.0.0.1:")?;
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_the_line_of_the_log() {
        assert_eq!(port_in("2026-11-22T20:48:05Z INFO  listening on UDP 127.0.0.1:21884"), Some(21_884));
        assert_eq!(port_in("INFO  connected to mqtt://127.0.0.1:1883 (MQTT 5)"), None);
    }
}
