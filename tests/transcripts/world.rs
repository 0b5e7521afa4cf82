//! The world around one gateway: a clock that the test moves, clients known by short names, and what has come out.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use mqttsn_gateway::core::topics::TopicName;
use mqttsn_gateway::core::{
    BrokerCommand, Cast, ClientDetails, ClientPhase, ConnId, ConnectSpec, Durability, Gateway, Input, Instant,
    LinkAddress, LinkId, LinkSettings, LinkState, Mode, Notice, Output, Outputs, Peer, Restored, Settings, Stats,
};
use mqttsn_gateway::wire::TopicId;

use crate::broker::{Asked, Broker, BrokerMemory};
use crate::frames;
use crate::store::{Store, StoreMemory};
use crate::words;

/// A gateway and everyone who talks to it.
///
/// What the gateway puts out waits here until the test asks for it. Everything must have been asked for before the
/// next input, and at the end. The order is kept for each client and for the broker, not between them.
pub(crate) struct World {
    settings: Settings,
    gateway: Gateway,
    now: Instant,
    out: Outputs,
    pending: VecDeque<Event>,
    frames_sent: u64,
    /// What was said of kept messages. It follows many dialogues, so only those that are about it ask.
    handed_over: Vec<String>,
    pub(crate) broker: BrokerMemory,
    pub(crate) store: StoreMemory,
}

/// Something that came out of the gateway.
enum Event {
    Frame { to: String, octets: Vec<u8> },
    Broadcast { radius: u8, octets: Vec<u8> },
    Command { conn: ConnId, command: BrokerCommand },
    Connect { conn: ConnId, spec: ConnectSpec },
    Notice(String),
}

/// A world whose mode is part of its type, so that one dialogue is compiled for both.
pub(crate) struct WorldOver<M> {
    world: World,
    mode: PhantomData<M>,
}

pub(crate) struct Aggregating;
pub(crate) struct Transparent;
/// Aggregating, with a store that has everything at once.
pub(crate) struct Durable;

/// Transparent, with a store that has everything at once.
pub(crate) struct DurableTransparent;

pub(crate) trait IsMode {
    const MODE: Mode;
    const DURABILITY: Durability = Durability::Nothing;
}

impl IsMode for Durable {
    const MODE: Mode = Mode::Aggregating;
    const DURABILITY: Durability = Durability::Strict;
}

impl IsMode for DurableTransparent {
    const MODE: Mode = Mode::Transparent;
    const DURABILITY: Durability = Durability::Strict;
}

impl IsMode for Aggregating {
    const MODE: Mode = Mode::Aggregating;
}

impl IsMode for Transparent {
    const MODE: Mode = Mode::Transparent;
}

/// What one client says and hears.
pub(crate) struct Client<'w> {
    world: &'w mut World,
    name: String,
}

impl<M: IsMode> WorldOver<M> {
    /// The link that all clients are on.
    pub(crate) const LINK: LinkId = World::LINK;

    /// A gateway whose broker is there.
    pub(crate) fn with_broker() -> Self {
        Self::with_settings(|_| {})
    }

    /// A gateway with settings other than the default, whose broker is there.
    pub(crate) fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = Self::without_broker(change);
        world.broker().comes_up();
        world
    }

    /// A gateway with one link other than the default, whose broker is there.
    pub(crate) fn with_link(change: impl FnOnce(&mut LinkSettings)) -> Self {
        let mut link = LinkSettings::default();
        change(&mut link);
        Self::with_settings(|settings| settings.links = BTreeMap::from([(World::LINK, link)]))
    }

    /// A gateway that has never heard of its broker.
    pub(crate) fn without_broker(change: impl FnOnce(&mut Settings)) -> Self {
        let change = |settings: &mut Settings| {
            settings.durability = M::DURABILITY;
            change(settings);
        };
        Self { world: World::without_broker(M::MODE, change), mode: PhantomData }
    }

    /// A gateway whose broker speaks MQTT 3.1.1: no message says which subscription brought it.
    pub(crate) fn with_an_old_broker() -> Self {
        let mut world = Self::without_broker(|_| {});
        world.broker.offer.subscription_ids = false;
        world.broker().comes_up();
        world
    }
}

