//! From what stands in the file to what can be used, or to the reason why not.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::problem::Problem;
use super::raw::{RawBroker, RawConfig, RawGateway, RawLog, RawSerial, RawTimers, RawUdp};
use super::{Config, Log, Mode, Queues, Serial, Udp, mistakes};
use crate::broker::{BrokerSettings, BrokerUrl, Protocol, Scheme};
use crate::core::topics::{TopicError, TopicName};
use crate::core::{LinkSettings, Timers};
use crate::links::{SerialSettings, UdpSettings};
use crate::ops::logging::{LogFormat, parse_filter};
use crate::wire::framing::Framing;
use crate::wire::{GwId, TopicId};

/// The largest frame that MQTT-SN's length field can name (MQTT-SN 1.2 §5.2.1).
const LARGEST_FRAME: usize = 65_535;
/// A CONNACK and most answers fit into eight octets; a REGISTER needs a few more for the name.
const SMALLEST_FRAME: usize = 16;

pub(super) fn check(raw: RawConfig) -> Result<Config, Problem> {
    let RawGateway { id, name, mode, data_dir } = raw.gateway;
    let (limits, queues) = raw.limits.check()?;
    let name = gateway_name(name)?;
    no_data_dir(&data_dir)?;
    let embedded_broker = raw.broker.embedded.as_deref().map(embedded_address).transpose()?;
    let udp = listeners(raw.udp.unwrap_or_else(|| vec![RawUdp::default()]))?;
    let serial = ports(raw.serial)?;
    if udp.is_empty() && serial.is_empty() {
        return Err(Problem::at(["udp"], "the gateway has neither a UDP listener nor a serial port")
            .hint("leave `udp = []` out for a listener on [::]:1883, or add a [[serial]] section"));
    }
    Ok(Config {
        file: None,
        gw_id: gateway_id(id)?,
        mode: mode_named(&mode)?,
        broker: broker(raw.broker, &name, queues)?,
        embedded_broker,
        name,
        udp,
        serial,
        predefined: predefined(raw.predefined)?,
        timers: timers(&raw.timers)?,
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
        "transparent" => Err(Problem::at(
            ["gateway", "mode"],
            "`mode = \"transparent\"` is not in this version yet; use \"aggregating\"",
        )),
        other => Err(one_of(["gateway", "mode"], other, &["aggregating"])),
    }
}

fn no_data_dir(data_dir: &str) -> Result<(), Problem> {
    if data_dir.is_empty() {
        return Ok(());
    }
    Err(Problem::at(["gateway", "data_dir"], "`data_dir` is not in this version yet; use \"\"")
        .hint("sessions and queues are kept in memory and end with the gateway"))
}

fn broker(raw: RawBroker, name: &str, queues: Queues) -> Result<BrokerSettings, Problem> {
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
    })
}

fn embedded_address(text: &str) -> Result<SocketAddr, Problem> {
    listen_address(text).ok_or_else(|| {
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
    if let Some((_, rest)) = id.split_once('{') {
        let placeholder = rest.split('}').next().unwrap_or(rest);
        return Err(at(format!("`client_id` in [broker] has the unknown placeholder {{{placeholder}}}"))
            .hint("known placeholders: {name}, the gateway's name"));
    }
    if id.is_empty() || id.contains(char::is_control) {
        return Err(at(format!("{id:?} cannot be an MQTT client id")).hint("example: client_id = \"mqttsn-{name}\""));
    }
    Ok(id)
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

fn listeners(raw: Vec<RawUdp>) -> Result<Vec<Udp>, Problem> {
    let mut listeners = Vec::<Udp>::new();
    for (index, RawUdp { listen, max_frame, receive_buffer, qos_minus_one }) in raw.into_iter().enumerate() {
        let at = |text: String| Problem::in_entry("udp", index, "listen", text);
        let address = listen_address(&listen).ok_or_else(|| {
            at(format!("{listen:?} is not an address to listen on"))
                .hint("write an IP address of this machine and a port: 0.0.0.0:1883, 192.168.1.10:1883, [::]:1883")
        })?;
        let mut others = listeners.iter().map(|other| other.settings.listen);
        if let Some(other) = others.find(|other| overlap(*other, address)) {
            return Err(at(format!("two UDP listeners want {address}; the other one listens on {other}"))
                .hint("keep one of them; [::] takes IPv4 and IPv6 on all interfaces"));
        }
        let max_frame = frame_size("udp", index, max_frame)?;
        listeners.push(Udp {
            settings: UdpSettings { listen: address, receive_buffer },
            link: LinkSettings { max_frame, qos_minus_one },
        });
    }
    Ok(listeners)
}

/// Reads an address to listen on: an IP address or `localhost`, and a port.
fn listen_address(text: &str) -> Option<SocketAddr> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    local.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).or_else(|| text.parse().ok())
}

/// Returns whether one address takes datagrams away from the other. `[::]` is dual stack.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
}

fn ports(raw: Vec<RawSerial>) -> Result<Vec<Serial>, Problem> {
    let mut ports = Vec::<Serial>::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let serial = port(index, raw)?;
        if ports.iter().any(|other| other.settings.port == serial.settings.port) {
            let text = format!("two [[serial]] sections want {:?}", serial.settings.port);
            return Err(
                Problem::in_entry("serial", index, "port", text).hint("one port is one section; keep one of them")
            );
        }
        ports.push(serial);
    }
    Ok(ports)
}

