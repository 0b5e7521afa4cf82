//! The loop: the next thing happens, the gateway is called, what it wants is carried out, the referee looks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::broker::{Agenda, Broker, Outcome, Persistence, Task, Word};
use super::client::{Client, Deed, Hands};
use super::dice::Dice;
use super::net::{Place, Way, Weather};
use super::power::Process;
use super::referee::{ClientNumber, Referee, Violation};
use super::rogue;
use super::scenario::{NARROW, Scenario, WIDE};
use super::schedule::Schedule;
use super::step::{Cause, Effect, Journal};
use super::store::{Store, Write};
use super::vocabulary::{self, Marks};
use crate::core::{
    Cast, ClientPhase, ClientStatus, ConnId, Durability, Gateway, Input, Instant, LinkAddress, LinkId, Message, Output,
    Outputs, Peer, Stats, StoreToken,
};
use crate::wire::{Envelope, Qos};

/// Steps that a world may take until everything has come to rest; far more than any needs.
const STEPS: u64 = 2_000_000;
/// How long everything may take to come to rest when all faults have ended. A hundred messages that a client refuses
/// to acknowledge take more than an hour.
const PATIENCE: Duration = Duration::from_secs(6 * 3_600);

pub(super) struct World {
    pub(super) scenario: Scenario,
    weather: Weather,
    pub(super) dice: Dice,
    /// For the store and the gateway's process.
    pub(super) fate: Dice,
    pub(super) schedule: Schedule<Event>,
    pub(super) process: Process,
    pub(super) outputs: Outputs,
    pub(super) store: Store,
    /// The last that the gateway's process knows to be stored.
    pub(super) stored: StoreToken,
    pub(super) broker: Broker,
    clients: Vec<Resident>,
    homes: BTreeMap<Place, ClientNumber>,
    marks: Marks,
    pub(super) referee: Referee,
    pub(super) journal: Journal,
    pub(super) is_busy: bool,
    steps: u64,
}

/// A client and its way to the gateway.
struct Resident {
    client: Client,
    place: Place,
    moves: u8,
    up: Way,
    down: Way,
}

#[derive(Debug)]
pub(super) enum Event {
    /// A frame reaches the gateway.
    Up {
        from: Place,
        frame: Vec<u8>,
    },
    /// A message reaches a client, if it is still there.
    Down {
        to: Place,
        octets: Vec<u8>,
    },
    Broker(Task),
    BrokerTrouble,
    OthersPublish,
    Rogue(u8),
    /// The time of a commit is over.
    Store,
    Crash,
    Restart,
}

impl World {
    pub(super) fn new(mut dice: Dice, journal: Journal) -> Self {
        let mut fate = dice.split_off();
        let scenario = Scenario::draw(&mut dice, &mut fate);
        let mut clients = Vec::new();
        for (number, nature) in scenario.clients.iter().enumerate() {
            let starts = Instant::ORIGIN + dice.between(Duration::from_secs(3), Duration::from_secs(20));
            let client = Client::new(format!("c{number}"), nature.clone(), starts);
            clients.push(Resident {
                client,
                place: place(number, 0),
                moves: 0,
                up: Way::default(),
                down: Way::default(),
            });
        }
        let client_ids = clients.iter().map(|resident| resident.client.client_id().to_owned());
        let persistence = match scenario.settings.durability {
            Durability::Nothing => Persistence::Nothing,
            Durability::Strict | Durability::BestEffort => Persistence::Ledgers,
        };
        let mut world = Self {
            weather: scenario.weather.clone(),
            schedule: Schedule::new(),
            process: Process::Running(Gateway::new(scenario.settings.clone())),
            outputs: Outputs::default(),
            store: Store::new(scenario.store.clone()),
            stored: StoreToken::default(),
            broker: Broker::new(scenario.temper.clone(), persistence),
            homes: BTreeMap::new(),
            marks: Marks::default(),
            referee: Referee::new(&scenario, client_ids),
            journal,
            is_busy: true,
            steps: 0,
            clients,
            scenario,
            dice,
            fate,
        };
        world.begin();
        world
    }

