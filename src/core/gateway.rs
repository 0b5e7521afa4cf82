//! The gateway: finds the session that an input concerns, and looks after those that come and go.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::context::Context;
use super::deadlines::Deadlines;
use super::predefined::Predefined;
use super::rates::{Strays, TokenBucket};
use super::route::RouteRef;
use super::session::{self, Parcel, Session};
use super::sessions::{SessionKey, Sessions};
use super::upstream::{Recipient, Upstream};
use super::{
    BrokerEvent, Delivery, Input, Instant, LinkId, Message, Notice, Outputs, Peer, Refused, Settings, Stats,
    SubscriptionId,
};
use crate::wire::{self, Connect, Disconnect, Envelope, PingReq, Publish, Qos, QosField};

/// Forwarders that a frame may have passed: one wraps it, and none wraps a wrapped one (MQTT-SN 1.2 §5.5).
const MAX_NESTING: usize = 1;

/// The whole gateway without its I/O.
///
/// # Calling contract
/// Call [`Gateway::handle`] once per input, carry out all of `out` in order, clear it, and when there is nothing
/// else to do sleep until [`Gateway::next_deadline`]. `now` never goes back. `handle` never blocks, never reads a
/// clock, and never panics, whatever a frame holds.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    predefined: Predefined,
    sessions: Sessions,
    upstream: Upstream,
    deadlines: Deadlines,
    strays: Strays,
    /// QoS -1 publishes, by link.
    anonymous: BTreeMap<LinkId, TokenBucket>,
    hasher: RandomState,
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
            upstream: Upstream::default(),
            deadlines: Deadlines::default(),
            strays: Strays::new(settings.limits.strays_per_second),
            anonymous: BTreeMap::new(),
            hasher: RandomState::default(),
            stats: Stats::default(),
            wrapper: Vec::new(),
            recipients: Vec::new(),
            settings,
        }
    }

    /// Takes one input and appends to `out` what it calls for.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Outputs) {
        match input {
            Input::Frame { from, bytes } => self.on_frame(now, from, bytes, out),
            Input::Broker { conn: _, event } => self.on_broker(now, event, out),
            Input::Deadline => {}
            Input::Shutdown => self.upstream.shut_down(out),
        }
        while let Some(key) = self.deadlines.pop(now) {
            self.with_session(now, SessionKey(key), out, Session::on_deadline);
        }
    }

    /// Returns when to call [`Gateway::handle`] with [`Input::Deadline`], if nothing comes in before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn on_frame(&mut self, now: Instant, from: Peer, bytes: &[u8], out: &mut Outputs) {
        self.stats.frames_in += 1;
        let opened = Envelope::open(bytes, MAX_NESTING)
            .and_then(|envelope| Ok((wire::Message::decode(envelope.message())?, envelope)));
        let (message, envelope) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.stats.malformed += 1;
                return out.notice(Notice::Malformed { peer: from, error });
            }
        };
        let mut wrapper = std::mem::take(&mut self.wrapper);
        wrapper.clear();
        envelope.reply_wrapper(&mut wrapper);
        self.on_message(now, RouteRef { peer: from, wrapper: &wrapper }, &message, out);
        self.wrapper = wrapper;
    }

    /// The receive matrix's first split: what needs no session, and whose session it is (MQTT-SN digest §18).
    fn on_message(&mut self, now: Instant, route: RouteRef<'_>, message: &wire::Message<'_>, out: &mut Outputs) {
        let bound = self.sessions.by_route(route);
        if let wire::Message::Connect(connect) = message {
            return self.on_connect(now, route, connect, out);
        }
        if let wire::Message::Publish(publish) = message
            && publish.qos == QosField::MinusOne
        {
            return self.on_anonymous_publish(now, route, bound, publish, out);
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

    fn on_connect(&mut self, now: Instant, route: RouteRef<'_>, connect: &Connect<'_>, out: &mut Outputs) {
        let admitted = session::admit(connect, &self.settings.limits, self.upstream.is_up()).and_then(|client_id| {
            let known = self.sessions.by_client(client_id);
            session::admit_one_more(known.is_some(), self.sessions.len(), &self.settings.limits)?;
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
        let key = known.unwrap_or_else(|| self.sessions.insert(|key| Session::new(key, client_id.into())));
        self.leave_former_route(key, route, out);
        let owned = route.to_route();
        self.sessions.bind(&owned, key);
        self.with_session(now, key, out, |session, cx| session.on_connect(cx, owned, connect));
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
        let asleep = named.filter(|key| self.sessions.get(*key).is_some_and(Session::is_asleep));
        match (asleep, bound) {
            (Some(key), bound) if bound != Some(key) => {
                if let Some(other) = bound {
                    // Someone else's address: an unauthenticated frame never ends an active client.
                    return self.with_session(now, other, out, |session, cx| session.hear(cx.now));
                }
                let owned = route.to_route();
                self.sessions.bind(&owned, key);
                self.with_session(now, key, out, |session, cx| {
                    session.move_to(owned);
                    session.wake(cx);
                });
            }
            (_, Some(key)) => {
                let message = wire::Message::from(*ping);
                self.with_session(now, key, out, |session, cx| session.on_message(cx, &message));
            }
            (_, None) => self.on_stray(now, route, &wire::Message::from(*ping), out),
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
            // Dropped without an answer: nobody may be there to hear it.
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
        let payload = Bytes::copy_from_slice(publish.data);
        let message = Message { topic, payload, qos: Qos::AtMostOnce, retain: publish.retain };
        let published = self.upstream.publish_at_most_once(out, message);
        published.map_err(|refusal| session::Rejection::from(refusal).reason)?;
        self.stats.published += 1;
        Ok(())
    }

    /// A frame that needs a session and has none: the sender is told to connect, at a limited rate (digest §18).
    fn on_stray(&mut self, now: Instant, route: RouteRef<'_>, message: &wire::Message<'_>, out: &mut Outputs) {
        if !session::expects_session(message) {
            return;
        }
        self.stats.strays += 1;
        if self.strays.may_answer(now, self.hasher.hash_one(route)) {
            self.send(out, route, Disconnect { duration: None });
            out.notice(Notice::Stray { peer: route.peer });
        } else {
            self.stats.strays_unanswered += 1;
        }
    }

    fn on_broker(&mut self, now: Instant, event: BrokerEvent, out: &mut Outputs) {
        match event {
            BrokerEvent::Up { session_present, offer } => self.upstream.up(out, now, session_present, offer),
            BrokerEvent::Down { .. } => self.upstream.down(),
            BrokerEvent::Published { token, outcome } => {
                if let Some(key) = self.upstream.published(token, outcome) {
                    self.with_session(now, key, out, |session, cx| session.on_published(cx, token, outcome));
                }
            }
            BrokerEvent::Subscribed { token, outcome } => {
                if let Some((key, outcome)) = self.upstream.subscribed(out, now, token, outcome) {
                    self.with_session(now, key, out, |session, cx| session.on_subscribed(cx, token, outcome));
                }
            }
            BrokerEvent::Message { delivery, message, subscriptions } => {
                self.on_broker_message(now, delivery, &message, &subscriptions, out);
            }
        }
    }

    fn on_broker_message(
        &mut self,
        now: Instant,
        delivery: Option<Delivery>,
        message: &Message,
        subscriptions: &[SubscriptionId],
        out: &mut Outputs,
    ) {
        self.stats.received += 1;
        let mut recipients = std::mem::take(&mut self.recipients);
        recipients.clear();
        self.upstream.recipients(now, message, subscriptions, &mut recipients);
        let mut receipts = delivery.map(|delivery| self.upstream.open(delivery, recipients.len()));
        for recipient in &recipients {
            let receipt = receipts.as_mut().map(|next| next());
            let qos = message.qos.min(recipient.qos);
            let parcel = Parcel::new(Message { qos, ..message.clone() }, receipt);
            self.with_session(now, recipient.session, out, |session, cx| session.deliver(cx, parcel));
        }
        let limit = self.settings.limits.unacknowledged_deliveries;
        self.stats.acknowledged_early += self.upstream.bound_deliveries(out, limit);
        self.recipients = recipients;
    }

    /// Sends what is said outside of any session.
    fn send<'m>(&mut self, out: &mut Outputs, route: RouteRef<'_>, message: impl Into<wire::Message<'m>>) {
        out.send(route, &message.into());
        self.stats.frames_out += 1;
    }

    /// Lends a session to `act`, and afterwards brings the tables into line with what became of it.
    fn with_session(
        &mut self,
        now: Instant,
        key: SessionKey,
        out: &mut Outputs,
        act: impl FnOnce(&mut Session, &mut Context<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut cx = Context {
            now,
            out,
            upstream: &mut self.upstream,
            settings: &self.settings,
            predefined: &self.predefined,
            stats: &mut self.stats,
        };
        act(session, &mut cx);

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
