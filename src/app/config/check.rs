//! From what stands in the file to what can be used, or to the reason why not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::problem::Problem;
use super::raw::{RawBroker, RawConfig, RawGateway, RawLog, RawTimers, RawUdp};
use super::{Config, Devices, Log, Mode, Queues, links, mistakes, outage, topics};
use crate::broker::{BrokerSettings, BrokerUrl, Protocol, RetainedMessages, Scheme};
use crate::core::Timers;
use crate::ops::logging::{LogFormat, parse_filter};
use crate::wire::GwId;

/// Stands for a device's client id in templates.
pub(super) const CLIENT_ID: &str = "{client_id}";

pub(super) fn check(raw: RawConfig) -> Result<Config, Problem> {
    let RawGateway { id, name, mode, data_dir } = raw.gateway;
    let (limits, queues) = raw.limits.check()?;
    let name = gateway_name(name)?;
    let embedded_broker = raw.broker.embedded.as_deref().map(embedded_address).transpose()?;
    let timers = timers(&raw.timers)?;
    let devices = devices(&raw.broker, &name)?;
    let topic_prefix = topics::prefix(&raw.broker.topic_prefix)?;
    let udp = links::listeners(raw.udp.unwrap_or_else(|| vec![RawUdp::default()]))?;
    let serial = links::ports(raw.serial, &raw.inventory)?;
    if udp.is_empty() && serial.is_empty() {
        return Err(Problem::at(["udp"], "the gateway has neither a UDP listener nor a serial port")
            .hint("leave `udp = []` out for a listener on [::]:1883, or add a [[serial]] section"));
    }
    Ok(Config {
        file: None,
        gw_id: gateway_id(id)?,
        mode: mode_named(&mode)?,
        broker: broker(raw.broker, &name, queues, timers.session_expiry)?,
        devices,
        embedded_broker,
        name,
        udp,
        serial,
        topic_prefix,
        keeping: outage::keeping(&data_dir, &raw.store)?,
        outage: outage::outage(raw.outage)?,
        queue: topics::queue_rules(raw.queue)?,
        predefined: topics::predefined(raw.predefined)?,
        timers,
        gather: gather(&raw.timers)?,
        limits,
        queues,
        log: log(raw.log)?,
    })
}

fn gateway_id(id: u8) -> Result<GwId, Problem> {
    match id {
        0 => Err(Problem::at(["gateway", "id"], "`id` in [gateway] must be from 1 to 255")
            .hint("each gateway in one network needs an id of its own")),
        id => Ok(GwId(id)),
    }
}

/// The name becomes a part of client ids and topics, so that it may hold nothing with a meaning there.
fn gateway_name(name: String) -> Result<String, Problem> {
    let usable = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(usable) {
        return Err(Problem::at(["gateway", "name"], format!("{name:?} cannot be the gateway's name"))
            .hint("use 1 to 64 letters, digits, `-`, `_` and `.`; the name becomes a part of the MQTT client id"));
    }
    Ok(name)
}

fn mode_named(mode: &str) -> Result<Mode, Problem> {
    match mode {
        "aggregating" => Ok(Mode::Aggregating),
        "transparent" => Ok(Mode::Transparent),
        other => Err(one_of(["gateway", "mode"], other, &["aggregating", "transparent"])),
    }
}

