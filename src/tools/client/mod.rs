//! A client's side of MQTT-SN as a pure state machine: time, frames and requests in, frames and events out.
//!
//! It has one exchange with the gateway open at a time, as MQTT-SN 1.2 §6.5, §6.6 and §6.9 ask of a client, and queues
//! nothing: the caller makes its next request when the last one is settled.
#![deny(clippy::wildcard_enum_match_arm)]

mod deliver;
mod exchange;
mod io;
mod retry;
mod session;
mod sleep;
mod topic_ids;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::core::Instant;
use crate::wire::{
    ConnAck, Connect, Disconnect, Message, MsgId, MsgType, PubAck, QosField, ReturnCode, TopicRef, WillMsg, WillTopic,
    WillTopicFields,
};

pub use io::{
    Delivery, Event, Filter, Loss, Operation, Output, Publication, Refusal, Request, RequestError, Settings, SleepPlan,
    Topic, Will,
};

use exchange::Step;
use retry::{Retry, Verdict};
use session::{Context, Memory, Session};
use sleep::Sleep;

/// The only ProtocolId there is (MQTT-SN 1.2 §5.3.9).
const PROTOCOL_ID: u8 = 0x01;
/// How long the answer to DISCONNECT is waited for: the session ends either way, and a person may be waiting.
const GOODBYE: Duration = Duration::from_millis(500);

/// One client. Carry out the outputs of every call in order, and call [`Client::tick`] at [`Client::next_deadline`].
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    memory: Memory,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Disconnected,
    Connecting(Retry),
    Connected(Session),
    Sleeping(Sleep),
    Disconnecting(Retry),
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Self { settings, memory: Memory::default(), phase: Phase::Disconnected }
    }

    /// Starts what is asked, or says why it cannot.
    pub fn request(&mut self, now: Instant, request: Request, out: &mut Vec<Output>) -> Result<(), RequestError> {
        let mut context = Context { now, settings: &self.settings, memory: &mut self.memory, out };
        if let Request::Publish(publication) = &request
            && publication.qos == QosField::MinusOne
        {
            return publish_without_session(&mut context, publication);
        }
        match (request, &mut self.phase) {
            (Request::Connect, Phase::Disconnected) => {
                self.phase = connect(&mut context)?;
                Ok(())
            }
            (
                Request::Connect,
                Phase::Connecting(_) | Phase::Connected(_) | Phase::Sleeping(_) | Phase::Disconnecting(_),
            ) => Err(RequestError::AlreadyConnected),
            (Request::Publish(publication), Phase::Connected(session)) => session.publish(&mut context, publication),
            (Request::Subscribe { filter, qos }, Phase::Connected(session)) => {
                session.request(&mut context, Step::Subscribe { filter, qos })
            }
            (Request::Unsubscribe(filter), Phase::Connected(session)) => {
                session.request(&mut context, Step::Unsubscribe { filter })
            }
            (Request::Sleep(_), Phase::Connected(session)) if session.is_busy() => Err(RequestError::Busy),
            (Request::Sleep(plan), Phase::Connected(_)) => {
                self.phase = Phase::Sleeping(Sleep::begin(&mut context, plan));
                Ok(())
            }
            (Request::Disconnect, Phase::Connected(_) | Phase::Sleeping(_)) => {
                send(Disconnect { duration: None }, context.out);
                self.phase = Phase::Disconnecting(Retry::new(now, GOODBYE.min(self.settings.t_retry), 1));
                Ok(())
            }
            (
                Request::Publish(_)
                | Request::Subscribe { .. }
                | Request::Unsubscribe(_)
                | Request::Sleep(_)
                | Request::Disconnect,
                Phase::Disconnected | Phase::Connecting(_) | Phase::Sleeping(_) | Phase::Disconnecting(_),
            ) => Err(RequestError::NotConnected),
        }
    }

    /// Takes one frame from the gateway.
    pub fn receive(&mut self, now: Instant, frame: &[u8], out: &mut Vec<Output>) {
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => return out.push(Output::Event(Event::Malformed(error))),
        };
        let mut context = Context { now, settings: &self.settings, memory: &mut self.memory, out };
        match &mut self.phase {
            Phase::Disconnected => {}
            Phase::Connecting(_) => {
                if let Some(phase) = receive_connecting(&mut context, &message) {
                    self.phase = phase;
                }
            }
            Phase::Connected(session) => {
                if let Err(loss) = session.receive(&mut context, &message) {
                    context.tell(Event::Lost(loss));
                    self.phase = Phase::Disconnected;
                }
            }
            Phase::Sleeping(sleep) => {
                if let Err(loss) = sleep.receive(&mut context, &message) {
                    context.tell(Event::Lost(loss));
                    self.phase = Phase::Disconnected;
                }
            }
            Phase::Disconnecting(_) => {
                if let Some(phase) = receive_disconnecting(&mut context, &message) {
                    self.phase = phase;
                }
            }
        }
    }

    /// Sends again what has gone unanswered, keeps the session alive, or gives it up. Early calls do no harm.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut context = Context { now, settings: &self.settings, memory: &mut self.memory, out };
        let ended = match &mut self.phase {
            Phase::Disconnected => None,
            Phase::Connecting(retry) => match retry.poll(now) {
                Verdict::Wait => None,
                // Also in the middle of the will's handshake: CONNECT starts it anew.
                Verdict::SendAgain => {
                    send(connect_message(&self.settings), context.out);
                    None
                }
                Verdict::GiveUp => Some(Event::Lost(retry.no_answer_to(MsgType::Connect))),
            },
            Phase::Connected(session) => session.tick(&mut context).err().map(Event::Lost),
            Phase::Sleeping(sleep) => sleep.tick(&mut context).err().map(Event::Lost),
            Phase::Disconnecting(retry) => match retry.poll(now) {
                Verdict::Wait => None,
                Verdict::SendAgain => {
                    send(Disconnect { duration: None }, context.out);
                    None
                }
                Verdict::GiveUp => Some(Event::Disconnected),
            },
        };
        if let Some(event) = ended {
            context.tell(event);
            self.phase = Phase::Disconnected;
        }
    }

    /// Returns when [`Client::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Disconnected => None,
            Phase::Connecting(retry) | Phase::Disconnecting(retry) => Some(retry.due()),
            Phase::Connected(session) => session.next_deadline(&self.settings),
            Phase::Sleeping(sleep) => Some(sleep.next_deadline()),
        }
    }

    /// Gives the connection up without a word, as when the link under it has gone.
    pub fn abandon(&mut self) {
        self.phase = Phase::Disconnected;
    }
}

