//! One client's life: what its frames mean in each phase, and what it is owed.

mod acks;
mod admit;
mod broker;
mod deliver;
mod keep;
mod link;
mod outbox;
mod presence;
mod publish;
mod register;
mod status;
mod subscribe;
mod will;

use std::time::Duration;

use bytestring::ByteString;

use super::context::Context;
use super::mapping::Prefix;
use super::notice::{LossReason, Notice};
use super::route::Route;
use super::sessions::SessionKey;
use super::topics::Registry;
use super::upstream::Owner;
use super::{Instant, SessionNumber, Timers};
use crate::wire::{ConnAck, Connect, Disconnect, Message, PingResp, ReturnCode};

pub(super) use admit::{admit, admit_one_more, expects_session, return_code};
pub(super) use deliver::Parcel;
use keep::Entry;
use outbox::Outbox;
use presence::{Former, Handshake, HandshakeStep, Phase, Presence};
use publish::Uplink;
pub(super) use publish::{Rejection, resolve};
use subscribe::Subscriptions;
use will::Will;

/// A client's session, connected or not.
#[derive(Debug)]
pub(super) struct Session {
    key: SessionKey,
    client_id: ByteString,
    persistence: Persistence,
    tenure: Tenure,
    phase: Phase,
    prefix: Prefix,
    registry: Registry,
    subscriptions: Subscriptions,
    uplink: Uplink,
    outbox: Outbox,
    will: Option<Will>,
    entry: Entry,
    /// When a client whose own connection to the broker has broken is told so, if that has not come back by then.
    stranded: Option<Instant>,
    /// Set while the client's link is down: how long the client is kept all the same.
    cut_off: Option<Instant>,
    /// A route that the session has left and that still leads to it in the table.
    freed: Option<Route>,
}

/// Whether the session outlives the connection: the CleanSession flag of the last CONNECT (MQTT-SN 1.2 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Clean,
    Persistent,
}

/// Whether the client has ever been connected in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    New,
    Established,
}

impl Session {
    pub(super) fn new(key: SessionKey, number: SessionNumber, client_id: ByteString, prefix: Prefix) -> Self {
        Self {
            prefix,
            key,
            client_id,
            persistence: Persistence::Clean,
            tenure: Tenure::New,
            phase: Phase::Over,
            registry: Registry::default(),
            subscriptions: Subscriptions::default(),
            uplink: Uplink::default(),
            outbox: Outbox::default(),
            will: None,
            entry: Entry::new(number),
            stranded: None,
            cut_off: None,
            freed: None,
        }
    }

    pub(super) fn key(&self) -> SessionKey {
        self.key
    }

    fn owner(&self) -> Owner {
        Owner { key: self.key, number: self.number(), client_id: self.client_id.clone() }
    }

    pub(super) fn client_id(&self) -> &ByteString {
        &self.client_id
    }

    /// Returns where the client is reached, unless it is away.
    pub(super) fn route(&self) -> Option<&Route> {
        self.phase.presence().map(|presence| &presence.route)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether the session outlives its connection. One that was never accepted has nothing to keep, and must not take
    /// anyone's place.
    pub(super) fn is_kept(&self) -> bool {
        self.persistence == Persistence::Persistent && self.tenure != Tenure::New
    }

    pub(super) fn is_asleep_or_awake(&self) -> bool {
        matches!(self.phase, Phase::Asleep(_) | Phase::Awake { .. })
    }

    pub(super) fn is_asleep(&self) -> bool {
        matches!(self.phase, Phase::Asleep(_))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A message that needs no session has come from the client: a sign of life all the same.
    pub(super) fn hear(&mut self, now: Instant) {
        self.phase.hear(now);
    }

    /// Takes the route that must no longer lead here, if there is one.
    pub(super) fn take_freed(&mut self) -> Option<Route> {
        self.freed.take()
    }

    /// Returns when [`Session::on_deadline`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let silence = match &self.phase {
            Phase::Active(presence) | Phase::Asleep(presence) => self.lost_at(presence),
            Phase::Handshake(handshake) => Some(handshake.due),
            // Supervised by the retries of what is being sent to it, if that is what it waits for.
            Phase::Awake { presence, .. } if self.outbox.in_flight.is_none() => presence.lost_at(),
            Phase::Awake { .. } => None,
            Phase::Away { expires } => Some(*expires),
            Phase::Over => None,
        };
        Instant::earliest([silence, self.outbox.due(), self.stranded])
    }

