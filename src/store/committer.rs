//! The thread that writes. While it waits for the disk, changes gather at the desk; they are the next commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::{Desk, Next};
use super::engine::{Engine, Opener, Outcome};
use super::guard::guarded;
use super::key::Key;
use super::pace::{Credit, Pace};
use super::trouble::Trouble;

pub(super) struct Committer {
    desk: Arc<Desk>,
    /// None after an error.
    engine: Option<Box<dyn Engine>>,
    opener: Opener,
    pace: Pace,
    credit: Credit,
}

impl Committer {
    pub(super) fn new(desk: Arc<Desk>, engine: Box<dyn Engine>, opener: Opener, pace: Pace) -> Self {
        Self { desk, engine: Some(engine), opener, pace, credit: Credit::new(pace.commit_every) }
    }

    /// Writes until the store is closed.
    pub(super) fn run(mut self) {
        let mut failures: Option<Failures> = None;
        while self.desk.wait() == Next::Write {
            self.keep_pace();
            match self.write() {
                Ok(()) => failures = None,
                Err(trouble) => {
                    let failures = failures.get_or_insert_with(|| Failures::begin(self.pace));
                    if failures.is_reminder_due(self.pace) {
                        self.desk.say_failing(&trouble);
                    }
                    // One attempt is made after the closing has begun, no more.
                    if !self.desk.is_open() {
                        return;
                    }
                    self.desk.pause(failures.next_pause(self.pace));
                }
            }
        }
    }

    /// Writes all that waits.
    fn write(&mut self) -> Result<(), Trouble> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => self.reopen().inspect_err(|trouble| self.desk.trouble(trouble))?,
        };
        let work = self.desk.begin();
        if work.batch.is_empty() {
            self.desk.written(work, Outcome::Unchanged);
            self.engine = Some(engine);
            return Ok(());
        }
        self.credit.spend(Instant::now());
        // The engine goes out of use with an error, also by a panic in it.
        let committed = guarded(|| {
            let outcome = engine.commit(&work.batch)?;
            Ok((outcome, engine))
        });
        match committed {
            Ok((outcome, engine)) => {
                self.engine = Some(engine);
                self.desk.written(work, outcome);
                Ok(())
            }
            Err(trouble) => {
                self.desk.failed(work, &trouble);
                Err(trouble)
            }
        }
    }

    /// Opens the engine anew and finds out what it holds.
    fn reopen(&mut self) -> Result<Box<dyn Engine>, Trouble> {
        let (engine, keys) = guarded(|| {
            let engine = (self.opener)()?;
            let mut keys = BTreeSet::new();
            engine.read(&mut |key, _| {
                keys.insert(Key::from_octets(key));
            })?;
            Ok((engine, keys))
        })?;
        self.desk.found(keys);
        Ok(engine)
    }

    fn keep_pace(&self) {
        let left = self.credit.wait(Instant::now());
        if !left.is_zero() && self.desk.has_changes() {
            self.desk.gather(left, self.pace.enough);
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // The file is closed before anybody is told.
        let engine = self.engine.take();
        let _ = guarded(|| {
            drop(engine);
            Ok(())
        });
        self.desk.committer_ended();
    }
}

/// Attempts that failed without one between them that did not.
struct Failures {
    pause: Duration,
    said: Instant,
}

impl Failures {
    fn begin(pace: Pace) -> Self {
        Self { pause: pace.retry, said: Instant::now() }
    }

    fn next_pause(&mut self, pace: Pace) -> Duration {
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(pace.longest_retry);
        pause
    }

    fn is_reminder_due(&mut self, pace: Pace) -> bool {
        let due = self.said.elapsed() >= pace.remind;
        if due {
            self.said = Instant::now();
        }
        due
    }
}
