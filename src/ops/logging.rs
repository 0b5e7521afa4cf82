//! The log: which lines, and in which shape, on standard error. Standard output is for the results of commands.

use std::fmt::Debug;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: time, level, sentence.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("{0:?} is neither error, warn, info, debug, trace nor off")]
    NoLevel(String),
    #[error("{0}")]
    Syntax(String),
}

/// Reads a filter: a level, or directives in the syntax of `RUST_LOG` such as `info,mqttsn_gateway::links=debug`.
///
/// The libraries beneath us stay at `warn` unless the filter names them: what they have to say below that is about
/// their own affairs.
pub fn parse_filter(text: &str) -> Result<Targets, FilterError> {
    let is_target = |directive: &str| directive.contains(['=', ':', '[', '_']);
    let is_level = |directive: &str| !directive.is_empty() && directive.parse::<LevelFilter>().is_ok();
    let directives = text.split(',').map(str::trim).collect::<Vec<_>>();
    if let Some(word) = directives.iter().find(|word| !is_target(word) && !is_level(word)) {
        return Err(FilterError::NoLevel((*word).to_owned()));
    }
    let quiet = QUIET.iter().filter(|(library, _)| !text.contains(library));
    let quiet = quiet.map(|(library, level)| format!("{library}={level}"));
    let all = directives.iter().map(|directive| (*directive).to_owned()).chain(quiet).collect::<Vec<_>>().join(",");
    all.parse::<Targets>().map_err(|error| FilterError::Syntax(error.to_string()))
}

/// Libraries whose lines say nothing to someone who runs a gateway, and from which level on they may speak.
const QUIET: [(&str, &str); 4] = [("rumqttd", "off"), ("rustls", "warn"), ("mio", "warn"), ("tokio", "warn")];

/// Lines that wait for whoever reads standard error.
const WAITING_LINES: usize = 10_000;

/// The log while it is being written. Dropping it writes what still waits, for a second at most.
#[derive(Debug)]
#[must_use = "the last lines are lost unless this lives until the end"]
pub struct Log {
    _writer: WorkerGuard,
}

/// Sends the log to standard error from now on. A second call changes nothing.
///
/// Nobody waits for the reader of standard error: a terminal that was halted or a supervisor that is stuck costs
/// lines, not the service.
pub fn start(filter: Targets, format: LogFormat) -> Log {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(std::io::stderr());
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(writer);
    // It fails only where a log is set up already, as in tests; that one then stays.
    let _ = match format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_timer(Milliseconds)).try_init(),
        LogFormat::Text => registry.with(lines.with_ansi(false).event_format(Line)).try_init(),
    };
    Log { _writer: guard }
}

/// A line for people: time, level, sentence. The module stands there only at `debug` and `trace`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        Milliseconds.format_time(&mut writer)?;
        let metadata = event.metadata();
        write!(writer, " {:<5} ", metadata.level().as_str())?;
        if *metadata.level() >= tracing::Level::DEBUG {
            let target = metadata.target();
            write!(writer, "{}: ", target.strip_prefix("mqttsn_gateway::").unwrap_or(target))?;
        }
        if metadata.target().starts_with(OURS) {
            event.record(&mut Sentence(&mut writer));
        } else {
            context.format_fields(writer.by_ref(), event)?;
        }
        writeln!(writer)
    }
}

/// The time in UTC to the millisecond; the network in between is not known more exactly.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.3}", Timestamp::now())
    }
}

/// Our own crate: its messages say in words what its fields say to machines.
const OURS: &str = "mqttsn_gateway";

/// Writes an event's message and leaves its fields to the JSON.
struct Sentence<'a, 'w>(&'a mut Writer<'w>);

impl Visit for Sentence<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // It fails if standard error is gone, and then there is nobody to tell.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_a_filter_is_understood() {
        for good in
            ["info", "DEBUG", "off", "info,mqttsn_gateway::links=debug", "mqttsn_gateway=trace", "warn, rustls=info"]
        {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_and_not_taken_for_a_module() {
        let error = parse_filter("inof").unwrap_err();
        assert_eq!(error.to_string(), "\"inof\" is neither error, warn, info, debug, trace nor off");
        assert!(parse_filter("info,degub").is_err());
        assert!(parse_filter("mqttsn_gateway=loud").is_err());
        assert!(parse_filter("").is_err());
    }

    #[test]
    fn a_line_begins_with_the_time_to_the_millisecond() {
        let mut time = String::new();
        Milliseconds.format_time(&mut Writer::new(&mut time)).unwrap();
        assert_eq!(time.len(), "2026-01-31T12:00:00.000Z".len(), "{time}");
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn libraries_are_quiet_unless_named() {
        assert!(parse_filter("debug").unwrap().to_string().contains("rumqttd=off"));
        assert!(!parse_filter("debug,rumqttd=debug").unwrap().to_string().contains("rumqttd=off"));
    }
}