    /// The client asks to connect on `route`; its CONNECT has been found good (MQTT-SN 1.2 §6.2, §6.3).
    pub(super) fn on_connect(&mut self, cx: &mut Context<'_>, route: Route, connect: &Connect<'_>) {
        // From now on the wait for the broker is that for CONNACK.
        self.stranded = None;
        self.cut_off = None;
        if connect.clean_session {
            self.forget_everything(cx);
            self.will = None;
            // Nothing is left to keep if this comes to nothing.
            self.tenure = Tenure::New;
            self.persistence = Persistence::Clean;
        } else {
            self.persistence = Persistence::Persistent;
            self.registry.forget_confirmations();
            self.outbox.suspend();
            self.cancel_subscribe(cx);
        }
        if !connect.will {
            return self.reach_broker(cx, route, connect.duration);
        }
        self.phase = Phase::Handshake(Handshake {
            presence: Presence { route, heard: cx.now, silence: None },
            former: self.phase.former(),
            keep_alive: connect.duration,
            step: HandshakeStep::WillTopic,
            due: cx.now,
            resends: 0,
        });
        self.prompt_for_will(cx);
    }

    /// Makes the client active, says so, and sends what has waited for it.
    fn establish(&mut self, cx: &mut Context<'_>, route: Route, keep_alive: u16) {
        let (client_id, peer) = (self.client_id.clone(), route.peer());
        let clean_session = self.persistence == Persistence::Clean;
        cx.notice(match self.phase.former() {
            Former::Active | Former::Away => Notice::ClientConnected { client_id, peer, keep_alive, clean_session },
            Former::Asleep => Notice::ClientAwake { client_id, peer, clean_session },
        });
        self.tenure = Tenure::Established;
        let silence = keep_alive_limit(keep_alive, &cx.settings.timers);
        self.phase = Phase::Active(Presence { route, heard: cx.now, silence });
        self.touch();
        self.answer(cx, ConnAck { return_code: ReturnCode::Accepted });
        self.resume_delivery(cx);
    }

