//! The options of `bench`, and the runs that they stand for.

use std::time::Duration;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::mqtt::BrokerAddress;
use super::plan::{Downlink, Pace, Plan};
use super::stamp::Stamp;
use super::usage::Subject;
use crate::core::topics::TopicName;
use crate::links::SerialSettings;
use crate::tools::options::{qos, seconds, serial_settings, topic_name};
use crate::tools::transport::Target;
use crate::wire::Qos;

/// Octets of the largest payload: with header, topic and wrapper it fits into any datagram.
const MAX_SIZE: usize = 60_000;
/// Octets of the longest prefix of topics and client ids, so that what is made of them fits into any frame.
const MAX_PREFIX: usize = 128;
/// How long the connections of a `connect` run are held: not at all, they are what is measured.
const NO_TIME: Duration = Duration::ZERO;

/// Put load on any MQTT-SN gateway, and measure what becomes of it.
///
/// Simulated devices connect to the gateway over UDP or a serial line. A connection to the broker behind it counts what
/// arrives there, and sends what the devices are to get. An acknowledgement never counts as an arrival.
#[derive(Args, Clone, Debug)]
#[command(disable_help_flag = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum What {
    /// Devices publish; arrivals are counted at the broker
    Pub(PubArgs),
    /// One publisher at the broker, all devices subscribe
    Fanout(FanoutArgs),
    /// Devices connect, as fast as the gateway answers
    Connect(ConnectArgs),
    /// Devices do nothing but ping or sleep
    Idle(IdleArgs),
    /// Some publish, some sleep, each gets messages of its own
    Mixed(MixedArgs),
    /// What this machine does at best: a bare UDP loop, and plain MQTT into the same broker
    Floor(FloorArgs),
    /// Start a broker and gateways, and compare them with the goals
    Goals(GoalsArgs),
}

/// Where the gateway is, and what all devices have in common.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gateway and devices")]
pub(super) struct Common {
    /// The gateway's host name or address
    #[arg(short = 'h', long, default_value = "127.0.0.1")]
    host: String,
    /// The gateway's UDP port
    #[arg(short = 'p', long, default_value_t = 1883)]
    port: u16,
    /// Talk through a serial port instead of UDP; 9600 baud and framing raw by default
    #[arg(long, value_name = "PORT[,baud=N][,framing=F]", conflicts_with_all = ["host", "port"],
          value_parser = serial_settings)]
    serial: Option<SerialSettings>,
    /// Put the devices behind N forwarders: they share N sockets, and their frames are encapsulated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    forwarders: Option<u32>,
    /// The broker behind the gateway; "none" goes without, and then nobody counts arrivals
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883", value_parser = broker)]
    broker: Broker,
    /// Measure CPU time and memory of this process, the gateway's
    #[arg(long)]
    pid: Option<u32>,
    /// Simulated devices
    #[arg(short = 'c', long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// Quality of service: 0, 1 or 2
    #[arg(short = 'q', long, default_value = "1", value_parser = qos)]
    qos: Qos,
    /// Octets of a payload, from 20 on: it begins with who sent it and when
    #[arg(short = 's', long, value_name = "OCTETS", default_value_t = 32, value_parser = payload_size)]
    size: usize,
    /// Let the devices connect over this time; 0 is as fast as the gateway answers
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    ramp: Duration,
    /// Connects and wake-ups that wait for an answer at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    at_once: u32,
    /// Keep-alive in seconds; 0 switches it off
    #[arg(short = 'k', long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
    /// How long an answer may take before a message is sent again (T_retry)
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    retry: Duration,
    /// How often a message is sent again before it is given up (N_retry)
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u8,
    /// The first level of all topics
    #[arg(short = 't', long, default_value = "bench", value_parser = first_level)]
    topic: TopicName,
    /// Make the client ids from this prefix
    #[arg(short = 'I', long, value_name = "PREFIX", default_value = "bench-", value_parser = short_text)]
    id_prefix: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// How long a run measures.
#[derive(Args, Clone, Debug)]
pub(super) struct Time {
    /// How long to measure, once all devices have connected
    #[arg(short = 'd', long, value_name = "SECONDS", default_value = "10", value_parser = some_time)]
    duration: Duration,
}

#[derive(Args, Clone, Debug)]
pub(super) struct PubArgs {
    /// Messages a second, all devices together; without it each waits for the answer to its last message
    #[arg(short = 'r', long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Clone, Debug)]
pub(super) struct FanoutArgs {
    /// Deliveries a second, all devices together; without it each message waits until all have the last one
    #[arg(short = 'r', long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ConnectArgs {
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Clone, Debug)]
pub(super) struct IdleArgs {
    #[command(flatten)]
    sleep: Sleep,
    /// Messages that the broker publishes to each sleeper before the measurement; they are collected after it
    #[arg(long, value_name = "N", default_value_t = 0)]
    queued: u32,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Args, Clone, Debug)]
