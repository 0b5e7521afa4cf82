//! Under load the gateway rests for a moment before it looks for more, and takes what has come meanwhile together: one
//! wake-up, one write to the broker and one system call towards devices for many messages. Network cards do the same with
//! interrupts.
//!
//! It begins when so much comes that a pause brings several frames, and ends when fewer come for it: who waits for each
//! answer before the next message would only be slowed down.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Frames over which a rate is measured.
const WINDOW: u32 = 256;
/// A pause has to bring so many frames by the rate before it, or it is none.
const WORTH: u32 = 8;
/// For how long nothing is gathered after it has not been worth it.
const REST: Duration = Duration::from_secs(5);

/// Counts frames from devices, and rests before the event loop waits for more.
#[derive(Debug)]
pub(super) struct Gathering {
    /// How long a pause is; zero for none at all.
    pause: Duration,
    frames: AtomicU32,
    load: Mutex<Load>,
}

/// What the frames of late say about the load.
#[derive(Clone, Copy, Debug)]
struct Load {
    pace: Pace,
    /// Frames since `since`.
    frames: u32,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    AsItComes {
        not_before: Instant,
    },
    /// Before, a window took so long.
    Gathering {
        before: Duration,
    },
}

impl Gathering {
    pub(super) fn new(pause: Duration) -> Self {
        let now = Instant::now();
        let load = Load { pace: Pace::AsItComes { not_before: now }, frames: 0, since: now };
        Self { pause, frames: AtomicU32::new(0), load: Mutex::new(load) }
    }

    /// Counts frames that have been handled.
    pub(super) fn count(&self, frames: usize) {
        self.frames.fetch_add(u32::try_from(frames).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Rests, if the load is such that it pays. To be called when there is nothing left to do.
    pub(super) fn rest(&self) {
        let frames = self.frames.swap(0, Ordering::Relaxed);
        // After the broker's answers alone the devices are not to wait a second time.
        if self.pause.is_zero() || frames == 0 {
            return;
        }
        let pace = self.load.lock().unwrap_or_else(PoisonError::into_inner).next(frames, self.pause, Instant::now);
        match pace {
            // The thread has nothing else to do: everything that it could wait for is also there afterwards.
            Pace::Gathering { .. } => thread::sleep(self.pause),
            Pace::AsItComes { .. } => {}
        }
    }
}

impl Load {
    /// Takes note of frames, and returns how to go on.
    fn next(&mut self, frames: u32, pause: Duration, now: impl FnOnce() -> Instant) -> Pace {
        self.frames = self.frames.saturating_add(frames);
        if self.frames < WINDOW {
            return self.pace;
        }
        let now = now();
        let took = now.duration_since(self.since) * WINDOW / self.frames;
        self.pace = match self.pace {
            Pace::AsItComes { not_before } if now < not_before || took > pause * (WINDOW / WORTH) => self.pace,
            Pace::AsItComes { .. } => Pace::Gathering { before: took },
            Pace::Gathering { before } if took > before * 3 / 2 => Pace::AsItComes { not_before: now + REST },
            Pace::Gathering { .. } => self.pace,
        };
        (self.frames, self.since) = (0, now);
        self.pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_micros(500);

    /// A load, and the time by which it goes.
    struct Rig {
        load: Load,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let now = Instant::now();
            Self { load: Load { pace: Pace::AsItComes { not_before: now }, frames: 0, since: now }, now }
        }

        /// So many windows go by, each within `took`; returns whether what comes next is gathered.
        fn gathers_after(&mut self, windows: usize, took: Duration) -> bool {
            for _ in 0..windows * 16 {
                self.now += took / 16;
                self.load.next(WINDOW / 16, PAUSE, || self.now);
            }
            matches!(self.load.pace, Pace::Gathering { .. })
        }
    }

    #[test]
    fn what_comes_often_is_gathered_and_what_comes_seldom_is_not() {
        let mut rig = Rig::new();
        assert!(!rig.gathers_after(10, Duration::from_millis(20)), "12,800 frames in a second");
        assert!(rig.gathers_after(1, Duration::from_millis(10)), "25,600 frames in a second");
        assert!(rig.gathers_after(10, Duration::from_millis(10)));
        assert!(rig.gathers_after(10, Duration::from_millis(5)), "more of it");
    }

    #[test]
    fn who_waits_for_each_answer_is_not_slowed_down_for_long() {
        let mut rig = Rig::new();
        assert!(rig.gathers_after(1, Duration::from_millis(10)));
        assert!(!rig.gathers_after(1, Duration::from_millis(60)), "each pause has brought one answer's worth");
        assert!(!rig.gathers_after(100, Duration::from_millis(10)), "for a second");
        assert!(rig.gathers_after(500, Duration::from_millis(10)), "tried again");
    }

    #[test]
    fn an_end_of_the_load_ends_it() {
        let mut rig = Rig::new();
        assert!(rig.gathers_after(1, Duration::from_millis(1)));
        assert!(!rig.gathers_after(1, Duration::from_secs(60)));
    }
}
