//! Subscribes and unsubscribes that the broker has not answered yet.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::in_flight::PacketIds;
use super::load::Load;
use super::outbox::Outbox;
use super::settings::RetainedMessages;
use super::suspicion::{Breaks, Pace};
use crate::core::topics::TopicFilter;
use crate::core::{BrokerEvent, BrokerOffer, BrokerReason, SubscribeOutcome, SubscriptionId, Token};
use crate::mqtt::PacketError;
use crate::wire::Qos;

/// Requests that may wait for the broker's answer at the same time.
pub(super) const REQUEST_WINDOW: usize = 128;

/// For so long a filter that the broker hung up on is refused without asking again. The core renews its
/// subscriptions in each new session, and with this one the session would end again.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// Filters remembered as refused, at most: the oldest is forgotten first.
const REFUSED_AT_MOST: usize = 64;

/// MQTT 5 §2.4.
const UNSPECIFIED_ERROR: BrokerReason = BrokerReason(0x80);
const TOPIC_FILTER_INVALID: BrokerReason = BrokerReason(0x8F);

/// A change of subscriptions on its way.
#[derive(Debug)]
pub(super) enum Request {
    Subscribe { token: Token, filter: TopicFilter, qos: Qos, id: SubscriptionId },
    Unsubscribe { filter: TopicFilter },
}

#[derive(Debug)]
pub(super) struct Requests {
    load: Arc<Load>,
    /// Sent once, in a session that was given up after the broker hung up; goes before `waiting`.
    again: VecDeque<Pending>,
    waiting: VecDeque<Request>,
    /// With their packet ids, in order. Short, and answered from the front.
    in_flight: Vec<(u16, Pending)>,
    refused: VecDeque<(Instant, TopicFilter)>,
    held: Held,
}

/// The filters that the broker holds for us.
#[derive(Debug)]
enum Held {
    /// It makes no difference.
    NotNoted,
    /// Those that this connection asked for, as many as the core has filters.
    Noted { ours: HashSet<TopicFilter>, others: Others },
}

/// Filters that the broker may hold from earlier connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    None,
    /// A session was taken up.
    Perhaps,
}

/// How to send a request to a broker that sends retained messages only after the first SUBSCRIBE to a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    /// The filter is held: with UNSUBSCRIBE before it the SUBSCRIBE is a first one.
    AfterUnsubscribe,
    /// The filter is not held, and the embedded broker would not answer UNSUBSCRIBE.
    NotAtAll,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    breaks: Breaks,
}

impl Requests {
    pub(super) fn new(load: Arc<Load>, retained: RetainedMessages) -> Self {
        Self {
            load,
            again: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            refused: VecDeque::new(),
            held: match retained {
                RetainedMessages::OnEachSubscribe => Held::NotNoted,
                RetainedMessages::OnFirstSubscribe => Held::Noted { ours: HashSet::new(), others: Others::Perhaps },
            },
        }
    }

    pub(super) fn push(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// Returns whether everything has been sent and answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.is_settled()
    }

