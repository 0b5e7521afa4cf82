//! The result of a run, as a table for people and as JSON for programs.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::outcome::Outcome;
use super::tally::{Flow, Latencies};

/// A result as JSON. What is not known is left out; times are in microseconds, memory is in octets.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    name: String,
    clients: u32,
    qos: u8,
    size: usize,
    joining_seconds: f64,
    measured_seconds: f64,
    flows: Vec<FlowReport>,
    sessions_lost: u64,
    unsent_frames: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<GatewayReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generator_cpu_share: Option<f64>,
    generator_limited: bool,
}

#[derive(Debug, Serialize)]
struct FlowReport {
    flow: &'static str,
    sent: u64,
    #[serde(skip_serializing_if = "is_zero")]
    withheld: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    duplicated: u64,
    retransmitted: u64,
    refused: u64,
    abandoned: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledgement_us: Option<LatencyReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_to_end_us: Option<LatencyReport>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct LatencyReport {
    p50: u128,
    p99: u128,
    #[serde(rename = "p99.9")]
    p999: u128,
    max: u128,
}

#[derive(Debug, Serialize)]
struct GatewayReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_each: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    each: Option<&'static str>,
    cpu_share: Option<f64>,
    memory_before: Option<u64>,
    memory_connected: Option<u64>,
    memory_after: Option<u64>,
    memory_peak: Option<u64>,
    memory_each_client: Option<u64>,
    dropped_datagrams: Option<u64>,
}

impl Report {
    pub(super) fn new(outcome: &Outcome) -> Self {
        let plan = &outcome.plan;
        Self {
            name: plan.name.clone(),
            clients: plan.clients,
            qos: plan.qos as u8,
            size: plan.size,
            joining_seconds: outcome.joining.as_secs_f64(),
            measured_seconds: outcome.measured.as_secs_f64(),
            flows: outcome.flows().map(|(name, flow)| FlowReport::new(name, flow, outcome.rate(flow))).collect(),
            sessions_lost: outcome.tally.sessions_lost,
            unsent_frames: outcome.tally.unsent_frames,
            gateway: outcome.gateway_cpu.map(|_| GatewayReport {
                cpu_us_each: outcome.cpu_each(),
                each: outcome.work().map(|(_, each)| each),
                cpu_share: outcome.cpu_share(),
                memory_before: outcome.memory.before,
                memory_connected: outcome.memory.connected,
                memory_after: outcome.memory.after,
                memory_peak: outcome.memory.peak,
                memory_each_client: outcome.memory_each(),
                dropped_datagrams: outcome.dropped,
            }),
            generator_cpu_share: outcome.own_share,
            generator_limited: outcome.is_generator_limited(),
        }
    }
}

impl FlowReport {
    fn new(name: &'static str, flow: &Flow, per_second: Option<f64>) -> Self {
        Self {
            flow: name,
            sent: flow.sent,
            withheld: flow.withheld,
            acknowledged: flow.answered.then_some(flow.acknowledged),
            arrived: flow.watched.then_some(flow.arrived),
            lost: flow.lost(),
            duplicated: flow.duplicated,
            retransmitted: flow.retransmitted,
            refused: flow.refused,
            abandoned: flow.abandoned,
            per_second,
            acknowledgement_us: LatencyReport::new(&flow.until_acknowledged),
            end_to_end_us: LatencyReport::new(&flow.until_arrived),
        }
    }
}

impl LatencyReport {
    fn new(latencies: &Latencies) -> Option<Self> {
        let micros = |share| latencies.quantile(share).map(|latency: Duration| latency.as_micros());
        Some(Self { p50: micros(0.5)?, p99: micros(0.99)?, p999: micros(0.999)?, max: latencies.max()?.as_micros() })
    }
}

/// One column for each flow, and below it what the gateway and the generator cost.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, clients, joining_seconds, measured_seconds, .. } = self;
        writeln!(
            f,
            "{name}: {clients} clients, joined in {joining_seconds:.2} s, measured for {measured_seconds:.2} s\n"
        )?;
        self.counts(f)?;
        for (heading, latency) in [
            ("acknowledged after", (|flow| flow.acknowledgement_us) as fn(&FlowReport) -> _),
            ("arrived after", |flow| flow.end_to_end_us),
        ] {
            self.latencies(f, heading, latency)?;
        }
        writeln!(f)?;
        self.costs(f)
    }
}

