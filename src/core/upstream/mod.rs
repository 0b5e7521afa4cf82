//! Between the sessions and the broker: connections, tokens, subscriptions, deliveries.
//!
//! Sessions see one interface and never learn the mode. In aggregating mode all share the gateway's own connection;
//! in transparent mode each has one of its own, and the gateway's own carries only QoS -1 messages.

mod aggregating;
mod arrivals;
mod covers;
mod deliveries;
mod filters;
mod held;
mod kept;
mod line;
mod overlaps;
mod publishing;
mod replayed;
mod restore;
mod tokens;
mod transparent;

use std::collections::VecDeque;
use std::time::Duration;

use bytestring::ByteString;

use super::context::Means;
use super::journal::Journal;
use super::notice::ConnectRefusal;
use super::outage::OutageSettings;
use super::sessions::SessionKey;
use super::settings::Mode;
use super::topics::TopicFilter;
use super::{
    BrokerCommand, BrokerOffer, ConnId, Delivery, Instant, Limits, Message, Outputs, SessionNumber, SubscribeOutcome,
    SubscriptionId, Token,
};
use crate::wire::Qos;

use aggregating::{Aggregating, Copies};
pub(super) use arrivals::Arrival;
use arrivals::Arrivals;
pub(super) use deliveries::{DeliveryNumber, Holders, Receipt};
pub(super) use filters::Recipient;
use held::Held;
use kept::Kept;
use line::Line;
pub(super) use line::PublishRefusal;
use tokens::{Pending, Tokens};
use transparent::Transparent;

/// The broker's side of the core.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The gateway's own connection.
    own: Line,
    mode: Clients,
    tokens: Tokens,
    publishes_in_flight: usize,
    kept: Kept,
    held: Held,
    origin: Origin,
    arrivals: Arrivals,
    /// What has been taken over from the broker on clients' own connections, to be noted at the end of the turn.
    taken: Vec<(SessionNumber, Arrival)>,
    /// Wills of lost clients that wait for the broker to come back.
    wills: VecDeque<Message>,
    wills_in_flight: usize,
    /// When what the connection had no room for is tried again. Not at once: it answers at once, and that would never
    /// end.
    retry: Option<Instant>,
}

/// How long a connection without room is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where what is known of the broker's session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// This process.
    Fresh,
    /// A former one; the broker has not been heard yet.
    Restored,
}

#[derive(Debug)]
enum Clients {
    Aggregating(Box<Aggregating>),
    Transparent(Transparent),
}

/// What a client asks of the broker with its CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) client_id: ByteString,
    pub(super) clean_session: bool,
    pub(super) will: Option<Message>,
}

/// Whose message it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) key: SessionKey,
    pub(super) number: SessionNumber,
    pub(super) client_id: ByteString,
}

/// Where a message has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The broker answers under this token.
    AtBroker(Token),
    /// The gateway has answered for it.
    Kept,
}

/// Whether a client that asks to connect can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    /// The broker has been asked; [`Upstream::up`] or [`Upstream::down`] tells more.
    Awaited,
}

/// What became of the will of a lost client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WillFate {
    /// It is with the broker, or waits for it.
    Published,
    /// The broker has its own copy, and publishes it because the client's connection is broken.
    LeftToBroker,
    /// It does not fit, or too many others wait.
    Dropped,
}

impl Upstream {
    pub(super) fn new(mode: Mode, outage: &OutageSettings) -> Self {
        Self {
            own: Line::new(ConnId::OWN),
            mode: match mode {
                Mode::Aggregating => Clients::Aggregating(Box::default()),
                Mode::Transparent => Clients::Transparent(Transparent::default()),
            },
            tokens: Tokens::default(),
            publishes_in_flight: 0,
            kept: Kept::new(outage),
            held: Held::default(),
            origin: Origin::Fresh,
            arrivals: Arrivals::default(),
            taken: Vec::new(),
            wills: VecDeque::new(),
            wills_in_flight: 0,
            retry: None,
        }
    }

