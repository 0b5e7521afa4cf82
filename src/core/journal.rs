//! What has to be kept, and what must not be said before it is.
//!
//! A session asks for records to be written while it handles an input, and says what it has to say as if they were
//! written at once. What it said then waits here until the store has them: nobody ever hears of a state that a power
//! cut could take back. Nothing else waits, so a slow disk delays only those whose records it is slow to write.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::route::MAX_NESTING;
use super::{
    BrokerCommand, ConnId, Output, Outputs, Peer, Record, RecordKey, SessionNumber, StoreOp, StoreToken, Token,
};
use crate::wire::{Envelope, Message, Qos, ReturnCode};

/// Marks the tokens that are valid across restarts.
const DURABLE: u64 = 1 << 63;

/// Whether anything outlives the process, and what a broken store means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// There is no store.
    #[default]
    Nothing,
    /// There is one. While it fails, nothing is accepted that would need it.
    Strict,
    /// There is one. While it fails, the gateway goes on as if there were none.
    BestEffort,
}

/// The way of the core's state to the store.
#[derive(Debug)]
pub(super) struct Journal {
    durability: Durability,
    health: Health,
    /// The last operation asked for.
    written: StoreToken,
    /// The last operation that the store is known to have.
    stored: StoreToken,
    /// What waits for an operation to be stored, in the order in which it was to go out.
    withheld: BTreeMap<StoreToken, Vec<Withheld>>,
    frames_withheld: usize,
    /// The last number given out; sessions, places and tokens share one row of numbers.
    last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    Failing,
}

#[derive(Debug)]
enum Withheld {
    Frame { to: Peer, octets: Bytes },
    Command { conn: ConnId, command: BrokerCommand },
}