    /// Handles a message on the session's own route, in any phase with a route (MQTT-SN digest §18).
    pub(super) fn on_message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) {
        // What is heard has come over a link that is there.
        self.on_link_up(cx);
        self.phase.hear(cx.now);
        if matches!(self.phase, Phase::Handshake(_)) {
            return self.on_handshake_message(cx, message);
        }
        self.outbox.release_hold(cx.now);
        match message {
            Message::Register(register) => self.on_register(cx, register),
            Message::Publish(publish) => self.on_publish(cx, publish),
            Message::PubRel(pub_rel) => self.on_pub_rel(cx, *pub_rel),
            Message::Subscribe(subscribe) => self.on_subscribe(cx, subscribe),
            Message::Unsubscribe(unsubscribe) => self.on_unsubscribe(cx, unsubscribe),
            Message::RegAck(ack) => self.on_reg_ack(cx, *ack),
            Message::PubAck(ack) => self.on_pub_ack(cx, *ack),
            Message::PubRec(ack) => self.on_pub_rec(cx, *ack),
            Message::PubComp(ack) => self.on_pub_comp(cx, *ack),
            // One that names another client does not come here.
            Message::PingReq(_) => self.on_ping_req(cx),
            Message::Disconnect(Disconnect { duration: None | Some(0) }) => self.on_disconnect(cx),
            Message::Disconnect(Disconnect { duration: Some(seconds) }) => self.on_sleep(cx, *seconds),
            Message::WillTopicUpd(update) => self.on_will_topic_upd(cx, update),
            Message::WillMsgUpd(update) => self.on_will_msg_upd(cx, update),
            Message::PingResp(_) => {}
            // CONNECT and discovery are the gateway's; the rest only gateways send, or answers what was not asked.
            Message::Connect(_)
            | Message::SearchGw(_)
            | Message::Advertise(_)
            | Message::GwInfo(_)
            | Message::ConnAck(_)
            | Message::WillTopicReq(_)
            | Message::WillTopic(_)
            | Message::WillMsgReq(_)
            | Message::WillMsg(_)
            | Message::SubAck(_)
            | Message::UnsubAck(_)
            | Message::WillTopicResp(_)
            | Message::WillMsgResp(_) => {}
        }
        self.pump(cx);
    }

    /// Until the will is told only it counts, and the wish to end (MQTT-SN digest §7.4).
    fn on_handshake_message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) {
        if let Message::WillTopic(topic) = message {
            self.on_will_topic(cx, topic);
        } else if let Message::WillMsg(will) = message {
            self.on_will_msg(cx, will);
        } else if let Message::Disconnect(_) = message {
            self.abort_handshake(cx);
        }
    }

    /// The moment of [`Session::next_deadline`] has come.
    pub(super) fn on_deadline(&mut self, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Active(presence) if self.lost_at(presence).is_some_and(|at| at <= cx.now) => {
                self.lose(cx, self.loss_reason(LossReason::KeepAlive));
            }
            Phase::Asleep(presence) if self.lost_at(presence).is_some_and(|at| at <= cx.now) => {
                self.lose(cx, self.loss_reason(LossReason::Sleep));
            }
            Phase::Awake { presence, .. } if self.outbox.in_flight.is_none() && presence.is_lost(cx.now) => {
                self.lose(cx, LossReason::Sleep);
            }
            Phase::Away { expires } if *expires <= cx.now => {
                cx.notice(Notice::SessionExpired { client_id: self.client_id.clone() });
                self.end(cx);
            }
            Phase::Handshake(_) => self.on_handshake_due(cx),
            Phase::Active(_) | Phase::Asleep(_) | Phase::Awake { .. } | Phase::Away { .. } => self.on_outbox_due(cx),
            Phase::Over => {}
        }
        self.on_stranded(cx);
        self.pump(cx);
    }

    /// The client is gone without a word: a persistent session is kept, a clean one ends (MQTT-SN 1.2 §6.14).
    pub(super) fn lose(&mut self, cx: &mut Context<'_>, reason: LossReason) {
        cx.notice(Notice::ClientLost { client_id: self.client_id.clone(), reason });
        // Tells a client that is merely slow to connect again.
        self.answer(cx, Disconnect { duration: None });
        self.publish_will(cx);
        self.depart(cx);
    }

    /// Another client speaks from this session's address now: this one left without a word.
    pub(super) fn detach(&mut self, cx: &mut Context<'_>) {
        self.abandon(cx);
    }

    /// Nothing more is heard of the client: its will goes out, unless it was not connected.
    fn abandon(&mut self, cx: &mut Context<'_>) {
        if self.phase.former().is_connected() {
            self.publish_will(cx);
        }
        self.depart(cx);
    }

    /// The client has been heard elsewhere while asleep: answers go there from now on (MQTT-SN digest §13.5).
    pub(super) fn move_to(&mut self, cx: &mut Context<'_>, route: Route) {
        let Some(presence) = self.phase.presence_mut() else { return };
        let former = std::mem::replace(&mut presence.route, route);
        let (from, to) = (former.peer(), presence.route.peer());
        cx.notice(Notice::ClientMoved { client_id: self.client_id.clone(), from, to });
        self.freed = Some(former);
        self.cut_off = None;
        self.touch();
    }

    /// Whether an answer promises nothing else: PINGRESP to a client that is not asleep. At the end of a wake-up it says
    /// that the client has got everything.
    pub(in crate::core) fn says_only_that_we_are_here(&self, answer: &Message<'_>) -> bool {
        matches!((answer, &self.phase), (Message::PingResp(_), Phase::Active(_)))
    }

    fn on_ping_req(&mut self, cx: &mut Context<'_>) {
        match &self.phase {
            Phase::Active(_) => self.answer(cx, PingResp),
            Phase::Asleep(_) | Phase::Awake { .. } => self.wake(cx),
            Phase::Handshake(_) | Phase::Away { .. } | Phase::Over => {}
        }
    }

    /// Begins, or after a repeated PINGREQ goes on with, the delivery to a sleeping client (MQTT-SN 1.2 §6.14).
    pub(super) fn wake(&mut self, cx: &mut Context<'_>) {
        self.phase.wake(cx.now, cx.settings.limits.messages_per_wake_up);
        self.resume_delivery(cx);
    }

    fn on_disconnect(&mut self, cx: &mut Context<'_>) {
        self.answer(cx, Disconnect { duration: None });
        cx.notice(Notice::ClientDisconnected { client_id: self.client_id.clone() });
        self.depart(cx);
    }

    fn on_sleep(&mut self, cx: &mut Context<'_>, seconds: u16) {
        let silence = tolerated(Duration::from_secs(seconds.into()), &cx.settings.timers);
        self.phase.sleep(cx.now, Some(silence));
        self.touch();
        self.outbox.pause();
        self.shelve_queued(cx);
        self.answer(cx, Disconnect { duration: None });
        cx.notice(Notice::ClientAsleep { client_id: self.client_id.clone(), seconds });
    }

    /// Leaves the route. What a persistent session is owed waits; a clean one ends.
    fn depart(&mut self, cx: &mut Context<'_>) {
        self.cut_off = None;
        if !self.is_kept() {
            return self.end(cx);
        }
        self.outbox.suspend();
        self.leave_to_broker(cx);
        self.shelve_queued(cx);
        self.stranded = None;
        let expires = cx.now + cx.settings.timers.session_expiry;
        self.freed = self.phase.depart(expires);
        self.touch();
    }

    /// Those who run the gateway end the session, wherever the client is. A connected one hears of it; its will goes out,
    /// because it was not the client that took its leave.
    pub(super) fn forget(&mut self, cx: &mut Context<'_>) {
        cx.notice(Notice::SessionForgotten { client_id: self.client_id.clone() });
        if !self.is_asleep() {
            self.answer(cx, Disconnect { duration: None });
        }
        if self.phase.former().is_connected() {
            self.publish_will(cx);
        }
        self.end(cx);
    }

    /// Ends the session: nothing of it is left on the broker's side, and the table removes it.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        self.forget_everything(cx);
        self.leave_to_broker(cx);
        self.freed = self.phase.end();
    }

    fn forget_everything(&mut self, cx: &mut Context<'_>) {
        for filter in self.subscriptions.clear() {
            self.unsubscribe_upstream(cx, &filter);
        }
        for token in self.uplink.clear().chain(self.subscriptions.take_pending()) {
            cx.upstream.forget(token);
        }
        for receipt in self.outbox.clear() {
            cx.upstream.settle(cx.out, receipt);
        }
        self.registry.clear();
        self.forget_stored(cx);
    }

    /// Sends an answer to where the client is; to nobody if it is away or its link is down.
    fn answer<'m>(&self, cx: &mut Context<'_>, message: impl Into<Message<'m>>) {
        if let (Some(route), None) = (self.route(), self.cut_off) {
            cx.send(route.as_ref(), message);
        }
    }
}

/// How long a client may be silent: its keep-alive with the tolerance, or the limit for those without one.
fn keep_alive_limit(seconds: u16, timers: &Timers) -> Option<Duration> {
    match seconds {
        0 => timers.idle_limit,
        seconds => Some(tolerated(Duration::from_secs(seconds.into()), timers)),
    }
}

fn tolerated(duration: Duration, timers: &Timers) -> Duration {
    duration.mul_f64(timers.keep_alive_tolerance)
}
