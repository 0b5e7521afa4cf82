//! A program that a test starts: its lines, its end, and its death with the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for anything. Generous, because it is only ever waited out by a failing test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often something that cannot be waited for is looked at.
pub const GLANCE: Duration = Duration::from_millis(20);

/// A running program. Killed when dropped; its lines are shown when the test fails.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Process {
    /// Starts the program; its standard output and error become one sequence of lines.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(
                |error| panic!("{name} does not start ({error}); `scripts/test` installs what is needed"),
            );
        let lines = Arc::new(Lines::default());
        let readers = vec![
            collect(child.stdout.take().expect("piped above"), Arc::clone(&lines)),
            collect(child.stderr.take().expect("piped above"), Arc::clone(&lines)),
        ];
        Self { name: name.to_owned(), child, lines, readers }
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for(&self, text: &str) -> String {
        self.find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{}: no line with {text:?} within {PATIENCE:?}", self.name))
    }

    /// Waits for a line that is wanted; `None` if none comes in time.
    pub fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut all = self.lines.all.lock().unwrap();
        loop {
            if let Some(line) = all[seen..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            seen = all.len();
            let left = deadline.checked_duration_since(Instant::now())?;
            all = self.lines.grown.wait_timeout(all, left).unwrap().0;
        }
    }

    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.all.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Halts the program where it is (SIGSTOP): its sockets stay open, and nobody answers.
    pub fn halt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("our own child can be sent a signal");
    }

    /// Sends SIGUSR1: a sketch's delay ends, Mosquitto saves its state.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::USR1).expect("our own child can be sent a signal");
    }

    /// Asks the program to stop (SIGTERM).
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our own child can be sent a signal");
    }

    /// Ends the program on the spot (SIGKILL), and waits for its last line.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
        self.readers.drain(..).for_each(|reader| reader.join().expect("a reader does not panic"));
    }

    /// Returns whether the program has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be waited for").is_some()
    }

    /// Waits for the program to end, and for its last line.
    pub fn wait_for_end(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child can be waited for") {
                self.readers.drain(..).for_each(|reader| reader.join().expect("a reader does not panic"));
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end within {patience:?}", self.name);
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a program that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:", self.name);
            self.lines().iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Repeats `attempt` until it has a result.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(GLANCE);
    }
}

fn collect(stream: impl Read + Send + 'static, lines: Arc<Lines>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|octets| octets > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            lines.all.lock().unwrap().push(text);
            lines.grown.notify_all();
            line.clear();
        }
    })
}