fn broker(raw: RawBroker, name: &str, queues: Queues, session_expiry: Duration) -> Result<BrokerSettings, Problem> {
    let url = raw.url.parse::<BrokerUrl>().map_err(|error| {
        Problem::at(["broker", "url"], error.to_string()).hint("example: url = \"mqtt://localhost:1883\"")
    })?;
    let both_or_neither = [("cert", &raw.cert, "key", &raw.key), ("key", &raw.key, "cert", &raw.cert)];
    for (key, value, other_key, other) in both_or_neither {
        if value.is_some() && other.is_none() {
            return Err(Problem::at(["broker", key], format!("`{key}` in [broker] needs `{other_key}` beside it")));
        }
    }
    for (key, value) in [("ca", &raw.ca), ("cert", &raw.cert)] {
        if value.is_some() && url.scheme == Scheme::Mqtt {
            return Err(Problem::at(["broker", key], format!("`{key}` in [broker] has a meaning only with TLS"))
                .hint(format!("use an mqtts:// url, or leave `{key}` out")));
        }
    }
    let password = password(raw.password, raw.password_file.as_deref())?;
    if password.is_some() && raw.username.is_none() && url.username.is_none() {
        let key = if raw.password_file.is_some() { "password_file" } else { "password" };
        return Err(Problem::at(["broker", key], format!("`{key}` in [broker] needs `username` beside it"))
            .hint("example: username = \"gateway\""));
    }
    Ok(BrokerSettings {
        url,
        protocol: protocol(&raw.protocol)?,
        client_id: client_id(&raw.client_id, name)?,
        username: raw.username,
        password,
        ca: raw.ca.map(PathBuf::from),
        cert: raw.cert.map(PathBuf::from),
        key: raw.key.map(PathBuf::from),
        keep_alive: broker_keep_alive(raw.keep_alive.0)?,
        queue: queues.broker_queue,
        in_flight: queues.broker_in_flight,
        session_expiry,
        retained: RetainedMessages::default(),
    })
}

fn embedded_address(text: &str) -> Result<SocketAddr, Problem> {
    links::listen_address(text).ok_or_else(|| {
        Problem::at(["broker", "embedded"], format!("{text:?} is not an address to listen on"))
            .hint("write an IP address of this machine and a port: 127.0.0.1:1883, 0.0.0.0:1883")
    })
}

fn protocol(name: &str) -> Result<Protocol, Problem> {
    match name {
        "auto" => Ok(Protocol::Auto),
        "5" => Ok(Protocol::V5),
        "3.1.1" => Ok(Protocol::V311),
        other => Err(one_of(["broker", "protocol"], other, &["auto", "5", "3.1.1"])),
    }
}

/// Puts the gateway's name into the template.
fn client_id(template: &str, name: &str) -> Result<String, Problem> {
    let id = template.replace("{name}", name);
    let at = |text: String| Problem::at(["broker", "client_id"], text);
    if let Some(placeholder) = placeholder(&id) {
        return Err(at(format!("`client_id` in [broker] has the unknown placeholder {{{placeholder}}}"))
            .hint("known placeholders: {name}, the gateway's name"));
    }
    if id.is_empty() || id.contains(char::is_control) {
        return Err(at(format!("{id:?} cannot be an MQTT client id")).hint("example: client_id = \"mqttsn-{name}\""));
    }
    Ok(id)
}

/// Leaves `{client_id}` for the broker connections to fill in.
fn devices(raw: &RawBroker, name: &str) -> Result<Devices, Problem> {
    let template = |key: &'static str, template: &str| {
        let text = template.replace("{name}", name);
        match placeholder(&text.replace(CLIENT_ID, "")) {
            None => Ok(text),
            Some(placeholder) => {
                let problem = format!("`{key}` in [broker] has the unknown placeholder {{{placeholder}}}");
                Err(Problem::at(["broker", key], problem)
                    .hint("known placeholders: {client_id}, the device's client id, and {name}, the gateway's name"))
            }
        }
    };
    let client_id = template("device_client_id", &raw.device_client_id)?;
    if !client_id.contains(CLIENT_ID) {
        let problem = "`device_client_id` in [broker] needs {client_id}: devices with one id throw each other out";
        return Err(Problem::at(["broker", "device_client_id"], problem)
            .hint("example: device_client_id = \"{name}-{client_id}\""));
    }
    let username = raw.device_username.as_deref().map(|text| template("device_username", text)).transpose()?;
    Ok(Devices { client_id, username })
}

/// Returns the first placeholder that a template still has.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('{')?;
    rest.split('}').next()
}

