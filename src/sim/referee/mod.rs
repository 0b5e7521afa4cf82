//! What must always hold. Every step is looked at, and at the end what is left.

mod account;
mod bounds;
mod commands;
mod downlink;
mod shadow;
mod uplink;
mod wills;

use std::collections::BTreeMap;
use std::fmt;

use super::broker::Broker;
use super::client::Tale;
use super::net::Place;
use super::scenario::Scenario;
use super::step::{Cause, Effect, Step};
use crate::core::{Gateway, Message as BrokerMessage, Notice, Settings};
use crate::wire::Message;

use account::Accounts;
use bounds::Bounds;
use commands::Commands;
use downlink::Downlink;
use shadow::Shadow;
use uplink::Uplink;
use wills::Wills;

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
    /// Whether frames say what was sent; if not, only what concerns the gateway itself is looked at.
    is_accountable: bool,
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

impl Referee {
    pub(super) fn new(scenario: &Scenario, client_ids: impl Iterator<Item = String>) -> Self {
        Self {
            settings: scenario.settings.clone(),
            is_accountable: scenario.is_accountable(),
            homes: BTreeMap::new(),
            client_ids: client_ids.zip(0..).collect(),
            shadows: scenario.clients.iter().map(|nature| Shadow::new(nature.is_abiding())).collect(),
            accounts: Accounts::default(),
            uplink: Uplink::new(scenario.temper.offer),
            downlink: Downlink::new(scenario.settings.mode, scenario.temper.offer.subscription_ids),
            wills: Wills::new(scenario.settings.mode),
            commands: Commands::default(),
            bounds: Bounds::default(),
        }
    }

    /// A client speaks from a new place from now on. It may be heard from its former ones for a while.
    pub(super) fn note_home(&mut self, place: Place, client: ClientNumber) {
        self.homes.insert(place, client);
    }

    /// Looks at one call of the gateway.
    pub(super) fn watch(&mut self, step: &Step, gateway: &Gateway) -> Result<(), Violation> {
        self.bounds.watch(step, gateway, &self.settings)?;
        self.commands.watch(step, &self.settings)?;
        if !self.is_accountable {
            return Ok(());
        }
        self.watch_cause(step)?;
        for effect in &step.effects {
            match effect {
                Effect::Sent { to, octets } => self.watch_sent(step, to, octets)?,
                Effect::Noticed(notice) => self.watch_notice(step, notice)?,
                Effect::Opened { conn, spec } => {
                    if let Some(&client) = self.client_ids.get(spec.client_id.as_ref() as &str) {
                        self.downlink.see_opened(*conn, client);
                    }
                }
                Effect::Commanded { conn, command } => {
                    self.uplink.see_command(*conn, command, &mut self.accounts);
                    self.downlink.see_command(step, command, &self.homes);
                }
                Effect::Broadcast { .. } => {}
            }
        }
        self.compare(step, gateway)
    }

    /// Takes what a client says of itself.
    pub(super) fn hear(&mut self, client: ClientNumber, tale: &Tale) -> Result<(), Violation> {
        if !self.is_accountable {
            return Ok(());
        }
        match tale {
            Tale::Begins { mark, topic, qos } => {
                let session = self.shadows[client].session;
                self.accounts.open(*mark, topic, *qos, Some((client, session)));
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
        if let Some(mark) = super::vocabulary::Mark::read(&message.payload) {
            self.accounts.open(mark, &message.topic, message.qos, None);
        }
    }

    /// Takes a message that the broker took over from the gateway.
    pub(super) fn broker_took(&mut self, message: &BrokerMessage) {
        self.accounts.count_copy(message);
    }

    /// Looks at what is left when everybody has had time to get everything.
    pub(super) fn close_books(&self, gateway: &Gateway) -> Result<(), Violation> {
        if !self.is_accountable {
            return Ok(());
        }
        self.uplink.close(&self.accounts, &self.shadows)?;
        self.downlink.close(&self.shadows, gateway.stats())
    }

    /// Looks at what is left when everybody has been gone for so long that nothing is due any more.
    pub(super) fn close(&self, gateway: &Gateway, broker: &Broker) -> Result<(), Violation> {
        if let Some(status) = gateway.clients().next() {
            return Err(Violation(format!("a session is left over: {status:?}")));
        }
        if let Some(filter) = broker.subscriptions().next() {
            return Err(Violation(format!("the broker still has a subscription to {filter:?}")));
        }
        self.commands.close()?;
        if self.is_accountable { self.wills.close(&self.accounts, gateway.stats()) } else { Ok(()) }
    }

    fn watch_cause(&mut self, step: &Step) -> Result<(), Violation> {
        match &step.cause {
            Cause::Frame { from, octets } => {
                let (Some(&client), Ok(message)) = (self.homes.get(from), Message::decode(octets)) else {
                    return Ok(());
                };
                let before = self.shadows[client].session;
                self.shadows[client].hear(step.now, from, &message, &step.effects);
                if self.shadows[client].session != before {
                    self.accounts.session_ended(client);
                    self.downlink.session_ended(client);
                }
                self.accounts.count_arrival(&message);
                self.downlink.hear(step.now, client, &message);
            }
            Cause::Word { conn, word } => {
                self.uplink.hear(*conn, &word.event, &mut self.accounts);
                self.downlink.hear_word(step.now, *conn, word, &self.shadows, &self.accounts);
            }
            Cause::Deadline => {}
        }
        Ok(())
    }

    fn watch_sent(&mut self, step: &Step, to: &Place, octets: &[u8]) -> Result<(), Violation> {
        let message = Message::decode(octets).map_err(|error| Violation(format!("an unreadable frame: {error}")))?;
        let Some(&client) = self.homes.get(to) else { return Ok(()) };
        let shadow = &mut self.shadows[client];
        shadow.see_sent(step.now, to, &message, &self.settings).map_err(|violation| violation.of(client))?;
        if let Message::Publish(publish) = message {
            self.downlink
                .see_publish(client, &publish, shadow, &self.accounts)
                .map_err(|violation| violation.of(client))?;
        }
        Ok(())
    }

    fn watch_notice(&mut self, step: &Step, notice: &Notice) -> Result<(), Violation> {
        let Some(client) = client_id_of(notice).and_then(|client_id| self.client_ids.get(client_id).copied()) else {
            return Ok(());
        };
        let shadow = &mut self.shadows[client];
        let will = shadow.will.clone();
        let is_due = shadow.see_notice(step.now, notice, &self.settings).map_err(|violation| violation.of(client))?;
        self.wills.see_notice(notice, will.filter(|_| is_due));
        self.downlink.see_notice(client, notice);
        if !shadow.is_served() {
            self.accounts.session_ended(client);
            self.downlink.session_ended(client);
        }
        Ok(())
    }

    fn compare(&mut self, step: &Step, gateway: &Gateway) -> Result<(), Violation> {
        let mut phases = vec![None; self.shadows.len()];
        for status in gateway.clients() {
            if let Some(&client) = self.client_ids.get(status.client_id) {
                phases[client] = Some(status.phase);
            }
        }
        for (client, (shadow, phase)) in self.shadows.iter_mut().zip(phases).enumerate() {
            shadow.compare(step.now, phase, &self.settings).map_err(|violation| violation.of(client))?;
        }
        Ok(())
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
        | Notice::GatewayHeard { .. }
        | Notice::GatewayGone { .. } => None,
    }
}
