//! What stands between two delimiters, for the framings that have one.

use super::residue::{is_text, report};
use super::{NoiseReason, Sink};

/// The octets since the last delimiter.
#[derive(Debug)]
pub(super) struct Packet {
    content: Vec<u8>,
    /// How many octets there were on the line, which may be more than those of the content.
    octets: usize,
    spoilt: Option<NoiseReason>,
    max_content: usize,
    type_at: usize,
}

impl Packet {
    /// A packet of at most `max_content` octets. In every frame an octet that is no printable character stands at
    /// `type_at`, or before.
    pub(super) fn new(max_content: usize, type_at: usize) -> Self {
        Self { content: Vec::new(), octets: 0, spoilt: None, max_content, type_at }
    }

    /// Counts an octet on the line that is none of the delimiter.
    pub(super) fn count(&mut self) {
        self.octets = self.octets.saturating_add(1);
    }

    /// Takes an octet of the content. A line feed may show that it was a line of text all along.
    pub(super) fn push(&mut self, octet: u8, sink: &mut Sink<'_>) {
        if self.spoilt.is_some() {
            return;
        }
        if self.content.len() == self.max_content {
            return self.spoil(NoiseReason::TooLong);
        }
        self.content.push(octet);
        // There may be no delimiter for long, and then it is that of a frame. The type is looked at by itself because
        // it may well be a white space: 0D is PUBACK.
        if octet == b'\n'
            && self.content.get(self.type_at).is_some_and(|&msg_type| msg_type >= b' ')
            && self.content[..self.content.len() - 1].iter().all(|&octet| is_text(octet))
        {
            self.give_up(NoiseReason::NotAMessage, sink);
        }
    }

    /// Makes the packet noise, whatever follows up to the delimiter.
    pub(super) fn spoil(&mut self, reason: NoiseReason) {
        self.spoilt.get_or_insert(reason);
    }

    pub(super) fn spoilt(&self) -> Option<NoiseReason> {
        self.spoilt
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(super) fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Tells what there was as text or noise, and starts anew.
    pub(super) fn give_up(&mut self, reason: NoiseReason, sink: &mut Sink<'_>) {
        report(&self.content, self.octets, self.spoilt.unwrap_or(reason), sink);
        self.restart();
    }

    pub(super) fn restart(&mut self) {
        self.spoilt = None;
        self.content.clear();
        self.octets = 0;
    }
}
