//! Worlds by seed: two hundred every time, the ones that have failed before, and as many more as one asks for.
//!
//! One seed again, with every step shown: `SEED=17 cargo test --test seeds replay -- --nocapture`. Many: `scripts/soak`.
#![expect(clippy::unwrap_used, reason = "a test program: failing loudly is its purpose")]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use mqttsn_gateway::sim::{Dice, Failure, Story, run};

const EVERY_TIME: Range<u64> = 0..200;
/// Seeds that have failed: a number and what it was about.
const KEPT: &str = include_str!("../fixtures/seeds.txt");

#[test]
fn every_promise_holds_in_two_hundred_worlds() {
    report(&failures(EVERY_TIME));
}

#[test]
fn what_failed_once_does_not_fail_again() {
    let seeds = KEPT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_whitespace().next());
    let failures: Vec<_> = seeds.filter_map(|seed| failure(seed.parse().unwrap())).collect();
    report(&failures);
}

#[test]
fn a_seed_gives_the_same_world_again() {
    let live = || run(Dice::from_seed(1), Story::LastSteps).unwrap();
    assert_eq!(live(), live());
}

/// Shows one world from beginning to end; without `SEED` it does nothing.
#[test]
fn replay() {
    let Some(seed) = number("SEED") else { return };
    match run(Dice::from_seed(seed), Story::Everything) {
        Ok(summary) => println!("seed {seed}: every promise held. {summary:?}"),
        Err(failure) => panic!("seed {seed}\n{failure}"),
    }
}

/// As many worlds as `SEEDS` says, beginning with `FIRST`; without `SEEDS` it does nothing.
#[test]
fn soak() {
    let Some(count) = number("SEEDS") else { return };
    let first = number("FIRST").unwrap_or(EVERY_TIME.end);
    report(&failures(first..first + count));
    println!("{count} worlds from seed {first} on: every promise held");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn failures(seeds: Range<u64>) -> Vec<(u64, Failure)> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end));
        mine.filter_map(failure).collect::<Vec<_>>()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut failures = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    failures.sort_by_key(|(seed, _)| *seed);
    failures
}

fn failure(seed: u64) -> Option<(u64, Failure)> {
    run(Dice::from_seed(seed), Story::LastSteps).err().map(|failure| (seed, failure))
}

fn report(failures: &[(u64, Failure)]) {
    let Some((seed, first)) = failures.first() else { return };
    let all: Vec<String> = failures.iter().map(|(seed, failure)| format!("  {seed}: {}", failure.violation)).collect();
    panic!(
        "seed {seed}\n{first}\n\n{} worlds failed:\n{}\nreplay: SEED={seed} cargo test --test seeds replay -- --nocapture",
        failures.len(),
        all.join("\n"),
    );
}
