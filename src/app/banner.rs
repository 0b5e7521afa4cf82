//! What is said at the start: what listens where, which broker, what was assumed, and what to try next.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use super::config::{Config, Devices, Mode, Serial};
use super::udp_buffers;
use crate::broker::{BrokerSettings, Scheme};
use crate::core::{LinkId, PrefixTemplate, QueuePolicy, QueueRule};
use crate::links::{Links, Multicast, SerialSettings};

/// A topic for the examples.
const TOPIC: &str = "iot/home1/livingroom/temperature";

/// Says what has been started.
pub(super) fn show(config: &Config, links: &Links) {
    info!("mqttsn-gateway {}: gateway {}", env!("CARGO_PKG_VERSION"), gateway_in_words(config));
    info!("configuration: {}", source_in_words(config));
    for (link, _) in config.links() {
        match links.local_addr(link) {
            Some(_) => info!("listening on {}", links.describe(link)),
            None => info!("opening {}", links.describe(link)),
        }
        if let Some(buffers) = links.udp_buffers(link) {
            udp_buffers::short(&links.describe(link), buffers).for_each(|words| info!("{words}"));
        }
    }
    let multicast = config.udp.iter().filter_map(|udp| multicast_in_words(&udp.settings.multicast));
    multicast.for_each(|words| info!("{words}"));
    for (link, period) in config.core_settings().links.iter().filter_map(|(id, link)| Some((*id, link.advertise?))) {
        info!("{}: {}", links.describe(link), advertise_in_words(period));
        if let Some(doubt) = advertise_doubt(period) {
            warn!("{doubt}");
        }
    }
    for serial in &config.serial {
        if let Some(assumption) = assumption_in_words(serial) {
            warn!("{assumption}");
        }
    }
    if let Some(address) = config.embedded_broker {
        info!("embedded MQTT broker listening on {address}; for trying out: it keeps nothing and refuses nobody");
    }
    info!("connecting to the broker at {}", broker_in_words(&config.broker));
    if let Some(words) = devices_in_words(config) {
        info!("{words}");
    }
    let udp = (0..).map(LinkId).map_while(|link| links.local_addr(link)).next();
    next_steps(config, udp, &program()).iter().for_each(|step| info!("{step}"));
}

/// What to do if there is no broker.
pub(super) fn broker_remedy(config: &Config) -> Option<&'static str> {
    match config.embedded_broker {
        Some(_) => None,
        None if cfg!(feature = "embedded-broker") => Some(
            "the gateway keeps trying; name another broker with --broker mqtt://HOST:PORT, \
             or start the gateway with --embedded-broker to have a small one inside",
        ),
        None => Some("the gateway keeps trying; name another broker with --broker mqtt://HOST:PORT"),
    }
}

/// Name, id and mode.
pub(super) fn gateway_in_words(config: &Config) -> String {
    let mode = match config.mode {
        Mode::Aggregating => "all devices share one connection to the broker",
        Mode::Transparent => "each device has a connection of its own to the broker",
    };
    format!("{:?} with id {}; {mode}", config.name, config.gw_id)
}

/// Where the configuration comes from.
pub(super) fn source_in_words(config: &Config) -> String {
    match &config.file {
        Some(file) => file.display().to_string(),
        None => "defaults (there is no gateway.toml here)".into(),
    }
}

/// The broker and as whom the gateway comes to it.
pub(super) fn broker_in_words(broker: &BrokerSettings) -> String {
    let user = broker.username.as_ref().or(broker.url.username.as_ref());
    let user = user.map(|user| format!(", user {user:?}")).unwrap_or_default();
    format!("{} as client {:?}{user}", broker.url, broker.client_id)
}

/// As whom devices come to the broker, if not as the gateway.
pub(super) fn devices_in_words(config: &Config) -> Option<String> {
    let example = |template: &str| template.replace("{client_id}", "sensor-1");
    let Devices { client_id, username } = &config.devices;
    let user = username.as_deref().map(|user| format!(", user {:?}", example(user))).unwrap_or_default();
    match config.mode {
        Mode::Aggregating => None,
        Mode::Transparent => {
            Some(format!("for example, device \"sensor-1\" comes to it as client {:?}{user}", example(client_id)))
        }
    }
}

