//! What of a session outlives the process: written as it changes, and read back at the start.

use std::time::Duration;

use bytes::Bytes;

use super::deliver::Parcel;
use super::outbox::Outbox;
use super::presence::{Phase, Presence};
use super::will::Will;
use super::{Persistence, Session, Tenure};
use crate::core::context::Context;
use crate::core::mapping::Prefix;
use crate::core::queueing::Terms;
use crate::core::route::{Route, RouteRef};
use crate::core::sessions::SessionKey;
use crate::core::topics::{TopicFilter, TopicName};
use crate::core::{
    ExchangeRecord, Instant, LinkAddress, LinkId, MessageRecord, Peer, PresenceRecord, QueuedRecord, Record, RecordKey,
    RouteRecord, SessionNumber, SessionRecord, StoreOp, StoreToken, SubscriptionRecord, TopicRecord,
};
use crate::wire::{MsgId, Qos, TopicId};

/// The session's entry in the store.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: SessionNumber,
    /// The last change that the client must not hear of before it is stored.
    unsaved: StoreToken,
    copy: Copy,
}

/// How the stored record compares with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    /// There is none.
    Missing,
    /// There may be one, and the session has changed since.
    Stale,
    Current,
}

impl Entry {
    pub(super) fn new(number: SessionNumber) -> Self {
        Self { number, unsaved: StoreToken::default(), copy: Copy::Missing }
    }

    /// The entry of a session that was read back.
    pub(super) fn restored(number: SessionNumber) -> Self {
        Self { number, unsaved: StoreToken::default(), copy: Copy::Current }
    }

    /// Writes something that the client is about to rely on: it hears nothing more until that is stored.
    pub(super) fn promise(&mut self, cx: &mut Context<'_>, op: StoreOp) {
        self.unsaved = cx.journal.write(cx.out, op);
    }

    /// Lets the client hear nothing more until everything asked for so far is stored.
    pub(super) fn await_all(&mut self, cx: &Context<'_>) {
        self.unsaved = cx.journal.written();
    }

    /// The message will wait, perhaps for hours. On a shared connection it must not hold the broker's window for so
    /// long, so the gateway answers for it; on the client's own the broker keeps it better than we can.
    pub(super) fn shelve(&mut self, cx: &mut Context<'_>, parcel: &mut Parcel) {
        if parcel.receipt.is_none() || !cx.upstream.outlives_clients() {
            return;
        }
        if parcel.place.is_none() {
            self.keep_parcel(cx, parcel, Progress::Owed);
        }
        if let Some(receipt) = parcel.receipt.take() {
            cx.upstream.settle(cx.out, receipt);
        }
    }

    /// Keeps a message that is owed to the client.
    pub(super) fn keep_parcel(&mut self, cx: &mut Context<'_>, parcel: &mut Parcel, progress: Progress) {
        if !cx.journal.is_on() || !parcel.is_acknowledged() {
            return;
        }
        let place = *parcel.place.get_or_insert_with(|| cx.journal.number());
        let record = QueuedRecord {
            session: self.number,
            place,
            message: MessageRecord::from(&parcel.message),
            policy: parcel.terms.policy,
            expires: parcel.terms.expires,
            sent_as: parcel.sent_as.filter(|_| parcel.message.qos == Qos::ExactlyOnce).map(|id| id.0),
            released: progress == Progress::Released,
        };
        self.promise(cx, StoreOp::Put(Record::Queued(record)));
    }

    /// The message needs to be kept no longer. Nothing is promised by that: kept once too often it is sent again.
    pub(super) fn release_parcel(&self, cx: &mut Context<'_>, parcel: &mut Parcel) {
        if let Some(place) = parcel.place.take() {
            cx.journal.delete(cx.out, RecordKey::Queued(self.number, place));
        }
    }
}

impl Session {
    pub(in crate::core) fn number(&self) -> SessionNumber {
        self.entry.number
    }

    /// Returns the change that must be stored before the client hears anything more.
    pub(in crate::core) fn unsaved(&self) -> StoreToken {
        self.entry.unsaved
    }

    /// Brings the stored record into line with the session. To be called after everything that may have changed it.
    pub(in crate::core) fn save(&mut self, cx: &mut Context<'_>) {
        if !cx.journal.is_on() {
            return;
        }
        if self.outbox.has_outrun_reservation() {
            self.touch();
        }
        match (self.entry.copy, &self.phase) {
            (Copy::Missing, Phase::Over) | (Copy::Current, _) => {}
            (Copy::Stale, Phase::Over) => self.forget_stored(cx),
            // What becomes of a handshake is not known yet.
            (Copy::Missing | Copy::Stale, Phase::Handshake(_)) => {}
            (
                Copy::Missing | Copy::Stale,
                Phase::Active(_) | Phase::Asleep(_) | Phase::Awake { .. } | Phase::Away { .. },
            ) => {
                if let Some(record) = self.record() {
                    self.entry.promise(cx, StoreOp::Put(Record::Session(record)));
                    self.entry.copy = Copy::Current;
                }
            }
        }
    }

    /// Notes that the session is not any more as it was stored.
    pub(super) fn touch(&mut self) {
        if self.entry.copy == Copy::Current {
            self.entry.copy = Copy::Stale;
        }
    }

    /// Drops all that is stored of the session. What it is from now on is written anew.
    pub(super) fn forget_stored(&mut self, cx: &mut Context<'_>) {
        if self.entry.copy != Copy::Missing {
            self.entry.promise(cx, StoreOp::ForgetSession(self.entry.number));
            cx.upstream.forget_session(self.entry.number);
            self.entry.copy = Copy::Missing;
        }
    }