pub(super) struct MixedArgs {
    /// Messages a second from the devices, all together
    #[arg(short = 'r', long, value_name = "N", default_value = "1000", value_parser = rate)]
    rate: f64,
    /// Messages a second to the devices, all together
    #[arg(long, value_name = "N", default_value = "100", value_parser = rate)]
    commands: f64,
    #[command(flatten)]
    sleep: Sleep,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Who sleeps.
#[derive(Args, Clone, Debug)]
pub(super) struct Sleep {
    /// How many of the devices sleep, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    sleepers: u32,
    /// How often those that sleep wake up
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = some_time)]
    wake_every: Duration,
}

#[derive(Args, Clone, Debug)]
pub(super) struct FloorArgs {
    /// Which floors to measure
    #[arg(long, value_enum, default_value = "all")]
    pub(super) only: Floors,
    #[command(flatten)]
    pub(super) time: Time,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Floors {
    All,
    Udp,
    Mqtt,
}

#[derive(Args, Clone, Debug)]
pub(super) struct GoalsArgs {
    /// The broker's program
    #[arg(long, value_name = "PROGRAM", default_value = "mosquitto")]
    pub(super) mosquitto: std::path::PathBuf,
    /// How long each row measures
    #[arg(short = 'd', long, value_name = "SECONDS", default_value = "4", value_parser = some_time)]
    pub(super) duration: Duration,
    /// Measure each row so many times, and tell the one in the middle: other programs disturb some of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) repeat: u32,
    /// Only the rows whose names contain one of these words
    #[arg(value_name = "WORD")]
    pub(super) rows: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// The broker as the option names it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Broker {
    At(BrokerAddress),
    None,
}

impl What {
    /// Returns the run that is asked for, and how to report it; `None` for what is no single run.
    pub(super) fn plan(&self) -> Result<Option<(Plan, &Common)>, String> {
        let plan = match self {
            Self::Pub(args) => (args.plan()?, &args.common),
            Self::Fanout(args) => (args.plan()?, &args.common),
            Self::Connect(args) => (args.common.plan("connect", NO_TIME), &args.common),
            Self::Idle(args) => (args.plan()?, &args.common),
            Self::Mixed(args) => (args.plan()?, &args.common),
            Self::Floor(_) | Self::Goals(_) => return Ok(None),
        };
        Ok(Some(plan))
    }
}

impl Common {
    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Makes a run in which the devices only connect.
    pub(super) fn plan(&self, name: &str, duration: Duration) -> Plan {
        Plan {
            gateway: match &self.serial {
                Some(settings) => Target::Serial(settings.clone()),
                None => Target::Udp { host: self.host.clone(), port: self.port },
            },
            forwarders: self.forwarders,
            subject: self.pid.map(Subject::Process),
            clients: self.clients,
            qos: self.qos,
            size: self.size,
            ramp: self.ramp,
            at_once: self.at_once,
            keep_alive: self.keepalive,
            t_retry: self.retry.max(Duration::from_millis(1)),
            n_retry: self.retries,
            topic: self.topic.as_str().to_owned(),
            client_prefix: self.id_prefix.clone(),
            ..Plan::local(name, duration)
        }
    }

    pub(super) fn broker(&self) -> Option<BrokerAddress> {
        match &self.broker {
            Broker::At(address) => Some(address.clone()),
            Broker::None => None,
        }
    }

