//! The rows about the store: what it costs, with it and without it in the same minute.

use std::time::Duration;

use anyhow::Context;

use super::programs::Programs;
use super::relay::Relay;
use super::rows::{Bench, lost, octets, of, per_second, rate};
use super::verdict::{Figure, Reach, Row};
use crate::tools::bench::engine::Engine;
use crate::tools::bench::outcome::Outcome;
use crate::tools::bench::plan::{Downlink, Pace, Plan};
use crate::tools::bench::progress::Progress;
use crate::wire::Qos;

const OCTETS: &str = "octets written";
const EACH: &str = "octets written for each";
/// Time in which nothing is to be written.
const QUIET: Duration = Duration::from_secs(10);
/// How long what was kept may take to drain, with the gateway's pauses before it tries the broker again.
const LONGEST_DRAIN: Duration = Duration::from_secs(120);
/// A device waits longer for its answer than the gateway for the broker.
const T_RETRY: Duration = Duration::from_secs(15);

/// A hundred devices in lockstep, the broker being there.
pub(super) fn up(bench: &Bench, qos: Qos) -> anyhow::Result<Vec<Row>> {
    let without = bench.lockstep(100, qos, &[])?;
    let dir = Programs::data_dir()?;
    let with = bench.lockstep(100, qos, &["--data-dir", &dir.name()])?;
    let (what, floor) = (format!("with the store: QoS {} up, 100 clients", qos as u8), rate(&without));
    let written = each(&with, with.tally.up.acknowledged)?;
    let [throughput, written] = match qos {
        // Not a word of it is kept.
        Qos::AtMostOnce | Qos::AtLeastOnce => [
            Row::ratio(what, rate(&with), (floor, "without"), Reach::AtLeast(0.8)),
            Row::plain("the same: each message", written, Reach::AtMost(0.0)),
        ],
        Qos::ExactlyOnce => [
            Row::shown(what, rate(&with)).beside(format!("{floor} (without)")),
            Row::shown("the same: each message", written),
        ],
    };
    Ok(vec![throughput, written, Row::plain("the same: lost", lost(&with), Reach::AtMost(0.0))])
}

/// The broker is away, and comes back when the devices have ended.
pub(super) fn away(bench: &Bench, clients: u32) -> anyhow::Result<Vec<Row>> {
    let broker = bench.programs.mosquitto()?;
    let relay = Relay::to(broker.port())?;
    let dir = Programs::data_dir()?;
    let gateway = bench.programs.gateway_at(relay.port(), &["--data-dir", &dir.name()])?;
    let plan = Plan { up: Some(Pace::Lockstep), t_retry: T_RETRY, ..bench.plan(clients) };
    let plan = Plan { broker: Some(broker.address()), ..of(&gateway, plan) };
    let engine = Engine::set_up(plan, Progress::none())?;
    relay.cut();
    gateway.says("no connection to the broker")?;
    let outcome = engine.measure_and_then(|| relay.mend(), LONGEST_DRAIN)?;
    let up = &outcome.tally.up;
    let acknowledged = per_second(outcome.acknowledged_rate().unwrap_or_default());
    let back = outcome.began + outcome.plan.duration;
    let drained = up.last_arrived.map_or(0.0, |last| octets(up.arrived) / (last - back).as_secs_f64());
    let what = format!("QoS 1 into the store while the broker is away, {clients} clients");
    let mut rows = vec![match clients {
        // So few wait for the disk most of the time.
        ..1_000 => Row::shown(what, acknowledged),
        1_000.. => Row::plain(what, acknowledged, Reach::AtLeast(20_000.0)),
    }];
    rows.push(Row::shown("the same: each message", each(&outcome, up.acknowledged)?));
    rows.push(
        Row::shown("the same: drained when the broker is back", per_second(drained))
            .beside(format!("{} messages, from the first moment on", up.arrived)),
    );
    // What is refused because enough is kept was not accepted.
    let missing = up.acknowledged.saturating_sub(up.arrived);
    rows.push(Row::plain(
        "the same: accepted and lost",
        Figure { value: octets(missing), unit: "lost" },
        Reach::AtMost(0.0),
    ));
    let twice = Figure { value: octets(up.duplicated), unit: "twice" };
    rows.push(Row::plain("the same: arrived twice", twice, Reach::AtMost(0.0)));
    Ok(rows)
}

/// Messages for devices that sleep.
pub(super) fn sleepers(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (wake_every, down) = (Duration::from_secs(3_600), Some(Downlink::Queued(10)));
    let plan = Plan { sleepers: 1_000, wake_every, down, ..bench.plan(1_000) };
    let dir = Programs::data_dir()?;
    let outcome = bench.run(plan, &["--data-dir", &dir.name()])?;
    Ok(vec![
        Row::shown("with the store: 1,000 sleepers with 10 messages each", each(&outcome, outcome.tally.down.sent)?),
        Row::plain("the same: lost", lost(&outcome), Reach::AtMost(0.0)),
    ])
}

/// Devices that are connected and only say that they are.
pub(super) fn idle(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let dir = Programs::data_dir()?;
    let (_broker, gateway) = bench.start(&["--data-dir", &dir.name()])?;
    let plan = Plan { duration: QUIET, keep_alive: 4, ..bench.plan(100) };
    let outcome = Engine::set_up(of(&gateway, plan), Progress::none())?.measure()?;
    let what = format!("with the store: {} s in which 100 clients ping", QUIET.as_secs());
    let value = octets(outcome.written.context(UNKNOWN)?);
    Ok(vec![Row::plain(what, Figure { value, unit: OCTETS }, Reach::AtMost(0.0))])
}

const UNKNOWN: &str = "what is written is known on Linux only";

fn each(outcome: &Outcome, messages: u64) -> anyhow::Result<Figure> {
    let written = octets(outcome.written.context(UNKNOWN)?);
    Ok(Figure { value: (written / octets(messages.max(1))).round(), unit: EACH })
}