    /// Returns whether everything that was ever sent has been answered.
    pub(super) fn is_settled(&self) -> bool {
        self.again.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn are_under_way(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Returns whether a request is under way with this packet id.
    pub(super) fn has(&self, packet: u16) -> bool {
        self.in_flight.iter().any(|(other, _)| *other == packet)
    }

    /// Writes requests as long as fewer than `window` are under way.
    ///
    /// Never has two requests for one filter under way: their order would hang on what becomes of the connection.
    pub(super) fn hand_over(
        &mut self,
        outbox: &mut Outbox,
        offer: &BrokerOffer,
        window: usize,
        packets: &mut PacketIds,
        is_taken: impl Fn(u16) -> bool,
        out: &mut Vec<BrokerEvent>,
    ) {
        while self.in_flight.len() < window
            && let Some(pending) = self.next()
        {
            if let Request::Subscribe { token, filter, .. } = &pending.request
                && is_refused(&mut self.refused, filter)
            {
                refuse(*token, UNSPECIFIED_ERROR, out);
                continue;
            }
            let unsubscribe = match self.held.way(&pending.request) {
                Way::Direct => None,
                Way::AfterUnsubscribe => {
                    let filter = pending.request.filter().clone();
                    Some(Pending::new(Request::Unsubscribe { filter }))
                }
                Way::NotAtAll => continue,
            };
            for pending in unsubscribe.into_iter().chain([pending]) {
                let Some(packet) = packets.next(|packet| is_taken(packet) || self.has(packet)) else {
                    // All are under way: not before one of them is answered.
                    self.again.push_back(pending);
                    return;
                };
                match pending.request.write(packet, offer, outbox) {
                    Ok(()) => self.in_flight.push((packet, pending)),
                    Err(error) => {
                        warn!("{error}: `{}`", pending.request.filter().as_str());
                        if let Request::Subscribe { token, .. } = pending.request {
                            refuse(token, TOPIC_FILTER_INVALID, out);
                        }
                    }
                }
            }
        }
    }

    /// Writes what is under way again, on a connection that goes on with the session.
    pub(super) fn repeat(&self, outbox: &mut Outbox, offer: &BrokerOffer) {
        for (packet, pending) in &self.in_flight {
            if let Err(error) = pending.request.write(*packet, offer, outbox) {
                warn!("{error}: `{}`", pending.request.filter().as_str());
            }
        }
    }

    /// Takes the answer to a subscribe; `None` if none waits for it.
    pub(super) fn subscribed(&mut self, packet: u16, reason: u8, out: &mut Vec<BrokerEvent>) -> Option<()> {
        let is_it = |request: &Request| matches!(request, Request::Subscribe { .. });
        let Pending { request, .. } = self.answered(packet, is_it)?;
        match request {
            Request::Subscribe { token, .. } => {
                let outcome = match reason {
                    0 => SubscribeOutcome::Granted(Qos::AtMostOnce),
                    1 => SubscribeOutcome::Granted(Qos::AtLeastOnce),
                    2 => SubscribeOutcome::Granted(Qos::ExactlyOnce),
                    reason => SubscribeOutcome::Refused(BrokerReason(reason)),
                };
                out.push(BrokerEvent::Subscribed { token, outcome });
            }
            Request::Unsubscribe { .. } => {}
        }
        Some(())
    }

    /// Takes the answer to an unsubscribe, whatever it was; `None` if none waits for it.
    pub(super) fn unsubscribed(&mut self, packet: u16) -> Option<()> {
        self.answered(packet, |request| matches!(request, Request::Unsubscribe { .. })).map(drop)
    }

    /// Notes that the broker has no session of ours. With it the subscriptions are gone, and the core renews them; what
    /// the broker may have hung up on is found out here.
    pub(super) fn session_lost(&mut self, out: &mut Vec<BrokerEvent>) {
        match &mut self.held {
            Held::NotNoted => {}
            Held::Noted { ours, others } => {
                ours.clear();
                *others = Others::None;
            }
        }
        let younger = std::mem::take(&mut self.again);
        for (_, pending) in std::mem::take(&mut self.in_flight) {
            if pending.breaks.any() {
                self.retry(pending, out);
            } else {
                pending.request.lose(out);
            }
        }
        self.again.extend(younger);
    }

    /// Notes that the broker ended the connection early, and returns how many suspects are under way.
    pub(super) fn broke_early(&mut self, pace: Pace) -> usize {
        let under_way = self.in_flight.iter_mut().map(|(_, pending)| &mut pending.breaks);
        under_way.map(|breaks| breaks.count(pace)).count();
        self.in_flight.iter().filter(|(_, pending)| pending.breaks.is_suspect()).count()
    }

    /// Notes that the broker cannot be reached: what broke before was nobody's fault.
    pub(super) fn excuse(&mut self) {
        let under_way = self.in_flight.iter_mut().map(|(_, pending)| pending);
        under_way.chain(&mut self.again).for_each(|pending| pending.breaks.excuse());
    }

    /// Answers everything that will not be sent any more.
    pub(super) fn abandon(&mut self, out: &mut Vec<BrokerEvent>) {
        self.waiting.iter().for_each(|_| self.load.leave());
        let in_flight = self.in_flight.drain(..).map(|(_, pending)| pending);
        let begun = in_flight.chain(self.again.drain(..)).map(|pending| pending.request);
        begun.chain(self.waiting.drain(..)).for_each(|request| request.lose(out));
    }

    fn answered(&mut self, packet: u16, is_it: impl Fn(&Request) -> bool) -> Option<Pending> {
        let of = |(other, pending): &(u16, Pending)| *other == packet && is_it(&pending.request);
        let position = self.in_flight.iter().position(of)?;
        Some(self.in_flight.remove(position).1)
    }

    /// Takes the next request, unless one for its filter is under way.
    fn next(&mut self) -> Option<Pending> {
        let next = self.again.front().map(|pending| &pending.request).or_else(|| self.waiting.front())?;
        if self.in_flight.iter().any(|(_, other)| other.request.filter() == next.filter()) {
            return None;
        }
        self.again.pop_front().or_else(|| {
            self.load.leave();
            self.waiting.pop_front().map(Pending::new)
        })
    }

    /// Sends again what the broker hung up on, or gives it up.
    ///
    /// The core would ask again for what it were told is lost, but then as for something that never broke anything.
    fn retry(&mut self, pending: Pending, out: &mut Vec<BrokerEvent>) {
        if !pending.breaks.is_guilty() {
            return self.again.push_back(pending);
        }
        match pending.request {
            Request::Subscribe { token, filter, .. } => {
                let text = filter.as_str();
                warn!("gave up a subscription to {text:?}: the broker ends the connection whenever it is asked for");
                refuse(token, UNSPECIFIED_ERROR, out);
                self.refused.truncate(REFUSED_AT_MOST - 1);
                self.refused.push_front((Instant::now(), filter));
            }
            Request::Unsubscribe { filter } => {
                let text = filter.as_str();
                warn!("gave up unsubscribing from {text:?}: the broker ends the connection whenever it is asked to");
            }
        }
    }
}

impl Held {
    /// Notes what becomes of the filter, and returns how to send the request.
    fn way(&mut self, request: &Request) -> Way {
        let Self::Noted { ours, others } = self else { return Way::Direct };
        match request {
            Request::Subscribe { filter, .. } => {
                if ours.insert(filter.clone()) {
                    Way::Direct
                } else {
                    Way::AfterUnsubscribe
                }
            }
            Request::Unsubscribe { filter } => {
                if ours.remove(filter) || *others == Others::Perhaps {
                    Way::Direct
                } else {
                    Way::NotAtAll
                }
            }
        }
    }
}

impl Pending {
    fn new(request: Request) -> Self {
        Self { request, breaks: Breaks::default() }
    }
}

impl Request {
    fn filter(&self) -> &TopicFilter {
        match self {
            Self::Subscribe { filter, .. } | Self::Unsubscribe { filter } => filter,
        }
    }

    fn write(&self, packet: u16, offer: &BrokerOffer, outbox: &mut Outbox) -> Result<(), PacketError> {
        match self {
            Self::Subscribe { filter, qos, id, .. } => {
                outbox.subscribe(packet, filter, *qos, offer.subscription_ids.then_some(*id))
            }
            Self::Unsubscribe { filter } => outbox.unsubscribe(packet, filter),
        }
    }

    fn lose(self, out: &mut Vec<BrokerEvent>) {
        match self {
            Self::Subscribe { token, .. } => {
                out.push(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Lost });
            }
            Self::Unsubscribe { .. } => {}
        }
    }
}

fn refuse(token: Token, reason: BrokerReason, out: &mut Vec<BrokerEvent>) {
    out.push(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Refused(reason) });
}

fn is_refused(refused: &mut VecDeque<(Instant, TopicFilter)>, filter: &TopicFilter) -> bool {
    refused.retain(|(since, _)| since.elapsed() < REFUSED_FOR);
    refused.iter().any(|(_, other)| other == filter)
}
