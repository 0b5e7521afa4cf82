//! What a session must be like, by what its client and the gateway have said to each other.
//!
//! Kept beside the gateway and from outside: frames and notices go in, and at each step the gateway's own account is
//! compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::net::Place;
use super::super::step::Effect;
use super::super::vocabulary::{self, Mark};
use super::Violation;
use super::topic_ids::TopicIds;
use crate::core::topics::{TopicFilter, TopicName};
use crate::core::{ClientPhase, ConnectRefusal, Durability, Instant, LossReason, Notice, Settings};
use crate::wire::{
    ConnAck, Connect, Disconnect, FilterRef, Message, MsgId, Qos, QosField, ReturnCode, SubAck, Subscribe, TopicId,
    Unsubscribe, WillTopicFields,
};

/// One client's session as it must be.
#[derive(Clone, Debug, Default)]
pub(super) struct Shadow {
    pub(super) is_abiding: bool,
    /// Where the session's frames come from and go to.
    pub(super) seat: Option<Place>,
    /// `None`: there is no session.
    pub(super) phase: Option<ClientPhase>,
    is_persistent: bool,
    tenure: Tenure,
    heard: Instant,
    /// When the client connected, came or went last.
    changed: Instant,
    /// When it woke up last.
    woken: Instant,
    /// Silence after which the client is lost.
    silence: Option<Duration>,
    keep_alive: u16,
    /// What the client has been told is granted, and since when.
    pub(super) granted: BTreeMap<TopicFilter, (Qos, Instant)>,
    asked: BTreeMap<MsgId, TopicFilter>,
    /// Every time that a filter was wanted in this session: from the SUBSCRIBE to the UNSUBSCRIBE.
    pub(super) wanted: Vec<Wanted>,
    /// What was wanted in former sessions.
    pub(super) wanted_before: BTreeSet<TopicFilter>,
    pub(super) topics: TopicIds,
    pub(super) will: Option<Will>,
    /// Whether the client was connected when it asked to connect anew.
    was_connected: bool,
    /// Told in a handshake that is not over.
    will_topic: Option<Will>,
    /// Counts sessions: a clean CONNECT begins a new one, and so does the next CONNECT after the end of one.
    pub(super) session: u64,
    /// What another process would find of it in the store, were that always up to date.
    kept: Option<Kept>,
}

/// Whether a CONNECT of this session was ever accepted; until then there is nothing to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Tenure {
    #[default]
    New,
    /// The gateway has accepted one; the answer may have to wait for the store.
    Established,
    /// The client has been told.
    Promised,
}

/// Where a client was when its session was stored.
#[derive(Clone, Debug)]
struct Kept {
    phase: ClientPhase,
    seat: Option<Place>,
    silence: Option<Duration>,
    is_persistent: bool,
    will: Option<Will>,
}

/// When a frame was meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    Now,
    /// It has waited for the store since this moment at the earliest.
    Since(Instant),
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) filter: TopicFilter,
    pub(super) from: Instant,
    /// When the gateway told the client what became of its SUBSCRIBE.
    pub(super) answered: Option<Instant>,
    pub(super) until: Option<Instant>,
}

/// The will that the gateway must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: TopicName,
    /// `None`: the message is empty.
    pub(super) mark: Option<Mark>,
    pub(super) qos: Qos,
}

impl Shadow {
    pub(super) fn new(is_abiding: bool) -> Self {
        Self { is_abiding, ..Self::default() }
    }

    /// Whether a message to the client may come under this topic id.
    pub(super) fn allows(&self, id: TopicId, name: &TopicName) -> bool {
        let is_asked_for = self.asked.values().any(|filter| filter.as_name().as_ref() == Some(name));
        // Of the frames that wait for the store some are dropped. The client asks again for what it has missed.
        is_asked_for || self.topics.may_mean(id, name, self.is_abiding)
    }

    /// Whether messages for the client are kept, or on their way.
    pub(super) fn is_served(&self) -> bool {
        self.phase.is_some()
    }

