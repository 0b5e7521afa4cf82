//! The gateway: the program that is tested.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::process::{PATIENCE, Process};

/// A running gateway, in a working directory of its own.
pub struct Gateway {
    process: Process,
    udp: SocketAddr,
    _home: TempDir,
}

impl Gateway {
    /// Starts the gateway with these arguments and a UDP port of its own, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with_config("", arguments)
    }

    /// Starts the gateway in front of this broker, and waits until the broker has taken it.
    pub fn before(broker_url: &str, arguments: &[&str]) -> Self {
        let gateway = Self::start(&[&["--broker", broker_url], arguments].concat());
        gateway.wait_for_broker();
        gateway
    }

    /// Starts the gateway with a `gateway.toml` in its working directory, and a UDP port of its own.
    pub fn start_with_config(config: &str, arguments: &[&str]) -> Self {
        Self::launch(config, &[&["--udp", "127.0.0.1:0"], arguments].concat())
    }

    /// Starts the gateway with nothing but a `gateway.toml`, which makes it listen on a UDP port of 127.0.0.1.
    pub fn start_as_configured(config: &str) -> Self {
        Self::launch(config, &[])
    }

    /// Starts the gateway as [`Gateway::start`] does, with the rights that [`program_without_privileges`] has.
    pub fn start_without_privileges(arguments: &[&str]) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let mut command = program_without_privileges(home.path());
        command.args(["--udp", "127.0.0.1:0"]).args(arguments);
        Self::launch_command(home, command)
    }

    fn launch(config: &str, arguments: &[&str]) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        if !config.is_empty() {
            std::fs::write(home.path().join("gateway.toml"), config).expect("a temporary file");
        }
        let mut command = program(home.path());
        command.args(arguments);
        Self::launch_command(home, command)
    }

    fn launch_command(home: TempDir, mut command: Command) -> Self {
        let process = Process::start("mqttsn-gateway", &mut command);
        let line = process.wait_for("UDP 127.0.0.1:");
        Self { udp: address_in(&line), process, _home: home }
    }

    /// Where devices reach it.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line of the log.
    pub fn wait_for(&self, text: &str) -> String {
        self.process.wait_for(text)
    }

    /// Returns the lines of the log so far.
    pub fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Waits until the broker has accepted the connection.
    pub fn wait_for_broker(&self) {
        self.wait_for("connected to mqtt");
    }

    /// Stops it as a service supervisor does, and returns how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        self.process.terminate();
        self.process.wait_for_end(PATIENCE)
    }
}

/// Runs the program to its end, in an empty directory.
pub fn run(arguments: &[&str]) -> Output {
    run_in(TempDir::new().expect("a temporary directory").path(), arguments)
}

/// Runs the program to its end.
pub fn run_in(home: &Path, arguments: &[&str]) -> Output {
    program(home).args(arguments).stdin(Stdio::null()).output().expect("the program under test is there")
}

/// Runs the program to its end, with the rights that [`program_without_privileges`] has.
pub fn run_without_privileges(arguments: &[&str]) -> Output {
    let home = TempDir::new().expect("a temporary directory");
    let mut command = program_without_privileges(home.path());
    command.args(arguments).stdin(Stdio::null()).output().expect("the program under test is there")
}

/// Returns what the program printed on both streams.
pub fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The program under test, to be started in `home`.
pub fn program(home: &Path) -> Command {
    let mut command = Command::new(path());
    command.current_dir(home).env_remove("RUST_LOG");
    command
}

/// The program under test, to be started in `home`: a file that its owner may not open it may not open either, even
/// when the tests run as root.
fn program_without_privileges(home: &Path) -> Command {
    if !geteuid().is_root() {
        return program(home);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search"]).arg(path());
    command.current_dir(home).env_remove("RUST_LOG");
    command
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_mqttsn-gateway"))
}

/// Reads the address behind the word `UDP`.
fn address_in(line: &str) -> SocketAddr {
    let (_, after) = line.split_once("UDP ").expect("the line was chosen for it");
    let address = after.split_whitespace().next().unwrap_or_default().trim_end_matches([',', ';', '.']);
    address.parse().unwrap_or_else(|_| panic!("no address in {line:?}"))
}
