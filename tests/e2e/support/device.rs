//! A device that lives by itself: it reports and obeys in a thread of its own, asks again until it is answered, and
//! writes down what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frame::octets;

/// How long it waits for an answer before it asks again. Much less than a real one would.
const RETRY: Duration = Duration::from_millis(100);

/// How long it leaves the gateway alone after "congestion" (MQTT-SN 1.2 §7.2, T_WAIT).
const CONGESTED: Duration = Duration::from_millis(100);

/// How soon it notices that its time has come.
const TICK: Duration = Duration::from_millis(10);

/// What a device does with its life. It reports on `up/CLIENT_ID` and obeys `cmd/CLIENT_ID/+`.
#[derive(Clone, Debug)]
pub struct Habits {
    pub client_id: String,
    /// The readings' QoS, in turn.
    pub qos: Vec<u8>,
    /// From one reading to the next.
    pub pace: Duration,
    /// It reports no more than that.
    pub readings: usize,
    pub sleep: Sleep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    Never,
    /// It is asleep, and wakes up so often to hear what has come.
    WakesEvery(Duration),
    /// It is asleep, and wakes up when it is told.
    UntilTold,
}

/// A device in a thread of its own. It begins with nothing but its connection, its subscription and its topic.
pub struct Device {
    pub client_id: String,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

/// What a device has heard.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    /// Readings that the gateway has said it has, in order.
    pub accepted: Vec<Reading>,
    /// Commands, in order: the last level of the topic and the payload.
    pub commands: Vec<String>,
    /// "Congestion", in answer to a reading.
    pub refused: usize,
    /// DISCONNECT that it did not ask for.
    pub disconnected: usize,
    /// What must not happen.
    pub complaints: Vec<String>,
}

/// A reading and how often it had to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub payload: String,
    pub sent: usize,
}

#[derive(Debug, Default)]
struct Shared {
    diary: Diary,
    will: Will,
    is_told_to_wake: bool,
    is_idle: bool,
}

/// What others want of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Will {
    /// Begin nothing new.
    #[default]
    Rest,
    Report,
    End,
}

impl Device {
    pub fn start(gateway: SocketAddr, habits: Habits) -> Self {
        let shared = Arc::<Mutex<Shared>>::default();
        let client_id = habits.client_id.clone();
        let mut life = Life::new(gateway, habits, Arc::clone(&shared));
        let thread = Some(thread::spawn(move || life.live()));
        Self { client_id, shared, thread }
    }

    /// Lets it report from now on.
    pub fn report(&self) {
        lock(&self.shared).will = Will::Report;
    }

    /// Lets it finish what it is at and begin no new reading.
    pub fn rest(&self) {
        lock(&self.shared).will = Will::Rest;
    }

    /// Lets it wake up once.
    pub fn wake(&self) {
        lock(&self.shared).is_told_to_wake = true;
    }

    /// Whether it is connected, or asleep, and all readings that it has begun are accepted to the last step.
    pub fn is_idle(&self) -> bool {
        lock(&self.shared).is_idle
    }

    pub fn diary(&self) -> Diary {
        lock(&self.shared).diary.clone()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        lock(&self.shared).will = Will::End;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the thread of device {} has panicked", self.client_id);
        }
        if thread::panicking() {
            let Diary { accepted, commands, refused, disconnected, complaints } = self.diary();
            let (accepted, commands) = (accepted.len(), commands.len());
            eprintln!(
                "--- device {}: {accepted} readings accepted, {refused} times refused, {commands} commands, \
                 {disconnected} times disconnected, {complaints:?}",
                self.client_id
            );
        }
    }
}

struct Life {
    socket: UdpSocket,
    habits: Habits,
    shared: Arc<Mutex<Shared>>,
    standing: Standing,
    /// Its own topic's id, once it is registered.
    topic_id: Option<u16>,
    exchange: Option<Exchange>,
    begun: usize,
    last_msg_id: u16,
    next_reading: Instant,
    asleep_since: Instant,
    /// When what was asked last is asked again.
    repeat: Instant,
    /// How often it has asked to be let sleep and not been answered.
    farewells: usize,
    /// The gateway's topic ids.
    topics: BTreeMap<u16, String>,
    /// QoS 2 messages that the gateway has not released.
    unreleased: BTreeSet<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Stranger,
    Connected,
    Subscribed,
    Asleep,
    Waking,
}

/// A reading on its way.
#[derive(Debug)]
struct Exchange {
    qos: u8,
    payload: String,
    msg_id: u16,
    sent: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Publish,
    Release,
}

