//! Frames on their way out: one buffer for all, used again, so that a frame costs no allocation.

use std::ops::Range;

use super::stamp::Stamp;
use crate::wire::{Message, Publish};

/// Frames in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    octets: Vec<u8>,
    frames: Vec<(u32, Range<usize>)>,
    payload: Vec<u8>,
}

impl Outbox {
    /// Appends a frame of one device.
    pub(super) fn send(&mut self, device: u32, message: &Message<'_>) {
        let start = self.octets.len();
        message.encode(&mut self.octets).expect("payloads and names are far shorter than MQTT-SN's 65,535 octets");
        self.frames.push((device, start..self.octets.len()));
    }

    /// Appends a PUBLISH with a stamped payload of so many octets.
    pub(super) fn publish(&mut self, device: u32, size: usize, stamp: &Stamp, with: impl FnOnce(&[u8]) -> Publish<'_>) {
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(size, 0);
        stamp.write(&mut payload);
        self.send(device, &with(&payload).into());
        self.payload = payload;
    }

    /// Returns the frames and the devices that send them, in order.
    pub(super) fn frames(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.frames.iter().map(|(device, frame)| (*device, &self.octets[frame.clone()]))
    }

    /// Forgets the frames and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.frames.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Instant;
    use crate::wire::{MsgId, PingReq, Qos, TopicId, TopicRef};

    #[test]
    fn frames_come_out_in_order_with_their_devices() {
        let mut out = Outbox::default();
        let stamp = Stamp { run: 7, device: 2, sequence: 3, due: Instant::ORIGIN };
        out.send(1, &PingReq { client_id: b"a" }.into());
        out.publish(2, 32, &stamp, |data| Publish {
            dup: false,
            qos: Qos::AtLeastOnce.into(),
            retain: false,
            topic: TopicRef::Normal(TopicId(5)),
            msg_id: MsgId(6),
            data,
        });
        let frames: Vec<_> = out.frames().collect();
        assert_eq!(frames[0], (1, &[3, 0x16, b'a'][..]));
        let (device, publish) = frames[1];
        let Ok(Message::Publish(publish)) = Message::decode(publish) else { panic!("{publish:02x?}") };
        assert_eq!((device, publish.data.len(), Stamp::read(publish.data)), (2, 32, Some(stamp)));

        out.clear();
        assert_eq!(out.frames().count(), 0);
    }
}
