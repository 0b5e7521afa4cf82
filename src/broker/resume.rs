//! Makes the library take up a session that the broker has kept since an earlier connection.
//!
//! The library does so only if it remembers the client's side of the session, which it loads from a store. With a
//! ledger that side is what the ledger has under way. Without one it is empty: the connection before waited for the
//! broker's answers to all it had sent before it ended, and what it could not wait for the client was never told of,
//! and sends again. The ledger keeps what is under way itself, so saving and clearing are empty.
//!
//! The store of each MQTT version is in the version's file.

use std::pin::Pin;

use super::ledger::{Checkpoint, Ledger, Outgoing, Progress};
use crate::core::Message;

/// What a store of the library returns.
pub(super) type Done<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// Remembers for every client id what was under way.
#[derive(Clone, Debug)]
pub(super) struct TakenUp {
    checkpoint: Checkpoint,
    /// The library's limit of outgoing packet ids.
    packets: u16,
}

/// Returns the library's limit of outgoing packet ids: the settings' one, unless it was larger before, and packet ids
/// beyond it are still under way.
pub(super) fn packets(ledger: Option<&Ledger>, in_flight: u16) -> u16 {
    TakenUp::of(ledger, in_flight).packets
}

impl TakenUp {
    pub(super) fn of(ledger: Option<&Ledger>, in_flight: u16) -> Self {
        Self::new(ledger.map(Ledger::checkpoint).unwrap_or_default(), in_flight)
    }

    fn new(checkpoint: Checkpoint, in_flight: u16) -> Self {
        let largest = checkpoint.outgoing.iter().map(|exchange| exchange.packet).max();
        Self { packets: in_flight.max(largest.unwrap_or(0)), checkpoint }
    }

    pub(super) fn packets(&self) -> u16 {
        self.packets
    }

    pub(super) fn incoming(&self) -> &[u16] {
        &self.checkpoint.incoming
    }

    /// The packet id after which the library goes on.
    pub(super) fn last_packet(&self) -> u16 {
        if self.checkpoint.newest >= self.packets { 0 } else { self.checkpoint.newest }
    }

    /// The packet id up to which all is answered. In the library it gives only the order in which packets are sent
    /// again on the next connection.
    pub(super) fn last_answered(&self) -> u16 {
        self.checkpoint.outgoing.first().map_or_else(|| self.last_packet(), |oldest| oldest.packet - 1)
    }

    /// Messages first and then PUBRELs, as the library has it.
    pub(super) fn replay<R>(&self, publish: impl Fn(u16, &Message) -> R, release: impl Fn(u16) -> R) -> Vec<R> {
        let (mut publishes, mut releases) = (Vec::new(), Vec::new());
        for Outgoing { packet, progress, .. } in &self.checkpoint.outgoing {
            match progress {
                Progress::Sent(message) => publishes.push(publish(*packet, message)),
                Progress::Released => releases.push(release(*packet)),
            }
        }
        publishes.append(&mut releases);
        publishes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::topics::TopicName;
    use crate::wire::Qos;

    fn sent(packet: u16) -> Outgoing {
        let topic = TopicName::parse(b"a").unwrap();
        let message = Message { topic, payload: "".into(), qos: Qos::ExactlyOnce, retain: false };
        Outgoing { packet, token: None, progress: Progress::Sent(message) }
    }

    fn released(packet: u16) -> Outgoing {
        Outgoing { packet, token: None, progress: Progress::Released }
    }

    fn taken_up(newest: u16, outgoing: Vec<Outgoing>) -> TakenUp {
        let checkpoint = Checkpoint { newest, outgoing, ..Checkpoint::default() };
        TakenUp::new(checkpoint, 10)
    }

    #[test]
    fn the_library_goes_on_behind_what_is_under_way() {
        let taken_up = taken_up(2, vec![released(8), sent(9), released(10), sent(2)]);
        assert_eq!(taken_up.replay(|packet, _| packet, |packet| packet), [9, 2, 8, 10]);
        assert_eq!((taken_up.last_answered(), taken_up.last_packet()), (7, 2));
    }

    #[test]
    fn packet_ids_beyond_a_limit_that_was_lowered_stay_valid() {
        let taken_up = taken_up(20, vec![sent(18)]);
        assert_eq!((taken_up.packets(), taken_up.last_packet(), taken_up.last_answered()), (18, 0, 17));
        assert_eq!(self::taken_up(10, vec![]).last_packet(), 0, "after the last id comes the first");
    }
}