impl Journal {
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            durability,
            health: Health::Well,
            written: StoreToken::default(),
            stored: StoreToken::default(),
            withheld: BTreeMap::new(),
            frames_withheld: 0,
            last: 0,
        }
    }

    /// Whether what is written outlives the process, now or when the store works again.
    pub(super) fn is_on(&self) -> bool {
        match self.durability {
            Durability::Nothing => false,
            Durability::Strict | Durability::BestEffort => true,
        }
    }

    /// Whether the store can be relied on for something new: if not, it must be refused, or is promised by nobody.
    pub(super) fn can_promise(&self) -> bool {
        match self.durability {
            Durability::Nothing => false,
            Durability::Strict => self.health == Health::Well,
            Durability::BestEffort => true,
        }
    }

    /// Whether new obligations have to be refused because the store fails.
    pub(super) fn is_stuck(&self) -> bool {
        self.durability == Durability::Strict && self.health == Health::Failing
    }

    /// Asks for a change of what is kept. Without a store nothing happens.
    pub(super) fn write(&mut self, out: &mut Outputs, op: StoreOp) -> StoreToken {
        if self.is_on() {
            self.written.0 += 1;
            out.queue.push(Output::Persist { op, token: self.written });
        }
        self.written
    }

    pub(super) fn put(&mut self, out: &mut Outputs, record: Record) -> StoreToken {
        self.write(out, StoreOp::Put(record))
    }

    pub(super) fn delete(&mut self, out: &mut Outputs, key: RecordKey) -> StoreToken {
        self.write(out, StoreOp::Delete(key))
    }

    /// Returns a number that was never given out before, in this process or a former one.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn session_number(&mut self) -> SessionNumber {
        SessionNumber(self.number())
    }

    /// Returns a token that stays valid across restarts.
    pub(super) fn token(&mut self) -> Token {
        Token(self.number() | DURABLE)
    }

    /// Takes note of a number that a former process gave out.
    pub(super) fn skip(&mut self, used: u64) {
        self.last = self.last.max(used & !DURABLE);
    }

    /// Returns the last operation asked for.
    pub(super) fn written(&self) -> StoreToken {
        self.written
    }

    /// Whether something that was written must still be waited for.
    pub(super) fn awaits(&self, written: StoreToken) -> bool {
        let goes_on_without = self.durability == Durability::BestEffort && self.health == Health::Failing;
        written > self.stored && !goes_on_without
    }

    /// Holds back the frames from `start` on until `after` is stored, except those that promise nothing: refusals, and
    /// what the session says is `harmless`. Returns how many had to be dropped because more than `limit` wait; whoever
    /// misses one asks again.
    pub(super) fn withhold_frames(
        &mut self,
        out: &mut Outputs,
        start: usize,
        after: StoreToken,
        limit: usize,
        harmless: impl Fn(&Message<'_>) -> bool,
    ) -> u64 {
        let mut dropped = 0;
        let Outputs { arena, queue } = out;
        let octets_of = |frame: &Range<usize>| arena.get(frame.clone()).unwrap_or_default();
        let promises = |octets: &[u8]| {
            let decoded = Envelope::open(octets, MAX_NESTING).and_then(|envelope| Message::decode(envelope.message()));
            decoded.map_or(true, |message| !is_refusal(&message) && !harmless(&message))
        };
        let must_wait =
            |output: &mut Output| matches!(output, Output::Send { frame, .. } if promises(octets_of(frame)));
        for output in queue.extract_if(start.., must_wait) {
            let Output::Send { to, frame } = output else { continue };
            if self.frames_withheld >= limit {
                dropped += 1;
                continue;
            }
            let octets = Bytes::copy_from_slice(octets_of(&frame));
            self.frames_withheld += 1;
            self.withheld.entry(after).or_default().push(Withheld::Frame { to, octets });
        }
        dropped
    }

    /// Of the outputs from `start` on holds back what the broker must not hear before everything written so far is
    /// stored: acknowledgements, messages that are sent exactly once, unless they are `known` to be stored, and what it
    /// is to hold for the gateway.
    ///
    /// A message at QoS 2 goes ahead on a connection that `keeps` what it has under way: it writes its own record behind
    /// ours, and sends nothing before that is stored. While the store fails it would break for that, so nothing does.
    pub(super) fn withhold_commands(
        &mut self,
        out: &mut Outputs,
        start: usize,
        known: impl Fn(Token) -> bool,
        keeps: impl Fn(ConnId) -> bool,
    ) {
        if !self.awaits(self.written) {
            return;
        }
        let is_well = self.health == Health::Well;
        let goes_ahead = |conn, qos| is_well && qos == Qos::ExactlyOnce && keeps(conn);
        for output in out.queue.extract_if(start.., |output| is_a_promise(output, &known, goes_ahead)) {
            if let Output::Broker { conn, command } = output {
                self.withheld.entry(self.written).or_default().push(Withheld::Command { conn, command });
            }
        }
    }

    /// Forgets the acknowledgements that wait for a connection: the broker has forgotten what they are for.
    pub(super) fn void_acknowledgements(&mut self, conn: ConnId) {
        let is_void = |withheld: &Withheld| matches!(withheld, Withheld::Command { conn: other, command: BrokerCommand::Ack { .. } } if *other == conn);
        for withheld in self.withheld.values_mut() {
            withheld.retain(|withheld| !is_void(withheld));
        }
    }

    /// Everything up to `token` is stored: says what waited for it.
    pub(super) fn on_stored(&mut self, out: &mut Outputs, token: StoreToken) {
        self.health = Health::Well;
        self.stored = self.stored.max(token);
        let later = self.withheld.split_off(&StoreToken(token.0.saturating_add(1)));
        for withheld in std::mem::replace(&mut self.withheld, later).into_values() {
            self.release(out, withheld);
        }
    }

    /// The store fails; it goes on trying by itself.
    pub(super) fn on_failing(&mut self, out: &mut Outputs) {
        self.health = Health::Failing;
        if self.durability == Durability::BestEffort {
            for (_, withheld) in std::mem::take(&mut self.withheld) {
                self.release(out, withheld);
            }
        }
    }

    fn release(&mut self, out: &mut Outputs, withheld: Vec<Withheld>) {
        for item in withheld {
            match item {
                Withheld::Frame { to, octets } => {
                    self.frames_withheld -= 1;
                    let start = out.arena.len();
                    out.arena.extend_from_slice(&octets);
                    out.queue.push(Output::Send { to, frame: start..out.arena.len() });
                }
                Withheld::Command { conn, command } => out.queue.push(Output::Broker { conn, command }),
            }
        }
    }
}

