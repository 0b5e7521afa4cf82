//! The frames of `fixtures/mqtt-sn-1.2/frames.tsv`, which independent decoders have read too.

use super::{BodySize, DecodeError, Envelope, Header, HeaderForm, Message};

const TABLE: &str = include_str!("../../fixtures/mqtt-sn-1.2/frames.tsv");

/// One row of the table.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) frame: Vec<u8>,
    valid: bool,
    expected: &'static str,
}

impl Vector {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        TABLE.lines().skip(1).map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [name, hex, valid, expected, _verified_by] = columns[..] else { panic!("five columns: {line}") };
            let octet = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            Self { name, frame: hex.as_bytes().chunks(2).map(octet).collect(), valid: valid == "yes", expected }
        })
    }

    /// The bare messages among the valid rows.
    pub(super) fn bare_messages() -> impl Iterator<Item = Self> {
        Self::all().filter(|vector| vector.valid && Message::decode(&vector.frame).is_ok())
    }

    /// Splits the expected text: what the frame says, and the label of the objection to it.
    fn reading(&self) -> (&'static str, Option<&'static str>) {
        match self.expected.split_once(" !") {
            Some((reading, label)) => (reading, Some(label)),
            None => (self.expected, None),
        }
    }

    /// Returns why the frame must be refused, if so.
    fn refusal(&self) -> Option<&'static str> {
        // The table leaves the empty node id to the reader's taste; MQTT-SN 1.2 §5.5 gives it no meaning.
        let (_, label) = self.reading();
        label.filter(|&label| label == "empty-node-id").or_else(|| self.expected.strip_prefix("MALFORMED "))
    }
}

#[test]
fn every_readable_frame_says_what_the_table_says() {
    for vector in Vector::all().filter(|vector| vector.refusal().is_none()) {
        let envelope = Envelope::open(&vector.frame, 1).unwrap();
        let (reading, label) = vector.reading();
        assert_eq!(envelope.to_string(), reading, "{}", vector.name);
        let objection = Message::decode(envelope.message()).unwrap().objection().or_else(|| envelope.objection());
        assert_eq!(objection.map(|objection| objection.label()), label, "{}", vector.name);
        assert_eq!(vector.valid, objection.is_none(), "{}", vector.name);
    }
}

#[test]
fn every_malformed_frame_is_refused_for_the_reason_in_the_table() {
    let mut rows = 0;
    for vector in Vector::all() {
        let Some(reason) = vector.refusal() else { continue };
        let error = Envelope::open(&vector.frame, 1)
            .and_then(|envelope| Message::decode(envelope.message()))
            .expect_err(vector.name);
        assert_eq!(in_the_words_of_the_table(error), reason, "{}", vector.name);
        rows += 1;
    }
    assert_eq!(rows, 46);
}

#[test]
fn every_valid_frame_encodes_back_to_its_octets() {
    for vector in Vector::all().filter(|vector| vector.valid) {
        let envelope = Envelope::open(&vector.frame, 1).unwrap();
        let message = Message::decode(envelope.message()).unwrap();
        let mut encoded = Vec::new();
        message.encode(&mut encoded).unwrap();
        assert_eq!(encoded.len(), message.encoded_len(), "{}", vector.name);
        assert_eq!(encoded, canonical(vector.name, envelope.message()), "{}", vector.name);

        let mut wrapper = Vec::new();
        for layer in envelope.layers() {
            Envelope::wrap(layer.node_id, layer.radius(), &mut wrapper).unwrap();
        }
        assert_eq!(wrapper, envelope.wrapper(), "{}", vector.name);
    }
}

/// Returns the octets we send for a message: the short header where it can serve, unused flags 0.
fn canonical(name: &str, frame: &[u8]) -> Vec<u8> {
    let (header, body) = Header::read(frame).unwrap();
    let mut octets = match (header.form, u8::try_from(HeaderForm::Short.octets() + body.len())) {
        (HeaderForm::Long, Ok(length)) => [&[length, header.type_code], body].concat(),
        (HeaderForm::Long, Err(_)) | (HeaderForm::Short, _) => frame.to_vec(),
    };
    if name == "connect_unused_flags_set" {
        octets[2] = 0x04;
    }
    octets
}

fn in_the_words_of_the_table(error: DecodeError) -> String {
    match error {
        DecodeError::TooShort { .. } => "shorter than 2 octets".into(),
        DecodeError::LongHeaderTruncated { .. } => "long header truncated".into(),
        DecodeError::LengthTooSmall { stated, least: 4 } => format!("Length {stated} below 4 in long form"),
        DecodeError::LengthTooSmall { stated, least } => format!("Length {stated} below {least}"),
        DecodeError::LengthMismatch { stated, found } => format!("Length {stated} != datagram {found}"),
        DecodeError::ReservedType { code } => format!("reserved type 0x{code:02x}"),
        DecodeError::BodySize { found, wanted, .. } => match wanted {
            BodySize::Exactly(size) => format!("body {found} octets, want {size}"),
            BodySize::AtLeast(size) => format!("body {found} octets, want >={size}"),
            BodySize::ZeroOr(size) => format!("body {found} octets, want 0 or {size}"),
        },
        DecodeError::TopicFieldSize { found, .. } => format!("topic field {found} octets, want 2"),
        DecodeError::ReservedTopicIdType { .. } => "reserved topic id type 3".into(),
        DecodeError::EnvelopeTruncated { stated, found } => format!("Length {stated} > datagram {found}"),
        DecodeError::EmptyNodeId => "empty-node-id".into(),
        DecodeError::EmptyEnvelope => "no encapsulated message".into(),
        DecodeError::NestedTooDeep { .. } => "nested encapsulation".into(),
        DecodeError::Encapsulated | DecodeError::EnvelopeTooShort { .. } => format!("not in the table: {error}"),
    }
}
