//! `mqttsn-gateway pub`: publishes over MQTT-SN what `mosquitto_pub` publishes over MQTT.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
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
        let name = self.topic.clone().map(Topic::Name);
        let topic = name.or(self.predefined.map(Topic::Predefined)).or(self.short.map(Topic::Short));
        let topic = topic.context("a topic is wanted: --topic, --predefined or --short")?;
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
