//! The Arduino examples, built for this computer: sketches that run as programs, and the C++ tests beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::{PATIENCE, Process};

const EXAMPLES: &str = "examples/arduino";
const TESTS: &str = "tests/e2e/arduino";

/// The language that the Arduino IDE compiles, and no warning let pass.
const FLAGS: &[&str] = &["-std=gnu++11", "-Wall", "-Wextra", "-Werror", "-O1"];

/// A sketch, or a C++ test, compiled.
pub struct Sketch {
    name: &'static str,
    home: TempDir,
}

/// What the sketch's radio is made of.
pub struct Air {
    home: TempDir,
}

impl Sketch {
    /// Builds the node with these settings, `NAME=VALUE`.
    pub fn node(settings: &[&str]) -> Self {
        Self::compile("node", &[example("node/node.ino"), client(), test("board/board.cpp")], settings)
    }

    /// Builds the node for [`Air`].
    pub fn node_on_radio(settings: &[&str]) -> Self {
        let sources = [example("node/node.ino"), client(), test("board/board.cpp"), test("board/air.cpp")];
        Self::compile("node", &sources, &[settings, &["NODE_ON_RADIO=1"]].concat())
    }

    /// Builds the forwarder, with [`Air`] as its radio.
    pub fn forwarder() -> Self {
        let sources = [example("forwarder/forwarder.ino"), test("board/board.cpp"), test("board/air.cpp")];
        Self::compile("forwarder", &sources, &[])
    }

    /// Builds one of the C++ tests.
    pub fn test(name: &'static str) -> Self {
        Self::compile(name, &[test(&format!("{name}.cpp")), client()], &[])
    }

    /// Runs it with its Serial at this end of a line.
    pub fn on(&self, line: &Path) -> Process {
        Process::start(self.name, Command::new(self.program()).arg(line))
    }

    /// Runs it as a station on the air, with its Serial at this end of a line or at none.
    pub fn on_air(&self, air: &Air, address: u16, line: Option<&Path>) -> Process {
        let mut command = Command::new(self.program());
        command.args(line).env("AIR", air.home.path()).env("AIR_ADDRESS", address.to_string());
        Process::start(self.name, &mut command)
    }

    /// Runs it to its end, which has to be a good one.
    pub fn passes(&self, arguments: &[&Path]) {
        let mut process = Process::start(self.name, Command::new(self.program()).args(arguments));
        let status = process.wait_for_end(PATIENCE);
        assert!(status.success(), "{}: {status}", self.name);
    }

    fn compile(name: &'static str, sources: &[impl AsRef<Path>], settings: &[&str]) -> Self {
        let sketch = Self { name, home: TempDir::new().expect("a temporary directory") };
        let mut command = Command::new("g++");
        command.args(FLAGS).args(settings.iter().map(|setting| format!("-D{setting}")));
        command.arg("-I").arg(example("mqttsn/src")).arg("-I").arg(test("board"));
        command.arg("-o").arg(sketch.program());
        // To the compiler, .ino says nothing.
        command.args(["-x", "c++"]).args(sources.iter().map(AsRef::as_ref));
        let mut compiler = Process::start("g++", &mut command);
        let status = compiler.wait_for_end(PATIENCE);
        assert!(status.success(), "{name} does not compile: {status}");
        sketch
    }

    fn program(&self) -> PathBuf {
        self.home.path().join(self.name)
    }
}

impl Air {
    pub fn still() -> Self {
        Self { home: TempDir::new().expect("a temporary directory") }
    }
}

fn client() -> PathBuf {
    example("mqttsn/src/mqttsn_client.cpp")
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLES).join(file)
}

fn test(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(TESTS).join(file)
}
