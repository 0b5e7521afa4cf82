//! Whose turn it is among the messages kept for the broker: each client's go in their order, and nobody's wait for another
//! client's.
//!
//! What follows a QoS 2 message of the same client at a lower QoS waits until the broker has released that: it would pass
//! the later one on first. And when the broker has lost the session, a client's messages wait until it is told which of
//! its QoS 2 messages have to go out again.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::wire::Qos;

/// The places of the messages that are not on their way, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// They may go, as far as is known.
    ready: BTreeSet<u64>,
    clients: HashMap<ByteString, Share, RandomState>,
}

/// What is kept of one client, whichever of its sessions it is from.
#[derive(Debug, Default)]
struct Share {
    /// Messages that wait or are on their way.
    messages: usize,
    /// QoS 2 messages that are on their way: subscribers get them when they are released, and not before.
    unreleased: BTreeSet<u64>,
    outlook: Outlook,
    /// What has to wait for these.
    behind: BTreeMap<u64, Qos>,
}

/// What is to be expected of a client's QoS 2 messages that are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outlook {
    /// They arrive in their order.
    #[default]
    Sure,
    /// They may have to go out again: nothing goes before that is known.
    InDoubt,
}

impl Turns {
    /// Whether anything of this client is kept.
    pub(super) fn holds(&self, client: &ByteString) -> bool {
        self.clients.contains_key(client)
    }

    /// Returns how many messages of this client are kept.
    pub(super) fn of(&self, client: &ByteString) -> usize {
        self.clients.get(client).map_or(0, |share| share.messages)
    }

    /// Adds a message.
    pub(super) fn add(&mut self, client: &ByteString, place: u64) {
        self.clients.entry(client.clone()).or_default().messages += 1;
        self.ready.insert(place);
    }

    /// Returns the message whose turn it may be.
    pub(super) fn first(&self) -> Option<u64> {
        self.ready.first().copied()
    }

    /// Returns whether the first message may go. If not it is another one's turn from now on.
    pub(super) fn may_go(&mut self, client: &ByteString, place: u64, qos: Qos) -> bool {
        let Some(share) = self.clients.get_mut(client) else { return true };
        let may_go = share.lets_go(place, qos);
        if !may_go {
            self.ready.remove(&place);
            share.behind.insert(place, qos);
        }
        may_go
    }

    /// Notes that a message is on its way to the broker.
    pub(super) fn set_off(&mut self, client: &ByteString, place: u64, qos: Qos) {
        self.ready.remove(&place);
        if qos == Qos::ExactlyOnce
            && let Some(share) = self.clients.get_mut(client)
        {
            share.unreleased.insert(place);
        }
    }

    /// Notes that a message is on its way no more, whatever became of it.
    pub(super) fn arrived(&mut self, client: &ByteString, place: u64) {
        if let Some(share) = self.clients.get_mut(client)
            && share.unreleased.remove(&place)
        {
            share.go_on(&mut self.ready);
        }
    }

    /// Notes that a message that was on its way has to go out again.
    pub(super) fn come_back(&mut self, place: u64) {
        self.ready.insert(place);
    }

    /// Notes that the broker has lost the session: what becomes of the QoS 2 messages on their way is told one by one.
    pub(super) fn session_lost(&mut self) {
        for share in self.clients.values_mut().filter(|share| !share.unreleased.is_empty()) {
            share.outlook = Outlook::InDoubt;
        }
    }

    /// Removes a message that is not on its way.
    pub(super) fn remove(&mut self, client: &ByteString, place: u64) {
        self.ready.remove(&place);
        let Some(share) = self.clients.get_mut(client) else { return };
        share.messages = share.messages.saturating_sub(1);
        share.behind.remove(&place);
        if share.messages == 0 {
            self.clients.remove(client);
        } else {
            share.go_on(&mut self.ready);
        }
    }
}

