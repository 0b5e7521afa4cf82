//! What is measured for each row of the table of goals.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::programs::{GatewayProcess, Mosquitto, Programs};
use super::stored;
use super::verdict::{Figure, Reach, Row};
use crate::tools::bench::engine::Engine;
use crate::tools::bench::floor;
use crate::tools::bench::outcome::Outcome;
use crate::tools::bench::plan::{Downlink, Pace, Plan};
use crate::tools::bench::progress::Progress;
use crate::wire::Qos;

/// A row's name and how it is measured. It may give several lines.
type Measure = fn(&Bench) -> anyhow::Result<Vec<Row>>;

/// All rows, in their order.
pub(super) const ROWS: [(&str, Measure); 18] = [
    ("qos1", qos_1),
    ("transparent", transparent),
    ("qos0-20000", |bench| bench.qos_0(20_000.0)),
    ("qos0-50000", |bench| bench.qos_0(50_000.0)),
    ("qos2", qos_2),
    ("fanout-100", |bench| bench.fan_out(100)),
    ("fanout-1000", |bench| bench.fan_out(1_000)),
    ("latency", latency),
    ("connect-10000", connect),
    ("connect-100000", connect_many),
    ("idle", idle),
    ("size", size),
    ("store-up-1", |bench| stored::up(bench, Qos::AtLeastOnce)),
    ("store-up-2", |bench| stored::up(bench, Qos::ExactlyOnce)),
    ("store-away-100", |bench| stored::away(bench, 100)),
    ("store-away-1000", |bench| stored::away(bench, 1_000)),
    ("store-sleepers", stored::sleepers),
    ("store-idle", stored::idle),
];

const CLIENTS: u32 = 100;
const US: &str = "us";
const PER_SECOND: &str = "/s";
const MIB: &str = "MiB";
const PERCENT: &str = "% of a core";
/// The bare loop settles at once.
const FLOOR_TIME: Duration = Duration::from_secs(1);

/// The programs, and how long a row measures.
pub(super) struct Bench {
    pub(super) programs: Programs,
    duration: Duration,
}

impl Bench {
    pub(super) fn new(programs: Programs, duration: Duration) -> Self {
        Self { programs, duration }
    }

    pub(super) fn plan(&self, clients: u32) -> Plan {
        Plan { clients, ..Plan::local("goals", self.duration) }
    }

    pub(super) fn start(&self, flags: &[&str]) -> anyhow::Result<(Mosquitto, GatewayProcess)> {
        let broker = self.programs.mosquitto()?;
        let gateway = self.programs.gateway(&broker, flags)?;
        Ok((broker, gateway))
    }

    /// Runs a plan against a new gateway, and counts at the broker.
    pub(super) fn run(&self, plan: Plan, flags: &[&str]) -> anyhow::Result<Outcome> {
        let (broker, gateway) = self.start(flags)?;
        let plan = Plan { broker: Some(broker.address()), ..of(&gateway, plan) };
        Ok(Engine::set_up(plan, Progress::none())?.measure()?)
    }

    /// Publishes in lockstep with a hundred clients.
    pub(super) fn lockstep(&self, clients: u32, qos: Qos, flags: &[&str]) -> anyhow::Result<Outcome> {
        self.run(Plan { qos, up: Some(Pace::Lockstep), ..self.plan(clients) }, flags)
    }

    /// Returns the CPU time that the bare loop needs for one datagram, measured now.
    fn bare_loop(&self) -> anyhow::Result<Figure> {
        let plan = Plan { duration: FLOOR_TIME, ..self.plan(CLIENTS) };
        let each = floor::udp(&plan, Progress::none())?.cpu_us_each;
        Ok(us(each.context("CPU time is known on Linux only")?))
    }

    /// Measures plain MQTT into a new broker.
    fn plain_mqtt(&self, clients: u32, qos: Qos) -> anyhow::Result<floor::MqttFloor> {
        let broker = self.programs.mosquitto()?;
        Ok(floor::mqtt(&self.plan(clients), &broker.address(), qos)?)
    }

