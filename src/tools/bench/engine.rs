//! One run from beginning to end: one thread, one poll for all sockets, and the clock.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant as Clock};

use mio::{Events, Poll, Token};
use thiserror::Error;

use super::air::{Air, AirError, Reachable};
use super::fleet::Fleet;
use super::mqtt::{BrokerError, MqttConnection, Received};
use super::outcome::{Memory, Outcome};
use super::plan::{Downlink, Plan};
use super::progress::Progress;
use super::usage::{Subject, dropped_datagrams};
use crate::core::Instant;
use crate::tools::transport::Target;

/// The broker's connection, among the tokens of the devices' sockets.
const BROKER: Token = Token(usize::MAX - 1);
/// Events taken from the system at a time.
const EVENTS: usize = 1024;
/// How long a run waits at its end for what may still arrive, after the last thing that did.
const QUIET: Duration = Duration::from_secs(1);
/// How long at most, while exchanges are still open.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
/// How long sleepers may take to collect what waits for them.
const LONGEST_COLLECTION: Duration = Duration::from_secs(30);
/// Time for the gateway to take over what was queued for sleepers.
const SETTLING: Duration = Duration::from_secs(1);

/// A run whose devices have joined.
#[derive(Debug)]
pub(super) struct Engine {
    plan: Plan,
    origin: Clock,
    poll: Poll,
    events: Events,
    air: Air,
    broker: Option<MqttConnection>,
    fleet: Fleet,
    progress: Progress,
    /// When something last came, from the gateway or from the broker.
    heard_at: Instant,
    reachable: Reachable,
    set_up: SetUp,
}

/// What was measured while the devices joined.
#[derive(Clone, Debug)]
struct SetUp {
    began: Instant,
    ended: Instant,
    cpu: Option<Duration>,
    own_cpu: Option<Duration>,
    memory_before: Option<u64>,
    memory_after: Option<u64>,
}

/// Why there is no result.
#[derive(Debug, Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Air(#[from] AirError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the broker has closed the connection: {0}")]
    BrokerLost(io::Error),
    #[error("no gateway listens at {0}; is it running, and are --host and --port those of its UDP link?")]
    NobodyListens(Box<Target>),
    #[error("no gateway answers at {0}; is it running, and is the address that of its link?")]
    NoAnswer(Box<Target>),
    #[error(
        "only {joined} of {clients} clients could connect: {refused} refusals, {abandoned} without an answer. Does the \
         gateway limit its clients? --ramp SECONDS lets them come more slowly"
    )]
    NotAll { joined: u32, clients: u32, refused: u64, abandoned: u64 },
    #[error("the system gives no event loop: {0}")]
    System(#[from] io::Error),
}

impl Engine {
    /// Opens the links, and lets all devices join.
    pub(super) fn set_up(plan: Plan, progress: Progress) -> Result<Self, RunError> {
        let origin = Clock::now();
        let poll = Poll::new()?;
        let mut broker = None;
        if let Some(address) = &plan.broker {
            let filter = plan.up.is_some().then(|| plan.filter_up());
            let mut connection =
                MqttConnection::open(address, &format!("mqttsn-bench-{:x}", plan.run), filter.as_deref())?;
            connection.register(poll.registry(), BROKER)?;
            broker = Some(connection);
        }
        let air = Air::open(&plan, poll.registry())?;
        let began = time_since(origin);
        let cpu = plan.subject.as_ref().and_then(Subject::cpu);
        let own_cpu = own_cpu();
        let memory_before = plan.subject.as_ref().and_then(Subject::memory);
        let mut engine = Self {
            fleet: Fleet::new(plan.clone(), began),
            plan,
            origin,
            poll,
            events: Events::with_capacity(EVENTS),
            air,
            broker,
            progress,
            heard_at: began,
            reachable: Reachable::Perhaps,
            set_up: SetUp { began, ended: began, cpu, own_cpu, memory_before, memory_after: None },
        };
        engine.join()?;
        Ok(engine)
    }