    /// Takes a frame that came from one of the client's places, and the effects it had.
    pub(super) fn hear(&mut self, now: Instant, from: &Place, message: &Message<'_>, effects: &[Effect]) {
        if let Message::Connect(connect) = message {
            if !is_refused(effects) {
                self.connect(now, from, connect);
            }
            return;
        }
        if let (Message::PingReq(ping), Some(ClientPhase::Asleep)) = (message, self.phase)
            && !ping.client_id.is_empty()
            && self.seat.as_ref() != Some(from)
        {
            // Wherever it comes from: every client here names itself.
            self.seat = Some(from.clone());
            self.changed = now;
        }
        if self.seat.as_ref() != Some(from) {
            return;
        }
        self.heard = now;
        let is_anonymous = matches!(message, Message::Publish(publish) if publish.qos == QosField::MinusOne);
        if is_anonymous {
            return;
        }
        if self.phase == Some(ClientPhase::Handshake) {
            return self.hear_in_handshake(now, message);
        }
        if let Message::Subscribe(Subscribe { msg_id, topic, .. }) = message {
            if let Some(filter) = filter_of(*topic)
                && self.asked.get(msg_id) != Some(&filter)
            {
                self.wanted.push(Wanted { filter: filter.clone(), from: now, answered: None, until: None });
                self.asked.insert(*msg_id, filter);
            }
        } else if let Message::Unsubscribe(Unsubscribe { topic, .. }) = message {
            if let Some(filter) = filter_of(*topic) {
                self.stop_wanting(now, &filter);
                self.asked.retain(|_, asked| *asked != filter);
            }
        } else if let Message::PingReq(_) = message {
            if self.phase == Some(ClientPhase::Asleep) {
                self.phase = Some(ClientPhase::Awake);
                self.woken = now;
            }
        } else if let Message::Register(register) = message {
            self.topics.hear_register(register);
        } else if let Message::RegAck(ack) = message {
            if let Some(refused) = self.topics.hear_reg_ack(*ack) {
                self.stop_wanting(now, &refused.into());
            }
        } else if let Message::WillTopicUpd(update) = message {
            let mark = self.will.take().and_then(|will| will.mark);
            self.will = update.will.and_then(|fields| Will::targeted(&fields)).map(|will| Will { mark, ..will });
        } else if let (Message::WillMsgUpd(update), Some(will)) = (message, &mut self.will) {
            will.mark = Mark::read(update.message);
        }
    }

    /// Takes what the gateway sent to one of the client's places. Returns whether it is meant for this session; what
    /// had to wait for the store may come when another one has begun.
    pub(super) fn see_sent(
        &mut self,
        now: Instant,
        to: &Place,
        message: &Message<'_>,
        meant: Meant,
    ) -> Result<bool, Violation> {
        let is_late = match meant {
            Meant::Now => false,
            Meant::Since(_) if self.seat.as_ref() != Some(to) => return Ok(false),
            Meant::Since(since) if self.changed > since => {
                self.see_promise(message);
                self.topics.see_perhaps(message);
                return Ok(false);
            }
            Meant::Since(_) => true,
        };
        if self.seat.as_ref() != Some(to) {
            let is_answer = matches!(message, Message::Disconnect(_) | Message::ConnAck(_) | Message::PubAck(_));
            return if is_answer { Ok(false) } else { Err(Violation(format!("{message} goes where no session is"))) };
        }
        if let Message::Publish(_) | Message::Register(_) = message
            && !is_late
            && !matches!(self.phase, Some(ClientPhase::Active | ClientPhase::Awake))
        {
            return Err(Violation(format!("{message} is sent to a client that is {:?}", self.phase)));
        }
        self.see_promise(message);
        if let Message::SubAck(ack) = message {
            self.see_sub_ack(now, *ack)?;
        } else if let Message::RegAck(ack) = message {
            self.topics.see_reg_ack(*ack)?;
        } else if let Message::Register(register) = message {
            self.topics.see_register(register)?;
        } else if let Message::PingResp(_) = message {
            match self.phase {
                // It has waited for the store since the client was awake before. `compare` sees whether there was another.
                Some(ClientPhase::Awake) if matches!(meant, Meant::Since(since) if since < self.woken) => {}
                Some(ClientPhase::Awake) => {
                    self.phase = Some(ClientPhase::Asleep);
                    self.heard = now;
                }
                Some(ClientPhase::Active) => {}
                Some(_) | None if is_late => {}
                Some(ClientPhase::Asleep | ClientPhase::Handshake | ClientPhase::Away) | None => {
                    return Err(Violation(format!("PINGRESP is sent to a client that is {:?}", self.phase)));
                }
            }
        }
        Ok(true)
    }

