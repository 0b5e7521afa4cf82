//! The loop that owns the core: what comes from links, broker and clock goes in, what comes out is carried out.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant as Clock, sleep_until};
use tracing::{debug, error, info, warn};

use super::connections::Connections;
use super::control::{self, Promises, Requests};
use super::gathering::Gathering;
use super::keeping::{Keeping, Legacy};
use super::link_log::LinkLog;
use super::signals::{Signal, Signals};
use super::store_words::counted;
use super::trace::{trace_incoming, trace_outgoing};
use super::words::Words;
use crate::broker::Submitted;
use crate::core::rates::TokenBucket;
use crate::core::{
    BrokerEvent, ConnId, Gateway, Input, Instant, LinkId, LinkState, Output, Outputs, Peer, Restored, Settings,
};
use crate::links::{Frame, LinkEvent, Links, SendError, Unsent};
use crate::ops::control::{Answer, Asked, Request};
use crate::store::StoreEvent;

/// How long at the start the links wait to be heard until the broker has answered or failed to: a device that connects
/// in the first moments would be told "congestion", and stay away for minutes (MQTT-SN 1.2 §7.2, T_WAIT).
const BROKER_FIRST: Duration = Duration::from_secs(3);

/// How long the broker connections may take to end in order. The program must be gone within five seconds; what is left
/// is for the last lines of the log.
const FAREWELL: Duration = Duration::from_millis(3_500);

/// How long the last writes to the disk may take. With the farewell less than five seconds.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Batches of the connections handled in one turn: in transparent mode each has its own, and their answers to devices go
/// out together.
const BROKER_BATCHES_PER_TURN: usize = 64;

/// Link events handled before the broker, the clock and the signals get their turn.
const LINK_EVENTS_PER_TURN: usize = 8;

/// How the gateway ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// In order: the connections to the broker were closed, or there were none.
    InOrder,
    /// The broker did not take its leave in time.
    Late,
    /// A second signal cut it short.
    Hurried,
    /// A task that should never end did.
    Broken(String),
}

/// Where the events come from.
pub(super) struct Sources {
    pub(super) links: mpsc::Receiver<LinkEvent>,
    pub(super) broker: mpsc::Receiver<(ConnId, Vec<BrokerEvent>)>,
    pub(super) requests: Requests,
    pub(super) signals: Signals,
    /// Told how much they bring.
    pub(super) gathering: Arc<Gathering>,
}

/// Everything that the core acts through.
pub(super) struct Driver {
    gateway: Gateway,
    links: Links,
    connections: Connections,
    keeping: Keeping,
    /// When this process began.
    origin: Clock,
    /// The same moment in the core's time, which goes on across restarts: by the system's clock, read this once.
    began: Instant,
    /// Reused by every input.
    outputs: Outputs,
    /// Answers to what the connections did not take; they go in before anything else.
    answers: VecDeque<(ConnId, BrokerEvent)>,
    /// Frames for single devices, since the loop last waited.
    sent: usize,
    promises: Promises,
    words: Words,
    link_log: LinkLog,
    losses: Losses,
    broker_remedy: Option<&'static str>,
}

/// Frames for devices that could not be sent.
struct Losses {
    frames: u64,
    commands: u64,
    rate: TokenBucket,
}

