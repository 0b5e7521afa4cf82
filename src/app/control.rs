//! What those who run the gateway ask of it while it runs, answered out of the core.

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::config::Config;
use crate::core::{ClientDetails, ClientPhase, ClientStatus, Durability, Gateway, Instant, Message, Peer, StoreToken};
use crate::ops::control::{
    Answer, Asked, ControlSocket, QueuedMessage, SessionDetails, SessionState, SessionSummary, SubscribedFilter,
    TopicName, WillTerms,
};

/// Sessions in one answer. Reading them out of the core takes well under a millisecond.
const PAGE: usize = 500;

/// Messages of a queue that are shown.
const SHOWN: usize = 100;

/// Requests that wait for the gateway; further ones wait in their connections.
const WAITING: usize = 4;

/// What is asked over the control socket.
///
/// It has to go before the store is closed: the directory belongs to the next gateway from then on.
pub(super) struct Requests {
    _socket: Option<ControlSocket>,
    asked: mpsc::Receiver<Asked>,
}

impl Requests {
    /// Listens in the directory of the store. Without a store nobody can ask.
    pub(super) fn listen(config: &Config, durability: Durability) -> Self {
        let (sender, asked) = mpsc::channel(WAITING);
        let dir = match durability {
            Durability::Nothing => None,
            Durability::Strict | Durability::BestEffort => config.keeping.dir.as_deref(),
        };
        let listening = dir.map(|dir| ControlSocket::listen(dir, sender)).transpose();
        let socket = listening.unwrap_or_else(|error| {
            warn!("`mqttsn-gateway sessions` cannot ask this gateway while it runs: {error}");
            None
        });
        Self { _socket: socket, asked }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { _socket: None, asked: mpsc::channel(1).1 }
    }

    /// Waits for the next request; for ever if none can come. Can be dropped without losing one.
    pub(super) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

/// Answers that wait until the store has what they say.
#[derive(Debug, Default)]
pub(super) struct Promises {
    stored: StoreToken,
    waiting: Vec<(StoreToken, oneshot::Sender<Answer>, Answer)>,
}

impl Promises {
    /// Gives the answer when everything up to `written` is stored.
    pub(super) fn answer(&mut self, sender: oneshot::Sender<Answer>, answer: Answer, written: StoreToken) {
        self.waiting.push((written, sender, answer));
        self.on_stored(self.stored);
    }

    /// Everything up to `token` is stored.
    pub(super) fn on_stored(&mut self, token: StoreToken) {
        self.stored = self.stored.max(token);
        for (_, sender, answer) in self.waiting.extract_if(.., |(written, ..)| *written <= self.stored) {
            // Who asked may have gone.
            let _ = sender.send(answer);
        }
    }

    /// The store fails: the answer would be a promise.
    pub(super) fn on_failing(&mut self, reason: &str) {
        for (_, sender, _) in self.waiting.drain(..) {
            let text = format!("it is done, but cannot be stored, and a restart may undo it: {reason}");
            let _ = sender.send(Answer::Problem { text });
        }
    }
}

/// Returns the sessions from one place on, a page of them.
pub(super) fn sessions(gateway: &Gateway, now: Instant, from: u32, address: impl Fn(Peer) -> String) -> Answer {
    let mut clients = gateway.clients_from(from);
    let sessions = clients.by_ref().take(PAGE).map(|status| summary(&status, now, &address)).collect();
    Answer::Sessions { sessions, next: clients.next().map(|status| status.place) }
}

/// Returns all about one session.
pub(super) fn session(gateway: &Gateway, now: Instant, client_id: &str, address: impl Fn(Peer) -> String) -> Answer {
    match gateway.client(client_id) {
        Some(client) => Answer::Session(Box::new(details(&client, now, address))),
        None => Answer::NoSession,
    }
}

fn summary(status: &ClientStatus<'_>, now: Instant, address: impl Fn(Peer) -> String) -> SessionSummary {
    SessionSummary {
        client_id: status.client_id.to_owned(),
        state: match status.phase {
            ClientPhase::Handshake => SessionState::Connecting,
            ClientPhase::Active => SessionState::Active,
            ClientPhase::Asleep => SessionState::Asleep,
            ClientPhase::Awake => SessionState::Awake,
            ClientPhase::Away => SessionState::Away,
        },
        persistent: status.is_persistent,
        address: status.peer.map(address),
        silent_seconds: status.heard.map(|heard| (now - heard).as_secs()),
        seconds_left: status.until.map(|until| (until - now).as_secs()),
        topics: status.topics,
        subscriptions: status.subscriptions,
        publishes: status.publishes,
        queued: status.queued,
        queued_octets: status.queued_octets,
        kept_for_broker: status.kept,
    }
}

fn details(client: &ClientDetails<'_>, now: Instant, address: impl Fn(Peer) -> String) -> SessionDetails {
    let ClientDetails { status, will, topics, subscriptions, queue } = client;
    SessionDetails {
        summary: summary(status, now, address),
        will: will.as_ref().map(|will| WillTerms {
            topic: will.topic.to_string(),
            qos: will.qos.number(),
            retain: will.retain,
            octets: will.payload.len(),
        }),
        topic_names: topics.iter().map(|(id, name)| TopicName { id: id.0, name: name.as_str().to_owned() }).collect(),
        filters: subscriptions
            .iter()
            .map(|(filter, qos)| SubscribedFilter { filter: filter.as_str().to_owned(), qos: qos.number() })
            .collect(),
        queue: queue.iter().take(SHOWN).map(|(message, expires)| queued(message, *expires, now)).collect(),
    }
}

fn queued(message: &Message, expires: Option<Instant>, now: Instant) -> QueuedMessage {
    QueuedMessage {
        topic: message.topic.as_str().to_owned(),
        qos: message.qos.number(),
        octets: message.payload.len(),
        seconds_left: expires.map(|at| (at - now).as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgotten() -> Answer {
        Answer::Forgotten { kept_for_broker: 0 }
    }

    #[test]
    fn an_answer_waits_until_the_store_has_what_it_says() {
        let mut promises = Promises::default();
        let [(first, mut first_answer), (second, mut second_answer)] = [oneshot::channel(), oneshot::channel()];
        promises.answer(first, forgotten(), StoreToken(3));
        promises.on_stored(StoreToken(2));
        assert!(first_answer.try_recv().is_err());
        promises.on_stored(StoreToken(3));
        assert_eq!(first_answer.try_recv().unwrap(), forgotten());
        // Nothing has been written since.
        promises.answer(second, forgotten(), StoreToken(3));
        assert_eq!(second_answer.try_recv().unwrap(), forgotten());
    }

    #[test]
    fn a_promise_that_the_disk_does_not_take_is_not_given() {
        let mut promises = Promises::default();
        let (sender, mut answer) = oneshot::channel();
        promises.answer(sender, forgotten(), StoreToken(1));
        promises.on_failing("the disk is full");
        let Answer::Problem { text } = answer.try_recv().unwrap() else { panic!("it is no promise") };
        assert!(text.ends_with("a restart may undo it: the disk is full"), "{text}");
    }
}
