//! The task behind a connection: one for its whole life, whatever becomes of the TCP connection.
//!
//! The library's event loop and the handling of its signals run in this one task, so they alternate and never overlap:
//! when a command is carried out, all that the event loop has noticed so far has been taken note of. An
//! acknowledgement thus never goes to another connection than the one its message came on. The event loop's future is
//! never dropped while the connection is in use; between its steps it may rest as long as the core does not take its
//! events, which stops the reading from the broker, as MQTT's flow control wants it.

use std::sync::Arc;
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::{FutureExt as _, StreamExt as _};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::access::Events;
use super::backoff::Backoff;
use super::client::{Answer, Attempt, Client, Incoming, Opening, Purpose, Signal, Version, Window, Wire};
use super::failure::{Failure, Moment, Standing, cut_short_hint};
use super::inbound::{Arrival, Inbound};
use super::ledger::{Commits, KeepError, Ledger};
use super::outbound::{Outbound, Publish};
use super::requests::Request;
use super::settings::BrokerSettings;
use super::turns::{Turn, Turns};
use super::versions::{Proven, first_version, next_version};
use crate::core::{BrokerCommand, BrokerEvent, BrokerOffer, ConnId, Origin, PacketId, PublishOutcome, Token};
use crate::wire::Qos;

/// A connection that held this long was a good one: the next attempt after it comes soon.
const STABLE: Duration = Duration::from_secs(30);

/// Connections that the broker ended soon after they were made, after which it looks like more than bad luck.
const CUT_SHORT_OFTEN: u32 = 3;

/// That the gateway's own connection stays down is reported again after this time.
const REMINDER: Duration = Duration::from_secs(60);

/// What is left to send, its answers and DISCONNECT may take this long.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Signals taken note of before the commands get their turn. Enough for one batch of the library's reads.
const SIGNALS_PER_TURN: usize = 256;

/// Commands carried out before the event loop gets its turn.
const COMMANDS_PER_TURN: usize = 256;

/// What a connection is told before it starts.
pub(super) struct Setup {
    pub(super) conn: ConnId,
    pub(super) settings: BrokerSettings,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) purpose: Purpose,
    pub(super) proven: Proven,
    /// With one, what is under way at QoS 2 outlives the process.
    pub(super) ledger: Option<Ledger>,
    /// Where each attempt to connect waits for its turn, if it has to.
    pub(super) turns: Option<Turns>,
    pub(super) events: Events,
}

pub(super) struct Driver {
    setup: Setup,
    commands: mpsc::Receiver<BrokerCommand>,
    outbound: Outbound,
    inbound: Inbound,
    commits: Option<Commits>,
    /// Events for the core, sent as one batch at the end of each turn.
    out: Vec<BrokerEvent>,
    stage: Stage,
    link: Link,
    standing: Standing,
    backoff: Backoff,
    /// Connections in a row that the broker ended without a word soon after they were made.
    cut_short: u32,
    /// When to try again; until then the event loop rests. `None` while an attempt is under way or the link is up.
    retry_at: Option<Instant>,
    /// Held while an attempt is under way.
    turn: Option<Turn>,
    /// The gateway's own connection: the last [`BrokerEvent::Down`], while it holds.
    reported: Option<(Instant, String)>,
}

/// How far the connection is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The core has asked to disconnect; what was submitted before is being sent.
    Flushing {
        until: Instant,
    },
    /// DISCONNECT has been asked for.
    Leaving {
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Down,
    Up { offer: BrokerOffer, window: Window, since: Instant },
}

/// How a turn ends if not by another one.
enum Ending {
    /// To go on in this version with nothing left of what the library knows.
    Anew(Version, Attempt),
    Over,
}

/// What woke the driver.
enum Wake {
    Signal(Signal),
    Answer(Answer),
    Commit(Committed),
    /// `None`: the handle is gone.
    Command(Option<BrokerCommand>),
    Retry(Option<Turn>),
    /// The broker takes too long to let us go.
    Overdue,
}

/// How a commit ended, and what was settled with it.
type Committed = Result<Vec<(Token, PublishOutcome)>, KeepError>;

impl Driver {
    pub(super) fn new(setup: Setup, commands: mpsc::Receiver<BrokerCommand>, outbound: Outbound) -> Self {
        Self {
            commits: setup.ledger.clone().map(Commits::new),
            setup,
            commands,
            outbound,
            inbound: Inbound::default(),
            out: Vec::new(),
            stage: Stage::Running,
            link: Link::Down,
            standing: Standing::Unknown,
            backoff: Backoff::new(),
            cut_short: 0,
            retry_at: Some(Instant::now()),
            turn: None,
            reported: None,
        }
    }

