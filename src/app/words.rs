//! What the core noticed, in words: one line of the log for each notice.

use std::fmt;
use std::time::Duration;

use tracing::{Level, enabled, event, warn};

use super::common_causes::CommonCauses;
use super::store_words::counted;
use crate::core::{Bound, Instant, Notice, Outdated, Peer, Refused};
use crate::wire::Quoted;

/// Lines per second; a network of broken devices must not fill the disk.
const LINES_PER_SECOND: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Writes notices into the log, so many a second.
#[derive(Debug)]
pub(super) struct Words {
    /// When the present second began, what was said in it, and what was not.
    since: Instant,
    said: u32,
    left_out: u64,
    common_causes: CommonCauses,
}

impl Words {
    pub(super) fn new() -> Self {
        Self { since: Instant::ORIGIN, said: 0, left_out: 0, common_causes: CommonCauses::default() }
    }

    /// Writes a notice into the log. `frame` is what the notice is about, `address` shows a peer as people know it.
    ///
    /// What stops a device's messages is at `warn`; what anyone may send us at any rate is at `debug`, and so is what
    /// devices do at each wake-up. Of what befalls many for the same reason the first is said and the others counted.
    pub(super) fn tell<A: fmt::Display>(
        &mut self,
        now: Instant,
        notice: &Notice,
        frame: &[u8],
        address: impl Fn(Peer) -> A,
    ) {
        macro_rules! say {
            ($level:ident, $($line:tt)*) => {
                if enabled!(Level::$level) && self.may_speak(now) {
                    event!(Level::$level, $($line)*);
                }
            };
        }
        if !self.common_causes.may_speak(now, notice) {
            return;
        }
        match notice {
            Notice::ClientConnected { client_id, peer, keep_alive, clean_session } => {
                let session = if *clean_session { "new" } else { "persistent" };
                say!(
                    INFO,
                    client = &**client_id,
                    "client {client_id:?} connected from {}, keep-alive {keep_alive} s, {session} session",
                    address(*peer)
                );
            }
            Notice::ConnectRefused { client_id, peer, why } => {
                say!(WARN, "client {} from {} was refused: {why}", Quoted(client_id), address(*peer));
            }
            // A mobile network may give a sleeper a new address for each wake-up; who connects anew is said anyway.
            Notice::ClientMoved { client_id, from, to } => {
                let (from, to) = (address(*from), address(*to));
                say!(DEBUG, client = &**client_id, "client {client_id:?} moved from {from} to {to}");
            }
            Notice::ClientReplaced { client_id, by, peer } => {
                say!(
                    INFO,
                    client = &**client_id,
                    "client {client_id:?} is gone: {} now belongs to client {by:?}",
                    address(*peer)
                );
            }
            Notice::ClientAwake { client_id, peer, clean_session: _ } => {
                say!(
                    DEBUG,
                    client = &**client_id,
                    "client {client_id:?} woke up and connected from {}",
                    address(*peer)
                );
            }
            Notice::ClientAsleep { client_id, seconds } => {
                say!(DEBUG, client = &**client_id, "client {client_id:?} sleeps for up to {seconds} s");
            }
            Notice::ClientDisconnected { client_id } => {
                say!(INFO, client = &**client_id, "client {client_id:?} disconnected");
            }
            Notice::ClientLost { client_id, reason } => {
                say!(WARN, client = &**client_id, "client {client_id:?} is lost: {reason}");
            }
            Notice::HandshakeAbandoned { client_id } => {
                say!(
                    WARN,
                    client = &**client_id,
                    "client {client_id:?} asked for a will and never named it; its CONNECT is void"
                );
            }
            Notice::WillPublished { client_id, topic } => {
                let topic = topic.as_str();
                say!(INFO, client = &**client_id, "the will of client {client_id:?} goes out on {topic:?}");
            }
            Notice::WillDropped { client_id, topic } => {
                let topic = topic.as_str();
                say!(
                    WARN,
                    client = &**client_id,
                    "the will of client {client_id:?} on {topic:?} was dropped: \
                 the broker refused it, or limits.wills_waiting is reached"
                );
            }
            Notice::SessionExpired { client_id } => {
                say!(
                    INFO,
                    client = &**client_id,
                    "the session of client {client_id:?} has ended: the client stayed away"
                );
            }
            Notice::SessionForgotten { client_id } => {
                say!(
                    INFO,
                    client = &**client_id,
                    "the session of client {client_id:?} was ended and forgotten, as asked"
                );
            }
            Notice::Refused { client_id, what } => {
                say!(WARN, client = &**client_id, "client {client_id:?} was refused: {what}");
            }
            Notice::AnonymousRefused { peer, what: what @ Refused::AnonymousRate } => {
                say!(WARN, "a publish without connection from {} was dropped: {what}", address(*peer));
            }
            Notice::AnonymousRefused { peer, what } => {
                say!(DEBUG, "a publish without connection from {} was dropped: {what}", address(*peer));
            }
            Notice::Undeliverable { client_id, topic, why } => {
                let topic = topic.as_str();
                say!(WARN, client = &**client_id, "a message on {topic:?} for client {client_id:?} was dropped: {why}");
            }
            Notice::Unacknowledged { client_id, topic } => {
                let topic = topic.as_str();
                say!(
                    WARN,
                    client = &**client_id,
                    "client {client_id:?} is alive and does not acknowledge a message on {topic:?}: it is tried again \
                     after timers.t_wait, and what comes after it waits"
                );
            }
            Notice::QueueOverflow { client_id } => {
                say!(
                    WARN,
                    client = &**client_id,
                    "the queue of client {client_id:?} is full: its oldest message is dropped, or the one \
                     that the [[queue]] rule for the topic names"
                );
            }
            Notice::SubscriptionLost { filter, reason } => {
                let filter = filter.as_str();
                say!(
                    WARN,
                    "the broker had forgotten the subscription to {filter:?} and refuses it now: {reason}; \
                     devices that subscribed to it hear nothing until they subscribe again"
                );
            }
            Notice::KeptRefused { topic, reason } => {
                let why =
                    reason.map_or_else(|| "it is larger than the broker accepts".to_owned(), |why| why.to_string());
                say!(WARN, "a message on {:?} that was kept for the broker was dropped: {why}", topic.as_str());
            }
            Notice::Outdated { client_id, topic, bound, why } => {
                let topic = topic.as_str();
                let (whose, limit) = match bound {
                    Bound::ForBroker => ("accepted from", "for the broker than max_age of [outage]"),
                    Bound::ForClient => ("for", "than max_age of its [[queue]] rule"),
                };
                match why {
                    Outdated::TooOld => say!(
                        WARN,
                        client = &**client_id,
                        "a message on {topic:?} {whose} client {client_id:?} was dropped: it waited longer {limit}"
                    ),
                    // What a rule of the configuration asks for, message by message.
                    Outdated::Superseded => say!(
                        DEBUG,
                        client = &**client_id,
                        "a message on {topic:?} {whose} client {client_id:?} gave way to a newer one"
                    ),
                }
            }
            Notice::KeptHandedOver { messages, superseded, took } => {
                let messages = counted(*messages, "kept message", "kept messages");
                let older = match superseded {
                    0 => String::new(),
                    superseded => format!("; {superseded} more had given way to newer ones of their topic"),
                };
                say!(INFO, "handed over to the broker: {messages} in {:.1} s{older}", took.as_secs_f64());
            }
            Notice::GatewayHeard { peer, gw_id } => {
                say!(INFO, "another gateway, with id {gw_id}, is heard from {}", address(*peer));
            }
            Notice::GatewayGone { link: _, gw_id } => {
                say!(INFO, "the other gateway with id {gw_id} is no longer heard");
            }
            Notice::Stray { peer } => {
                say!(DEBUG, "{} sends without a session and was told to connect", address(*peer));
            }
            Notice::Malformed { peer, error } => {
                say!(DEBUG, "a frame from {} was dropped: {error}: {}", address(*peer), hex::encode(frame));
            }
        }
    }

