//! Timers: one deadline per key, cheap to move away, which is what nearly every frame does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::Instant;

/// One deadline for each of many keys. Keys are small numbers, as a slab gives them out.
///
/// Memory follows the largest key ever armed: one slot for each key up to it, and at most two heap entries a slot.
#[derive(Clone, Debug, Default)]
pub struct Deadlines {
    slots: Vec<Slot>,
    /// For every armed key one entry at its slot's `queued` time, and left-overs that are dropped when they come up.
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

/// Invariant: an armed slot is queued, and not after its deadline.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    due: Option<Instant>,
    /// When the slot's own heap entry comes up. Entries of this key at other times are left-overs.
    queued: Option<Instant>,
}

impl Deadlines {
    /// Sets the deadline of `key`, in place of the one it had.
    ///
    /// A later deadline leaves the heap alone: the entry there comes up early and is then moved to the right time.
    pub fn arm(&mut self, key: u32, due: Instant) {
        let index = key as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        let slot = &mut self.slots[index];
        slot.due = Some(due);
        if slot.queued.is_none_or(|queued| due < queued) {
            slot.queued = Some(due);
            self.heap.push(Reverse((due, key)));
            if self.heap.len() > 2 * self.slots.len() {
                self.drop_left_overs();
            }
        }
    }

    /// Takes the deadline of `key` away, if it has one.
    pub fn disarm(&mut self, key: u32) {
        if let Some(slot) = self.slots.get_mut(key as usize) {
            slot.due = None;
        }
    }

    /// Returns when to call [`Deadlines::pop`] next; `None` if no key is armed.
    ///
    /// Never later than the earliest deadline. It may be earlier, and the pop then finds nothing: this happens at
    /// most once for each entry made, and once `pop` has returned `None` it lies after that `now`.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Disarms and returns the key with the earliest deadline if that is not after `now`; of equal ones the lowest key.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        while let Some(mut top) = self.heap.peek_mut() {
            let Reverse((at, key)) = *top;
            if at > now {
                return None;
            }
            let slot = &mut self.slots[key as usize];
            if slot.queued != Some(at) {
                PeekMut::pop(top);
                continue;
            }
            match slot.due {
                Some(due) if due > at => {
                    slot.queued = Some(due);
                    *top = Reverse((due, key));
                }
                due => {
                    *slot = Slot::default();
                    PeekMut::pop(top);
                    if due.is_some() {
                        return Some(key);
                    }
                }
            }
        }
        None
    }

    /// Rebuilds the heap with one entry for each armed key.
    ///
    /// It takes time in proportion to the slots, and at least as many entries have been pushed since the last time:
    /// a constant share for each push.
    fn drop_left_overs(&mut self) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.clear();
        for (key, slot) in (0..).zip(&mut self.slots) {
            slot.queued = slot.due;
            entries.extend(slot.due.map(|due| Reverse((due, key))));
        }
        self.heap = entries.into();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    fn popped(deadlines: &mut Deadlines, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| deadlines.pop(now)).collect()
    }

    #[test]
    fn keys_come_up_in_the_order_of_their_deadlines() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(3, at(30));
        deadlines.arm(1, at(10));
        deadlines.arm(2, at(20));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert!(popped(&mut deadlines, at(9)).is_empty());
        assert_eq!(popped(&mut deadlines, at(20)), [1, 2]);
        assert_eq!(deadlines.next(), Some(at(30)));
        assert_eq!(popped(&mut deadlines, at(30)), [3]);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_deadline_moved_away_leaves_the_heap_alone() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(0, at(1));
        for later in 2..1_000 {
            deadlines.arm(0, at(later));
        }
        assert_eq!(deadlines.heap.len(), 1);
        assert_eq!(deadlines.next(), Some(at(1)), "early, never late");
        assert_eq!(deadlines.pop(at(1)), None);
        assert_eq!(deadlines.next(), Some(at(999)));
        assert_eq!(deadlines.pop(at(999)), Some(0));
    }

    #[test]
    fn a_deadline_moved_nearer_fires_once() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(0, at(10));
        deadlines.arm(0, at(5));
        assert_eq!(popped(&mut deadlines, at(5)), [0]);
        assert!(popped(&mut deadlines, at(20)).is_empty());
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_key_armed_again_at_the_time_of_a_left_over_fires_once() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(0, at(10));
        deadlines.arm(0, at(5));
        assert_eq!(deadlines.pop(at(5)), Some(0));
        deadlines.arm(0, at(10));
        assert_eq!(popped(&mut deadlines, at(10)), [0]);
    }

    #[test]
    fn a_disarmed_key_does_not_fire() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(7, at(1));
        deadlines.disarm(7);
        deadlines.disarm(1_000_000);
        assert_eq!(deadlines.pop(at(2)), None);
        assert_eq!(deadlines.next(), None);
        deadlines.arm(7, at(3));
        assert_eq!(deadlines.pop(at(3)), Some(7));
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(0, at(1));
        assert_eq!(deadlines.pop(at(100)), Some(0));
    }

    #[test]
    fn the_heap_stays_within_two_entries_a_key() {
        let mut deadlines = Deadlines::default();
        for nearer in (0..10_000).rev() {
            for key in 0..3 {
                deadlines.arm(key, at(nearer));
                assert!(deadlines.heap.len() <= 2 * 3);
            }
        }
        assert_eq!(popped(&mut deadlines, at(0)), [0, 1, 2]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u32, u64),
        Disarm(u32),
        Pass(u64),
        PopOne,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..8u32, 0..30u64).prop_map(|(key, delay)| Step::Arm(key, delay)),
            1 => (0..8u32).prop_map(Step::Disarm),
            2 => (0..10u64).prop_map(Step::Pass),
            1 => Just(Step::PopOne),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_plain_map_does(steps in prop::collection::vec(step(), 1..200)) {
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Arm(key, delay) => {
                        deadlines.arm(key, at(now + delay));
                        model.insert(key, at(now + delay));
                    }
                    Step::Disarm(key) => {
                        deadlines.disarm(key);
                        model.remove(&key);
                    }
                    Step::PopOne => {
                        prop_assert_eq!(deadlines.pop(at(now)), model_pop(&mut model, at(now)));
                    }
                    Step::Pass(seconds) => {
                        now += seconds;
                        loop {
                            let key = model_pop(&mut model, at(now));
                            prop_assert_eq!(deadlines.pop(at(now)), key);
                            if key.is_none() {
                                break;
                            }
                        }
                        prop_assert!(deadlines.next().is_none_or(|next| next > at(now)));
                    }
                }
                if let Some(due) = model.values().min() {
                    prop_assert!(deadlines.next().is_some_and(|next| next <= *due));
                }
                prop_assert!(deadlines.heap.len() <= 2 * deadlines.slots.len());
            }
        }
    }

    fn model_pop(model: &mut BTreeMap<u32, Instant>, now: Instant) -> Option<u32> {
        let (due, key) = model.iter().map(|(key, due)| (*due, *key)).min()?;
        (due <= now).then(|| model.remove(&key))?;
        (due <= now).then_some(key)
    }
}