    /// Runs to the end of the connection. By reference: by value the driver would have two places in its task.
    pub(super) async fn run(&mut self) {
        let Setup { settings, proven, .. } = &self.setup;
        let mut version = first_version(settings.protocol, proven.get());
        let mut attempt = Attempt::Resume;
        loop {
            let Setup { settings, tls, purpose, ledger, .. } = &self.setup;
            let (tls, ledger) = (tls.clone(), ledger.as_ref());
            let mut wire = version.open(&Opening { settings, tls, purpose, ledger, attempt });
            match self.drive(version, &mut wire).await {
                Ending::Anew(next, how) => (version, attempt) = (next, how),
                Ending::Over => break,
            }
            drop(wire);
            self.on_library_gone(attempt);
            // The reason is not to wait for the next thing that happens.
            if self.emit().await.is_err() {
                break;
            }
        }
        self.outbound.abandon(&mut self.out);
        self.settle().await;
        self.out.push(BrokerEvent::Closed);
        // If nobody listens the process ends.
        let _nobody_listens = self.emit().await;
    }

    /// Runs the connection in one version.
    async fn drive(&mut self, version: Version, wire: &mut Wire) -> Ending {
        loop {
            let wake = self.wake(wire).await;
            if let Err(ending) = self.turn(wake, version, wire) {
                return ending;
            }
            if let Err(ending) = self.emit().await {
                return ending;
            }
        }
    }

    /// Runs the event loop until there is something to do.
    async fn wake(&mut self, wire: &mut Wire) -> Wake {
        let running = self.stage == Stage::Running;
        tokio::select! {
            biased;
            // First, because it ends seldom, and others wait for it.
            committed = next_commit(&mut self.commits) => Wake::Commit(committed),
            signal = wire.signals.next(), if self.retry_at.is_none() => Wake::Signal(signal.unwrap_or(Signal::Closed)),
            answer = self.outbound.next_answer() => Wake::Answer(answer),
            command = self.commands.next(), if running => Wake::Command(command),
            turn = turn(self.retry_at, self.setup.turns.as_ref()) => Wake::Retry(turn),
            () = until(self.stage.end()) => Wake::Overdue,
        }
    }

    /// Takes note of everything that has happened and acts on it.
    fn turn(&mut self, wake: Wake, version: Version, wire: &mut Wire) -> Result<(), Ending> {
        let client = &*wire.client;
        let (mut answer, mut command) = (None, None);
        match wake {
            Wake::Signal(signal) => self.on_signal(signal, version, client)?,
            Wake::Answer(first) => answer = Some(first),
            Wake::Commit(committed) => self.on_commit(committed),
            Wake::Command(first) => command = Some(first.unwrap_or(BrokerCommand::Disconnect)),
            Wake::Retry(turn) => (self.retry_at, self.turn) = (None, turn),
            Wake::Overdue => return Err(Ending::Over),
        }
        // The signals first: commands must find the link as the event loop knows it.
        for _ in 0..SIGNALS_PER_TURN {
            if self.retry_at.is_some() {
                break;
            }
            let Some(Some(signal)) = wire.signals.next().now_or_never() else { break };
            self.on_signal(signal, version, client)?;
        }
        while let Some(answer) = answer.take().or_else(|| self.outbound.try_answer()) {
            self.outbound.answered(answer, &mut self.out);
        }
        let now = Instant::now();
        for _ in 0..COMMANDS_PER_TURN {
            if self.stage != Stage::Running {
                break;
            }
            let Some(command) = command.take().or_else(|| self.commands.try_recv().ok()) else { break };
            self.on_command(now, command, client);
        }
        self.go_on(client)
    }

    /// Sends what may be sent, and ends what has to end.
    fn go_on(&mut self, client: &dyn Client) -> Result<(), Ending> {
        match (self.link, self.stage) {
            (Link::Up { offer, window, .. }, stage) => {
                let others = self.setup.ledger.as_ref().map_or(0, Ledger::of_an_earlier_process);
                self.outbound.hand_over(client, &offer, window.less(others), &mut self.out);
                if let Stage::Flushing { until } = stage
                    && self.outbound.is_idle()
                    && self.setup.ledger.as_ref().is_none_or(Ledger::is_settled)
                {
                    client.disconnect();
                    self.stage = Stage::Leaving { until };
                }
                Ok(())
            }
            (Link::Down, Stage::Running) => Ok(()),
            // The broker may have taken the CONNECT already. A will in it is taken back only by DISCONNECT.
            (Link::Down, Stage::Flushing { .. }) if self.retry_at.is_none() && self.setup.purpose.has_will() => Ok(()),
            // Nothing can be sent: do not wait for a broker that may never come.
            (Link::Down, Stage::Flushing { .. } | Stage::Leaving { .. }) => Err(Ending::Over),
        }
    }

