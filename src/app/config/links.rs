//! The links that the configuration asks for: UDP listeners and serial ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::check::{meant, or};
use super::problem::Problem;
use super::raw::{RawSerial, RawUdp, SpanOrNever};
use super::{Serial, Udp, multicast};
use crate::core::LinkSettings;
use crate::links::serial::{
    CharacterFormat, ControlLine, FlowControl, Inventory, PortName, PortNameError, UnknownName,
};
use crate::links::{SerialSettings, UdpSettings};
use crate::wire::framing::{FrameSize, Framing};

/// The largest frame that MQTT-SN's length field can name (MQTT-SN 1.2 §5.2.1).
const LARGEST_FRAME: usize = 65_535;
/// A CONNACK and most answers fit into eight octets; a REGISTER needs a few more for the name.
const SMALLEST_FRAME: usize = 16;

pub(super) fn listeners(raw: Vec<RawUdp>) -> Result<Vec<Udp>, Problem> {
    let mut listeners = Vec::<Udp>::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let listener = listener(index, raw)?;
        let address = listener.settings.listen;
        let mut others = listeners.iter().map(|other| other.settings.listen);
        if let Some(other) = others.find(|other| overlap(*other, address)) {
            let text = format!("two UDP listeners want {address}; the other one listens on {other}");
            return Err(Problem::in_entry("udp", index, "listen", text)
                .hint("keep one of them; [::] takes IPv4 and IPv6 on all interfaces"));
        }
        multicast::check_apart(index, &listeners, &listener)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(index: usize, raw: RawUdp) -> Result<Udp, Problem> {
    let listen = listen_address(&raw.listen).ok_or_else(|| {
        Problem::in_entry("udp", index, "listen", format!("{:?} is not an address to listen on", raw.listen))
            .hint("write an IP address of this machine and a port: 0.0.0.0:1883, 192.168.1.10:1883, [::]:1883")
    })?;
    let max_frame = frame_size("udp", index, raw.max_frame)?;
    let advertise = advertise_period("udp", index, raw.advertise)?;
    if advertise.is_some() && raw.multicast.is_empty() {
        return Err(Problem::in_entry("udp", index, "advertise", "`advertise` in [[udp]] needs `multicast` beside it")
            .hint("example: multicast = [\"225.1.1.1:1883\"]"));
    }
    let batch = batch_size(index, raw.batch)?;
    let multicast = multicast::check(index, listen, raw.multicast, raw.multicast_interfaces, raw.multicast_ttl)?;
    let RawUdp { receive_buffer, send_buffer, .. } = raw;
    Ok(Udp {
        settings: UdpSettings { listen, receive_buffer, send_buffer, batch, multicast },
        link: LinkSettings { max_frame, qos_minus_one: raw.qos_minus_one, advertise },
    })
}

fn batch_size(index: usize, datagrams: usize) -> Result<usize, Problem> {
    /// Linux takes no more at once.
    const LARGEST: usize = 1024;
    if (1..=LARGEST).contains(&datagrams) {
        return Ok(datagrams);
    }
    let text = format!("`batch` in [[udp]] must be from 1 to {LARGEST} datagrams");
    Err(Problem::in_entry("udp", index, "batch", text))
}

/// ADVERTISE carries the time to the next one as whole seconds of 16 bits (MQTT-SN 1.2 §5.4.1).
fn advertise_period(section: &str, index: usize, period: SpanOrNever) -> Result<Option<Duration>, Problem> {
    let Some(period) = period.0 else { return Ok(None) };
    if (1..=65_535).contains(&period.as_secs()) && period.subsec_nanos() == 0 {
        return Ok(Some(period));
    }
    let text = format!("`advertise` in [[{section}]] must be whole seconds from 1s to 65535s, or \"never\"");
    Err(Problem::in_entry(section, index, "advertise", text).hint("example: advertise = \"15m\""))
}

/// Reads an address to listen on: an IP address or `localhost`, and a port.
pub(super) fn listen_address(text: &str) -> Option<SocketAddr> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    local.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).or_else(|| text.parse().ok())
}

/// Returns whether one address takes datagrams away from the other. `[::]` is dual stack.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
}

pub(super) fn ports(raw: Vec<RawSerial>, inventory: &Inventory) -> Result<Vec<Serial>, Problem> {
    let mut ports = Vec::<Serial>::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let serial = port(index, raw, inventory)?;
        if ports.iter().any(|other| other.settings.port == serial.settings.port) {
            let text = format!("two [[serial]] sections want {:?}", serial.settings.port.to_string());
            return Err(
                Problem::in_entry("serial", index, "port", text).hint("one port is one section; keep one of them")
            );
        }
        ports.push(serial);
    }
    Ok(ports)
}

