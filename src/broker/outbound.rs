//! What the core asked for and the broker has not answered yet.
//!
//! The library is handed only as many publishes as the broker lets us have under way, and remembers those over a lost
//! connection. When the broker has lost the session it forgets them; then a QoS 1 message is handed over again as a
//! new one, before anything younger, and a QoS 2 message is answered with `Lost`, because it may have arrived.
//!
//! With a ledger it is known which QoS 2 messages have been on the wire, and the ledger answers for those. The others are
//! handed over again like QoS 1 messages.
//!
//! What the broker hangs up on is found and refused: see `suspicion`.
//!
//! Each request handed over is a future in one `FuturesUnordered`. The library completes it in the same step in which
//! it takes the broker's answer, so no answer is lost with a broken connection, as the library's events are: it drops
//! those of the batch in which an error occurs. A completed future costs well under a microsecond and is found without
//! a search, in whatever order the broker answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use slab::Slab;
use tokio::time::Instant;
use tracing::warn;

use super::client::{Answer, Answering, Attempt, Client, Window};
use super::ledger::{Fate, Ledger, Serial};
use super::requests::{REQUEST_WINDOW, Request, Requests};
use super::settings::RetainedMessages;
use super::suspicion::{Breaks, Pace};
use crate::core::{BrokerEvent, BrokerOffer, BrokerReason, Message, PublishOutcome, Token};
use crate::wire::Qos;

/// QoS 0 publishes that the library may hold at the same time: enough for full writes, few enough to bound it. On a
/// connection with a short queue, as many as that has places.
pub(super) const QOS0_WINDOW: usize = 512;

/// A QoS 0 message that waited longer than this for the broker is not sent any more: nobody expects it to arrive at
/// all, and an old reading would pass for a new one.
const QOS0_KEPT: Duration = Duration::from_secs(30);

/// MQTT 5 §2.4.
const UNSPECIFIED_ERROR: BrokerReason = BrokerReason(0x80);

/// How many commands wait: counted up where they are submitted, down where they are handed over.
#[derive(Debug)]
pub(super) struct Load {
    waiting: AtomicUsize,
    limit: usize,
    /// Places after the limit, for what is worse to refuse.
    beyond: usize,
}

/// A publish on its way.
#[derive(Debug)]
pub(super) struct Publish {
    token: Option<Token>,
    message: Message,
    /// When it is of no use any more.
    expires: Option<Instant>,
    breaks: Breaks,
}

#[derive(Debug)]
pub(super) struct Outbound {
    load: Arc<Load>,
    /// Handed over once and forgotten by the library with the session; goes before `waiting`.
    again: VecDeque<Publish>,
    waiting: VecDeque<(Instant, Publish)>,
    in_flight: Slab<InFlight>,
    under_way: UnderWay,
    /// How many of `in_flight` were handed over in a session that is lost, and will be answered with that.
    stale: usize,
    session: u64,
    pace: Pace,
    requests: Requests,
    ledger: Option<Ledger>,
    answers: FuturesUnordered<Answering>,
}

/// How many of the publishes are under way at each QoS.
#[derive(Debug, Default)]
struct UnderWay {
    at_most_once: usize,
    at_least_once: usize,
    exactly_once: usize,
}

#[derive(Debug)]
struct InFlight {
    publish: Publish,
    session: u64,
    /// QoS 2, with a ledger.
    entry: Option<Serial>,
}

