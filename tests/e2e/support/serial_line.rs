//! A serial line without hardware: two pseudo-terminals joined by socat.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::{PATIENCE, Process};

/// A serial line that can be pulled out and plugged in again.
pub struct SerialLine {
    home: TempDir,
    socat: Option<Process>,
}

impl SerialLine {
    pub fn plug_in() -> Self {
        let mut line = Self { home: TempDir::new().expect("a temporary directory"), socat: None };
        line.plug_in_again();
        line
    }

    /// The gateway's end.
    pub fn gateway_end(&self) -> PathBuf {
        self.home.path().join("ttyGateway")
    }

    /// The device's end.
    pub fn node_end(&self) -> PathBuf {
        self.home.path().join("ttyNode")
    }

    /// Takes the line away, names and all, as pulling a dongle out does.
    pub fn pull_out(&mut self) {
        let mut socat = self.socat.take().expect("the line is plugged in");
        socat.terminate();
        socat.wait_for_end(PATIENCE);
        assert!(!self.gateway_end().exists());
    }

    pub fn plug_in_again(&mut self) {
        let end = |path: PathBuf| format!("pty,raw,echo=0,link={}", path.display());
        let mut command = Command::new("socat");
        command.args(["-d", "-d", &end(self.gateway_end()), &end(self.node_end())]);
        let socat = Process::start("socat", &mut command);
        socat.wait_for("starting data transfer loop");
        self.socat = Some(socat);
    }
}
