//! The task behind a connection: one for its whole life, whatever becomes of the TCP connection.
//!
//! Each turn takes what there is, packets first and then commands, writes everything that this has brought about at
//! once, and gives the core all events as one batch. So when a command is carried out, all that has come before it has
//! been taken note of, and an acknowledgement never goes to another connection than the one its message came on. While
//! the core does not take the events nothing is read from the broker, as MQTT's flow control wants it.

mod failing;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::broker::access::Events;
use crate::broker::alarm::Alarm;
use crate::broker::backoff::Backoff;
use crate::broker::commands::{Receiver, Taken};
use crate::broker::failure::{Failure, Standing};
use crate::broker::in_flight::Publish;
use crate::broker::inbound::Inbound;
use crate::broker::ledger::{Commits, KeepError, Ledger};
use crate::broker::line::{Happening, Line};
use crate::broker::link::Link;
use crate::broker::load::Load;
use crate::broker::opening::{DISCONNECT_TIMEOUT, Opening};
use crate::broker::outbound::Outbound;
use crate::broker::purpose::{Purpose, Stage};
use crate::broker::requests::Request;
use crate::broker::session::{Session, acknowledge};
use crate::broker::settings::BrokerSettings;
use crate::broker::turns::{Turn, Turns};
use crate::broker::versions::{Proven, first_version};
use crate::broker::window::Window;
use crate::core::{BrokerCommand, BrokerEvent, BrokerOffer, ConnId, PublishOutcome, Token};
use crate::mqtt::{ConnAck, Version};

/// What is left to send, its answers and DISCONNECT may take this long.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What a connection is told before it starts.
pub(in crate::broker) struct Setup {
    pub(in crate::broker) conn: ConnId,
    pub(in crate::broker) settings: BrokerSettings,
    pub(in crate::broker) tls: Option<Arc<ClientConfig>>,
    pub(in crate::broker) purpose: Purpose,
    pub(in crate::broker) proven: Proven,
    /// With one, what is under way at QoS 2 outlives the process.
    pub(in crate::broker) ledger: Option<Ledger>,
    /// Where each attempt to connect waits for its turn, if it has to.
    pub(in crate::broker) turns: Option<Turns>,
    pub(in crate::broker) events: Events,
}

pub(in crate::broker) struct Driver {
    setup: Setup,
    commands: Receiver,
    session: Session,
    commits: Option<Commits>,
    phase: Phase,
    line: Line,
    version: Version,
    stage: Stage,
    alarm: Alarm,
    standing: Standing,
    backoff: Backoff,
    /// Connections in a row that the broker ended without a word soon after they were made.
    cut_short: u32,
    /// The gateway's own connection: the last [`BrokerEvent::Down`], while it holds.
    reported: Option<(Instant, String)>,
}

/// How far the connection is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The core has asked to disconnect; what was submitted before is being sent, and then DISCONNECT.
    Leaving {
        until: Instant,
    },
}

/// What woke the driver.
enum Wake {
    Commit(Committed),
    Line(Happening),
    Commands,
    Alarm,
}

/// There is no other turn.
struct Over;

/// How a commit ended, and what was settled with it.
type Committed = Result<Vec<(Token, PublishOutcome)>, KeepError>;

impl Driver {
    pub(in crate::broker) fn new(setup: Setup, commands: Receiver, load: Arc<Load>) -> Self {
        let Setup { settings, purpose, proven, ledger, .. } = &setup;
        let mut outbound = Outbound::new(load, settings.retained, ledger.clone());
        let mut inbound = Inbound::default();
        if let Some(ledger) = ledger {
            let checkpoint = ledger.checkpoint();
            inbound.take_up(&checkpoint.incoming);
            outbound.take_up(checkpoint);
        }
        Self {
            commands,
            session: Session { outbound, inbound, out: Vec::new() },
            commits: ledger.clone().map(Commits::new),
            phase: Phase::Running,
            line: Line::Resting { until: Instant::now() },
            version: first_version(settings.protocol, proven.get()),
            stage: purpose.stage(ledger.as_ref()),
            alarm: Alarm::new(),
            standing: Standing::Unknown,
            backoff: Backoff::new(),
            cut_short: 0,
            reported: None,
            setup,
        }
    }

    /// Runs to the end of the connection. By reference: by value the driver would have two places in its task.
    pub(in crate::broker) async fn run(&mut self) {
        loop {
            let wake = self.wake().await;
            if self.turn(wake).is_err() || self.emit().await.is_err() {
                break;
            }
        }
        self.session.outbound.abandon(&mut self.session.out);
        self.settle().await;
        self.session.out.push(BrokerEvent::Closed);
        // If nobody listens the process ends.
        let _nobody_listens = self.emit().await;
    }

    /// Waits until there is something to do.
    async fn wake(&mut self) -> Wake {
        let due = [self.line.due(), self.phase.end()].into_iter().flatten().min();
        let Self { commits, line, session, commands, phase, alarm, .. } = self;
        tokio::select! {
            biased;
            // First, because it ends seldom, and others wait for it.
            committed = next_commit(commits) => Wake::Commit(committed),
            happening = poll_fn(|context| line.poll(context, session)) => Wake::Line(happening),
            () = poll_fn(|context| commands.poll_ready(context)), if *phase == Phase::Running => Wake::Commands,
            () = alarm.ring(due) => Wake::Alarm,
        }
    }

