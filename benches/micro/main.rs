//! What single steps cost: `cargo bench --bench micro`, with a word behind it only those whose names contain it.
//!
//! Times differ from machine to machine and from run to run; what a change costs in instructions, `scripts/instructions`
//! tells exactly.
#![expect(clippy::unwrap_used, reason = "a benchmark: failing loudly is right")]

mod codec;
mod deadlines;
mod framings;
mod gateway;
#[path = "../rig.rs"]
mod rig;
mod subscriptions;

fn main() {
    divan::main();
}