    fn see_promise(&mut self, message: &Message<'_>) {
        if let Message::ConnAck(ConnAck { return_code: ReturnCode::Accepted }) = message
            && self.tenure == Tenure::Established
        {
            self.tenure = Tenure::Promised;
        }
    }

    /// Takes what the gateway says of the client. Returns whether the will is due.
    pub(super) fn see_notice(&mut self, now: Instant, notice: &Notice, settings: &Settings) -> Result<bool, Violation> {
        match notice {
            Notice::ClientConnected { .. } | Notice::ClientAwake { .. } => {
                self.phase = Some(ClientPhase::Active);
                self.tenure = self.tenure.max(Tenure::Established);
                // The broker may have taken its time.
                self.heard = now;
                self.silence = match self.keep_alive {
                    0 => settings.timers.idle_limit,
                    seconds => Some(tolerated(seconds, settings)),
                };
            }
            Notice::ClientAsleep { seconds, .. } => {
                self.phase = Some(ClientPhase::Asleep);
                self.changed = now;
                self.silence = Some(tolerated(*seconds, settings));
            }
            Notice::ClientDisconnected { .. } => self.depart(now),
            Notice::ConnectRefused { why, .. } if ends_session(*why) => self.depart(now),
            Notice::ClientReplaced { .. } | Notice::HandshakeAbandoned { .. } => {
                let is_due = self.is_or_was_connected();
                self.depart(now);
                return Ok(is_due);
            }
            Notice::ClientLost { reason, .. } => {
                let patience = match reason {
                    LossReason::KeepAlive | LossReason::Sleep => self.silence,
                    // No link of this world is ever down.
                    LossReason::LinkDown => None,
                    LossReason::NoAnswer => Some(settings.timers.t_retry * (u32::from(settings.timers.n_retry) + 1)),
                    // The broker's doing, whatever the client says.
                    LossReason::BrokerGone | LossReason::ClosedByBroker { .. } => Some(Duration::ZERO),
                };
                if patience.is_none_or(|patience| now < self.heard + patience) {
                    return Err(Violation(format!("{reason}, says the gateway, {:?} after a frame", now - self.heard)));
                }
                self.depart(now);
                return Ok(true);
            }
            Notice::SessionExpired { .. } | Notice::SessionForgotten { .. } => self.end(now),
            Notice::ConnectRefused { .. }
            | Notice::ClientMoved { .. }
            | Notice::WillPublished { .. }
            | Notice::WillDropped { .. }
            | Notice::Refused { .. }
            | Notice::AnonymousRefused { .. }
            | Notice::Undeliverable { .. }
            | Notice::Unacknowledged { .. }
            | Notice::QueueOverflow { .. }
            | Notice::Stray { .. }
            | Notice::Malformed { .. }
            | Notice::SubscriptionLost { .. }
            | Notice::KeptRefused { .. }
            | Notice::KeptHandedOver { .. }
            | Notice::Outdated { .. }
            | Notice::GatewayHeard { .. }
            | Notice::GatewayGone { .. } => {}
        }
        Ok(false)
    }