fn password(password: Option<SecretString>, file: Option<&str>) -> Result<Option<SecretString>, Problem> {
    match (password, file) {
        (Some(_), Some(_)) => {
            Err(Problem::at(["broker", "password_file"], "[broker] has both `password` and `password_file`")
                .hint("keep one of them"))
        }
        (password, None) => Ok(password),
        (None, Some(file)) => password_from(file).map(Some),
    }
}

fn password_from(file: &str) -> Result<SecretString, Problem> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Problem::at(["broker", "password_file"], format!("the password cannot be read from {file:?}: {error}"))
            .hint("a relative path counts from the directory in which the gateway is started")
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

/// MQTT counts the keep-alive in whole seconds of 16 bits.
fn broker_keep_alive(keep_alive: Duration) -> Result<Duration, Problem> {
    if (1..=65_535).contains(&keep_alive.as_secs()) && keep_alive.subsec_nanos() == 0 {
        return Ok(keep_alive);
    }
    Err(Problem::at(["broker", "keep_alive"], "`keep_alive` in [broker] must be whole seconds from 1s to 65535s")
        .hint("example: keep_alive = \"30s\""))
}

/// A longer pause would be felt by devices that wait for an answer.
const LONGEST_GATHER: Duration = Duration::from_millis(100);

fn gather(raw: &RawTimers) -> Result<Duration, Problem> {
    let gather = raw.gather.0;
    if gather <= LONGEST_GATHER {
        return Ok(gather);
    }
    Err(Problem::at(["timers", "gather"], "`gather` in [timers] must be from 0s to 100ms")
        .hint("gather = \"0s\" handles each message at once"))
}

fn timers(raw: &RawTimers) -> Result<Timers, Problem> {
    let at = |key: &str, text: String| Problem::at(["timers", key], text);
    for (key, span) in [
        ("t_retry", raw.t_retry),
        ("t_wait", raw.t_wait),
        ("session_expiry", raw.session_expiry),
        ("broker_wait", raw.broker_wait),
    ] {
        if span.0.is_zero() {
            return Err(at(key, format!("`{key}` in [timers] must be longer than 0s")));
        }
    }
    if !(1.0..=100.0).contains(&raw.keep_alive_tolerance) {
        return Err(at("keep_alive_tolerance", "`keep_alive_tolerance` in [timers] must be from 1.0 to 100.0".into())
            .hint("1.5 gives a client one and a half of its keep-alive periods"));
    }
    if raw.idle_limit.0.is_some_and(|limit| limit.is_zero()) {
        return Err(at("idle_limit", "`idle_limit` in [timers] must be longer than 0s".into())
            .hint("idle_limit = \"never\" switches it off"));
    }
    Ok(Timers {
        t_retry: raw.t_retry.0,
        n_retry: raw.n_retry,
        t_wait: raw.t_wait.0,
        keep_alive_tolerance: raw.keep_alive_tolerance,
        idle_limit: raw.idle_limit.0,
        session_expiry: raw.session_expiry.0,
        broker_wait: raw.broker_wait.0,
        link_wait: raw.link_wait.0,
    })
}

fn log(raw: RawLog) -> Result<Log, Problem> {
    parse_filter(&raw.level).map_err(|error| {
        Problem::at(["log", "level"], format!("`level` in [log] is no level and no filter: {error}"))
            .hint("example of a filter: level = \"info,mqttsn_gateway::links=debug\"")
    })?;
    let format = match raw.format.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => return Err(one_of(["log", "format"], other, &["text", "json"])),
    };
    Ok(Log { level: raw.level, format })
}

pub(super) fn one_of(path: [&str; 2], found: &str, known: &[&str]) -> Problem {
    let [section, key] = path;
    let meant = meant(found, known);
    Problem::at(path, format!("`{key}` in [{section}] cannot be {found:?}{meant}; use {}", or(known)))
}

pub(super) fn meant(found: &str, known: &[&str]) -> String {
    mistakes::nearest(found, known.iter().copied())
        .map(|known| format!(" (did you mean {known:?}?)"))
        .unwrap_or_default()
}

pub(super) fn or(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}
