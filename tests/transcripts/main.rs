//! The gateway's behaviour as dialogues on a virtual clock: clients speak in hex frames, a scripted broker answers.
//!
//! Silence is part of every dialogue: a frame, a broker command or a notice that a test does not ask for fails it at
//! the next thing that happens (see `world.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "as in tests beside the code"
)]

mod broker;
mod frames;
mod words;
mod world;

use world::World;

mod anything;
mod connect;
mod conversations;
mod deliver;
mod encapsulation;
mod limits;
mod lossy;
mod matrix;
mod outages;
mod publish;
mod register;
mod retained;
mod retry;
mod routing;
mod sleep;
mod strays;
mod subscribe;
mod takeover;
