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
use crate::core::topics::{TopicFilter, TopicName};
use crate::core::{ClientPhase, ConnectRefusal, Instant, LossReason, Notice, Settings};
use crate::wire::{
    Connect, Disconnect, FilterRef, Message, MsgId, Qos, QosField, RegAck, Register, ReturnCode, SubAck, Subscribe,
    TopicId, Unsubscribe,
};

/// One client's session as it must be.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    pub(super) is_abiding: bool,
    /// Where the session's frames come from and go to.
    pub(super) seat: Option<Place>,
    /// `None`: there is no session.
    pub(super) phase: Option<ClientPhase>,
    is_persistent: bool,
    /// Whether a CONNECT of this session was ever accepted; until then there is nothing to keep.
    is_established: bool,
    heard: Instant,
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
    will_topic: Option<TopicName>,
    /// Counts sessions: a clean CONNECT begins a new one, and so does the next CONNECT after the end of one.
    pub(super) session: u64,
}

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) filter: TopicFilter,
    pub(super) from: Instant,
    pub(super) until: Option<Instant>,
}

/// Normal topic ids of one session.
#[derive(Debug, Default)]
pub(super) struct TopicIds {
    pub(super) names: BTreeMap<TopicId, TopicName>,
    /// Ids that the client has been told in this connection.
    pub(super) told: BTreeSet<TopicId>,
    /// The client's REGISTERs that came with this step's frame, and the gateway's that wait for REGACK.
    registering: BTreeMap<MsgId, TopicName>,
    announced: BTreeMap<MsgId, TopicId>,
}

/// The will that the gateway must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Will {
    pub(super) topic: TopicName,
    /// `None`: the message is empty.
    pub(super) mark: Option<Mark>,
}

impl Shadow {
    pub(super) fn new(is_abiding: bool) -> Self {
        Self { is_abiding, ..Self::default() }
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
        {
            // Wherever it comes from: every client here names itself.
            self.seat = Some(from.clone());
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
                && !self.asked.contains_key(msg_id)
            {
                self.wanted.push(Wanted { filter: filter.clone(), from: now, until: None });
                self.asked.insert(*msg_id, filter);
            }
        } else if let Message::Unsubscribe(Unsubscribe { topic, .. }) = message {
            if let Some(filter) = filter_of(*topic) {
                self.stop_wanting(now, &filter);
            }
        } else if let Message::PingReq(_) = message {
            if self.phase == Some(ClientPhase::Asleep) {
                self.phase = Some(ClientPhase::Awake);
            }
        } else if let Message::Register(Register { msg_id, topic_name, .. }) = message {
            if let Ok(name) = TopicName::parse(topic_name) {
                self.topics.registering.insert(*msg_id, name);
            }
        } else if let Message::RegAck(ack) = message {
            self.hear_reg_ack(now, *ack);
        } else if let Message::WillTopicUpd(update) = message {
            let mark = self.will.take().and_then(|will| will.mark);
            let topic = update.will.and_then(|fields| TopicName::parse(fields.topic).ok());
            self.will = topic.map(|topic| Will { topic, mark });
        } else if let (Message::WillMsgUpd(update), Some(will)) = (message, &mut self.will) {
            will.mark = Mark::read(update.message);
        }
    }

    /// Takes what the gateway sent to one of the client's places.
    pub(super) fn see_sent(
        &mut self,
        now: Instant,
        to: &Place,
        message: &Message<'_>,
        settings: &Settings,
    ) -> Result<(), Violation> {
        if self.seat.as_ref() != Some(to) {
            let is_answer = matches!(message, Message::Disconnect(_) | Message::ConnAck(_) | Message::PubAck(_));
            return if is_answer { Ok(()) } else { Err(Violation(format!("{message} goes where no session is"))) };
        }
        if let Message::Publish(_) | Message::Register(_) = message
            && !matches!(self.phase, Some(ClientPhase::Active | ClientPhase::Awake))
        {
            return Err(Violation(format!("{message} is sent to a client that is {:?}", self.phase)));
        }
        if let Message::ConnAck(ack) = message {
            if self.phase == Some(ClientPhase::Handshake) && ack.return_code == ReturnCode::Accepted {
                self.phase = Some(ClientPhase::Active);
                self.is_established = true;
                // The broker may have taken its time.
                self.heard = now;
                self.silence = match self.keep_alive {
                    0 => settings.timers.idle_limit,
                    seconds => Some(tolerated(seconds, settings)),
                };
            }
        } else if let Message::SubAck(ack) = message {
            self.see_sub_ack(now, *ack)?;
        } else if let Message::RegAck(ack) = message {
            if let (Some(name), ReturnCode::Accepted) = (self.topics.registering.remove(&ack.msg_id), ack.return_code) {
                self.topics.name(ack.topic_id, &name)?;
                self.topics.told.insert(ack.topic_id);
            }
        } else if let Message::Register(Register { topic_id, msg_id, topic_name }) = message {
            let name = TopicName::parse(topic_name).map_err(|error| Violation(format!("{message}: {error}")))?;
            self.topics.name(*topic_id, &name)?;
            self.topics.announced.insert(*msg_id, *topic_id);
        } else if let Message::PingResp(_) = message {
            match self.phase {
                Some(ClientPhase::Awake) => {
                    self.phase = Some(ClientPhase::Asleep);
                    self.heard = now;
                }
                Some(ClientPhase::Active) => {}
                Some(ClientPhase::Asleep | ClientPhase::Handshake | ClientPhase::Away) | None => {
                    return Err(Violation(format!("PINGRESP is sent to a client that is {:?}", self.phase)));
                }
            }
        }
        Ok(())
    }