    /// Returns when the lines that were left out are to be counted in the log, if there are any.
    pub(super) fn due(&self) -> Option<Instant> {
        let second = (self.left_out > 0).then(|| self.since + SECOND);
        Instant::earliest([second, self.common_causes.due()])
    }

    /// Says how many lines were left out, as far as that is due.
    pub(super) fn sum_up(&mut self, now: Instant) {
        self.common_causes.sum_up(now);
        if now - self.since >= SECOND {
            self.begin_second(now);
        }
    }

    /// Says how many lines were left out: nothing more comes.
    pub(super) fn close(&mut self, now: Instant) {
        self.common_causes.close();
        self.begin_second(now);
    }

    fn begin_second(&mut self, now: Instant) {
        if self.left_out > 0 {
            warn!("{} lines about clients were left out here: more than {LINES_PER_SECOND} a second", self.left_out);
        }
        (self.since, self.said, self.left_out) = (now, 0, 0);
    }

    fn may_speak(&mut self, now: Instant) -> bool {
        if now - self.since >= SECOND {
            self.begin_second(now);
        }
        if self.said == LINES_PER_SECOND {
            self.left_out += 1;
            return false;
        }
        self.said += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_counts_the_rest() {
        let mut words = Words::new();
        let at = |millis| Instant::ORIGIN + Duration::from_millis(millis);
        let said = (0..500).filter(|i| words.may_speak(at(i % 999))).count();
        assert_eq!((said, words.left_out), (100, 400));
        assert!(words.may_speak(at(1_000)));
        assert_eq!(words.left_out, 0);
    }

    #[test]
    fn lines_left_out_are_counted_in_the_log_although_nothing_more_happens() {
        let mut words = Words::new();
        let start = Instant::ORIGIN + Duration::from_secs(5);
        assert!(words.may_speak(start));
        assert_eq!(words.due(), None);
        (0..LINES_PER_SECOND).for_each(|_| _ = words.may_speak(start));
        assert_eq!(words.due(), Some(start + SECOND));
        words.sum_up(start + SECOND);
        assert_eq!((words.due(), words.left_out), (None, 0));
    }
}
