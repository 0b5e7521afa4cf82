//! The task behind a connection: one for its whole life, whatever becomes of the TCP connection.
//!
//! The library's event loop (`pump`) and the handling of its signals run in this one task, so they alternate and never
//! overlap: when a command is carried out, all that the event loop has noticed so far has been taken note of. An
//! acknowledgement thus never goes to another connection than the one its message came on. The event loop's future is
//! never dropped while the connection is in use; between its steps it may rest as long as the core does not take its
//! events, which stops the reading from the broker, as MQTT's flow control wants it.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::client::{Answer, Attempt, Client, Incoming, Purpose, Signal, Version, Window, Wire};
use super::failure::{Failure, Moment};
use super::inbound::{Arrival, Inbound};
use super::outbound::{Outbound, Publish, Request};
use super::settings::{BrokerSettings, Protocol};
use crate::core::{BrokerCommand, BrokerEvent, BrokerOffer, ConnId};
use crate::wire::Qos;

/// A connection that held this long was a good one: the next attempt after it comes soon.
const STABLE: Duration = Duration::from_secs(30);

/// A connection that stays down is reported again after this time.
const REMINDER: Duration = Duration::from_secs(60);

/// Commands carried out before the event loop gets its turn.
const COMMANDS_PER_TURN: usize = 256;

pub(super) struct Driver {
    pub(super) conn: ConnId,
    pub(super) settings: BrokerSettings,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) events: mpsc::Sender<(ConnId, Vec<BrokerEvent>)>,
    pub(super) commands: mpsc::UnboundedReceiver<BrokerCommand>,
    pub(super) outbound: Outbound,
    inbound: Inbound,
    /// Events for the core, sent as one batch at the end of each turn.
    out: Vec<BrokerEvent>,
    stage: Stage,
    link: Link,
    backoff: Backoff,
    /// When to try again, and how.
    retry: Option<(Instant, Attempt)>,
    /// The last [`BrokerEvent::Down`], while it holds.
    reported: Option<(Instant, String)>,
    /// The version that the broker was last seen to speak.
    proven: Option<Version>,
}

/// How far the connection is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The core has asked to disconnect; what was submitted before is being sent.
    Flushing,
    /// DISCONNECT has been asked for.
    Leaving,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Down,
    Up { offer: BrokerOffer, window: Window, since: Instant },
}

/// How a turn ends if not by another one.
enum Ending {
    /// The broker may speak this version instead.
    Switch(Version),
    Over,
}

/// What woke the driver.
enum Wake {
    Signal(Signal),
    Answer(Answer),
    /// `None`: the handle is gone.
    Command(Option<BrokerCommand>),
    Retry,
}

impl Driver {
    pub(super) fn new(
        conn: ConnId,
        settings: BrokerSettings,
        tls: Option<Arc<ClientConfig>>,
        events: mpsc::Sender<(ConnId, Vec<BrokerEvent>)>,
        commands: mpsc::UnboundedReceiver<BrokerCommand>,
        outbound: Outbound,
    ) -> Self {
        Self {
            conn,
            settings,
            tls,
            events,
            commands,
            outbound,
            inbound: Inbound::default(),
            out: Vec::new(),
            stage: Stage::Running,
            link: Link::Down,
            backoff: Backoff::new(),
            retry: Some((Instant::now(), Attempt::Resume)),
            reported: None,
            proven: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut version = Version::first(self.settings.protocol);
        loop {
            let mut wire = version.open(&self.settings, self.tls.clone(), Purpose::Session);
            match self.drive(version, &mut wire).await {
                Ending::Switch(other) => version = other,
                Ending::Over => break,
            }
        }
        self.outbound.abandon(&mut self.out);
        self.emit_if_room();
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
            // Ends only after `Signal::Closed`, which ends the driver before this is polled again.
            () = &mut wire.pump => Wake::Signal(Signal::Closed),
            Some(signal) = wire.signals.recv() => Wake::Signal(signal),
            answer = self.outbound.next_answer() => Wake::Answer(answer),
            command = self.commands.recv(), if running => Wake::Command(command),
            () = until(self.retry.map(|(at, _)| at)) => Wake::Retry,
        }
    }

