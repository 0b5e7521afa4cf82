//! The command line: what can be asked of the program, and how it is written.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::config::Overrides;
use crate::links::SerialArgument;
use crate::tools::bench::BenchArgs;
use crate::tools::machine::MachineArgs;
use crate::tools::ports::PortsArgs;
use crate::tools::probe::ProbeArgs;
use crate::tools::publish::PublishArgs;
use crate::tools::subscribe::SubscribeArgs;

/// Where the embedded broker listens unless told otherwise.
const EMBEDDED_BROKER: &str = "127.0.0.1:1883";

const EXAMPLES: &str = "\
Examples:
  mqttsn-gateway
      UDP port 1883 to the MQTT broker on this machine, or what gateway.toml says
  mqttsn-gateway --embedded-broker
      the same with a small broker inside: nothing else is needed to try things out
  mqttsn-gateway --broker mqtt://192.168.1.10 --serial usb:10c4:ea60,baud=57600
      UDP and a serial radio dongle to a broker elsewhere
  mqttsn-gateway ports
      list the serial ports and the names to use for them; probe PORT finds out baud rate and framing
  mqttsn-gateway check
      say what the configuration means, try the broker and each port
  mqttsn-gateway sessions
      which devices are there, and what waits for them
  mqttsn-gateway pub -t iot/home1/livingroom/temperature -m 21.5 -q 1
      publish through a running gateway, as a device would

Every key of the configuration file, with its default and meaning, stands in the gateway.toml of the source package.";

/// An MQTT-SN gateway: devices on UDP or behind a serial radio dongle publish to and subscribe from an ordinary MQTT
/// broker.
#[derive(Debug, Parser)]
#[command(name = "mqttsn-gateway", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// What the program is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway; the same as no subcommand at all
    Run(GatewayArgs),
    /// Read the configuration, say what it means, try the broker and each port
    Check(GatewayArgs),
    /// Show the devices that have a session with the gateway, running or stopped; end one
    Sessions(SessionsArgs),
    /// List the serial ports of this machine: names that last, USB ids, and who holds them
    ///
    /// Programs of other users that hold a port are seen only by root.
    Ports(PortsArgs),
    /// Listen to a serial port over the likely baud rates and framings, and propose the configuration
    ///
    /// The port must not be in use. Opening it resets most boards.
    Probe(ProbeArgs),
    /// Explain MQTT-SN frames
    Decode(DecodeArgs),
    /// Publish through an MQTT-SN gateway, in the manner of mosquitto_pub
    Pub(PublishArgs),
    /// Subscribe through an MQTT-SN gateway, in the manner of mosquitto_sub
    Sub(SubscribeArgs),
    /// Put load on any MQTT-SN gateway, and measure what becomes of it
    Bench(BenchArgs),
}

/// Whose sessions, and what about them.
#[derive(Clone, Debug, Args)]
pub struct SessionsArgs {
    #[command(subcommand)]
    pub command: Option<SessionsCommand>,

    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Configuration file of the gateway; without it gateway.toml in the working directory, if there is one
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// The gateway's data directory, in place of the file's
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
}

/// What is to be done with sessions.
#[derive(Clone, Debug, Subcommand)]
pub enum SessionsCommand {
    /// List all; the same as no subcommand at all
    List,
    /// Show what is in one: topics, subscriptions, messages that wait
    Show {
        /// The device's client id
        client: String,
    },
    /// End one: its subscriptions and what waits for the device are given up; a connected device is told
    Forget {
        /// The device's client id
        client: String,
    },
}

/// The frames to explain.
#[derive(Clone, Debug, Args)]
pub struct DecodeArgs {
    /// One frame as hexadecimal octets, such as 0216 or 02 16; or `-` to read frames from standard input, one a line
    #[arg(required = true, value_name = "HEX|-", allow_hyphen_values = true)]
    pub hex: Vec<String>,
}

/// Flags that override the configuration file.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Gateway")]
pub struct GatewayArgs {
    /// Configuration file; without it gateway.toml in the working directory, if there is one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// MQTT broker: mqtt://HOST:PORT or mqtts://HOST:PORT; without the port 1883 and 8883
    #[arg(long, value_name = "URL", conflicts_with = "embedded_broker")]
    broker: Option<String>,

