//! Under load the gateway rests for a moment before it looks for more, and takes what has come meanwhile together: one
//! wake-up, one write to the broker and one system call towards devices for many messages. Network cards do the same with
//! interrupts.
//!
//! It begins when so much comes that a pause brings several frames. Where nobody waits for answers the pauses become
//! longer. It ends when less comes for it, unless that is still much: who waits for each answer before the next message is
//! slowed down, and a few such clients lose more by it than is won.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Frames over which a rate is measured while nothing is gathered.
const FRAMES: u32 = 1_024;
/// Pauses over which one is measured while something is.
const PAUSES: u32 = 64;
/// A pause has to bring so many frames by the rate before it, or it is none.
const WORTH: u32 = 8;
/// When it brings so many it is worth it for whoever waits, too.
const PLENTY: u32 = 24;
/// Nobody waits for answers when fewer than one is given to so many frames.
const SELDOM: u32 = 16;
/// So many times as long is a pause then.
const UNAWAITED: u32 = 8;
/// It ends after so many windows in a row in which it was not worth it.
const PATIENCE: u32 = 3;
/// For how long nothing is gathered then.
const REST: Duration = Duration::from_secs(5);

/// Counts frames from and to devices, and rests before the event loop waits for more.
#[derive(Debug)]
pub(super) struct Gathering {
    /// How long a pause is; zero for none at all.
    pause: Duration,
    received: AtomicU32,
    sent: AtomicU32,
    load: Mutex<Load>,
}

/// What the frames of late say about the load.
#[derive(Clone, Copy, Debug)]
struct Load {
    pace: Pace,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    AsItComes {
        not_before: Instant,
    },
    Gathering {
        /// From one frame to the next before it began.
        before: Duration,
        answers: Answers,
        /// Windows since it was worth it.
        in_vain: u32,
    },
}

/// Whether devices wait for what they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Awaited,
    Unawaited,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    received: u32,
    sent: u32,
    /// Times at which there was nothing left to do.
    rests: u32,
}

impl Gathering {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            pause,
            received: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            load: Mutex::new(Load::new(Instant::now())),
        }
    }

    /// Counts frames from devices that have been handled, and those that were sent to devices.
    pub(super) fn count(&self, received: usize, sent: usize) {
        let add = |to: &AtomicU32, frames| to.fetch_add(u32::try_from(frames).unwrap_or(u32::MAX), Ordering::Relaxed);
        add(&self.received, received);
        add(&self.sent, sent);
    }

    /// Rests, if the load is such that it pays. To be called when there is nothing left to do.
    pub(super) fn rest(&self) {
        let received = self.received.swap(0, Ordering::Relaxed);
        // After the broker's answers alone the devices are not to wait a second time.
        if self.pause.is_zero() || received == 0 {
            return;
        }
        let sent = self.sent.swap(0, Ordering::Relaxed);
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = load.pause(received, sent, self.pause, Instant::now);
        drop(load);
        if let Some(pause) = pause {
            // The thread has nothing else to do: everything that it could wait for is also there afterwards.
            thread::sleep(pause);
        }
    }
}

impl Load {
    fn new(now: Instant) -> Self {
        Self { pace: Pace::AsItComes { not_before: now }, window: Window::new(now) }
    }

    /// Takes note of frames, and returns for how long to rest.
    fn pause(&mut self, received: u32, sent: u32, pause: Duration, now: impl FnOnce() -> Instant) -> Option<Duration> {
        self.window.count(received, sent);
        let is_over = match self.pace {
            Pace::AsItComes { .. } => self.window.received >= FRAMES,
            Pace::Gathering { .. } => self.window.rests >= PAUSES,
        };
        if is_over {
            let now = now();
            self.pace = self.pace.after(&self.window, pause, now);
            self.window = Window::new(now);
        }
        match self.pace {
            Pace::AsItComes { .. } => None,
            Pace::Gathering { answers: Answers::Awaited, .. } => Some(pause),
            Pace::Gathering { answers: Answers::Unawaited, .. } => Some(pause * UNAWAITED),
        }
    }
}