    /// Returns when [`Upstream::on_deadline`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry
    }

    pub(super) fn on_deadline(&mut self, means: &mut Means<'_>) {
        if self.retry.take_if(|at| *at <= means.now).is_some() {
            self.go_on(means);
        }
    }

    /// Whether the client may keep the connection that it has: it asks for nothing else than it did before.
    pub(super) fn suits(&self, owner: SessionKey, request: &Request) -> bool {
        match &self.mode {
            Clients::Aggregating(_) => true,
            Clients::Transparent(clients) => clients.suits(owner, request),
        }
    }

    /// Sees to it that the client can be served. A connection that does not suit must have been left before.
    pub(super) fn connect(
        &mut self,
        means: &mut Means<'_>,
        owner: Owner,
        request: Request,
    ) -> Result<Access, ConnectRefusal> {
        match &mut self.mode {
            _ if means.journal.is_stuck() => Err(ConnectRefusal::StoreFails),
            // What it publishes is kept until the broker is back.
            Clients::Aggregating(_) if self.own.is_up() || means.journal.can_promise() => Ok(Access::Granted),
            Clients::Aggregating(_) => Err(ConnectRefusal::BrokerDown),
            Clients::Transparent(clients) => Ok(clients.connect(means.out, &means.settings.limits, owner, request)),
        }
    }

    /// The client has left in order or is lost: a connection of its own ends. These publishes over it are answered
    /// by then, or [`Upstream::closed`] tells that they never will be.
    pub(super) fn disconnect(&mut self, out: &mut Outputs, limits: &Limits, owner: SessionKey, publishes: Vec<Token>) {
        match &mut self.mode {
            Clients::Aggregating(_) => {}
            Clients::Transparent(clients) => clients.disconnect(out, limits, owner, publishes),
        }
    }

    /// Whether the gateway's own connection is up.
    pub(super) fn is_own_up(&self) -> bool {
        self.own.is_up()
    }

    /// Whether the client's connection to the broker is up.
    pub(super) fn is_up(&self, owner: SessionKey) -> bool {
        self.line(owner).is_some_and(Line::is_up)
    }

    /// Subscribes for a session, which hears the retained messages too, even where others have the filter already.
    pub(super) fn subscribe(
        &mut self,
        out: &mut Outputs,
        now: Instant,
        owner: SessionKey,
        filter: &TopicFilter,
        qos: Qos,
    ) -> Option<Token> {
        let conn = self.line(owner)?.conn();
        let (id, asked_for, qos) = match &mut self.mode {
            Clients::Aggregating(shared) => shared.subscribe(now, owner, filter, qos),
            // One connection, one client: nobody has to be told apart.
            Clients::Transparent(clients) => {
                clients.note_subscribe(owner);
                (SubscriptionId(1), filter.clone(), qos)
            }
        };
        let token = self.tokens.issue(Pending::Subscribe { id, filter: filter.clone(), owner: Some(owner) });
        out.command(conn, BrokerCommand::Subscribe { token, filter: asked_for, qos, id });
        Some(token)
    }

    /// Takes the broker's answer to a subscribe. Returns whom it concerns, and the QoS it may have.
    pub(super) fn subscribed(
        &mut self,
        out: &mut Outputs,
        now: Instant,
        token: Token,
        outcome: SubscribeOutcome,
    ) -> Option<(SessionKey, SubscribeOutcome)> {
        match self.tokens.redeem(token)? {
            Pending::Subscribe { id, filter, owner } => {
                let outcome = match &mut self.mode {
                    Clients::Aggregating(shared) => {
                        let outcome = shared.subscribed(out, id, &filter, owner, outcome);
                        shared.renew(out, &self.own, &mut self.tokens, now);
                        outcome
                    }
                    Clients::Transparent(_) => outcome,
                };
                Some((owner?, outcome))
            }
            Pending::Renewal { id } => {
                if let Clients::Aggregating(shared) = &mut self.mode {
                    shared.renewed(out, id, outcome);
                    if outcome == SubscribeOutcome::Lost {
                        self.retry.get_or_insert(now + RETRY_AFTER);
                    } else {
                        shared.renew(out, &self.own, &mut self.tokens, now);
                    }
                }
                None
            }
            Pending::Publish { .. } | Pending::Will { .. } | Pending::Kept { .. } => None,
        }
    }

    /// Takes note of what the outputs from `start` on ask of the broker, to be known after a restart.
    pub(super) fn note_questions(&mut self, out: &mut Outputs, start: usize, journal: &mut Journal) {
        if !journal.is_on() {
            return self.taken.clear();
        }
        match self.mode {
            Clients::Aggregating(_) => self.held.watch(out, start, journal),
            Clients::Transparent(_) => {
                for (session, arrival) in std::mem::take(&mut self.taken) {
                    self.arrivals.note(out, journal, session, arrival);
                }
            }
        }
    }

    /// Takes note of the broker's answer to a subscribe, to be known after a restart.
    pub(super) fn note_answer(
        &mut self,
        out: &mut Outputs,
        journal: &mut Journal,
        token: Token,
        outcome: SubscribeOutcome,
    ) {
        self.held.answered(out, journal, token, outcome);
    }

    /// Ends a session's subscription to a filter.
    pub(super) fn unsubscribe(&mut self, out: &mut Outputs, owner: SessionKey, filter: &TopicFilter) {
        match &mut self.mode {
            Clients::Aggregating(shared) => shared.unsubscribe(out, owner, filter),
            Clients::Transparent(clients) => clients.unsubscribe(out, owner, filter),
        }
    }

    /// Whether `$share/...` can work: the group's members must be the broker's own clients.
    pub(super) fn allows_shared_subscriptions(&self) -> bool {
        matches!(self.mode, Clients::Transparent(_))
    }

    /// Whether what a client has asked of the broker is still answered after the client has left.
    pub(super) fn outlives_clients(&self) -> bool {
        matches!(self.mode, Clients::Aggregating(_))
    }

    /// All that is stored of a session has been dropped.
    pub(super) fn forget_session(&mut self, session: SessionNumber) {
        self.arrivals.forget(session);
        self.taken.retain(|(other, _)| *other != session);
    }

    /// Lets the answer to a token go unheard: its session is gone. On a connection that ends it may never come.
    pub(super) fn forget(&mut self, token: Token) {
        match self.mode {
            Clients::Aggregating(_) => self.tokens.forget(token),
            Clients::Transparent(_) => {
                if let Some(Pending::Publish { .. }) = self.tokens.redeem(token) {
                    self.publishes_in_flight = self.publishes_in_flight.saturating_sub(1);
                }
            }
        }
    }

    /// The broker has accepted a connection. Returns the session that it belongs to, if it is a client's.
    pub(super) fn up(
        &mut self,
        means: &mut Means<'_>,
        conn: ConnId,
        session_present: bool,
        offer: BrokerOffer,
    ) -> Option<SessionKey> {
        if conn != ConnId::OWN {
            let (owner, number) =
                self.transparent()?.up(means.out, &means.settings.limits, conn, session_present, offer)?;
            if !session_present {
                self.arrivals.clear(means.out, means.journal, number);
            }
            return Some(owner);
        }
        self.own.up(session_present, offer);
        self.kept.begin_handover(means.now, session_present);
        let origin = std::mem::replace(&mut self.origin, Origin::Fresh);
        if !session_present {
            self.held.clear(means.out, means.journal);
            self.arrivals.clear(means.out, means.journal, SessionNumber::GATEWAY);
        }
        if let Clients::Aggregating(shared) = &mut self.mode {
            let copies = if offer.subscription_ids { Copies::Named } else { Copies::Unnamed };
            match (session_present, origin) {
                (false, _) => shared.forgotten(copies),
                (true, Origin::Restored) => shared.resume(means.out, copies, &self.held, means.now),
                (true, Origin::Fresh) => {}
            }
        }
        self.go_on(means);
        None
    }

    /// A connection is gone. Returns the session that it belongs to, if it is a client's.
    pub(super) fn down(&mut self, out: &mut Outputs, limits: &Limits, conn: ConnId) -> Option<SessionKey> {
        if conn != ConnId::OWN {
            return self.transparent()?.down(out, limits, conn);
        }
        self.own.down();
        None
    }

    /// A connection has ended as [`BrokerCommand::Disconnect`] asked; nothing more comes from it. Returns the publishes
    /// that it has left unanswered, and whose they are.
    pub(super) fn closed(&mut self, out: &mut Outputs, limits: &Limits, conn: ConnId) -> Vec<(SessionKey, Token)> {
        let published = self.transparent().map(|clients| clients.closed(out, limits, conn)).unwrap_or_default();
        let lost = published.into_iter().filter_map(|token| match self.tokens.redeem(token)? {
            Pending::Publish { owner } => {
                self.publishes_in_flight = self.publishes_in_flight.saturating_sub(1);
                Some((owner?, token))
            }
            Pending::Will { .. } | Pending::Subscribe { .. } | Pending::Renewal { .. } | Pending::Kept { .. } => None,
        });
        lost.collect()
    }

    /// Finds who gets a message from the broker.
    pub(super) fn recipients(
        &mut self,
        now: Instant,
        conn: ConnId,
        message: &Message,
        ids: &[SubscriptionId],
        found: &mut Vec<Recipient>,
    ) {
        match &mut self.mode {
            Clients::Aggregating(shared) => shared.recipients(now, message, ids, found),
            Clients::Transparent(clients) => {
                let session = clients.session(conn);
                found.extend(session.map(|session| Recipient { session, qos: message.qos }));
            }
        }
    }

    /// A QoS 2 message has come from the broker: returns how to know it again, or `None` if it was taken over before a
    /// restart and the broker has not heard of that.
    pub(super) fn arrive(
        &mut self,
        means: &mut Means<'_>,
        conn: ConnId,
        origin: super::Origin,
        message: &Message,
    ) -> Option<Arrival> {
        let session = match &mut self.mode {
            Clients::Transparent(clients) => {
                clients.line_and_owner(conn).map_or(SessionNumber::GATEWAY, |(_, number)| number)
            }
            Clients::Aggregating(_) => SessionNumber::GATEWAY,
        };
        let arrival = Arrival::new(origin.packet, message);
        if origin.duplicate && self.arrivals.knows(session, arrival) {
            return None;
        }
        if session == SessionNumber::GATEWAY {
            // All whom it is for have it in the store in the same turn.
            self.arrivals.note(means.out, means.journal, session, arrival);
        }
        Some(arrival)
    }

    /// Notes a delivery that `holders` have to settle, and returns their receipts one by one.
    pub(super) fn open(
        &mut self,
        conn: ConnId,
        delivery: Delivery,
        holders: Holders,
        arrival: Option<Arrival>,
    ) -> Option<impl FnMut() -> Receipt + use<>> {
        let line = match &mut self.mode {
            Clients::Transparent(clients) if conn != ConnId::OWN => clients.line_mut(conn)?,
            Clients::Transparent(_) | Clients::Aggregating(_) => &mut self.own,
        };
        Some(line.open(delivery, holders, arrival))
    }

    /// A QoS 2 message goes to the client on whose own connection it came, and is in the store from now on: if it comes
    /// again after a restart it is not for the client any more, who may have it by then.
    pub(super) fn take_over(&mut self, receipt: &Receipt) {
        if let Clients::Transparent(clients) = &mut self.mode
            && let Some((line, number)) = clients.line_and_owner(receipt.conn())
        {
            self.taken.extend(line.take_over(receipt).map(|arrival| (number, arrival)));
        }
    }

    /// Takes one session's part in a delivery as done; the broker is told when all are.
    pub(super) fn settle(&mut self, out: &mut Outputs, receipt: Receipt) {
        let conn = receipt.conn();
        if conn == ConnId::OWN {
            self.own.settle(out, receipt);
        } else if let Clients::Transparent(clients) = &mut self.mode
            && let Some((line, number)) = clients.line_and_owner(conn)
        {
            line.settle(out, receipt);
            self.taken.extend(line.take_taken().into_iter().map(|arrival| (number, arrival)));
        }
    }

    /// Returns the oldest delivery on the gateway's own connection that must be answered for to make room, and who
    /// has yet to take it.
    pub(super) fn excess(&self, limits: &Limits, conn: ConnId) -> Option<(DeliveryNumber, Holders)> {
        if conn != ConnId::OWN {
            return None;
        }
        self.own.excess(limits.unacknowledged_deliveries)
    }

    /// Acknowledges what is complete. Returns how many more were acknowledged because too many were open.
    pub(super) fn bound_deliveries(&mut self, out: &mut Outputs, limits: &Limits, conn: ConnId) -> u64 {
        if conn == ConnId::OWN {
            return self.own.bound_deliveries(out, limits.unacknowledged_deliveries);
        }
        if let Some(line) = self.transparent().and_then(|clients| clients.line_mut(conn)) {
            line.acknowledge(out);
        }
        0
    }

    pub(super) fn shut_down(&mut self, out: &mut Outputs) {
        if let Some(clients) = self.transparent() {
            clients.shut_down(out);
        }
        out.command(ConnId::OWN, BrokerCommand::Disconnect);
    }

    /// Asks and publishes what had to wait, if the connection is up.
    fn go_on(&mut self, means: &mut Means<'_>) {
        if let Clients::Aggregating(shared) = &mut self.mode {
            shared.renew(means.out, &self.own, &mut self.tokens, means.now);
        }
        for message in std::mem::take(&mut self.wills) {
            self.publish_own_will(means.out, message);
        }
        self.drain(means);
    }

    /// The connection that carries a session's messages.
    fn line(&self, owner: SessionKey) -> Option<&Line> {
        match &self.mode {
            Clients::Aggregating(_) => Some(&self.own),
            Clients::Transparent(clients) => clients.line(owner),
        }
    }

    fn transparent(&mut self) -> Option<&mut Transparent> {
        match &mut self.mode {
            Clients::Transparent(clients) => Some(clients),
            Clients::Aggregating(_) => None,
        }
    }
}