    /// Compares with what the gateway says, and with the clock, at the end of a step.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        gateway: Option<ClientPhase>,
        settings: &Settings,
    ) -> Result<(), Violation> {
        let fell_asleep = (self.phase, gateway) == (Some(ClientPhase::Awake), Some(ClientPhase::Asleep));
        let may_wait = settings.durability != Durability::Nothing;
        if fell_asleep && (may_wait || now >= self.heard + settings.timers.t_retry) {
            // It stopped answering and sleeps on, for all the gateway knows; or PINGRESP waits for the store.
            self.phase = gateway;
            self.heard = now;
        }
        if self.phase != gateway {
            return Err(Violation(format!("the session should be {:?}, and is {gateway:?}", self.phase)));
        }
        let is_supervised = matches!(self.phase, Some(ClientPhase::Active | ClientPhase::Asleep));
        if is_supervised && self.silence.is_some_and(|silence| now >= self.heard + silence) {
            return Err(Violation(format!("nothing heard for {:?}, and still {:?}", now - self.heard, self.phase)));
        }
        self.keep();
        Ok(())
    }

    /// Takes note of what the store is told of the session.
    pub(super) fn keep(&mut self) {
        let phase = match self.phase {
            None => return self.kept = None,
            // What becomes of it is not known yet.
            Some(ClientPhase::Handshake) => return,
            Some(ClientPhase::Awake) => ClientPhase::Asleep,
            Some(phase @ (ClientPhase::Active | ClientPhase::Asleep | ClientPhase::Away)) => phase,
        };
        let Self { is_persistent, silence, .. } = *self;
        let (seat, will) = (self.seat.clone(), self.will.clone());
        self.kept = Some(Kept { phase, seat, silence, is_persistent, will });
    }

    /// A new process has taken up what was stored when the session was as in `stored`, at the time `at`.
    pub(super) fn restart(
        &mut self,
        now: Instant,
        (stored, at): (&Self, Instant),
        gateway: Option<ClientPhase>,
    ) -> Result<(), Violation> {
        let expected = stored.kept.as_ref().map(|kept| kept.phase);
        if expected != gateway {
            return Err(Violation(format!("{expected:?} was stored, and {gateway:?} is what came of it")));
        }
        let Some(kept) = stored.kept.clone() else {
            if self.phase.is_some() && self.tenure == Tenure::Promised {
                return Err(Violation("the session that its client was promised is gone".to_owned()));
            }
            self.end(now);
            return Ok(());
        };
        if self.session != stored.session || self.phase.is_none() {
            // It has ended, and that was not stored.
            *self = stored.clone();
        }
        for wanted in &mut self.wanted {
            // Nobody was told that it has ended.
            wanted.until = wanted.until.filter(|until| *until <= at);
            // What was not answered by then is forgotten.
            wanted.answered.get_or_insert(now);
        }
        let Kept { phase, seat, silence, is_persistent, will } = kept;
        self.asked.clear();
        self.topics.restart();
        self.will_topic = None;
        *self = Self {
            phase: Some(phase),
            seat,
            silence,
            is_persistent,
            will,
            heard: now,
            changed: now,
            tenure: self.tenure.max(Tenure::Established),
            ..std::mem::take(self)
        };
        self.keep();
        Ok(())
    }

    fn connect(&mut self, now: Instant, from: &Place, connect: &Connect<'_>) {
        if connect.clean_session || self.phase.is_none() {
            self.end(now);
            self.session += 1;
        }
        self.was_connected = self.is_or_was_connected();
        self.topics.connect();
        self.is_persistent = !connect.clean_session;
        self.keep_alive = connect.duration;
        self.will_topic = None;
        self.seat = Some(from.clone());
        self.phase = Some(ClientPhase::Handshake);
        (self.heard, self.changed) = (now, now);
    }

    fn is_or_was_connected(&self) -> bool {
        match self.phase {
            Some(ClientPhase::Active | ClientPhase::Asleep | ClientPhase::Awake) => true,
            Some(ClientPhase::Handshake) => self.was_connected,
            Some(ClientPhase::Away) | None => false,
        }
    }

    fn hear_in_handshake(&mut self, now: Instant, message: &Message<'_>) {
        if let Message::WillTopic(topic) = message {
            self.will_topic = topic.will.and_then(|fields| Will::targeted(&fields));
        } else if let Message::WillMsg(message) = message {
            if let Some(will) = self.will_topic.take() {
                self.will = Some(Will { mark: Mark::read(message.message), ..will });
            }
        } else if let Message::Disconnect(Disconnect { .. }) = message {
            self.depart(now);
        }
    }

    fn see_sub_ack(&mut self, now: Instant, ack: SubAck) -> Result<(), Violation> {
        let Some(filter) = self.asked.get(&ack.msg_id).cloned() else { return Ok(()) };
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.filter == filter) {
            wanted.answered.get_or_insert(now);
        }
        let (ReturnCode::Accepted, QosField::Level(qos)) = (ack.return_code, ack.qos) else {
            // A subscription that was there before may be gone with the refusal of its renewal, or still be there. And a
            // refusal may overtake the grant, if that waits for the store.
            self.granted.remove(&filter);
            return Ok(());
        };
        self.asked.remove(&ack.msg_id);
        let is_long_name =
            filter.as_str().len() != 2 && vocabulary::predefined_id(filter.as_str()) != Some(ack.topic_id);
        if let (true, true, Some(name)) = (ack.topic_id.is_assignable(), is_long_name, filter.as_name()) {
            self.topics.tell(ack.topic_id, &name)?;
        }
        // A subscription that is renewed goes on without a gap.
        let former = self.granted.get(&filter).filter(|(former, _)| *former > Qos::AtMostOnce);
        let since = former.map_or(now, |(_, since)| *since);
        self.granted.insert(filter, (qos, since));
        Ok(())
    }

    fn stop_wanting(&mut self, now: Instant, filter: &TopicFilter) {
        self.granted.remove(filter);
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.filter == *filter && wanted.until.is_none()) {
            wanted.until = Some(now);
        }
    }

    fn depart(&mut self, now: Instant) {
        if !self.is_persistent || self.tenure == Tenure::New {
            return self.end(now);
        }
        self.phase = Some(ClientPhase::Away);
        self.seat = None;
        self.changed = now;
    }

    /// Ends the session; nothing is kept.
    pub(super) fn end(&mut self, now: Instant) {
        let mut wanted_before = std::mem::take(&mut self.wanted_before);
        wanted_before.extend(self.wanted.drain(..).map(|wanted| wanted.filter));
        let Self { is_abiding, session, .. } = *self;
        *self = Self { is_abiding, session, heard: now, changed: now, wanted_before, ..Self::default() };
    }
}