impl Pace {
    fn after(self, window: &Window, pause: Duration, now: Instant) -> Self {
        let each = now.duration_since(window.since) / window.received.max(1);
        let answers = if window.sent < window.received / SELDOM { Answers::Unawaited } else { Answers::Awaited };
        match self {
            Self::AsItComes { not_before } if now < not_before || each * WORTH > pause => self,
            Self::AsItComes { .. } => Self::Gathering { before: each, answers, in_vain: 0 },
            // The load is over.
            Self::Gathering { .. } if each > pause => Self::AsItComes { not_before: now },
            Self::Gathering { before, in_vain, .. } => {
                let is_worth_it = window.received >= window.rests * PLENTY || each <= before * 3 / 2;
                match if is_worth_it { 0 } else { in_vain + 1 } {
                    PATIENCE.. => Self::AsItComes { not_before: now + REST },
                    in_vain => Self::Gathering { before, answers, in_vain },
                }
            }
        }
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { since: now, received: 0, sent: 0, rests: 0 }
    }

    fn count(&mut self, received: u32, sent: u32) {
        self.received = self.received.saturating_add(received);
        self.sent = self.sent.saturating_add(sent);
        self.rests += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_micros(500);
    const SECOND: Duration = Duration::from_secs(1);

    /// A load, and the time by which it goes.
    struct Rig {
        load: Load,
        now: Instant,
        /// Frames sent for each that is received.
        answers: f64,
    }

    impl Rig {
        fn new(answers: f64) -> Self {
            let now = Instant::now();
            Self { load: Load::new(now), now, answers }
        }

        /// Frames come one by one, so many a second, whatever is done. Returns how long the pauses are in the end.
        fn comes(&mut self, for_long: Duration, each_second: u32) -> Option<Duration> {
            self.goes_on(for_long, |pause| {
                let took = pause.unwrap_or_default().max(SECOND / each_second);
                (u32::try_from(took.as_nanos() * u128::from(each_second) / SECOND.as_nanos()).unwrap(), took)
            })
        }

        /// So many clients wait for each answer, and send the next message so soon. Returns how long the pauses are in
        /// the end.
        fn answer_by_answer(&mut self, for_long: Duration, clients: u32, after: Duration) -> Option<Duration> {
            self.goes_on(for_long, |pause| match pause {
                Some(pause) => (clients, after + pause),
                None => (1, after / clients),
            })
        }

        fn goes_on(
            &mut self,
            for_long: Duration,
            come: impl Fn(Option<Duration>) -> (u32, Duration),
        ) -> Option<Duration> {
            let end = self.now + for_long;
            let mut pause = None;
            while self.now < end {
                let (frames, took) = come(pause);
                self.now += took;
                let answers = (f64::from(frames) * self.answers).round() as u32;
                pause = self.load.pause(frames, answers, PAUSE, || self.now);
            }
            pause
        }
    }

    #[test]
    fn what_comes_often_is_gathered_and_what_comes_seldom_is_not() {
        let mut rig = Rig::new(1.0);
        assert_eq!(rig.comes(SECOND, 12_500), None);
        assert_eq!(rig.comes(SECOND, 25_000), Some(PAUSE));
        assert_eq!(rig.comes(SECOND, 50_000), Some(PAUSE));
        assert_eq!(rig.comes(SECOND, 1_000), None);
    }

    #[test]
    fn what_nobody_waits_for_is_gathered_for_longer() {
        let mut rig = Rig::new(0.0);
        assert_eq!(rig.comes(SECOND, 25_000), Some(PAUSE * UNAWAITED));
        rig.answers = 0.1;
        assert_eq!(rig.comes(SECOND, 25_000), Some(PAUSE), "a few do");
    }

    #[test]
    fn a_few_who_wait_for_each_answer_are_not_slowed_down_for_long() {
        let mut rig = Rig::new(1.0);
        let soon = Duration::from_micros(200);
        assert_eq!(rig.answer_by_answer(SECOND, 8, soon), None);
        assert_eq!(rig.comes(REST - SECOND * 2, 25_000), None, "it is not tried again so soon");
        assert_eq!(rig.comes(REST, 25_000), Some(PAUSE), "but later");
    }

    #[test]
    fn many_who_wait_for_each_answer_are_served_together() {
        let mut rig = Rig::new(1.0);
        assert_eq!(rig.answer_by_answer(SECOND, 100, Duration::from_millis(2)), Some(PAUSE));
    }

    #[test]
    fn an_end_of_the_load_ends_it() {
        let mut rig = Rig::new(1.0);
        assert_eq!(rig.comes(SECOND, 25_000), Some(PAUSE));
        assert_eq!(rig.comes(SECOND * 100, 1), None);
    }
}