    fn qos_0(&self, rate: f64) -> anyhow::Result<Vec<Row>> {
        let floor = self.bare_loop()?;
        let up = Some(Pace::PerSecond(rate));
        let outcome = self.run(Plan { qos: Qos::AtMostOnce, up, ..self.plan(CLIENTS) }, &[])?;
        let what = |figure: &str| format!("QoS 0 up at {rate}/s: {figure}");
        let dropped = outcome.dropped.unwrap_or_default();
        let dropped = format!("{dropped} of them in the queue of the gateway's socket");
        Ok(vec![
            Row::plain(what("lost"), lost(&outcome), Reach::AtMost(0.0)).beside(dropped),
            Row::ratio(what("CPU"), cpu(&outcome)?, (floor, "bare UDP"), Reach::AtMost(0.7)),
        ])
    }

    fn fan_out(&self, clients: u32) -> anyhow::Result<Vec<Row>> {
        let floor = self.bare_loop()?;
        let down = Some(Downlink::ToAll(Pace::PerSecond(20_000.0 / f64::from(clients))));
        let outcome = self.run(Plan { qos: Qos::AtMostOnce, down, ..self.plan(clients) }, &[])?;
        let what = |figure: &str| format!("fan-out to {clients}, 20,000 deliveries/s: {figure}");
        Ok(vec![
            Row::plain(what("lost"), lost(&outcome), Reach::AtMost(0.0)),
            Row::ratio(what("CPU"), cpu(&outcome)?, (floor, "bare UDP"), Reach::AtMost(0.9)),
        ])
    }
}

fn qos_1(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let floor = bench.bare_loop()?;
    let plain = bench.plain_mqtt(CLIENTS, Qos::AtLeastOnce)?;
    let outcome = bench.lockstep(CLIENTS, Qos::AtLeastOnce, &[])?;
    let plain = (per_second(plain.per_second), "plain MQTT");
    Ok(vec![
        Row::ratio("QoS 1 up, 100 clients, aggregating: CPU", cpu(&outcome)?, (floor, "bare UDP"), Reach::AtMost(1.3)),
        Row::ratio("the same: throughput", rate(&outcome), plain, Reach::AtLeast(0.6)),
        Row::plain("the same: lost", lost(&outcome), Reach::AtMost(0.0)),
    ])
}

fn transparent(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let floor = bench.bare_loop()?;
    let outcome = bench.lockstep(CLIENTS, Qos::AtLeastOnce, &["--mode", "transparent"])?;
    let what = "QoS 1 up, 100 clients, transparent: CPU";
    Ok(vec![Row::ratio(what, cpu(&outcome)?, (floor, "bare UDP"), Reach::AtMost(2.5))])
}

fn qos_2(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let once = bench.lockstep(CLIENTS, Qos::AtLeastOnce, &[])?;
    let twice = bench.lockstep(CLIENTS, Qos::ExactlyOnce, &[])?;
    let what = "QoS 2 up, 100 clients: throughput";
    Ok(vec![
        Row::ratio(what, rate(&twice), (rate(&once), "QoS 1"), Reach::AtLeast(0.5)),
        Row::plain("the same: lost", lost(&twice), Reach::AtMost(0.0)),
    ])
}

fn latency(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let plain = bench.plain_mqtt(1, Qos::AtLeastOnce)?.acknowledged_after_us_p50.unwrap_or_default();
    let outcome = bench.lockstep(1, Qos::AtLeastOnce, &[])?;
    let through = outcome.tally.up.until_acknowledged.quantile(0.5).unwrap_or_default();
    let (plain, through) = (micros(plain), micros(through.as_micros()));
    let row = Row::plain("1 client, QoS 1: added latency, median", us(through - plain), Reach::AtMost(60.0));
    Ok(vec![row.beside(format!("{through:.0} us, plain MQTT {plain:.0} us"))])
}

fn connect(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let outcome = bench.run(Plan { duration: Duration::ZERO, ..bench.plan(10_000) }, &[])?;
    let seconds = Figure { value: outcome.joining.as_secs_f64(), unit: "s" };
    let each = octets(outcome.memory_each().context("memory is known on Linux only")?);
    Ok(vec![
        Row::plain("10,000 clients: connected within", seconds, Reach::AtMost(3.0)),
        Row::plain("the same: memory of each", Figure { value: each, unit: "octets" }, Reach::AtMost(2_048.0)),
    ])
}

