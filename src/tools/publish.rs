//! `mqttsn-gateway pub`: publishes over MQTT-SN what `mosquitto_pub` publishes over MQTT.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::ArgGroup;
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use super::client::{Event, Publication, Request, Topic};
use super::connection::{Connection, Lost};
use super::options::{self, ConnectionOptions};
use crate::core::topics::TopicName;
use crate::wire::{QosField, TopicId};

/// Octets of the longest message that MQTT-SN can name the length of.
const MAX_PAYLOAD: usize = 65_535;
/// Pause before a lost connection is made again, at first.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// Lines that are read ahead.
const LINES_AHEAD: usize = 16;

/// Publish to a gateway, in the manner of mosquitto_pub
#[derive(clap::Args, Clone, Debug)]
#[command(disable_help_flag = true)]
#[command(group = ArgGroup::new("destination").required(true))]
#[command(group = ArgGroup::new("content").required(true))]
pub struct PublishArgs {
    /// Publish to this topic
    #[arg(short = 't', long, group = "destination", value_parser = options::topic_name)]
    pub topic: Option<TopicName>,
    /// Publish to the topic that has this predefined id at the gateway
    #[arg(long, value_name = "ID", group = "destination", value_parser = options::predefined_id)]
    pub predefined: Option<TopicId>,
    /// Publish to this topic of 2 octets, as a short topic name
    #[arg(long, value_name = "NAME", group = "destination", value_parser = options::short_name)]
    pub short: Option<[u8; 2]>,
    /// The message
    #[arg(short = 'm', long, group = "content", allow_hyphen_values = true)]
    pub message: Option<OsString>,
    /// Send a file's content as the message
    #[arg(short = 'f', long, group = "content")]
    pub file: Option<PathBuf>,
    /// Send each line of stdin as a message of its own
    #[arg(short = 'l', long, group = "content")]
    pub stdin_line: bool,
    /// Send an empty message
    #[arg(short = 'n', long, group = "content")]
    pub null_message: bool,
    /// Send all of stdin as the message
    #[arg(short = 's', long, group = "content")]
    pub stdin_file: bool,
    /// Quality of service: 0, 1, 2, or -1 to send without connecting (--predefined or --short)
    #[arg(short = 'q', long, default_value = "0", allow_hyphen_values = true, value_parser = options::publish_qos)]
    pub qos: QosField,
    /// Have the broker keep the message for later subscribers
    #[arg(short = 'r', long)]
    pub retain: bool,
    /// Publish the message so many times
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "stdin_line")]
    pub repeat: u64,
    /// Pause between the repetitions
    #[arg(long, value_name = "SECONDS", default_value = "0", requires = "repeat", value_parser = options::seconds)]
    pub repeat_delay: Duration,
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// Runs `pub` to its end. Troubles are told on stderr.
pub async fn run(args: PublishArgs) -> ExitCode {
    match publish_all(&args, io::stdin()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            args.connection.console().error(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn publish_all(args: &PublishArgs, stdin: impl Read + Send + 'static) -> anyhow::Result<()> {
    let payloads = Payloads::open(args, stdin)?;
    let options = &args.connection;
    let mut connection = Connection::new(options.target(), options.settings("pub"), options.console());
    if args.qos == QosField::MinusOne {
        return publish_without_connection(args, payloads, &mut connection).await;
    }
    connection.connect().await?;
    let published = publish_connected(args, payloads, &mut connection).await;
    // A refusal of what went last at QoS 0 comes only now.
    let refused_late = connection.disconnect().await;
    published?;
    Ok(refused_late?)
}

async fn publish_without_connection(
    args: &PublishArgs,
    mut payloads: Payloads,
    connection: &mut Connection,
) -> anyhow::Result<()> {
    while let Some(payload) = payloads.next().await? {
        connection.publish_blindly(&args.publication(payload)?).await?;
    }
    connection.drain().await;
    Ok(())
}

async fn publish_connected(
    args: &PublishArgs,
    mut payloads: Payloads,
    connection: &mut Connection,
) -> anyhow::Result<()> {
    loop {
        let lost = tokio::select! {
            payload = payloads.next() => {
                let Some(payload) = payload? else { return Ok(()) };
                let publication = args.publication(payload)?;
                // Only a stream of lines is worth waiting for a gateway that has gone.
                while let Err(lost) = publish(connection, &publication).await? {
                    ensure!(args.stdin_line, lost);
                    connection.reconnect(&lost, RECONNECT_AFTER).await;
                }
                continue;
            }
            event = connection.next_event() => match event {
                Ok(Event::Refused(refusal)) => return Err(refusal.into()),
                Ok(_) => continue,
                Err(lost) => lost,
            },
        };
        ensure!(args.stdin_line, lost);
        connection.reconnect(&lost, RECONNECT_AFTER).await;
    }
}

/// Publishes one message. The inner error leaves hope, the outer one none.
async fn publish(connection: &mut Connection, publication: &Publication) -> anyhow::Result<Result<(), Lost>> {
    connection.request(Request::Publish(publication.clone()))?;
    loop {
        match connection.next_event().await {
            Ok(Event::Published) => return Ok(Ok(())),
            Ok(Event::Refused(refusal)) => return Err(refusal.into()),
            Ok(_) => {}
            Err(lost) => return Ok(Err(lost)),
        }
    }
}

impl PublishArgs {
    fn publication(&self, payload: Bytes) -> anyhow::Result<Publication> {
        let topic = match (&self.topic, self.predefined, self.short) {
            (Some(name), ..) => Topic::Name(name.clone()),
            (None, Some(id), _) => Topic::Predefined(id),
            (None, None, Some(name)) => Topic::Short(name),
            (None, None, None) => bail!("a topic is wanted: --topic, --predefined or --short"),
        };
        Ok(Publication { topic, payload, qos: self.qos, retain: self.retain })
    }
}

/// What is to be published, one after the other.
#[derive(Debug)]
enum Payloads {
    Repeated { payload: Bytes, left: u64, delay: Duration, due: Instant },
    Lines(mpsc::Receiver<anyhow::Result<Bytes>>),
}

impl Payloads {
    fn open(args: &PublishArgs, stdin: impl Read + Send + 'static) -> anyhow::Result<Self> {
        let payload = match (&args.message, &args.file) {
            _ if args.stdin_line => return Ok(Self::Lines(lines(stdin))),
            (Some(message), _) => options::octets(message.clone()),
            (None, Some(file)) => {
                let name = file.display().to_string();
                let file = File::open(file).with_context(|| format!("cannot open {name}"))?;
                read_all(file, &name)?
            }
            (None, None) if args.stdin_file => read_all(stdin, "stdin")?,
            (None, None) => Bytes::new(),
        };
        Ok(Self::Repeated { payload, left: args.repeat, delay: args.repeat_delay, due: Instant::now() })
    }

    /// Waits for the next message; `None` after the last. May be dropped and called again without a loss.
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        match self {
            Self::Repeated { left: 0, .. } => Ok(None),
            Self::Repeated { payload, left, delay, due } => {
                time::sleep_until(*due).await;
                *left -= 1;
                *due += *delay;
                Ok(Some(payload.clone()))
            }
            Self::Lines(lines) => lines.recv().await.transpose(),
        }
    }
}

fn read_all(source: impl Read, name: &str) -> anyhow::Result<Bytes> {
    let mut octets = Vec::new();
    source.take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut octets).with_context(|| format!("cannot read {name}"))?;
    ensure!(octets.len() <= MAX_PAYLOAD, "{name} has more than {MAX_PAYLOAD} octets; MQTT-SN carries no more at once");
    Ok(octets.into())
}

/// Reads lines on a thread of its own: a read that waits for a person must hold up neither the session nor the exit.
fn lines(source: impl Read + Send + 'static) -> mpsc::Receiver<anyhow::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        for number in 1_u64.. {
            let line = read_line(&mut source).with_context(|| format!("cannot send line {number} of stdin"));
            let Some(line) = line.transpose() else { return };
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// Returns the next line without its end, or `None` at the end.
fn read_line(source: &mut impl BufRead) -> anyhow::Result<Option<Bytes>> {
    let mut line = Vec::new();
    source.take(MAX_PAYLOAD as u64 + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    ensure!(line.len() <= MAX_PAYLOAD, "it has more than {MAX_PAYLOAD} octets; MQTT-SN carries no more at once");
    Ok(Some(line.into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::tools::scripted::{Script, Scripted};
    use crate::wire::Qos;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: PublishArgs,
    }

    fn parse(line: &str) -> Result<PublishArgs, clap::Error> {
        Cli::try_parse_from(["pub"].into_iter().chain(line.split_whitespace())).map(|cli| cli.args)
    }

    /// Publishes to a gateway that follows the script, to its end.
    async fn publish_to(script: Script<'_>, line: &str, stdin: &'static str) -> Result<(), String> {
        let gateway = Scripted::on("127.0.0.1").await;
        let line = format!("-h 127.0.0.1 -p {} -i c1 {line}", gateway.port());
        let args = parse(&line).unwrap();
        let (result, ()) = tokio::join!(publish_all(&args, stdin.as_bytes()), gateway.play(script));
        result.map_err(|error| format!("{error:#}"))
    }

    const CONNECT: &str = "08040401003c6331";
    const CONNACK: &[&str] = &["030500"];
    const DISCONNECT: (&str, &[&str]) = ("0218", &["0218"]);

    #[test]
    fn the_letters_are_those_of_mosquitto_pub() {
        let args = parse("-h gw -p 1884 -t a/b -m hi -q 2 -r -i me -k 30 -c -d --quiet").unwrap();
        assert_eq!(args.connection.host, "gw");
        assert_eq!(args.connection.port, 1884);
        assert_eq!(args.qos, QosField::Level(Qos::ExactlyOnce));
        assert!(args.retain);
        let settings = args.connection.settings("pub");
        assert_eq!((settings.client_id.as_str(), settings.keep_alive, settings.clean_session), ("me", 30, false));
        assert!(parse("-t a -m x").unwrap().connection.settings("pub").client_id.starts_with("mqttsn-pub-"));
        assert!(parse("-t a -m x -I pre-").unwrap().connection.settings("pub").client_id.starts_with("pre-"));
    }

    #[test]
    fn help_is_spelt_out_because_h_is_the_host() {
        assert_eq!(parse("--help").unwrap_err().kind(), clap::error::ErrorKind::DisplayHelp);
    }

    #[test]
    fn a_message_may_begin_with_a_hyphen() {
        assert_eq!(parse("-t a -m -5").unwrap().message.unwrap(), "-5");
        assert_eq!(parse("--predefined 1 -m x -q -1").unwrap().qos, QosField::MinusOne);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        for (line, reason) in [
            ("-t a/# -m x", "wildcard"),
            ("-m x", "required"),
            ("-t a", "required"),
            ("-t a -m x -n", "cannot be used with"),
            ("-t a --short ab -m x", "cannot be used with"),
            ("-t a -m x -q 3", "QoS is -1, 0, 1 or 2"),
            ("--short abc -m x", "exactly 2 octets"),
            ("--predefined 0 -m x", "1 to 65534"),
            ("-t a -m x -c", "--id"),
            ("-t a -m x -i c1 --serial x,speed=1", "baud=N and framing=F"),
            ("-t a -m x --serial x,framing=morse", "morse"),
            ("-t a -m x --retry never", "number of seconds"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[tokio::test]
    async fn a_message_at_qos_1_is_registered_published_and_acknowledged() {
        let script: Script<'_> = &[
            (CONNECT, CONNACK),
            ("0b0a00000001612f622f63", &["070b0001000100"]),
            ("0b0c200001000232332e35", &["070d0001000200"]),
            DISCONNECT,
        ];
        assert_eq!(publish_to(script, "-t a/b/c -m 23.5 -q 1", "").await, Ok(()));
    }

    #[tokio::test]
    async fn each_line_of_stdin_is_a_message() {
        let script: Script<'_> = &[
            (CONNECT, CONNACK),
            ("080c026162000078", &[]),
            ("070c0261620000", &[]),
            ("090c02616200007979", &[]),
            DISCONNECT,
        ];
        assert_eq!(publish_to(script, "--short ab -l", "x\n\nyy").await, Ok(()));
    }

    #[tokio::test]
    async fn stdin_as_a_whole_and_nothing_at_all_are_messages_too() {
        let whole: Script<'_> = &[(CONNECT, CONNACK), ("0a0c1261620000780a79", &[]), DISCONNECT];
        assert_eq!(publish_to(whole, "--short ab -r -s", "x\ny").await, Ok(()));
        let null: Script<'_> = &[(CONNECT, CONNACK), ("070c1261620000", &[]), DISCONNECT];
        assert_eq!(publish_to(null, "--short ab -r -n", "").await, Ok(()));
    }

    #[tokio::test]
    async fn a_message_can_be_repeated() {
        let script: Script<'_> =
            &[(CONNECT, CONNACK), ("080c026162000078", &[]), ("080c026162000078", &[]), DISCONNECT];
        assert_eq!(publish_to(script, "--short ab -m x --repeat 2 --repeat-delay 0.01", "").await, Ok(()));
    }

    #[tokio::test]
    async fn qos_minus_1_is_sent_without_a_connection() {
        assert_eq!(publish_to(&[("080c61000a000078", &[])], "--predefined 10 -m x -q -1", "").await, Ok(()));
    }

    #[tokio::test]
    async fn a_refusal_at_qos_0_is_noticed_before_the_end() {
        let script: Script<'_> =
            &[(CONNECT, CONNACK), ("080c010009000078", &[]), ("0218", &["070d0009000002", "0218"])];
        let error = publish_to(script, "--predefined 9 -m x", "").await.unwrap_err();
        assert!(error.contains("refused the message: invalid topic id"), "{error}");
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_in_words() {
        let error = publish_to(&[(CONNECT, &["030503"])], "-t a -m x", "").await.unwrap_err();
        assert!(error.contains("refused the connection: not supported"), "{error}");
        assert!(error.contains("(return code 3)"), "{error}");
    }

    #[tokio::test]
    async fn lines_survive_a_gateway_that_forgets_the_session() {
        let script: Script<'_> = &[
            (CONNECT, CONNACK),
            ("080c226162000178", &["0218"]),
            (CONNECT, CONNACK),
            ("080c226162000278", &["070d6162000200"]),
            DISCONNECT,
        ];
        assert_eq!(publish_to(script, "--short ab -q 1 -l --quiet", "x").await, Ok(()));
    }

    #[tokio::test]
    async fn a_gateway_on_ipv4_alone_is_reached_as_localhost() {
        let gateway = Scripted::on("127.0.0.1").await;
        let line = format!("-h localhost -p {} -i c1 --short ab -m x", gateway.port());
        let args = parse(&line).unwrap();
        let script: Script<'_> = &[(CONNECT, CONNACK), ("080c026162000078", &[]), DISCONNECT];
        let (result, ()) = tokio::join!(publish_all(&args, io::empty()), gateway.play(script));
        result.unwrap();
    }

    #[tokio::test]
    async fn no_gateway_is_told_at_once_with_a_remedy() {
        let port = Scripted::on("127.0.0.1").await.port();
        for qos in ["0", "-1"] {
            let line = format!("-h 127.0.0.1 -p {port} --short ab -m x -q {qos}");
            let error = publish_all(&parse(&line).unwrap(), io::empty()).await.unwrap_err().to_string();
            assert!(error.contains("nobody listens"), "{error}");
            assert!(error.contains("is the gateway running"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_silent_gateway_is_given_up_after_its_retries() {
        let script: Script<'_> = &[(CONNECT, &[]), (CONNECT, &[])];
        let error = publish_to(script, "-t a -m x --retry 0.02 --retries 1", "").await.unwrap_err();
        assert!(error.contains("did not answer CONNECT, sent 2 times"), "{error}");
    }

    #[tokio::test]
    async fn what_no_frame_can_carry_is_refused() {
        let long: &'static str = Box::leak("x".repeat(65_536).into_boxed_str());
        let error = publish_to(&[], "-t a -s", long).await.unwrap_err();
        assert!(error.contains("more than 65535 octets"), "{error}");
        let error = publish_to(&[(CONNECT, CONNACK), DISCONNECT], "-t a -s", &long[..65_500]).await.unwrap_err();
        assert!(error.contains("PUBLISH would have 65509 octets; this link carries 65507"), "{error}");
        let error = publish_to(&[(CONNECT, CONNACK), DISCONNECT], "-t a -l", long).await.unwrap_err();
        assert!(error.contains("line 1 of stdin"), "{error}");
    }
}
