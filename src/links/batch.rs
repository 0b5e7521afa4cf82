//! Many frames in one buffer, so that a frame costs no allocation.

use tokio::sync::mpsc;

use crate::core::{LinkAddress, LinkId, Peer};

/// The frames that one link had ready at one time, in their order. Its memory is used again when it is dropped.
#[derive(Debug)]
pub struct FrameBatch {
    link: LinkId,
    storage: Storage,
    /// Where the memory goes.
    home: Option<mpsc::Sender<Storage>>,
}

impl FrameBatch {
    /// Makes an empty batch whose memory is not used again.
    pub fn new(link: LinkId) -> Self {
        Self { link, storage: Storage::default(), home: None }
    }

    pub fn link(&self) -> LinkId {
        self.link
    }

    pub fn len(&self) -> usize {
        self.storage.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.storage.frames.is_empty()
    }

    /// Appends a frame.
    pub fn push(&mut self, from: LinkAddress, frame: &[u8]) {
        self.storage.octets.extend_from_slice(frame);
        self.end_frame(from);
    }

    /// Returns who sent each frame, and the frame.
    pub fn iter(&self) -> impl Iterator<Item = (Peer, &[u8])> {
        let mut rest = &self.storage.octets[..];
        self.storage.frames.iter().map(move |&(address, length)| {
            let (frame, later) = rest.split_at(length);
            rest = later;
            (Peer { link: self.link, address }, frame)
        })
    }

    /// Octets of all frames together.
    pub(super) fn octets(&self) -> usize {
        self.storage.octets.len()
    }

    /// The buffer, behind the frames that are complete: write the next frame there, then end it.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.storage.octets
    }

    /// Makes a frame of all octets behind the last one.
    pub(super) fn end_frame(&mut self, from: LinkAddress) {
        self.storage.frames.push((from, self.storage.octets.len() - self.storage.ended));
        self.storage.ended = self.storage.octets.len();
    }
}

impl Drop for FrameBatch {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            // Full or closed: there is memory enough, or no link that wants it.
            let _ = home.try_send(std::mem::take(&mut self.storage));
        }
    }
}

/// Makes the batches of one link out of the memory of those that were dropped.
#[derive(Debug)]
pub(super) struct BatchPool {
    link: LinkId,
    returned: mpsc::Receiver<Storage>,
    home: mpsc::Sender<Storage>,
}

impl BatchPool {
    /// Buffers that are kept. More batches than this are rarely on their way at a time.
    const KEPT: usize = 8;

    pub(super) fn new(link: LinkId) -> Self {
        let (home, returned) = mpsc::channel(Self::KEPT);
        Self { link, returned, home }
    }

    pub(super) fn take(&mut self) -> FrameBatch {
        let mut storage = self.returned.try_recv().unwrap_or_default();
        storage.octets.clear();
        storage.frames.clear();
        storage.ended = 0;
        FrameBatch { link: self.link, storage, home: Some(self.home.clone()) }
    }
}

#[derive(Debug, Default)]
struct Storage {
    octets: Vec<u8>,
    /// Who sent each frame, and how long it is.
    frames: Vec<(LinkAddress, usize)>,
    /// Where the last frame ends.
    ended: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(3);

    #[test]
    fn frames_come_out_as_they_went_in() {
        let address = LinkAddress::new(&[1, 2]).unwrap();
        let mut batch = FrameBatch::new(LINK);
        assert!(batch.is_empty());
        batch.push(address, b"one");
        batch.push(LinkAddress::NONE, b"");
        batch.push(address, b"three");
        let frames: Vec<_> = batch.iter().map(|(peer, frame)| (peer.link, peer.address, frame)).collect();
        let expected =
            [(LINK, address, &b"one"[..]), (LINK, LinkAddress::NONE, &b""[..]), (LINK, address, &b"three"[..])];
        assert_eq!(frames, expected);
        assert_eq!(batch.len(), 3);
    }

    #[test]
    fn the_memory_of_a_dropped_batch_is_used_again() {
        let mut pool = BatchPool::new(LINK);
        let mut batch = pool.take();
        batch.push(LinkAddress::NONE, &[7; 1000]);
        let memory = batch.buffer().as_ptr();
        drop(batch);
        let mut batch = pool.take();
        assert!(batch.is_empty());
        assert_eq!(batch.buffer().as_ptr(), memory);
    }
}