impl Life {
    fn new(gateway: SocketAddr, habits: Habits, shared: Arc<Mutex<Shared>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        socket.connect(gateway).expect("loopback can be reached");
        socket.set_read_timeout(Some(TICK)).expect("a tick is not zero");
        let now = Instant::now();
        Self {
            socket,
            habits,
            shared,
            standing: Standing::Stranger,
            topic_id: None,
            exchange: None,
            begun: 0,
            last_msg_id: 0,
            next_reading: now,
            asleep_since: now,
            repeat: now,
            farewells: 0,
            topics: BTreeMap::new(),
            unreleased: BTreeSet::new(),
        }
    }

    fn live(&mut self) {
        let mut datagram = [0; 2048];
        loop {
            let will = lock(&self.shared).will;
            if will == Will::End {
                return;
            }
            self.act(Instant::now(), will);
            // An error is a time-out, or the refusal of what was sent before.
            if let Ok(length) = self.socket.recv(&mut datagram) {
                self.hear(&datagram[..length]);
            }
        }
    }

    /// Asks what there is to ask, one thing at a time, and again if no answer has come.
    fn act(&mut self, now: Instant, will: Will) {
        if self.standing == Standing::Asleep && self.exchange.is_none() && self.is_time_to_wake(now) {
            self.standing = Standing::Waking;
            self.repeat = now;
        }
        let at_work = matches!(self.standing, Standing::Subscribed | Standing::Asleep) && self.topic_id.is_some();
        let falls_asleep = self.standing == Standing::Subscribed && self.habits.sleep != Sleep::Never;
        let is_due = self.next_reading <= now && self.begun < self.habits.readings && will == Will::Report;
        if self.exchange.is_none() && at_work && !falls_asleep && is_due {
            self.begin_reading(now);
            self.repeat = now;
        }
        let is_over = self.begun == self.habits.readings || will == Will::Rest;
        lock(&self.shared).is_idle = at_work && !falls_asleep && self.exchange.is_none() && is_over;
        if self.repeat <= now {
            self.ask(now);
        }
    }

    fn is_time_to_wake(&self, now: Instant) -> bool {
        match self.habits.sleep {
            Sleep::Never => false,
            Sleep::WakesEvery(time) => self.asleep_since + time <= now,
            Sleep::UntilTold => std::mem::take(&mut lock(&self.shared).is_told_to_wake),
        }
    }

    fn begin_reading(&mut self, now: Instant) {
        let qos = self.habits.qos[self.begun % self.habits.qos.len()];
        self.begun += 1;
        let payload = format!("q{qos}.{:05}", self.begun);
        self.exchange = Some(Exchange { qos, payload, msg_id: 0, sent: 0, step: Step::Publish });
        self.next_reading = now + self.habits.pace;
    }

    fn ask(&mut self, now: Instant) {
        let Self { habits: Habits { client_id, sleep, .. }, .. } = self;
        let question = match (self.standing, self.topic_id, &mut self.exchange) {
            // Flags 00: the session is to be kept.
            (Standing::Stranger, _, _) => format!("LL 04 00 01 003C '{client_id}'"),
            (Standing::Connected, _, _) => format!("LL 12 40 7001 'cmd/{client_id}/+'"),
            (Standing::Waking, _, _) => format!("LL 16 '{client_id}'"),
            (Standing::Subscribed | Standing::Asleep, None, _) => format!("LL 0A 0000 7002 'up/{client_id}'"),
            (Standing::Subscribed, Some(_), _) if *sleep != Sleep::Never => {
                self.farewells += 1;
                "04 18 003C".to_owned()
            }
            (Standing::Subscribed | Standing::Asleep, Some(topic_id), Some(exchange)) => {
                exchange.frame(topic_id, &mut self.last_msg_id)
            }
            (Standing::Subscribed | Standing::Asleep, Some(_), None) => return,
        };
        self.send(&question);
        self.repeat = now + RETRY;
    }

    fn hear(&mut self, frame: &[u8]) {
        let now = Instant::now();
        let two = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let own = |msg_id: u16, this: &Self| this.exchange.as_ref().is_some_and(|exchange| exchange.msg_id == msg_id);
        match frame[1] {
            0x05 if frame[2] == 0 && self.standing == Standing::Stranger => self.stand(Standing::Connected),
            0x05 if frame[2] == 1 => self.repeat = now + CONGESTED,
            0x05 => {}
            0x13 if frame[7] == 0 && self.standing == Standing::Connected => self.stand(Standing::Subscribed),
            0x13 if frame[7] == 1 => self.repeat = now + CONGESTED,
            0x13 => {}
            0x0B if frame[6] == 0 => self.on_registered(two(2)),
            0x0D if own(two(4), self) => self.on_puback(frame[6]),
            0x0F if own(two(2), self) => self.on_pubrec(),
            0x0E if own(two(2), self) => self.on_pubcomp(),
            // Answers to what was answered before.
            0x0D..=0x0F => {}
            0x0A => self.on_register(two(2), two(4), &frame[6..]),
            0x0C => self.on_publish(frame[2], two(3), two(5), &frame[7..]),
            0x10 => {
                self.unreleased.remove(&two(2));
                self.send(&format!("04 0E {:04X}", two(2)));
            }
            0x17 if self.standing == Standing::Waking => {
                // What has not been answered by now never will be.
                self.farewells = 0;
                self.fall_asleep(now);
            }
            0x17 => {}
            0x18 if self.farewells > 0 => {
                self.farewells -= 1;
                if self.standing == Standing::Subscribed {
                    self.fall_asleep(now);
                }
            }
            0x18 => {
                lock(&self.shared).diary.disconnected += 1;
                self.stand(Standing::Stranger);
            }
            _ => self.complain(format!("heard {frame:02X?}")),
        }
    }