fn port(index: usize, raw: RawSerial, inventory: &Inventory) -> Result<Serial, Problem> {
    let RawSerial {
        port,
        baud,
        framing,
        format,
        flow_control,
        dtr,
        rts,
        max_frame,
        gap,
        receive_gap,
        settle,
        reopen_after,
        reopen_at_most,
        send_queue,
        qos_minus_one,
        advertise,
    } = raw;
    let name = port_named(index, &port)?;
    // The rate of a line behind a serial server is the server's business.
    let has_rate = !matches!(name, PortName::Tcp { .. });
    let assumed = [("baud", baud.is_none() && has_rate), ("framing", framing.is_none())];
    let default = SerialSettings::of(name);
    let framing = framing.map_or(Ok(default.framing), |name| framing_named(index, &name))?;
    let settings = SerialSettings {
        baud: baud.map_or(default.baud, Into::into),
        framing,
        format: format.map_or(Ok(default.format), |name| format_named(index, &name))?,
        flow_control: flow_control.map_or(Ok(default.flow_control), |name| flow_control_named(index, &name))?,
        dtr: control_line(dtr),
        rts: control_line(rts),
        max_frame: serial_frame_size(index, framing, max_frame)?,
        gap: gap.map_or(default.gap, |gap| gap.0),
        receive_gap: receive_gap.map(|gap| gap.0),
        settle: settle.map_or(default.settle, |settle| settle.0),
        reopen_after: reopen_after.map_or(default.reopen_after, |wait| wait.0),
        reopen_at_most: reopen_at_most.map_or(default.reopen_at_most, |wait| wait.0),
        send_queue: send_queue_size(index, send_queue.unwrap_or(default.send_queue))?,
        inventory: inventory.clone(),
        ..default
    };
    reopen_delays(index, &settings)?;
    let link = LinkSettings {
        max_frame: settings.max_frame,
        qos_minus_one: qos_minus_one.unwrap_or_else(|| LinkSettings::default().qos_minus_one),
        advertise: advertise.map_or(Ok(None), |period| advertise_period("serial", index, period))?,
    };
    let assumed = assumed.into_iter().filter(|(_, is_assumed)| *is_assumed).map(|(key, _)| key).collect();
    Ok(Serial { settings, link, assumed })
}

fn port_named(index: usize, name: &str) -> Result<PortName, Problem> {
    let problem = |text: String, hint: &str| Problem::in_entry("serial", index, "port", text).hint(hint);
    name.parse().map_err(|error| match error {
        PortNameError::Empty => problem("`port` in [[serial]] is empty".into(), "example: port = \"/dev/ttyUSB0\""),
        PortNameError::Usb(_) => problem(
            format!("`port` in [[serial]]: {name:?} names no USB adapter"),
            "write usb:VENDOR:PRODUCT or usb:VENDOR:PRODUCT:SERIAL, as `mqttsn-gateway ports` shows them; \
             example: port = \"usb:10c4:ea60:0001\"",
        ),
        PortNameError::Network(_) => problem(
            format!("`port` in [[serial]]: {name:?} names no serial server"),
            "of network ports only tcp://HOST:PORT is known; example: port = \"tcp://192.168.1.20:4000\"",
        ),
    })
}

fn format_named(index: usize, name: &str) -> Result<CharacterFormat, Problem> {
    name.parse().map_err(|UnknownName(_)| {
        let known = CharacterFormat::ALL.map(CharacterFormat::name).join(", ");
        let text = format!("`format` in [[serial]] cannot be {name:?}; it is one of {known}");
        Problem::in_entry("serial", index, "format", text)
            .hint("MQTT-SN needs 8 data bits; nearly all devices have 8N1")
    })
}

fn flow_control_named(index: usize, name: &str) -> Result<FlowControl, Problem> {
    name.parse().map_err(|UnknownName(_)| {
        let known = FlowControl::ALL.map(FlowControl::name);
        let text =
            format!("`flow_control` in [[serial]] cannot be {name:?}{}; use {}", meant(name, &known), or(&known));
        Problem::in_entry("serial", index, "flow_control", text)
            .hint("XON and XOFF are of no use here: frames contain the octets that they are made of")
    })
}

fn control_line(asserted: Option<bool>) -> ControlLine {
    match asserted {
        Some(false) => ControlLine::Released,
        Some(true) | None => ControlLine::Asserted,
    }
}

fn send_queue_size(index: usize, octets: usize) -> Result<usize, Problem> {
    /// Hours of what a serial line can carry.
    const LARGEST: usize = 64 << 20;
    if (1..=LARGEST).contains(&octets) {
        return Ok(octets);
    }
    let text = format!("`send_queue` in [[serial]] must be from 1 to {LARGEST} octets");
    Err(Problem::in_entry("serial", index, "send_queue", text))
}

/// Without a pause an absent port would be tried without end.
fn reopen_delays(index: usize, settings: &SerialSettings) -> Result<(), Problem> {
    const SHORTEST: Duration = Duration::from_millis(10);
    for (key, delay) in [("reopen_after", settings.reopen_after), ("reopen_at_most", settings.reopen_at_most)] {
        if delay < SHORTEST {
            let text = format!("`{key}` in [[serial]] must be at least 10ms");
            return Err(Problem::in_entry("serial", index, key, text));
        }
    }
    Ok(())
}

fn framing_named(index: usize, name: &str) -> Result<Framing, Problem> {
    let at = |text: String| Problem::in_entry("serial", index, "framing", text);
    let known = Framing::ALL.map(Framing::name);
    name.parse().map_err(|_| {
        at(format!("`framing` in [[serial]] cannot be {name:?}{}; use {}", meant(name, &known), or(&known)))
    })
}

fn serial_frame_size(index: usize, framing: Framing, octets: Option<usize>) -> Result<usize, Problem> {
    let FrameSize { default, longest } = framing.frame_size();
    let octets = frame_size("serial", index, octets.unwrap_or(default))?;
    if octets > longest {
        let text =
            format!("`max_frame` in [[serial]] must be at most {longest} octets with framing {:?}", framing.name());
        return Err(Problem::in_entry("serial", index, "max_frame", text).hint("its dongles break at longer frames"));
    }
    Ok(octets)
}

fn frame_size(section: &str, index: usize, octets: usize) -> Result<usize, Problem> {
    if (SMALLEST_FRAME..=LARGEST_FRAME).contains(&octets) {
        return Ok(octets);
    }
    let text = format!("`max_frame` in [[{section}]] must be from {SMALLEST_FRAME} to {LARGEST_FRAME} octets");
    Err(Problem::in_entry(section, index, "max_frame", text))
}
