//! A world for tests: clients, a net, a store and a broker around the gateway's core, all on one virtual clock and one
//! seed.
//!
//! [`run`] lets one world live: for some virtual minutes clients publish, subscribe, sleep, reboot, move and misbehave
//! while the net, the broker and the store fail them, and the gateway crashes and takes up what was stored. Then all faults end, everything must come to rest and everybody have what
//! they were promised; and when all clients are gone, nothing may be left of them. After every step the referee looks.
//!
//! A world is drawn from [`Dice`]: from a seed, so that a failure can be had again, or from a fuzzer's octets.
#![deny(clippy::disallowed_methods, clippy::wildcard_enum_match_arm)]

mod broker;
mod client;
mod dice;
mod net;
mod power;
mod referee;
mod rogue;
mod scenario;
mod schedule;
mod step;
mod store;
mod vocabulary;
mod world;

use thiserror::Error;

use crate::core::Stats;
pub use dice::Dice;
use step::Journal;
use world::World;

/// Steps that a failure shows.
const SHOWN: usize = 50;

/// What a world that kept all promises was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub steps: u64,
    pub stats: Stats,
}

/// A promise that was not kept, and how it came to that.
#[derive(Clone, Debug, Error)]
#[error("{world}\n\n{story}\n{violation}")]
pub struct Failure {
    /// Who was in the world, and how bad it was.
    pub world: String,
    pub violation: String,
    /// The last steps, with every frame decoded.
    pub story: String,
}

/// How much of a run is kept to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    LastSteps,
    Everything,
}

/// Lets one world live.
pub fn run(dice: Dice, story: Story) -> Result<Summary, Failure> {
    let journal = Journal::keeping(match story {
        Story::LastSteps => SHOWN,
        Story::Everything => usize::MAX,
    });
    let mut world = World::new(dice, journal);
    match world.run() {
        Ok(()) => Ok(Summary { steps: world.steps(), stats: *world.stats() }),
        Err(violation) => Err(Failure {
            world: world.scenario().to_string(),
            violation: violation.to_string(),
            story: world.journal().to_string(),
        }),
    }
}