fn port(index: usize, raw: RawSerial) -> Result<Serial, Problem> {
    let RawSerial { port, baud, framing, max_frame, gap, receive_gap, qos_minus_one } = raw;
    let at = |text: String| Problem::in_entry("serial", index, "port", text);
    if port.is_empty() {
        return Err(at("`port` in [[serial]] is empty".into()).hint("example: port = \"/dev/ttyUSB0\""));
    }
    if port.contains("://") {
        return Err(at(format!("{port:?}: serial ports over the network are not in this version yet"))
            .hint("name a port of this machine, such as /dev/ttyUSB0 or COM3"));
    }
    let assumed = [("baud", baud.is_none()), ("framing", framing.is_none())];
    let default = SerialSettings::new(port);
    let settings = SerialSettings {
        baud: baud.map_or(default.baud, Into::into),
        framing: framing.map_or(Ok(default.framing), |name| framing_named(index, &name))?,
        max_frame: frame_size("serial", index, max_frame.unwrap_or(default.max_frame))?,
        gap: gap.map_or(default.gap, |gap| gap.0),
        receive_gap: receive_gap.map(|gap| gap.0),
        ..default
    };
    let link = LinkSettings {
        max_frame: settings.max_frame,
        qos_minus_one: qos_minus_one.unwrap_or_else(|| LinkSettings::default().qos_minus_one),
    };
    let assumed = assumed.into_iter().filter(|(_, is_assumed)| *is_assumed).map(|(key, _)| key).collect();
    Ok(Serial { settings, link, assumed })
}

/// Framings that are agreed but not served yet.
const LATER_FRAMINGS: [&str; 4] = ["cobs-crc", "xbee", "xbee-escaped", "aquila"];

fn framing_named(index: usize, name: &str) -> Result<Framing, Problem> {
    let at = |text: String| Problem::in_entry("serial", index, "framing", text);
    let known = Framing::ALL.map(Framing::name);
    if LATER_FRAMINGS.contains(&name) {
        return Err(at(format!("`framing = {name:?}` is not in this version yet; use {}", or(&known))));
    }
    name.parse().map_err(|_| {
        at(format!("`framing` in [[serial]] cannot be {name:?}{}; use {}", meant(name, &known), or(&known)))
    })
}

fn frame_size(section: &str, index: usize, octets: usize) -> Result<usize, Problem> {
    if (SMALLEST_FRAME..=LARGEST_FRAME).contains(&octets) {
        return Ok(octets);
    }
    let text = format!("`max_frame` in [[{section}]] must be from {SMALLEST_FRAME} to {LARGEST_FRAME} octets");
    Err(Problem::in_entry(section, index, "max_frame", text))
}

fn predefined(raw: BTreeMap<String, String>) -> Result<BTreeMap<TopicId, TopicName>, Problem> {
    let mut topics = BTreeMap::new();
    for (key, name) in raw {
        let at = |text: String| Problem::at(["predefined", key.as_str()], text);
        let id = key.parse().map(TopicId).ok().filter(|id| id.is_assignable()).ok_or_else(|| {
            at(format!("{key:?} in [predefined] is not a topic id")).hint(
                "an id is a number from 1 to 65534 (0 and 65535 are reserved): 1 = \"iot/home1/livingroom/temperature\"",
            )
        })?;
        let topic = TopicName::parse(name.as_bytes()).map_err(|error| {
            at(format!("predefined topic {id} cannot be {name:?}: {error}")).hint(topic_remedy(error))
        })?;
        if topics.insert(id, topic).is_some() {
            return Err(at(format!("predefined topic {id} is defined twice")).hint("keep one of the two lines"));
        }
    }
    Ok(topics)
}

fn topic_remedy(error: TopicError) -> &'static str {
    match error {
        TopicError::Wildcard => "write one full topic name; a device subscribes to wildcards by name, not by id",
        TopicError::Empty => "write the topic's name, or remove the line",
        TopicError::TooLong | TopicError::TooDeep => "use a shorter name with fewer levels",
        TopicError::Nul
        | TopicError::NotUtf8
        | TopicError::PlusInLevel
        | TopicError::HashNotLast
        | TopicError::SharedSyntax => "use a plain topic name such as iot/home1/livingroom/temperature",
    }
}

fn timers(raw: &RawTimers) -> Result<Timers, Problem> {
    let at = |key: &str, text: String| Problem::at(["timers", key], text);
    for (key, span) in [("t_retry", raw.t_retry), ("t_wait", raw.t_wait), ("session_expiry", raw.session_expiry)] {
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

fn one_of(path: [&str; 2], found: &str, known: &[&str]) -> Problem {
    let [section, key] = path;
    let meant = meant(found, known);
    Problem::at(path, format!("`{key}` in [{section}] cannot be {found:?}{meant}; use {}", or(known)))
}

fn meant(found: &str, known: &[&str]) -> String {
    mistakes::nearest(found, known.iter().copied())
        .map(|known| format!(" (did you mean {known:?}?)"))
        .unwrap_or_default()
}

fn or(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
}
