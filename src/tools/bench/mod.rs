//! `mqttsn-gateway bench`: a load generator for any MQTT-SN gateway.
//!
//! One thread and one poll serve all sockets. The way of a message: `fleet` decides who sends when, `device` has
//! the protocol, `outbox` the frames, `air` the sockets; `mqtt` is the broker's side, where `stamp` tells which
//! message has arrived. `tally` counts, `outcome` and `report` tell.

mod air;
mod device;
mod engine;
mod fleet;
mod floor;
mod goals;
mod mqtt;
mod options;
mod outbox;
mod outcome;
mod plain;
mod plan;
mod progress;
mod report;
mod responder;
mod schedule;
mod seen;
mod stamp;
mod tally;
mod usage;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use super::console::Console;
use crate::wire::Qos;
use engine::Engine;
use floor::Floor;
use options::{Common, Floors, What};
use progress::Progress;
use report::Report;

pub use options::BenchArgs;

/// Runs `bench` to its end. Troubles are told on stderr.
pub fn run(args: &BenchArgs) -> ExitCode {
    match bench(&args.what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Console { quiet: false, debug: false }.error(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn bench(what: &What) -> anyhow::Result<()> {
    if let Some((plan, common)) = what.plan().map_err(anyhow::Error::msg)? {
        let outcome = Engine::set_up(plan, progress(common))?.measure()?;
        return print(&Report::new(&outcome), common.wants_json());
    }
    match what {
        What::Floor(args) => {
            let plan = args.plan();
            let mut floor = Floor::default();
            if args.only != Floors::Mqtt {
                floor.udp = Some(floor::udp(&plan, progress(&args.common))?);
            }
            if let (Some(broker), Floors::All | Floors::Mqtt) = (args.common.broker(), args.only) {
                for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                    floor.mqtt.push(floor::mqtt(&plan, &broker, qos)?);
                }
            }
            print(&floor, args.common.wants_json())
        }
        What::Goals(args) => goals::run(args),
        What::Pub(_) | What::Fanout(_) | What::Connect(_) | What::Idle(_) | What::Mixed(_) => Ok(()),
    }
}

fn progress(common: &Common) -> Progress {
    if common.is_quiet() { Progress::none() } else { Progress::on_stderr() }
}

/// Prints a result on stdout.
fn print(result: &(impl Display + Serialize), as_json: bool) -> anyhow::Result<()> {
    let text = if as_json { serde_json::to_string_pretty(result)? + "\n" } else { result.to_string() };
    io::stdout().write_all(text.as_bytes()).context("cannot write the result")
}