    /// Lets the world live, come to rest and end.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let end = Instant::ORIGIN + self.scenario.lasts;
        while !self.dice.is_used_up() && self.next_time().is_some_and(|next| next < end) {
            self.step()?;
        }
        self.settle()?;
        self.referee.close_books(self.process.stats())?;
        for resident in &mut self.clients {
            resident.client.leave_for_good();
        }
        while self.next_time().is_some() {
            self.step()?;
        }
        self.referee.close(self.process.gateway(), &self.broker, &self.store)
    }

    pub(super) fn stats(&self) -> &Stats {
        self.process.stats()
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    fn begin(&mut self) {
        for number in 0..self.clients.len() {
            self.take_home(number);
        }
        let mut agenda = Agenda::new();
        self.broker.open(self.schedule.now(), ConnId::OWN, None, &mut self.dice, &mut agenda);
        self.enter(agenda);
        self.schedule.after(Duration::from_secs(5), Event::OthersPublish);
        self.schedule.after(Duration::from_secs(20), Event::BrokerTrouble);
        self.schedule_crash();
        for rogue in 0..self.scenario.rogues {
            self.schedule.after(Duration::from_secs(3), Event::Rogue(u8::try_from(rogue).unwrap_or(0)));
        }
    }

    /// Ends all faults and lets everybody get what they are owed.
    fn settle(&mut self) -> Result<(), Violation> {
        self.is_busy = false;
        self.weather = Weather::fine();
        self.broker.calm();
        self.store.calm();
        let now = self.schedule.now();
        for resident in &mut self.clients {
            resident.client.settle(now);
        }
        // Long enough for what is on its way, and for everybody to come back.
        let (least, most) = (now + Duration::from_secs(120), now + PATIENCE);
        while let Some(next) = self.next_time() {
            if next > least && self.is_at_rest() {
                break;
            }
            if next > most {
                return Err(self.unrest());
            }
            self.step()?;
        }
        Ok(())
    }

    /// Nothing is under way. Who breaks the rules of acknowledging may never get what waits for it.
    fn is_at_rest(&self) -> bool {
        let clients = || self.clients.iter().map(|resident| &resident.client);
        let abides = |name: &str| clients().any(|client| client.client_id() == name && client.nature().is_abiding());
        let is_served = |status: &ClientStatus<'_>| {
            status.queued == 0 || status.phase == ClientPhase::Away || !abides(status.client_id)
        };
        self.broker.is_idle()
            && clients().all(Client::is_settled)
            && self.store.is_idle()
            && self.process.gateway().is_some_and(|gateway| gateway.clients().all(|status| is_served(&status)))
    }

    fn unrest(&self) -> Violation {
        let gateway = self.process.gateway();
        let clients = gateway.into_iter().flat_map(Gateway::clients);
        let waiting: Vec<String> = clients.map(|client| format!("{client:?}")).collect();
        let broker = if self.broker.is_idle() { "idle".to_owned() } else { format!("{:#?}", self.broker) };
        let unsettled = self.clients.iter().filter(|resident| !resident.client.is_settled());
        let unsettled: Vec<&Client> = unsettled.map(|resident| &resident.client).collect();
        Violation(format!("no rest after {PATIENCE:?}; broker {broker}; {waiting:#?} {unsettled:#?}"))
    }

    fn next_time(&self) -> Option<Instant> {
        let clients = self.clients.iter().filter_map(|resident| resident.client.next_deadline()).min();
        [self.schedule.next(), self.gateway_deadline(), clients].into_iter().flatten().min()
    }

    fn gateway_deadline(&self) -> Option<Instant> {
        self.process.gateway().and_then(Gateway::next_deadline)
    }

    /// Lets the next thing happen. Of several at the same time: what is on its way, the gateway's, the clients'.
    fn step(&mut self) -> Result<(), Violation> {
        self.steps += 1;
        if self.steps > STEPS {
            return Err(Violation(format!("no end after {STEPS} steps")));
        }
        let Some(next) = self.next_time() else { return Ok(()) };
        if self.schedule.next().is_some_and(|time| time <= next)
            && let Some(event) = self.schedule.pop()
        {
            return self.happen(event);
        }
        self.schedule.pass_to(next);
        if self.gateway_deadline().is_some_and(|time| time <= next) {
            return self.call_gateway(Cause::Deadline, None);
        }
        for number in 0..self.clients.len() {
            if self.clients[number].client.next_deadline().is_some_and(|time| time <= next) {
                self.act(number, |client, hands| client.on_time(hands))?;
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Up { from, frame } => {
                let (from, octets) = open(from, &frame);
                self.call_gateway(Cause::Frame { from, octets }, Some(&frame))?;
            }
            Event::Down { to, octets } => {
                let Some(&number) = self.homes.get(&to).filter(|number| self.clients[**number].place == to) else {
                    return Ok(());
                };
                if let Ok(message) = crate::wire::Message::decode(&octets) {
                    self.act(number, |client, hands| client.on_frame(hands, &message))?;
                }
            }
            Event::Broker(task) => {
                let mut agenda = Agenda::new();
                let outcome = self.broker.run(self.schedule.now(), task, &mut self.dice, &mut agenda);
                self.enter(agenda);
                for message in self.broker.take_accepted() {
                    self.referee.broker_took(&message)?;
                }
                match outcome {
                    Outcome::Nothing => {}
                    Outcome::Heard { conn, word } => self.call_gateway(Cause::Word { conn, word }, None)?,
                    Outcome::Keeps(entry) => self.keep(Write::Ledger(entry)),
                }
            }
            Event::BrokerTrouble => self.make_trouble(),
            Event::OthersPublish => self.publish_by_others(),
            Event::Rogue(number) if self.is_busy => {
                let frame = rogue::frame(&mut self.dice);
                let peer = peer(WIDE, &[0xEE, number]);
                self.schedule.after(Duration::ZERO, Event::Up { from: Place { peer, node: Vec::new() }, frame });
                let pause = self.dice.between(Duration::from_millis(100), Duration::from_secs(5));
                self.schedule.after(pause, Event::Rogue(number));
            }
            Event::Rogue(_) => {}
            Event::Store => self.on_store()?,
            Event::Crash => self.on_crash()?,
            Event::Restart => self.restart()?,
        }
        Ok(())
    }

    /// Calls the gateway, if it is there.
    pub(super) fn call_gateway(&mut self, cause: Cause, frame: Option<&[u8]>) -> Result<(), Violation> {
        let Some(gateway) = self.process.gateway_mut() else { return Ok(()) };
        let input = match (&cause, frame) {
            (Cause::Frame { from, .. }, Some(bytes)) => Input::Frame { from: from.peer, cast: Cast::Unicast, bytes },
            (Cause::Word { conn, word: Word { event, .. } }, _) => Input::Broker { conn: *conn, event: event.clone() },
            (Cause::Stored(token), _) => Input::Stored(*token),
            (Cause::StoreFailing, _) => Input::StoreFailing,
            (Cause::Deadline | Cause::Frame { .. } | Cause::Restart(_) | Cause::Crash, _) => Input::Deadline,
        };
        gateway.handle(self.schedule.now(), input, &mut self.outputs);
        self.conclude(cause)
    }

    pub(super) fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Sent { to, octets } => {
                let Some(&number) = self.homes.get(to) else { return };
                let Self { schedule, dice, weather, clients, .. } = self;
                let now = schedule.now().since_origin();
                clients[number].down.carry(now, dice, weather, octets.clone(), |at, octets| {
                    schedule.at(Instant::from_origin(at), Event::Down { to: to.clone(), octets });
                });
            }
            Effect::Commanded { conn, command } => {
                let mut agenda = Agenda::new();
                self.broker.command(self.schedule.now(), *conn, command.clone(), &mut self.dice, &mut agenda);
                self.enter(agenda);
            }
            Effect::Opened { conn, spec } => {
                let mut agenda = Agenda::new();
                self.broker.open(self.schedule.now(), *conn, Some(spec.clone()), &mut self.dice, &mut agenda);
                self.enter(agenda);
            }
            // Clients here know their gateway.
            Effect::Broadcast { .. } | Effect::Noticed(_) | Effect::Wrote { .. } => {}
        }
    }

    /// Lets a client act, and carries out what it does.
    fn act(&mut self, number: ClientNumber, act: impl FnOnce(&mut Client, &mut Hands<'_>)) -> Result<(), Violation> {
        let mut deeds = Vec::new();
        let now = self.schedule.now();
        let mut hands = Hands { now, dice: &mut self.dice, marks: &mut self.marks, deeds: &mut deeds };
        act(&mut self.clients[number].client, &mut hands);
        for deed in deeds {
            match deed {
                Deed::Send(message) => self.send_up(number, &message),
                Deed::Move => {
                    let moves = &mut self.clients[number].moves;
                    *moves = moves.wrapping_add(1);
                    self.take_home(number);
                }
                Deed::Tell(tale) => self.referee.hear(number, &tale)?,
            }
        }
        Ok(())
    }

    fn send_up(&mut self, number: ClientNumber, message: &[u8]) {
        let Self { schedule, dice, weather, clients, .. } = self;
        let Resident { place, up, .. } = &mut clients[number];
        let now = schedule.now().since_origin();
        up.carry(now, dice, weather, place.wrap(message), |at, frame| {
            schedule.at(Instant::from_origin(at), Event::Up { from: place.clone(), frame });
        });
    }

    /// The client has the next of its places.
    fn take_home(&mut self, number: ClientNumber) {
        let place = place(number, self.clients[number].moves);
        self.clients[number].place = place.clone();
        self.homes.insert(place.clone(), number);
        self.referee.note_home(place, number);
    }

    fn make_trouble(&mut self) {
        let (true, Some(pause)) = (self.is_busy, self.broker.temper().trouble) else { return };
        let mut agenda = Agenda::new();
        self.broker.make_trouble(self.schedule.now(), &mut self.dice, &mut agenda);
        self.enter(agenda);
        let pause = self.dice.between(Duration::from_secs(1), pause);
        self.schedule.after(pause, Event::BrokerTrouble);
    }

    fn publish_by_others(&mut self) {
        if !self.is_busy {
            return;
        }
        let mark = self.marks.fresh();
        let dice = &mut self.dice;
        let retain = dice.chance(200);
        let payload =
            if retain && dice.chance(200) { bytes::Bytes::new() } else { mark.payload(vocabulary::any_length(dice)) };
        let qos = *dice.pick(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]);
        let message = Message { topic: vocabulary::any_topic(dice), payload, qos, retain };
        self.referee.hear_others(&message);
        let mut agenda = Agenda::new();
        self.broker.publish(self.schedule.now(), &message, dice, &mut agenda);
        let pause = dice.between(Duration::from_millis(10), self.scenario.others_pause);
        self.enter(agenda);
        self.schedule.after(pause, Event::OthersPublish);
    }

    pub(super) fn enter(&mut self, agenda: Agenda) {
        for (time, task) in agenda {
            self.schedule.at(time, Event::Broker(task));
        }
    }
}

