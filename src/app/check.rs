//! `check`: says what the configuration means, and tries the broker and each port.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use super::banner;
use super::cli::GatewayArgs;
use super::config::{Config, changed_limits};
use super::store_words::{counted, outage_in_words, shown, store_in_words};
use super::{complain, runtime, start};
use crate::broker::{self, Protocol};
use crate::core::{LinkSettings, Record};
use crate::links::udp::{self, TriedGroup};
use crate::links::{OpenError, serial};
use crate::store::{Inspection, Restored, Store};
use crate::wire::Qos;

/// Checks, prints what it finds to standard output, and returns 0 if nothing stands in the gateway's way.
pub fn run(args: &GatewayArgs) -> ExitCode {
    let config = match start::configuration(args) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut report = Report { out: io::stdout().lock(), problems: 0 };
    let outcome =
        explain(&config, &mut report).and_then(|()| attempt(&config, &mut report)).and_then(|()| report.conclude());
    match outcome {
        Ok(code) => code,
        Err(error) => complain(&format!("the report cannot be written: {error}")),
    }
}

/// What was found, line by line.
struct Report<W> {
    out: W,
    problems: usize,
}

impl<W: Write> Report<W> {
    fn fact(&mut self, what: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "{what:<13} {text}")
    }

    fn tried(&mut self, outcome: Result<String, String>) -> io::Result<()> {
        match outcome {
            Ok(text) => self.fact("ok", &text),
            Err(text) => {
                self.problems += 1;
                self.fact("PROBLEM", &text)
            }
        }
    }

    fn conclude(&mut self) -> io::Result<ExitCode> {
        match self.problems {
            0 => writeln!(self.out, "\nNothing stands in the way.")?,
            1 => writeln!(self.out, "\nThere is 1 problem.")?,
            problems => writeln!(self.out, "\nThere are {problems} problems.")?,
        }
        Ok(if self.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Says in words what the gateway would do.
fn explain(config: &Config, report: &mut Report<impl Write>) -> io::Result<()> {
    report.fact("configuration", &banner::source_in_words(config))?;
    report.fact("gateway", &banner::gateway_in_words(config))?;
    match config.embedded_broker {
        Some(address) => report.fact("broker", &format!("embedded, on {address}"))?,
        None => {
            let version = match config.broker.protocol {
                Protocol::Auto => "MQTT 5, or 3.1.1 if it offers no more",
                Protocol::V5 => "MQTT 5",
                Protocol::V311 => "MQTT 3.1.1",
            };
            report.fact("broker", &format!("{}; {version}", banner::broker_in_words(&config.broker)))?;
        }
    }
    if let Some(words) = banner::devices_in_words(config) {
        report.fact("", &words)?;
    }
    for udp in &config.udp {
        let strangers = if udp.link.qos_minus_one { "QoS -1 welcome" } else { "no QoS -1" };
        report.fact(
            "UDP",
            &format!("{}, frames up to {} octets, {strangers}", udp.settings.listen, udp.link.max_frame),
        )?;
        if let Some(words) = banner::multicast_in_words(&udp.settings.multicast) {
            report.fact("", &words)?;
        }
        explain_advertise(&udp.link, report)?;
    }
    for serial in &config.serial {
        let settings = &serial.settings;
        report.fact("serial", &format!("{settings}, frames up to {} octets", settings.max_frame))?;
        if let Some(assumption) = banner::assumption_in_words(serial) {
            report.fact("", &assumption)?;
        }
        explain_advertise(&serial.link, report)?;
    }
    report.fact("store", &store_in_words(&config.keeping))?;
    for (index, words) in outage_in_words(config).iter().enumerate() {
        report.fact(if index == 0 { "outage" } else { "" }, words)?;
    }
    if let Some(words) = banner::prefix_in_words(&config.topic_prefix) {
        report.fact("topic prefix", &words)?;
    }
    for rule in &config.queue {
        report.fact("queue", &banner::queue_rule_in_words(rule))?;
    }
    for (id, topic) in &config.predefined {
        report.fact("predefined", &format!("{id} = {:?}", topic.as_str()))?;
    }
    for changed in changed_limits(config.limits, config.queues) {
        report.fact("limit", &format!("{} = {} (default {})", changed.key, changed.value, changed.default))?;
    }
    writeln!(report.out)
}

fn explain_advertise(link: &LinkSettings, report: &mut Report<impl Write>) -> io::Result<()> {
    let Some(period) = link.advertise else { return Ok(()) };
    report.fact("", &banner::advertise_in_words(period))?;
    banner::advertise_doubt(period).map_or(Ok(()), |doubt| report.fact("", doubt))
}

/// Tries what the gateway would open.
fn attempt(config: &Config, report: &mut Report<impl Write>) -> io::Result<()> {
    if let Some(dir) = &config.keeping.dir {
        report.tried(look_at_store(dir))?;
    }
    for link in &config.udp {
        let listen = link.settings.listen;
        let mut groups = Vec::new();
        report.tried(match udp::try_open(&link.settings) {
            Ok(tried) => {
                groups = tried;
                Ok(format!("UDP {listen} is free"))
            }
            Err(error @ OpenError::InUse { .. }) => {
                Err(format!("{error}. If it is this gateway, running already, all is well"))
            }
            Err(
                error @ (OpenError::NoSuchAddress { .. } | OpenError::NoPermission { .. } | OpenError::Other { .. }),
            ) => Err(error.to_string()),
        })?;
        for TriedGroup { membership, outcome } in groups {
            let outcome = outcome.map_err(|error| format!("cannot join the multicast group {membership}: {error}"));
            report.tried(outcome.map(|()| format!("the multicast group {membership} can be joined")))?;
        }
    }
    for port in &config.serial {
        report.tried(match serial::try_open(&port.settings) {
            Ok(()) => Ok(format!("serial {} opens", port.settings.port)),
            Err(error) => Err(error.to_string()),
        })?;
    }
    report.tried(match config.embedded_broker {
        Some(address) => try_listen(address),
        None => try_broker(config),
    })
}

/// Says what a data directory is, and leaves it as it is.
fn look_at_store(dir: &Path) -> Result<String, String> {
    let found = Store::inspect(dir).map_err(|error| error.to_string())?;
    let shown = shown(dir);
    match found {
        Inspection::Vacant => Ok(format!("there is no store in {shown} yet; one can be made")),
        Inspection::Unclean => Ok(format!(
            "there is a store in {shown}, of a gateway that was cut off; it is put in order at the next start"
        )),
        Inspection::InUse { holder } => {
            let process = holder.map(|process| format!(" (process {process})")).unwrap_or_default();
            Err(format!(
                "the store in {shown} is in use by a gateway that runs{process}. If it is this gateway, all is well; \
                 another one needs a data_dir of its own"
            ))
        }
        Inspection::Ready(restored) => Ok(format!("the store in {shown} holds {}", content_in_words(&restored))),
    }
}

fn content_in_words(restored: &Restored) -> String {
    let (mut sessions, mut queued, mut kept) = (0, 0, 0);
    for record in &restored.records {
        match record {
            Record::Session(_) => sessions += 1,
            Record::Queued(_) => queued += 1,
            Record::Upstream(_) => kept += 1,
            Record::Topic(_)
            | Record::Subscription(_)
            | Record::Exchange(_)
            | Record::Arrival(_)
            | Record::Filter(_)
            | Record::Checkpoint(_)
            | Record::Completed(_) => {}
        }
    }
    let unreadable = match restored.unreadable.len() {
        0 => String::new(),
        records => {
            let records = counted(records, "record", "records");
            format!("; {records} in it cannot be read, and left where they are")
        }
    };
    let sessions = counted(sessions, "session", "sessions");
    let queued = counted(queued, "message", "messages");
    format!("{sessions}, {queued} for devices and {kept} for the broker{unreadable}")
}

fn try_listen(address: SocketAddr) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("TCP {address} is free for the embedded broker")),
        Err(error) => Err(format!(
            "the embedded broker cannot listen on TCP {address}: {error}; \
             choose another port, as in --embedded-broker=127.0.0.1:1884"
        )),
    }
}

fn try_broker(config: &Config) -> Result<String, String> {
    let runtime = runtime::event_loop().map_err(|error| runtime::no_event_loop(&error))?;
    let found = runtime.block_on(broker::probe(&config.broker))?;
    let qos = match found.offer.max_qos {
        Qos::AtMostOnce => "QoS 0 only",
        Qos::AtLeastOnce => "QoS 0 and 1",
        Qos::ExactlyOnce => "QoS 0 to 2",
    };
    let retain = if found.offer.retain { "retained messages" } else { "no retained messages" };
    Ok(format!("the broker at {} answers: {}, {qos}, {retain}", config.broker.url, found.version))
}
