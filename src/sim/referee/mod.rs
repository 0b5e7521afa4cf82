//! What must always hold. Every step is looked at, and at the end what is left.

mod account;
mod at_risk;
mod bounds;
mod commands;
mod downlink;
mod health;
mod moments;
mod shadow;
mod topic_ids;
mod uplink;
mod wills;

use std::collections::BTreeMap;
use std::fmt;

use super::broker::Broker;
use super::client::Tale;
use super::net::Place;
use super::scenario::Scenario;
use super::step::{Cause, Effect, Step};
use super::store::Store;
use super::vocabulary::Mark;
use crate::core::{
    ClientPhase, Gateway, Instant, Message as BrokerMessage, Mode, Notice, Record, SessionNumber, Settings, Stats,
    StoreToken,
};
use crate::wire::{Message, Qos};

use account::Accounts;
use bounds::Bounds;
use commands::Commands;
use downlink::Downlink;
use health::Health;
use moments::Moments;
use shadow::{Meant, Shadow};
use uplink::Uplink;
use wills::{Keeping, Wills};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is in the world: a client, by its number; whoever else is there counts as a stranger.
pub(super) type ClientNumber = usize;

#[derive(Debug)]
pub(super) struct Referee {
    settings: Settings,
    trust: Trust,
    health: Health,
    moments: Moments,
    losses: Losses,
    homes: BTreeMap<Place, ClientNumber>,
    client_ids: BTreeMap<String, ClientNumber>,
    shadows: Vec<Shadow>,
    accounts: Accounts,
    uplink: Uplink,
    downlink: Downlink,
    wills: Wills,
    commands: Commands,
    bounds: Bounds,
}

/// Whether the books can be kept; if not, only what concerns the gateway itself is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Full,
    /// Frames do not say what was sent.
    GarbledFrames,
    /// The gateway crashed without a store, or while it did without because that failed. Its clients do not know that
    /// what it told them is forgotten.
    Forgotten,
}

/// What was dropped as limits and rules want it, by all processes so far.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    overflows: u64,
    wills: u64,
    waiting: u64,
}

impl Losses {
    fn with(self, stats: &Stats) -> Self {
        Self {
            overflows: self.overflows + stats.queue_overflows,
            wills: self.wills + stats.wills_dropped,
            waiting: self.waiting + stats.superseded + stats.expired,
        }
    }
}

impl Referee {
    pub(super) fn new(scenario: &Scenario, client_ids: impl Iterator<Item = String>) -> Self {
        let shadows: Vec<Shadow> = scenario.clients.iter().map(|nature| Shadow::new(nature.is_abiding())).collect();
        Self {
            settings: scenario.settings.clone(),
            trust: if scenario.is_accountable() { Trust::Full } else { Trust::GarbledFrames },
            health: Health::new(scenario.settings.durability),
            moments: Moments::new(Instant::ORIGIN, &shadows),
            losses: Losses::default(),
            homes: BTreeMap::new(),
            client_ids: client_ids.zip(0..).collect(),
            shadows,
            accounts: Accounts::default(),
            uplink: Uplink::new(scenario.temper.offer, &scenario.settings),
            downlink: Downlink::new(scenario.settings.mode, scenario.temper.offer.subscription_ids),
            wills: Wills::new(scenario.settings.mode),
            commands: Commands::new(&scenario.settings, scenario.temper.window),
            bounds: Bounds::default(),
        }
    }

    /// A client speaks from a new place from now on. It may be heard from its former ones for a while.
    pub(super) fn note_home(&mut self, place: Place, client: ClientNumber) {
        self.homes.insert(place, client);
    }

