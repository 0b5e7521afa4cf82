//! The client's way to the broker: asked for at CONNECT, and in transparent mode a connection of its own, which can
//! be refused, break and come back (MQTT-SN 1.2 §4.1).

use super::presence::{Handshake, HandshakeStep, Phase, Presence};
use super::{Persistence, Session, return_code};
use crate::core::BrokerReason;
use crate::core::context::Context;
use crate::core::notice::{ConnectRefusal, LossReason, Notice};
use crate::core::route::Route;
use crate::core::upstream::{Access, Request};
use crate::wire::ConnAck;

impl Session {
    /// Everything is known that the client has to say: see to it that it can be served.
    pub(super) fn reach_broker(&mut self, cx: &mut Context<'_>, route: Route, keep_alive: u16) {
        let request = self.request();
        let mut due = cx.now + cx.settings.timers.broker_wait;
        if !cx.upstream.suits(self.key, &request) {
            self.leave_to_broker(cx);
        } else if let Phase::Handshake(Handshake { step: HandshakeStep::Broker, due: former, .. }) = &self.phase {
            // A client that repeats its CONNECT would put off its answer for ever.
            due = *former;
        }
        let (upstream, mut means) = cx.upstream();
        match upstream.connect(&mut means, self.owner(), request) {
            Ok(Access::Granted) => self.establish(cx, route, keep_alive),
            Ok(Access::Awaited) => {
                self.phase = Phase::Handshake(Handshake {
                    presence: Presence { route, heard: cx.now, silence: None },
                    former: self.phase.former(),
                    keep_alive,
                    step: HandshakeStep::Broker,
                    due,
                    resends: 0,
                });
            }
            Err(why) => {
                self.phase = Phase::Active(Presence { route, heard: cx.now, silence: None });
                self.refuse_connect(cx, why);
            }
        }
    }

    /// The client was connected when a former process ended: a connection of its own has to be made again. If that
    /// takes too long the client is told.
    pub(super) fn reconnect(&mut self, cx: &mut Context<'_>) {
        let request = self.request();
        let (upstream, mut means) = cx.upstream();
        if upstream.connect(&mut means, self.owner(), request) == Ok(Access::Awaited) {
            self.stranded = Some(cx.now + cx.settings.timers.broker_wait);
        }
    }

    /// Answers the CONNECT with a rejection. A session that was there before stays as it was.
    pub(super) fn refuse_connect(&mut self, cx: &mut Context<'_>, why: ConnectRefusal) {
        if let Some(route) = self.route() {
            let client_id = self.client_id.as_bytes().to_vec();
            cx.notice(Notice::ConnectRefused { client_id, peer: route.peer(), why });
        }
        cx.stats.clients_refused += 1;
        self.answer(cx, ConnAck { return_code: return_code(why) });
        self.depart(cx);
    }

    /// The client's own connection to the broker has been made, or made again.
    pub(in crate::core) fn on_broker_up(&mut self, cx: &mut Context<'_>, session_present: bool) {
        self.stranded = None;
        self.outbox.reclaim(session_present);
        self.renew_subscriptions(cx, session_present);
        if let Phase::Handshake(Handshake { step: HandshakeStep::Broker, presence, keep_alive, .. }) = &self.phase {
            let (route, keep_alive) = (presence.route.clone(), *keep_alive);
            self.establish(cx, route, keep_alive);
        }
    }

    /// The client's own connection to the broker is gone, or could not be made.
    pub(in crate::core) fn on_broker_down(&mut self, cx: &mut Context<'_>, refusal: Option<BrokerReason>) {
        match (&self.phase, refusal) {
            (Phase::Handshake(Handshake { step: HandshakeStep::Broker, .. }), refusal) => {
                let why = refusal.map_or(ConnectRefusal::BrokerDown, |reason| ConnectRefusal::ByBroker { reason });
                self.refuse_connect(cx, why);
            }
            (Phase::Active(_) | Phase::Asleep(_) | Phase::Awake { .. }, Some(reason)) => {
                // The broker does not want this client, which has to hear of it.
                self.lose(cx, LossReason::ClosedByBroker { reason });
            }
            (Phase::Active(_) | Phase::Asleep(_) | Phase::Awake { .. }, None) => {
                // It is tried again meanwhile; what the client publishes is answered with "congestion".
                self.stranded.get_or_insert(cx.now + cx.settings.timers.broker_wait);
            }
            (Phase::Handshake(_) | Phase::Away { .. } | Phase::Over, _) => {}
        }
    }

    /// The connection has been down for too long: the client shall look elsewhere, or try again.
    pub(super) fn on_stranded(&mut self, cx: &mut Context<'_>) {
        if self.stranded.take_if(|until| *until <= cx.now).is_some() {
            self.lose(cx, LossReason::BrokerGone);
        }
    }

    fn request(&self) -> Request {
        Request {
            client_id: self.client_id.clone(),
            clean_session: self.persistence == Persistence::Clean,
            will: self.will_message(),
        }
    }

    /// Ends the client's own connection to the broker, if it has one: until the client is back the broker keeps its
    /// session, and sends again what we have not acknowledged.
    pub(super) fn leave_to_broker(&mut self, cx: &mut Context<'_>) {
        if cx.upstream.outlives_clients() {
            return;
        }
        self.break_off_renewals(cx);
        for receipt in self.outbox.hand_back() {
            cx.upstream.settle(cx.out, receipt);
        }
        let publishes = self.uplink.at_broker();
        cx.upstream.disconnect(cx.out, &cx.settings.limits, self.key, publishes);
    }
}
