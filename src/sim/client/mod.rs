//! A simulated client: does what real ones do, sleeping, rebooting, moving, and breaking the rules if it is its nature.

mod answers;
mod errands;
mod inbox;
mod memory;
mod nature;
mod request;

use std::time::Duration;

use super::dice::Dice;
use super::vocabulary::{Mark, Marks};
use crate::core::Instant;
use crate::wire::{Message, Qos};

use memory::Memory;
use nature::Persistence;
pub(super) use nature::{Nature, Quirks};
use request::{Ask, Request, Verdict, WillTarget};

#[derive(Debug)]
pub(super) struct Client {
    client_id: String,
    nature: Nature,
    mood: Mood,
    state: State,
    request: Option<Request>,
    memory: Memory,
    will: Option<Will>,
    /// CONNECTs refused in a row.
    refusals: u32,
    last_sent: Instant,
    errand_due: Instant,
}

/// What a client does of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Busy,
    /// Comes back, stays, and begins nothing.
    Settled,
    /// Has left for good.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Switched off or out of reach.
    Off {
        until: Instant,
    },
    Connecting,
    Active,
    /// The radio is off.
    Asleep {
        until: Instant,
        seconds: u16,
    },
    /// PINGREQ is out; PINGRESP ends it.
    Awake {
        seconds: u16,
    },
}

#[derive(Clone, Debug)]
struct Will {
    target: WillTarget,
    mark: Mark,
}

/// What a client does, in order.
#[derive(Debug)]
pub(super) enum Deed {
    Send(Vec<u8>),
    /// It has another address from now on.
    Move,
    Tell(Tale),
}

/// What a client says of itself, for the books.
#[derive(Debug)]
pub(super) enum Tale {
    /// It sends this message for the first time, or sets it as its will.
    Begins {
        mark: Mark,
        qos: Qos,
    },
    /// The gateway has told it that the message has arrived.
    Accepted {
        mark: Mark,
    },
    Received {
        mark: Mark,
        qos: Qos,
        retain: bool,
    },
    /// It has forgotten which QoS 2 messages it had.
    Forgot,
}

/// What a client needs to act.
pub(super) struct Hands<'a> {
    pub(super) now: Instant,
    pub(super) dice: &'a mut Dice,
    pub(super) marks: &'a mut Marks,
    pub(super) deeds: &'a mut Vec<Deed>,
}

impl Client {
    pub(super) fn new(client_id: String, nature: Nature, starts: Instant) -> Self {
        Self {
            client_id,
            nature,
            mood: Mood::Busy,
            state: State::Off { until: starts },
            request: None,
            memory: Memory::default(),
            will: None,
            refusals: 0,
            last_sent: starts,
            errand_due: starts,
        }
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) fn nature(&self) -> &Nature {
        &self.nature
    }