    /// Looks at one call of the gateway; without it, if it died on the way.
    pub(super) fn watch(&mut self, step: &Step, gateway: Option<&Gateway>) -> Result<(), Violation> {
        self.bounds.watch(step, gateway, &self.settings)?;
        match gateway {
            Some(_) => self.commands.watch(step, &self.settings)?,
            // What would have kept the limits may not have got out.
            None => self.commands.note(step)?,
        }
        let meant = self.meant(step);
        self.health.watch(step);
        if let Cause::Stored(token) = step.cause {
            self.moments.note_stored(token);
        }
        if self.trust != Trust::Full {
            return Ok(());
        }
        self.watch_cause(step, gateway)?;
        for effect in &step.effects {
            match effect {
                Effect::Sent { to, octets } => self.watch_sent(step, to, octets, meant)?,
                Effect::Noticed(notice) => self.watch_notice(step, notice)?,
                Effect::Opened { conn, spec } => {
                    let client = self.client_ids.get(spec.client_id.as_ref() as &str).copied();
                    self.uplink.see_opened(*conn, spec, client);
                    if let Some(client) = client {
                        self.downlink.see_opened(*conn, client);
                    }
                }
                Effect::Commanded { conn, command } => {
                    self.uplink.see_command(*conn, command, &mut self.accounts);
                    self.downlink.see_command(step, *conn, command, &self.homes);
                }
                Effect::Broadcast { .. } | Effect::Wrote { .. } => {}
            }
        }
        match gateway {
            Some(gateway) => self.compare(step, gateway)?,
            None => self.shadows.iter_mut().for_each(Shadow::keep),
        }
        if let Some(token) = step.written() {
            self.moments.note(step.now, token, &self.shadows);
        }
        Ok(())
    }

    /// The gateway's process is gone; the next one finds what was stored up to `stored`.
    pub(super) fn see_crash(&mut self, now: Instant, stored: StoreToken, stats: &Stats) {
        self.losses = self.losses.with(stats);
        self.commands.see_crash();
        self.moments.note_stored(stored);
        let keeps_all_promises = self.health.crash(stored);
        if !keeps_all_promises {
            self.trust = Trust::Forgotten;
        }
        if self.trust != Trust::Full {
            return;
        }
        self.uplink.see_crash(self.moments.stored().at, &mut self.accounts);
        self.downlink.see_crash(now);
        self.wills.see_crash(self.moments.stored().at);
    }

    /// Takes what a client says of itself.
    pub(super) fn hear(&mut self, client: ClientNumber, tale: &Tale) -> Result<(), Violation> {
        if self.trust != Trust::Full {
            return Ok(());
        }
        match tale {
            Tale::Begins { mark, qos } => {
                let session = self.shadows[client].session;
                self.accounts.open(*mark, *qos, Some((client, session)));
            }
            Tale::Accepted { mark } => {
                let is_abiding = self.shadows[client].is_abiding;
                self.uplink.accepted(*mark, is_abiding, &self.accounts)?;
            }
            Tale::Received { mark, qos, retain } => {
                self.downlink.received(client, *mark, *qos, *retain, &self.shadows[client])?;
            }
            Tale::Forgot => self.downlink.forgot(client),
        }
        Ok(())
    }

    /// Takes a message that somebody else publishes through the broker.
    pub(super) fn hear_others(&mut self, message: &BrokerMessage) {
        if let Some(mark) = Mark::read(&message.payload) {
            self.accounts.open(mark, message.qos, None);
        }
    }

    /// Takes a message that the broker took over from the gateway.
    pub(super) fn broker_took(&mut self, message: &BrokerMessage) -> Result<(), Violation> {
        self.accounts.count_copy(message);
        match Mark::read(&message.payload) {
            Some(mark) if self.trust == Trust::Full => self.uplink.broker_takes(mark, &self.accounts, &self.shadows),
            Some(_) | None => Ok(()),
        }
    }

    /// Looks at what is left when everybody has had time to get everything.
    pub(super) fn close_books(&self, stats: &Stats) -> Result<(), Violation> {
        if self.trust != Trust::Full {
            return Ok(());
        }
        let losses = self.losses.with(stats);
        self.uplink.close(&self.accounts, &self.shadows, losses.waiting)?;
        self.downlink.close(&self.shadows, losses.overflows)
    }

