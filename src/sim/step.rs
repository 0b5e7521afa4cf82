//! One call of the gateway: what caused it and all that came of it; kept, so that a failure can be told.

use std::collections::VecDeque;
use std::fmt;

use super::broker::Word;
use super::net::Place;
use crate::core::{BrokerCommand, BrokerEvent, ConnId, ConnectSpec, Instant, LinkId, Message, Notice, Origin};
use crate::wire::{self, DecodeError, Quoted};

#[derive(Debug)]
pub(super) struct Step {
    pub(super) now: Instant,
    pub(super) cause: Cause,
    pub(super) effects: Vec<Effect>,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// A frame; the message without its wrapper, if it can be read.
    Frame {
        from: Place,
        octets: Vec<u8>,
    },
    Word {
        conn: ConnId,
        word: Word,
    },
    Deadline,
}

#[derive(Debug)]
pub(super) enum Effect {
    Sent { to: Place, octets: Vec<u8> },
    Broadcast { link: LinkId, octets: Vec<u8> },
    Opened { conn: ConnId, spec: ConnectSpec },
    Commanded { conn: ConnId, command: BrokerCommand },
    Noticed(Notice),
}

/// The last steps, or all.
#[derive(Debug)]
pub(super) struct Journal {
    steps: VecDeque<Step>,
    keeps: usize,
}

impl Journal {
    pub(super) fn keeping(keeps: usize) -> Self {
        Self { steps: VecDeque::new(), keeps }
    }

    pub(super) fn note(&mut self, step: Step) {
        if self.steps.len() >= self.keeps {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.now.since_origin().as_secs_f64();
        match &self.cause {
            Cause::Frame { from, octets } => writeln!(f, "{seconds:10.3} {from} -> {}", Decoded(octets))?,
            Cause::Word { conn, word } => writeln!(f, "{seconds:10.3} broker {} -> {}", conn.0, Shown(&word.event))?,
            Cause::Deadline => writeln!(f, "{seconds:10.3} deadline")?,
        }
        for effect in &self.effects {
            match effect {
                Effect::Sent { to, octets } => writeln!(f, "{:14}{to} <- {}", "", Decoded(octets))?,
                Effect::Broadcast { link, octets } => writeln!(f, "{:14}{}:* <- {}", "", link.0, Decoded(octets))?,
                Effect::Opened { conn, spec } => writeln!(f, "{:14}broker {} <- {spec:?}", "", conn.0)?,
                Effect::Commanded { conn, command } => {
                    writeln!(f, "{:14}broker {} <- {}", "", conn.0, ShownCommand(command))?;
                }
                Effect::Noticed(notice) => writeln!(f, "{:14}{notice:?}", "")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:02x?}", self.peer.link.0, self.peer.address.octets())?;
        if self.node.is_empty() { Ok(()) } else { write!(f, "/{:02x?}", self.node) }
    }
}

struct Decoded<'a>(&'a [u8]);

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decoded: Result<wire::Message<'_>, DecodeError> = wire::Message::decode(self.0);
        match decoded {
            Ok(message) => message.fmt(f),
            Err(error) => write!(f, "{:02x?} ({error})", self.0),
        }
    }
}

struct Shown<'a>(&'a BrokerEvent);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BrokerEvent::Message { delivery, origin, message, subscriptions } => {
                write!(f, "Message {} ", ShownMessage(message))?;
                let delivery = delivery.map_or_else(|| "-".to_owned(), |delivery| delivery.0.to_string());
                let ids: Vec<u32> = subscriptions.iter().map(|id| id.0).collect();
                write!(f, "delivery={delivery} ids={ids:?}")?;
                let Some(Origin { packet, duplicate }) = origin else { return Ok(()) };
                write!(f, " packet={}{}", packet.0, if *duplicate { " DUP" } else { "" })
            }
            other @ (BrokerEvent::Up { .. }
            | BrokerEvent::Down { .. }
            | BrokerEvent::Closed
            | BrokerEvent::Published { .. }
            | BrokerEvent::Subscribed { .. }) => write!(f, "{other:?}"),
        }
    }
}

struct ShownCommand<'a>(&'a BrokerCommand);

impl fmt::Display for ShownCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BrokerCommand::Publish { token, message, .. } => {
                let token = token.map_or_else(|| "-".to_owned(), |token| token.0.to_string());
                write!(f, "Publish {} token={token}", ShownMessage(message))
            }
            other @ (BrokerCommand::Subscribe { .. }
            | BrokerCommand::Unsubscribe { .. }
            | BrokerCommand::Ack { .. }
            | BrokerCommand::Disconnect) => write!(f, "{other:?}"),
        }
    }
}

struct ShownMessage<'a>(&'a Message);

impl fmt::Display for ShownMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { topic, payload, qos, retain } = self.0;
        let start = &payload[..payload.len().min(12)];
        write!(f, "{} {qos:?} retain={} {}", Quoted(topic.as_str().as_bytes()), u8::from(*retain), Quoted(start))
    }
}
