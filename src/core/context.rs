//! What a session may touch while it handles one input: the time, the way out, the broker's side, the settings.

use super::journal::Journal;
use super::predefined::Predefined;
use super::route::RouteRef;
use super::upstream::Upstream;
use super::{Instant, LinkId, LinkSettings, Notice, Output, Outputs, Peer, Settings, Stats};
use crate::wire::Message;

/// Lent to a session for one input.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) out: &'a mut Outputs,
    pub(super) upstream: &'a mut Upstream,
    pub(super) journal: &'a mut Journal,
    pub(super) settings: &'a Settings,
    pub(super) predefined: &'a Predefined,
    pub(super) stats: &'a mut Stats,
}

/// What the broker's side may touch beside itself.
pub(super) struct Means<'a> {
    pub(super) now: Instant,
    pub(super) out: &'a mut Outputs,
    pub(super) journal: &'a mut Journal,
    pub(super) settings: &'a Settings,
    pub(super) stats: &'a mut Stats,
}

impl Context<'_> {
    /// Whether a client that chooses this gateway now finds service: a client must not choose one that leads nowhere
    /// (MQTT-SN 1.2 §6.1). With a store what it publishes is kept until the broker is back.
    pub(super) fn can_serve(&self) -> bool {
        self.upstream.is_own_up() || (self.upstream.outlives_clients() && self.journal.can_promise())
    }

    /// Returns the broker's side and what it needs.
    pub(super) fn upstream(&mut self) -> (&mut Upstream, Means<'_>) {
        let Self { now, out, upstream, journal, settings, stats, .. } = self;
        (upstream, Means { now: *now, out, journal, settings, stats })
    }

    /// Sends a message to where the route leads, wrapped as the client was heard.
    ///
    /// A message too large for MQTT-SN is not sent; callers check what comes from a broker against the link first.
    pub(super) fn send<'m>(&mut self, route: RouteRef<'_>, message: impl Into<Message<'m>>) {
        self.out.send(route, &message.into());
        self.stats.frames_out += 1;
    }

    /// Sends a message to everyone on a link.
    pub(super) fn broadcast<'m>(&mut self, link: LinkId, radius: u8, message: impl Into<Message<'m>>) {
        self.out.broadcast(link, radius, &message.into());
        self.stats.frames_out += 1;
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.out.notice(notice);
    }

    pub(super) fn link(&self, peer: Peer) -> LinkSettings {
        self.settings.links.get(&peer.link).copied().unwrap_or_default()
    }
}

impl Outputs {
    pub(super) fn send(&mut self, route: RouteRef<'_>, message: &Message<'_>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(route.wrapper);
        if message.encode(&mut self.arena).is_err() {
            self.arena.truncate(start);
            return;
        }
        self.queue.push(Output::Send { to: route.peer, frame: start..self.arena.len() });
    }

    fn broadcast(&mut self, link: LinkId, radius: u8, message: &Message<'_>) {
        let start = self.arena.len();
        if message.encode(&mut self.arena).is_ok() {
            self.queue.push(Output::Broadcast { link, radius, frame: start..self.arena.len() });
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.queue.push(Output::Notice(notice));
    }
}