    /// Lets the devices do what the plan says, and tells what came of it.
    pub(super) fn measure(self) -> Result<Outcome, RunError> {
        self.measure_and_then(|| {}, LONGEST_DRAIN)
    }

    /// The same, where something happens when the devices have ended, after which all may take so long to arrive.
    pub(super) fn measure_and_then(
        mut self,
        happens: impl FnOnce(),
        longest_drain: Duration,
    ) -> Result<Outcome, RunError> {
        let subject = self.plan.subject.clone();
        let cpu = || subject.as_ref().and_then(Subject::cpu);
        let written = || subject.as_ref().and_then(Subject::written);
        let written_before = written();
        self.queue_for_sleepers()?;
        let (cpu_before, own_before) =
            if self.measures_joining() { (self.set_up.cpu, self.set_up.own_cpu) } else { (cpu(), own_cpu()) };
        let drops_before = self.dropped();
        let began = self.now();

        self.fleet.measure(began);
        let until = began + self.plan.duration;
        while self.now() < until && !self.measures_joining() {
            self.turn()?;
        }
        let (own_after, sending_ended) = (own_cpu(), self.now());
        self.fleet.rest();
        let written_by_then = written();
        happens();
        self.drain(longest_drain)?;
        let ended = self.now();
        let cpu_after = cpu();
        let memory = Memory {
            before: self.set_up.memory_before,
            connected: self.set_up.memory_after,
            after: subject.as_ref().and_then(Subject::memory),
            peak: subject.as_ref().and_then(Subject::peak_memory),
        };
        self.collect()?;
        let dropped = self.dropped().zip(drops_before).map(|(after, before)| after.saturating_sub(before));
        let now = self.now();
        self.fleet.leave(now);
        self.flush();

        let joining = self.set_up.ended - self.set_up.began;
        let (measured, sending) =
            if self.measures_joining() { (joining, joining) } else { (ended - began, sending_ended - began) };
        let spent = |before: Option<Duration>, after: Option<Duration>| after?.checked_sub(before?);
        Ok(Outcome {
            tally: self.fleet.tally().clone(),
            began,
            joining,
            measured,
            gateway_cpu: spent(cpu_before, cpu_after),
            own_share: spent(own_before, own_after).map(|cpu| share(cpu, sending)),
            memory,
            dropped,
            written: written_by_then.zip(written_before).map(|(after, before)| after.saturating_sub(before)),
            plan: self.plan,
        })
    }

    /// Whether there is nothing to do once the devices have joined.
    fn measures_joining(&self) -> bool {
        self.plan.duration.is_zero()
    }

    fn join(&mut self) -> Result<(), RunError> {
        let patience = self.plan.t_retry * (u32::from(self.plan.n_retry) + 2) + self.plan.ramp;
        let mut joined = (0, self.now());
        while !self.fleet.all_joined() {
            self.turn()?;
            let now = self.now();
            if self.fleet.joined() > joined.0 {
                joined = (self.fleet.joined(), now);
            } else if now - joined.1 > patience {
                return Err(self.why_not_all());
            } else if self.fleet.joined() == 0 && self.reachable == Reachable::No {
                return Err(RunError::NobodyListens(Box::new(self.plan.gateway.clone())));
            }
        }
        self.set_up.ended = self.now();
        self.set_up.memory_after = self.plan.subject.as_ref().and_then(Subject::memory);
        Ok(())
    }

    fn why_not_all(&self) -> RunError {
        let connects = &self.fleet.tally().connects;
        if self.fleet.joined() == 0 && connects.refused == 0 {
            return RunError::NoAnswer(Box::new(self.plan.gateway.clone()));
        }
        RunError::NotAll {
            joined: self.fleet.joined(),
            clients: self.plan.clients,
            refused: connects.refused,
            abandoned: connects.abandoned,
        }
    }