    pub(super) fn keep_topic(&mut self, cx: &mut Context<'_>, id: TopicId, name: &TopicName) {
        let (session, name) = (self.entry.number, name.as_shared().clone());
        self.entry.promise(cx, StoreOp::Put(Record::Topic(TopicRecord { session, id: id.0, name })));
    }

    /// Makes a session of what a former process stored. The client has its full time to say something.
    pub(in crate::core) fn restore(
        now: Instant,
        key: SessionKey,
        record: SessionRecord,
        prefix: Prefix,
        expiry: Duration,
    ) -> Self {
        let SessionRecord { number, client_id, clean, presence, will, last_msg_id } = record;
        Self {
            persistence: if clean { Persistence::Clean } else { Persistence::Persistent },
            tenure: Tenure::Established,
            phase: Phase::restore(now, presence, expiry),
            will: will.and_then(Will::restore),
            outbox: Outbox::after(last_msg_id),
            entry: Entry::restored(number),
            ..Self::new(key, number, client_id, prefix)
        }
    }

    pub(in crate::core) fn restore_topic(&mut self, record: TopicRecord) -> bool {
        let (id, name) = (TopicId(record.id), TopicName::from_shared(record.name).ok());
        id.is_assignable() && name.is_some_and(|name| self.registry.restore(id, name))
    }

    /// Returns the broker's form of the filter.
    pub(in crate::core) fn restore_subscription(&mut self, record: &SubscriptionRecord) -> Option<(TopicFilter, Qos)> {
        let filter = self.subscriptions.restore(record)?;
        Some((self.prefix.up_filter(&filter).ok()?, record.qos))
    }

    pub(in crate::core) fn restore_exchange(&mut self, record: &ExchangeRecord) {
        self.uplink.restore(record);
    }

    /// `latest` tells when a message that came now, on a topic as the broker knows it, would expire.
    pub(in crate::core) fn restore_queued(
        &mut self,
        record: QueuedRecord,
        latest: impl FnOnce(&TopicName) -> Option<Instant>,
    ) -> bool {
        let QueuedRecord { place, message, policy, expires, sent_as, released, .. } = record;
        let Ok(message) = message.into_message() else { return false };
        let Ok(topic) = self.prefix.up(&message.topic) else { return false };
        // Nor must it keep a message for longer than one may wait.
        let expires = expires.map(|at| latest(&topic).map_or(at, |latest| at.min(latest)));
        let mut parcel = Parcel::new(message, None, Terms { policy, expires });
        parcel.place = Some(place);
        parcel.sent_as = sent_as.map(MsgId);
        self.outbox.restore(parcel, if released { Progress::Released } else { Progress::Owed });
        true
    }

    /// Goes on with what the client is owed.
    pub(in crate::core) fn take_up(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Active(_) => {
                self.reconnect(cx);
                self.resume_delivery(cx);
            }
            Phase::Asleep(_) => self.reconnect(cx),
            Phase::Handshake(_) | Phase::Awake { .. } | Phase::Away { .. } | Phase::Over => {}
        }
    }

    fn record(&mut self) -> Option<SessionRecord> {
        let presence = self.phase.record()?;
        Some(SessionRecord {
            number: self.entry.number,
            client_id: self.client_id.clone(),
            clean: self.persistence == Persistence::Clean,
            presence,
            will: self.will.as_ref().map(Will::record),
            last_msg_id: self.outbox.reserve_msg_ids(),
        })
    }
}

/// How far a kept message is on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits, or has been sent and not been answered.
    Owed,
    /// QoS 2: the client has it, and PUBREL is what is left.
    Released,
}

impl Phase {
    fn restore(now: Instant, record: PresenceRecord, expiry: Duration) -> Self {
        let presence = |route: RouteRecord, silence: Option<u64>| {
            let route = Route::restore(&route)?;
            Some(Presence { route, heard: now, silence: silence.map(Duration::from_micros) })
        };
        // A clock that was wrong must not keep a session for ever.
        let away = |expires: Instant| Self::Away { expires: expires.min(now + expiry) };
        match record {
            PresenceRecord::Active { route, silence } => {
                presence(route, silence).map_or_else(|| away(now + expiry), Self::Active)
            }
            PresenceRecord::Asleep { route, silence } => {
                presence(route, silence).map_or_else(|| away(now + expiry), Self::Asleep)
            }
            PresenceRecord::Away { expires } => away(expires),
        }
    }

    /// Returns what a former process would have to know; nothing while the client has not been accepted.
    fn record(&self) -> Option<PresenceRecord> {
        match self {
            Self::Active(presence) => {
                Some(PresenceRecord::Active { route: presence.route.record(), silence: presence.silence.map(micros) })
            }
            // Awake it is for a moment only.
            Self::Asleep(presence) | Self::Awake { presence, .. } => {
                Some(PresenceRecord::Asleep { route: presence.route.record(), silence: presence.silence.map(micros) })
            }
            Self::Away { expires } => Some(PresenceRecord::Away { expires: *expires }),
            Self::Handshake(_) | Self::Over => None,
        }
    }
}

impl Route {
    fn restore(record: &RouteRecord) -> Option<Self> {
        let address = LinkAddress::new(&record.address)?;
        let peer = Peer { link: LinkId(record.link), address };
        Some(RouteRef { peer, wrapper: &record.wrapper }.to_route())
    }

    fn record(&self) -> RouteRecord {
        RouteRecord {
            link: self.peer().link.0,
            address: Bytes::copy_from_slice(self.peer().address.octets()),
            wrapper: Bytes::copy_from_slice(self.wrapper()),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