/// What was assumed about a serial port because nobody said it.
pub(super) fn assumption_in_words(serial: &Serial) -> Option<String> {
    if serial.assumed.is_empty() {
        return None;
    }
    let SerialSettings { port, baud, framing, .. } = &serial.settings;
    let values = serial.assumed.iter().map(|key| match *key {
        "baud" => format!("{baud} baud"),
        _ => format!("framing {framing}"),
    });
    Some(format!(
        "serial {port}: {} not given, so {} it is; `mqttsn-gateway probe {port}` finds out what the device speaks",
        serial.assumed.join(" and "),
        values.collect::<Vec<_>>().join(" and "),
    ))
}

/// The groups over which devices find the gateway, if there are any.
pub(super) fn multicast_in_words(Multicast { groups, interfaces, ttl }: &Multicast) -> Option<String> {
    if groups.is_empty() {
        return None;
    }
    let groups = groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let on = if interfaces.is_empty() { "the interface the system chooses".into() } else { interfaces.join(", ") };
    let reach = match ttl {
        1 => "the local network".into(),
        ttl => format!("up to {ttl} networks"),
    };
    Some(format!("devices find the gateway over {groups} on {on}; answers there reach {reach}"))
}

/// How often a link tells devices of the gateway.
pub(super) fn advertise_in_words(period: Duration) -> String {
    format!("tells devices every {} that it is there, while the broker is", humantime::format_duration(period))
}

/// What is to be said against it.
pub(super) fn advertise_doubt(period: Duration) -> Option<&'static str> {
    /// T_ADV is to be longer than this (MQTT-SN 1.2 §7.2).
    const SHORTEST: Duration = Duration::from_secs(15 * 60);
    (period < SHORTEST).then_some("MQTT-SN wants `advertise` to be 15m or more, so that radios and batteries last")
}

/// What stands before every topic, shown with an example.
pub(super) fn prefix_in_words(prefix: &PrefixTemplate) -> Option<String> {
    let example = prefix.as_str().replace("{client_id}", "sensor-1");
    let words = format!(
        "{:?}: for the broker the topic \"temperature\" of device \"sensor-1\" is \"{example}temperature\"",
        prefix.as_str()
    );
    (!example.is_empty()).then_some(words)
}

/// Which messages a rule is about, and how they wait.
pub(super) fn queue_rule_in_words(rule: &QueueRule) -> String {
    let policy = match rule.policy {
        QueuePolicy::DropOldest => "the oldest goes when a queue is full",
        QueuePolicy::DropNewest => "what comes to a full queue is dropped",
        QueuePolicy::LatestOnly => "only the newest of each topic waits",
    };
    let age = rule.max_age.map(|age| format!(", for {} at most", humantime::format_duration(age)));
    format!("{:?}: {policy}{}", rule.filter.as_str(), age.unwrap_or_default())
}

/// Two commands that show a message on its way, ready to be copied.
fn next_steps(config: &Config, udp: Option<SocketAddr>, program: &str) -> Vec<String> {
    let gateway = udp.map(gateway_flags);
    let subscribe = match (&gateway, config.embedded_broker) {
        // Who tries things out may have no MQTT client.
        (Some(gateway), Some(_)) => format!("{program} sub{gateway} -t 'iot/#' -v"),
        (None, _) | (_, None) => mosquitto_sub(config),
    };
    let publish = gateway.map(|gateway| format!("{program} pub{gateway} -t {TOPIC} -m 21.5 -q 1"));
    let publish = publish.map(|publish| format!("to publish as a device would: {publish}"));
    [format!("to see what devices publish:  {subscribe}")].into_iter().chain(publish).collect()
}

