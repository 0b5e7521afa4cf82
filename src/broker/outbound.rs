//! What the core asked for and the broker has not answered yet.
//!
//! Only as many publishes are under way as the broker takes; the rest waits. When the connection breaks and the broker
//! has kept the session, what is under way is sent again under its packet ids, in its order. When the broker has lost
//! the session, a QoS 1 message is sent again as a new one, before anything younger, and a QoS 2 message is answered
//! with `Lost`, because it may have arrived.
//!
//! With a ledger it is known which QoS 2 messages have been on the wire, and the ledger answers for those, a commit later.
//! The others are given back at once if there are such: sent by themselves they would overtake those.
//!
//! What the broker hangs up on is found and refused: see `suspicion`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;
use tracing::warn;

use super::failure::Failure;
use super::in_flight::{InFlight, Owner, PACKET_TOO_LARGE, PacketIds, Publish, refusal};
use super::ledger::{Checkpoint, Fate, Ledger, Outgoing, Progress, Serial};
use super::load::Load;
use super::outbox::Outbox;
use super::purpose::Attempt;
use super::requests::{REQUEST_WINDOW, Request, Requests};
use super::settings::RetainedMessages;
use super::suspicion::Pace;
use super::window::{QOS0_WINDOW, UnderWay, Window};
use crate::core::{BrokerEvent, BrokerOffer, BrokerReason, PublishOutcome, Token};
use crate::mqtt::Ack;
use crate::wire::Qos;

/// A QoS 0 message that waited longer than this for the broker is not sent any more: nobody expects it to arrive at
/// all, and an old reading would pass for a new one.
const QOS0_KEPT: Duration = Duration::from_secs(30);

/// MQTT 5 §2.4.
const UNSPECIFIED_ERROR: BrokerReason = BrokerReason(0x80);

/// Reason codes from here on refuse (MQTT 5 §2.4).
const REFUSALS: u8 = 0x80;

#[derive(Debug)]
pub(super) struct Outbound {
    load: Arc<Load>,
    /// Sent once in a session that is lost; goes before `waiting`.
    again: VecDeque<Publish>,
    waiting: VecDeque<(Instant, Publish)>,
    /// QoS 1 and 2, by packet id.
    in_flight: HashMap<u16, InFlight, RandomState>,
    /// Those of `in_flight` that are still to be sent again on the present connection; goes before all others.
    repeat: VecDeque<u16>,
    /// Whom to answer when all that was written has gone.
    at_most_once: Vec<Token>,
    under_way: UnderWay,
    packets: PacketIds,
    /// How many of `in_flight` there have been.
    sent: u64,
    /// QoS 2 messages that have been on the wire are called lost: with the session before, given up by ourselves before
    /// the broker was asked for another. What the core has sent since may be behind them.
    has_lost: bool,
    pace: Pace,
    requests: Requests,
    ledger: Option<Ledger>,
}

impl Outbound {
    pub(super) fn new(load: Arc<Load>, retained: RetainedMessages, ledger: Option<Ledger>) -> Self {
        Self {
            requests: Requests::new(Arc::clone(&load), retained),
            load,
            again: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: HashMap::default(),
            repeat: VecDeque::new(),
            at_most_once: Vec::new(),
            under_way: UnderWay::default(),
            packets: PacketIds::default(),
            sent: 0,
            has_lost: false,
            pace: Pace::Full,
            ledger,
        }
    }

    /// Goes on with what an earlier process has under way. To be called before anything is sent.
    pub(super) fn take_up(&mut self, checkpoint: Checkpoint) {
        self.packets.newest = checkpoint.newest;
        for Outgoing { packet, token: _, progress } in checkpoint.outgoing {
            self.sent += 1;
            self.in_flight.insert(packet, InFlight { number: self.sent, progress, owner: Owner::Ledger });
        }
    }

    pub(super) fn push(&mut self, now: Instant, publish: Publish) {
        self.waiting.push_back((now, publish));
    }

