//! What happens to the links, in words: opened, gone, and what comes over a serial line that is no frame.

use std::collections::BTreeMap;

use tracing::{debug, info, warn};

use crate::core::LinkId;
use crate::links::{LinkEvent, Links};

/// Writes the links' states into the log, a trouble that repeats itself only once.
#[derive(Debug, Default)]
pub(super) struct LinkLog {
    /// The links that are down, and why.
    down: BTreeMap<LinkId, String>,
}

impl LinkLog {
    pub(super) fn tell(&mut self, event: &LinkEvent, links: &Links) {
        match event {
            LinkEvent::Frames(_) => {}
            LinkEvent::Up { link } => {
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
                    debug!("{name} is still down: {reason}; next try in {retry_in:.1?}");
                } else {
                    warn!("{name} is down: {reason}; next try in {retry_in:.1?}, and so on until it is back");
                    self.down.insert(*link, reason);
                }
            }
            LinkEvent::Text { link, line } => info!("{} says {line:?}", links.describe(*link)),
            LinkEvent::Noise { link, octets, first, reason } => {
                let (name, first) = (links.describe(*link), hex::encode(first));
                warn!("{name}: {octets} octets are no frame: {reason} ({first}..); are baud rate and framing right?");
            }
        }
    }
}