    /// Takes note of everything that has happened and acts on it.
    fn turn(&mut self, wake: Wake) -> Result<(), Over> {
        match wake {
            Wake::Commit(committed) => self.on_commit(committed),
            Wake::Line(happening) => self.on_happening(happening)?,
            Wake::Commands => {}
            Wake::Alarm => self.on_alarm()?,
        }
        self.take_commands();
        self.go_on()
    }

    fn on_happening(&mut self, happening: Happening) -> Result<(), Over> {
        match happening {
            Happening::ItsTurn(turn) => self.open(Some(turn)),
            Happening::Opened(link, connack) => self.on_up(link, &connack),
            Happening::Exchanged => Ok(()),
            Happening::Failed(failure) => self.on_failure(&failure),
            Happening::Parted => Err(Over),
        }
    }

    fn on_alarm(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if self.phase.end().is_some_and(|end| end <= now) {
            return Err(Over);
        }
        match &mut self.line {
            Line::Resting { until } if *until <= now => match self.setup.turns.clone() {
                Some(turns) => {
                    self.line = Line::Queuing(Box::pin(async move { turns.next().await }));
                    Ok(())
                }
                None => self.open(None),
            },
            Line::Up { link, .. } => match link.look_after(now) {
                Ok(()) => Ok(()),
                Err(failure) => self.on_failure(&failure),
            },
            Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. } | Line::Parting(_) => Ok(()),
        }
    }

    fn open(&mut self, turn: Option<Turn>) -> Result<(), Over> {
        let Setup { settings, tls, purpose, ledger, .. } = &self.setup;
        match Opening::new(settings, tls.clone(), purpose, ledger.as_ref(), self.stage, self.version) {
            Ok(opening) => {
                self.line = Line::Opening { attempt: Box::pin(opening.open()), turn };
                Ok(())
            }
            Err(failure) => self.on_failure(&failure),
        }
    }

    fn take_commands(&mut self) {
        let mut now = None;
        while self.phase == Phase::Running {
            let command = match self.commands.take() {
                Taken::Command(command) => command,
                Taken::Nothing => return,
                Taken::Closed => BrokerCommand::Disconnect,
            };
            self.on_command(*now.get_or_insert_with(Instant::now), command);
        }
    }

    fn on_command(&mut self, now: Instant, command: BrokerCommand) {
        let Session { outbound, inbound, .. } = &mut self.session;
        match command {
            BrokerCommand::Publish { token, message, expires_in } => {
                let expires = expires_in.map(|expires_in| now + expires_in);
                outbound.push(now, Publish::new(token, message, expires));
            }
            BrokerCommand::Subscribe { token, filter, qos, id } => {
                outbound.push_request(Request::Subscribe { token, filter, qos, id });
            }
            BrokerCommand::Unsubscribe { filter } => outbound.push_request(Request::Unsubscribe { filter }),
            BrokerCommand::Ack { delivery } => match &mut self.line {
                Line::Up { link, .. } => {
                    if let Some((qos, packet)) = inbound.acknowledged(delivery) {
                        acknowledge(qos, packet, &mut link.outbox);
                    }
                }
                Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. } | Line::Parting(_) => {
                    let not_now = inbound.acknowledged(delivery);
                    debug_assert_eq!(not_now, None, "nothing has arrived on a connection that is not there");
                }
            },
            BrokerCommand::Disconnect => self.phase = Phase::Leaving { until: now + LEAVE_WITHIN },
        }
    }

    /// Sends what may be sent, and ends what has to end.
    fn go_on(&mut self) -> Result<(), Over> {
        let Self { line, session, setup, .. } = self;
        match (line, self.phase) {
            (Line::Up { link, offer, window, .. }, phase) => {
                if let Err(failure) = send(link, *offer, *window, session) {
                    return self.on_failure(&failure);
                }
                let ledger = setup.ledger.as_ref();
                if phase != Phase::Running && session.outbound.is_idle() && ledger.is_none_or(Ledger::is_settled) {
                    self.part();
                }
                Ok(())
            }
            (Line::Parting(_), _) => Ok(()),
            (Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. }, Phase::Running) => Ok(()),
            // The broker may have taken the CONNECT already. A will in it is taken back only by DISCONNECT.
            (Line::Opening { .. }, Phase::Leaving { .. }) if setup.purpose.has_will() => Ok(()),
            // Nothing can be sent: do not wait for a broker that may never come.
            (Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. }, Phase::Leaving { .. }) => Err(Over),
        }
    }

    fn part(&mut self) {
        let nothing = Line::Resting { until: Instant::now() };
        match std::mem::replace(&mut self.line, nothing) {
            Line::Up { link, .. } => {
                let expiry = self.setup.purpose.expiry_at_end(self.setup.ledger.as_ref());
                let parted = async move { timeout(DISCONNECT_TIMEOUT, link.part(expiry)).await? };
                self.line = Line::Parting(Box::pin(parted));
            }
            line @ (Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. } | Line::Parting(_)) => {
                self.line = line;
            }
        }
    }

    fn on_up(&mut self, link: Box<Link>, connack: &ConnAck) -> Result<(), Over> {
        let (now, version, session_present) = (Instant::now(), self.version, connack.session_present);
        let Setup { conn, settings, purpose, proven, ledger, .. } = &self.setup;
        match purpose {
            Purpose::Gateway | Purpose::Probe => {
                info!(session_present, "connected to {} ({version})", settings.url);
            }
            // The core tells about clients.
            Purpose::Client(_) => {
                debug!(conn = conn.0, session_present, "connected as `{}` ({version})", settings.client_id);
            }
        }
        proven.set(version);
        (self.stage, self.standing, self.reported) = (Stage::Established, Standing::Accepted, None);
        let offer = offer(connack);
        let window = Window::new(version, connack, settings.in_flight);
        self.line = Line::Up { link, offer, window, since: now };
        if !session_present {
            self.session.lost();
        }
        if let Some(ledger) = ledger {
            if !session_present {
                ledger.session_lost();
            }
            match purpose {
                Purpose::Gateway => ledger.session_begins(),
                // Whether a client's session goes on is for its clean flag to say.
                Purpose::Client(_) | Purpose::Probe => {}
            }
        }
        let Session { outbound, out, .. } = &mut self.session;
        let dropped = outbound.drop_outdated(now, out);
        if dropped > 0 {
            warn!(conn = conn.0, "dropped {dropped} QoS 0 messages that waited too long for the broker");
        }
        out.push(BrokerEvent::Up { session_present, offer });
        match self.resume() {
            Ok(()) => Ok(()),
            Err(failure) => self.on_failure(&failure),
        }
    }

    /// Goes on with what is under way, and takes what the broker has sent behind its CONNACK.
    fn resume(&mut self) -> Result<(), Failure> {
        let Self { line, session, .. } = self;
        match line {
            Line::Up { link, offer, .. } => {
                session.outbound.resume(&mut link.outbox, offer)?;
                link.take_begun(|packet, outbox| session.on_packet(packet, outbox))
            }
            Line::Resting { .. } | Line::Queuing(_) | Line::Opening { .. } | Line::Parting(_) => Ok(()),
        }
    }

    fn on_commit(&mut self, committed: Committed) {
        let conn = self.setup.conn.0;
        match committed {
            Ok(settled) => {
                let settled = settled.into_iter();
                self.session.out.extend(settled.map(|(token, outcome)| BrokerEvent::Published { token, outcome }));
            }
            Err(error) => warn!(conn, "cannot keep what is under way at QoS 2, and will try again: {error}"),
        }
    }

    /// Lets the last commit end.
    async fn settle(&mut self) {
        let until = self.phase.end().unwrap_or_else(|| Instant::now() + LEAVE_WITHIN);
        while self.setup.ledger.as_ref().is_some_and(|ledger| !ledger.is_settled()) {
            match timeout_at(until, next_commit(&mut self.commits)).await {
                Ok(committed) => self.on_commit(committed),
                Err(_) => return,
            }
        }
    }

    /// Sends the batch. While the core does not take it, everything here rests.
    async fn emit(&mut self) -> Result<(), Over> {
        if self.session.out.is_empty() {
            return Ok(());
        }
        // The next batch will be about as large. A quiet connection has no memory for it.
        let room = if self.session.out.len() > 1 { self.session.out.len() } else { 0 };
        let batch = std::mem::replace(&mut self.session.out, Vec::with_capacity(room));
        self.setup.events.send((self.setup.conn, batch)).await.map_err(|_| Over)
    }
}

