//! What happens to the links, in words: opened, gone, and what comes over a serial line that is no frame.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::noise_log::{Noise, NoiseLog};
use super::udp_buffers;
use crate::core::{Instant, LinkId};
use crate::links::serial::{PortInfo, PortName, UsbDevice};
use crate::links::{DownReason, LinkEvent, Links, Membership, SerialSettings, Stage, Undelivered};

/// Writes the links' states into the log, a trouble that repeats itself only once.
#[derive(Debug)]
pub(super) struct LinkLog {
    /// The links that are down, and why.
    down: BTreeMap<LinkId, String>,
    /// What dongles did not send since they were opened, and the last reason.
    undelivered: BTreeMap<LinkId, (u64, Undelivered)>,
    /// The multicast groups that are not heard, and why.
    not_joined: BTreeMap<(LinkId, Membership), String>,
    /// The serial ports that are open.
    noise: BTreeMap<LinkId, NoiseLog>,
    /// The serial ports for which a better name has been proposed.
    proposed: BTreeSet<LinkId>,
    /// How long the devices behind a lost link are kept.
    link_wait: Duration,
}

impl LinkLog {
    pub(super) fn new(link_wait: Duration) -> Self {
        Self {
            down: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            not_joined: BTreeMap::new(),
            noise: BTreeMap::new(),
            proposed: BTreeSet::new(),
            link_wait,
        }
    }

    pub(super) fn tell(&mut self, now: Instant, event: &LinkEvent, links: &Links) {
        match event {
            LinkEvent::Frames(_) => {}
            LinkEvent::Up { link, port } => match links.serial_settings(*link) {
                Some(settings) => self.tell_open(*link, settings, port.as_deref(), links),
                // That a UDP socket is open has been said at the start.
                None if self.down.remove(link).is_some() => info!("{} is open", links.describe(*link)),
                None => {}
            },
            LinkEvent::Down { link, reason, retry_in } => {
                let (name, kept) = (name(*link, links), self.kept(reason));
                let reason = reason.to_string();
                if self.down.get(link) == Some(&reason) {
                    debug!("{name} is still down: {reason}; next try in {}", Rough(*retry_in));
                } else {
                    let retry_in = Rough(*retry_in);
                    warn!("{name} is down: {reason}{kept}; next try in {retry_in}, and so on until it is back");
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
            LinkEvent::Text { link, line } => info!("{} says {line:?}", name(*link, links)),
            LinkEvent::Overflowed { link, datagrams } => {
                if let Some(buffers) = links.udp_buffers(*link) {
                    warn!("{}", udp_buffers::overflowed(&links.describe(*link), *datagrams, buffers.receive));
                }
            }
            LinkEvent::Undelivered { link, frames, reason } => {
                let (name, former) = (name(*link, links), self.undelivered.get(link).copied());
                let so_far = frames.saturating_add(former.map_or(0, |(so_far, _)| so_far));
                if former.is_some_and(|(_, former)| former == *reason) {
                    debug!("{name}: again a frame was not sent: {reason} ({so_far} so far)");
                } else {
                    warn!("{name}: a frame was not sent: {reason} ({so_far} so far); devices get what matters again");
                }
                self.undelivered.insert(*link, (so_far, *reason));
            }
            LinkEvent::Noise { link, octets, in_frames, first, reason, stage } => {
                let name = name(*link, links);
                debug!("{name}: {octets} octets are no frame: {reason} ({}..)", hex::encode(first));
                let noise = Noise { octets: *octets, in_frames: *in_frames, first, reason: *reason };
                let log = self.noise.get_mut(link).filter(|_| *stage == Stage::Settled);
                if let (Some(log), Some(line)) = (log, links.serial_settings(*link))
                    && let Some(words) = log.add(now, &noise, line)
                {
                    warn!("{name}: {words}");
                }
            }
        }
    }

    fn tell_open(&mut self, link: LinkId, settings: &SerialSettings, port: Option<&PortInfo>, links: &Links) {
        let whereabouts = port.map(|port| whereabouts(settings, port)).unwrap_or_default();
        let was_open = self.noise.insert(link, NoiseLog::new()).is_some();
        self.down.remove(&link);
        self.undelivered.remove(&link);
        match was_open {
            true => info!("{} is back{whereabouts}", name(link, links)),
            false => info!("{} is open{whereabouts}", links.describe(link)),
        }
        if let Some(better) = port.and_then(|port| better_name(settings, port))
            && self.proposed.insert(link)
        {
            info!(
                "{}: the number may be another after plugging in again; {better} always finds this adapter",
                name(link, links)
            );
        }
    }

    /// What becomes of the devices behind a port that was open.
    fn kept(&self, reason: &DownReason) -> String {
        match reason {
            DownReason::Lost(_) if !self.link_wait.is_zero() => {
                format!("; its devices are kept for {}", humantime::format_duration(self.link_wait))
            }
            DownReason::Lost(_) | DownReason::CannotOpen(_) => String::new(),
        }
    }
}

/// How a link is called once it has been described.
fn name(link: LinkId, links: &Links) -> String {
    match links.serial_settings(link) {
        Some(settings) => format!("serial {}", settings.port),
        None => links.describe(link),
    }
}

/// Under which number a port is open, if its name does not say so, and what it is: ` at /dev/ttyUSB1 (Acme CP2102)`.
fn whereabouts(settings: &SerialSettings, port: &PortInfo) -> String {
    let number =
        if is_named(settings, &port.device) { String::new() } else { format!(" at {}", port.device.display()) };
    let label = port.usb.as_ref().map(UsbDevice::label).filter(|label| !label.is_empty());
    number + &label.map(|label| format!(" ({label})")).unwrap_or_default()
}

fn is_named(settings: &SerialSettings, device: &Path) -> bool {
    matches!(&settings.port, PortName::Device(name) if Path::new(name) == device)
}

/// Returns the name by which the port would be found again, if it was named by its number.
fn better_name(settings: &SerialSettings, port: &PortInfo) -> Option<String> {
    let proposed = port.proposed_name();
    (is_named(settings, &port.device) && Path::new(&proposed) != port.device).then_some(proposed)
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
