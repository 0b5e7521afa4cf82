//! Discovery: being found by clients, and noting other gateways (MQTT-SN 1.2 §6.1).

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::rates::TokenBucket;
use super::route::RouteRef;
use super::{Instant, LinkId, Notice, Peer, Settings};
use crate::wire::{Advertise, GwId, GwInfo, SearchGw};

/// Answers to SEARCHGW per second and link: ten clients a second can wake up, and a forged sender gains nothing.
const ANSWERS_PER_SECOND: u32 = 10;
/// Gateways that are remembered. More than 255 ids there are not on one network.
const NEIGHBOURS: usize = 255;
/// N_ADV: so many ADVERTISEs must be missing before a gateway counts as gone (MQTT-SN 1.2 §7.2).
const N_ADV: u32 = 3;
/// T_ADV: how often a gateway advertises that does not say it (MQTT-SN 1.2 §7.2).
const USUAL_PERIOD: Duration = Duration::from_secs(15 * 60);

/// What the gateway says about itself, and what it has heard of others.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// When the next ADVERTISE is due, by link. Only links that advertise are in it.
    due: BTreeMap<LinkId, Instant>,
    answers: BTreeMap<LinkId, TokenBucket>,
    neighbours: BTreeMap<(LinkId, GwId), Neighbour>,
    /// The earliest of all that is due, kept because it is asked for after every frame.
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Neighbour {
    peer: Peer,
    gone_at: Instant,
}

impl Discovery {
    pub(super) fn new(settings: &Settings) -> Self {
        let advertising = settings.links.iter().filter(|(_, link)| link.advertise.is_some());
        let mut discovery =
            Self { due: advertising.map(|(id, _)| (*id, Instant::ORIGIN)).collect(), ..Self::default() };
        discovery.schedule();
        discovery
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// We can serve again: say so now rather than a quarter of an hour later.
    pub(super) fn on_broker_up(&mut self, now: Instant) {
        self.due.values_mut().for_each(|due| *due = now);
        self.schedule();
    }

    /// Whoever is behind the link has missed what was said while it was down.
    pub(super) fn on_link_up(&mut self, now: Instant, link: LinkId) {
        self.due.entry(link).and_modify(|due| *due = now);
        self.schedule();
    }

    /// Sends the ADVERTISEs that are due, and gives up gateways that have fallen silent.
    pub(super) fn on_deadline(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        for (link, due) in self.due.iter_mut().filter(|(_, due)| **due <= now) {
            let period = cx.settings.links.get(link).and_then(|link| link.advertise).unwrap_or(Duration::MAX);
            *due = now + period;
            if cx.can_serve() {
                let duration = u16::try_from(period.as_secs()).unwrap_or(u16::MAX);
                cx.broadcast(*link, 0, Advertise { gw_id: cx.settings.gw_id, duration });
            }
        }
        self.neighbours.retain(|(link, gw_id), neighbour| {
            let stays = neighbour.gone_at > now;
            if !stays {
                cx.notice(Notice::GatewayGone { link: *link, gw_id: *gw_id });
            }
            stays
        });
        self.schedule();
    }

    /// Answers at once, to the asker and to everyone with the same radius, so that others need not ask.
    pub(super) fn on_search_gw(&mut self, cx: &mut Context<'_>, route: RouteRef<'_>, search: SearchGw) {
        let link = route.peer.link;
        let answers = self.answers.entry(link).or_insert_with(|| TokenBucket::new(ANSWERS_PER_SECOND));
        if !cx.can_serve() || !answers.take(cx.now) {
            return;
        }
        let answer = GwInfo { gw_id: cx.settings.gw_id, gw_add: &[] };
        cx.send(route, answer);
        cx.broadcast(link, search.radius, answer);
    }

    pub(super) fn on_advertise(&mut self, cx: &mut Context<'_>, peer: Peer, advertise: Advertise) {
        let period = match advertise.duration {
            0 => USUAL_PERIOD,
            seconds => Duration::from_secs(seconds.into()),
        };
        // Our own comes back to us where a group is looped.
        if advertise.gw_id != cx.settings.gw_id {
            self.note(cx, peer, advertise.gw_id, period * N_ADV);
        }
    }

    /// A GWINFO from a client or another gateway says that the gateway was there a moment ago.
    pub(super) fn on_gw_info(&mut self, cx: &mut Context<'_>, peer: Peer, info: GwInfo<'_>) {
        if info.gw_id != cx.settings.gw_id {
            self.note(cx, peer, info.gw_id, USUAL_PERIOD * N_ADV);
        }
    }

    fn note(&mut self, cx: &mut Context<'_>, peer: Peer, gw_id: GwId, lasts: Duration) {
        let key = (peer.link, gw_id);
        let neighbour = Neighbour { peer, gone_at: cx.now + lasts };
        if let Some(known) = self.neighbours.get_mut(&key) {
            *known = neighbour;
        } else if self.neighbours.len() < NEIGHBOURS {
            self.neighbours.insert(key, neighbour);
            cx.notice(Notice::GatewayHeard { peer, gw_id });
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        let gone = self.neighbours.values().map(|neighbour| neighbour.gone_at);
        self.next = self.due.values().copied().chain(gone).min();
    }
}
