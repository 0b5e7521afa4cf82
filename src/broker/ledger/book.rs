//! The QoS 2 exchanges of one connection as they stand on the wire.
//!
//! A message is entered in three steps: handed over by the session, seen on its way out under its packet id, answered by
//! the broker. What is the same in everything but its token is interchangeable, so the first one
//! handed over that equals the packet is taken for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::checkpoint::{Checkpoint, Outgoing, Progress};
use crate::broker::suspicion::{Breaks, Pace};
use crate::core::{BrokerReason, Message, PublishOutcome, Token};

/// Names a message that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::broker) struct Serial(u64);

/// What the ledger knows of a message that the session has an answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Fate {
    /// It never was on the wire, and the ledger has forgotten it.
    NeverSent,
    /// The ledger answers for it, or has done so.
    Entered,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    /// Handed over and not seen on the wire yet; oldest first.
    handed: VecDeque<Handed>,
    /// By packet id.
    outgoing: BTreeMap<u16, Entry>,
    /// Messages from the broker that were answered with PUBREC and not with PUBCOMP yet.
    incoming: BTreeSet<u16>,
    /// Answered for by the broker, or lost, since the last commit.
    settled: Vec<(Token, PublishOutcome)>,
    session: Session,
    newest: u16,
    last_serial: u64,
    /// How often what is to be kept has changed.
    revision: u64,
    /// The last revision that has to be kept before another packet of a QoS 2 exchange goes out.
    required: u64,
    /// How many of `outgoing` an earlier process has sent.
    earlier: usize,
    /// Of those.
    breaks: Breaks,
}

/// Whether the session at the broker is the one in the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Session {
    /// Perhaps not.
    #[default]
    Unknown,
    Ours,
}

#[derive(Debug)]
struct Handed {
    serial: Serial,
    token: Option<Token>,
    message: Message,
}

#[derive(Debug)]
struct Entry {
    /// Gives the order.
    serial: Serial,
    sender: Sender,
    token: Option<Token>,
    progress: Progress,
    /// What the message is answered with when it is lost, if it is its own fault.
    verdict: Option<BrokerReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    ThisProcess,
    AnEarlierOne,
}

impl Book {
    /// Goes on where an earlier process was.
    pub(super) fn resume(checkpoint: Checkpoint) -> Self {
        let Checkpoint { newest, outgoing, incoming } = checkpoint;
        let mut book = Self { newest, session: Session::Ours, ..Self::default() };
        book.incoming.extend(incoming);
        for Outgoing { packet, token, progress } in outgoing {
            let (serial, sender) = (book.next_serial(), Sender::AnEarlierOne);
            book.outgoing.insert(packet, Entry { serial, sender, token, progress, verdict: None });
        }
        book.earlier = book.outgoing.len();
        book
    }

