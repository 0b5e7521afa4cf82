//! Many frames in one buffer, so that a frame costs no allocation.

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::{Cast, LinkAddress, LinkId, Peer};
use crate::wire::framing::Signal;

/// The frames that one link had ready at one time, in their order. Its memory is used again when it is dropped.
#[derive(Debug)]
pub struct FrameBatch {
    link: LinkId,
    storage: Storage,
    /// Where the memory goes.
    home: Option<Home>,
}

/// One frame of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub from: Peer,
    pub cast: Cast,
    /// How well the radio heard it, where there is one that says so.
    pub signal: Option<Signal>,
    pub bytes: &'a [u8],
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
    pub fn push(&mut self, from: LinkAddress, cast: Cast, frame: &[u8]) {
        self.push_from_radio(from, cast, None, frame);
    }

    /// Appends a frame that came with the strength of its signal.
    pub fn push_from_radio(&mut self, from: LinkAddress, cast: Cast, signal: Option<Signal>, frame: &[u8]) {
        self.storage.octets.extend_from_slice(frame);
        self.end(from, cast, signal);
    }

    /// Returns the frames in their order.
    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = &self.storage.octets[..];
        self.storage.frames.iter().map(move |&Extent { from, cast, signal, length }| {
            let (bytes, later) = rest.split_at(length);
            rest = later;
            Frame { from: Peer { link: self.link, address: from }, cast, signal, bytes }
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
    pub(super) fn end_frame(&mut self, from: LinkAddress, cast: Cast) {
        self.end(from, cast, None);
    }

    fn end(&mut self, from: LinkAddress, cast: Cast, signal: Option<Signal>) {
        self.storage.frames.push(Extent { from, cast, signal, length: self.storage.octets.len() - self.storage.ended });
        self.storage.ended = self.storage.octets.len();
    }
}

impl Drop for FrameBatch {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::take(&mut self.storage));
        }
    }
}

/// Makes the batches of one link out of the memory of those that were dropped.
#[derive(Debug)]
pub(super) struct BatchPool {
    link: LinkId,
    home: Home,
}

impl BatchPool {
    pub(super) fn new(link: LinkId) -> Self {
        Self { link, home: Home::default() }
    }

    pub(super) fn take(&self) -> FrameBatch {
        let storage = self.home.take().unwrap_or_default();
        FrameBatch { link: self.link, storage, home: Some(self.home.clone()) }
    }
}

/// The memory of batches that is not in use.
#[derive(Clone, Debug, Default)]
struct Home(Arc<Mutex<Vec<Storage>>>);

impl Home {
    /// Buffers that are kept. More batches than this are rarely on their way at a time.
    const KEPT: usize = 8;

    fn take(&self) -> Option<Storage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, mut storage: Storage) {
        storage.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(storage);
        }
    }
}

#[derive(Debug, Default)]
struct Storage {
    octets: Vec<u8>,
    frames: Vec<Extent>,
    /// Where the last frame ends.
    ended: usize,
}

impl Storage {
    /// Forgets the frames and keeps the memory.
    fn clear(&mut self) {
        self.octets.clear();
        self.frames.clear();
        self.ended = 0;
    }
}

/// Who sent a frame to whom, and how long it is.
#[derive(Clone, Copy, Debug)]
struct Extent {
    from: LinkAddress,
    cast: Cast,
    signal: Option<Signal>,
    length: usize,
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
        batch.push(address, Cast::Unicast, b"one");
        batch.push(LinkAddress::NONE, Cast::Group, b"");
        let signal = Some(Signal { rssi_dbm: -66, lqi: None });
        batch.push_from_radio(address, Cast::Group, signal, b"three");
        let frame = |address, cast, signal, bytes| Frame { from: Peer { link: LINK, address }, cast, signal, bytes };
        let expected = [
            frame(address, Cast::Unicast, None, &b"one"[..]),
            frame(LinkAddress::NONE, Cast::Group, None, b""),
            frame(address, Cast::Group, signal, b"three"),
        ];
        assert_eq!(batch.iter().collect::<Vec<_>>(), expected);
        assert_eq!(batch.len(), 3);
    }

    #[test]
    fn the_memory_of_a_dropped_batch_is_used_again() {
        let pool = BatchPool::new(LINK);
        let mut batch = pool.take();
        batch.push(LinkAddress::NONE, Cast::Unicast, &[7; 1000]);
        let memory = batch.buffer().as_ptr();
        drop(batch);
        let mut batch = pool.take();
        assert!(batch.is_empty());
        assert_eq!(batch.buffer().as_ptr(), memory);
    }
}
