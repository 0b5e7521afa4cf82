//! One MQTT connection: what is on its way in both directions, and what its session keeps while it is broken.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytestring::ByteString;

use super::super::dice::Dice;
use super::ledger::{Change, Entry, Ledger};
use super::session::{Copy, Delivered, Progress, Session, Subscription};
use super::{Agenda, Overlap, Task, Temper, Word};
use crate::core::topics::TopicFilter;
use crate::core::{
    BrokerCommand, BrokerEvent, ConnId, ConnectSpec, Delivery, Instant, Message, Origin, PublishOutcome,
    SubscribeOutcome, SubscriptionId, Token,
};
use crate::wire::Qos;

/// When, where and with whom something happens on a connection.
pub(super) struct Stage<'a> {
    pub(super) now: Instant,
    pub(super) conn: ConnId,
    pub(super) temper: &'a Temper,
    pub(super) dice: &'a mut Dice,
    pub(super) agenda: &'a mut Agenda,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    link: Link,
    /// Counts how often the connection broke: what was on its way then is lost.
    era: u64,
    /// TCP keeps the order: nothing arrives before what was sent before it.
    sees_next: Instant,
    says_next: Instant,
    /// To be sent, in order. What the ledger must have first holds up what is behind it.
    outbox: VecDeque<BrokerCommand>,
    /// On its way to the broker, in order.
    wire: VecDeque<BrokerCommand>,
    /// Whose ledger the connection keeps; without one it keeps nothing.
    keeper: Option<ByteString>,
    /// A client's own connection says who it is.
    spec: Option<ConnectSpec>,
    session: Session,
    resumes: bool,
    /// The gateway has yet to hear that the session was lost.
    hides_loss: bool,
    /// The gateway wants it to end.
    is_ending: bool,
    /// Oldest first; kept until the gateway has heard the answer.
    publishes: Vec<Publish>,
    /// Subscribes and unsubscribes, as [`Connection::publishes`].
    requests: Vec<BrokerCommand>,
    /// Subscribes among them that the broker has granted and undone again.
    overtaken: BTreeSet<Token>,
    last_delivery: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    #[default]
    New,
    /// It is up, and the gateway has yet to hear so.
    Made,
    Up,
    Broken,
    Closed,
}

#[derive(Debug)]
struct Publish {
    token: Token,
    message: Message,
    /// Whether the broker has the message, if only the answer were heard.
    taken_over: bool,
    standing: Standing,
}

/// How a publish stands in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not kept.
    Unkept,
    /// It is being entered, and goes out when that is done.
    Entering,
    Entered,
    /// It is being struck off, and the gateway hears of it when that is done.
    Leaving,
}

impl Connection {
    pub(super) fn new(spec: Option<ConnectSpec>, resumed: Option<Session>, keeper: Option<ByteString>) -> Self {
        let resumes = resumed.is_some();
        Self { spec, session: resumed.unwrap_or_default(), resumes, keeper, ..Self::default() }
    }

    /// Takes up what the connection of a former process has kept.
    pub(super) fn take_up(&mut self, ledger: Ledger) {
        let taken_over = std::mem::take(&mut self.session.taken_over);
        let publish = |(token, message)| {
            let taken_over = taken_over.contains(&token);
            Publish { token, message, taken_over, standing: Standing::Entered }
        };
        self.publishes.extend(ledger.into_messages().into_iter().map(publish));
    }

    /// Returns whose connection it is; the gateway's own is nobody's.
    pub(super) fn client_id(&self) -> Option<&ByteString> {
        self.spec.as_ref().map(|spec| &spec.client_id)
    }

    pub(super) fn era(&self) -> u64 {
        self.era
    }

