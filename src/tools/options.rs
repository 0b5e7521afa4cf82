//! Options that `pub` and `sub` share, with the letters of `mosquitto_pub` and `mosquitto_sub`.

use std::ffi::OsString;
use std::time::Duration;

use bytes::Bytes;
use clap::ArgAction;

use super::client::{Settings, Will};
use super::console::Console;
use super::transport::Target;
use crate::core::topics::{TopicFilter, TopicName};
use crate::links::{SerialArgument, SerialSettings};
use crate::wire::{Qos, QosField, TopicId};

/// Where the gateway is, who the client is, and how patient.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionOptions {
    /// The gateway's host name or address
    #[arg(short = 'h', long, default_value = "localhost")]
    pub host: String,
    /// The gateway's UDP port
    #[arg(short = 'p', long, default_value_t = 1883)]
    pub port: u16,
    /// Talk through a serial port instead of UDP; 9600 baud and framing raw by default
    #[arg(long, value_name = "PORT[,baud=N][,framing=F]", conflicts_with_all = ["host", "port"],
          value_parser = serial_settings)]
    pub serial: Option<SerialSettings>,
    /// Client id; by default a random one
    #[arg(short = 'i', long = "id", value_parser = client_id)]
    pub id: Option<String>,
    /// Make the client id from this prefix and the process id
    #[arg(short = 'I', long, conflicts_with = "id", value_parser = client_id)]
    pub id_prefix: Option<String>,
    /// Keep-alive in seconds; 0 switches it off
    #[arg(short = 'k', long, value_name = "SECONDS", default_value_t = 60)]
    pub keepalive: u16,
    /// Keep the session at the gateway: subscriptions and what they bring
    #[arg(short = 'c', long, requires = "id", conflicts_with = "id_prefix")]
    pub disable_clean_session: bool,
    /// How long an answer may take before a message is sent again (T_retry)
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub retry: Duration,
    /// How often a message is sent again before the gateway counts as gone (N_retry)
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub retries: u8,
    /// Where the gateway publishes when it loses this client
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    pub will_topic: Option<TopicName>,
    /// What it publishes then; by default nothing, an empty message
    #[arg(long, value_name = "MESSAGE", requires = "will_topic", allow_hyphen_values = true)]
    pub will_payload: Option<OsString>,
    /// At which QoS
    #[arg(long, value_name = "QOS", requires = "will_topic", default_value = "0", value_parser = qos)]
    pub will_qos: Qos,
    /// As a retained message
    #[arg(long, requires = "will_topic")]
    pub will_retain: bool,
    /// Show every frame on stderr
    #[arg(short = 'd', long)]
    pub debug: bool,
    /// Say nothing on stderr
    #[arg(long)]
    pub quiet: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

impl ConnectionOptions {
    pub(super) fn target(&self) -> Target {
        match &self.serial {
            Some(settings) => Target::Serial(settings.clone()),
            None => Target::Udp { host: self.host.clone(), port: self.port },
        }
    }

    pub(super) fn console(&self) -> Console {
        Console { quiet: self.quiet, debug: self.debug }
    }

    /// Returns what the client must know. `tool` is part of a random client id.
    pub(super) fn settings(&self, tool: &str) -> Settings {
        let client_id = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            // Process ids repeat from host to host, and two clients with one id would throw each other out.
            (None, None) => format!("mqttsn-{tool}-{:08x}", fastrand::u32(..)),
        };
        Settings {
            client_id,
            clean_session: !self.disable_clean_session,
            keep_alive: self.keepalive,
            t_retry: self.retry,
            n_retry: self.retries,
            max_frame: usize::from(u16::MAX),
            will: self.will_topic.clone().map(|topic| Will {
                topic,
                message: self.will_payload.clone().map_or_else(Bytes::new, octets),
                qos: self.will_qos,
                retain: self.will_retain,
            }),
        }
    }
}

/// Takes an argument as it stands, whatever its encoding.
pub(super) fn octets(argument: OsString) -> Bytes {
    argument.into_encoded_bytes().into()
}

pub(super) fn topic_name(text: &str) -> Result<TopicName, String> {
    TopicName::parse(text.as_bytes()).map_err(|error| error.to_string())
}

pub(super) fn topic_filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::parse(text.as_bytes()).map_err(|error| error.to_string())
}

pub(super) fn predefined_id(text: &str) -> Result<TopicId, String> {
    let id = text.parse().map(TopicId).ok().filter(|id| id.is_assignable());
    id.ok_or_else(|| "a predefined topic id is a number from 1 to 65534".to_owned())
}

pub(super) fn short_name(text: &str) -> Result<[u8; 2], String> {
    let short = topic_name(text)?.as_short();
    short.ok_or_else(|| "a short topic name has exactly 2 octets; --topic takes all others".to_owned())
}

pub(super) fn qos(text: &str) -> Result<Qos, String> {
    match text {
        "0" => Ok(Qos::AtMostOnce),
        "1" => Ok(Qos::AtLeastOnce),
        "2" => Ok(Qos::ExactlyOnce),
        _ => Err("the QoS is 0, 1 or 2".to_owned()),
    }
}

pub(super) fn publish_qos(text: &str) -> Result<QosField, String> {
    match text {
        "-1" => Ok(QosField::MinusOne),
        other => qos(other).map(QosField::Level).map_err(|_| "the QoS is -1, 0, 1 or 2".to_owned()),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a number of seconds is wanted, such as 2 or 0.5".to_owned())
}

pub(super) fn serial_settings(text: &str) -> Result<SerialSettings, String> {
    let argument = text.parse::<SerialArgument>().map_err(|error| error.to_string())?;
    argument.settings().map_err(|error| error.to_string())
}

fn client_id(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("MQTT-SN needs a client id of at least one character".to_owned());
    }
    Ok(text.to_owned())
}
