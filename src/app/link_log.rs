//! What happens to the links, in words: opened, gone, and what comes over a serial line that is no frame.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::core::LinkId;
use crate::links::{LinkEvent, Links, Membership, Undelivered};

/// Writes the links' states into the log, a trouble that repeats itself only once.
#[derive(Debug, Default)]
pub(super) struct LinkLog {
    /// The links that are down, and why.
    down: BTreeMap<LinkId, String>,
    /// What dongles did not send since they were opened, and the last reason.
    undelivered: BTreeMap<LinkId, (u64, Undelivered)>,
    /// The multicast groups that are not heard, and why.
    not_joined: BTreeMap<(LinkId, Membership), String>,
}

impl LinkLog {
    pub(super) fn tell(&mut self, event: &LinkEvent, links: &Links) {
        match event {
            LinkEvent::Frames(_) => {}
            LinkEvent::Up { link } => {
                self.undelivered.remove(link);
                let was_down = self.down.remove(link).is_some();
                let is_udp = links.local_addr(*link).is_some();
                // That a UDP socket is open has been said at the start.
                if was_down || !is_udp {
                    info!("{} is open", links.describe(*link));
                }
            }
            LinkEvent::Down { link, reason, retry_in } => {
                let (name, reason) = (links.describe(*link), reason.to_string());
                if self.down.get(link) == Some(&reason) {
                    debug!("{name} is still down: {reason}; next try in {}", Rough(*retry_in));
                } else {
                    warn!("{name} is down: {reason}; next try in {}, and so on until it is back", Rough(*retry_in));
                    self.down.insert(*link, reason);
                }
            }
            LinkEvent::Joined { link, membership } => {
                self.not_joined.remove(&(*link, membership.clone()));
                info!("{} listens to the multicast group {membership}", links.describe(*link));
            }
            LinkEvent::NotJoined { link, membership, reason, retry_in } => {
                let (name, reason) = (links.describe(*link), reason.to_string());
                let former = self.not_joined.insert((*link, membership.clone()), reason.clone());
                if former.as_ref() == Some(&reason) {
                    debug!("{name} still cannot join {membership}: {reason}; next try in {}", Rough(*retry_in));
                } else {
                    warn!(
                        "{name} cannot join the multicast group {membership}: {reason}; \
                         next try in {}, and so on until it can",
                        Rough(*retry_in)
                    );
                }
            }
            LinkEvent::Text { link, line } => info!("{} says {line:?}", links.describe(*link)),
            LinkEvent::Undelivered { link, frames, reason } => {
                let (name, former) = (links.describe(*link), self.undelivered.get(link).copied());
                let so_far = frames.saturating_add(former.map_or(0, |(so_far, _)| so_far));
                if former.is_some_and(|(_, former)| former == *reason) {
                    debug!("{name}: again a frame was not sent: {reason} ({so_far} so far)");
                } else {
                    warn!("{name}: a frame was not sent: {reason} ({so_far} so far); devices get what matters again");
                }
                self.undelivered.insert(*link, (so_far, *reason));
            }
            LinkEvent::Noise { link, octets, first, reason } => {
                let (name, first) = (links.describe(*link), hex::encode(first));
                warn!("{name}: {octets} octets are no frame: {reason} ({first}..); are baud rate and framing right?");
            }
        }
    }
}

/// A wait as people say it: tenths of a second below ten seconds, whole seconds from there on.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let decimals = if seconds < 9.95 { 1 } else { 0 };
        write!(f, "{seconds:.decimals$} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_said_in_tenths_of_a_second_or_in_seconds() {
        for (milliseconds, words) in [(0, "0.0 s"), (437, "0.4 s"), (9_940, "9.9 s"), (9_960, "10 s"), (59_600, "60 s")]
        {
            assert_eq!(Rough(Duration::from_millis(milliseconds)).to_string(), words);
        }
    }
}
