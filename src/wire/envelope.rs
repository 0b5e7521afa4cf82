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
        if self.layers().nth(1).is_some() {
            return Some(Objection::NestedEncapsulation);
        }
        let Layer { ctrl, .. } = self.layers().next()?;
        (ctrl & !RADIUS != 0).then_some(Objection::CtrlReservedBits { ctrl })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One PINGREQ behind two forwarders; the reserved bits of both Ctrl octets are set.
    const NESTED: &[u8] = &[4, 0xFE, 0x83, 0xAA, 5, 0xFE, 0x42, 0xBB, 0xCC, 2, 0x16];

    #[test]
    fn a_bare_frame_has_an_empty_wrapper() {
        let envelope = Envelope::open(&[2, 0x16], 1).unwrap();
        assert_eq!((envelope.wrapper(), envelope.message()), (&[][..], &[2, 0x16][..]));
        assert_eq!((envelope.layers().count(), envelope.radius()), (0, 0));
        let mut reply = Vec::new();
        envelope.reply_wrapper(&mut reply);
        assert!(reply.is_empty());
    }

    #[test]
    fn the_fe_in_a_long_length_is_no_encapsulation() {
        let frame = [&[0x01, 0xFE, 0x00, 0x09], &[0; 0xFDFC][..]].concat();
        assert_eq!(Envelope::open(&frame, 1).unwrap().message(), frame);
    }

    #[test]
    fn nesting_is_allowed_as_deep_as_the_caller_says() {
        assert_eq!(Envelope::open(NESTED, 0), Err(DecodeError::NestedTooDeep { max: 0 }));
        assert_eq!(Envelope::open(NESTED, 1), Err(DecodeError::NestedTooDeep { max: 1 }));
        let envelope = Envelope::open(NESTED, 2).unwrap();
        assert_eq!(envelope.message(), [2, 0x16]);
        assert_eq!(envelope.radius(), 3);
        let node_ids: Vec<_> = envelope.layers().map(|layer| layer.node_id).collect();
        assert_eq!(node_ids, [&[0xAA][..], &[0xBB, 0xCC]]);
        assert_eq!(envelope.objection(), Some(Objection::NestedEncapsulation));
    }

    #[test]
    fn an_answer_goes_back_through_the_same_nodes() {
        let mut reply = Vec::new();
        Envelope::open(NESTED, 2).unwrap().reply_wrapper(&mut reply);
        assert_eq!(reply, [4, 0xFE, 0, 0xAA, 5, 0xFE, 0, 0xBB, 0xCC]);
    }

    #[test]
    fn a_node_id_of_any_length_goes_round() {
        for octets in 1..=252 {
            let node_id = vec![0x5A; octets];
            let mut frame = Vec::new();
            Envelope::wrap(&node_id, 2, &mut frame).unwrap();
            frame.extend([2, 0x17]);
            let envelope = Envelope::open(&frame, 1).unwrap();
            let layer = envelope.layers().next().unwrap();
            assert_eq!((layer.node_id, layer.radius(), layer.len()), (&node_id[..], 2, 3 + octets));
        }
    }

    #[test]
    fn what_cannot_be_wrapped_is_refused_and_nothing_is_written() {
        let mut out = Vec::new();
        assert_eq!(Envelope::wrap(&[], 0, &mut out), Err(EncodeError::NodeIdSize { found: 0 }));
        assert_eq!(Envelope::wrap(&[0; 253], 0, &mut out), Err(EncodeError::NodeIdSize { found: 253 }));
        assert!(out.is_empty());
    }

    #[test]
    fn a_radius_beyond_two_bits_becomes_the_widest() {
        let mut out = Vec::new();
        Envelope::wrap(&[1], 200, &mut out).unwrap();
        assert_eq!(out, [4, 0xFE, 3, 1]);
    }

    #[test]
    fn a_broken_wrapper_is_refused() {
        for (frame, error) in [
            (&[0, 0xFE][..], DecodeError::EnvelopeTooShort { stated: 0 }),
            (&[2, 0xFE], DecodeError::EnvelopeTooShort { stated: 2 }),
            (&[3, 0xFE, 0, 2, 0x16], DecodeError::EmptyNodeId),
            (&[5, 0xFE, 0, 1], DecodeError::EnvelopeTruncated { stated: 5, found: 4 }),
            (&[4, 0xFE, 0, 1], DecodeError::EmptyEnvelope),
            (&[4, 0xFE, 0, 1, 4, 0xFE, 0, 1], DecodeError::EmptyEnvelope),
        ] {
            assert_eq!(Envelope::open(frame, 2), Err(error), "{frame:02x?}");
        }
    }
}
