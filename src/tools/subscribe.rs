//! `mqttsn-gateway sub`: prints what it receives over MQTT-SN as `mosquitto_sub` prints what it receives over MQTT.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgGroup;
use thiserror::Error;
use tokio::time;

use super::client::{Event, Filter, Refusal, Request, RequestError, SleepPlan};
use super::connection::{Connection, Lost};
use super::format::Format;
use super::options::{self, ConnectionOptions};
use super::printer::{Output, Printer, Retained, Style};
use crate::core::topics::{TopicFilter, TopicName};
use crate::wire::{Qos, ReturnCode, TopicId};

/// Pause before a lost connection is made again, at first.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// Pause before a congested gateway is asked again, at first.
const RETRY_AFTER_CONGESTION: Duration = Duration::from_secs(15);
/// What `mosquitto_sub` exits with when `-W` ends it.
const TIMED_OUT: u8 = 27;

/// Print the messages of topics, in the manner of mosquitto_sub
#[derive(clap::Args, Clone, Debug)]
#[command(disable_help_flag = true)]
#[command(group = ArgGroup::new("subscriptions").required(true).multiple(true))]
pub struct SubscribeArgs {
    /// Subscribe to this topic, or with + and # to many; may be repeated
    #[arg(short = 't', long, value_name = "FILTER", group = "subscriptions", value_parser = options::topic_filter)]
    pub topic: Vec<TopicFilter>,
    /// Subscribe to the topic that has this predefined id at the gateway; may be repeated
    #[arg(long, value_name = "ID", group = "subscriptions", value_parser = options::predefined_id)]
    pub predefined: Vec<TopicId>,
    /// Subscribe to this topic of 2 octets, as a short topic name; may be repeated
    #[arg(long, value_name = "NAME", group = "subscriptions", value_parser = options::short_name)]
    pub short: Vec<[u8; 2]>,
    /// Unsubscribe from this topic, after all subscriptions; may be repeated
    #[arg(short = 'U', long, value_name = "FILTER", group = "subscriptions", value_parser = options::topic_filter)]
    pub unsubscribe: Vec<TopicFilter>,
    /// The topic name to print for a predefined id; may be repeated
    #[arg(long, value_name = "ID=TOPIC", value_parser = predefined_name)]
    pub predefined_name: Vec<(TopicId, TopicName)>,
    /// Quality of service: 0, 1 or 2
    #[arg(short = 'q', long, default_value = "0", allow_hyphen_values = true, value_parser = options::qos)]
    pub qos: Qos,
    /// Print the topic in front of the message
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Print in this format: %t topic, %p payload, %x payload in hex, %q QoS, %r retained, %l length, %m message id,
    /// %j and %J JSON, %I and %U time, @X strftime's %X, \n and other escapes
    #[arg(short = 'F', value_name = "FORMAT", conflicts_with = "verbose", value_parser = Format::parse)]
    pub format: Option<Format>,
    /// Print no end of line behind a message
    #[arg(short = 'N')]
    pub no_end_of_line: bool,
    /// Exit after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Exit so many seconds after connecting, with code 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Sleep when all subscriptions are acknowledged, as a battery device does: the gateway keeps what comes, and gives
    /// the client up when it has not woken up for so long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..),
          conflicts_with = "exit_when_subscribed")]
    pub sleep: Option<u16>,
    /// Wake up so often to take what has come; by default after five sixths of --sleep
    #[arg(long, value_name = "SECONDS", requires = "sleep", value_parser = options::seconds)]
    pub wake_every: Option<Duration>,
    /// Exit when all subscriptions are acknowledged
    #[arg(short = 'E')]
    pub exit_when_subscribed: bool,
    /// Print no retained messages
    #[arg(short = 'R', conflicts_with = "retained_only")]
    pub no_retained: bool,
    /// Print retained messages only, and exit at the first other one
    #[arg(long)]
    pub retained_only: bool,
    /// Print no messages of these topics; may be repeated
    #[arg(short = 'T', long, value_name = "FILTER", value_parser = options::topic_filter)]
    pub filter_out: Vec<TopicFilter>,
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// How `sub` came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    TimedOut,
}

