//! Forwarder encapsulation (MQTT-SN 1.2 §5.5): a frame inside a wrapper that names the node it came from.

use super::header::LONG_FORM;
use super::{DecodeError, EncodeError, Objection};

/// The MsgType of an encapsulated message.
pub(super) const ENCAPSULATED: u8 = 0xFE;

/// Octets of a wrapper before the node id: Length, MsgType, Ctrl.
const HEADER: usize = 3;
/// The bits of Ctrl that carry the radius; the others are reserved.
const RADIUS: u8 = 0x03;

/// A frame, opened: the wrappers that forwarders put around it, and the message inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    wrapper: &'a [u8],
    message: &'a [u8],
}

/// The wrapper of one forwarder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer<'a> {
    /// The octet as it came, reserved bits included.
    pub ctrl: u8,
    /// The forwarder's name for the node: 1 to 252 opaque octets.
    pub node_id: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes up to `max_nesting` wrappers off a frame. A bare frame has none; the message inside is not looked at.
    ///
    /// The protocol knows one wrapper; more than one is a forwarder behind a forwarder.
    pub fn open(bytes: &'a [u8], max_nesting: usize) -> Result<Self, DecodeError> {
        let mut message = bytes;
        for _ in 0..max_nesting {
            match split_layer(message)? {
                Some((_, inner)) => message = inner,
                None => break,
            }
        }
        if is_encapsulated(message) {
            return Err(DecodeError::NestedTooDeep { max: max_nesting });
        }
        let (wrapper, message) = bytes.split_at(bytes.len() - message.len());
        Ok(Self { wrapper, message })
    }

    /// Returns the octets of the message inside, for [`Message::decode`](super::Message::decode).
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Returns the octets of the wrappers; none around a bare frame.
    pub fn wrapper(&self) -> &'a [u8] {
        self.wrapper
    }

    /// Returns the wrappers, the outermost first.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'a>> + use<'a> {
        let mut rest = self.wrapper;
        std::iter::from_fn(move || {
            let (layer, inner) = split_wrapper(rest)?;
            rest = inner;
            Some(layer)
        })
    }

    /// Returns the broadcast radius that the outermost wrapper asks of its forwarder; 0 is the whole network.
    pub fn radius(&self) -> u8 {
        self.layers().next().map_or(0, |layer| layer.radius())
    }

    /// Appends the wrappers of an answer: the same nodes, nested in the same way, Ctrl 0.
    ///
    /// The octets are the same for every frame from one node, so that they can serve as its name.
    pub fn reply_wrapper(&self, out: &mut Vec<u8>) {
        for Layer { node_id, .. } in self.layers() {
            write_layer(node_id, 0, out);
        }
    }

    /// Appends the wrapper of a frame for, or from, one node; the message must follow. Radii over 3 become 3.
    pub fn wrap(node_id: &[u8], radius: u8, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if node_id.is_empty() || node_id.len() > usize::from(u8::MAX) - HEADER {
            return Err(EncodeError::NodeIdSize { found: node_id.len() });
        }
        write_layer(node_id, radius.min(RADIUS), out);
        Ok(())
    }

    /// Returns what the wrappers say that MQTT-SN 1.2 forbids.
    pub fn objection(&self) -> Option<Objection> {
        let mut ctrls = self.layers().map(|layer| layer.ctrl);
        ctrls.find(|ctrl| ctrl & !RADIUS != 0).map(|ctrl| Objection::CtrlReservedBits { ctrl })
    }
}

impl Layer<'_> {
    /// Returns the broadcast radius, 0 to 3; 0 is the whole network.
    pub fn radius(&self) -> u8 {
        self.ctrl & RADIUS
    }

    /// Returns the wrapper's octets, which its Length counts.
    #[expect(clippy::len_without_is_empty, reason = "a size on the wire; a wrapper is never empty")]
    pub fn len(&self) -> usize {
        HEADER + self.node_id.len()
    }
}

/// Behind 01 stands the Length of a long header, which may well contain an FE.
fn is_encapsulated(frame: &[u8]) -> bool {
    matches!(frame, [length, ENCAPSULATED, ..] if *length != LONG_FORM)
}

/// Splits a frame into its wrapper and what is inside, or returns `None` if it has no wrapper.
fn split_layer(frame: &[u8]) -> Result<Option<(Layer<'_>, &[u8])>, DecodeError> {
    if !is_encapsulated(frame) {
        return Ok(None);
    }
    let stated = frame.first().copied().map_or(0, usize::from);
    if stated < HEADER {
        return Err(DecodeError::EnvelopeTooShort { stated });
    }
    if stated == HEADER {
        return Err(DecodeError::EmptyNodeId);
    }
    let Some((layer, inner)) = split_wrapper(frame) else {
        return Err(DecodeError::EnvelopeTruncated { stated, found: frame.len() });
    };
    if inner.is_empty() {
        return Err(DecodeError::EmptyEnvelope);
    }
    Ok(Some((layer, inner)))
}

/// Splits by Length alone.
fn split_wrapper(octets: &[u8]) -> Option<(Layer<'_>, &[u8])> {
    let (wrapper, inner) = octets.split_at_checked(usize::from(*octets.first()?))?;
    match wrapper {
        [_, ENCAPSULATED, ctrl, node_id @ ..] => Some((Layer { ctrl: *ctrl, node_id }, inner)),
        _ => None,
    }
}

fn write_layer(node_id: &[u8], ctrl: u8, out: &mut Vec<u8>) {
    let length = u8::try_from(HEADER + node_id.len()).expect("its size was checked, or it came out of a wrapper");
    out.extend_from_slice(&[length, ENCAPSULATED, ctrl]);
    out.extend_from_slice(node_id);
}
