//! What waits to be written on a connection: packets, one behind the other, for one write.

use std::time::Duration;

use super::purpose::whole_seconds;
use crate::core::topics::TopicFilter;
use crate::core::{Message, SubscriptionId};
use crate::mqtt::{self, Ack, PacketError, Publish, Version};
use crate::wire::Qos;

/// A buffer of up to so many octets is kept when it is empty, whatever it was used for last.
const KEPT_AT_LEAST: usize = 256;

#[derive(Debug)]
pub(super) struct Outbox {
    version: Version,
    octets: Vec<u8>,
    /// How many of them have gone.
    gone: usize,
}

impl Outbox {
    pub(super) fn new(version: Version) -> Self {
        Self { version, octets: Vec::new(), gone: 0 }
    }

    /// What has yet to be written.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.octets[self.gone..]
    }

    /// Notes that so many octets have gone.
    ///
    /// What is over is dropped when it is most of the buffer, so that each octet is moved once at most. An empty buffer
    /// that was hardly used is given back: the next burst makes it large again, and most connections are quiet.
    pub(super) fn written(&mut self, octets: usize) {
        self.gone += octets;
        if self.gone == self.octets.len() {
            self.octets.clear();
            let used = std::mem::take(&mut self.gone);
            if self.octets.capacity() > KEPT_AT_LEAST.max(4 * used) {
                self.octets.shrink_to(2 * used);
            }
        } else if self.gone > self.octets.len() / 2 {
            self.octets.drain(..std::mem::take(&mut self.gone));
        }
    }

    /// `expires_in` goes along where the version can carry it.
    pub(super) fn publish(&mut self, packet: u16, duplicate: bool, message: &Message, expires_in: Option<Duration>) {
        let publish = Publish {
            duplicate,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic.as_str().as_bytes(),
            packet,
            payload: &message.payload,
            // 0 would be never to send it (MQTT 5 §3.3.2.3.3).
            expires_in: expires_in.map(|time| whole_seconds(time).max(1)),
            subscriptions: Vec::new(),
        };
        publish.write(self.version, &mut self.octets);
    }

    pub(super) fn ack(&mut self, ack: Ack, packet: u16) {
        ack.write(self.version, packet, &mut self.octets);
    }

    pub(super) fn subscribe(
        &mut self,
        packet: u16,
        filter: &TopicFilter,
        qos: Qos,
        id: Option<SubscriptionId>,
    ) -> Result<(), PacketError> {
        let id = id.map(|SubscriptionId(number)| number);
        mqtt::write_subscribe(self.version, packet, filter.as_str(), qos, id, &mut self.octets)
    }

    pub(super) fn unsubscribe(&mut self, packet: u16, filter: &TopicFilter) -> Result<(), PacketError> {
        mqtt::write_unsubscribe(self.version, packet, filter.as_str(), &mut self.octets)
    }

    pub(super) fn ping(&mut self) {
        mqtt::write_pingreq(&mut self.octets);
    }

    pub(super) fn disconnect(&mut self, session_expiry: Option<u32>) {
        mqtt::write_disconnect(self.version, session_expiry, &mut self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_parts_is_gone_and_the_rest_stays_in_order() {
        let mut outbox = Outbox::new(Version::V311);
        (1..=3).for_each(|packet| outbox.ack(Ack::PubAck, packet));
        outbox.written(3);
        outbox.written(7);
        outbox.ack(Ack::PubAck, 4);
        assert_eq!(outbox.waiting(), [0, 3, 0x40, 2, 0, 4]);
    }

    #[test]
    fn a_large_buffer_is_given_back_when_little_is_written() {
        let mut outbox = Outbox::new(Version::V311);
        (0..10_000).for_each(|_| outbox.ping());
        outbox.written(20_000);
        assert!(outbox.octets.capacity() >= 20_000, "a busy connection keeps it");
        outbox.ping();
        outbox.written(2);
        assert!(outbox.octets.capacity() <= KEPT_AT_LEAST);
    }
}