/// What keeps `sub` from receiving.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error(transparent)]
    Congested(Refusal),
    #[error("the gateway accepted no subscription")]
    NothingSubscribed,
    #[error(transparent)]
    Impossible(#[from] RequestError),
    #[error("cannot write to stdout: {0}")]
    Output(#[from] io::Error),
}

/// What came of waiting for an answer.
enum Answer {
    Yes,
    No(Refusal),
    /// The output was complete before it came.
    NoMatter,
}

/// Runs `sub` until it is done, stopped by SIGINT or SIGTERM, or nobody reads its output. Troubles are told on stderr.
pub async fn run(args: SubscribeArgs) -> ExitCode {
    let console = args.connection.console();
    match subscribe(&args, io::stdout(), stop_signal()).await {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::TimedOut) => {
            console.say("Timed out");
            ExitCode::from(TIMED_OUT)
        }
        Err(error) => {
            console.error(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn subscribe(args: &SubscribeArgs, out: impl Write, stop: impl Future<Output = ()>) -> anyhow::Result<Ended> {
    tokio::pin!(stop);
    let options = &args.connection;
    let mut connection = Connection::new(options.target(), options.settings("sub"), options.console());
    tokio::select! {
        connected = connection.connect() => connected?,
        () = &mut stop => return Ok(Ended::Done),
    }
    let mut printer = args.printer(out);
    let ended = tokio::select! {
        ended = receive(args, &mut connection, &mut printer) => ended,
        () = passing_of(args.timeout) => Ok(Ended::TimedOut),
        () = &mut stop => Ok(Ended::Done),
    };
    // Nothing was published, so nothing is refused at the end.
    let _ = connection.disconnect().await;
    Ok(ended?)
}

/// Receives until the end, through any number of connections.
async fn receive(
    args: &SubscribeArgs,
    connection: &mut Connection,
    printer: &mut Printer<impl Write>,
) -> Result<Ended, Trouble> {
    let mut result = receive_connected(args, connection, printer).await;
    if let Err(Trouble::Congested(_)) = result {
        // A gateway that comes back may be busy for a while; one that refuses at first is not waited for.
        return result;
    }
    loop {
        match result {
            Err(Trouble::Lost(lost)) => connection.reconnect(&lost, RECONNECT_AFTER).await,
            Err(Trouble::Congested(refusal)) => connection.reconnect(&refusal, RETRY_AFTER_CONGESTION).await,
            Err(Trouble::NothingSubscribed | Trouble::Impossible(_) | Trouble::Output(_)) | Ok(_) => return result,
        }
        result = receive_connected(args, connection, printer).await;
    }
}

/// Makes the subscriptions, then receives until the end or the end of the connection.
async fn receive_connected(
    args: &SubscribeArgs,
    connection: &mut Connection,
    printer: &mut Printer<impl Write>,
) -> Result<Ended, Trouble> {
    let filters = args.filters();
    let mut refused = 0;
    for filter in &filters {
        connection.request(Request::Subscribe { filter: filter.clone(), qos: args.qos })?;
        match answer(connection, printer).await? {
            Answer::Yes => {}
            Answer::No(refusal) if refusal.code == ReturnCode::Congestion => return Err(Trouble::Congested(refusal)),
            Answer::No(refusal) => {
                refused += 1;
                args.connection.console().error(format_args!("{filter}: {refusal}"));
            }
            Answer::NoMatter => return Ok(Ended::Done),
        }
    }
    if refused > 0 && refused == filters.len() {
        return Err(Trouble::NothingSubscribed);
    }
    for filter in &args.unsubscribe {
        connection.request(Request::Unsubscribe(Filter::Name(filter.clone())))?;
        if let Answer::NoMatter = answer(connection, printer).await? {
            return Ok(Ended::Done);
        }
    }
    if args.exit_when_subscribed {
        return Ok(Ended::Done);
    }
    if let Some(plan) = args.sleep_plan() {
        connection.request(Request::Sleep(plan))?;
    }
    loop {
        if let Answer::NoMatter = answer(connection, printer).await? {
            return Ok(Ended::Done);
        }
    }
}

/// Prints what comes, up to the answer to the open request or the end of the output.
async fn answer(connection: &mut Connection, printer: &mut Printer<impl Write>) -> Result<Answer, Trouble> {
    loop {
        match connection.next_event().await? {
            Event::Message(delivery) => match printer.print(&delivery)? {
                Output::GoesOn => {}
                Output::Complete => return Ok(Answer::NoMatter),
                Output::Closed => {
                    // It is not printed: with a kept session the gateway shall deliver it again.
                    connection.forget_acknowledgement();
                    return Ok(Answer::NoMatter);
                }
            },
            Event::Subscribed { .. } | Event::Unsubscribed => return Ok(Answer::Yes),
            Event::Refused(refusal) => return Ok(Answer::No(refusal)),
            Event::Connected
            | Event::Published
            | Event::Asleep
            | Event::Disconnected
            | Event::Lost(_)
            | Event::Malformed(_) => {}
        }
    }
}

impl SubscribeArgs {
    fn filters(&self) -> Vec<Filter> {
        let names = self.topic.iter().cloned().map(Filter::Name);
        let predefined = self.predefined.iter().copied().map(Filter::Predefined);
        names.chain(predefined).chain(self.short.iter().copied().map(Filter::Short)).collect()
    }

    fn sleep_plan(&self) -> Option<SleepPlan> {
        let seconds = self.sleep?;
        let wake_every = self.wake_every.unwrap_or_else(|| Duration::from_secs(seconds.into()) * 5 / 6);
        Some(SleepPlan { seconds, wake_every })
    }

    fn printer<W: Write>(&self, out: W) -> Printer<W> {
        Printer {
            out,
            console: self.connection.console(),
            style: match &self.format {
                Some(format) => Style::Format(format.clone()),
                None if self.verbose => Style::TopicAndPayload,
                None => Style::Payload,
            },
            end: if self.no_end_of_line { "" } else { "\n" },
            retained: match (self.retained_only, self.no_retained) {
                (true, _) => Retained::Only,
                (false, true) => Retained::Skipped,
                (false, false) => Retained::Printed,
            },
            filter_out: self.filter_out.clone(),
            predefined_names: self.predefined_name.clone(),
            left: self.count,
        }
    }
}

fn predefined_name(text: &str) -> Result<(TopicId, TopicName), String> {
    let (id, name) = text.split_once('=').ok_or("the form is ID=TOPIC, such as 10=home/temperature")?;
    Ok((options::predefined_id(id)?, options::topic_name(name)?))
}

async fn passing_of(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// Waits for SIGINT or SIGTERM; elsewhere than on Unix for Ctrl-C.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the signal ends the process by itself.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use clap::Parser;

    use super::*;
    use crate::tools::scripted::{Script, Scripted};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: SubscribeArgs,
    }

    fn parse(line: &str) -> Result<SubscribeArgs, clap::Error> {
        Cli::try_parse_from(["sub"].into_iter().chain(line.split_whitespace())).map(|cli| cli.args)
    }

    /// Subscribes at a gateway that follows the script, to its end; returns what was printed.
    async fn subscribe_at(script: Script<'_>, line: &str) -> (Result<Ended, String>, String) {
        let gateway = Scripted::on("127.0.0.1").await;
        let line = format!("-h 127.0.0.1 -p {} -i c1 --quiet {line}", gateway.port());
        let args = parse(&line).unwrap();
        let mut out = Vec::new();
        let (result, ()) = tokio::join!(subscribe(&args, &mut out, pending()), gateway.play(script));
        (result.map_err(|error| format!("{error:#}")), String::from_utf8(out).unwrap())
    }

    const CONNECT: (&str, &[&str]) = ("08040401003c6331", &["030500"]);
    const DISCONNECT: (&str, &[&str]) = ("0218", &["0218"]);

    #[test]
    fn the_letters_are_those_of_mosquitto_sub() {
        let args = parse("-t a/# -t b --predefined 5 --short ab -q 1 -v -N -C 3 -W 9 -R -T a/x").unwrap();
        let filters: Vec<_> = args.filters().iter().map(ToString::to_string).collect();
        assert_eq!(filters, ["a/#", "b", "predefined topic 5", "short topic \"ab\""]);
        assert_eq!((args.count, args.timeout), (Some(3), Some(9)));
        let printer = args.printer(Vec::new());
        assert!(matches!(printer.style, Style::TopicAndPayload));
        assert_eq!((printer.end, printer.retained, printer.left), ("", Retained::Skipped, Some(3)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        for (line, reason) in [
            ("", "required"),
            ("-t a#", "'#' must stand alone"),
            ("-t a -q -1", "QoS is 0, 1 or 2"),
            ("-t a -C 0", "1.."),
            ("-t a -W 0", "1.."),
            ("-t a -F %z", "%z is not known"),
            ("-t a --predefined-name 5", "ID=TOPIC"),
            ("-t a -c", "--id"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[tokio::test]
    async fn messages_of_a_wildcard_subscription_are_printed_and_acknowledged() {
        let script: Script<'_> = &[
            CONNECT,
            ("0a12200001612f2b2f63", &["0813200000000100", "0b0a01020001612f622f63"]),
            ("070b0102000100", &["080c200102000278"]),
            ("070d0102000200", &[]),
            DISCONNECT,
        ];
        let (result, printed) = subscribe_at(script, "-t a/+/c -q 1 -v -C 1").await;
        assert_eq!((result, printed.as_str()), (Ok(Ended::Done), "a/b/c x\n"));
    }

    #[tokio::test]
    async fn several_subscriptions_are_made_one_after_the_other() {
        let script: Script<'_> = &[
            CONNECT,
            ("061200000161", &["0813000001000100"]),
            ("0712010002000a", &["081300000a000200"]),
            ("07120200036162", &["0813006162000300", "080c01000a000031", "080c026162000032", "080c000001000033"]),
            DISCONNECT,
        ];
        let (result, printed) =
            subscribe_at(script, "-t a --short ab --predefined 10 --predefined-name 10=x/y -v -C 3").await;
        assert_eq!((result, printed.as_str()), (Ok(Ended::Done), "x/y 1\nab 2\na 3\n"));
    }

    #[tokio::test]
    async fn a_gateway_that_forgets_the_session_is_subscribed_at_again() {
        let script: Script<'_> = &[
            CONNECT,
            ("061200000161", &["0813000001000100", "080c000001000031", "0218"]),
            CONNECT,
            ("061200000261", &["0813000007000200", "080c000007000032"]),
            DISCONNECT,
        ];
        let (result, printed) = subscribe_at(script, "-t a -C 2").await;
        assert_eq!((result, printed.as_str()), (Ok(Ended::Done), "1\n2\n"));
    }

    #[tokio::test]
    async fn refused_subscriptions_are_borne_as_long_as_one_is_left() {
        let script: Script<'_> = &[CONNECT, ("0712010001000a", &["081300000a000102"]), DISCONNECT];
        let (result, _) = subscribe_at(script, "--predefined 10").await;
        assert_eq!(result, Err("the gateway accepted no subscription".to_owned()));
        let script: Script<'_> = &[
            CONNECT,
            ("0712010001000a", &["081300000a000102"]),
            ("0712010002000b", &["081300000b000200"]),
            DISCONNECT,
        ];
        let (result, _) = subscribe_at(script, "--predefined 10 --predefined 11 -E").await;
        assert_eq!(result, Ok(Ended::Done));
    }

    #[tokio::test]
    async fn time_runs_out_after_the_connection_is_made() {
        let script: Script<'_> = &[CONNECT, ("061200000161", &["0813000001000100"]), DISCONNECT];
        let (result, _) = subscribe_at(script, "-t a -W 1").await;
        assert_eq!(result, Ok(Ended::TimedOut));
    }

    #[tokio::test]
    async fn a_stop_signal_ends_the_session_in_order() {
        let gateway = Scripted::on("127.0.0.1").await;
        let line = format!("-h 127.0.0.1 -p {} -i c1 -t a -C 1", gateway.port());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let script: Script<'_> = &[CONNECT, ("061200000161", &["0813000001000100"])];
        let play = async {
            gateway.play(script).await;
            drop(stop);
            gateway.play(&[DISCONNECT]).await;
        };
        let stopped = async { drop(stopped.await) };
        let args = parse(&line).unwrap();
        let (result, ()) = tokio::join!(subscribe(&args, Vec::new(), stopped), play);
        assert_eq!(result.unwrap(), Ended::Done);
    }

    #[tokio::test]
    async fn what_cannot_be_printed_is_not_acknowledged() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let gateway = Scripted::on("127.0.0.1").await;
        let args = parse(&format!("-h 127.0.0.1 -p {} -i c1 --short ab", gateway.port())).unwrap();
        let script: Script<'_> = &[CONNECT, ("07120200016162", &["0813006162000100", "080c226162000478"]), DISCONNECT];
        let (result, ()) = tokio::join!(subscribe(&args, Closed, pending()), gateway.play(script));
        assert_eq!(result.unwrap(), Ended::Done);
    }
}