    /// Takes what the gateway says of the client. Returns whether the will is due.
    pub(super) fn see_notice(&mut self, now: Instant, notice: &Notice, settings: &Settings) -> Result<bool, Violation> {
        match notice {
            Notice::ClientAsleep { seconds, .. } => {
                self.phase = Some(ClientPhase::Asleep);
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
            Notice::ClientConnected { .. }
            | Notice::ClientAwake { .. }
            | Notice::ConnectRefused { .. }
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
        self.topics.registering.clear();
        let fell_asleep = (self.phase, gateway) == (Some(ClientPhase::Awake), Some(ClientPhase::Asleep));
        if fell_asleep && now >= self.heard + settings.timers.t_retry {
            // It stopped answering and sleeps on, for all the gateway knows.
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
        Ok(())
    }

    fn connect(&mut self, now: Instant, from: &Place, connect: &Connect<'_>) {
        if connect.clean_session || self.phase.is_none() {
            self.end(now);
            self.session += 1;
        }
        self.was_connected = self.is_or_was_connected();
        self.topics.told.clear();
        self.topics.announced.clear();
        self.is_persistent = !connect.clean_session;
        self.keep_alive = connect.duration;
        self.will_topic = None;
        self.seat = Some(from.clone());
        self.phase = Some(ClientPhase::Handshake);
        self.heard = now;
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
            self.will_topic = topic.will.and_then(|fields| TopicName::parse(fields.topic).ok());
        } else if let Message::WillMsg(will) = message {
            if let Some(topic) = self.will_topic.take() {
                self.will = Some(Will { topic, mark: Mark::read(will.message) });
            }
        } else if let Message::Disconnect(Disconnect { .. }) = message {
            self.depart(now);
        }
    }

    fn hear_reg_ack(&mut self, now: Instant, ack: RegAck) {
        let Some(topic_id) = self.topics.announced.remove(&ack.msg_id) else { return };
        match ack.return_code {
            ReturnCode::Accepted => {
                self.topics.told.insert(topic_id);
            }
            ReturnCode::Congestion => {
                self.topics.announced.insert(ack.msg_id, topic_id);
            }
            ReturnCode::InvalidTopicId | ReturnCode::NotSupported | ReturnCode::Reserved(_) => {
                if let Some(name) = self.topics.names.get(&topic_id).cloned() {
                    self.stop_wanting(now, &name.into());
                }
            }
        }
    }

    fn see_sub_ack(&mut self, now: Instant, ack: SubAck) -> Result<(), Violation> {
        let Some(filter) = self.asked.remove(&ack.msg_id) else { return Ok(()) };
        let (ReturnCode::Accepted, QosField::Level(qos)) = (ack.return_code, ack.qos) else {
            // A subscription that was there before may be gone with the refusal of its renewal, or still be there.
            self.granted.remove(&filter);
            return Ok(());
        };
        let is_long_name =
            filter.as_str().len() != 2 && vocabulary::predefined_id(filter.as_str()) != Some(ack.topic_id);
        if let (true, true, Some(name)) = (ack.topic_id.is_assignable(), is_long_name, filter.as_name()) {
            self.topics.name(ack.topic_id, &name)?;
            self.topics.told.insert(ack.topic_id);
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
        if !(self.is_persistent && self.is_established) {
            return self.end(now);
        }
        self.phase = Some(ClientPhase::Away);
        self.seat = None;
    }

    fn end(&mut self, now: Instant) {
        let mut wanted_before = std::mem::take(&mut self.wanted_before);
        wanted_before.extend(self.wanted.drain(..).map(|wanted| wanted.filter));
        let Self { is_abiding, session, .. } = *self;
        *self = Self { is_abiding, session, heard: now, wanted_before, ..Self::default() };
    }
}

impl TopicIds {
    fn name(&mut self, id: TopicId, name: &TopicName) -> Result<(), Violation> {
        if !id.is_assignable() || vocabulary::predefined_name(id).is_some() {
            return Err(Violation(format!("topic id {id} is not free to be given to {name:?}")));
        }
        match self.names.insert(id, name.clone()) {
            Some(other) if other != *name => {
                Err(Violation(format!("topic id {id} stands for {other:?} and for {name:?}")))
            }
            Some(_) | None => Ok(()),
        }
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
        | ConnectRefusal::ByBroker { .. } => true,
        ConnectRefusal::ProtocolId(_)
        | ConnectRefusal::EmptyClientId
        | ConnectRefusal::UnreadableClientId
        | ConnectRefusal::LongClientId { .. }
        | ConnectRefusal::StoreFails
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