impl<M> Deref for WorldOver<M> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl<M> DerefMut for WorldOver<M> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl World {
    pub(crate) const LINK: LinkId = LinkId(1);

    fn without_broker(mode: Mode, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { mode, ..Settings::default() };
        change(&mut settings);
        Self {
            gateway: Gateway::new(settings.clone()),
            settings,
            now: Instant::from_origin(Duration::from_secs(1_000)),
            out: Outputs::default(),
            pending: VecDeque::new(),
            frames_sent: 0,
            handed_over: Vec::new(),
            broker: BrokerMemory::new(mode),
            store: StoreMemory::default(),
        }
    }

    /// Whether all clients share one MQTT connection.
    pub(crate) fn is_shared(&self) -> bool {
        self.settings.mode == Mode::Aggregating
    }

    /// Whether there is a store.
    pub(crate) fn keeps(&self) -> bool {
        self.settings.durability != Durability::Nothing
    }

    /// One client, by a name of the test's choice: the same name is the same address.
    pub(crate) fn client(&mut self, name: &str) -> Client<'_> {
        Client { world: self, name: name.to_owned() }
    }

    pub(crate) fn broker(&mut self) -> Broker<'_> {
        Broker::new(self)
    }

    pub(crate) fn store(&mut self) -> Store<'_> {
        Store::new(self)
    }

    /// Lets time pass; every deadline in between is kept to the microsecond.
    #[track_caller]
    pub(crate) fn passes(&mut self, seconds: f64) {
        self.quiet();
        let until = self.now + Duration::from_secs_f64(seconds);
        while let Some(deadline) = self.gateway.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.handle(Input::Deadline);
        }
        self.now = until;
    }

    /// The gateway has said this to its operator (see `words.rs` for the wording).
    #[track_caller]
    pub(crate) fn notes(&mut self, wanted: &str) {
        let position = self.pending.iter().position(|event| matches!(event, Event::Notice(_)));
        let heard = position.and_then(|at| self.pending.remove(at));
        match heard {
            Some(Event::Notice(words)) => assert_eq!(words, wanted, "another notice than expected"),
            _ => panic!("no notice, but wanted: {wanted}\n{}", self.transcript()),
        }
    }

    /// What the gateway has said about the messages that it has handed over after an outage.
    pub(crate) fn handed_over(&mut self) -> Vec<String> {
        std::mem::take(&mut self.handed_over)
    }

    /// Nothing has come out that was not asked for.
    #[track_caller]
    pub(crate) fn quiet(&self) {
        assert!(self.pending.is_empty(), "nobody asked for:\n{}", self.transcript());
    }

    /// Everyone on the link receives exactly this frame next, this many hops away.
    #[track_caller]
    pub(crate) fn everyone_hears(&mut self, radius: u8, frame: &str) {
        let wanted = frames::parse(frame);
        let position = self.pending.iter().position(|event| matches!(event, Event::Broadcast { .. }));
        match position.and_then(|at| self.pending.remove(at)) {
            Some(Event::Broadcast { radius: within, octets }) => {
                assert_eq!((within, frames::explain(&octets)), (radius, frames::explain(&wanted)));
            }
            _ => panic!("nobody hears {}\n{}", frames::explain(&wanted), self.transcript()),
        }
    }

    /// Counts the frames that one client has received, and takes them.
    pub(crate) fn frames_to(&mut self, name: &str) -> usize {
        let before = self.pending.len();
        self.pending.retain(|event| !matches!(event, Event::Frame { to, .. } if to == name));
        before - self.pending.len()
    }

    /// What has come out is another test's business.
    pub(crate) fn ignore(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn shuts_down(&mut self) {
        self.input(Input::Shutdown);
    }

    /// The link that all clients are on is gone.
    #[track_caller]
    pub(crate) fn link_goes_down(&mut self) {
        self.loses_link(Self::LINK);
    }

    /// A link is gone.
    #[track_caller]
    pub(crate) fn loses_link(&mut self, link: LinkId) {
        self.input(Input::Link { link, state: LinkState::Down });
    }

    /// The link that all clients are on is back.
    #[track_caller]
    pub(crate) fn link_comes_back(&mut self) {
        self.input(Input::Link { link: Self::LINK, state: LinkState::Up });
    }

    /// Returns where a client is in its life, as seen from outside.
    pub(crate) fn phase(&self, client_id: &str) -> Option<ClientPhase> {
        self.gateway.clients().find(|client| client.client_id == client_id).map(|client| client.phase)
    }

    /// The gateway is killed and starts again from what the store has. Its connections to the broker are gone, and go
    /// on with these publishes at QoS 2.
    #[track_caller]
    pub(crate) fn restarts(&mut self, under_way: &[&Asked]) -> Restored {
        self.quiet();
        self.broker.loses_the_gateway();
        self.frames_sent = 0;
        self.gateway = Gateway::new(self.settings.clone());
        let (records, under_way) = (self.store.restarts(), under_way.iter().filter_map(|asked| asked.token()));
        let restored = self.gateway.restore(self.now, records, under_way, &mut self.out);
        self.carry_out();
        self.hear_the_broker();
        restored
    }

    /// Somebody corrects the clock, while the gateway is not running.
    pub(crate) fn sets_the_clock_back(&mut self, seconds: f64) {
        let since_origin = self.now.since_origin() - Duration::from_secs_f64(seconds);
        self.now = Instant::from_origin(since_origin);
    }

    /// Those who run the gateway end a client's session.
    #[track_caller]
    pub(crate) fn forgets(&mut self, client_id: &str) {
        self.input(Input::Forget { client_id });
    }

    /// The clients that have a session, each with its phase.
    pub(crate) fn clients(&self) -> Vec<String> {
        self.gateway.clients().map(|client| format!("{} {}", client.client_id, client.phase)).collect()
    }

    pub(crate) fn client_details(&self, client_id: &str) -> Option<ClientDetails<'_>> {
        self.gateway.client(client_id)
    }

    pub(crate) fn stats(&self) -> &Stats {
        self.gateway.stats()
    }

    /// Gives the gateway one input, now.
    #[track_caller]
    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.quiet();
        self.handle(input);
    }

    /// Takes the oldest command to the broker.
    pub(crate) fn next_command(&mut self) -> Option<(ConnId, BrokerCommand)> {
        let position = self.pending.iter().position(|event| matches!(event, Event::Command { .. }))?;
        match self.pending.remove(position)? {
            Event::Command { conn, command } => Some((conn, command)),
            _ => None,
        }
    }

    /// Takes the oldest CONNECT to the broker that a test has to answer.
    pub(crate) fn next_connect(&mut self) -> Option<(ConnId, ConnectSpec)> {
        let position = self.pending.iter().position(|event| matches!(event, Event::Connect { .. }))?;
        match self.pending.remove(position)? {
            Event::Connect { conn, spec } => Some((conn, spec)),
            _ => None,
        }
    }

    /// Lets the gateway hear what the broker has to say.
    #[track_caller]
    pub(crate) fn broker_acts(&mut self) {
        self.quiet();
        self.hear_the_broker();
    }

    #[track_caller]
    fn hear_the_broker(&mut self) {
        while let Some((conn, event)) = self.broker.next_event() {
            self.take(Input::Broker { conn, event });
        }
    }

    /// Gives the gateway one input, and then what the broker says to it of its own accord.
    #[track_caller]
    fn handle(&mut self, input: Input<'_>) {
        self.take(input);
        self.hear_the_broker();
    }

    #[track_caller]
    fn take(&mut self, input: Input<'_>) {
        self.gateway.handle(self.now, input, &mut self.out);
        self.carry_out();
    }

    #[track_caller]
    fn carry_out(&mut self) {
        let (outputs, frames) = self.out.drain();
        for output in outputs {
            let event = match output {
                Output::Persist { op, token } => {
                    self.store.asked(op, token);
                    continue;
                }
                Output::Send { to, frame } => {
                    let octets = frames.octets(&frame).to_vec();
                    frames::check(&octets);
                    self.frames_sent += 1;
                    Event::Frame { to: words::peer(to), octets }
                }
                Output::Broadcast { link, radius, frame } => {
                    let octets = frames.octets(&frame).to_vec();
                    frames::check(&octets);
                    assert_eq!(link, Self::LINK);
                    self.frames_sent += 1;
                    Event::Broadcast { radius, octets }
                }
                Output::Broker { conn, command } if self.broker.commanded(conn, &command) => {
                    Event::Command { conn, command }
                }
                Output::Connect { conn, spec } if self.broker.connecting(conn, &spec) => Event::Connect { conn, spec },
                Output::Broker { .. } | Output::Connect { .. } => continue,
                Output::Notice(notice @ Notice::KeptHandedOver { .. }) => {
                    self.handed_over.push(words::notice(&notice));
                    continue;
                }
                Output::Notice(notice) => Event::Notice(words::notice(&notice)),
            };
            self.pending.push_back(event);
        }
        self.out.clear();
        if let Some(token) = self.store.end_turn() {
            return self.take(Input::Stored(token));
        }
        let counted = self.stats().frames_out - self.stats().withheld_dropped;
        assert!(counted >= self.frames_sent, "a frame was sent and not counted");
        assert!(counted == self.frames_sent || self.store.is_behind(), "a frame was counted and not sent");
        if let Some(deadline) = self.gateway.next_deadline() {
            assert!(deadline > self.now, "a deadline lies in the past");
        }
    }

    /// What waits to be asked for, as it could stand in a test.
    pub(crate) fn transcript(&self) -> String {
        let lines = self.pending.iter().map(|event| match event {
            Event::Frame { to, octets } => format!("  {to} hears {}", frames::explain(octets)),
            Event::Broadcast { radius, octets } => {
                format!("  everyone hears, radius {radius}: {}", frames::explain(octets))
            }
            Event::Command { command, .. } => format!("  the broker gets {}", words::command(command)),
            Event::Connect { spec, .. } => format!("  the broker gets {}", words::connect(spec)),
            Event::Notice(words) => format!("  notice: {words}"),
        });
        let lines: Vec<String> = lines.collect();
        if lines.is_empty() { "  (nothing came out)".to_owned() } else { lines.join("\n") }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.quiet();
        }
    }
}