    pub(super) fn push_request(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// Returns whether everything of this process's has been sent and answered.
    pub(super) fn is_idle(&self) -> bool {
        self.again.is_empty()
            && self.waiting.is_empty()
            && self.at_most_once.is_empty()
            && self.in_flight.values().all(InFlight::is_an_earlier_ones)
            && self.requests.is_idle()
    }

    /// Goes on with the session that the broker has kept.
    ///
    /// # Errors
    ///
    /// [`Failure::TooLarge`] if the broker takes less than before, and a message under way is too large now. It cannot
    /// be left out: its packet id would stand for another message, and at QoS 2 the broker may take that for this one.
    pub(super) fn resume(&mut self, outbox: &mut Outbox, offer: &BrokerOffer) -> Result<(), Failure> {
        let is_too_large = |in_flight: &InFlight| match &in_flight.progress {
            Progress::Sent(message) => refusal(message, offer) == Some(PACKET_TOO_LARGE),
            Progress::Released => false,
        };
        if self.in_flight.values().any(is_too_large) {
            return Err(Failure::TooLarge);
        }
        let mut order: Vec<(u64, u16)> = self.in_flight.iter().map(|(packet, sent)| (sent.number, *packet)).collect();
        order.sort_unstable();
        self.repeat = order.into_iter().map(|(_, packet)| packet).collect();
        self.requests.repeat(outbox, offer);
        Ok(())
    }

    /// Writes as much as may be under way. To be called while the link is up.
    pub(super) fn hand_over(
        &mut self,
        outbox: &mut Outbox,
        offer: &BrokerOffer,
        window: Window,
        out: &mut Vec<BrokerEvent>,
    ) {
        self.send_again(outbox, window);
        if self.again.is_empty() && self.in_flight.is_empty() && self.requests.is_settled() {
            self.pace = Pace::Full;
        }
        let requests = match self.pace {
            Pace::Full => REQUEST_WINDOW,
            Pace::OneByOne => usize::from(self.in_flight.is_empty()),
        };
        let Self { in_flight, packets, .. } = self;
        self.requests.hand_over(outbox, offer, requests, packets, |packet| in_flight.contains_key(&packet), out);
        while let Some(publish) = self.next_publish(window) {
            match refusal(&publish.message, offer) {
                Some(reason) => answer(publish.own.token, PublishOutcome::Refused(reason), out),
                None => self.send(publish, outbox),
            }
        }
    }

    /// Takes the broker's answer to a message at QoS 1.
    pub(super) fn puback(&mut self, packet: u16, reason: u8, out: &mut Vec<BrokerEvent>) -> Result<(), Failure> {
        match self.in_flight.get(&packet) {
            Some(InFlight { progress: Progress::Sent(message), .. }) if message.qos == Qos::AtLeastOnce => {
                self.finish(packet, outcome(reason), out);
                Ok(())
            }
            Some(_) | None => Err(unexpected("PUBACK", packet)),
        }
    }

    /// Takes the broker's first answer to a message at QoS 2.
    pub(super) fn pubrec(
        &mut self,
        packet: u16,
        reason: u8,
        outbox: &mut Outbox,
        out: &mut Vec<BrokerEvent>,
    ) -> Result<(), Failure> {
        match self.in_flight.get_mut(&packet) {
            Some(InFlight { progress: Progress::Sent(message), .. }) if message.qos != Qos::ExactlyOnce => {
                return Err(unexpected("PUBREC", packet));
            }
            Some(_) if reason >= REFUSALS => self.finish(packet, outcome(reason), out),
            Some(in_flight) => {
                in_flight.progress = Progress::Released;
                outbox.ack(Ack::PubRel, packet);
            }
            None => return Err(unexpected("PUBREC", packet)),
        }
        Ok(())
    }

    /// Takes the broker's last answer to a message at QoS 2.
    pub(super) fn pubcomp(&mut self, packet: u16, out: &mut Vec<BrokerEvent>) -> Result<(), Failure> {
        match self.in_flight.get(&packet) {
            Some(InFlight { progress: Progress::Released, .. }) => {
                self.finish(packet, PublishOutcome::Accepted, out);
                Ok(())
            }
            Some(_) | None => Err(unexpected("PUBCOMP", packet)),
        }
    }

    pub(super) fn suback(&mut self, packet: u16, reason: u8, out: &mut Vec<BrokerEvent>) -> Result<(), Failure> {
        self.requests.subscribed(packet, reason, out).ok_or_else(|| unexpected("SUBACK", packet))
    }

    pub(super) fn unsuback(&mut self, packet: u16) -> Result<(), Failure> {
        self.requests.unsubscribed(packet).ok_or_else(|| unexpected("UNSUBACK", packet))
    }

    /// Notes that all that was written has gone. More nobody knows of a message at QoS 0.
    pub(super) fn flushed(&mut self, out: &mut Vec<BrokerEvent>) {
        self.under_way.flushed();
        self.at_most_once.drain(..).for_each(|token| answer(Some(token), PublishOutcome::Accepted, out));
    }

    /// Notes that the connection broke.
    pub(super) fn disconnected(&mut self, out: &mut Vec<BrokerEvent>) {
        self.under_way = UnderWay::default();
        self.repeat.clear();
        self.at_most_once.drain(..).for_each(|token| answer(Some(token), PublishOutcome::Lost, out));
    }

    /// Notes that the broker has no session of ours, or that it is given up: nothing is under way any more.
    pub(super) fn session_lost(&mut self, out: &mut Vec<BrokerEvent>) {
        let mut lost: Vec<InFlight> = self.in_flight.drain().map(|(_, in_flight)| in_flight).collect();
        lost.sort_unstable_by_key(|in_flight| in_flight.number);
        self.repeat.clear();
        self.under_way = UnderWay::default();
        let younger = std::mem::take(&mut self.again);
        lost.into_iter().for_each(|in_flight| self.published(in_flight, PublishOutcome::Lost, out));
        self.again.extend(younger);
        let loses = self.ledger.as_ref().is_some_and(Ledger::has_outgoing);
        if std::mem::replace(&mut self.has_lost, loses) || loses {
            self.give_back(out);
        }
        self.requests.session_lost(out);
    }

    /// Notes that the broker ended a connection soon after it was made, and returns how to go on.
    pub(super) fn broke_early(&mut self) -> Attempt {
        let mut suspects = self.requests.broke_early(self.pace);
        for own in self.in_flight.values_mut().filter_map(InFlight::own_mut) {
            own.breaks.count(self.pace);
            suspects += usize::from(own.breaks.is_suspect());
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
        let under_way = self.in_flight.values_mut().filter_map(InFlight::own_mut);
        let again = self.again.iter_mut().map(|publish| &mut publish.own);
        under_way.chain(again).for_each(|own| own.breaks.excuse());
    }

    /// Drops what is too old to be sent and returns how much that was.
    pub(super) fn drop_outdated(&mut self, now: Instant, out: &mut Vec<BrokerEvent>) -> usize {
        let before = self.waiting.len();
        let load = &self.load;
        self.waiting.retain(|(since, publish)| {
            let kept = publish.message.qos != Qos::AtMostOnce || now.duration_since(*since) <= QOS0_KEPT;
            if !kept {
                load.leave();
                answer(publish.own.token, PublishOutcome::Busy, out);
            }
            kept
        });
        before - self.waiting.len()
    }

    /// Answers everything that will not be sent any more.
    pub(super) fn abandon(&mut self, out: &mut Vec<BrokerEvent>) {
        self.disconnected(out);
        for own in self.in_flight.drain().filter_map(|(_, in_flight)| in_flight.into_own()) {
            match fate(self.ledger.as_ref(), own.entry, PublishOutcome::Lost) {
                None => answer(own.token, PublishOutcome::Lost, out),
                Some(Fate::NeverSent) => answer(own.token, PublishOutcome::Busy, out),
                Some(Fate::Entered) => {}
            }
        }
        self.again.drain(..).for_each(|publish| answer(publish.own.token, PublishOutcome::Lost, out));
        for (_, publish) in self.waiting.drain(..) {
            self.load.leave();
            answer(publish.own.token, PublishOutcome::Busy, out);
        }
        self.requests.abandon(out);
    }

    /// Answers the QoS 2 messages that have not been on the wire with `Lost`: earlier ones are about to be, or have been, and whoever sends
    /// those again is to decide about the order. A will, of which nobody hears, stays.
    fn give_back(&mut self, out: &mut Vec<BrokerEvent>) {
        let Self { again, waiting, load, .. } = self;
        let mut stays = |Publish { message, own }: &Publish| {
            let stays = message.qos < Qos::ExactlyOnce || own.token.is_none();
            if !stays {
                answer(own.token, PublishOutcome::Lost, out);
            }
            stays
        };
        again.retain(&mut stays);
        waiting.retain(|(_, publish)| {
            let stays = stays(publish);
            if !stays {
                load.leave();
            }
            stays
        });
    }

    /// Sends again what was under way when the connection broke, as much as the broker takes at once.
    fn send_again(&mut self, outbox: &mut Outbox, window: Window) {
        while let Some(packet) = self.repeat.front().copied() {
            if let Some(in_flight) = self.in_flight.get(&packet) {
                match &in_flight.progress {
                    Progress::Sent(message) if !self.under_way.allows(message.qos, window, 0) => return,
                    Progress::Sent(message) => {
                        outbox.publish(packet, true, message, in_flight.expires_in());
                        self.under_way.enter(message.qos);
                    }
                    // Needs no place (MQTT 5 §4.9), and has one until it is answered.
                    Progress::Released => {
                        outbox.ack(Ack::PubRel, packet);
                        self.under_way.enter(Qos::ExactlyOnce);
                    }
                }
            }
            self.repeat.pop_front();
        }
    }

    fn send(&mut self, publish: Publish, outbox: &mut Outbox) {
        let Publish { message, mut own } = publish;
        self.under_way.enter(message.qos);
        if message.qos == Qos::AtMostOnce {
            outbox.publish(0, false, &message, own.expires_in());
            self.at_most_once.extend(own.token);
            return;
        }
        let packet = self.packets.newest;
        let ledger = self.ledger.as_ref().filter(|_| message.qos == Qos::ExactlyOnce);
        own.entry = ledger.map(|ledger| ledger.hand_over(own.token, &message));
        outbox.publish(packet, false, &message, own.expires_in());
        self.sent += 1;
        let (progress, owner) = (Progress::Sent(message), Owner::Us(own));
        self.in_flight.insert(packet, InFlight { number: self.sent, progress, owner });
    }

    /// Takes the next publish if it may be sent now. At QoS 1 and 2 its packet id is the newest.
    fn next_publish(&mut self, window: Window) -> Option<Publish> {
        let next = self.again.front().or_else(|| self.waiting.front().map(|(_, publish)| publish))?;
        let window = window.at(self.pace, self.requests.are_under_way());
        let qos = next.message.qos;
        if !self.repeat.is_empty() || !self.under_way.allows(qos, window, QOS0_WINDOW.min(self.load.limit())) {
            return None;
        }
        if qos != Qos::AtMostOnce {
            let Self { packets, in_flight, requests, .. } = self;
            packets.next(|packet| in_flight.contains_key(&packet) || requests.has(packet))?;
        }
        self.again.pop_front().or_else(|| {
            self.load.leave();
            self.waiting.pop_front().map(|(_, publish)| publish)
        })
    }

    fn finish(&mut self, packet: u16, outcome: PublishOutcome, out: &mut Vec<BrokerEvent>) {
        let Some(in_flight) = self.in_flight.remove(&packet) else { return };
        self.under_way.leave(in_flight.qos());
        self.published(in_flight, outcome, out);
    }

    fn published(&mut self, in_flight: InFlight, outcome: PublishOutcome, out: &mut Vec<BrokerEvent>) {
        let InFlight { progress, owner, .. } = in_flight;
        let own = match owner {
            Owner::Us(own) => own,
            // It sees for itself.
            Owner::Ledger => return,
        };
        let outcome = if outcome == PublishOutcome::Lost && own.breaks.is_guilty() {
            let what = match &progress {
                Progress::Sent(message) => format!("a message to `{}`", message.topic.as_str()),
                Progress::Released => "a message that it has at QoS 2".to_owned(),
            };
            warn!("gave up {what}: the broker ends the connection whenever it is sent");
            PublishOutcome::Refused(UNSPECIFIED_ERROR)
        } else {
            outcome
        };
        let fate = fate(self.ledger.as_ref(), own.entry, outcome);
        match (fate, outcome, progress) {
            (Some(Fate::Entered), _, _) => {}
            (Some(Fate::NeverSent), PublishOutcome::Lost, Progress::Sent(message)) => {
                self.again.push_back(Publish { message, own });
            }
            (None, PublishOutcome::Lost, Progress::Sent(message)) if message.qos == Qos::AtLeastOnce => {
                self.again.push_back(Publish { message, own });
            }
            (Some(Fate::NeverSent) | None, _, Progress::Sent(_) | Progress::Released) => {
                answer(own.token, outcome, out);
            }
        }
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

fn outcome(reason: u8) -> PublishOutcome {
    if reason < REFUSALS { PublishOutcome::Accepted } else { PublishOutcome::Refused(BrokerReason(reason)) }
}

/// A broker that answers what nobody asked does not know what it has taken.
fn unexpected(what: &str, packet: u16) -> Failure {
    Failure::Garbage(format!("{what} for packet id {packet}, under which nothing waits for it"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::super::ledger::{Keeping, SessionKeeper, Watched};
    use super::*;
    use crate::core::topics::{TopicFilter, TopicName};
    use crate::core::{Message, SubscribeOutcome, SubscriptionId};
    use crate::mqtt::Version;

    const OFFER: BrokerOffer =
        BrokerOffer { max_qos: Qos::ExactlyOnce, retain: true, subscription_ids: true, max_packet: None };
    const REFUSED: u8 = 0x87;

    struct Rig {
        outbound: Outbound,
        out: Vec<BrokerEvent>,
        /// Packet ids by what they were last used for.
        packets: HashMap<String, u16>,
    }

    impl Rig {
        fn new() -> Self {
            let outbound = Outbound::new(Arc::new(Load::new(100, 0)), RetainedMessages::default(), None);
            Self { outbound, out: Vec::new(), packets: HashMap::new() }
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

        /// Hands over, and returns what was written.
        fn turn(&mut self, window: u16) -> Vec<String> {
            let mut outbox = Outbox::new(Version::V311);
            let window = Window { acknowledged: window, exactly_once: window };
            self.outbound.hand_over(&mut outbox, &OFFER, window, &mut self.out);
            self.written(&outbox)
        }

        /// A new connection goes on with the session. Returns what was written.
        fn resumes(&mut self, window: u16) -> Vec<String> {
            let mut outbox = Outbox::new(Version::V311);
            self.outbound.disconnected(&mut self.out);
            self.outbound.resume(&mut outbox, &OFFER).unwrap();
            let window = Window { acknowledged: window, exactly_once: window };
            self.outbound.hand_over(&mut outbox, &OFFER, window, &mut self.out);
            self.written(&outbox)
        }

        /// The topics of messages, the filters of subscribes behind + and of unsubscribes behind -, ! before what is
        /// sent again, and R for a PUBREL.
        fn written(&mut self, outbox: &Outbox) -> Vec<String> {
            let (mut rest, mut found) = (outbox.waiting(), Vec::new());
            while let Some((frame, behind)) = crate::mqtt::Frame::cut(rest, usize::MAX).unwrap() {
                rest = behind;
                let number = |at: usize| u16::from_be_bytes([frame.body[at], frame.body[at + 1]]);
                let text = |at: usize| {
                    let end = at + 2 + usize::from(number(at));
                    (std::str::from_utf8(&frame.body[at + 2..end]).unwrap().to_owned(), end)
                };
                let (mark, name, packet) = match frame.first >> 4 {
                    3 => {
                        let (topic, end) = text(0);
                        let packet = if frame.first & 0b0110 == 0 { 0 } else { number(end) };
                        (if frame.first & 8 == 0 { "" } else { "!" }, topic, packet)
                    }
                    6 => ("R", String::new(), number(0)),
                    8 => ("+", text(2).0, number(0)),
                    10 => ("-", text(2).0, number(0)),
                    other => panic!("{other}"),
                };
                let what = format!("{mark}{name}");
                self.packets.insert(what.trim_start_matches('!').to_owned(), packet);
                found.push(what);
            }
            found
        }

        /// The broker answers with a reason.
        fn answers(&mut self, what: &str, reason: u8) {
            let packet = self.packets[what];
            let answered = match what.as_bytes()[0] {
                b'+' => self.outbound.suback(packet, reason, &mut self.out),
                b'-' => self.outbound.unsuback(packet),
                _ => self.outbound.puback(packet, reason, &mut self.out),
            };
            answered.unwrap();
        }

        /// The broker answers with PUBREC.
        fn receives(&mut self, what: &str, reason: u8) -> Vec<String> {
            let mut outbox = Outbox::new(Version::V311);
            self.outbound.pubrec(self.packets[what], reason, &mut outbox, &mut self.out).unwrap();
            self.written(&outbox)
        }
    }

    #[test]
    fn no_more_is_under_way_than_the_window_allows() {
        let mut rig = Rig::new();
        ["a", "b", "c"].into_iter().for_each(|topic| rig.push(topic, Qos::AtLeastOnce));
        assert_eq!(rig.turn(2), ["a", "b"]);
        rig.answers("b", 0);
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
        rig.outbound.session_lost(&mut rig.out);
        assert_eq!(rig.turn(1), ["a"]);
        rig.outbound.session_lost(&mut rig.out);
        assert_eq!(rig.turn(4), ["a", "c", "d"]);
        assert_eq!(
            rig.out,
            [BrokerEvent::Published { token: Token(0), outcome: PublishOutcome::Lost }],
            "QoS 2 is not sent twice"
        );
    }

    #[test]
    fn a_session_that_goes_on_repeats_what_is_under_way_in_order_and_no_more_than_the_broker_takes() {
        let mut rig = Rig::new();
        [("a", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce), ("c", Qos::ExactlyOnce), ("d", Qos::AtLeastOnce)]
            .into_iter()
            .for_each(|(topic, qos)| rig.push(topic, qos));
        assert_eq!(rig.turn(3), ["a", "b", "c"]);
        assert_eq!(rig.receives("b", 0), ["R"]);
        assert_eq!(rig.resumes(2), ["!a", "R"], "and c when there is room");
        rig.answers("a", 0);
        assert_eq!(rig.turn(2), ["!c"]);
        let packet = rig.packets["R"];
        rig.outbound.pubcomp(packet, &mut rig.out).unwrap();
        assert_eq!(rig.turn(2), ["d"]);
        assert!(rig.receives("c", REFUSED).is_empty(), "a refused message is not released");
        rig.answers("d", 0);
        assert_eq!(rig.out.len(), 4);
        assert!(rig.outbound.is_idle());
    }

    #[test]
    fn an_answer_to_nothing_is_an_error() {
        let mut rig = Rig::new();
        rig.push("a", Qos::AtLeastOnce);
        rig.push("b", Qos::ExactlyOnce);
        rig.turn(2);
        let (a, b) = (rig.packets["a"], rig.packets["b"]);
        let Rig { outbound, out, .. } = &mut rig;
        let mut outbox = Outbox::new(Version::V5);
        assert!(outbound.puback(b, 0, out).is_err() && outbound.puback(77, 0, out).is_err());
        assert!(outbound.pubrec(a, 0, &mut outbox, out).is_err() && outbound.pubrec(77, 0, &mut outbox, out).is_err());
        assert!(outbound.pubcomp(b, out).is_err(), "PUBREC comes first");
        assert!(outbound.suback(a, 0, out).is_err() && outbound.unsuback(a).is_err());
        assert!(out.is_empty() && outbox.waiting().is_empty());
    }

    #[test]
    fn a_message_at_qos_0_is_answered_when_it_has_gone_and_lost_when_the_connection_breaks() {
        let mut rig = Rig::new();
        let outcome = |outcome| BrokerEvent::Published { token: Token(0), outcome };
        rig.push("a", Qos::AtMostOnce);
        assert_eq!(rig.turn(1), ["a"]);
        assert!(rig.out.is_empty());
        rig.outbound.flushed(&mut rig.out);
        rig.push("b", Qos::AtMostOnce);
        assert_eq!(rig.turn(1), ["b"]);
        rig.outbound.disconnected(&mut rig.out);
        assert_eq!(rig.out, [outcome(PublishOutcome::Accepted), outcome(PublishOutcome::Lost)]);
    }

    #[test]
    fn changes_of_one_subscription_are_sent_one_after_the_other() {
        let mut rig = Rig::new();
        rig.outbound.push_request(Request::Unsubscribe { filter: TopicFilter::parse(b"a").unwrap() });
        rig.subscribe("a");
        assert_eq!(rig.turn(1), ["-a"]);
        rig.answers("-a", 0);
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
        rig.outbound.session_lost(&mut rig.out);
        assert_eq!(rig.turn(3), ["+b"], "one by one");
        rig.answers("+b", 1);
        assert_eq!(rig.turn(3), ["+c"]);
        assert_eq!(rig.outbound.broke_early(), Attempt::Afresh);
        rig.outbound.session_lost(&mut rig.out);
        assert_eq!(rig.turn(3), ["a"]);
        let refused = SubscribeOutcome::Refused(UNSPECIFIED_ERROR);
        let answers = [SubscribeOutcome::Granted(Qos::AtLeastOnce), refused];
        let answers = answers.map(|outcome| BrokerEvent::Subscribed { token: Token(1), outcome });
        assert_eq!(rig.out, answers);
        rig.answers("a", 0);
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
        assert_eq!(rig.outbound.load.waiting(), 0);
    }

    /// Keeps nothing.
    struct NoKeeper;

    impl SessionKeeper for NoKeeper {
        fn load(&self) -> Option<Bytes> {
            None
        }

        fn save(&self, _: Option<Bytes>, _: Vec<Token>) -> Keeping {
            Box::pin(async { Ok(()) })
        }
    }

    #[test]
    fn what_was_pushed_behind_a_lost_message_is_given_back_when_the_next_session_begins() {
        let ledger = Ledger::open(Arc::new(NoKeeper));
        let mut rig = Rig::new();
        rig.outbound.ledger = Some(ledger.clone());
        rig.push("a", Qos::ExactlyOnce);
        let mut outbox = Outbox::new(Version::V311);
        let window = Window { acknowledged: 1, exactly_once: 1 };
        rig.outbound.hand_over(&mut outbox, &OFFER, window, &mut rig.out);
        let (stream, _broker) = duplex(1_024);
        let mut link = Watched::new(stream, Some(ledger.clone()), Version::V311);
        assert!(link.write_all(outbox.waiting()).now_or_never().is_none(), "it waits for its entry to be kept");
        rig.outbound.disconnected(&mut rig.out);
        // We give the session up ourselves; the core does not know that yet.
        rig.outbound.session_lost(&mut rig.out);
        ledger.forget();
        rig.push("b", Qos::ExactlyOnce);
        rig.push("b", Qos::AtLeastOnce);
        assert_eq!(rig.out, []);
        rig.outbound.session_lost(&mut rig.out);
        assert_eq!(rig.out, [BrokerEvent::Published { token: Token(0), outcome: PublishOutcome::Lost }]);
        rig.push("c", Qos::ExactlyOnce);
        rig.outbound.session_lost(&mut rig.out);
        assert_eq!(rig.turn(9), ["b", "c"]);
    }
}