fn connect(context: &mut Context<'_>) -> Result<Phase, RequestError> {
    let connect = connect_message(context.settings);
    context.check_size(&connect.into())?;
    if let Some(will) = &context.settings.will {
        context.check_size(&will_topic(will).into())?;
        context.check_size(&will_message(will).into())?;
    }
    send(connect, context.out);
    Ok(Phase::Connecting(context.retry()))
}

/// QoS -1: no connection, no registration, no answer (MQTT-SN 1.2 §6.8).
fn publish_without_session(context: &mut Context<'_>, publication: &Publication) -> Result<(), RequestError> {
    let topic = match publication.topic {
        Topic::Predefined(id) => TopicRef::Predefined(id),
        Topic::Short(name) => TopicRef::Short(name),
        Topic::Name(_) => return Err(RequestError::TopicNeedsSession),
    };
    let message = publication.message(topic, MsgId::NONE, false);
    context.check_size(&message.into())?;
    send(message, context.out);
    context.tell(Event::Published);
    Ok(())
}

/// Returns the phase that comes next, if the message ends this one.
///
/// A DISCONNECT is no answer to CONNECT: it answers something sent before, and a CONNACK will come.
fn receive_connecting(context: &mut Context<'_>, message: &Message<'_>) -> Option<Phase> {
    let settings = context.settings;
    if let Message::ConnAck(ConnAck { return_code }) = message {
        if *return_code == ReturnCode::Accepted {
            return Some(start_session(context));
        }
        context.refused(Operation::Connect, *return_code);
        return Some(Phase::Disconnected);
    }
    if let (Message::WillTopicReq(_), Some(will)) = (message, &settings.will) {
        send(will_topic(will), context.out);
    }
    if let (Message::WillMsgReq(_), Some(will)) = (message, &settings.will) {
        send(will_message(will), context.out);
    }
    None
}

fn start_session(context: &mut Context<'_>) -> Phase {
    if context.settings.clean_session {
        context.memory.topic_ids.clear();
        context.memory.unreleased.clear();
    }
    // The gateway may have forgotten the ids; it will say again what its own mean, but not what ours mean.
    context.memory.topic_ids.distrust_all();
    context.tell(Event::Connected);
    Phase::Connected(Session::new(context.now))
}

/// Returns the phase that comes next, if the message ends this one.
fn receive_disconnecting(context: &mut Context<'_>, message: &Message<'_>) -> Option<Phase> {
    if let Message::Disconnect(_) = message {
        context.tell(Event::Disconnected);
        return Some(Phase::Disconnected);
    }
    if let Message::PubAck(PubAck { return_code, .. }) = message
        && *return_code != ReturnCode::Accepted
    {
        // The last publication at QoS 0 may still be refused.
        context.refused(Operation::Publish, *return_code);
    }
    None
}

fn connect_message(settings: &Settings) -> Connect<'_> {
    Connect {
        will: settings.will.is_some(),
        clean_session: settings.clean_session,
        protocol_id: PROTOCOL_ID,
        duration: settings.keep_alive,
        client_id: settings.client_id.as_bytes(),
    }
}

fn will_topic(will: &Will) -> WillTopic<'_> {
    let topic = will.topic.as_str().as_bytes();
    WillTopic { will: Some(WillTopicFields { qos: will.qos.into(), retain: will.retain, topic }) }
}

fn will_message(will: &Will) -> WillMsg<'_> {
    WillMsg { message: &will.message }
}

fn send<'a>(message: impl Into<Message<'a>>, out: &mut Vec<Output>) {
    let mut frame = Vec::new();
    message.into().encode(&mut frame).expect("requests are checked for size, and all other messages are short");
    out.push(Output::Send(frame));
}
