//! One line on stderr that is written anew every second, for whoever waits.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::tally::{Flow, Tally};
use crate::core::Instant;

const EVERY: Duration = Duration::from_secs(1);

/// How far a run is.
#[derive(Debug)]
pub(super) struct Progress {
    shown: Shown,
    next: Instant,
    /// What was through at the last line.
    through: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Over the line before.
    InPlace,
    /// Below the line before: what reads it is no terminal.
    Below,
    Nowhere,
}

impl Progress {
    pub(super) fn on_stderr() -> Self {
        Self::new(if io::stderr().is_terminal() { Shown::InPlace } else { Shown::Below })
    }

    pub(super) fn none() -> Self {
        Self::new(Shown::Nowhere)
    }

    fn new(shown: Shown) -> Self {
        Self { shown, next: Instant::ORIGIN + EVERY, through: 0 }
    }

    /// Shows the state of things if it is time.
    pub(super) fn tick(&mut self, now: Instant, tally: &Tally, joined: u32) {
        if now < self.next || self.shown == Shown::Nowhere {
            return;
        }
        self.next = now + EVERY;
        let line = format!("{:4} s  {}", now.since_origin().as_secs(), words(tally, joined, &mut self.through));
        // There is nobody left to tell that stderr is closed.
        let _ = match self.shown {
            Shown::InPlace => write!(io::stderr(), "\r\x1b[K{line}"),
            Shown::Below => writeln!(io::stderr(), "{line}"),
            Shown::Nowhere => Ok(()),
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown == Shown::InPlace {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn words(tally: &Tally, joined: u32, through: &mut u64) -> String {
    let mut words = format!("{joined} clients");
    let all = [("up", &tally.up), ("down", &tally.down)];
    for (name, flow) in all.into_iter().filter(|(_, flow)| flow.sent > 0) {
        let Flow { answered, watched, sent, acknowledged, arrived, retransmitted, .. } = flow;
        words += &format!("  {name}: {sent} sent");
        if *answered {
            words += &format!(", {acknowledged} acknowledged");
        }
        if *watched {
            words += &format!(", {arrived} arrived");
        }
        if *retransmitted > 0 {
            words += &format!(", {retransmitted} sent again");
        }
    }
    let now_through = tally.up.completed() + tally.down.completed();
    if now_through > 0 {
        words += &format!("  {}/s", now_through - *through);
    }
    *through = now_through;
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_what_is_through_since_the_last() {
        let mut tally = Tally::default();
        let mut through = 0;
        assert_eq!(words(&tally, 3, &mut through), "3 clients");
        tally.up = Flow { answered: true, watched: true, sent: 20, acknowledged: 19, arrived: 18, ..Flow::default() };
        assert_eq!(words(&tally, 3, &mut through), "3 clients  up: 20 sent, 19 acknowledged, 18 arrived  18/s");
        tally.up.arrived = 20;
        assert!(words(&tally, 3, &mut through).ends_with("  2/s"));
    }
}
