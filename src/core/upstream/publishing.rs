//! Messages on their way up: to the broker, or while it is away into the store.

use bytestring::ByteString;

use super::kept::{Answered, Declined};
use super::line;
use super::tokens::Pending;
use super::{Clients, Owner, PublishRefusal, RETRY_AFTER, Taken, Upstream, WillFate};
use crate::core::context::Means;
use crate::core::journal::Journal;
use crate::core::sessions::SessionKey;
use crate::core::{BrokerCommand, ConnId, Message, Outputs, PublishOutcome, Token};
use crate::wire::Qos;

impl Upstream {
    /// Takes a client's message at QoS 1 or 2: it goes to the broker, or is kept for it.
    pub(in crate::core) fn publish(
        &mut self,
        means: &mut Means<'_>,
        owner: Owner,
        message: Message,
    ) -> Result<Taken, PublishRefusal> {
        let journal = &mut *means.journal;
        if journal.is_stuck() && message.qos == Qos::ExactlyOnce {
            return Err(PublishRefusal::StoreFails);
        }
        if self.keeps(journal, &owner.client_id) {
            return self.keep(means, owner.client_id, message).map(|()| Taken::Kept);
        }
        let line = self.line(owner.key).ok_or(PublishRefusal::Down)?;
        // The client's QoS counts, whatever the broker takes it at: its exchange is kept, and with it the token.
        let outlives_process = message.qos == Qos::ExactlyOnce && journal.is_on();
        let (conn, message) = (line.conn(), line.fit(message)?);
        if self.publishes_in_flight >= means.settings.limits.publishes_in_flight {
            return Err(PublishRefusal::Full);
        }
        self.publishes_in_flight += 1;
        let pending = Pending::Publish { owner: Some(owner.key) };
        let token =
            if outlives_process { self.tokens.issue_as(journal.token(), pending) } else { self.tokens.issue(pending) };
        means.out.command(conn, BrokerCommand::Publish { token: Some(token), message, expires_in: None });
        Ok(Taken::AtBroker(token))
    }

    /// The client asks again for a message that is on its way to the broker, which is away: keeps it, if there is a
    /// store, so that the client need not wait. Returns whether it is kept.
    pub(in crate::core) fn adopt(
        &mut self,
        means: &mut Means<'_>,
        owner: Owner,
        message: Message,
        token: Token,
    ) -> bool {
        if !self.is_own(&owner) || self.own.is_up() || !means.journal.can_promise() {
            return false;
        }
        let Some(pending @ Pending::Publish { .. }) = self.tokens.get_mut(token) else { return false };
        let Some(place) = self.kept.adopt(means, owner.client_id, message, token) else { return false };
        *pending = Pending::Kept { place };
        self.publishes_in_flight = self.publishes_in_flight.saturating_sub(1);
        true
    }

    /// Whether the message under this token is one that the gateway has answered for.
    pub(in crate::core) fn keeps_message(&self, token: Token) -> bool {
        matches!(self.tokens.get(token), Some(Pending::Kept { .. }))
    }

    /// Whether what a connection has under way at QoS 2 is kept by the connection itself, if there is a store.
    pub(in crate::core) fn outlives_process(&self, conn: ConnId) -> bool {
        conn == ConnId::OWN
            || match &self.mode {
                Clients::Aggregating(_) => false,
                Clients::Transparent(clients) => clients.is_persistent(conn),
            }
    }

    /// Takes a client's message at QoS 0; nobody hears what becomes of it.
    pub(in crate::core) fn publish_at_most_once(
        &mut self,
        means: &mut Means<'_>,
        owner: Owner,
        message: Message,
    ) -> Result<(), PublishRefusal> {
        if self.keeps(means.journal, &owner.client_id) {
            return self.keep(means, owner.client_id, message);
        }
        self.line(owner.key).ok_or(PublishRefusal::Down)?.publish_at_most_once(means.out, message)
    }

    /// Takes a message that belongs to no session.
    pub(in crate::core) fn publish_anonymous(
        &mut self,
        means: &mut Means<'_>,
        message: Message,
    ) -> Result<(), PublishRefusal> {
        let nobody = ByteString::new();
        if (!self.own.is_up() && means.journal.can_promise()) || self.kept.holds(&nobody) {
            return self.keep(means, nobody, message);
        }
        self.own.publish_at_most_once(means.out, message)
    }

    /// Publishes the will of a lost client. While the broker is away it waits, among at most so many others as the
    /// limits say.
    pub(in crate::core) fn publish_will(&mut self, means: &mut Means<'_>, owner: Owner, message: Message) -> WillFate {
        match &self.mode {
            Clients::Transparent(clients) => clients.publish_will(means.out, owner.key, message),
            // Kept even while the broker is there: a restart must not make the client's death go unheard.
            Clients::Aggregating(_) if means.journal.can_promise() && message.qos > Qos::AtMostOnce => {
                let kept = self.keep(means, owner.client_id, message);
                self.drain(means);
                kept.map_or(WillFate::Dropped, |()| WillFate::Published)
            }
            Clients::Aggregating(_)
                if self.wills.len() + self.wills_in_flight >= means.settings.limits.wills_waiting =>
            {
                WillFate::Dropped
            }
            Clients::Aggregating(_) => self.publish_own_will(means.out, message),
        }
    }

