//! `decode`: from the command line or standard input to the explanation on standard output.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use super::cli::DecodeArgs;
use super::complain;
use crate::tools::decode::{self, HexError};

/// Explains the frames; the exit code is 1 if one of them is malformed, or a line is no frame at all.
pub fn run(args: &DecodeArgs) -> ExitCode {
    let out = &mut io::stdout().lock();
    let summary = match args.hex.as_slice() {
        [dash] if dash == "-" => decode::run(io::stdin().lock(), out, pass_over),
        // Octets that stand apart are one frame all the same.
        octets => decode::run(octets.join(" ").as_bytes(), out, pass_over),
    };
    match summary {
        Ok(summary) if summary.malformed == 0 && summary.unreadable == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}")),
    }
}

fn pass_over(error: &HexError) {
    // The exit code is that of the whole.
    let _ = complain(&error.to_string());
}

/// Returns whether whoever reads our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
