//! The gateway: finds the session that an input concerns, and looks after those that come and go.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::context::{Context, Means};
use super::deadlines::Deadlines;
use super::discovery::Discovery;
use super::journal::{Journal, is_durable};
use super::mapping::Prefix;
use super::predefined::Predefined;
use super::queueing::QueueRules;
use super::rates::{Strays, TokenBucket};
use super::route::{MAX_NESTING, RouteRef};
use super::session::{self, Parcel, Session};
use super::sessions::{SessionKey, Sessions};
use super::upstream::{Receipt, Recipient, Upstream};
use super::{
    BrokerEvent, Cast, ConnId, Delivery, Input, Instant, LinkId, LinkState, Message, Notice, Origin, Outputs, Peer,
    PublishOutcome, RecordKey, Refused, Settings, Stats, SubscriptionId,
};
use crate::wire::{self, Connect, DecodeError, Disconnect, Envelope, PingReq, Publish, Qos, QosField, ReturnCode};

/// Borrows the fields of `$gateway` that a [`Context`] lends, and no others.
macro_rules! context {
    ($gateway:expr, $now:expr, $out:expr) => {
        Context {
            now: $now,
            out: $out,
            upstream: &mut $gateway.upstream,
            journal: &mut $gateway.journal,
            settings: &$gateway.settings,
            predefined: &$gateway.predefined,
            stats: &mut $gateway.stats,
        }
    };
}

/// The whole gateway without its I/O.
///
/// # Calling contract
/// Call [`Gateway::handle`] once per input, carry out all of `out` in order, clear it, and when there is nothing
/// else to do sleep until [`Gateway::next_deadline`]. `now` never goes back. `handle` never blocks, never reads a
/// clock, and never panics, whatever a frame holds.
#[derive(Debug)]
pub struct Gateway {
    pub(super) settings: Settings,
    predefined: Predefined,
    pub(super) sessions: Sessions,
    pub(super) upstream: Upstream,
    pub(super) journal: Journal,
    deadlines: Deadlines,
    discovery: Discovery,
    strays: Strays,
    pub(super) queue_rules: QueueRules,
    /// In front of the topics of QoS -1 publishes.
    nobody_prefix: Prefix,
    /// QoS -1 publishes, by link.
    anonymous: BTreeMap<LinkId, TokenBucket>,
    hasher: FixedState,
    stats: Stats,
    // Reused by every frame and message.
    wrapper: Vec<u8>,
    recipients: Vec<Recipient>,
}

impl Gateway {
    pub fn new(settings: Settings) -> Self {
        Self {
            predefined: Predefined::new(&settings.predefined),
            sessions: Sessions::default(),
            upstream: Upstream::new(settings.mode, &settings.outage),
            journal: Journal::new(settings.durability),
            deadlines: Deadlines::default(),
            discovery: Discovery::new(&settings),
            strays: Strays::new(settings.limits.strays_per_second),
            queue_rules: QueueRules::new(&settings.queue),
            nobody_prefix: settings.topic_prefix.of_nobody(),
            anonymous: BTreeMap::new(),
            hasher: FixedState::with_seed(settings.hash_seed),
            stats: Stats::default(),
            wrapper: Vec::new(),
            recipients: Vec::new(),
            settings,
        }
    }