    fn on_command(&mut self, now: Instant, command: BrokerCommand, client: &dyn Client) {
        match command {
            BrokerCommand::Publish { token, message, expires_in } => {
                let expires = expires_in.map(|expires_in| now + expires_in);
                self.outbound.push(now, Publish::new(token, message, expires));
            }
            BrokerCommand::Subscribe { token, filter, qos, id } => {
                self.outbound.push_request(Request::Subscribe { token, filter, qos, id });
            }
            BrokerCommand::Unsubscribe { filter } => self.outbound.push_request(Request::Unsubscribe { filter }),
            BrokerCommand::Ack { delivery } => {
                if let Some((qos, packet)) = self.inbound.acknowledged(delivery) {
                    client.acknowledge(qos, packet);
                }
            }
            BrokerCommand::Disconnect => self.stage = Stage::Flushing { until: now + LEAVE_WITHIN },
        }
    }

    fn on_signal(&mut self, signal: Signal, version: Version, client: &dyn Client) -> Result<(), Ending> {
        match signal {
            Signal::Up { session_present, offer, window } => self.on_up(session_present, offer, window, version),
            Signal::Failed(failure) => return self.on_failure(&failure, version),
            Signal::Message(incoming) => self.on_message(incoming, client),
            Signal::Unusable { packet, qos } => client.acknowledge(qos, packet),
            Signal::Settled { packet } => self.inbound.settled(packet),
            Signal::Closed => return Err(Ending::Over),
        }
        Ok(())
    }

    fn on_up(&mut self, session_present: bool, offer: BrokerOffer, window: Window, version: Version) {
        let now = Instant::now();
        let Setup { conn, settings, purpose, proven, .. } = &self.setup;
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
        self.turn = None;
        self.standing = Standing::Accepted;
        self.link = Link::Up { offer, window, since: now };
        self.reported = None;
        if !session_present {
            self.inbound.forget();
            self.outbound.session_lost();
        }
        if let Some(ledger) = &self.setup.ledger {
            if !session_present {
                ledger.session_lost();
            }
            match purpose {
                Purpose::Gateway => ledger.session_begins(),
                // Whether a client's session goes on is for its clean flag to say.
                Purpose::Client(_) | Purpose::Probe => {}
            }
        }
        let dropped = self.outbound.drop_outdated(now, &mut self.out);
        if dropped > 0 {
            warn!(conn = conn.0, "dropped {dropped} QoS 0 messages that waited too long for the broker");
        }
        self.out.push(BrokerEvent::Up { session_present, offer });
    }

    fn on_failure(&mut self, failure: &Failure, version: Version) -> Result<(), Ending> {
        let now = Instant::now();
        let (moment, attempt) = match self.link {
            Link::Up { since, .. } => {
                self.inbound.disconnected();
                let early = now.duration_since(since) < STABLE;
                if !early {
                    self.backoff.reset();
                    self.cut_short = 0;
                }
                let suspicious = early && failure.may_be_the_packet();
                self.cut_short += u32::from(suspicious);
                (Moment::Up, if suspicious { self.broke_early() } else { Attempt::Resume })
            }
            Link::Down => {
                self.outbound.excuse();
                self.setup.ledger.iter().for_each(Ledger::excuse);
                (Moment::Connecting, Attempt::Resume)
            }
        };
        // What is too large would be repeated in vain. Handed over again it is refused.
        let attempt = if matches!(failure, Failure::TooLarge) { Attempt::Afresh } else { attempt };
        (self.link, self.turn) = (Link::Down, None);
        if self.stage != Stage::Running {
            return Err(Ending::Over);
        }
        let Setup { conn, settings, proven, .. } = &self.setup;
        let mut reason = failure.explain(moment, version, settings);
        if self.cut_short >= CUT_SHORT_OFTEN && moment == Moment::Up {
            reason.push_str(&cut_short_hint(settings));
        }
        let next = next_version(settings.protocol, version, proven.get(), moment, failure);
        if next == Version::V311 && version == Version::V5 {
            debug!(conn = conn.0, "{reason}; trying {next}");
            self.retry_at = Some(now);
            return Err(Ending::Anew(next, attempt));
        }
        let pause = self.backoff.pause();
        debug!(conn = conn.0, "{reason}; next attempt in {pause:?}");
        if attempt == Attempt::Afresh {
            let cause = match failure {
                Failure::TooLarge => "a message under way has become too large for the broker",
                Failure::Io(_)
                | Failure::Tls(_)
                | Failure::Refused(_)
                | Failure::Closed
                | Failure::TimedOut
                | Failure::Silent
                | Failure::Disconnected { .. }
                | Failure::NotKept(_)
                | Failure::Garbage(_) => {
                    "the broker ends one connection after the other with the same packet under way"
                }
            };
            warn!(conn = conn.0, "{cause}: the session begins anew, and what was under way is sent again ({reason})");
        }
        self.retry_at = Some(now + pause);
        self.report(now, moment, reason, failure);
        // A connection that breaks while the library still repeats what the one before has left makes it refuse its own
        // PUBRELs and mix up the order. The ledger knows what is under way, and tells it to a new one.
        let is_worn_out = moment == Moment::Up && self.setup.ledger.is_some();
        match attempt {
            Attempt::Resume if next == version && !is_worn_out => Ok(()),
            Attempt::Resume | Attempt::Afresh => Err(Ending::Anew(next, attempt)),
        }
    }