/// All but a hundred of the clients that the gateway takes by default; the hundred show that it still serves.
fn connect_many(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (broker, gateway) = bench.start(&[])?;
    // More sockets than a process may have: behind forwarders.
    let crowd = Plan { forwarders: Some(10), keep_alive: 600, ..of(&gateway, bench.plan(100_000 - CLIENTS)) };
    let crowd = Engine::set_up(crowd, Progress::none())?;
    let plan = Plan { broker: Some(broker.address()), up: Some(Pace::Lockstep), ..bench.plan(CLIENTS) };
    let served = Engine::set_up(of(&gateway, plan), Progress::none())?.measure()?;
    let memory = gateway.subject().peak_memory().context("memory is known on Linux only")?;
    drop(crowd);
    Ok(vec![
        Row::plain("100,000 clients: memory of the gateway", mib(memory), Reach::AtMost(300.0)),
        Row::plain("the same: 100 of them at QoS 1, lost", lost(&served), Reach::AtMost(0.0)),
        Row::plain("the same: throughput", rate(&served), Reach::AtLeast(1.0)),
    ])
}

fn idle(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let share = |outcome: &Outcome| {
        let share = outcome.cpu_share().context("CPU time is known on Linux only")?;
        anyhow::Ok(Figure { value: share * 100.0, unit: PERCENT })
    };
    let (_broker, gateway) = bench.start(&[])?;
    let idle = Engine::set_up(of(&gateway, bench.plan(10_000)), Progress::none())?.measure()?;
    let (wake_every, down) = (Duration::from_secs(3_600), Some(Downlink::Queued(10)));
    let asleep = Plan { sleepers: 10_000, wake_every, down, ..bench.plan(10_000) };
    let asleep = bench.run(asleep, &[])?;
    Ok(vec![
        Row::plain("10,000 idle clients, pings every 60 s", share(&idle)?, Reach::AtMost(1.0)),
        Row::plain("10,000 sleepers with 10 messages each", share(&asleep)?, Reach::AtMost(1.0)),
        Row::plain("the same: lost", lost(&asleep), Reach::AtMost(0.0)),
    ])
}

fn size(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (_broker, gateway) = bench.start(&[])?;
    let memory = gateway.subject().memory().context("memory is known on Linux only")?;
    let file = fs::metadata(bench.programs.gateway_file()).context("cannot look at the gateway's file")?.len();
    let broker = if cfg!(feature = "embedded-broker") { "with" } else { "without" };
    Ok(vec![
        Row::plain("memory after the start", mib(memory), Reach::AtMost(8.0)),
        Row::plain(format!("the program's file, {broker} the embedded broker"), mib(file), Reach::AtMost(8.0)),
    ])
}

pub(super) fn of(gateway: &GatewayProcess, plan: Plan) -> Plan {
    Plan { gateway: gateway.target(), subject: Some(gateway.subject()), ..plan }
}

fn cpu(outcome: &Outcome) -> anyhow::Result<Figure> {
    Ok(us(outcome.cpu_each().context("CPU time is known on Linux only, and only if messages arrive")?))
}

pub(super) fn rate(outcome: &Outcome) -> Figure {
    per_second(outcome.rate(&outcome.tally.up).unwrap_or_default())
}

pub(super) fn lost(outcome: &Outcome) -> Figure {
    let lost = outcome.tally.up.lost().unwrap_or_default() + outcome.tally.down.lost().unwrap_or_default();
    let sent = outcome.tally.up.sent + outcome.tally.down.sent + outcome.tally.up.withheld;
    let unit = if sent == 0 { "lost, but nothing was sent" } else { "lost" };
    Figure { value: octets(lost + outcome.tally.up.withheld), unit }
}

fn us(value: f64) -> Figure {
    Figure { value, unit: US }
}

pub(super) fn per_second(value: f64) -> Figure {
    Figure { value, unit: PER_SECOND }
}

fn mib(memory: u64) -> Figure {
    Figure { value: octets(memory) / f64::from(1 << 20), unit: MIB }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(super) fn octets(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn micros(count: u128) -> f64 {
    count as f64
}