    /// Run a small MQTT broker inside, for trying out [default address: 127.0.0.1:1883]
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, require_equals = true, default_missing_value = EMBEDDED_BROKER)]
    embedded_broker: Option<String>,

    /// Listen on this UDP address, in place of the file's; can be given several times
    #[arg(long, value_name = "HOST:PORT")]
    udp: Vec<String>,

    /// Use this serial port, in place of the file's; can be given several times
    #[arg(long, value_name = "PORT[,baud=N][,framing=F]")]
    serial: Vec<SerialArgument>,

    /// How devices reach the broker: aggregating (over one connection) or transparent (each over its own)
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,

    /// Where everything is kept that must survive a restart or a power cut; "" keeps it in memory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// error, warn, info, debug, trace (every frame), or a filter as in RUST_LOG
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,

    /// text for people, json for machines
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    #[command(flatten)]
    machine: MachineArgs,
}

impl Cli {
    /// Returns what is to be done: without a subcommand, `run`.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(self.gateway))
    }
}

impl GatewayArgs {
    /// Returns what the flags say instead of the file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            broker: self.broker.clone(),
            embedded_broker: self.embedded_broker.clone(),
            udp: self.udp.clone(),
            serial: self.serial.clone(),
            mode: self.mode.clone(),
            data_dir: self.data_dir.clone(),
            log: self.log.clone(),
            log_format: self.log_format.clone(),
            inventory: self.machine.inventory(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(Cli::into_command)
    }

    fn run(line: &str) -> Overrides {
        match parse(line).unwrap() {
            Command::Run(args) => args.overrides(),
            other @ (Command::Check(_)
            | Command::Sessions(_)
            | Command::Ports(_)
            | Command::Probe(_)
            | Command::Decode(_)
            | Command::Pub(_)
            | Command::Sub(_)
            | Command::Bench(_)) => {
                panic!("{line}: {other:?}")
            }
        }
    }

    fn refusal(line: &str) -> clap::Error {
        parse(line).expect_err(line)
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_mean_the_same_with_and_without_run() {
        for line in ["mqttsn-gateway --broker mqtt://b --log debug", "mqttsn-gateway run --broker mqtt://b --log debug"]
        {
            let overrides = run(line);
            assert_eq!(overrides.broker.as_deref(), Some("mqtt://b"));
            assert_eq!(overrides.log.as_deref(), Some("debug"));
        }
        assert!(matches!(parse("mqttsn-gateway"), Ok(Command::Run(_))));
        assert!(matches!(parse("mqttsn-gateway check --config x.toml"), Ok(Command::Check(_))));
    }

    #[test]
    fn the_embedded_brokers_address_is_optional() {
        assert_eq!(run("mqttsn-gateway --embedded-broker").embedded_broker.as_deref(), Some("127.0.0.1:1883"));
        assert_eq!(
            run("mqttsn-gateway --embedded-broker=0.0.0.0:1884").embedded_broker.as_deref(),
            Some("0.0.0.0:1884")
        );
        assert_eq!(run("mqttsn-gateway").embedded_broker, None);
    }

    #[test]
    fn listeners_and_ports_can_be_given_several_times() {
        let overrides =
            run("mqttsn-gateway --udp 0.0.0.0:1 --udp [::1]:2 --serial COM3 --serial /dev/ttyUSB0,baud=57600");
        assert_eq!(overrides.udp, ["0.0.0.0:1", "[::1]:2"]);
        assert_eq!(overrides.serial.len(), 2);
    }

    #[test]
    fn the_flags_of_sessions_stand_before_or_behind_what_is_to_be_done() {
        for line in ["sessions show c1 --json --data-dir d", "sessions --json --data-dir d show c1"] {
            let Ok(Command::Sessions(args)) = parse(&format!("mqttsn-gateway {line}")) else { panic!("{line}") };
            assert!(matches!(args.command, Some(SessionsCommand::Show { client }) if client == "c1"), "{line}");
            assert_eq!((args.json, args.data_dir.as_deref()), (true, Some("d")), "{line}");
        }
        let Ok(Command::Sessions(args)) = parse("mqttsn-gateway sessions") else { panic!("it needs no more") };
        assert!(args.command.is_none());
        assert_eq!(refusal("mqttsn-gateway sessions forget").exit_code(), 2);
    }

    #[test]
    fn two_brokers_are_one_too_many() {
        let error = refusal("mqttsn-gateway --broker mqtt://b --embedded-broker");
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn wrong_usage_names_the_flag_and_the_remedy() {
        assert!(refusal("mqttsn-gateway --serial COM3,speed=9").to_string().contains("behind the port stand baud=N"));
        assert!(refusal("mqttsn-gateway --brokr mqtt://b").to_string().contains("'--broker'"));
        assert_eq!(refusal("mqttsn-gateway chek").exit_code(), 2);
        assert_eq!(refusal("mqttsn-gateway --broker mqtt://b check").exit_code(), 2);
    }
}
