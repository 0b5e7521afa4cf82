//! Every limit holds, no deadline lies in the past, and every frame is one that a gateway may send there.

use std::collections::BTreeSet;

use super::super::net::Place;
use super::super::step::{Cause, Effect, Step};
use super::Violation;
use crate::core::{ClientStatus, Gateway, Settings};
use crate::wire::{Message, MsgType};

#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Whoever has said something readable may be answered.
    heard: BTreeSet<Place>,
}

impl Bounds {
    pub(super) fn watch(
        &mut self,
        step: &Step,
        gateway: Option<&Gateway>,
        settings: &Settings,
    ) -> Result<(), Violation> {
        if let Some(deadline) = gateway.and_then(Gateway::next_deadline).filter(|deadline| *deadline <= step.now) {
            return Err(Violation(format!("the next deadline, {deadline:?}, is not after {:?}", step.now)));
        }
        if let Cause::Frame { from, .. } = &step.cause
            && !self.heard.contains(from)
        {
            self.heard.insert(from.clone());
        }
        for effect in &step.effects {
            if let Effect::Sent { to, octets } = effect {
                self.watch_frame(to, octets, settings)?;
            }
        }
        let mut clients = 0;
        for status in gateway.into_iter().flat_map(Gateway::clients) {
            clients += 1;
            watch_client(&status, settings)?;
        }
        check("clients", clients, settings.limits.clients)
    }

    fn watch_frame(&self, to: &Place, octets: &[u8], settings: &Settings) -> Result<(), Violation> {
        let message = Message::decode(octets).map_err(|error| Violation(format!("an unreadable frame: {error}")))?;
        if !self.heard.contains(to) {
            return Err(Violation(format!("{message} goes to a place that was never heard")));
        }
        if !is_for_clients(message.msg_type()) {
            return Err(Violation(format!("{message} is not for a gateway to send")));
        }
        // Answers echo what they answer, however odd; what the gateway says of its own accord is sound.
        if let Message::Register(_) | Message::Publish(_) = message
            && let Some(objection) = message.objection()
        {
            return Err(Violation(format!("{message}: {objection}")));
        }
        let limit = settings.links.get(&to.peer.link).copied().unwrap_or_default().max_frame;
        check("octets in a frame", to.wrap(octets).len(), limit)
    }
}

fn watch_client(status: &ClientStatus<'_>, settings: &Settings) -> Result<(), Violation> {
    let limits = &settings.limits;
    check("topics of a client", status.topics, limits.topics_per_client)?;
    check("subscriptions of a client", status.subscriptions, limits.subscriptions_per_client)?;
    check("publishes of a client", status.publishes, limits.publishes_per_client)?;
    // One is in flight, and one may have come back from there to the head of the queue.
    check("messages for a client", status.queued, limits.queued_messages_per_client + 2)
}

fn is_for_clients(msg_type: MsgType) -> bool {
    match msg_type {
        MsgType::Advertise
        | MsgType::GwInfo
        | MsgType::ConnAck
        | MsgType::WillTopicReq
        | MsgType::WillMsgReq
        | MsgType::Register
        | MsgType::RegAck
        | MsgType::Publish
        | MsgType::PubAck
        | MsgType::PubComp
        | MsgType::PubRec
        | MsgType::PubRel
        | MsgType::SubAck
        | MsgType::UnsubAck
        | MsgType::PingReq
        | MsgType::PingResp
        | MsgType::Disconnect
        | MsgType::WillTopicResp
        | MsgType::WillMsgResp => true,
        MsgType::SearchGw
        | MsgType::Connect
        | MsgType::WillTopic
        | MsgType::WillMsg
        | MsgType::Subscribe
        | MsgType::Unsubscribe
        | MsgType::WillTopicUpd
        | MsgType::WillMsgUpd => false,
    }
}

fn check(what: &str, found: usize, limit: usize) -> Result<(), Violation> {
    if found <= limit { Ok(()) } else { Err(Violation(format!("{found} {what}; the limit is {limit}"))) }
}
