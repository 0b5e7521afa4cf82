//! One simulated device: its session at the gateway and the one message that it waits for an answer to. No I/O.
//!
//! There may be a hundred thousand, and every frame of a run passes through here: a device is small, and costs no
//! allocation a message.

use std::time::Duration;

use super::outbox::Outbox;
use super::plan::{Plan, Role};
use super::stamp::Stamp;
use super::tally::{Flow, Tally};
use crate::core::Instant;
use crate::wire::{
    Connect, Disconnect, FilterRef, Message, MsgId, PingReq, PubAck, PubComp, PubRec, PubRel, Publish, Qos, QosField,
    RegAck, Register, ReturnCode, Subscribe, TopicId, TopicRef,
};

/// How long a device that lost its session, or was refused one, stays away.
const STAYS_AWAY: Duration = Duration::from_secs(1);
/// QoS 2 messages that the gateway may have sent and not released; a gateway with more is given them twice.
const UNRELEASED: usize = 64;

#[derive(Debug)]
pub(super) struct Device {
    phase: Phase,
    /// The exchange that waits for an answer: never more than one (MQTT-SN 1.2 §6.5).
    pending: Option<Pending>,
    topic: TopicId,
    last_msg_id: u16,
    /// Messages begun, so the sequence number of the next.
    begun: u32,
    pings_at: Instant,
    unreleased: Vec<MsgId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No session, and none wanted yet.
    Waiting,
    /// On the way into a session: CONNECT, REGISTER, SUBSCRIBE, and DISCONNECT with a duration for one that sleeps.
    Joining,
    Active,
    Asleep {
        wakes_at: Instant,
    },
    /// Takes messages until PINGRESP.
    Awake,
    /// The session is lost; connects again then.
    Away {
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    exchange: Exchange,
    msg_id: MsgId,
    /// When the exchange began, or was due.
    since: Instant,
    again_at: Instant,
    sent: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    Connect,
    Register,
    Subscribe,
    /// DISCONNECT with a duration.
    FallAsleep,
    Publish {
        sequence: u32,
    },
    /// PUBREL, the second half of QoS 2.
    Release,
    Ping,
    /// PINGREQ with the client id.
    WakeUp,
}

/// What a device needs to act.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    /// Which device it is.
    pub(super) id: u32,
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a mut Tally,
    pub(super) out: &'a mut Outbox,
}

/// What a frame was to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard<'f> {
    /// A message for it; the payload.
    Message(&'f [u8]),
    Other,
}

