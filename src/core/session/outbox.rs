//! What waits for a client, and the one message that is on its way to it.

use std::collections::VecDeque;
use std::time::Duration;

use super::deliver::{Custody, Parcel};
use super::keep::Progress;
use crate::core::topics::TopicName;
use crate::core::upstream::Receipt;
use crate::core::{Instant, QueuePolicy};
use crate::wire::{MsgId, Qos, TopicId, TopicRef};

/// Message ids reserved in the store at once. A client that gets an id again too soon takes the message for a repetition,
/// so none is given out twice across a restart; and a write for every message would be one too many.
const RESERVED_AT_ONCE: u16 = 64;

/// A queue with one message in flight: constrained clients have one buffer (MQTT-SN digest §11).
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Parcel>,
    /// Octets of topic and payload in the queue.
    octets: usize,
    pub(super) in_flight: Option<InFlight>,
    last_msg_id: u16,
    /// No id up to this one is given out again by another process.
    reserved_msg_id: u16,
    /// The last QoS 0 message under a normal id, in case the client turns out not to know the id.
    pub(super) last_unacknowledged: Option<(TopicId, Parcel)>,
    /// Whether the queue has overflowed since it was last empty, so that a person hears of it once.
    overflowed: bool,
}

/// A message on its way, and the step that the client has yet to answer.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) parcel: Parcel,
    pub(super) step: Step,
    /// When the step is sent again, or for the first time after a pause; `None` while the client sleeps.
    pub(super) due: Option<Instant>,
    pub(super) resends: u8,
    /// When the step was sent first.
    pub(super) since: Instant,
    pub(super) pace: Pace,
    /// Whether the client has been left alone with this message, because it did not answer it and was alive.
    pub(super) has_rested: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// REGISTER is out and REGACK has to come.
    Register { topic_id: TopicId, msg_id: MsgId },
    /// PUBLISH at QoS 1 or 2 is out, under the parcel's message id.
    Publish { topic: TopicRef },
    /// PUBREL is out.
    Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Usual,
    /// The client is busy (return code 1): wait until it says something else, or for `t_wait`.
    Held,
    /// The client talks and does not answer this: wait for `t_wait`, and try again.
    Resting,
}

/// What had to go for a message to be queued.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    pub(super) dropped: Vec<Parcel>,
    /// Older messages of the same topic, of which only the latest is to wait.
    pub(super) superseded: Vec<Parcel>,
    /// Whether the queue has overflowed for the first time since the queue was empty.
    pub(super) is_news: bool,
}

impl InFlight {
    pub(super) fn new(parcel: Parcel, step: Step, now: Instant) -> Self {
        Self { parcel, step, due: None, resends: 0, since: now, pace: Pace::Usual, has_rested: false }
    }

    /// Goes on to another step, which starts with a full set of resends.
    pub(super) fn proceed(&mut self, step: Step, now: Instant) {
        self.step = step;
        self.resends = 0;
        self.since = now;
        self.pace = Pace::Usual;
    }

    /// Lets the client be for a while.
    pub(super) fn wait(&mut self, pace: Pace, now: Instant, t_wait: Duration) {
        self.pace = pace;
        self.due = Some(now + t_wait);
    }

    /// Goes on with the same step after a pause, with a full set of resends.
    pub(super) fn resume(&mut self, now: Instant) {
        self.proceed(self.step, now);
    }
}