    /// Takes one input and appends to `out` what it calls for.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Outputs) {
        let mut start = out.queue.len();
        match input {
            Input::Frame { from, cast, bytes } => self.on_frame(now, from, cast, bytes, out),
            Input::Broker { conn, event } => self.on_broker(now, conn, event, out),
            Input::Link { link, state } => self.on_link(now, link, state, out),
            Input::Deadline => {}
            Input::Stored(token) => {
                self.journal.on_stored(out, token);
                // What has waited for long enough does not wait for what was written since.
                start = out.queue.len();
                self.drain_kept(now, out);
            }
            Input::StoreFailing => {
                self.journal.on_failing(out);
                start = out.queue.len();
                self.drain_kept(now, out);
            }
            Input::Forget { client_id } => self.forget(now, client_id, out),
            Input::Shutdown => {
                self.upstream.shut_down(out);
                // The end waits for nothing: what is not acknowledged now comes again.
                start = out.queue.len();
            }
        }
        if self.discovery.next_deadline().is_some_and(|due| due <= now) {
            let (discovery, mut cx) = self.discovery(now, out);
            discovery.on_deadline(&mut cx);
        }
        let (upstream, mut means) = self.upstream(now, out);
        upstream.on_deadline(&mut means);
        while let Some(key) = self.deadlines.pop(now) {
            self.with_session(now, SessionKey(key), out, Session::on_deadline);
        }
        self.upstream.note_questions(out, start, &mut self.journal);
        let Self { upstream, journal, .. } = self;
        journal.withhold_commands(
            out,
            start,
            |token| upstream.keeps_message(token),
            |conn| upstream.outlives_process(conn),
        );
    }

    /// Returns when to call [`Gateway::handle`] with [`Input::Deadline`], if nothing comes in before.
    pub fn next_deadline(&self) -> Option<Instant> {
        Instant::earliest([self.deadlines.next(), self.discovery.next_deadline(), self.upstream.next_deadline()])
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn on_frame(&mut self, now: Instant, from: Peer, cast: Cast, bytes: &[u8], out: &mut Outputs) {
        self.stats.frames_in += 1;
        let mut wrapper = std::mem::take(&mut self.wrapper);
        wrapper.clear();
        let decoded = Envelope::open(bytes, MAX_NESTING).and_then(|envelope| {
            envelope.reply_wrapper(&mut wrapper);
            wire::Message::decode(envelope.message())
        });
        let route = RouteRef { peer: from, wrapper: &wrapper };
        match decoded {
            Ok(message) => self.on_message(now, route, cast, &message, out),
            Err(error) => self.on_malformed(now, route, cast, error, out),
        }
        self.wrapper = wrapper;
    }

    /// A malformed frame is dropped; only where the message id stands before what has no meaning a client is told.
    fn on_malformed(&mut self, now: Instant, route: RouteRef<'_>, cast: Cast, error: DecodeError, out: &mut Outputs) {
        self.stats.malformed += 1;
        out.notice(Notice::Malformed { peer: route.peer, error });
        if let DecodeError::ReservedTopicIdType { msg_type, msg_id } = error
            && cast == Cast::Unicast
            && let Some(key) = self.sessions.by_route(route)
        {
            self.with_session(now, key, out, |session, cx| session.on_unreadable_filter(cx, msg_type, msg_id));
        }
    }

    /// The receive matrix's first split: what needs no session, and whose session it is (MQTT-SN digest §18).
    fn on_message(
        &mut self,
        now: Instant,
        route: RouteRef<'_>,
        cast: Cast,
        message: &wire::Message<'_>,
        out: &mut Outputs,
    ) {
        let bound = self.sessions.by_route(route);
        if let wire::Message::Publish(publish) = message
            && publish.qos == QosField::MinusOne
        {
            return self.on_anonymous_publish(now, route, bound, publish, out);
        }
        if self.on_discovery(now, route, bound, message, out) || cast == Cast::Group {
            // Of all else, only what is meant for this gateway counts (MQTT-SN digest §15).
            return;
        }
        if let wire::Message::Connect(connect) = message {
            return self.on_connect(now, route, connect, out);
        }
        if let wire::Message::PingReq(ping) = message
            && !ping.client_id.is_empty()
        {
            return self.on_named_ping(now, route, bound, ping, out);
        }
        match bound {
            Some(key) => self.with_session(now, key, out, |session, cx| session.on_message(cx, message)),
            None => self.on_stray(now, route, message, out),
        }
    }

    /// Returns whether the message was one of discovery's. From a client it is a sign of life like any other.
    fn on_discovery(
        &mut self,
        now: Instant,
        route: RouteRef<'_>,
        bound: Option<SessionKey>,
        message: &wire::Message<'_>,
        out: &mut Outputs,
    ) -> bool {
        let (discovery, mut cx) = self.discovery(now, out);
        if let wire::Message::SearchGw(search) = message {
            discovery.on_search_gw(&mut cx, route, *search);
        } else if let wire::Message::Advertise(advertise) = message {
            discovery.on_advertise(&mut cx, route.peer, *advertise);
        } else if let wire::Message::GwInfo(info) = message {
            discovery.on_gw_info(&mut cx, route.peer, *info);
        } else {
            return false;
        }
        if let Some(session) = bound.and_then(|key| self.sessions.get_mut(key)) {
            session.hear(now);
        }
        true
    }

    fn on_connect(&mut self, now: Instant, route: RouteRef<'_>, connect: &Connect<'_>, out: &mut Outputs) {
        let admitted = session::admit(connect, &self.settings).and_then(|client_id| {
            let known = self.sessions.by_client(client_id);
            // A session on this route makes room if it is not one to be kept.
            let former = self.sessions.by_route(route).and_then(|key| self.sessions.get(key));
            let freed = usize::from(former.is_some_and(|former| !former.is_kept()));
            session::admit_one_more(known.is_some(), self.sessions.len() - freed, &self.settings.limits)?;
            Ok((client_id, known))
        });
        let (client_id, known) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                self.stats.clients_refused += 1;
                let client_id = connect.client_id.to_vec();
                out.notice(Notice::ConnectRefused { client_id, peer: route.peer, why });
                let return_code = session::return_code(why);
                return self.send(out, route, wire::ConnAck { return_code });
            }
        };
        self.vacate(now, route, client_id, out);
        let key = known.unwrap_or_else(|| self.insert(client_id));
        self.leave_former_route(key, route, out);
        let owned = route.to_route();
        self.sessions.bind(&owned, key);
        self.with_session(now, key, out, |session, cx| session.on_connect(cx, owned, connect));
    }

    fn insert(&mut self, client_id: &str) -> SessionKey {
        let prefix = self.settings.topic_prefix.of_client(client_id);
        let number = self.journal.session_number();
        self.sessions.insert(|key| Session::new(key, number, client_id.into(), prefix))
    }

    /// Another client's session on this route ends here: whoever sits there is a new client (MQTT-SN digest §7.5).
    fn vacate(&mut self, now: Instant, route: RouteRef<'_>, client_id: &str, out: &mut Outputs) {
        let Some(key) = self.sessions.by_route(route) else { return };
        self.with_session(now, key, out, |session, cx| {
            if session.client_id() != client_id {
                let by = client_id.into();
                cx.notice(Notice::ClientReplaced { client_id: session.client_id().clone(), by, peer: route.peer });
                session.detach(cx);
            }
        });
    }

    /// The client has moved: whoever still listens at the former address is told so.
    fn leave_former_route(&mut self, key: SessionKey, route: RouteRef<'_>, out: &mut Outputs) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some(former) = session.route().filter(|former| former.as_ref() != route).cloned() else { return };
        let client_id = session.client_id().clone();
        let is_asleep = session.is_asleep();
        out.notice(Notice::ClientMoved { client_id, from: former.peer(), to: route.peer });
        if !is_asleep {
            self.send(out, former.as_ref(), Disconnect { duration: None });
        }
        self.sessions.unbind(&former);
    }

    /// PINGREQ with a client id: a sleeping client wakes up, perhaps at a new address (MQTT-SN digest §13.5).
    fn on_named_ping(
        &mut self,
        now: Instant,
        route: RouteRef<'_>,
        bound: Option<SessionKey>,
        ping: &PingReq<'_>,
        out: &mut Outputs,
    ) {
        let named = std::str::from_utf8(ping.client_id).ok().and_then(|id| self.sessions.by_client(id));
        let message = wire::Message::from(*ping);
        match (named, bound) {
            (Some(named), Some(bound)) if named == bound => {
                self.with_session(now, bound, out, |session, cx| session.on_message(cx, &message));
            }
            // An unauthenticated frame never ends a client that is there, nor moves one that is not asleep.
            (Some(_), Some(bound)) => self.with_session(now, bound, out, |session, cx| session.hear(cx.now)),
            (None, Some(bound)) => {
                let sleeps = self.sessions.get(bound).is_some_and(Session::is_asleep_or_awake);
                self.with_session(now, bound, out, |session, cx| session.hear(cx.now));
                if sleeps {
                    self.on_stray(now, route, &message, out);
                }
            }
            (Some(named), None) if self.sessions.get(named).is_some_and(Session::is_asleep) => {
                let owned = route.to_route();
                self.sessions.bind(&owned, named);
                self.with_session(now, named, out, |session, cx| {
                    session.move_to(cx, owned);
                    session.wake(cx);
                });
            }
            (Some(_) | None, None) => self.on_stray(now, route, &message, out),
        }
    }

    /// A publish without a session: by pre-defined id or short name from anyone, by a registered id only from the
    /// client that owns it (MQTT-SN 1.2 §6.8).
    fn on_anonymous_publish(
        &mut self,
        now: Instant,
        route: RouteRef<'_>,
        bound: Option<SessionKey>,
        publish: &Publish<'_>,
        out: &mut Outputs,
    ) {
        if let Some(session) = bound.and_then(|key| self.sessions.get_mut(key)) {
            session.hear(now);
        }
        if let Err(what) = self.publish_anonymous(now, route.peer, bound, publish, out) {
            self.stats.publish_refused += 1;
            // Only one who could do something about it is told; others get no answer, ever (MQTT-SN 1.2 §6.8).
            if what == Refused::AnonymousOff && self.may_answer_stranger(now, route) {
                let (topic_id, msg_id) = (publish.topic.octets(), publish.msg_id);
                self.send(out, route, wire::PubAck { topic_id, msg_id, return_code: ReturnCode::NotSupported });
            }
            out.notice(Notice::AnonymousRefused { peer: route.peer, what });
        }
    }

    fn publish_anonymous(
        &mut self,
        now: Instant,
        peer: Peer,
        bound: Option<SessionKey>,
        publish: &Publish<'_>,
        out: &mut Outputs,
    ) -> Result<(), Refused> {
        if !self.settings.links.get(&peer.link).copied().unwrap_or_default().qos_minus_one {
            return Err(Refused::AnonymousOff);
        }
        let rate = self.settings.limits.qos_minus_one_per_second;
        if !self.anonymous.entry(peer.link).or_insert_with(|| TokenBucket::new(rate)).take(now) {
            self.stats.anonymous_over_rate += 1;
            return Err(Refused::AnonymousRate);
        }
        let nobody = Default::default();
        let registry = bound.and_then(|key| self.sessions.get(key)).map_or(&nobody, Session::registry);
        let topic =
            session::resolve(publish.topic, registry, &self.predefined).map_err(|rejection| rejection.reason)?;
        let topic = self.nobody_prefix.up(&topic).map_err(|error| Refused::PrefixedTopic { error })?;
        let payload = Bytes::copy_from_slice(publish.data);
        let message = Message { topic, payload, qos: Qos::AtMostOnce, retain: publish.retain };
        let (upstream, mut means) = self.upstream(now, out);
        let published = upstream.publish_anonymous(&mut means, message);
        published.map_err(|refusal| session::Rejection::from(refusal).reason)?;
        self.stats.published += 1;
        Ok(())
    }

    /// A frame that needs a session and has none: the sender is told to connect, at a limited rate (digest §18).
    fn on_stray(&mut self, now: Instant, route: RouteRef<'_>, message: &wire::Message<'_>, out: &mut Outputs) {
        if !session::expects_session(message) {
            return;
        }
        if self.may_answer_stranger(now, route) {
            self.send(out, route, Disconnect { duration: None });
            out.notice(Notice::Stray { peer: route.peer });
        }
    }

    /// Whether a sender without a session may have an answer now: an address is easily forged.
    fn may_answer_stranger(&mut self, now: Instant, route: RouteRef<'_>) -> bool {
        self.stats.strays += 1;
        let may = self.strays.may_answer(now, self.hasher.hash_one(route));
        self.stats.strays_unanswered += u64::from(!may);
        may
    }

    fn on_link(&mut self, now: Instant, link: LinkId, state: LinkState, out: &mut Outputs) {
        if state == LinkState::Up {
            self.discovery.on_link_up(now, link);
        }
        for key in self.sessions.behind(link) {
            self.with_session(now, key, out, |session, cx| match state {
                LinkState::Up => session.on_link_up(cx),
                LinkState::Down => session.on_link_down(cx),
            });
        }
    }

    fn on_broker(&mut self, now: Instant, conn: ConnId, event: BrokerEvent, out: &mut Outputs) {
        let limits = &self.settings.limits;
        match event {
            BrokerEvent::Up { session_present, offer } => {
                if conn == ConnId::OWN {
                    self.discovery.on_broker_up(now);
                }
                if !session_present {
                    self.journal.void_acknowledgements(conn);
                }
                let (upstream, mut means) = self.upstream(now, out);
                if let Some(key) = upstream.up(&mut means, conn, session_present, offer) {
                    self.with_session(now, key, out, |session, cx| session.on_broker_up(cx, session_present));
                }
            }
            BrokerEvent::Down { reason: _, refusal } => {
                if let Some(key) = self.upstream.down(out, limits, conn) {
                    self.with_session(now, key, out, |session, cx| session.on_broker_down(cx, refusal));
                }
            }
            BrokerEvent::Closed => {
                for (key, token) in self.upstream.closed(out, limits, conn) {
                    self.with_session(now, key, out, |session, cx| {
                        session.on_published(cx, token, PublishOutcome::Lost);
                    });
                }
            }
            BrokerEvent::Published { token, outcome } => {
                if is_durable(token) {
                    // Whoever waits for the answer takes note of it now, and nobody may.
                    self.journal.delete(out, RecordKey::Completed(token));
                }
                let (upstream, mut means) = self.upstream(now, out);
                if let Some(key) = upstream.published(&mut means, token, outcome) {
                    self.with_session(now, key, out, |session, cx| session.on_published(cx, token, outcome));
                }
            }
            BrokerEvent::Subscribed { token, outcome } => {
                self.upstream.note_answer(out, &mut self.journal, token, outcome);
                if let Some((key, outcome)) = self.upstream.subscribed(out, now, token, outcome) {
                    self.with_session(now, key, out, |session, cx| session.on_subscribed(cx, token, outcome));
                }
            }
            BrokerEvent::Message { delivery, origin, message, subscriptions } => {
                self.on_broker_message(now, conn, (delivery, origin), &message, &subscriptions, out);
            }
        }
    }

    fn on_broker_message(
        &mut self,
        now: Instant,
        conn: ConnId,
        (delivery, origin): (Option<Delivery>, Option<Origin>),
        message: &Message,
        subscriptions: &[SubscriptionId],
        out: &mut Outputs,
    ) {
        self.stats.received += 1;
        let mut recipients = std::mem::take(&mut self.recipients);
        recipients.clear();
        let arrival = origin.filter(|_| self.journal.is_on()).map(|origin| {
            let (upstream, mut means) = self.upstream(now, out);
            upstream.arrive(&mut means, conn, origin, message)
        });
        // One that was taken over before a restart is for nobody, and only has to be acknowledged.
        if arrival != Some(None) {
            self.upstream.recipients(now, conn, message, subscriptions, &mut recipients);
        }
        let holders = || recipients.iter().map(|recipient| recipient.session).collect();
        let mut receipts =
            delivery.and_then(|delivery| self.upstream.open(conn, delivery, holders(), arrival.flatten()));
        let terms = self.queue_rules.terms(&message.topic, now);
        let is_copy = conn != ConnId::OWN && origin.is_some_and(|origin| origin.duplicate);
        // What is noted as taken over does not come again, so all must have it in the store, at whatever QoS.
        let is_noted = conn == ConnId::OWN && arrival.is_some();
        for recipient in &recipients {
            let receipt = receipts.as_mut().map(|next| next());
            let noted = receipt.as_ref().filter(|_| is_noted).map(Receipt::number);
            let qos = message.qos.min(recipient.qos);
            let parcel = Parcel::new(Message { qos, ..message.clone() }, receipt, terms);
            let deliver = if is_copy { Session::deliver_copy } else { Session::deliver };
            self.with_session(now, recipient.session, out, |session, cx| {
                deliver(session, cx, parcel);
                noted.into_iter().for_each(|number| session.shelve_delivery(cx, number));
            });
        }
        self.recipients = recipients;
        self.bound_deliveries(now, conn, out);
    }

    /// Keeps slow clients from holding the broker's window: the gateway answers for the oldest deliveries itself. It
    /// has them in the store, or if there is none in memory.
    fn bound_deliveries(&mut self, now: Instant, conn: ConnId, out: &mut Outputs) {
        while self.journal.is_on()
            && let Some((number, holders)) = self.upstream.excess(&self.settings.limits, conn)
        {
            for holder in holders {
                self.with_session(now, holder, out, |session, cx| session.shelve_delivery(cx, number));
            }
            if self.upstream.excess(&self.settings.limits, conn).is_some_and(|(oldest, _)| oldest == number) {
                // Nobody claims it, so nobody can settle it.
                break;
            }
        }
        self.stats.acknowledged_early += self.upstream.bound_deliveries(out, &self.settings.limits, conn);
    }

    /// What is kept for the broker goes out once it is stored.
    fn drain_kept(&mut self, now: Instant, out: &mut Outputs) {
        let (upstream, mut means) = self.upstream(now, out);
        upstream.drain(&mut means);
    }

    fn upstream<'a>(&'a mut self, now: Instant, out: &'a mut Outputs) -> (&'a mut Upstream, Means<'a>) {
        let Self { upstream, journal, settings, stats, .. } = self;
        (upstream, Means { now, out, journal, settings, stats })
    }

    fn discovery<'a>(&'a mut self, now: Instant, out: &'a mut Outputs) -> (&'a mut Discovery, Context<'a>) {
        (&mut self.discovery, context!(self, now, out))
    }

    /// Sends what is said outside of any session.
    fn send<'m>(&mut self, out: &mut Outputs, route: RouteRef<'_>, message: impl Into<wire::Message<'m>>) {
        out.send(route, &message.into());
        self.stats.frames_out += 1;
    }

    /// Lends a session to `act`, and afterwards brings the tables into line with what became of it.
    pub(super) fn with_session(
        &mut self,
        now: Instant,
        key: SessionKey,
        out: &mut Outputs,
        act: impl FnOnce(&mut Session, &mut Context<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let start = out.queue.len();
        let mut cx = context!(self, now, out);
        act(session, &mut cx);
        session.save(&mut cx);
        let unsaved = session.unsaved();
        if self.journal.awaits(unsaved) {
            let limit = self.settings.limits.withheld_frames;
            let harmless = |message: &wire::Message<'_>| session.says_only_that_we_are_here(message);
            self.stats.withheld_dropped += self.journal.withhold_frames(out, start, unsaved, limit, harmless);
        }

        let deadline = session.next_deadline();
        let is_over = session.is_over();
        if let Some(freed) = session.take_freed() {
            self.sessions.unbind(&freed);
        }
        match deadline {
            Some(deadline) if !is_over => self.deadlines.arm(key.0, deadline),
            Some(_) | None => self.deadlines.disarm(key.0),
        }
        if is_over {
            self.sessions.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Durability, Output, PublishOutcome, StoreOp, Token};

    #[test]
    fn what_became_of_a_message_is_kept_no_longer_when_nobody_waits_for_it() {
        let mut gateway = Gateway::new(Settings { durability: Durability::Strict, ..Settings::default() });
        let mut out = Outputs::default();
        let token = Token(1 << 63 | 7);
        let event = BrokerEvent::Published { token, outcome: PublishOutcome::Accepted };
        gateway.handle(Instant::ORIGIN, Input::Broker { conn: ConnId::OWN, event }, &mut out);
        let ops: Vec<Output> = out.drain().0.collect();
        let op = StoreOp::Delete(RecordKey::Completed(token));
        assert!(matches!(&ops[..], [Output::Persist { op: written, .. }] if *written == op), "{ops:?}");
    }
}