impl Report {
    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        type Count = fn(&FlowReport) -> Option<u64>;
        self.row(f, "", |flow| flow.flow.to_owned())?;
        let always: [(&str, Count); 7] = [
            ("sent", |flow| Some(flow.sent)),
            ("acknowledged", |flow| flow.acknowledged),
            ("arrived", |flow| flow.arrived),
            ("lost", |flow| flow.lost),
            ("duplicated", |flow| flow.arrived.map(|_| flow.duplicated)),
            ("retransmitted", |flow| Some(flow.retransmitted)),
            ("per second", |flow| flow.per_second.map(rounded)),
        ];
        let troubles: [(&str, Count); 3] = [
            ("withheld", |flow| Some(flow.withheld)),
            ("refused", |flow| Some(flow.refused)),
            ("abandoned", |flow| Some(flow.abandoned)),
        ];
        for (heading, count) in always {
            self.row(f, heading, |flow| count(flow).map_or_else(|| "-".to_owned(), |count| count.to_string()))?;
        }
        for (heading, count) in troubles {
            if self.flows.iter().any(|flow| count(flow) > Some(0)) {
                self.row(f, heading, |flow| count(flow).unwrap_or_default().to_string())?;
            }
        }
        Ok(())
    }

    fn latencies(
        &self,
        f: &mut fmt::Formatter<'_>,
        heading: &str,
        of: impl Fn(&FlowReport) -> Option<LatencyReport>,
    ) -> fmt::Result {
        if self.flows.iter().all(|flow| of(flow).is_none()) {
            return Ok(());
        }
        type Part = fn(LatencyReport) -> u128;
        let parts: [(&str, Part); 4] =
            [("p50", |l| l.p50), ("p99", |l| l.p99), ("p99.9", |l| l.p999), ("max", |l| l.max)];
        for (part, value) in parts {
            self.row(f, &format!("{heading} {part}"), |flow| {
                of(flow).map_or_else(|| "-".to_owned(), |all| in_words(value(all)))
            })?;
        }
        Ok(())
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, heading: &str, cell: impl Fn(&FlowReport) -> String) -> fmt::Result {
        let mut line = format!("{heading:26}");
        self.flows.iter().try_for_each(|flow| write!(line, "{:>12}", cell(flow)))?;
        writeln!(f, "{}", line.trim_end())
    }

    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = &self.gateway {
            write!(f, "gateway    ")?;
            if let (Some(each), Some(what)) = (gateway.cpu_us_each, gateway.each) {
                write!(f, "{each:.1} us of CPU a {what}, ")?;
            }
            if let Some(share) = gateway.cpu_share {
                write!(f, "{:.1} % of a core", share * 100.0)?;
            }
            if let (Some(after), Some(peak)) = (gateway.memory_after, gateway.memory_peak) {
                write!(f, "; {} of memory at the end, {} at most", in_mib(after), in_mib(peak))?;
            }
            if let Some(each) = gateway.memory_each_client {
                write!(f, ", {each} octets a client")?;
            }
            writeln!(f)?;
            if let Some(dropped @ 1..) = gateway.dropped_datagrams {
                writeln!(f, "           {dropped} datagrams lost in the queue of its socket")?;
            }
        }
        if let Some(share) = self.generator_cpu_share {
            writeln!(f, "generator  {:.1} % of a core", share * 100.0)?;
        }
        if self.sessions_lost > 0 {
            writeln!(
                f,
                "WARNING    {} sessions were ended by the gateway, or it did not answer them",
                self.sessions_lost
            )?;
        }
        if self.unsent_frames > 0 {
            writeln!(f, "WARNING    {} frames were not taken by the system", self.unsent_frames)?;
        }
        if self.generator_limited {
            writeln!(f, "WARNING    the load generator was busy all the time: the gateway may be faster than this")?;
        }
        Ok(())
    }
}

fn rounded(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive and far below 2^53"
    )]
    let rounded = number.round() as u64;
    rounded
}

/// Says how long something took, to three digits or so.
fn in_words(micros: u128) -> String {
    match micros {
        0..10_000 => format!("{micros} us"),
        10_000..10_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

fn in_mib(octets: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 octets")]
    let octets = octets as f64;
    format!("{:.1} MiB", octets / f64::from(1 << 20))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