/// Each client has places of its own, so that nobody is ever taken for somebody else. Every third client sits behind
/// a forwarder that it shares with others.
fn place(number: ClientNumber, moves: u8) -> Place {
    let name = [u8::try_from(number).unwrap_or(u8::MAX), moves];
    match number % 3 {
        0 => Place { peer: peer(WIDE, &name), node: Vec::new() },
        1 => Place { peer: peer(NARROW, &name), node: Vec::new() },
        _ => Place { peer: peer(NARROW, &[0xFF]), node: name.to_vec() },
    }
}

fn peer(link: LinkId, octets: &[u8]) -> Peer {
    Peer { link, address: LinkAddress::new(octets).expect("names in the world are short") }
}

/// Takes a frame's wrapper off, which tells the place.
fn open(from: Place, frame: &[u8]) -> (Place, Vec<u8>) {
    match Envelope::open(frame, 1) {
        Ok(envelope) => {
            let node = envelope.layers().next().map(|layer| layer.node_id.to_vec()).unwrap_or_default();
            (Place { peer: from.peer, node }, envelope.message().to_vec())
        }
        Err(_) => (from, frame.to_vec()),
    }
}

pub(super) fn effects(outputs: &mut Outputs) -> Vec<Effect> {
    let (queue, frames) = outputs.drain();
    let effects = queue
        .map(|output| match output {
            Output::Persist { op, token } => Effect::Wrote { op, token },
            Output::Send { to, frame } => {
                let (to, octets) = open(Place { peer: to, node: Vec::new() }, frames.octets(&frame));
                Effect::Sent { to, octets }
            }
            Output::Broadcast { link, frame, .. } => Effect::Broadcast { link, octets: frames.octets(&frame).to_vec() },
            Output::Connect { conn, spec } => Effect::Opened { conn, spec },
            Output::Broker { conn, command } => Effect::Commanded { conn, command },
            Output::Notice(notice) => Effect::Noticed(notice),
        })
        .collect();
    outputs.clear();
    effects
}