    /// Takes note of everything that has happened and acts on it.
    fn turn(&mut self, wake: Wake, version: Version, wire: &mut Wire) -> Result<(), Ending> {
        let client = &*wire.client;
        let (mut answer, mut command) = (None, None);
        match wake {
            Wake::Signal(signal) => self.on_signal(signal, version, client)?,
            Wake::Answer(first) => answer = Some(first),
            Wake::Command(first) => command = Some(first.unwrap_or(BrokerCommand::Disconnect)),
            Wake::Retry => {
                if let Some((_, attempt)) = self.retry.take() {
                    // There is room: the event loop waits for this.
                    let _sent = wire.attempts.try_send(attempt);
                }
            }
        }
        // The signals first: commands must find the link as the event loop knows it.
        while let Ok(signal) = wire.signals.try_recv() {
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
        match self.link {
            Link::Up { offer, window, .. } => {
                self.outbound.hand_over(client, &offer, window, &mut self.out);
                if self.stage == Stage::Flushing && self.outbound.is_idle() {
                    client.disconnect();
                    self.stage = Stage::Leaving;
                }
                Ok(())
            }
            Link::Down if self.stage == Stage::Running => Ok(()),
            // Nothing can be sent: do not wait for a broker that may never come.
            Link::Down => Err(Ending::Over),
        }
    }

    fn on_command(&mut self, now: Instant, command: BrokerCommand, client: &dyn Client) {
        match command {
            BrokerCommand::Publish { token, message } => self.outbound.push(now, Publish::new(token, message)),
            BrokerCommand::Subscribe { token, filter, qos, id } => {
                self.outbound.push_request(Request::Subscribe { token, filter, qos, id });
            }
            BrokerCommand::Unsubscribe { filter } => self.outbound.push_request(Request::Unsubscribe { filter }),
            BrokerCommand::Ack { delivery } => {
                if let Some((qos, packet)) = self.inbound.acknowledged(delivery) {
                    client.acknowledge(qos, packet);
                }
            }
            BrokerCommand::Disconnect => self.stage = Stage::Flushing,
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
        info!(conn = self.conn.0, session_present, "connected to {} ({version})", self.settings.url);
        self.link = Link::Up { offer, window, since: now };
        self.proven = Some(version);
        self.reported = None;
        if !session_present {
            self.inbound.forget();
            self.outbound.session_lost();
        }
        let dropped = self.outbound.drop_outdated(now, &mut self.out);
        if dropped > 0 {
            warn!(conn = self.conn.0, "dropped {dropped} QoS 0 messages that waited too long for the broker");
        }
        self.out.push(BrokerEvent::Up { session_present, offer });
    }

    fn on_failure(&mut self, failure: &Failure, version: Version) -> Result<(), Ending> {
        let now = Instant::now();
        let (moment, attempt) = match self.link {
            Link::Up { since, .. } => {
                self.inbound.disconnected();
                let attempt = if now.duration_since(since) < STABLE {
                    self.outbound.broke_early()
                } else {
                    self.backoff.reset();
                    Attempt::Resume
                };
                (Moment::Up, attempt)
            }
            Link::Down => (Moment::Connecting, Attempt::Resume),
        };
        self.link = Link::Down;
        if self.stage != Stage::Running {
            return Err(Ending::Over);
        }
        let reason = failure.explain(moment, version, &self.settings);
        let next = next_version(self.settings.protocol, version, self.proven, moment, failure);
        if next == Version::V311 && version == Version::V5 {
            debug!(conn = self.conn.0, "{reason}; trying {next}");
            self.retry = Some((now, attempt));
            return Err(Ending::Switch(next));
        }
        let pause = self.backoff.pause();
        debug!(conn = self.conn.0, "{reason}; next attempt in {pause:?}");
        self.retry = Some((now + pause, attempt));
        self.report(now, moment, reason);
        if next == version { Ok(()) } else { Err(Ending::Switch(next)) }
    }

    /// Tells the core that the connection is down: at once, when the reason changes, and now and then.
    fn report(&mut self, now: Instant, moment: Moment, reason: String) {
        let known = self.reported.as_ref().is_some_and(|(at, former)| {
            moment == Moment::Connecting && *former == reason && now.duration_since(*at) < REMINDER
        });
        if !known {
            self.reported = Some((now, reason.clone()));
            self.out.push(BrokerEvent::Down { reason });
        }
    }

    fn on_message(&mut self, incoming: Incoming, client: &dyn Client) {
        let Incoming { packet, duplicate, message, subscriptions } = incoming;
        let delivery = match message.qos {
            Qos::AtMostOnce => None,
            qos @ (Qos::AtLeastOnce | Qos::ExactlyOnce) => match self.inbound.arrived(packet, qos, duplicate) {
                Arrival::New(delivery) => Some(delivery),
                Arrival::Known => return,
                Arrival::Acknowledge => return client.acknowledge(qos, packet),
            },
        };
        self.out.push(BrokerEvent::Message { delivery, message, subscriptions });
    }

    /// Sends the batch. While the core does not take it, everything here rests.
    async fn emit(&mut self) -> Result<(), Ending> {
        match self.stage {
            Stage::Running if self.out.is_empty() => Ok(()),
            Stage::Running => {
                let batch = std::mem::take(&mut self.out);
                self.events.send((self.conn, batch)).await.map_err(|_| Ending::Over)
            }
            Stage::Flushing | Stage::Leaving => {
                self.emit_if_room();
                Ok(())
            }
        }
    }

    /// Sends the batch if there is room: whoever asked to disconnect may have stopped listening.
    fn emit_if_room(&mut self) {
        if !self.out.is_empty() {
            let batch = std::mem::take(&mut self.out);
            if self.events.try_send((self.conn, batch)).is_err() {
                debug!(conn = self.conn.0, "nobody takes the last events of the connection");
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Chooses the version of the next attempt after a failure.
pub(super) fn next_version(
    protocol: Protocol,
    version: Version,
    proven: Option<Version>,
    moment: Moment,
    failure: &Failure,
) -> Version {
    match (protocol, moment) {
        (Protocol::V5 | Protocol::V311, _) | (Protocol::Auto, Moment::Up) => return version,
        (Protocol::Auto, Moment::Connecting) => {}
    }
    let refused_outright = failure.refuses_the_version();
    match (version, proven) {
        // A broker that has spoken MQTT 5 and closes now is starting or stopping, not growing older.
        (Version::V5, Some(Version::V5)) if !refused_outright => Version::V5,
        (Version::V5, _) if failure.may_be_the_version() => Version::V311,
        (Version::V5, _) => Version::V5,
        (Version::V311, Some(Version::V311)) if !refused_outright => Version::V311,
        (Version::V311, _) => Version::V5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::BrokerReason;

    fn next(version: Version, proven: Option<Version>, failure: &Failure) -> Version {
        next_version(Protocol::Auto, version, proven, Moment::Connecting, failure)
    }

    #[test]
    fn auto_falls_back_when_the_broker_may_not_speak_mqtt_5() {
        let refused = Failure::Refused(BrokerReason(0x84));
        let unreachable = Failure::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(next(Version::V5, None, &refused), Version::V311);
        assert_eq!(next(Version::V5, None, &Failure::Closed), Version::V311);
        assert_eq!(next(Version::V5, None, &Failure::Refused(BrokerReason(0x87))), Version::V5);
        assert_eq!(next(Version::V5, None, &unreachable), Version::V5);
    }

    #[test]
    fn auto_remembers_what_worked() {
        let refused = Failure::Refused(BrokerReason(0x84));
        assert_eq!(next(Version::V5, Some(Version::V5), &Failure::Closed), Version::V5);
        assert_eq!(next(Version::V311, Some(Version::V311), &Failure::Closed), Version::V311);
        assert_eq!(next(Version::V311, Some(Version::V311), &refused), Version::V5);
        assert_eq!(next(Version::V311, None, &Failure::Closed), Version::V5);
    }

    #[test]
    fn a_chosen_version_stays() {
        let refused = Failure::Refused(BrokerReason(0x84));
        for (protocol, version) in [(Protocol::V5, Version::V5), (Protocol::V311, Version::V311)] {
            assert_eq!(next_version(protocol, version, None, Moment::Connecting, &refused), version);
        }
    }
}