impl Will {
    /// Takes what WILLTOPIC or WILLTOPICUPD says; the message is not known yet.
    fn targeted(fields: &WillTopicFields<'_>) -> Option<Self> {
        let topic = TopicName::parse(fields.topic).ok()?;
        Some(Self { topic, mark: None, qos: fields.qos.level()? })
    }
}

/// Whether the gateway has not even looked for a session.
fn is_refused(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::Noticed(Notice::ConnectRefused { why, .. }) => !ends_session(*why),
        Effect::Noticed(_)
        | Effect::Sent { .. }
        | Effect::Broadcast { .. }
        | Effect::Opened { .. }
        | Effect::Wrote { .. }
        | Effect::Commanded { .. } => false,
    })
}

/// Whether it is said after the CONNECT has taken the former session's place; the other refusals change nothing.
fn ends_session(why: ConnectRefusal) -> bool {
    match why {
        ConnectRefusal::WillTopic { .. }
        | ConnectRefusal::WillQos
        | ConnectRefusal::BrokerDown
        | ConnectRefusal::BrokerSilent
        | ConnectRefusal::StoreFails
        | ConnectRefusal::ByBroker { .. } => true,
        ConnectRefusal::ProtocolId(_)
        | ConnectRefusal::EmptyClientId
        | ConnectRefusal::UnreadableClientId
        | ConnectRefusal::LongClientId { .. }
        | ConnectRefusal::GatewaysOwnId
        | ConnectRefusal::TooManyClients { .. } => false,
    }
}

pub(super) fn filter_of(topic: FilterRef<'_>) -> Option<TopicFilter> {
    match topic {
        FilterRef::Name(name) => TopicFilter::parse(name).ok(),
        FilterRef::Short(name) => TopicFilter::parse(&name).ok(),
        FilterRef::Predefined(id) => vocabulary::predefined_name(id).map(TopicFilter::from),
    }
}

fn tolerated(seconds: u16, settings: &Settings) -> Duration {
    Duration::from_secs(seconds.into()).mul_f64(settings.timers.keep_alive_tolerance)
}