    /// Looks at what is left when everybody has been gone for so long that nothing is due any more.
    pub(super) fn close(&self, gateway: Option<&Gateway>, broker: &Broker, store: &Store) -> Result<(), Violation> {
        if let Some(status) = gateway.and_then(|gateway| gateway.clients().next()) {
            return Err(Violation(format!("a session is left over: {status:?}")));
        }
        self.commands.close()?;
        if self.trust == Trust::Forgotten {
            return Ok(());
        }
        if let Some(filter) = broker.subscriptions().next() {
            return Err(Violation(format!("the broker still has a subscription to {filter:?}")));
        }
        // A filter is struck off when the broker answers the next question, if there ever is one; what came of a message
        // on a connection that ended meanwhile at the next start; and what has come when its packet id comes again.
        let may_stay = |record: &Record| match record {
            Record::Filter(_) | Record::Completed(_) => true,
            Record::Arrival(record) => record.session == SessionNumber::GATEWAY,
            Record::Session(_)
            | Record::Topic(_)
            | Record::Subscription(_)
            | Record::Queued(_)
            | Record::Exchange(_)
            | Record::Upstream(_)
            | Record::Checkpoint(_) => false,
        };
        if let Some(record) = store.records().iter().find(|record| !may_stay(record)) {
            return Err(Violation(format!("a record is left over: {record:?}")));
        }
        let Some(gateway) = gateway.filter(|_| self.trust == Trust::Full) else { return Ok(()) };
        let losses = self.losses.with(gateway.stats());
        self.wills.close(&self.accounts, losses.wills + losses.waiting)
    }

    /// When what is sent in this step was meant to be sent.
    fn meant(&self, step: &Step) -> Meant {
        match step.cause {
            Cause::Stored(_) | Cause::StoreFailing => Meant::Since(self.moments.oldest_unstored().unwrap_or(step.now)),
            Cause::Frame { .. } | Cause::Word { .. } | Cause::Deadline | Cause::Restart(_) | Cause::Crash => Meant::Now,
        }
    }

    fn watch_cause(&mut self, step: &Step, gateway: Option<&Gateway>) -> Result<(), Violation> {
        match &step.cause {
            Cause::Frame { from, octets } => {
                let (Some(&client), Ok(message)) = (self.homes.get(from), Message::decode(octets)) else {
                    return Ok(());
                };
                let before = self.shadows[client].session;
                self.shadows[client].hear(step.now, from, &message, &step.effects);
                if self.shadows[client].session != before {
                    self.session_ended(client);
                }
                self.accounts.count_arrival(&message);
                self.downlink.hear(step.now, client, &message);
            }
            Cause::Word { conn, word } => {
                self.uplink.hear(step.now, *conn, &word.event, &mut self.accounts);
                self.downlink.hear_word(step.now, *conn, word, &self.shadows, &self.accounts);
            }
            Cause::Restart(_) => self.watch_restart(step.now, gateway)?,
            Cause::Deadline | Cause::Stored(_) | Cause::StoreFailing | Cause::Crash => {}
        }
        Ok(())
    }

    /// Another process has taken up what was stored: nothing that anyone was told may be missing.
    fn watch_restart(&mut self, now: Instant, gateway: Option<&Gateway>) -> Result<(), Violation> {
        let phases = self.phases(gateway);
        let stored = self.moments.stored().clone();
        for (client, phase) in phases.into_iter().enumerate() {
            let before = (&stored.shadows[client], stored.at);
            self.shadows[client].restart(now, before, phase).map_err(|violation| violation.of(client))?;
            if phase.is_none() {
                self.session_ended(client);
            }
        }
        self.moments = Moments::new(now, &self.shadows);
        Ok(())
    }

    fn watch_sent(&mut self, step: &Step, to: &Place, octets: &[u8], meant: Meant) -> Result<(), Violation> {
        let message = Message::decode(octets).map_err(|error| Violation(format!("an unreadable frame: {error}")))?;
        let Some(&client) = self.homes.get(to) else { return Ok(()) };
        let shadow = &mut self.shadows[client];
        let is_for_it = shadow.see_sent(step.now, to, &message, meant).map_err(|violation| violation.of(client))?;
        if let (Message::Publish(publish), true) = (message, is_for_it) {
            self.downlink
                .see_publish(client, &publish, shadow, &self.accounts)
                .map_err(|violation| violation.of(client))?;
        }
        Ok(())
    }