impl Load {
    pub(super) fn new(limit: usize, beyond: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), limit, beyond }
    }

    /// Takes a place in the queue if one is free.
    pub(super) fn enter(&self) -> bool {
        self.enter_below(self.limit)
    }

    /// Takes a place in the queue or beyond its limit if one is free.
    pub(super) fn enter_beyond(&self) -> bool {
        self.enter_below(self.limit.saturating_add(self.beyond))
    }

    fn enter_below(&self, limit: usize) -> bool {
        let fits = self.waiting.fetch_add(1, Ordering::Relaxed) < limit;
        if !fits {
            self.leave();
        }
        fits
    }

    pub(super) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Outbound {
    pub(super) fn new(load: Arc<Load>, retained: RetainedMessages, ledger: Option<Ledger>) -> Self {
        Self {
            ledger,
            requests: Requests::new(Arc::clone(&load), retained),
            load,
            again: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: Slab::new(),
            under_way: UnderWay::default(),
            stale: 0,
            session: 0,
            pace: Pace::Full,
            answers: FuturesUnordered::new(),
        }
    }

    pub(super) fn push(&mut self, now: Instant, publish: Publish) {
        self.waiting.push_back((now, publish));
    }

    pub(super) fn push_request(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// Returns whether everything has been handed over and answered.
    pub(super) fn is_idle(&self) -> bool {
        self.again.is_empty() && self.waiting.is_empty() && self.in_flight.is_empty() && self.requests.is_idle()
    }

    /// Hands over as much as may be under way. To be called while the link is up.
    pub(super) fn hand_over(
        &mut self,
        client: &dyn Client,
        offer: &BrokerOffer,
        window: Window,
        out: &mut Vec<BrokerEvent>,
    ) {
        if self.again.is_empty() && self.in_flight.is_empty() && self.requests.is_settled() {
            self.pace = Pace::Full;
        }
        let requests = match self.pace {
            Pace::Full => REQUEST_WINDOW,
            Pace::OneByOne => usize::from(self.in_flight.is_empty()),
        };
        self.requests.hand_over(client, offer, requests, &self.answers, out);
        while let Some(publish) = self.next_publish(window) {
            if let Some(reason) = refusal(&publish.message, offer) {
                answer(publish.token, PublishOutcome::Refused(reason), out);
                continue;
            }
            let Publish { token, message, .. } = &publish;
            *self.under_way.at(message.qos) += 1;
            let ledger = self.ledger.as_ref().filter(|_| message.qos == Qos::ExactlyOnce);
            let entry = ledger.map(|ledger| ledger.hand_over(*token, message));
            let slot = self.in_flight.vacant_entry();
            let expires_in = publish.expires.map(|at| at.saturating_duration_since(Instant::now()));
            self.answers.push(client.publish(slot.key(), message, expires_in));
            slot.insert(InFlight { publish, session: self.session, entry });
        }
    }

    /// Waits for the next answer; without anything under way for ever.
    pub(super) async fn next_answer(&mut self) -> Answer {
        match self.answers.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Returns an answer that is there already.
    pub(super) fn try_answer(&mut self) -> Option<Answer> {
        self.answers.next().now_or_never().flatten()
    }

    pub(super) fn answered(&mut self, answered: Answer, out: &mut Vec<BrokerEvent>) {
        match answered {
            Answer::Publish(slot, outcome) => {
                let in_flight = self.in_flight.remove(slot);
                *self.under_way.at(in_flight.publish.message.qos) -= 1;
                self.stale -= usize::from(in_flight.session != self.session);
                self.published(in_flight, outcome, out);
            }
            Answer::Subscribe(slot, outcome) => self.requests.subscribed(slot, outcome, out),
            Answer::Unsubscribe(slot, outcome) => self.requests.unsubscribed(slot, outcome, out),
        }
    }

    /// Notes that the broker has no session of ours: all that is under way will be answered with `Lost`.
    pub(super) fn session_lost(&mut self) {
        self.session += 1;
        self.stale = self.in_flight.len();
        self.requests.session_lost();
    }

    /// Notes that the broker ended a connection soon after it was made, and returns how to go on.
    pub(super) fn broke_early(&mut self) -> Attempt {
        let mut suspects = self.requests.broke_early(self.pace);
        for (_, InFlight { publish, .. }) in &mut self.in_flight {
            publish.breaks.count(self.pace);
            suspects += usize::from(publish.breaks.is_suspect());
        }
        if suspects == 0 {
            return Attempt::Resume;
        }
        self.pace = Pace::OneByOne;
        Attempt::Afresh
    }

    /// Notes that the broker cannot be reached: what broke before was nobody's fault.
    pub(super) fn excuse(&mut self) {
        self.requests.excuse();
        let under_way = self.in_flight.iter_mut().map(|(_, in_flight)| &mut in_flight.publish);
        under_way.chain(&mut self.again).for_each(|publish| publish.breaks.excuse());
    }

    /// Drops what is too old to be sent and returns how much that was.
    pub(super) fn drop_outdated(&mut self, now: Instant, out: &mut Vec<BrokerEvent>) -> usize {
        let before = self.waiting.len();
        let load = &self.load;
        self.waiting.retain(|(since, publish)| {
            let kept = publish.message.qos != Qos::AtMostOnce || now.duration_since(*since) <= QOS0_KEPT;
            if !kept {
                load.leave();
                answer(publish.token, PublishOutcome::Busy, out);
            }
            kept
        });
        before - self.waiting.len()
    }

    /// Answers everything that will not be sent any more.
    pub(super) fn abandon(&mut self, out: &mut Vec<BrokerEvent>) {
        self.answers.clear();
        for InFlight { publish, entry, .. } in self.in_flight.drain() {
            match fate(self.ledger.as_ref(), entry, PublishOutcome::Lost) {
                None => answer(publish.token, PublishOutcome::Lost, out),
                Some(Fate::NeverSent) => answer(publish.token, PublishOutcome::Busy, out),
                Some(Fate::Entered) => {}
            }
        }
        self.again.drain(..).for_each(|publish| answer(publish.token, PublishOutcome::Lost, out));
        for (_, publish) in self.waiting.drain(..) {
            self.load.leave();
            answer(publish.token, PublishOutcome::Busy, out);
        }
        self.requests.abandon(out);
        (self.under_way, self.stale) = (UnderWay::default(), 0);
    }

    fn published(&mut self, in_flight: InFlight, outcome: PublishOutcome, out: &mut Vec<BrokerEvent>) {
        let InFlight { publish, entry, .. } = in_flight;
        let outcome = if outcome == PublishOutcome::Lost && publish.breaks.is_guilty() {
            let topic = publish.message.topic.as_str();
            warn!("gave up a message to `{topic}`: the broker ends the connection whenever it is sent");
            PublishOutcome::Refused(UNSPECIFIED_ERROR)
        } else {
            outcome
        };
        match (fate(self.ledger.as_ref(), entry, outcome), outcome) {
            (Some(Fate::Entered), _) => {}
            (Some(Fate::NeverSent), PublishOutcome::Lost) => self.again.push_back(publish),
            (None, PublishOutcome::Lost) if publish.message.qos == Qos::AtLeastOnce => self.again.push_back(publish),
            (Some(Fate::NeverSent) | None, _) => answer(publish.token, outcome, out),
        }
    }

    /// Takes the next publish if it may be sent now.
    fn next_publish(&mut self, window: Window) -> Option<Publish> {
        let waiting = self.waiting.front().map(|(_, publish)| publish);
        // While answers from a lost session are due, older messages may still have to go first.
        let next = self.again.front().or_else(|| waiting.filter(|_| self.stale == 0))?;
        let window = match self.pace {
            Pace::Full => window,
            Pace::OneByOne => {
                let acknowledged = u16::from(!self.requests.are_under_way());
                Window { acknowledged, exactly_once: acknowledged }
            }
        };
        if !self.under_way.allows(next.message.qos, window, QOS0_WINDOW.min(self.load.limit)) {
            return None;
        }
        self.again.pop_front().or_else(|| {
            self.load.leave();
            self.waiting.pop_front().map(|(_, publish)| publish)
        })
    }
}

impl UnderWay {
    fn at(&mut self, qos: Qos) -> &mut usize {
        match qos {
            Qos::AtMostOnce => &mut self.at_most_once,
            Qos::AtLeastOnce => &mut self.at_least_once,
            Qos::ExactlyOnce => &mut self.exactly_once,
        }
    }

    /// Returns whether one more may be under way.
    fn allows(&self, qos: Qos, window: Window, at_most_once: usize) -> bool {
        let acknowledged = self.at_least_once + self.exactly_once < usize::from(window.acknowledged);
        match qos {
            Qos::AtMostOnce => self.at_most_once < at_most_once,
            Qos::AtLeastOnce => acknowledged,
            Qos::ExactlyOnce => acknowledged && self.exactly_once < usize::from(window.exactly_once),
        }
    }
}

impl Publish {
    pub(super) fn new(token: Option<Token>, message: Message, expires: Option<Instant>) -> Self {
        Self { token, message, expires, breaks: Breaks::default() }
    }
}

/// Asks the ledger for what it has entered.
fn fate(ledger: Option<&Ledger>, entry: Option<Serial>, outcome: PublishOutcome) -> Option<Fate> {
    Some(ledger?.answered(entry?, outcome))
}

fn answer(token: Option<Token>, outcome: PublishOutcome, out: &mut Vec<BrokerEvent>) {
    if let Some(token) = token {
        out.push(BrokerEvent::Published { token, outcome });
    }
}

/// Refuses what the broker would answer by ending the connection.
fn refusal(message: &Message, offer: &BrokerOffer) -> Option<BrokerReason> {
    const PACKET_TOO_LARGE: BrokerReason = BrokerReason(0x95);
    const RETAIN_NOT_SUPPORTED: BrokerReason = BrokerReason(0x9A);
    const QOS_NOT_SUPPORTED: BrokerReason = BrokerReason(0x9B);
    // Fixed header (1 to 5 octets), length of the topic, packet id, length of the properties.
    const OVERHEAD: usize = 5 + 2 + 2 + 1;

    let octets = message.topic.as_str().len() + message.payload.len() + OVERHEAD;
    if offer.max_packet.is_some_and(|most| u32::try_from(octets).is_ok_and(|octets| octets > most)) {
        return Some(PACKET_TOO_LARGE);
    }
    if message.retain && !offer.retain {
        return Some(RETAIN_NOT_SUPPORTED);
    }
    (message.qos > offer.max_qos).then_some(QOS_NOT_SUPPORTED)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::broker::client::Unsubscribed;
    use crate::core::topics::{TopicFilter, TopicName};
    use crate::core::{SubscribeOutcome, SubscriptionId};

    const OFFER: BrokerOffer =
        BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: true, max_packet: None };

    /// A library that writes down what it is handed and is answered by hand.
    #[derive(Default)]
    struct FakeClient {
        sent: RefCell<Vec<String>>,
        open: RefCell<HashMap<String, oneshot::Sender<PublishOutcome>>>,
    }

    impl FakeClient {
        fn sent(&self) -> Vec<String> {
            self.sent.take()
        }

        fn complete(&self, what: &str, outcome: PublishOutcome) {
            self.open.borrow_mut().remove(what).unwrap().send(outcome).unwrap();
        }

        fn note(&self, what: String) -> oneshot::Receiver<PublishOutcome> {
            let (sender, receiver) = oneshot::channel();
            self.sent.borrow_mut().push(what.clone());
            self.open.borrow_mut().insert(what, sender);
            receiver
        }
    }

    impl Client for FakeClient {
        fn publish(&self, slot: usize, message: &Message, _: Option<Duration>) -> Answering {
            let outcome = self.note(message.topic.as_str().to_owned());
            Box::pin(async move { Answer::Publish(slot, outcome.await.unwrap()) })
        }

        fn subscribe(&self, slot: usize, filter: &TopicFilter, qos: Qos, _: Option<SubscriptionId>) -> Answering {
            let outcome = self.note(format!("+{}", filter.as_str()));
            Box::pin(async move {
                let lost = outcome.await.unwrap() == PublishOutcome::Lost;
                Answer::Subscribe(slot, if lost { SubscribeOutcome::Lost } else { SubscribeOutcome::Granted(qos) })
            })
        }

        fn unsubscribe(&self, slot: usize, filter: &TopicFilter) -> Answering {
            let outcome = self.note(format!("-{}", filter.as_str()));
            Box::pin(async move {
                let lost = outcome.await.unwrap() == PublishOutcome::Lost;
                Answer::Unsubscribe(slot, if lost { Unsubscribed::Lost } else { Unsubscribed::Answered })
            })
        }

        fn acknowledge(&self, _: Qos, _: u16) {}

        fn disconnect(&self) {}
    }

    struct Rig {
        outbound: Outbound,
        client: FakeClient,
        out: Vec<BrokerEvent>,
    }

    impl Rig {
        fn new() -> Self {
            let outbound = Outbound::new(Arc::new(Load::new(100, 0)), RetainedMessages::default(), None);
            Self { outbound, client: FakeClient::default(), out: Vec::new() }
        }

        fn push(&mut self, topic: &str, qos: Qos) {
            assert!(self.outbound.load.enter());
            let message = Message {
                topic: TopicName::parse(topic.as_bytes()).unwrap(),
                payload: Bytes::new(),
                qos,
                retain: false,
            };
            self.outbound.push(Instant::now(), Publish::new(Some(Token(0)), message, None));
        }

        fn subscribe(&mut self, text: &str) {
            assert!(self.outbound.load.enter());
            let (filter, qos) = (TopicFilter::parse(text.as_bytes()).unwrap(), Qos::AtLeastOnce);
            self.outbound.push_request(Request::Subscribe { token: Token(1), filter, qos, id: SubscriptionId(1) });
        }

        /// Takes the answers that are there, hands over, and returns what was handed over.
        fn turn(&mut self, window: u16) -> Vec<String> {
            while let Some(answer) = self.outbound.try_answer() {
                self.outbound.answered(answer, &mut self.out);
            }
            let window = Window { acknowledged: window, exactly_once: window };
            self.outbound.hand_over(&self.client, &OFFER, window, &mut self.out);
            self.client.sent()
        }
    }

    #[test]
    fn no_more_is_under_way_than_the_window_allows() {
        let mut rig = Rig::new();
        ["a", "b", "c"].into_iter().for_each(|topic| rig.push(topic, Qos::AtLeastOnce));
        assert_eq!(rig.turn(2), ["a", "b"]);
        rig.client.complete("b", PublishOutcome::Accepted);
        assert_eq!(rig.turn(2), ["c"]);
        assert_eq!(rig.out, [BrokerEvent::Published { token: Token(0), outcome: PublishOutcome::Accepted }]);
    }

    #[test]
    fn after_a_lost_session_older_messages_go_first() {
        let mut rig = Rig::new();
        [("a", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce), ("c", Qos::AtLeastOnce), ("d", Qos::AtLeastOnce)]
            .into_iter()
            .for_each(|(topic, qos)| rig.push(topic, qos));
        assert_eq!(rig.turn(3), ["a", "b", "c"]);
        rig.outbound.session_lost();
        rig.client.complete("a", PublishOutcome::Lost);
        assert_eq!(rig.turn(4), ["a"], "the younger d waits until the fate of all older ones is known");
        rig.client.complete("b", PublishOutcome::Lost);
        rig.client.complete("c", PublishOutcome::Lost);
        assert_eq!(rig.turn(4), ["c", "d"]);
        assert_eq!(
            rig.out,
            [BrokerEvent::Published { token: Token(0), outcome: PublishOutcome::Lost }],
            "QoS 2 is not sent twice"
        );
    }

    #[test]
    fn changes_of_one_subscription_are_sent_one_after_the_other() {
        let mut rig = Rig::new();
        rig.outbound.push_request(Request::Unsubscribe { filter: TopicFilter::parse(b"a").unwrap() });
        rig.subscribe("a");
        assert_eq!(rig.turn(1), ["-a"]);
        rig.client.complete("-a", PublishOutcome::Accepted);
        assert_eq!(rig.turn(1), ["+a"]);
    }

    #[test]
    fn a_broker_that_goes_away_in_between_casts_suspicion_on_nothing() {
        let mut rig = Rig::new();
        rig.push("a", Qos::AtLeastOnce);
        rig.turn(1);
        for _ in 0..10 {
            assert_eq!(rig.outbound.broke_early(), Attempt::Resume);
            assert_eq!(rig.outbound.broke_early(), Attempt::Resume);
            rig.outbound.excuse();
        }
    }

    #[test]
    fn what_the_broker_hangs_up_on_is_found_among_messages_and_subscribes() {
        let mut rig = Rig::new();
        rig.push("a", Qos::AtLeastOnce);
        rig.subscribe("b");
        rig.subscribe("c");
        assert_eq!(rig.turn(3), ["+b", "+c", "a"]);
        rig.outbound.broke_early();
        rig.outbound.broke_early();
        assert_eq!(rig.outbound.broke_early(), Attempt::Afresh);
        for lost in ["+b", "+c", "a"] {
            rig.client.complete(lost, PublishOutcome::Lost);
        }
        assert_eq!(rig.turn(3), ["+b"], "one by one");
        rig.client.complete("+b", PublishOutcome::Accepted);
        assert_eq!(rig.turn(3), ["+c"]);
        assert_eq!(rig.outbound.broke_early(), Attempt::Afresh);
        rig.client.complete("+c", PublishOutcome::Lost);
        assert_eq!(rig.turn(3), ["a"]);
        let refused = SubscribeOutcome::Refused(UNSPECIFIED_ERROR);
        let answers = [SubscribeOutcome::Granted(Qos::AtLeastOnce), refused];
        let answers = answers.map(|outcome| BrokerEvent::Subscribed { token: Token(1), outcome });
        assert_eq!(rig.out, answers);
        rig.client.complete("a", PublishOutcome::Accepted);
        rig.subscribe("c");
        assert_eq!(rig.turn(3), [""; 0], "it is not asked for again");
        assert_eq!(rig.out.last(), Some(&answers[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_qos_0_message_is_dropped_and_an_old_qos_1_message_is_sent() {
        let mut rig = Rig::new();
        rig.push("a", Qos::AtMostOnce);
        rig.push("b", Qos::AtLeastOnce);
        tokio::time::advance(QOS0_KEPT + Duration::from_secs(1)).await;
        rig.push("c", Qos::AtMostOnce);
        assert_eq!(rig.outbound.drop_outdated(Instant::now(), &mut rig.out), 1);
        assert_eq!(rig.turn(1), ["b", "c"]);
    }

    #[test]
    fn every_token_is_answered_when_all_is_abandoned() {
        let mut rig = Rig::new();
        ["a", "b"].into_iter().for_each(|topic| rig.push(topic, Qos::AtLeastOnce));
        rig.turn(1);
        rig.outbound.abandon(&mut rig.out);
        let published = |outcome| BrokerEvent::Published { token: Token(0), outcome };
        assert_eq!(rig.out, [published(PublishOutcome::Lost), published(PublishOutcome::Busy)]);
        assert!(rig.outbound.is_idle());
        assert_eq!(rig.outbound.load.waiting.load(Ordering::Relaxed), 0);
    }
}