/// The flags by which `pub` and `sub` find the gateway at this address.
fn gateway_flags(address: SocketAddr) -> String {
    let host = match address.ip() {
        // The tools go to localhost unless told otherwise.
        ip if ip.is_unspecified() || ip.is_loopback() && ip.is_ipv4() => String::new(),
        ip => format!(" -h {ip}"),
    };
    format!("{host} -p {}", address.port())
}

fn mosquitto_sub(config: &Config) -> String {
    let url = &config.broker.url;
    let mut command = format!("mosquitto_sub -h {} -p {} -t 'iot/#' -v", url.host, url.port);
    if url.scheme == Scheme::Mqtts {
        match &config.broker.ca {
            Some(ca) => command.push_str(&format!(" --cafile '{}'", ca.display())),
            None => command.push_str(" --tls-use-os-certs"),
        }
    }
    if let Some(user) = config.broker.username.as_ref().or(url.username.as_ref()) {
        command.push_str(&format!(" -u '{user}' -P PASSWORD"));
    }
    command
}

/// How the user has started the program, so that it can be started again the same way.
fn program() -> String {
    let started_as = std::env::args_os().next().unwrap_or_else(|| "mqttsn-gateway".into());
    as_command(Path::new(&started_as))
}

/// Cargo starts what it has built by its path from the package, which need not be what the user typed.
fn as_command(started_as: &Path) -> String {
    if started_as.starts_with("target/release") {
        "cargo run --release --".into()
    } else if started_as.starts_with("target/debug") {
        "cargo run --".into()
    } else {
        started_as.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::Overrides;

    fn config(broker: &str) -> Config {
        let overrides =
            Overrides { broker: Some(broker.into()), serial: vec!["COM3".parse().unwrap()], ..Overrides::default() };
        let file = tempfile::NamedTempFile::new().unwrap();
        Config::load(Some(file.path()), &overrides).unwrap()
    }

    #[test]
    fn the_next_steps_can_be_copied() {
        let steps = next_steps(&config("mqtt://localhost:1884"), Some("[::]:1885".parse().unwrap()), "mqttsn-gateway");
        assert_eq!(
            steps,
            [
                "to see what devices publish:  mosquitto_sub -h localhost -p 1884 -t 'iot/#' -v",
                "to publish as a device would: mqttsn-gateway pub -p 1885 \
                 -t iot/home1/livingroom/temperature -m 21.5 -q 1",
            ]
        );
        let steps = next_steps(&config("mqtts://b.example"), Some("10.0.0.1:1".parse().unwrap()), "x");
        assert!(steps[0].contains("-p 8883") && steps[0].ends_with("--tls-use-os-certs"), "{steps:?}");
        assert!(steps[1].contains("x pub -h 10.0.0.1 -p 1 "), "{steps:?}");
        let mut embedded = config("mqtt://b");
        embedded.embedded_broker = Some("127.0.0.1:1883".parse().unwrap());
        let steps = next_steps(&embedded, Some("[::]:1883".parse().unwrap()), "x");
        assert_eq!(steps[0], "to see what devices publish:  x sub -p 1883 -t 'iot/#' -v");
    }

    #[test]
    fn a_program_started_by_cargo_is_started_by_cargo_again() {
        assert_eq!(as_command(Path::new("target/release/mqttsn-gateway")), "cargo run --release --");
        assert_eq!(as_command(Path::new("target/debug/mqttsn-gateway")), "cargo run --");
        assert_eq!(as_command(Path::new("/opt/target/debug/mqttsn-gateway")), "/opt/target/debug/mqttsn-gateway");
        assert_eq!(as_command(Path::new("./mqttsn-gateway")), "./mqttsn-gateway");
        assert_eq!(as_command(Path::new("mqttsn-gateway")), "mqttsn-gateway");
    }

    #[test]
    fn what_was_assumed_about_a_port_is_said() {
        let words = assumption_in_words(&config("mqtt://b").serial[0]).unwrap();
        assert!(
            words.starts_with("serial COM3: baud and framing not given, so 9600 baud and framing raw it is"),
            "{words}"
        );
    }
}
