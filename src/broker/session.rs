//! What is under way in an MQTT session, in both directions, whatever becomes of the TCP connection.

use bytes::Bytes;
use bytestring::ByteString;
use tracing::warn;

use super::failure::Failure;
use super::inbound::{Arrival, Inbound};
use super::outbound::Outbound;
use super::outbox::Outbox;
use crate::core::topics::{TopicError, TopicName};
use crate::core::{BrokerEvent, Message, Origin, PacketId, SubscriptionId};
use crate::mqtt::{Ack, Packet, Publish};
use crate::wire::Qos;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    /// Events for the core, sent as one batch at the end of each turn.
    pub(super) out: Vec<BrokerEvent>,
}

impl Session {
    /// Takes a packet from the broker, and writes what answers it.
    ///
    /// # Errors
    ///
    /// Why the connection cannot go on.
    pub(super) fn on_packet(&mut self, packet: Packet<'_>, outbox: &mut Outbox) -> Result<(), Failure> {
        let Self { outbound, inbound, out } = self;
        match packet {
            Packet::Publish(publish) => {
                self.on_publish(&publish, outbox);
                Ok(())
            }
            Packet::PubAck { packet, reason } => outbound.puback(packet, reason, out),
            Packet::PubRec { packet, reason } => outbound.pubrec(packet, reason, outbox, out),
            Packet::PubComp { packet } => outbound.pubcomp(packet, out),
            Packet::PubRel { packet } => {
                let ack = if inbound.released(packet) { Ack::PubComp } else { Ack::PubCompNotFound };
                outbox.ack(ack, packet);
                Ok(())
            }
            Packet::SubAck { packet, reason } => outbound.suback(packet, reason, out),
            Packet::UnsubAck { packet } => outbound.unsuback(packet),
            Packet::PingResp => Ok(()),
            Packet::Disconnect { reason, text } => Err(Failure::disconnected(reason, text)),
            Packet::ConnAck(_) => Err(Failure::Garbage("a second CONNACK".to_owned())),
        }
    }

    /// Notes that all that was written has gone.
    pub(super) fn flushed(&mut self) {
        self.outbound.flushed(&mut self.out);
    }

    /// Notes that the connection broke.
    pub(super) fn disconnected(&mut self) {
        self.inbound.disconnected();
        self.outbound.disconnected(&mut self.out);
    }

    /// Notes that the broker has no session of ours, or that it is given up.
    pub(super) fn lost(&mut self) {
        self.inbound.forget();
        self.outbound.session_lost(&mut self.out);
    }

    fn on_publish(&mut self, publish: &Publish<'_>, outbox: &mut Outbox) {
        let &Publish { packet, qos, duplicate, .. } = publish;
        let message = match message(publish) {
            Ok(message) => message,
            Err(error) => {
                warn!("the broker sent a message whose topic cannot be used: {error}");
                // Its exchange must end all the same.
                if qos != Qos::AtMostOnce {
                    self.inbound.answer(packet, qos);
                }
                return acknowledge(qos, packet, outbox);
            }
        };
        let delivery = match qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce | Qos::ExactlyOnce => match self.inbound.arrived(packet, qos, duplicate) {
                Arrival::New(delivery) => Some(delivery),
                Arrival::Known => return,
                Arrival::Acknowledge => return acknowledge(qos, packet, outbox),
            },
        };
        let origin = (qos == Qos::ExactlyOnce).then_some(Origin { packet: PacketId(packet), duplicate });
        let subscriptions = publish.subscriptions.iter().copied().map(SubscriptionId).collect();
        self.out.push(BrokerEvent::Message { delivery, origin, message, subscriptions });
    }
}

/// Writes PUBACK or PUBREC.
pub(super) fn acknowledge(qos: Qos, packet: u16, outbox: &mut Outbox) {
    match qos {
        Qos::AtMostOnce => {}
        Qos::AtLeastOnce => outbox.ack(Ack::PubAck, packet),
        Qos::ExactlyOnce => outbox.ack(Ack::PubRec, packet),
    }
}

/// Makes a message of a packet that lies in the read buffer.
fn message(publish: &Publish<'_>) -> Result<Message, TopicError> {
    let topic = ByteString::try_from(publish.topic).map_err(|_| TopicError::NotUtf8)?;
    Ok(Message {
        topic: TopicName::from_shared(topic)?,
        payload: Bytes::copy_from_slice(publish.payload),
        qos: publish.qos,
        retain: publish.retain,
    })
}
