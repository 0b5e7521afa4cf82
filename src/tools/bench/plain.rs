//! The same load without any gateway: plain MQTT publishers straight into the broker, each in lockstep.

use std::io::ErrorKind;
use std::time::{Duration, Instant as Clock};

use mio::{Events, Poll, Token};

use super::engine::RunError;
use super::mqtt::{BrokerAddress, MqttConnection, Received};
use super::plan::Plan;
use super::seen::Seen;
use super::stamp::Stamp;
use super::tally::Flow;
use crate::core::Instant;
use crate::wire::Qos;

/// The subscriber, among the publishers' tokens.
const SUBSCRIBER: Token = Token(usize::MAX - 1);
/// Messages of one publisher at QoS 0 that may be on their way: nothing else would hold it back.
const WINDOW: u32 = 100;
/// How long to wait at the end for what is on its way.
const QUIET: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct PlainOutcome {
    pub(super) qos: Qos,
    pub(super) flow: Flow,
    /// Messages a second that went through: acknowledged, at QoS 0 arrived.
    pub(super) per_second: f64,
}

struct Publisher {
    connection: MqttConnection,
    topic: String,
    /// Messages begun.
    begun: u32,
    /// Messages that were answered; at QoS 0, that arrived.
    done: u32,
    since: Instant,
    seen: Seen,
}

/// Lets as many publishers as the plan has clients publish for as long as it says.
pub(super) fn run(plan: &Plan, broker: &BrokerAddress, qos: Qos) -> Result<PlainOutcome, RunError> {
    let origin = Clock::now();
    let mut poll = Poll::new()?;
    let name = |what: &str| format!("mqttsn-bench-{:x}-{what}", plan.run);
    let mut subscriber = MqttConnection::open(broker, &name("all"), Some(&plan.filter_up()))?;
    subscriber.register(poll.registry(), SUBSCRIBER)?;
    let mut publishers = Vec::new();
    for index in 0..plan.clients {
        let mut connection = MqttConnection::open(broker, &name(&index.to_string()), None)?;
        connection.register(poll.registry(), Token(index as usize))?;
        let (topic, since, seen) = (plan.topic_up(index), Instant::ORIGIN, Seen::default());
        publishers.push(Publisher { connection, topic, begun: 0, done: 0, since, seen });
    }

    let now = || Instant::from_origin(origin.elapsed());
    let mut flow = Flow { watched: true, ..Flow::default() };
    let mut payload = vec![0; plan.size];
    let mut send = |publisher: &mut Publisher, device: u32, flow: &mut Flow| {
        publisher.since = now();
        let stamp = Stamp { run: plan.run, device, sequence: publisher.begun, due: publisher.since };
        stamp.write(&mut payload);
        publisher.connection.publish(&publisher.topic, qos, &payload);
        publisher.begun += 1;
        flow.sent += 1;
    };
    let window = if qos == Qos::AtMostOnce { WINDOW } else { 1 };
    let began = now();
    let until = began + plan.duration;
    let mut heard_at = began;
    let mut events = Events::with_capacity(1024);
    loop {
        let sends = now() < until;
        for (device, publisher) in (0..).zip(&mut publishers) {
            while sends && publisher.begun - publisher.done < window {
                send(publisher, device, &mut flow);
            }
            if publisher.connection.backlog() > 0 {
                publisher.connection.flush().map_err(RunError::BrokerLost)?;
            }
        }
        let is_settled = flow.arrived == flow.sent && publishers.iter().all(|it| it.begun == it.done);
        if !sends && (is_settled || now() - heard_at > QUIET) {
            break;
        }
        match poll.poll(&mut events, Some(QUIET)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            heard_at = now();
            if event.token() == SUBSCRIBER {
                let arrive = |received: Received<'_>| arrive(received, plan, qos, &mut publishers, &mut flow, now());
                subscriber.receive(arrive).map_err(RunError::BrokerLost)?;
            } else if let Some(publisher) = publishers.get_mut(event.token().0) {
                let mut answers = 0;
                let count = |received: Received<'_>| answers += u32::from(matches!(received, Received::Acknowledged));
                publisher.connection.receive(count).map_err(RunError::BrokerLost)?;
                publisher.connection.flush().map_err(RunError::BrokerLost)?;
                for _ in 0..answers {
                    publisher.done += 1;
                    flow.acknowledge(publisher.since, now());
                }
            }
        }
    }
    let last = if qos == Qos::AtMostOnce { flow.last_arrived } else { flow.last_acknowledged };
    let done = if qos == Qos::AtMostOnce { flow.arrived } else { flow.acknowledged };
    let span = (last.unwrap_or(until) - began).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 messages")]
    let per_second = if span > 0.0 { done as f64 / span } else { 0.0 };
    Ok(PlainOutcome { qos, flow, per_second })
}

fn arrive(received: Received<'_>, plan: &Plan, qos: Qos, publishers: &mut [Publisher], flow: &mut Flow, now: Instant) {
    let Received::Message(payload) = received else { return };
    let Some(stamp) = Stamp::read(payload).filter(|stamp| stamp.run == plan.run) else { return };
    let Some(publisher) = publishers.get_mut(stamp.device as usize) else { return };
    match publisher.seen.note(stamp.sequence, publisher.begun) {
        Some(true) => {
            flow.arrive(stamp.due, now);
            if qos == Qos::AtMostOnce {
                publisher.done += 1;
            }
        }
        Some(false) => flow.duplicated += 1,
        None => {}
    }
}
