//! `bench floor`: what this machine and this broker do at best, so that a gateway's figures have something to be
//! compared with.

use std::fmt;

use serde::Serialize;

use super::engine::{Engine, RunError};
use super::mqtt::BrokerAddress;
use super::outcome::Outcome;
use super::plain::{self, PlainOutcome};
use super::plan::{Pace, Plan};
use super::progress::Progress;
use super::responder::Responder;
use crate::tools::transport::Target;
use crate::wire::Qos;

/// The floors that were measured. JSON as well as a table.
#[derive(Debug, Default, Serialize)]
pub(super) struct Floor {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) udp: Option<UdpFloor>,
    pub(super) mqtt: Vec<MqttFloor>,
}

/// The bare UDP loop.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct UdpFloor {
    clients: u32,
    pub(super) per_second: f64,
    /// Its CPU time for one datagram received and answered, in microseconds; not known without /proc.
    pub(super) cpu_us_each: Option<f64>,
    pub(super) answered_after_us_p50: u128,
}

/// Plain MQTT at one quality of service.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct MqttFloor {
    clients: u32,
    pub(super) qos: u8,
    pub(super) per_second: f64,
    pub(super) acknowledged_after_us_p50: Option<u128>,
    pub(super) arrived_after_us_p50: Option<u128>,
    lost: u64,
}

/// Measures the bare loop: the devices of the plan publish to it at QoS 1 in lockstep.
pub(super) fn udp(plan: &Plan, progress: Progress) -> Result<UdpFloor, RunError> {
    let outcome = run_udp(plan, progress)?;
    let flow = &outcome.tally.up;
    Ok(UdpFloor {
        clients: outcome.plan.clients,
        per_second: outcome.rate(flow).unwrap_or_default(),
        cpu_us_each: outcome.cpu_each(),
        answered_after_us_p50: flow.until_acknowledged.quantile(0.5).map_or(0, |latency| latency.as_micros()),
    })
}

fn run_udp(plan: &Plan, progress: Progress) -> Result<Outcome, RunError> {
    let responder = Responder::start()?;
    let at = responder.address();
    let gateway = Target::Udp { host: at.ip().to_string(), port: at.port() };
    let (up, qos, subject) = (Some(Pace::Lockstep), Qos::AtLeastOnce, responder.subject());
    let plan = Plan { gateway, up, qos, subject, broker: None, down: None, sleepers: 0, ..plan.clone() };
    Engine::set_up(plan, progress)?.measure()
}

/// Measures plain MQTT: as many connections as the plan has devices.
pub(super) fn mqtt(plan: &Plan, broker: &BrokerAddress, qos: Qos) -> Result<MqttFloor, RunError> {
    // Topics of its own, so that stragglers of another run are not counted.
    let plan = Plan { run: fastrand::u32(..), ..plan.clone() };
    let PlainOutcome { qos, flow, per_second } = plain::run(&plan, broker, qos)?;
    let p50 = |latencies: &super::tally::Latencies| latencies.quantile(0.5).map(|latency| latency.as_micros());
    Ok(MqttFloor {
        clients: plan.clients,
        qos: qos as u8,
        per_second,
        acknowledged_after_us_p50: p50(&flow.until_acknowledged),
        arrived_after_us_p50: p50(&flow.until_arrived),
        lost: flow.lost().unwrap_or_default(),
    })
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(UdpFloor { clients, per_second, cpu_us_each, answered_after_us_p50 }) = self.udp {
            let cpu = cpu_us_each.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2} us"));
            writeln!(f, "bare UDP loop, {clients} clients in lockstep")?;
            writeln!(
                f,
                "  {per_second:.0} datagrams/s, each {cpu} of CPU, answered after {answered_after_us_p50} us (p50)"
            )?;
        }
        if let Some(MqttFloor { clients, .. }) = self.mqtt.first() {
            writeln!(f, "plain MQTT straight into the broker, {clients} connections in lockstep")?;
        }
        for MqttFloor { qos, per_second, acknowledged_after_us_p50, arrived_after_us_p50, lost, .. } in &self.mqtt {
            let micros = |micros: &Option<u128>| micros.map_or_else(|| "-".to_owned(), |micros| format!("{micros} us"));
            write!(
                f,
                "  QoS {qos}  {per_second:.0} messages/s, acknowledged after {} (p50), ",
                micros(acknowledged_after_us_p50)
            )?;
            writeln!(f, "arrived after {} (p50), {lost} lost", micros(arrived_after_us_p50))?;
        }
        Ok(())
    }
}