    fn needed_broker(&self) -> Result<Option<BrokerAddress>, String> {
        let broker = self.broker();
        if broker.is_none() {
            return Err("somebody must publish to the devices: --broker mqtt://HOST:PORT".to_owned());
        }
        Ok(broker)
    }
}

impl PubArgs {
    fn plan(&self) -> Result<Plan, String> {
        let common = &self.common;
        if common.qos == Qos::AtMostOnce && self.rate.is_none() {
            return Err("at QoS 0 there is no answer to wait for: say how fast, with --rate".to_owned());
        }
        let up = Some(pace(self.rate));
        Ok(Plan { up, broker: common.broker(), ..common.plan("pub", self.time.duration) })
    }
}

impl FanoutArgs {
    fn plan(&self) -> Result<Plan, String> {
        let common = &self.common;
        let messages = self.rate.map(|deliveries| deliveries / f64::from(common.clients));
        let down = Some(Downlink::ToAll(pace(messages)));
        Ok(Plan { down, broker: common.needed_broker()?, ..common.plan("fanout", self.time.duration) })
    }
}

impl IdleArgs {
    fn plan(&self) -> Result<Plan, String> {
        let common = &self.common;
        let plan = self.sleep.put_into(common.plan("idle", self.time.duration));
        if self.queued == 0 {
            return Ok(plan);
        }
        if plan.sleepers == 0 {
            return Err("messages wait for devices that sleep only: --sleepers 100".to_owned());
        }
        Ok(Plan { down: Some(Downlink::Queued(self.queued)), broker: common.needed_broker()?, ..plan })
    }
}

impl MixedArgs {
    fn plan(&self) -> Result<Plan, String> {
        let common = &self.common;
        let plan = self.sleep.put_into(common.plan("mixed", self.time.duration));
        if plan.publishers() == 0 {
            return Err("somebody must be awake to publish: --sleepers below 100".to_owned());
        }
        let up = Some(Pace::PerSecond(self.rate));
        let down = Some(Downlink::ToEach(self.commands));
        Ok(Plan { up, down, broker: common.needed_broker()?, ..plan })
    }
}

impl FloorArgs {
    /// Makes the run that the gateway's QoS 1 run is compared with.
    pub(super) fn plan(&self) -> Plan {
        self.common.plan("floor", self.time.duration)
    }
}

impl Sleep {
    fn put_into(&self, plan: Plan) -> Plan {
        let sleepers = u64::from(plan.clients) * u64::from(self.sleepers) / 100;
        Plan { sleepers: u32::try_from(sleepers).unwrap_or(plan.clients), wake_every: self.wake_every, ..plan }
    }
}

fn pace(rate: Option<f64>) -> Pace {
    rate.map_or(Pace::Lockstep, Pace::PerSecond)
}

fn broker(text: &str) -> Result<Broker, String> {
    if text == "none" { Ok(Broker::None) } else { text.parse().map(Broker::At) }
}

fn payload_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (Stamp::OCTETS..=MAX_SIZE).contains(size));
    size.ok_or_else(|| format!("a payload has {} to {MAX_SIZE} octets", Stamp::OCTETS))
}

fn first_level(text: &str) -> Result<TopicName, String> {
    short_text(text).and_then(|text| topic_name(&text))
}

fn short_text(text: &str) -> Result<String, String> {
    let is_short = text.len() <= MAX_PREFIX;
    is_short.then(|| text.to_owned()).ok_or_else(|| format!("at most {MAX_PREFIX} octets, please"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a rate is a number above 0".to_owned())
}

fn some_time(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| {
        (!time.is_zero()).then_some(time).ok_or_else(|| "a time above 0 is wanted, such as 10 or 0.5".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let command = Command::try_parse_from(words).map_err(|error| error.to_string())?;
        command.bench.what.plan().map(|run| run.expect("a single run").0)
    }

    #[test]
    fn without_options_a_hundred_devices_publish_in_lockstep() {
        let plan = plan("pub").unwrap();
        assert_eq!((plan.clients, plan.up, plan.down), (100, Some(Pace::Lockstep), None));
        assert_eq!((plan.qos, plan.size, plan.sleepers), (Qos::AtLeastOnce, 32, 0));
        assert!(plan.broker.is_some());
    }

    #[test]
    fn the_rate_of_a_fan_out_counts_deliveries() {
        let plan = plan("fanout -c 1000 -r 20000").unwrap();
        assert_eq!(plan.down, Some(Downlink::ToAll(Pace::PerSecond(20.0))));
    }

    #[test]
    fn sleepers_are_a_share_of_the_devices() {
        let plan = plan("idle -c 1000 --sleepers 30 --queued 5").unwrap();
        assert_eq!((plan.sleepers, plan.publishers(), plan.down), (300, 700, Some(Downlink::Queued(5))));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_remedy() {
        for (line, remedy) in [
            ("pub -q 0", "--rate"),
            ("idle --queued 5", "--sleepers"),
            ("mixed --sleepers 100", "--sleepers below 100"),
            ("fanout --broker none", "--broker mqtt://"),
            ("pub --broker tcp://b", "mqtt://HOST:PORT"),
            ("pub -s 19", "20 to 60000"),
            ("pub -r 0", "above 0"),
            ("pub -d 0", "above 0"),
            (&format!("pub -t {}", "x".repeat(200)), "at most 128 octets"),
        ] {
            let error = plan(line).unwrap_err();
            assert!(error.contains(remedy), "{line}: {error}");
        }
    }
}