    fn stand(&mut self, standing: Standing) {
        self.standing = standing;
        self.repeat = Instant::now();
    }

    fn fall_asleep(&mut self, now: Instant) {
        self.stand(Standing::Asleep);
        self.asleep_since = now;
    }

    fn on_registered(&mut self, topic_id: u16) {
        if self.topic_id.is_some_and(|known| known != topic_id) {
            self.complain(format!("its topic has id {topic_id} and had {:?}", self.topic_id));
        }
        self.topic_id = Some(topic_id);
        self.repeat = Instant::now();
    }

    fn on_puback(&mut self, return_code: u8) {
        let Some(exchange) = &mut self.exchange else { return };
        match return_code {
            0 if exchange.qos == 1 => {
                self.note_accepted();
                self.exchange = None;
            }
            1 => {
                // From here on it is another message to the gateway.
                exchange.sent = 0;
                self.repeat = Instant::now() + CONGESTED;
                lock(&self.shared).diary.refused += 1;
            }
            other => self.complain(format!("PUBACK with return code {other}")),
        }
    }

    fn on_pubrec(&mut self) {
        if let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.step == Step::Publish) {
            exchange.step = Step::Release;
            self.repeat = Instant::now();
            self.note_accepted();
        }
    }

    fn on_pubcomp(&mut self) {
        self.exchange.take_if(|exchange| exchange.step == Step::Release);
    }

    fn on_register(&mut self, topic_id: u16, msg_id: u16, name: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(known) = self.topics.insert(topic_id, name.clone()).filter(|known| *known != name) {
            self.complain(format!("topic id {topic_id} was {known} and is {name} now"));
        }
        self.send(&format!("07 0B {topic_id:04X} {msg_id:04X} 00"));
    }

    fn on_publish(&mut self, flags: u8, topic_id: u16, msg_id: u16, payload: &[u8]) {
        let Some(topic) = self.topics.get(&topic_id) else {
            return self.complain(format!("a command with the unknown topic id {topic_id}"));
        };
        let level = topic.rsplit('/').next().unwrap_or_default();
        let command = format!("{level} {}", String::from_utf8_lossy(payload));
        let is_known = match flags & 0x60 {
            0x40 => !self.unreleased.insert(msg_id),
            _ => false,
        };
        if !is_known {
            lock(&self.shared).diary.commands.push(command);
        }
        match flags & 0x60 {
            0x20 => self.send(&format!("07 0D {topic_id:04X} {msg_id:04X} 00")),
            0x40 => self.send(&format!("04 0F {msg_id:04X}")),
            _ => {}
        }
    }

    fn note_accepted(&self) {
        if let Some(Exchange { payload, sent, .. }) = &self.exchange {
            lock(&self.shared).diary.accepted.push(Reading { payload: payload.clone(), sent: *sent });
        }
    }

    fn complain(&self, complaint: String) {
        lock(&self.shared).diary.complaints.push(complaint);
    }

    fn send(&self, frame: &str) {
        // A refused datagram is the previous one's: the gateway is away.
        drop(self.socket.send(&octets(frame)));
    }
}

impl Exchange {
    /// The frame that is due: PUBLISH, with DUP if it is not the first, or PUBREL.
    fn frame(&mut self, topic_id: u16, last_msg_id: &mut u16) -> String {
        if self.sent == 0 {
            *last_msg_id = *last_msg_id % 0x6FFF + 1;
            self.msg_id = *last_msg_id;
        }
        let Self { qos, payload, msg_id, sent, step } = self;
        match step {
            Step::Publish => {
                let flags = *qos << 5 | if *sent == 0 { 0 } else { 0x80 };
                *sent += 1;
                format!("LL 0C {flags:02X} {topic_id:04X} {msg_id:04X} '{payload}'")
            }
            Step::Release => format!("04 10 {msg_id:04X}"),
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nobody panics while it holds the lock")
}
