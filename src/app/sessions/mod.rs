//! `sessions`: which devices have a session, what is in it, and its end; of a gateway that runs, or that is stopped.

mod source;
mod stored;
mod words;

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::cli::{SessionsArgs, SessionsCommand};
use super::complain;
use super::config::{Config, ConfigError, Overrides};
use crate::ops::control::SessionSummary;
use source::{Forgotten, Source};

/// Carries out the subcommand. What is found goes to standard output; the exit code is 1 if it cannot be had, or if there
/// is no such session.
pub fn run(args: &SessionsArgs) -> ExitCode {
    let dir = match Config::load(args.config.as_deref(), &overrides(args)) {
        Ok(config) => config.keeping.dir,
        Err(error) => return refuse(&error),
    };
    let Some(dir) = dir else {
        return complain(
            "data_dir is \"\": a gateway with this configuration keeps nothing on disk, and cannot be asked\n  \
             --data-dir DIR names the directory of another one",
        );
    };
    match answer(args, &dir) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}")),
    }
}

fn overrides(args: &SessionsArgs) -> Overrides {
    Overrides { data_dir: args.data_dir.clone(), ..Overrides::default() }
}

fn refuse(error: &ConfigError) -> ExitCode {
    complain(&format!("{error}\n  the configuration is read for its data_dir"))
}

fn answer(args: &SessionsArgs, dir: &Path) -> anyhow::Result<ExitCode> {
    let mut source = Source::find(dir)?;
    let out = &mut io::stdout().lock();
    match args.command.as_ref().unwrap_or(&SessionsCommand::List) {
        SessionsCommand::List => {
            let mut sessions = source.list()?;
            sessions.sort_by(|a, b| a.client_id.cmp(&b.client_id));
            list(out, args.json, &source, &sessions)?;
        }
        SessionsCommand::Show { client } => match source.show(client)? {
            Some(session) if args.json => print_json(out, &session)?,
            Some(session) => words::write_details(out, &session, source.state())?,
            None => return Ok(nobody(client, &source)),
        },
        SessionsCommand::Forget { client } => match source.forget(client)? {
            Some(Forgotten { kept_for_broker }) if args.json => {
                print_json(out, &json!({ "forgotten": client, "kept_for_broker": kept_for_broker }))?;
            }
            Some(forgotten) => words::write_forgotten(out, client, &forgotten)?,
            None => return Ok(nobody(client, &source)),
        },
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn list(out: &mut impl Write, as_json: bool, source: &Source, sessions: &[SessionSummary]) -> io::Result<()> {
    if as_json {
        return print_json(out, &json!({ "gateway": source.state().name(), "sessions": sessions }));
    }
    words::write_list(out, sessions, source.state())?;
    words::write_ownerless(out, source.ownerless())
}

fn nobody(client: &str, source: &Source) -> ExitCode {
    complain(&format!(
        "no device {client:?} has a session in {}; `mqttsn-gateway sessions` lists those that have",
        source.dir().display()
    ))
}

fn print_json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Returns whether whoever reads our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
