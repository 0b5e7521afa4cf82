//! The gateway: the program that is tested.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{PATIENCE, Process};

/// A running gateway, in a working directory of its own.
pub struct Gateway {
    process: Process,
    udp: SocketAddr,
    home: Home,
}

/// The place where a gateway runs, one after the other: what one leaves there the next one finds.
pub struct Home {
    dir: TempDir,
    arguments: Vec<String>,
    privileges: Privileges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privileges {
    Ours,
    /// Those of [`program_without_privileges`].
    None,
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
        Home::new(config, &[&["--udp", "127.0.0.1:0"], arguments].concat()).start()
    }

    /// Starts the gateway with nothing but a `gateway.toml`, which makes it listen on a UDP port of 127.0.0.1.
    pub fn start_as_configured(config: &str) -> Self {
        Home::new(config, &[]).start()
    }

    /// Starts the gateway as [`Gateway::start`] does, with the rights that [`program_without_privileges`] has.
    pub fn start_without_privileges(arguments: &[&str]) -> Self {
        Home::new("", &[&["--udp", "127.0.0.1:0"], arguments].concat()).without_privileges().start()
    }

    /// Where devices reach it.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its working directory.
    pub fn home(&self) -> &Path {
        self.home.path()
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

    /// Returns the log so far.
    pub fn log(&self) -> Vec<String> {
        self.process.lines()
    }

    /// Asks how many messages of devices with a session it keeps for the broker.
    pub fn kept_for_broker(&self) -> u64 {
        let output = run_in(self.home(), &["sessions", "--json"]);
        assert!(output.status.success(), "{}", text_of(&output));
        let sessions: Value = serde_json::from_slice(&output.stdout).expect("what is printed is JSON");
        let sessions = sessions["sessions"].as_array().expect("sessions are listed");
        sessions.iter().map(|session| session["kept_for_broker"].as_u64().expect("a number")).sum()
    }

    /// Stops it as a service supervisor does, and returns how it ended.
    pub fn terminate(self) -> ExitStatus {
        self.terminate_at_home().1
    }

    /// Stops it as a service supervisor does. Another can be started in its place.
    pub fn terminate_at_home(mut self) -> (Home, ExitStatus) {
        self.process.terminate();
        let status = self.process.wait_for_end(PATIENCE);
        (self.home, status)
    }

    /// Ends it on the spot (SIGKILL), and returns the log. Another can be started in its place.
    pub fn kill(mut self) -> (Home, Vec<String>) {
        self.process.kill();
        (self.home, self.process.lines())
    }
}

impl Home {
    /// A place without a store, where the gateway is started with these arguments.
    pub fn new(config: &str, arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let home = Self { dir, arguments, privileges: Privileges::Ours };
        home.configure(config);
        home
    }

    /// A place where one gateway follows the other at the same address, which belongs to this place alone: nobody takes
    /// the port while none runs.
    pub fn lasting(config: &str, arguments: &[&str]) -> Self {
        static PLACES: AtomicU8 = AtomicU8::new(1);
        let address = Ipv4Addr::new(127, 0, 1, PLACES.fetch_add(1, Ordering::Relaxed));
        let socket = UdpSocket::bind((address, 0)).expect("a loopback port");
        let address = socket.local_addr().expect("it is bound").to_string();
        Self::new(config, &[&["--udp", &address], arguments].concat())
    }

    /// Takes away the rights that [`program_without_privileges`] does not have.
    pub fn without_privileges(self) -> Self {
        Self { privileges: Privileges::None, ..self }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes another `gateway.toml`; an empty one is none.
    pub fn configure(&self, config: &str) {
        if !config.is_empty() {
            std::fs::write(self.path().join("gateway.toml"), config).expect("a temporary file");
        }
    }

    /// Starts a gateway and waits until it listens.
    pub fn start(self) -> Gateway {
        let process = Process::start("mqttsn-gateway", &mut self.command());
        let udp = address_in(&process.wait_for("UDP 127.0."));
        Gateway { udp, process, home: self }
    }

    /// Starts a gateway and kills it after so long, whatever it does by then. Returns its log.
    pub fn start_and_kill(&self, after: Duration) -> Vec<String> {
        let mut process = Process::start("mqttsn-gateway", &mut self.command());
        thread::sleep(after);
        process.kill();
        process.lines()
    }

    /// Runs a gateway that ends by itself.
    pub fn run(&self) -> Output {
        self.command().stdin(Stdio::null()).output().expect("the program under test is there")
    }

    fn command(&self) -> Command {
        let mut command = match self.privileges {
            Privileges::Ours => program(self.path()),
            Privileges::None => program_without_privileges(self.path()),
        };
        command.args(&self.arguments);
        command
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