    pub(super) fn has_session(&self) -> bool {
        self.session == Session::Ours
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn required(&self) -> u64 {
        self.required
    }

    pub(super) fn hand_over(&mut self, token: Option<Token>, message: Message) -> Serial {
        let serial = self.next_serial();
        self.handed.push_back(Handed { serial, token, message });
        serial
    }

    /// The session has an answer.
    pub(super) fn answered(&mut self, serial: Serial, outcome: PublishOutcome) -> Fate {
        if let Ok(position) = self.handed.binary_search_by_key(&serial, |handed| handed.serial) {
            self.handed.remove(position);
            return Fate::NeverSent;
        }
        if let PublishOutcome::Refused(reason) = outcome
            && let Some(entry) = self.outgoing.values_mut().find(|entry| entry.serial == serial)
        {
            entry.verdict = Some(reason);
        }
        Fate::Entered
    }

    /// PUBLISH at QoS 2 is about to go out, for the first time or again.
    pub(super) fn publish(&mut self, packet: u16, is_it: impl Fn(&Message) -> bool) {
        if self.outgoing.contains_key(&packet) {
            return;
        }
        let Some(position) = self.handed.iter().position(|handed| is_it(&handed.message)) else { return };
        let Some(Handed { serial, token, message }) = self.handed.remove(position) else { return };
        let (sender, progress) = (Sender::ThisProcess, Progress::Sent(message));
        self.outgoing.insert(packet, Entry { serial, sender, token, progress, verdict: None });
        self.newest = packet;
        self.require();
    }

    /// PUBREL is about to go out, for the first time or again.
    pub(super) fn release(&mut self, packet: u16) {
        if let Some(Entry { progress: progress @ Progress::Sent(_), .. }) = self.outgoing.get_mut(&packet) {
            *progress = Progress::Released;
            self.require();
        }
    }

    /// PUBREC has come, and refuses the message.
    pub(super) fn refused(&mut self, packet: u16, reason: BrokerReason) {
        if self.outgoing.get(&packet).is_some_and(|entry| matches!(entry.progress, Progress::Sent(_))) {
            self.settle(packet, PublishOutcome::Refused(reason));
        }
    }

    /// PUBCOMP has come.
    pub(super) fn completed(&mut self, packet: u16) {
        if self.outgoing.get(&packet).is_some_and(|entry| entry.progress == Progress::Released) {
            self.settle(packet, PublishOutcome::Accepted);
        }
    }

    /// PUBREC is about to go out.
    pub(super) fn receive(&mut self, packet: u16) {
        if self.incoming.insert(packet) {
            self.require();
        }
    }

    /// PUBCOMP is about to go out. Then the broker may give the packet id to another message, which must not be taken
    /// for the former one.
    pub(super) fn finish(&mut self, packet: u16) {
        if self.incoming.remove(&packet) {
            self.require();
        }
    }

    /// A session has begun that is to be taken up again after a crash.
    pub(super) fn session_begins(&mut self) {
        if self.session == Session::Unknown {
            self.session = Session::Ours;
            self.revision += 1;
        }
    }

    /// The broker has forgotten the session.
    pub(super) fn session_lost(&mut self) {
        if self.outgoing.is_empty() && self.incoming.is_empty() {
            return;
        }
        let mut lost: Vec<Entry> = std::mem::take(&mut self.outgoing).into_values().collect();
        lost.sort_unstable_by_key(|entry| entry.serial);
        self.settled.extend(lost.into_iter().filter_map(|entry| {
            Some((entry.token?, entry.verdict.map_or(PublishOutcome::Lost, PublishOutcome::Refused)))
        }));
        self.incoming.clear();
        self.earlier = 0;
        self.revision += 1;
    }

    /// The session is given up, whatever the broker has of it.
    pub(super) fn forget(&mut self) {
        self.session_lost();
        if self.session == Session::Ours {
            self.session = Session::Unknown;
            self.revision += 1;
        }
    }

    /// The broker ended a connection early. Returns whether something of an earlier process's is suspected to be why:
    /// what this process sends is under suspicion elsewhere.
    pub(super) fn broke_early(&mut self) -> bool {
        if self.earlier > 0 {
            self.breaks.count(Pace::Full);
        } else {
            self.breaks.excuse();
        }
        self.breaks.is_suspect()
    }

    /// The broker cannot be reached.
    pub(super) fn excuse(&mut self) {
        self.breaks.excuse();
    }

    /// How many exchanges are under way that an earlier process has begun.
    #[cfg(test)]
    fn of_an_earlier_process(&self) -> usize {
        self.earlier
    }

    /// Returns what has to survive, if anything has.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        if self.session == Session::Unknown && self.outgoing.is_empty() && self.incoming.is_empty() {
            return None;
        }
        let mut outgoing: Vec<(&u16, &Entry)> = self.outgoing.iter().collect();
        outgoing.sort_unstable_by_key(|(_, entry)| entry.serial);
        let outgoing = outgoing.into_iter().map(|(packet, entry)| Outgoing {
            packet: *packet,
            token: entry.token,
            progress: entry.progress.clone(),
        });
        let incoming = self.incoming.iter().copied().collect();
        Some(Checkpoint { newest: self.newest, outgoing: outgoing.collect(), incoming })
    }

    /// Takes the messages that were settled since this was last asked for.
    pub(super) fn take_settled(&mut self) -> Vec<(Token, PublishOutcome)> {
        std::mem::take(&mut self.settled)
    }

    /// The commit of what was taken has failed.
    pub(super) fn give_back(&mut self, mut settled: Vec<(Token, PublishOutcome)>) {
        settled.append(&mut self.settled);
        self.settled = settled;
        self.revision += 1;
    }

    /// Ends an outgoing exchange. No packet has to wait until that is kept: an exchange that ended is taken up again
    /// with its last packet, which the broker answers once more, and its packet id is not given to another message
    /// before that one is kept, and this with it.
    fn settle(&mut self, packet: u16, outcome: PublishOutcome) {
        let Some(Entry { sender, token, .. }) = self.outgoing.remove(&packet) else { return };
        self.earlier -= usize::from(sender == Sender::AnEarlierOne);
        self.settled.extend(token.map(|token| (token, outcome)));
        self.revision += 1;
    }

    fn require(&mut self) {
        self.revision += 1;
        self.required = self.revision;
    }

    fn next_serial(&mut self) -> Serial {
        self.last_serial += 1;
        Serial(self.last_serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topics::TopicName;
    use crate::wire::Qos;

    const ACCEPTED: PublishOutcome = PublishOutcome::Accepted;

    fn message(payload: &'static str) -> Message {
        let topic = TopicName::parse(b"a").unwrap();
        Message { topic, payload: payload.into(), qos: Qos::ExactlyOnce, retain: false }
    }

    impl Book {
        fn hands(&mut self, token: u64, payload: &'static str) -> Serial {
            self.hand_over(Some(Token(token)), message(payload))
        }

        fn sends(&mut self, packet: u16, payload: &'static str) {
            self.publish(packet, |handed| *handed == message(payload));
        }

        /// Whether something has to be kept since this was last asked.
        fn requires(&mut self) -> bool {
            std::mem::take(&mut self.required) > 0
        }

        /// Packet ids with their tokens, in order.
        fn kept(&self) -> Vec<(u16, u64)> {
            let outgoing = self.checkpoint().unwrap_or_default().outgoing.into_iter();
            outgoing.map(|exchange| (exchange.packet, exchange.token.unwrap().0)).collect()
        }
    }

    #[test]
    fn a_packet_is_joined_to_the_token_of_the_message_in_it() {
        let mut book = Book::default();
        book.hands(1, "one");
        book.hands(2, "two");
        book.hands(3, "one");
        book.sends(10, "two");
        assert!(book.requires());
        book.sends(9, "one");
        assert!(book.requires());
        assert_eq!(book.kept(), [(9, 1), (10, 2)], "of equal ones the oldest; in the order of the hand-over");
        book.sends(9, "one");
        assert!(!book.requires(), "sent again it is no other");
        book.sends(11, "one");
        assert_eq!(book.kept(), [(9, 1), (10, 2), (11, 3)]);
    }

    #[test]
    fn an_exchange_is_kept_until_the_broker_completes_it() {
        let mut book = Book::default();
        let serial = book.hands(1, "one");
        book.sends(7, "one");
        book.completed(7);
        assert_eq!(book.kept(), [(7, 1)], "PUBCOMP before PUBREL means nothing");
        assert!(book.requires());
        book.release(7);
        assert!(book.requires());
        book.release(7);
        assert!(!book.requires());
        assert_eq!(book.checkpoint().unwrap().outgoing[0].progress, Progress::Released);
        book.completed(7);
        assert!(!book.requires());
        assert_eq!(book.take_settled(), [(Token(1), ACCEPTED)]);
        assert_eq!(book.answered(serial, ACCEPTED), Fate::Entered);
        assert_eq!(book.checkpoint(), None);
    }

    #[test]
    fn a_refusal_ends_the_exchange() {
        let mut book = Book::default();
        book.hands(1, "one");
        book.sends(7, "one");
        book.refused(7, BrokerReason(0x87));
        assert_eq!(book.take_settled(), [(Token(1), PublishOutcome::Refused(BrokerReason(0x87)))]);
        assert_eq!(book.kept(), []);
    }

    #[test]
    fn what_never_was_on_the_wire_is_not_answered_for() {
        let mut book = Book::default();
        let one = book.hands(1, "one");
        let two = book.hands(2, "two");
        book.sends(7, "two");
        assert_eq!(book.answered(one, PublishOutcome::Lost), Fate::NeverSent);
        assert_eq!(book.answered(two, PublishOutcome::Lost), Fate::Entered);
        book.sends(8, "one");
        assert_eq!(book.kept(), [(7, 2)], "the other has been forgotten");
    }

    #[test]
    fn with_the_session_everything_under_way_is_lost_and_what_is_to_blame_is_refused() {
        let mut book = Book::default();
        book.session_begins();
        book.hands(1, "one");
        let guilty = book.hands(2, "two");
        book.sends(8, "one");
        book.sends(7, "two");
        book.receive(3);
        assert_eq!(book.answered(guilty, PublishOutcome::Refused(BrokerReason(0x80))), Fate::Entered);
        book.session_lost();
        let refused = PublishOutcome::Refused(BrokerReason(0x80));
        assert_eq!(book.take_settled(), [(Token(1), PublishOutcome::Lost), (Token(2), refused)]);
        assert_eq!(book.checkpoint(), Some(Checkpoint { newest: 7, ..Checkpoint::default() }));
        book.forget();
        assert_eq!(book.checkpoint(), None);
    }

    #[test]
    fn an_incoming_exchange_is_kept_from_pubrec_to_pubcomp() {
        let mut book = Book::default();
        book.receive(5);
        assert!(book.requires());
        book.receive(5);
        assert!(!book.requires());
        assert_eq!(book.checkpoint().unwrap().incoming, [5]);
        book.finish(5);
        assert!(book.requires(), "the broker may use the packet id anew");
        assert_eq!(book.checkpoint(), None);
    }

    #[test]
    fn a_book_is_resumed_as_it_was() {
        let mut book = Book::default();
        book.session_begins();
        book.hands(1, "one");
        book.hands(2, "two");
        book.sends(250, "one");
        book.sends(1, "two");
        book.release(250);
        book.receive(9);
        let checkpoint = book.checkpoint().unwrap();
        let mut resumed = Book::resume(checkpoint.clone());
        assert!(resumed.has_session());
        assert_eq!(resumed.checkpoint(), Some(checkpoint));
        assert_eq!(resumed.of_an_earlier_process(), 2);
        resumed.sends(1, "two");
        assert!(!resumed.requires(), "it is kept already");
        resumed.completed(250);
        assert_eq!(resumed.take_settled(), [(Token(1), ACCEPTED)]);
        assert_eq!(resumed.of_an_earlier_process(), 1);
    }

    #[test]
    fn what_an_earlier_process_sent_comes_under_suspicion_too() {
        let mut book = Book::default();
        book.hands(1, "one");
        book.sends(1, "one");
        assert!((0..10).all(|_| !book.broke_early()), "of this process: watched elsewhere");
        let mut resumed = Book::resume(book.checkpoint().unwrap());
        assert!(!resumed.broke_early() && !resumed.broke_early());
        assert!(resumed.broke_early());
    }

    #[test]
    fn what_a_failed_commit_took_is_in_the_next_one() {
        let mut book = Book::default();
        book.hands(1, "one");
        book.hands(2, "two");
        book.sends(1, "one");
        book.sends(2, "two");
        book.refused(1, BrokerReason(0x87));
        let taken = book.take_settled();
        book.refused(2, BrokerReason(0x97));
        book.give_back(taken);
        let tokens: Vec<Token> = book.take_settled().into_iter().map(|(token, _)| token).collect();
        assert_eq!(tokens, [Token(1), Token(2)]);
    }
}