    fn watch_notice(&mut self, step: &Step, notice: &Notice) -> Result<(), Violation> {
        self.uplink.see_notice(notice);
        let Some(client) = client_id_of(notice).and_then(|client_id| self.client_ids.get(client_id).copied()) else {
            return Ok(());
        };
        let shadow = &mut self.shadows[client];
        let will = shadow.will.clone();
        let is_due = shadow.see_notice(step.now, notice, &self.settings).map_err(|violation| violation.of(client))?;
        let will = will.filter(|_| is_due);
        let is_kept = will.as_ref().is_some_and(|will| will.qos > Qos::AtMostOnce);
        let keeping = match self.settings.mode {
            Mode::Aggregating if is_kept && self.health.can_promise() => Keeping::Stored,
            Mode::Aggregating | Mode::Transparent => Keeping::Never,
        };
        self.wills.see_notice(step.now, notice, will, keeping);
        self.downlink.see_notice(client, notice);
        if matches!(
            notice,
            Notice::ClientLost { .. } | Notice::ClientDisconnected { .. } | Notice::ConnectRefused { .. }
        ) {
            self.uplink.see_departure(client, &mut self.accounts);
        }
        if !shadow.is_served() {
            self.session_ended(client);
        }
        Ok(())
    }

    /// Nothing is owed to the client of before.
    fn session_ended(&mut self, client: ClientNumber) {
        self.accounts.session_ended(client);
        self.downlink.session_ended(client);
    }

    fn compare(&mut self, step: &Step, gateway: &Gateway) -> Result<(), Violation> {
        let phases = self.phases(Some(gateway));
        for (client, (shadow, phase)) in self.shadows.iter_mut().zip(phases).enumerate() {
            shadow.compare(step.now, phase, &self.settings).map_err(|violation| violation.of(client))?;
        }
        Ok(())
    }
}

impl Referee {
    fn phases(&self, gateway: Option<&Gateway>) -> Vec<Option<ClientPhase>> {
        let mut phases = vec![None; self.shadows.len()];
        for status in gateway.into_iter().flat_map(Gateway::clients) {
            if let Some(&client) = self.client_ids.get(status.client_id) {
                phases[client] = Some(status.phase);
            }
        }
        phases
    }
}

impl Violation {
    fn of(self, client: ClientNumber) -> Self {
        Self(format!("client {client}: {self}"))
    }
}

fn client_id_of(notice: &Notice) -> Option<&str> {
    match notice {
        Notice::ClientConnected { client_id, .. }
        | Notice::ClientAwake { client_id, .. }
        | Notice::ClientMoved { client_id, .. }
        | Notice::ClientReplaced { client_id, .. }
        | Notice::ClientAsleep { client_id, .. }
        | Notice::ClientDisconnected { client_id, .. }
        | Notice::ClientLost { client_id, .. }
        | Notice::HandshakeAbandoned { client_id, .. }
        | Notice::WillPublished { client_id, .. }
        | Notice::WillDropped { client_id, .. }
        | Notice::SessionExpired { client_id, .. }
        | Notice::SessionForgotten { client_id }
        | Notice::Refused { client_id, .. }
        | Notice::Undeliverable { client_id, .. }
        | Notice::Unacknowledged { client_id, .. }
        | Notice::QueueOverflow { client_id, .. } => Some(client_id),
        Notice::ConnectRefused { client_id, .. } => std::str::from_utf8(client_id).ok(),
        Notice::AnonymousRefused { .. }
        | Notice::Stray { .. }
        | Notice::Malformed { .. }
        | Notice::SubscriptionLost { .. }
        | Notice::KeptRefused { .. }
        | Notice::KeptHandedOver { .. }
        // Of a message that was kept for the broker, whose session may have ended.
        | Notice::Outdated { .. }
        | Notice::GatewayHeard { .. }
        | Notice::GatewayGone { .. } => None,
    }
}
