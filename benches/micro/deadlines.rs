//! The timers of 100,000 sessions.

use std::time::Duration;

use divan::{Bencher, black_box};
use mqttsn_gateway::core::Instant;
use mqttsn_gateway::core::deadlines::Deadlines;

const SESSIONS: u32 = 100_000;
const KEEP_ALIVE: Duration = Duration::from_secs(90);

/// All armed, their ends spread over one keep-alive period.
fn armed() -> Deadlines {
    let mut deadlines = Deadlines::default();
    for key in 0..SESSIONS {
        deadlines.arm(key, Instant::ORIGIN + KEEP_ALIVE * key / SESSIONS);
    }
    deadlines
}

/// What nearly every frame does: its sender's deadline moves away.
#[divan::bench]
fn arm_again(bencher: Bencher<'_, '_>) {
    let mut deadlines = armed();
    let mut key = 0;
    let mut now = Instant::ORIGIN;
    bencher.bench_local(|| {
        // Far apart in memory, as frames of many senders are.
        key = (key + 7_919) % SESSIONS;
        now = now + Duration::from_micros(10);
        deadlines.arm(black_box(key), now + KEEP_ALIVE);
    });
}

/// A deadline that has come, and the next one of the same session.
#[divan::bench]
fn pop_and_arm(bencher: Bencher<'_, '_>) {
    let mut deadlines = armed();
    bencher.bench_local(|| {
        let now = deadlines.next().unwrap();
        if let Some(key) = deadlines.pop(now) {
            deadlines.arm(key, now + KEEP_ALIVE);
        }
    });
}

/// Called after every input; most of the time nothing has come.
#[divan::bench]
fn look(bencher: Bencher<'_, '_>) {
    let mut deadlines = armed();
    while deadlines.pop(Instant::ORIGIN).is_some() {}
    bencher.bench_local(|| (deadlines.next(), deadlines.pop(black_box(Instant::ORIGIN))));
}