impl Driver {
    /// Takes over the open links and the broker connections. `broker_remedy` is said once, when there is no broker.
    pub(super) fn new(
        settings: Settings,
        links: Links,
        connections: Connections,
        (keeping, legacy): (Keeping, Legacy),
        broker_remedy: Option<&'static str>,
    ) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let link_log = LinkLog::new(settings.timers.link_wait);
        let mut driver = Self {
            gateway: Gateway::new(settings),
            links,
            connections,
            keeping,
            origin: Clock::now(),
            began: Instant::from_origin(since_epoch),
            outputs: Outputs::default(),
            answers: VecDeque::new(),
            sent: 0,
            promises: Promises::default(),
            words: Words::new(),
            link_log,
            losses: Losses { frames: 0, commands: 0, rate: TokenBucket::new(1) },
            broker_remedy,
        };
        driver.restore(legacy);
        driver
    }

    /// Runs until a signal asks for the end, then takes leave of the broker.
    pub(super) async fn run(mut self, mut sources: Sources) -> Ended {
        let mut events = Vec::with_capacity(LINK_EVENTS_PER_TURN);
        let mut batches = Vec::with_capacity(BROKER_BATCHES_PER_TURN);
        let mut received = 0;
        let mut deaf_until = Some(Clock::now() + BROKER_FIRST);
        let mut alarm = pin!(sleep_until(self.origin));
        loop {
            let deadline = Instant::earliest([self.gateway.next_deadline(), self.words.due()]);
            if let Some(deadline) = deadline.map(|deadline| self.origin + (deadline - self.began))
                && (deadline < alarm.deadline() || alarm.is_elapsed())
            {
                // Never moved back, which nearly every frame would ask for: too early does no harm.
                alarm.as_mut().reset(deadline);
            }
            self.keeping.submit();
            self.flush();
            sources.gathering.count(std::mem::take(&mut received), std::mem::take(&mut self.sent));
            // Unbiased, so that no source starves another: each is as likely to be the next as any that is ready.
            tokio::select! {
                // None come when the tasks of all links have ended, and that is told by `next_ended`.
                1.. = sources.links.recv_many(&mut events, LINK_EVENTS_PER_TURN), if deaf_until.is_none() => {
                    let now = self.now();
                    received = events.iter().map(frames).sum();
                    events.drain(..).for_each(|event| self.on_link_event(now, event));
                }
                1.. = sources.broker.recv_many(&mut batches, BROKER_BATCHES_PER_TURN) => {
                    for (conn, batch) in batches.drain(..) {
                        // Its first word is that it is up, or why not.
                        deaf_until = deaf_until.filter(|_| conn != ConnId::OWN);
                        self.on_broker_events(conn, batch);
                    }
                }
                event = self.keeping.next_event() => self.on_store_event(event),
                asked = sources.requests.next() => self.on_asked(asked),
                () = self.connections.own_ended() => return Ended::Broken("the task of the broker connection".to_owned()),
                link = self.links.next_ended() => return Ended::Broken(format!("a task of {}", self.links.describe(link))),
                () = sleep_until(deaf_until.unwrap_or(self.origin)), if deaf_until.is_some() => deaf_until = None,
                () = &mut alarm, if deadline.is_some() => {
                    let now = self.now();
                    if self.words.due().is_some_and(|due| due <= now) {
                        self.words.sum_up(now);
                    }
                    self.handle(now, Input::Deadline, &[]);
                }
                signal = sources.signals.next() => match signal {
                    Signal::Stop(name) => {
                        info!("{name}: stopping");
                        return self.take_leave(sources).await;
                    }
                    Signal::Reload => {
                        warn!("SIGHUP: reloading the configuration is not in this version yet; restart the gateway");
                    }
                },
            }
        }
    }

    /// Ends the broker connections in order; what devices still send is no longer read.
    async fn take_leave(mut self, sources: Sources) -> Ended {
        let ended = self.say_goodbye(sources).await;
        self.words.close(self.now());
        // What the disk does not take in the time that is left is lost with the process, as in a power cut.
        let closed = tokio::task::spawn_blocking(move || self.keeping.close());
        let _late = tokio::time::timeout(LAST_WRITE, closed).await;
        ended
    }

    async fn say_goodbye(&mut self, mut sources: Sources) -> Ended {
        self.handle(self.now(), Input::Shutdown, &[]);
        let end = Clock::now() + FAREWELL;
        loop {
            self.keeping.submit();
            self.flush();
            if self.connections.is_empty() {
                return Ended::InOrder;
            }
            tokio::select! {
                event = self.keeping.next_event() => self.on_store_event(event),
                Some((conn, batch)) = sources.broker.recv() => self.on_broker_events(conn, batch),
                signal = sources.signals.next() => match signal {
                    Signal::Stop(_) => return Ended::Hurried,
                    Signal::Reload => {}
                },
                () = sleep_until(end) => return Ended::Late,
            }
        }
    }

    fn now(&self) -> Instant {
        self.began + self.origin.elapsed()
    }

    fn on_link_event(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::Frames(batch) => {
                for Frame { from, cast, signal, bytes } in batch.iter() {
                    trace_incoming(bytes, signal, || self.links.describe_peer(from));
                    self.handle(now, Input::Frame { from, cast, bytes }, bytes);
                }
            }
            LinkEvent::Up { link, .. } => self.on_link_state(now, &event, link, LinkState::Up),
            LinkEvent::Down { link, .. } => self.on_link_state(now, &event, link, LinkState::Down),
            LinkEvent::Joined { .. }
            | LinkEvent::NotJoined { .. }
            | LinkEvent::Text { .. }
            | LinkEvent::Overflowed { .. }
            | LinkEvent::Undelivered { .. }
            | LinkEvent::Noise { .. } => {
                self.link_log.tell(now, &event, &self.links);
            }
        }
    }

    fn on_link_state(&mut self, now: Instant, event: &LinkEvent, link: LinkId, state: LinkState) {
        self.link_log.tell(now, event, &self.links);
        self.handle(now, Input::Link { link, state }, &[]);
    }

    /// Takes up what a former process left.
    fn restore(&mut self, Legacy { records, under_way }: Legacy) {
        if records.is_empty() {
            return;
        }
        let now = self.now();
        let Restored { sessions, subscriptions, queued, kept, dropped } =
            self.gateway.restore(now, records, under_way, &mut self.outputs);
        info!(
            "taken up from the store: {} with {}, {} for devices and {kept} for the broker",
            counted(sessions, "device", "devices"),
            counted(subscriptions, "subscription", "subscriptions"),
            counted(queued, "message", "messages"),
        );
        if dropped > 0 {
            warn!(
                "dropped from the store: {}",
                counted(dropped, "record that belongs to nothing", "records that belong to nothing")
            );
        }
        self.carry_out(now, &[]);
    }

    fn on_store_event(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Stored(token) => {
                self.promises.on_stored(token);
                self.handle(self.now(), Input::Stored(token), &[]);
            }
            StoreEvent::Failing { reason, remedy } => {
                error!("the store cannot write: {reason}; {remedy}");
                warn!("{}", self.keeping.meanwhile());
                self.promises.on_failing(&reason);
                self.handle(self.now(), Input::StoreFailing, &[]);
            }
            StoreEvent::Recovered => info!("the store writes again; nothing that was accepted is missing"),
        }
    }

    /// Answers those who run the gateway.
    fn on_asked(&mut self, Asked { request, answer: asker }: Asked) {
        let now = self.now();
        let address = |peer: Peer| self.links.describe_peer(peer);
        let answer = match request {
            Request::Sessions { from } => control::sessions(&self.gateway, now, from, address),
            Request::Session { client_id } => control::session(&self.gateway, now, &client_id, address),
            Request::Forget { client_id } => match self.gateway.client(&client_id) {
                None => Answer::NoSession,
                Some(client) => {
                    let answer = Answer::Forgotten { kept_for_broker: client.status.kept };
                    self.handle(now, Input::Forget { client_id: &client_id }, &[]);
                    return self.promises.answer(asker, answer, self.keeping.written());
                }
            },
        };
        // Who asked may have gone.
        let _ = asker.send(answer);
    }

    fn on_broker_events(&mut self, conn: ConnId, batch: Vec<BrokerEvent>) {
        let now = self.now();
        for event in batch {
            let is_up = conn == ConnId::OWN && matches!(event, BrokerEvent::Up { .. });
            if let BrokerEvent::Down { reason, refusal: _ } = &event
                && conn == ConnId::OWN
            {
                self.keeping.on_down();
                warn!("no connection to the broker: {reason}; trying again");
                if let Some(remedy) = self.broker_remedy.take() {
                    info!("{remedy}");
                }
            }
            self.connections.on_event(conn, &event);
            self.handle(now, Input::Broker { conn, event }, &[]);
            if is_up {
                self.keeping.on_up();
            }
        }
    }

    /// Gives one input to the core and carries out what it wants, and what follows from that. `frame` is the input's.
    fn handle(&mut self, now: Instant, input: Input<'_>, frame: &[u8]) {
        self.gateway.handle(now, input, &mut self.outputs);
        self.carry_out(now, frame);
        // What a connection did not take it answers at once, and the core may have something to say to that.
        while let Some((conn, event)) = self.answers.pop_front() {
            self.connections.on_event(conn, &event);
            self.gateway.handle(now, Input::Broker { conn, event }, &mut self.outputs);
            self.carry_out(now, &[]);
        }
    }

    /// Sends what the links have queued. What does not leave is lost.
    fn flush(&mut self) {
        for Unsent { error, to, frames } in self.links.flush() {
            let now = self.now();
            self.losses.frames(now, frames, error, || self.links.describe_peer(to));
        }
    }

    fn carry_out(&mut self, now: Instant, frame_in: &[u8]) {
        let Self { outputs, links, connections, keeping, answers, sent, words, losses, .. } = self;
        let (queue, frames) = outputs.drain();
        for output in queue {
            match output {
                Output::Send { to, frame } => {
                    let octets = frames.octets(&frame);
                    trace_outgoing(octets, || links.describe_peer(to));
                    *sent += 1;
                    if let Err(error) = links.send(to, octets) {
                        losses.frames(now, 1, error, || links.describe_peer(to));
                    }
                }
                Output::Broadcast { link, radius, frame } => {
                    let octets = frames.octets(&frame);
                    trace_outgoing(octets, || format!("everyone on {}", links.describe(link)));
                    if let Err(error) = links.broadcast(link, radius, octets) {
                        losses.frames(now, 1, error, || links.describe(link));
                    }
                }
                Output::Broker { conn, command } => match connections.submit(conn, command) {
                    Submitted::Queued => {}
                    Submitted::Answered(event) => answers.push_back((conn, event)),
                    Submitted::Dropped => losses.command(now),
                    // It happens at the end only, when the core still has something to say.
                    Submitted::TooLate => {}
                },
                Output::Connect { conn, spec } => {
                    let keeper = (!spec.clean_session).then(|| keeping.keeper(spec.session)).flatten();
                    if let Err(event) = connections.open(conn, spec, keeper) {
                        answers.push_back((conn, event));
                    }
                }
                Output::Persist { op, token } => keeping.note(op, token),
                Output::Notice(notice) => words.tell(now, &notice, frame_in, |peer: Peer| links.describe_peer(peer)),
            }
        }
        outputs.clear();
    }
}