impl Outbox {
    /// Whether the client is left alone: until it says something, or until it is tried again.
    pub(super) fn is_at_rest(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.pace != Pace::Usual)
    }

    /// When the message in flight has to be sent again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.in_flight.as_ref()?.due
    }

    /// The empty outbox of a session whose message ids were reserved up to this one.
    pub(super) fn after(last_msg_id: u16) -> Self {
        Self { last_msg_id, reserved_msg_id: last_msg_id, ..Self::default() }
    }

    /// Takes back what a former process stored, in the order of the messages.
    pub(super) fn restore(&mut self, parcel: Parcel, progress: Progress) {
        match progress {
            Progress::Released if self.in_flight.is_none() => {
                self.in_flight = Some(InFlight::new(parcel, Step::Release, Instant::ORIGIN));
            }
            Progress::Released | Progress::Owed => {
                self.octets += parcel.octets();
                self.queue.push_back(parcel);
            }
        }
    }

    /// Returns how many messages the client is owed, with the one in flight.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + usize::from(self.in_flight.is_some())
    }

    /// Returns the octets of topic and payload in the queue.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Lets a QoS 2 message that was begun before a restart, and that the broker has sent again since, take over the
    /// claim of its copy. Returns whether there is one.
    pub(super) fn claim(&mut self, copy: &mut Parcel) -> bool {
        let is_it = |parcel: &&mut Parcel| {
            parcel.place.is_some()
                && parcel.sent_as.is_some()
                && parcel.receipt.is_none()
                && parcel.message == copy.message
        };
        let begun = self.parcels_mut().find(is_it).filter(|_| copy.message.qos == Qos::ExactlyOnce);
        begun.map(|parcel| parcel.receipt = copy.receipt.take()).is_some()
    }

    /// Adds a message. Beyond `messages` or `octets` some go, as their terms say.
    pub(super) fn push(&mut self, parcel: Parcel, messages: usize, octets: usize) -> Overflow {
        let mut overflow = Overflow::default();
        let policy = parcel.terms.policy;
        if policy == QueuePolicy::LatestOnly {
            overflow.superseded = self.take_waiting(&parcel.message.topic);
        }
        self.octets += parcel.octets();
        self.queue.push_back(parcel);
        while self.queue.len() > messages || self.octets > octets {
            let victim = match policy {
                QueuePolicy::DropNewest => self.queue.pop_back(),
                QueuePolicy::DropOldest | QueuePolicy::LatestOnly => self.queue.pop_front(),
            };
            let Some(victim) = victim else { break };
            self.octets -= victim.octets();
            overflow.dropped.push(victim);
        }
        overflow.is_news = !overflow.dropped.is_empty() && !self.overflowed;
        self.overflowed |= overflow.is_news;
        overflow
    }

    /// Takes out what waits for the same topic and has not been sent yet.
    fn take_waiting(&mut self, topic: &TopicName) -> Vec<Parcel> {
        let is_older = |parcel: &Parcel| parcel.message.topic == *topic && parcel.sent_as.is_none();
        if !self.queue.iter().any(is_older) {
            return Vec::new();
        }
        let (older, rest): (Vec<Parcel>, Vec<Parcel>) = std::mem::take(&mut self.queue).into_iter().partition(is_older);
        self.queue = rest.into();
        self.octets -= older.iter().map(Parcel::octets).sum::<usize>();
        older
    }

    pub(super) fn push_front(&mut self, parcel: Parcel) {
        self.octets += parcel.octets();
        self.queue.push_front(parcel);
    }

    pub(super) fn pop(&mut self) -> Option<Parcel> {
        let parcel = self.queue.pop_front();
        match &parcel {
            Some(parcel) => self.octets -= parcel.octets(),
            None => self.overflowed = false,
        }
        parcel
    }

    /// Reserves the message ids that come next, unless some are left. Returns the last of them, to be stored.
    pub(super) fn reserve_msg_ids(&mut self) -> u16 {
        if self.reserved_msg_id == self.last_msg_id || self.has_outrun_reservation() {
            self.reserved_msg_id = self.last_msg_id.wrapping_add(RESERVED_AT_ONCE);
        }
        self.reserved_msg_id
    }

    /// Whether a message id was given out that is not reserved.
    pub(super) fn has_outrun_reservation(&self) -> bool {
        self.reserved_msg_id.wrapping_sub(self.last_msg_id) > RESERVED_AT_ONCE
    }

    pub(super) fn next_msg_id(&mut self) -> MsgId {
        self.last_msg_id = self.last_msg_id.checked_add(1).unwrap_or(1);
        MsgId(self.last_msg_id)
    }

    /// The client sleeps: what is in flight stays so, and goes out again when it wakes.
    pub(super) fn pause(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.due = None;
            in_flight.resends = 0;
            in_flight.pace = Pace::Usual;
        }
    }

    /// The client is away, and may have forgotten its topic ids when it comes back: what is in flight goes to the
    /// head of the queue, except a QoS 2 message that the client has already taken.
    pub(super) fn suspend(&mut self) {
        self.pause();
        self.last_unacknowledged = None;
        if let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.step != Step::Release) {
            self.push_front(in_flight.parcel);
        }
    }

    /// Returns all that the client is owed, the message in flight first.
    pub(super) fn parcels(&self) -> impl Iterator<Item = &Parcel> {
        let in_flight = self.in_flight.as_ref().map(|in_flight| &in_flight.parcel);
        in_flight.into_iter().chain(&self.queue)
    }

    /// Returns the same, to be changed.
    pub(super) fn parcels_mut(&mut self) -> impl Iterator<Item = &mut Parcel> {
        let in_flight = self.in_flight.as_mut().map(|in_flight| &mut in_flight.parcel);
        in_flight.into_iter().chain(&mut self.queue)
    }

    /// Leaves what the broker has not heard of to the broker, which will send it again; QoS 0 messages go. Returns the
    /// receipts of what stays ours: a QoS 2 message that the client may have taken already must go on under its
    /// message id, and not come anew.
    pub(super) fn hand_back(&mut self) -> Vec<Receipt> {
        let begun = |parcel: &Parcel| parcel.message.qos == Qos::ExactlyOnce && parcel.sent_as.is_some();
        self.queue.retain(Parcel::is_acknowledged);
        for parcel in self.queue.iter_mut().filter(|parcel| !begun(parcel)) {
            if parcel.receipt.take().is_some() {
                parcel.custody = Custody::Broker;
            }
        }
        self.count_octets();
        self.parcels_mut().filter_map(|parcel| parcel.receipt.take()).collect()
    }

    /// The client has a connection to the broker again: what was left to the broker comes from there, unless the broker
    /// has forgotten the session.
    pub(super) fn reclaim(&mut self, session_present: bool) {
        if session_present {
            self.queue.retain(|parcel| parcel.custody == Custody::Gateway);
            self.count_octets();
        }
        self.queue.iter_mut().for_each(|parcel| parcel.custody = Custody::Gateway);
    }

    /// Forgets everything. Returns the receipts.
    pub(super) fn clear(&mut self) -> Vec<Receipt> {
        let receipts = self.parcels_mut().filter_map(|parcel| parcel.receipt.take()).collect();
        let Self { last_msg_id, reserved_msg_id, .. } = *self;
        *self = Self { last_msg_id, reserved_msg_id, ..Self::default() };
        receipts
    }

    fn count_octets(&mut self) {
        self.octets = self.queue.iter().map(Parcel::octets).sum();
    }

    /// The client has said something: if it was held, go on at once.
    pub(super) fn release_hold(&mut self, now: Instant) {
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.pace == Pace::Held
        {
            in_flight.due = Some(now);
        }
    }
}

impl Parcel {
    /// Octets that count against the limit of the queue.
    pub(super) fn octets(&self) -> usize {
        self.message.topic.as_str().len() + self.message.payload.len()
    }

    /// Whether it has waited for longer than its terms allow.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.terms.expires.is_some_and(|at| at <= now)
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.message.qos > Qos::AtMostOnce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_reserved_before_they_are_given_out_also_where_they_begin_anew() {
        let mut outbox = Outbox::after(u16::MAX - 10);
        for _ in 0..200 {
            let MsgId(id) = outbox.next_msg_id();
            if outbox.has_outrun_reservation() {
                let reserved = outbox.reserve_msg_ids();
                assert!(reserved.wrapping_sub(id) == RESERVED_AT_ONCE && !outbox.has_outrun_reservation());
            }
            assert_ne!(id, 0);
        }
        assert_eq!(outbox.next_msg_id(), MsgId(191));
    }
}