impl Device {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Waiting,
            pending: None,
            topic: TopicId::NONE,
            last_msg_id: 0,
            begun: 0,
            pings_at: Instant::ORIGIN,
            unreleased: Vec::new(),
        }
    }

    /// Whether it has become what its role says: active, or asleep.
    pub(super) fn has_joined(&self) -> bool {
        match self.phase {
            Phase::Active | Phase::Asleep { .. } | Phase::Awake => true,
            Phase::Waiting | Phase::Joining | Phase::Away { .. } => false,
        }
    }

    pub(super) fn is_asleep(&self) -> bool {
        matches!(self.phase, Phase::Asleep { .. })
    }

    /// Whether it can begin a message.
    pub(super) fn is_free(&self) -> bool {
        self.phase == Phase::Active && self.pending.is_none()
    }

    /// Whether it waits for an answer.
    pub(super) fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Messages begun so far.
    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    pub(super) fn connect(&mut self, context: &mut Context<'_>) {
        self.phase = Phase::Joining;
        self.unreleased.clear();
        context.tally.connects.sent += 1;
        self.begin(context, Exchange::Connect, context.now);
    }

    /// Publishes its next message, which was due at `due`.
    pub(super) fn publish(&mut self, context: &mut Context<'_>, due: Instant) {
        let sequence = self.begun;
        self.begun += 1;
        context.tally.up.sent += 1;
        self.begin(context, Exchange::Publish { sequence }, due);
        if context.plan.qos == Qos::AtMostOnce {
            self.pending = None;
        }
    }

    /// Wakes up, if it is asleep, and takes what the gateway has for it.
    pub(super) fn wake_up(&mut self, context: &mut Context<'_>) {
        if self.is_asleep() {
            self.phase = Phase::Awake;
            context.tally.pings.sent += 1;
            self.begin(context, Exchange::WakeUp, context.now);
        }
    }

    /// Leaves without waiting for an answer.
    pub(super) fn leave(&mut self, context: &mut Context<'_>) {
        if self.has_joined() {
            context.send(&Disconnect { duration: None }.into());
        }
        self.phase = Phase::Waiting;
        self.pending = None;
    }

    /// Does what is due: sends again, pings, wakes up, connects again.
    pub(super) fn tick(&mut self, context: &mut Context<'_>) {
        if let Some(pending) = self.pending {
            if pending.again_at <= context.now {
                self.send_again(context, pending);
            }
            return;
        }
        match self.phase {
            Phase::Active if context.plan.keep_alive > 0 && self.pings_at <= context.now => {
                context.tally.pings.sent += 1;
                self.begin(context, Exchange::Ping, context.now);
            }
            Phase::Asleep { wakes_at } if wakes_at <= context.now => self.wake_up(context),
            Phase::Away { until } if until <= context.now => self.connect(context),
            Phase::Waiting
            | Phase::Joining
            | Phase::Active
            | Phase::Asleep { .. }
            | Phase::Awake
            | Phase::Away { .. } => {}
        }
    }

    /// Takes a frame from the gateway.
    pub(super) fn receive<'f>(&mut self, context: &mut Context<'_>, message: &Message<'f>) -> Heard<'f> {
        if let Message::Publish(publish) = message {
            return self.on_publish(context, publish);
        } else if let Message::PubRel(PubRel { msg_id }) = message {
            self.unreleased.retain(|held| held != msg_id);
            context.send(&PubComp { msg_id: *msg_id }.into());
        } else if let Message::Register(Register { topic_id, msg_id, .. }) = message {
            let (topic_id, msg_id) = (*topic_id, *msg_id);
            context.send(&RegAck { topic_id, msg_id, return_code: ReturnCode::Accepted }.into());
        } else if let Some(pending) = self.pending {
            self.on_answer(context, pending, message);
        } else if let Message::Disconnect(_) = message
            && self.has_joined()
        {
            self.lose_session(context);
        }
        Heard::Other
    }

    fn on_publish<'f>(&mut self, context: &mut Context<'_>, publish: &Publish<'f>) -> Heard<'f> {
        context.tally.down.retransmitted += u64::from(publish.dup);
        let mut is_new = true;
        match publish.qos.level() {
            None | Some(Qos::AtMostOnce) => {}
            Some(Qos::AtLeastOnce) => {
                let (topic_id, msg_id) = (publish.topic.octets(), publish.msg_id);
                context.send(&PubAck { topic_id, msg_id, return_code: ReturnCode::Accepted }.into());
            }
            Some(Qos::ExactlyOnce) => {
                is_new = !self.unreleased.contains(&publish.msg_id);
                if is_new && self.unreleased.len() < UNRELEASED {
                    self.unreleased.push(publish.msg_id);
                }
                context.send(&PubRec { msg_id: publish.msg_id }.into());
            }
        }
        if is_new { Heard::Message(publish.data) } else { Heard::Other }
    }

    /// Takes what may be the answer to the pending exchange; anything else is a latecomer.
    fn on_answer(&mut self, context: &mut Context<'_>, pending: Pending, message: &Message<'_>) {
        let Pending { exchange, msg_id, since, .. } = pending;
        let now = context.now;
        if let (Exchange::Publish { .. }, Message::PubAck(ack)) = (exchange, message) {
            let is_ours = ack.msg_id == msg_id;
            if is_ours && ack.return_code != ReturnCode::Accepted {
                self.put_off(context, |tally| &mut tally.up);
            } else if is_ours && context.plan.qos == Qos::AtLeastOnce {
                self.pending = None;
                context.tally.up.acknowledge(since, now);
            }
        } else if let (Exchange::Publish { .. }, Message::PubRec(answer)) = (exchange, message) {
            if answer.msg_id == msg_id && context.plan.qos == Qos::ExactlyOnce {
                let release = Pending { exchange: Exchange::Release, again_at: now + context.plan.t_retry, ..pending };
                self.pending = Some(release);
                self.send(context, &release, false);
            }
        } else if let (Exchange::Release, Message::PubComp(answer)) = (exchange, message) {
            if answer.msg_id == msg_id {
                self.pending = None;
                context.tally.up.acknowledge(since, now);
            }
        } else if let (Exchange::Connect, Message::ConnAck(ack)) = (exchange, message) {
            if ack.return_code == ReturnCode::Accepted {
                context.tally.connects.acknowledge(since, now);
                self.go_on_joining(context, exchange);
            } else {
                context.tally.connects.refused += 1;
                self.stay_away(now);
            }
        } else if let (Exchange::Register, Message::RegAck(ack)) = (exchange, message) {
            if ack.msg_id == msg_id {
                self.topic = ack.topic_id;
                self.go_on_if(context, exchange, ack.return_code);
            }
        } else if let (Exchange::Subscribe, Message::SubAck(ack)) = (exchange, message) {
            if ack.msg_id == msg_id {
                self.go_on_if(context, exchange, ack.return_code);
            }
        } else if let (Exchange::FallAsleep, Message::Disconnect(_)) = (exchange, message) {
            self.fall_asleep(now, context.plan.wake_every);
        } else if let (Exchange::WakeUp, Message::PingResp(_)) = (exchange, message) {
            context.tally.pings.acknowledge(since, now);
            self.fall_asleep(now, context.plan.wake_every);
        } else if let (Exchange::Ping, Message::PingResp(_)) = (exchange, message) {
            self.pending = None;
            context.tally.pings.acknowledge(since, now);
        } else if let Message::Disconnect(_) = message {
            self.lose_session(context);
        }
    }

    fn go_on_if(&mut self, context: &mut Context<'_>, done: Exchange, return_code: ReturnCode) {
        if return_code == ReturnCode::Accepted {
            self.go_on_joining(context, done);
        } else {
            self.put_off(context, |tally| &mut tally.connects);
        }
    }

    /// Takes the step behind `done` that its role asks for.
    fn go_on_joining(&mut self, context: &mut Context<'_>, done: Exchange) {
        let plan = context.plan;
        let role = plan.role(context.id);
        if done == Exchange::Connect && plan.up.is_some() && role == Role::Awake {
            self.begin(context, Exchange::Register, context.now);
        } else if done != Exchange::Subscribe && plan.subscription(context.id).is_some() {
            self.begin(context, Exchange::Subscribe, context.now);
        } else if role == Role::Sleeper {
            self.begin(context, Exchange::FallAsleep, context.now);
        } else {
            self.pending = None;
            self.phase = Phase::Active;
            // Spread over the first period, as the devices of a field are.
            let period = Duration::from_secs(plan.keep_alive.into());
            self.pings_at = context.now + period * (context.id + 1) / plan.clients.max(1);
        }
    }

    fn fall_asleep(&mut self, now: Instant, until: Duration) {
        self.pending = None;
        self.phase = Phase::Asleep { wakes_at: now + until };
    }

    /// Asks again later, because the gateway said no.
    fn put_off(&mut self, context: &mut Context<'_>, flow: impl Fn(&mut Tally) -> &mut Flow) {
        flow(context.tally).refused += 1;
        if let Some(pending) = &mut self.pending {
            pending.again_at = context.now + STAYS_AWAY;
        }
    }

    fn lose_session(&mut self, context: &mut Context<'_>) {
        context.tally.sessions_lost += 1;
        if let Some(Pending { exchange: Exchange::Publish { .. } | Exchange::Release, .. }) = self.pending {
            context.tally.up.abandoned += 1;
        }
        self.stay_away(context.now);
    }

    fn stay_away(&mut self, now: Instant) {
        self.pending = None;
        self.phase = Phase::Away { until: now + STAYS_AWAY };
    }

    fn send_again(&mut self, context: &mut Context<'_>, mut pending: Pending) {
        let exchange = pending.exchange;
        if pending.sent <= u16::from(context.plan.n_retry) {
            pending.sent += 1;
            pending.again_at = context.now + context.plan.t_retry;
            self.pending = Some(pending);
            exchange.flow(context.tally).retransmitted += 1;
            return self.send(context, &pending, true);
        }
        exchange.flow(context.tally).abandoned += 1;
        match exchange {
            // The next message may do better.
            Exchange::Publish { .. } | Exchange::Release => self.pending = None,
            Exchange::Connect => self.stay_away(context.now),
            Exchange::Register | Exchange::Subscribe | Exchange::FallAsleep | Exchange::Ping | Exchange::WakeUp => {
                context.tally.sessions_lost += 1;
                self.stay_away(context.now);
            }
        }
    }

    /// Sends the first frame of an exchange.
    fn begin(&mut self, context: &mut Context<'_>, exchange: Exchange, since: Instant) {
        self.last_msg_id = self.last_msg_id.checked_add(1).unwrap_or(1);
        let again_at = context.now + context.plan.t_retry;
        let pending = Pending { exchange, msg_id: MsgId(self.last_msg_id), since, again_at, sent: 1 };
        self.pending = Some(pending);
        self.pings_at = context.now + Duration::from_secs(context.plan.keep_alive.into());
        self.send(context, &pending, false);
    }

    fn send(&self, context: &mut Context<'_>, pending: &Pending, dup: bool) {
        let (plan, id, msg_id) = (context.plan, context.id, pending.msg_id);
        match pending.exchange {
            Exchange::Connect => context.send(
                &Connect {
                    will: false,
                    clean_session: true,
                    protocol_id: 1,
                    duration: plan.keep_alive,
                    client_id: plan.client_id(id).as_bytes(),
                }
                .into(),
            ),
            Exchange::Register => {
                let name = plan.topic_up(id);
                context.send(&Register { topic_id: TopicId::NONE, msg_id, topic_name: name.as_bytes() }.into());
            }
            Exchange::Subscribe => {
                let name = plan.subscription(id).unwrap_or_default();
                let topic = FilterRef::Name(name.as_bytes());
                context.send(&Subscribe { dup, qos: QosField::Level(plan.qos), msg_id, topic }.into());
            }
            Exchange::FallAsleep => {
                let seconds = plan.wake_every.as_secs_f64().ceil().clamp(1.0, f64::from(u16::MAX));
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped to the range of u16"
                )]
                let duration = Some(seconds as u16);
                context.send(&Disconnect { duration }.into());
            }
            Exchange::Publish { sequence } => {
                let stamp = Stamp { run: plan.run, device: id, sequence, due: pending.since };
                let topic = TopicRef::Normal(self.topic);
                let msg_id = if plan.qos == Qos::AtMostOnce { MsgId::NONE } else { msg_id };
                context.out.publish(id, plan.size, &stamp, |data| Publish {
                    dup,
                    qos: QosField::Level(plan.qos),
                    retain: false,
                    topic,
                    msg_id,
                    data,
                });
            }
            Exchange::Release => context.send(&PubRel { msg_id }.into()),
            Exchange::Ping => context.send(&PingReq { client_id: &[] }.into()),
            Exchange::WakeUp => context.send(&PingReq { client_id: plan.client_id(id).as_bytes() }.into()),
        }
    }
}

impl Exchange {
    /// Returns where its troubles are counted.
    fn flow(self, tally: &mut Tally) -> &mut Flow {
        match self {
            Self::Connect | Self::Register | Self::Subscribe | Self::FallAsleep => &mut tally.connects,
            Self::Publish { .. } | Self::Release => &mut tally.up,
            Self::Ping | Self::WakeUp => &mut tally.pings,
        }
    }
}

impl Context<'_> {
    fn send(&mut self, message: &Message<'_>) {
        self.out.send(self.id, message);
    }
}