    /// Takes the broker's answer to a publish. Returns whom it concerns.
    pub(in crate::core) fn published(
        &mut self,
        means: &mut Means<'_>,
        token: Token,
        outcome: PublishOutcome,
    ) -> Option<SessionKey> {
        match self.tokens.redeem(token)? {
            Pending::Publish { owner } => {
                self.publishes_in_flight = self.publishes_in_flight.saturating_sub(1);
                owner
            }
            Pending::Will { message } => {
                self.wills_in_flight = self.wills_in_flight.saturating_sub(1);
                if matches!(outcome, PublishOutcome::Busy | PublishOutcome::Lost) {
                    self.wills.push_back(message);
                    self.retry.get_or_insert(means.now + RETRY_AFTER);
                }
                None
            }
            Pending::Kept { place } => {
                match self.kept.answered(means, place, outcome) {
                    Answered::GoOn => self.drain(means),
                    Answered::NoRoom => _ = self.retry.get_or_insert(means.now + RETRY_AFTER),
                }
                None
            }
            Pending::Subscribe { .. } | Pending::Renewal { .. } => None,
        }
    }

    /// Sends what the gateway has answered for, as far as it is stored and the broker is there.
    pub(in crate::core) fn drain(&mut self, means: &mut Means<'_>) {
        self.kept.drain(means, &self.own, &mut self.tokens);
    }

    /// Whether a client's next message is kept rather than sent. In transparent mode the acknowledgement is the
    /// broker's own, so nothing is accepted in its place.
    fn keeps(&self, journal: &Journal, owner: &ByteString) -> bool {
        match self.mode {
            Clients::Transparent(_) => false,
            Clients::Aggregating(_) => (!self.own.is_up() && journal.can_promise()) || self.kept.holds(owner),
        }
    }

    fn keep(&mut self, means: &mut Means<'_>, owner: ByteString, message: Message) -> Result<(), PublishRefusal> {
        if means.journal.is_stuck() {
            return Err(PublishRefusal::StoreFails);
        }
        line::check_topic(&message.topic)?;
        if let Err(why) = self.own.fit(message.clone())
            && !why.may_pass()
        {
            return Err(why);
        }
        self.kept.take(means, &self.own, owner, message).map_err(|declined| match declined {
            Declined::Full => PublishRefusal::TooManyKept,
            Declined::ByRule => PublishRefusal::NotKept,
        })
    }

    fn is_own(&self, owner: &Owner) -> bool {
        self.line(owner.key).is_some_and(|line| line.conn() == ConnId::OWN)
    }

    pub(super) fn publish_own_will(&mut self, out: &mut Outputs, message: Message) -> WillFate {
        match self.own.fit(message.clone()) {
            Ok(fitting) => {
                self.wills_in_flight += 1;
                let token = self.tokens.issue(Pending::Will { message });
                out.command(
                    ConnId::OWN,
                    BrokerCommand::Publish { token: Some(token), message: fitting, expires_in: None },
                );
            }
            Err(why) if why.may_pass() => self.wills.push_back(message),
            Err(_) => return WillFate::Dropped,
        }
        WillFate::Published
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::is_durable;
    use crate::core::topics::TopicName;
    use crate::core::{BrokerOffer, Durability, Instant, SessionNumber, Settings, Stats};

    #[test]
    fn a_client_s_qos_2_message_keeps_its_token_over_a_restart_whatever_the_broker_takes_it_at() {
        let settings = Settings { durability: Durability::Strict, ..Settings::default() };
        let mut upstream = Upstream::new(settings.mode, &settings.outage);
        let (mut out, mut stats) = (Outputs::default(), Stats::default());
        let mut journal = Journal::new(settings.durability);
        let mut means = Means {
            now: Instant::ORIGIN,
            out: &mut out,
            journal: &mut journal,
            settings: &settings,
            stats: &mut stats,
        };
        let max_qos = Qos::AtLeastOnce;
        let offer = BrokerOffer { max_qos, retain: true, subscription_ids: true, max_packet: None };
        upstream.up(&mut means, ConnId::OWN, false, offer);
        let topic = TopicName::parse(b"a").unwrap();
        let message = Message { topic, payload: "1".into(), qos: Qos::ExactlyOnce, retain: false };
        let owner = Owner { key: SessionKey(0), number: SessionNumber(1), client_id: "c".into() };
        let taken = upstream.publish(&mut means, owner, message);
        assert!(matches!(taken, Ok(Taken::AtBroker(token)) if is_durable(token)), "{taken:?}");
    }
}