    /// Returns when to call [`Client::on_time`].
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Off { .. } if self.mood == Mood::Gone => None,
            State::Off { until } | State::Asleep { until, .. } => Some(until),
            State::Connecting | State::Active | State::Awake { .. } => {
                let errand = (self.mood == Mood::Busy && self.is_free()).then_some(self.errand_due);
                [self.request.as_ref().map(|request| request.due), self.ping_due(), errand].into_iter().flatten().min()
            }
        }
    }

    /// Returns whether the client is connected, or asleep, and waits for nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.mood == Mood::Gone || self.is_free() || matches!(self.state, State::Asleep { .. })
    }

    /// Comes back if it was away, and begins nothing new.
    pub(super) fn settle(&mut self, now: Instant) {
        self.mood = Mood::Settled;
        self.refusals = 0;
        if let State::Off { until } = &mut self.state {
            *until = (*until).min(now + Duration::from_secs(2));
        }
    }

    /// Leaves without a word, for good.
    pub(super) fn leave_for_good(&mut self) {
        self.mood = Mood::Gone;
        self.request = None;
        self.state = State::Off { until: Instant::ORIGIN };
    }

    /// Sends again what is due, wakes up, comes back, or does something new.
    pub(super) fn on_time(&mut self, hands: &mut Hands<'_>) {
        match self.state {
            State::Off { until } if until <= hands.now => self.connect(hands),
            State::Asleep { until, seconds } if until <= hands.now => {
                self.state = State::Awake { seconds };
                self.ask(hands, Ask::Wake);
            }
            State::Off { .. } | State::Asleep { .. } => {}
            State::Connecting | State::Active | State::Awake { .. } => self.on_request_due(hands),
        }
        if self.ping_due().is_some_and(|due| due <= hands.now) {
            self.ask(hands, Ask::Ping);
        }
        if self.mood == Mood::Busy && self.is_free() && self.errand_due <= hands.now {
            self.errand_due = hands.now + hands.dice.between(Duration::from_millis(10), self.nature.pause);
            self.run_errand(hands);
        }
    }

    /// Takes a frame from the gateway. A client whose radio is off does not hear it.
    pub(super) fn on_frame(&mut self, hands: &mut Hands<'_>, message: &Message<'_>) {
        match self.state {
            State::Off { .. } | State::Asleep { .. } => {}
            State::Connecting => self.on_answer_to_connect(hands, message),
            State::Active | State::Awake { .. } => {
                self.on_answer(hands, message);
                self.on_delivery(hands, message);
            }
        }
    }

    fn is_free(&self) -> bool {
        self.state == State::Active && self.request.is_none()
    }

    fn ping_due(&self) -> Option<Instant> {
        let pings = self.nature.keep_alive > 0 && !self.nature.has(Quirks::NEVER_PINGS) && self.is_free();
        pings.then(|| self.last_sent + Duration::from_secs(self.nature.keep_alive.into()).mul_f64(0.8))
    }

    fn on_request_due(&mut self, hands: &mut Hands<'_>) {
        let Some(request) = self.request.as_mut().filter(|request| request.due <= hands.now) else { return };
        match request.decide(hands.now, self.nature.has(Quirks::NEVER_RESENDS)) {
            Verdict::SendAgain => self.send_request(hands),
            Verdict::GiveUp => self.lose(hands),
        }
    }

    fn connect(&mut self, hands: &mut Hands<'_>) {
        let clean = match self.nature.persistence {
            Persistence::Clean => true,
            Persistence::Persistent => false,
            Persistence::Mixed => self.mood == Mood::Busy && hands.dice.chance(500),
        };
        // What was said in a clean session ends with it.
        if clean || self.memory.is_of_clean_session {
            self.memory.forget_session();
            hands.tell(Tale::Forgot);
        }
        self.memory.is_of_clean_session = clean;
        let will = self.nature.has_will && hands.dice.chance(700);
        if will {
            let target = self.draw_will_target(hands);
            self.set_will(hands, target);
        }
        self.state = State::Connecting;
        self.ask(hands, Ask::Connect { clean, will });
    }

    /// The gateway does not answer, or says that it does not know this client.
    fn lose(&mut self, hands: &mut Hands<'_>) {
        if let Some(request) = self.request.take()
            && matches!(request.ask, Ask::Publish { .. } | Ask::Release { .. })
        {
            self.memory.unfinished = Some(request);
        }
        let pause = hands.dice.between(Duration::from_millis(10), Duration::from_secs(3));
        self.state = State::Off { until: hands.now + pause };
    }

    fn ask(&mut self, hands: &mut Hands<'_>, ask: Ask) {
        let msg_id = self.memory.next_msg_id();
        self.request = Some(Request::new(ask, msg_id, hands.now));
        self.send_request(hands);
    }

    fn send_request(&mut self, hands: &mut Hands<'_>) {
        if let Some(request) = &self.request {
            self.last_sent = hands.now;
            request.with_message(self.client_id.as_bytes(), self.nature.keep_alive, |message| hands.send(&message));
        }
    }

    fn send<'m>(&mut self, hands: &mut Hands<'_>, message: impl Into<Message<'m>>) {
        self.last_sent = hands.now;
        hands.send(&message.into());
    }
}

impl Hands<'_> {
    fn send(&mut self, message: &Message<'_>) {
        let mut octets = Vec::new();
        message.encode(&mut octets).expect("clients in the world send short messages");
        self.deeds.push(Deed::Send(octets));
    }

    fn tell(&mut self, tale: Tale) {
        self.deeds.push(Deed::Tell(tale));
    }
}
