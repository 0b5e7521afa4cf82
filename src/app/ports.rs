//! `ports`: from the command line to the table on standard output.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use super::complain;
use crate::tools::ports::{self, PortsArgs};

/// Lists the ports, be there any or not.
pub fn run(args: &PortsArgs) -> ExitCode {
    match ports::run(args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&format!("the list cannot be written: {error}")),
    }
}
