//! `bench goals`: starts a broker and gateways, measures what the project promises, and says what is reached.
//!
//! Every goal is a ratio to a floor that is measured in the same minute, because machines differ and are never quiet.

mod programs;
mod relay;
mod rows;
mod stored;
mod verdict;

use std::env;
use std::fmt;
use std::io::{self, Write};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::options::GoalsArgs;
use programs::Programs;
use rows::{Bench, ROWS};
use verdict::Row;

/// The table of goals.
#[derive(Debug, Serialize)]
struct Goals {
    rows: Vec<Row>,
}

/// Measures the rows that are asked for, and prints the table.
pub(super) fn run(args: &GoalsArgs) -> anyhow::Result<()> {
    let asked = |name: &str| args.rows.is_empty() || args.rows.iter().any(|word| name.contains(word.as_str()));
    let asked_for: Vec<_> = ROWS.iter().filter(|(name, _)| asked(name)).collect();
    let names = || ROWS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    ensure!(!asked_for.is_empty(), "no row has such a name; there are {}", names());
    let gateway = env::current_exe().context("cannot find this program's own file")?;
    let bench = Bench::new(Programs::new(gateway, args.mosquitto.clone())?, args.duration);
    let mut rows = Vec::new();
    for (name, measure) in asked_for {
        // Whoever waits sees which row takes so long; there is nobody left to tell that stderr is closed.
        let _ = writeln!(io::stderr(), "{name} ...");
        let repetitions: anyhow::Result<Vec<_>> = (0..args.repeat).map(|_| measure(&bench)).collect();
        match repetitions {
            Ok(repetitions) => rows.extend(medians(repetitions)),
            Err(error) => rows.push(Row::not_measured(name, &in_one_line(&error))),
        }
    }
    super::print(&Goals { rows }, args.json)
}

/// Returns the median of each line.
fn medians(repetitions: Vec<Vec<Row>>) -> Vec<Row> {
    let mut lines: Vec<Vec<Row>> = Vec::new();
    for rows in repetitions {
        lines.resize_with(lines.len().max(rows.len()), Vec::new);
        lines.iter_mut().zip(rows).for_each(|(line, row)| line.push(row));
    }
    lines.into_iter().filter_map(Row::median).collect()
}

fn in_one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Goals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | compared with | reach | |\n|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