impl Client<'_> {
    /// The client sends a message, in hex; after a space anything may follow as a comment.
    #[track_caller]
    pub(crate) fn says(&mut self, message: &str) -> &mut Self {
        let octets = frames::parse(message);
        if let Err(error) = frames::decode(&octets) {
            panic!("{message} is no message (a test that means it uses garbles): {error}");
        }
        self.sends(&octets)
    }

    /// The client sends what is no message, in hex.
    #[track_caller]
    pub(crate) fn garbles(&mut self, octets: &str) -> &mut Self {
        let octets = frames::parse(octets);
        assert!(frames::decode(&octets).is_err(), "it is a message: {}", frames::explain(&octets));
        self.sends(&octets)
    }

    /// The client sends these octets.
    #[track_caller]
    pub(crate) fn sends(&mut self, octets: &[u8]) -> &mut Self {
        self.casts(Cast::Unicast, octets)
    }

    /// The client sends a message, in hex, to everyone: a multicast group or a radio broadcast.
    #[track_caller]
    pub(crate) fn says_to_all(&mut self, message: &str) -> &mut Self {
        let octets = frames::parse(message);
        frames::decode(&octets).unwrap();
        self.casts(Cast::Group, &octets)
    }

    /// The client sends a message, in hex, over a link that is not the usual one.
    #[track_caller]
    pub(crate) fn says_over(&mut self, link: LinkId, message: &str) -> &mut Self {
        let address = LinkAddress::new(self.name.as_bytes()).unwrap();
        let bytes = &frames::parse(message);
        self.world.input(Input::Frame { from: Peer { link, address }, cast: Cast::Unicast, bytes });
        self
    }

    #[track_caller]
    fn casts(&mut self, cast: Cast, bytes: &[u8]) -> &mut Self {
        let address = LinkAddress::new(self.name.as_bytes()).unwrap();
        self.world.input(Input::Frame { from: Peer { link: World::LINK, address }, cast, bytes });
        self
    }

    /// The client receives exactly this frame next.
    #[track_caller]
    pub(crate) fn hears(&mut self, frame: &str) -> &mut Self {
        let wanted = frames::parse(frame);
        let is_mine = |event: &Event| matches!(event, Event::Frame { to, .. } if *to == self.name);
        let position = self.world.pending.iter().position(is_mine);
        match position.and_then(|at| self.world.pending.remove(at)) {
            Some(Event::Frame { octets, .. }) => assert!(
                octets == wanted,
                "{} hears another frame\n  wanted {}\n   heard {}",
                self.name,
                frames::explain(&wanted),
                frames::explain(&octets)
            ),
            _ => panic!("{} does not hear {}\n{}", self.name, frames::explain(&wanted), self.world.transcript()),
        }
        self
    }

    /// CONNECT with a clean session and a keep-alive of 60 s, accepted.
    #[track_caller]
    pub(crate) fn connects(&mut self, client_id: &str) {
        self.sends(&frames::connect(client_id, 0x04, 60)).hears("030500");
        self.world.notes(&format!("connected {client_id}"));
    }

    /// CONNECT with a persistent session and a keep-alive of 60 s, accepted.
    #[track_caller]
    pub(crate) fn connects_persistent(&mut self, client_id: &str) {
        self.sends(&frames::connect(client_id, 0x00, 60)).hears("030500");
        self.world.notes(&format!("connected {client_id}, persistent"));
    }

    /// CONNECT with a will at QoS 1 and a keep-alive of 60 s, asked for and accepted.
    #[track_caller]
    pub(crate) fn connects_with_will(&mut self, client_id: &str, session: Session, topic: &str, payload: &str) {
        let flags = match session {
            Session::Clean => 0x0C,
            Session::Persistent => 0x08,
        };
        self.sends(&frames::connect(client_id, flags, 60)).hears("0206");
        self.sends(&frames::frame(0x07, &[&[0x20], topic.as_bytes()])).hears("0208");
        self.sends(&frames::frame(0x09, &[payload.as_bytes()])).hears("030500");
        let persistent = if session == Session::Persistent { ", persistent" } else { "" };
        self.world.notes(&format!("connected {client_id}{persistent}"));
    }

    /// REGISTER, answered with this id.
    #[track_caller]
    pub(crate) fn registers(&mut self, topic: &str, topic_id: u16) {
        self.sends(&frames::register(topic, 0x4141)).hears(&format!("070b{topic_id:04x}414100"));
    }

    /// SUBSCRIBE, granted by the broker, answered with this topic id.
    #[track_caller]
    pub(crate) fn subscribes(&mut self, filter: &str, qos: u8, topic_id: u16) {
        self.sends(&frames::subscribe(filter, qos, 0x5353));
        let asked = self.world.broker().gets_subscribe(filter);
        self.world.broker().grants(&asked, qos);
        self.hears(&format!("0813{:02x}{topic_id:04x}535300", qos << 5));
    }

    /// DISCONNECT with a duration, answered.
    #[track_caller]
    pub(crate) fn sleeps(&mut self, client_id: &str, seconds: u16) {
        self.says(&format!("0418{seconds:04x}")).hears("0218");
        self.world.notes(&format!("asleep {client_id} for {seconds} s"));
    }

    /// DISCONNECT, answered.
    #[track_caller]
    pub(crate) fn disconnects(&mut self, client_id: &str) {
        self.says("0218").hears("0218");
        self.world.notes(&format!("disconnected {client_id}"));
    }
}

/// Whether a session outlives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    Clean,
    Persistent,
}

/// Settings with these pre-defined topic ids.
pub(crate) fn predefine(table: &[(u16, &str)]) -> impl FnOnce(&mut Settings) {
    let parse = |(id, name): &(u16, &str)| (TopicId(*id), TopicName::parse(name.as_bytes()).unwrap());
    let table: BTreeMap<_, _> = table.iter().map(parse).collect();
    move |settings| settings.predefined = table
}