    /// Asks who is suspected of what the broker ended the connection for.
    fn broke_early(&mut self) -> Attempt {
        let attempt = self.outbound.broke_early();
        let earlier = self.setup.ledger.as_ref().is_some_and(Ledger::broke_early);
        if earlier { Attempt::Afresh } else { attempt }
    }

    /// The library is no more, and has answered everything. What it had under way the next one goes on with, unless it
    /// is to begin afresh.
    fn on_library_gone(&mut self, attempt: Attempt) {
        while let Some(answer) = self.outbound.try_answer() {
            self.outbound.answered(answer, &mut self.out);
        }
        match (attempt, &self.setup.ledger) {
            (Attempt::Afresh, Some(ledger)) => ledger.forget(),
            (Attempt::Resume, _) | (Attempt::Afresh, None) => {}
        }
    }

    fn on_commit(&mut self, committed: Committed) {
        let conn = self.setup.conn.0;
        match committed {
            Ok(settled) => {
                let settled = settled.into_iter();
                self.out.extend(settled.map(|(token, outcome)| BrokerEvent::Published { token, outcome }));
            }
            Err(error) => warn!(conn, "cannot keep what is under way at QoS 2, and will try again: {error}"),
        }
    }

    /// Lets the last commit end.
    async fn settle(&mut self) {
        let until = self.stage.end().unwrap_or_else(|| Instant::now() + LEAVE_WITHIN);
        while self.setup.ledger.as_ref().is_some_and(|ledger| !ledger.is_settled()) {
            match timeout_at(until, next_commit(&mut self.commits)).await {
                Ok(committed) => self.on_commit(committed),
                Err(_) => return,
            }
        }
    }

    /// Tells the core that the connection is down. Whether a client may connect hangs on each single attempt; of the
    /// gateway's own connection the core hears at once, when the reason changes, and now and then.
    fn report(&mut self, now: Instant, moment: Moment, reason: String, failure: &Failure) {
        match self.setup.purpose {
            Purpose::Client(_) => {}
            Purpose::Gateway | Purpose::Probe => {
                let known = self.reported.as_ref().is_some_and(|(at, former)| {
                    moment == Moment::Connecting && *former == reason && now.duration_since(*at) < REMINDER
                });
                if known {
                    return;
                }
                self.reported = Some((now, reason.clone()));
            }
        }
        self.out.push(BrokerEvent::Down { reason, refusal: failure.refusal(self.standing) });
    }

    fn on_message(&mut self, incoming: Incoming, client: &dyn Client) {
        let Incoming { packet, duplicate, message, subscriptions } = incoming;
        let origin = (message.qos == Qos::ExactlyOnce).then_some(Origin { packet: PacketId(packet), duplicate });
        let delivery = match message.qos {
            Qos::AtMostOnce => None,
            qos @ (Qos::AtLeastOnce | Qos::ExactlyOnce) => match self.inbound.arrived(packet, qos, duplicate) {
                Arrival::New(delivery) => Some(delivery),
                Arrival::Known => return,
                Arrival::Acknowledge => return client.acknowledge(qos, packet),
            },
        };
        self.out.push(BrokerEvent::Message { delivery, origin, message, subscriptions });
    }

    /// Sends the batch. While the core does not take it, everything here rests.
    async fn emit(&mut self) -> Result<(), Ending> {
        if self.out.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.out);
        self.setup.events.send((self.setup.conn, batch)).await.map_err(|_| Ending::Over)
    }
}

impl Stage {
    /// When the connection ends, in order or not.
    fn end(self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Flushing { until } | Self::Leaving { until } => Some(until),
        }
    }
}

/// Without a ledger for ever.
async fn next_commit(commits: &mut Option<Commits>) -> Committed {
    match commits {
        Some(commits) => commits.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the time and then for the turn.
async fn turn(at: Option<Instant>, turns: Option<&Turns>) -> Option<Turn> {
    until(at).await;
    match turns {
        Some(turns) => Some(turns.next().await),
        None => None,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