/// Whether a token is one of [`Journal::token`].
pub(super) fn is_durable(token: Token) -> bool {
    token.0 & DURABLE != 0
}

/// Whether a frame says no: that promises nothing, and must be heard while the store fails.
fn is_refusal(message: &Message<'_>) -> bool {
    let return_code = if let Message::ConnAck(ack) = message {
        ack.return_code
    } else if let Message::RegAck(ack) = message {
        ack.return_code
    } else if let Message::PubAck(ack) = message {
        ack.return_code
    } else if let Message::SubAck(ack) = message {
        ack.return_code
    } else {
        return false;
    };
    return_code != ReturnCode::Accepted
}

fn is_a_promise(output: &Output, known: impl Fn(Token) -> bool, goes_ahead: impl Fn(ConnId, Qos) -> bool) -> bool {
    let Output::Broker { conn, command } = output else { return false };
    match command {
        // The end of a connection stays behind what was acknowledged on it.
        BrokerCommand::Ack { .. } | BrokerCommand::Disconnect => true,
        BrokerCommand::Publish { token, message, .. } => {
            token.is_some_and(|token| is_durable(token) && !known(token)) && !goes_ahead(*conn, message.qos)
        }
        // What the broker holds for the shared connection must be known to another process.
        BrokerCommand::Subscribe { .. } | BrokerCommand::Unsubscribe { .. } => *conn == ConnId::OWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Delivery;

    const NUMBER: SessionNumber = SessionNumber(1);

    /// Writes something, and acknowledges a message of the broker's that must wait for it.
    fn acknowledge(journal: &mut Journal, out: &mut Outputs, delivery: u64) {
        let start = out.queue.len();
        journal.delete(out, RecordKey::Session(NUMBER));
        out.queue.push(Output::Broker { conn: ConnId::OWN, command: ack(delivery) });
        journal.withhold_commands(out, start, |_| false, |_| false);
    }

    fn ack(delivery: u64) -> BrokerCommand {
        BrokerCommand::Ack { delivery: Delivery(delivery) }
    }

    fn acknowledged(out: &mut Outputs) -> Vec<u64> {
        let delivery = |output| {
            let Output::Broker { command: BrokerCommand::Ack { delivery }, .. } = output else { return None };
            Some(delivery.0)
        };
        out.queue.drain(..).filter_map(delivery).collect()
    }

    #[test]
    fn what_is_stored_is_said_however_much_is_written_meanwhile() {
        let (mut journal, mut out) = (Journal::new(Durability::Strict), Outputs::default());
        acknowledge(&mut journal, &mut out, 1);
        assert!(acknowledged(&mut out).is_empty());
        journal.on_stored(&mut out, StoreToken(1));
        acknowledge(&mut journal, &mut out, 2);
        assert_eq!(acknowledged(&mut out), [1]);
        journal.on_stored(&mut out, StoreToken(2));
        assert_eq!(acknowledged(&mut out), [2]);
    }

    #[test]
    fn what_the_broker_has_forgotten_is_not_acknowledged_any_more() {
        let (mut journal, mut out) = (Journal::new(Durability::Strict), Outputs::default());
        acknowledge(&mut journal, &mut out, 1);
        journal.void_acknowledgements(ConnId::OWN);
        acknowledge(&mut journal, &mut out, 2);
        journal.on_stored(&mut out, StoreToken(2));
        assert_eq!(acknowledged(&mut out), [2]);
    }
}
