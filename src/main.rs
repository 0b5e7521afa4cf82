//! The program: one subcommand, one exit code.

use std::process::ExitCode;

use clap::Parser;
use mqttsn_gateway::app::cli::{Cli, Command};
use mqttsn_gateway::app::{check, decode, ports, runtime, sessions, start};
use mqttsn_gateway::tools::{bench, probe, publish, subscribe};

fn main() -> ExitCode {
    match Cli::parse().into_command() {
        Command::Run(args) => start::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Sessions(args) => sessions::run(&args),
        Command::Ports(args) => ports::run(&args),
        Command::Probe(args) => runtime::run(probe::run(args)),
        Command::Decode(args) => decode::run(&args),
        Command::Pub(args) => runtime::run(publish::run(args)),
        Command::Sub(args) => runtime::run(subscribe::run(args)),
        Command::Bench(args) => bench::run(&args),
    }
}