impl Phase {
    /// When the connection ends, in order or not.
    fn end(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Leaving { until } => Some(until),
        }
    }
}

/// Writes all that may be under way, as far as the network takes it now. Messages at QoS 0 make room for others when
/// they have gone.
fn send(link: &mut Link, offer: BrokerOffer, window: Window, session: &mut Session) -> Result<(), Failure> {
    loop {
        session.outbound.hand_over(&mut link.outbox, &offer, window, &mut session.out);
        if !link.has_unwritten() {
            return Ok(());
        }
        match link.try_write() {
            Poll::Ready(Ok(())) => session.flushed(),
            Poll::Ready(Err(failure)) if failure.is_final() => return Err(failure),
            // It comes again when the line is polled.
            Poll::Ready(Err(_)) | Poll::Pending => return Ok(()),
        }
    }
}

pub(in crate::broker) fn offer(connack: &ConnAck) -> BrokerOffer {
    let ConnAck { max_qos, retain, subscription_ids, max_packet, .. } = *connack;
    BrokerOffer { max_qos, retain, subscription_ids, max_packet }
}

/// Without a ledger for ever.
async fn next_commit(commits: &mut Option<Commits>) -> Committed {
    match commits {
        Some(commits) => commits.next().await,
        None => std::future::pending().await,
    }
}
