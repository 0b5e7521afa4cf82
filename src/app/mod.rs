//! The shell around the core: configuration, command line, the loop that carries out what the core wants.

mod banner;
pub mod check;
pub mod cli;
mod common_causes;
pub mod config;
mod connections;
mod control;
pub mod decode;
mod driver;
mod gathering;
mod keeping;
mod link_log;
mod noise_log;
pub mod ports;
pub mod runtime;
pub mod sessions;
mod signals;
pub mod start;
mod store_words;
mod trace;
mod udp_buffers;
mod words;

use std::process::ExitCode;

/// What was asked for makes no sense.
const WRONG_USAGE: u8 = 2;

/// Says on standard error what went wrong, where there is no log, and returns the exit code for it.
#[expect(clippy::print_stderr, reason = "there is no log before the configuration is read, and none beside a command")]
fn complain(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::FAILURE
}