impl Share {
    fn lets_go(&self, place: u64, qos: Qos) -> bool {
        let is_passed_on_at_once = match qos {
            Qos::AtMostOnce | Qos::AtLeastOnce => true,
            Qos::ExactlyOnce => false,
        };
        let others_wait_longer = self.behind.first_key_value().is_some_and(|(first, _)| *first < place);
        let would_overtake = is_passed_on_at_once && self.unreleased.first().is_some_and(|first| *first < place);
        self.outlook == Outlook::Sure && !others_wait_longer && !would_overtake
    }

    /// Lets those go for which nothing is left to wait: up to the first that has to wait for one of them.
    fn go_on(&mut self, ready: &mut BTreeSet<u64>) {
        if !self.unreleased.is_empty() {
            return;
        }
        self.outlook = Outlook::Sure;
        let mut last = Qos::AtMostOnce;
        while let Some(first) = self.behind.first_entry()
            && (last < Qos::ExactlyOnce || *first.get() == Qos::ExactlyOnce)
        {
            last = *first.get();
            ready.insert(*first.key());
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    static A: ByteString = ByteString::from_static("a");
    static B: ByteString = ByteString::from_static("b");

    /// Messages in the order of their places, and those of them that are on their way.
    #[derive(Default)]
    struct Rig {
        turns: Turns,
        messages: Vec<(&'static ByteString, Qos)>,
        under_way: BTreeSet<u64>,
    }

    impl Rig {
        fn new(messages: &[(&'static ByteString, Qos)]) -> Self {
            let mut rig = Self::default();
            messages.iter().for_each(|&(client, qos)| rig.add(client, qos));
            rig
        }

        fn add(&mut self, client: &'static ByteString, qos: Qos) {
            self.turns.add(client, self.messages.len() as u64);
            self.messages.push((client, qos));
        }

        fn message(&self, place: u64) -> (&'static ByteString, Qos) {
            self.messages[usize::try_from(place).unwrap()]
        }

        /// Lets all go that may, and returns which.
        fn go(&mut self) -> Vec<u64> {
            std::iter::from_fn(|| self.go_one()).collect()
        }

        fn go_one(&mut self) -> Option<u64> {
            loop {
                let place = self.turns.first()?;
                let (client, qos) = self.message(place);
                if self.turns.may_go(client, place, qos) {
                    self.turns.set_off(client, place, qos);
                    self.under_way.insert(place);
                    return Some(place);
                }
            }
        }

        fn arrives(&mut self, place: u64) {
            let (client, _) = self.message(place);
            assert!(self.under_way.remove(&place));
            self.turns.arrived(client, place);
            self.turns.remove(client, place);
        }

        fn comes_back(&mut self, place: u64) {
            let (client, _) = self.message(place);
            assert!(self.under_way.remove(&place));
            self.turns.arrived(client, place);
            self.turns.come_back(place);
        }
    }

    #[test]
    fn a_message_waits_for_its_own_client_s_qos_2_messages_and_for_nobody_else_s() {
        use Qos::{AtLeastOnce, ExactlyOnce};
        let mut rig =
            Rig::new(&[(&A, ExactlyOnce), (&A, AtLeastOnce), (&A, ExactlyOnce), (&B, ExactlyOnce), (&B, AtLeastOnce)]);
        assert_eq!(rig.go(), [0, 3]);
        rig.arrives(3);
        assert_eq!(rig.go(), [4]);
        rig.arrives(0);
        assert_eq!(rig.go(), [1, 2]);
    }

    #[test]
    fn what_is_released_together_keeps_its_order() {
        use Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
        let mut rig =
            Rig::new(&[(&A, ExactlyOnce), (&A, AtMostOnce), (&A, AtLeastOnce), (&A, ExactlyOnce), (&A, AtLeastOnce)]);
        assert_eq!(rig.go(), [0]);
        rig.arrives(0);
        assert_eq!(rig.go(), [1, 2, 3]);
        rig.add(&A, ExactlyOnce);
        assert_eq!(rig.go(), [0; 0], "an older one waits");
        rig.arrives(3);
        assert_eq!(rig.go(), [4, 5]);
    }

    #[test]
    fn an_earlier_message_does_not_wait_for_a_later_one_that_a_former_process_had_under_way() {
        use Qos::{AtLeastOnce, ExactlyOnce};
        let mut rig = Rig::new(&[(&A, AtLeastOnce), (&A, ExactlyOnce), (&A, AtLeastOnce)]);
        rig.turns.set_off(&A, 1, ExactlyOnce);
        rig.under_way.insert(1);
        assert_eq!(rig.go(), [0]);
        rig.arrives(1);
        assert_eq!(rig.go(), [2]);
    }

    #[test]
    fn a_message_that_is_not_to_be_sent_any_more_holds_nothing_up() {
        use Qos::{AtLeastOnce, ExactlyOnce};
        let mut rig = Rig::new(&[(&A, ExactlyOnce), (&A, AtLeastOnce), (&A, ExactlyOnce), (&A, AtLeastOnce)]);
        assert_eq!(rig.go(), [0]);
        rig.arrives(0);
        rig.turns.remove(&A, 2);
        assert_eq!(rig.go(), [1, 3]);
    }

    #[test]
    fn what_is_in_doubt_when_the_broker_has_lost_the_session_is_waited_for() {
        use Qos::{AtLeastOnce, ExactlyOnce};
        let mut rig = Rig::new(&[(&A, ExactlyOnce), (&A, ExactlyOnce), (&B, AtLeastOnce)]);
        assert_eq!(rig.go(), [0, 1, 2]);
        rig.add(&A, ExactlyOnce);
        rig.add(&B, AtLeastOnce);
        rig.turns.session_lost();
        assert_eq!(rig.go(), [4]);
        rig.comes_back(0);
        assert_eq!(rig.go(), [0; 0], "the other one is not heard of yet");
        rig.comes_back(1);
        assert_eq!(rig.go(), [0, 1, 3]);
    }

    /// Whatever happens, what has not come back goes in each client's order, and in the end all have gone.
    #[test]
    fn nobody_is_overtaken_or_forgotten() {
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let mut rig = Rig::default();
            let mut gone = BTreeSet::new();
            for _ in 0..200 {
                match rng.u8(..10) {
                    0..3 => {
                        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][rng.usize(..3)];
                        rig.add(if rng.bool() { &A } else { &B }, qos);
                    }
                    3..6 => {
                        if let Some(place) = rig.go_one() {
                            let (client, qos) = rig.message(place);
                            let must_wait = |older: u64| {
                                let (other, its) = rig.message(older);
                                let passed_on = its < Qos::ExactlyOnce || qos == Qos::ExactlyOnce;
                                other == client
                                    && !(gone.contains(&older) || rig.under_way.contains(&older) && passed_on)
                            };
                            assert_eq!((0..place).find(|older| must_wait(*older)), None, "{place} with seed {seed}");
                        }
                    }
                    6..9 => {
                        if let Some(place) = rig.under_way.first().copied() {
                            rig.arrives(place);
                            gone.insert(place);
                        }
                    }
                    _ => {
                        rig.turns.session_lost();
                        // The session answers for QoS 2 only; the connection sends the others again by itself.
                        let mut lost: Vec<u64> = rig.under_way.iter().copied().collect();
                        lost.retain(|place| rig.message(*place).1 == Qos::ExactlyOnce);
                        while !lost.is_empty() {
                            if let Some(early) = rig.go_one() {
                                let (client, _) = rig.message(early);
                                let in_doubt = lost.iter().find(|place| rig.message(**place).0 == client);
                                assert_eq!(in_doubt, None, "{early} with seed {seed}");
                            }
                            rig.comes_back(lost.remove(0));
                        }
                    }
                }
            }
            loop {
                rig.go();
                let Some(place) = rig.under_way.first().copied() else { break };
                rig.arrives(place);
                gone.insert(place);
            }
            assert_eq!(gone.len(), rig.messages.len(), "seed {seed}");
        }
    }
}