    /// Whether everything that was published over it has been answered.
    pub(super) fn has_all_answers(&self) -> bool {
        self.publishes.is_empty()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link, Link::Made | Link::Up)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.link == Link::Up
            && self.publishes.is_empty()
            && self.requests.is_empty()
            && (self.session.backlog.is_empty() || self.session.waits_for_gateway())
    }

    pub(super) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.session.subscriptions.keys()
    }

    /// Takes a command from the gateway and sends it on its way.
    pub(super) fn submit(&mut self, stage: &mut Stage<'_>, command: BrokerCommand) {
        match &command {
            BrokerCommand::Publish { token: Some(token), message, .. } => {
                let (token, message) = (*token, message.clone());
                let is_kept = message.qos == Qos::ExactlyOnce && self.keeper.is_some();
                let standing = if is_kept { Standing::Entering } else { Standing::Unkept };
                self.publishes.push(Publish { token, message: message.clone(), taken_over: false, standing });
                if is_kept {
                    self.enter(stage, Change::Begins { token, message });
                }
            }
            BrokerCommand::Subscribe { .. } | BrokerCommand::Unsubscribe { .. } => self.requests.push(command.clone()),
            BrokerCommand::Ack { delivery } => {
                if let Some(open) = self.session.deliveries.iter_mut().find(|open| open.delivery == *delivery) {
                    open.progress = Progress::Acknowledged;
                }
            }
            BrokerCommand::Disconnect => self.is_ending = true,
            BrokerCommand::Publish { token: None, .. } => {}
        }
        if self.is_up() {
            self.outbox.push_back(command);
            self.flush(stage);
        }
    }

    /// Sends an event on its way to the gateway.
    pub(super) fn say(&mut self, stage: &mut Stage<'_>, event: BrokerEvent) {
        let word = Word { event, brought_by: Vec::new(), made: stage.now };
        self.say_word(stage, word);
    }

    /// Strikes a publish off the ledger before the gateway hears what became of it. Returns whether there is need to.
    pub(super) fn strike_off(&mut self, stage: &mut Stage<'_>, event: &BrokerEvent) -> bool {
        let BrokerEvent::Published { token, outcome } = event else { return false };
        let mut publishes = self.publishes.iter_mut();
        let Some(publish) = publishes.find(|publish| publish.token == *token && publish.standing == Standing::Entered)
        else {
            return false;
        };
        publish.standing = Standing::Leaving;
        self.enter(stage, Change::Ends { token: *token, outcome: *outcome });
        true
    }

    /// A change of the ledger is stored. Returns what the gateway hears by it.
    pub(super) fn kept(&mut self, stage: &mut Stage<'_>, change: Change) -> Option<BrokerEvent> {
        match change {
            Change::Begins { token, .. } => {
                let publish = self.publishes.iter_mut().find(|publish| publish.token == token)?;
                publish.standing = Standing::Entered;
                self.flush(stage);
                None
            }
            Change::Ends { token, outcome } => Some(BrokerEvent::Published { token, outcome }),
            Change::Closes => None,
        }
    }

    /// Takes what arrives at the broker next.
    pub(super) fn take_sent(&mut self) -> Option<BrokerCommand> {
        self.wire.pop_front()
    }

    /// Returns how much is on its way to the broker.
    pub(super) fn sent(&self) -> usize {
        self.wire.len()
    }

    /// The gateway's process is gone. Returns the session that the broker keeps for the next one, if it does.
    pub(super) fn lose_gateway(&mut self, dice: &mut Dice) -> Option<Session> {
        if self.link == Link::Closed || self.hides_loss {
            return None;
        }
        let mut session = std::mem::take(&mut self.session);
        session.lose_gateway(dice);
        let taken_over = self.publishes.iter().filter(|publish| publish.taken_over).map(|publish| publish.token);
        session.taken_over = taken_over.collect();
        let is_kept = match &self.spec {
            Some(spec) => !spec.clean_session,
            None => self.keeper.is_some(),
        };
        is_kept.then_some(session)
    }

    /// The gateway hears an event now.
    pub(super) fn heard(&mut self, event: &BrokerEvent) {
        match event {
            BrokerEvent::Published { token, .. } => self.publishes.retain(|publish| publish.token != *token),
            BrokerEvent::Subscribed { token: heard, .. } => {
                let is_other = |request: &BrokerCommand| !matches!(request, BrokerCommand::Subscribe { token, .. } if token == heard);
                self.requests.retain(is_other);
                self.overtaken.remove(heard);
            }
            BrokerEvent::Message { delivery: Some(delivery), .. } => {
                if let Some(open) = self.session.deliveries.iter_mut().find(|open| open.delivery == *delivery) {
                    open.progress = Progress::Heard;
                }
            }
            BrokerEvent::Up { .. } => {
                self.link = Link::Up;
                self.hides_loss = false;
            }
            BrokerEvent::Message { delivery: None, .. } | BrokerEvent::Down { .. } | BrokerEvent::Closed => {}
        }
    }

    /// Returns whether the broker has this publish already, and only the answer got lost.
    pub(super) fn has_taken_over(&self, token: Token) -> bool {
        self.publishes.iter().any(|publish| publish.token == token && publish.taken_over)
    }

    pub(super) fn take_over(&mut self, token: Token) {
        if let Some(publish) = self.publishes.iter_mut().find(|publish| publish.token == token) {
            publish.taken_over = true;
        }
    }

    pub(super) fn subscribe(&mut self, filter: TopicFilter, qos: Qos, id: SubscriptionId) {
        self.session.subscriptions.insert(filter, Subscription { qos, id });
    }

    pub(super) fn unsubscribe(&mut self, filter: &TopicFilter) {
        self.session.subscriptions.remove(filter);
        let is_it =
            |request: &BrokerCommand| matches!(request, BrokerCommand::Unsubscribe { filter: it } if it == filter);
        let Some(position) = self.requests.iter().position(is_it) else { return };
        self.requests.remove(position);
        for request in self.requests.iter().take(position) {
            if let BrokerCommand::Subscribe { token, filter: it, .. } = request
                && it == filter
            {
                self.overtaken.insert(*token);
            }
        }
    }

    pub(super) fn acknowledged(&mut self, stage: &mut Stage<'_>, delivery: Delivery) {
        self.session.deliveries.retain(|open| open.delivery != delivery);
        self.send_backlog(stage);
    }

    pub(super) fn copies(&self, made: Instant, message: &Message, overlap: Overlap) -> Vec<Copy> {
        self.session.copies(made, message, overlap)
    }

    /// Takes the will that the broker publishes because the connection broke.
    pub(super) fn take_will(&mut self) -> Option<Message> {
        self.spec.as_mut().and_then(|spec| spec.will.take())
    }

    /// Ends the connection. Returns the session, if the broker keeps it, and whose it is.
    pub(super) fn close(&mut self, stage: &mut Stage<'_>) -> Option<(ByteString, Session)> {
        self.say(stage, BrokerEvent::Closed);
        self.link = Link::Closed;
        if self.keeper.is_some() {
            self.enter(stage, Change::Closes);
        }
        self.publishes.clear();
        self.requests.clear();
        let mut session = std::mem::take(&mut self.session);
        session.abandon();
        let spec = self.spec.as_ref().filter(|spec| !spec.clean_session)?;
        Some((spec.client_id.clone(), session))
    }

    /// Sends a message to the gateway, or keeps it for later.
    pub(super) fn deliver(&mut self, stage: &mut Stage<'_>, copy: Copy) {
        if copy.message.qos > Qos::AtMostOnce {
            self.session.backlog.push_back(copy);
            self.send_backlog(stage);
        } else if self.is_up() {
            let word = word(&copy, None, None, stage.temper);
            self.say_word(stage, word);
        }
    }

    /// Lets nothing through for a while.
    pub(super) fn stall(&mut self, now: Instant, lasts: Duration) {
        self.sees_next = self.sees_next.max(now + lasts);
        self.says_next = self.says_next.max(now + lasts);
    }

    pub(super) fn break_off(&mut self, stage: &mut Stage<'_>) {
        self.link = Link::Broken;
        self.new_era(stage.now);
        let reason = "the broker closed the connection".to_owned();
        self.say(stage, BrokerEvent::Down { reason, refusal: None });
        for request in std::mem::take(&mut self.requests) {
            // One that an unsubscribe has followed is not repeated, lest it come after that.
            if let BrokerCommand::Subscribe { token, .. } = request
                && (self.overtaken.contains(&token) || stage.dice.chance(500))
            {
                self.say(stage, BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Lost });
            } else {
                self.requests.push(request);
            }
        }
    }

    /// The connection is made. Repeats what was not answered, as far as the session allows.
    pub(super) fn restore(&mut self, stage: &mut Stage<'_>, keeps_session: bool) {
        if self.link == Link::Closed {
            return;
        }
        // The first connection finds no session, unless an earlier one left it.
        let session_present = keeps_session && !self.hides_loss && (self.link == Link::Broken || self.resumes);
        self.hides_loss = !session_present;
        self.link = Link::Made;
        self.say(stage, BrokerEvent::Up { session_present, offer: stage.temper.offer });
        if session_present {
            self.session.redeliver();
        } else {
            self.session = Session::default();
        }
        for publish in std::mem::take(&mut self.publishes) {
            let is_out = matches!(publish.standing, Standing::Unkept | Standing::Entered);
            if publish.standing == Standing::Leaving {
                self.publishes.push(publish);
            } else if !session_present && is_out && publish.message.qos == Qos::ExactlyOnce {
                let event = BrokerEvent::Published { token: publish.token, outcome: PublishOutcome::Lost };
                self.say(stage, event);
                self.publishes.push(publish);
            } else {
                let command = BrokerCommand::Publish {
                    token: Some(publish.token),
                    message: publish.message.clone(),
                    expires_in: None,
                };
                self.publishes.push(publish);
                self.outbox.push_back(command);
            }
        }
        self.outbox.extend(self.requests.iter().cloned());
        self.flush(stage);
        self.send_backlog(stage);
    }

    fn flush(&mut self, stage: &mut Stage<'_>) {
        while self.outbox.front().is_some_and(|command| !waits_for_ledger(command, &self.publishes)) {
            if let Some(command) = self.outbox.pop_front() {
                self.send(stage, command);
            }
        }
    }

    fn send_backlog(&mut self, stage: &mut Stage<'_>) {
        while self.is_up() && self.session.deliveries.len() < stage.temper.window {
            let Some(mut copy) = self.session.backlog.pop_front() else { return };
            self.last_delivery += 1;
            let delivery = Delivery(self.last_delivery);
            let origin = (copy.message.qos == Qos::ExactlyOnce).then(|| {
                let duplicate = copy.packet.is_some();
                let packet = *copy.packet.get_or_insert_with(|| self.session.free_packet());
                Origin { packet, duplicate }
            });
            let word = word(&copy, Some(delivery), origin, stage.temper);
            self.session.deliveries.push(Delivered { delivery, copy, progress: Progress::Sent });
            self.say_word(stage, word);
        }
    }

    fn send(&mut self, stage: &mut Stage<'_>, command: BrokerCommand) {
        let (least, most) = stage.temper.latency;
        self.sees_next = self.sees_next.max(stage.now + stage.dice.between(least, most));
        self.wire.push_back(command);
        stage.agenda.push((self.sees_next, Task::Sees { conn: stage.conn, era: self.era }));
    }

    fn enter(&self, stage: &mut Stage<'_>, change: Change) {
        let Some(client_id) = self.keeper.clone() else { return };
        stage.agenda.push((stage.now, Task::Keeps(Entry { conn: stage.conn, client_id, change })));
    }

    fn say_word(&mut self, stage: &mut Stage<'_>, word: Word) {
        let (least, most) = stage.temper.latency;
        self.says_next = self.says_next.max(stage.now + stage.dice.between(least, most));
        stage.agenda.push((self.says_next, Task::Says { conn: stage.conn, era: Some(self.era), word }));
    }

    fn new_era(&mut self, now: Instant) {
        self.era += 1;
        self.outbox.clear();
        self.wire.clear();
        (self.sees_next, self.says_next) = (now, now);
    }
}

fn waits_for_ledger(command: &BrokerCommand, publishes: &[Publish]) -> bool {
    let BrokerCommand::Publish { token: Some(token), .. } = command else { return false };
    publishes.iter().any(|publish| publish.token == *token && publish.standing == Standing::Entering)
}

fn word(copy: &Copy, delivery: Option<Delivery>, origin: Option<Origin>, temper: &Temper) -> Word {
    let subscriptions = if temper.offer.subscription_ids { copy.ids.clone() } else { Vec::new() };
    let event = BrokerEvent::Message { delivery, origin, message: copy.message.clone(), subscriptions };
    Word { event, brought_by: copy.brought_by.clone(), made: copy.made }
}