    fn queue_for_sleepers(&mut self) -> Result<(), RunError> {
        if let (Some(Downlink::Queued(_)), Some(broker)) = (self.plan.down, &mut self.broker) {
            self.fleet.queue_messages(time_since(self.origin), broker);
            self.turns_for(SETTLING)?;
        }
        Ok(())
    }

    /// Lets what is on its way arrive.
    fn drain(&mut self, longest: Duration) -> Result<(), RunError> {
        let end = self.now() + longest;
        self.heard_at = self.now();
        while !self.fleet.is_settled() && self.now() < end {
            // With an open exchange there may be a retransmission to come.
            let quiet = QUIET.max(self.plan.t_retry * 2);
            if self.now() - self.heard_at > quiet {
                break;
            }
            self.turn()?;
        }
        Ok(())
    }

    fn collect(&mut self) -> Result<(), RunError> {
        if let Some(Downlink::Queued(_)) = self.plan.down {
            let end = self.now() + LONGEST_COLLECTION;
            self.fleet.collect();
            while !self.fleet.has_collected() && self.now() < end {
                self.turn()?;
            }
        }
        Ok(())
    }

    fn turns_for(&mut self, duration: Duration) -> Result<(), RunError> {
        let end = self.now() + duration;
        while self.now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Does what is due, sends it, and takes what has come.
    fn turn(&mut self) -> Result<(), RunError> {
        let now = self.now();
        self.fleet.tick(now, self.broker.as_mut());
        self.flush();
        if let Some(broker) = &mut self.broker {
            broker.flush().map_err(RunError::BrokerLost)?;
        }
        self.progress.tick(now, self.fleet.tally(), self.fleet.joined());
        let timeout = self.fleet.next_tick() - self.now();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let Self { events, air, broker, fleet, origin, .. } = self;
        let mut reachable = Reachable::Perhaps;
        for event in &*events {
            if event.token() == BROKER {
                let Some(broker) = broker else { continue };
                broker.receive(|received| take(fleet, received, *origin)).map_err(RunError::BrokerLost)?;
                broker.flush().map_err(RunError::BrokerLost)?;
                continue;
            }
            if air.receive(event.token(), |device, frame| fleet.receive(device, frame, time_since(*origin)))
                == Reachable::No
            {
                reachable = Reachable::No;
            }
            // At once: whoever was answered first goes on first.
            send_all(fleet, air);
        }
        if !self.events.is_empty() {
            self.heard_at = self.now();
        }
        self.reachable = reachable;
        Ok(())
    }

    fn flush(&mut self) {
        send_all(&mut self.fleet, &mut self.air);
    }

    /// Datagrams that the gateway's socket lost: known where it runs on this machine.
    fn dropped(&self) -> Option<u64> {
        match (&self.plan.gateway, &self.plan.subject) {
            (Target::Udp { port, .. }, Some(_)) => dropped_datagrams(*port),
            (Target::Serial(_), _) | (_, None) => None,
        }
    }

    fn now(&self) -> Instant {
        time_since(self.origin)
    }
}

fn take(fleet: &mut Fleet, received: Received<'_>, origin: Clock) {
    match received {
        Received::Message(payload) => fleet.arrived_at_broker(payload, time_since(origin)),
        Received::Acknowledged => {}
    }
}

fn send_all(fleet: &mut Fleet, air: &mut Air) {
    let mut unsent = 0;
    for (device, frame) in fleet.out().frames() {
        // A frame that is lost here is sent again like any other.
        unsent += u64::from(air.send(device, frame).is_err());
    }
    fleet.out().clear();
    fleet.tally_mut().unsent_frames += unsent;
}

/// Returns the CPU time of the load generator: one thread is all it has.
fn own_cpu() -> Option<Duration> {
    Subject::this_thread().and_then(|thread| thread.cpu())
}

fn share(part: Duration, of: Duration) -> f64 {
    if of.is_zero() { 0.0 } else { part.as_secs_f64() / of.as_secs_f64() }
}

fn time_since(origin: Clock) -> Instant {
    Instant::from_origin(origin.elapsed())
}