fn frames(event: &LinkEvent) -> usize {
    if let LinkEvent::Frames(batch) = event { batch.len() } else { 0 }
}

impl Losses {
    /// Counts frames, the last of them to `to`.
    fn frames(&mut self, now: Instant, frames: u64, error: SendError, to: impl Fn() -> String) {
        self.frames += frames;
        let what = || match frames {
            1 => format!("a frame to {} was dropped: {error}", to()),
            _ => format!("{frames} frames were dropped, the last to {}: {error}", to()),
        };
        debug!("{}", what());
        // That the link is down has been said.
        if error != SendError::Down && self.rate.take(now) {
            warn!("{} ({} frames so far)", what(), self.frames);
        }
    }

    fn command(&mut self, now: Instant) {
        self.commands += 1;
        if self.rate.take(now) {
            warn!("a message was dropped: the queue to the broker is full ({} so far)", self.commands);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::broker::{Broker, BrokerSettings, ClientSettings};
    use crate::core::LinkId;
    use crate::links::{LinkConfig, UdpSettings};
    use crate::wire::framing::Direction;

    #[tokio::test]
    async fn the_gateway_ends_and_names_the_link_when_a_links_task_ends() {
        // A link ends when nobody listens to it; the gateway listens to a channel beside it.
        let (unheard, _) = mpsc::channel(1);
        let link = LinkConfig::Udp(UdpSettings::new("127.0.0.1:0".parse().unwrap()));
        let links = Links::open(&[(LinkId(0), link)], Direction::Uplink, &unheard).unwrap();
        let name = links.describe(LinkId(0));
        let (_link_sender, links_heard) = mpsc::channel(1);
        let (broker_sender, broker) = mpsc::channel(1);
        let settings = BrokerSettings::new("mqtt://127.0.0.1:9".parse().unwrap(), "gateway");
        let connections = Broker::new(settings, ClientSettings::default()).unwrap();
        let connections = Connections::start(connections, None, broker_sender);
        let keeping = (Keeping::without(), Legacy::default());
        let driver = Driver::new(Settings::default(), links, connections, keeping, None);

        let (requests, gathering) = (Requests::none(), Arc::new(Gathering::new(Duration::ZERO)));
        let sources = Sources { links: links_heard, broker, requests, signals: Signals::listen().unwrap(), gathering };
        let ended = timeout(Duration::from_secs(10), driver.run(sources)).await.expect("an end within 10 s");
        assert_eq!(ended, Ended::Broken(format!("a task of {name}")));
    }
}
