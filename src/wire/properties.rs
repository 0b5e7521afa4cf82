//! What holds for all frames, not only for those in the table of vectors.

use proptest::prelude::*;

use super::vectors::Vector;
use super::{DecodeError, Envelope, Header, HeaderForm, Message, MsgType};

#[test]
fn the_vectors_have_every_type_of_message() {
    let mut types: Vec<MsgType> =
        Vector::bare_messages().map(|vector| Message::decode(&vector.frame).unwrap().msg_type()).collect();
    types.sort();
    types.dedup();
    assert_eq!(types, MsgType::ALL);
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    for vector in Vector::all().filter(|vector| Message::decode(&vector.frame).is_ok()) {
        for end in 0..vector.frame.len() {
            assert!(Message::decode(&vector.frame[..end]).is_err(), "{} cut after {end}", vector.name);
        }
    }
}

#[test]
fn a_frame_with_an_octet_behind_it_is_refused() {
    for mut vector in Vector::bare_messages() {
        let stated = vector.frame.len();
        vector.frame.push(0);
        let error = DecodeError::LengthMismatch { stated, found: stated + 1 };
        assert_eq!(Message::decode(&vector.frame), Err(error), "{}", vector.name);
    }
}

#[test]
fn a_body_of_a_size_its_type_does_not_have_is_refused() {
    for &msg_type in MsgType::ALL {
        for octets in 0..20 {
            let frame = frame(HeaderForm::Short, msg_type.code(), &vec![0; octets]);
            let wanted = msg_type.body_size();
            let size_is_refused =
                Message::decode(&frame) == Err(DecodeError::BodySize { msg_type, found: octets, wanted });
            assert_eq!(size_is_refused, !wanted.admits(octets), "{msg_type} with {octets} octets");
        }
    }
}

#[test]
fn a_body_cut_anywhere_is_refused_or_a_shorter_message() {
    for vector in Vector::bare_messages() {
        let (header, body) = Header::read(&vector.frame).unwrap();
        for end in 0..body.len() {
            check(&frame(header.form, header.type_code, &body[..end]));
        }
    }
}

proptest! {
    #[test]
    fn no_input_panics(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&octets);
    }

    #[test]
    fn no_body_panics_and_what_is_read_is_written_to_the_same(
        (form, code, body) in a_frame(),
        node_ids in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=252), 0..3),
        radius in any::<u8>(),
    ) {
        let mut octets = Vec::new();
        for node_id in &node_ids {
            Envelope::wrap(node_id, radius, &mut octets).unwrap();
        }
        octets.extend(frame(form, code, &body));
        check(&octets);
    }

    #[test]
    fn no_damaged_frame_panics(
        index in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let vectors: Vec<Vector> = Vector::all().collect();
        let mut octets = index.get(&vectors).frame.clone();
        for (index, octet) in damage {
            *index.get_mut(&mut octets) = octet;
        }
        check(&octets);
    }
}

prop_compose! {
    /// A header that agrees with its body, and a body that may be nonsense.
    fn a_frame()(
        form in prop_oneof![Just(HeaderForm::Short), Just(HeaderForm::Long)],
        code in prop_oneof![
            9 => prop::sample::select(MsgType::ALL).prop_map(MsgType::code),
            1 => any::<u8>(),
        ],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..10),
            prop::collection::vec(any::<u8>(), 0..400),
        ],
    ) -> (HeaderForm, u8, Vec<u8>) {
        (form, code, body)
    }
}

/// Builds a frame with the header wanted, or the long one where the short one cannot serve.
fn frame(form: HeaderForm, code: u8, body: &[u8]) -> Vec<u8> {
    match (form, u8::try_from(HeaderForm::Short.octets() + body.len())) {
        (HeaderForm::Short, Ok(length)) => [&[length, code], body].concat(),
        (HeaderForm::Short, Err(_)) | (HeaderForm::Long, _) => {
            let length = u16::try_from(HeaderForm::Long.octets() + body.len()).unwrap();
            let [high, low] = length.to_be_bytes();
            [&[0x01, high, low, code], body].concat()
        }
    }
}

/// Does with a frame all that can be done with it.
fn check(octets: &[u8]) {
    for max_nesting in 0..3 {
        let Ok(envelope) = Envelope::open(octets, max_nesting) else { continue };
        assert!(envelope.layers().count() <= max_nesting);
        assert_eq!([envelope.wrapper(), envelope.message()].concat(), octets);
        assert!(!envelope.to_string().contains(char::is_control));
        let mut reply = Vec::new();
        envelope.reply_wrapper(&mut reply);
        assert_eq!(reply.len(), envelope.wrapper().len());
        check_message(envelope.message());
    }
    check_message(octets);
}

fn check_message(octets: &[u8]) {
    let message = match Message::decode(octets) {
        Ok(message) => message,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.label().is_empty());
            return;
        }
    };
    if let Some(objection) = message.objection() {
        assert!(!objection.to_string().is_empty() && !objection.label().is_empty());
    }
    let mut encoded = Vec::new();
    message.encode(&mut encoded).unwrap();
    assert_eq!(encoded.len(), message.encoded_len());
    assert!(encoded.len() <= octets.len());
    assert_eq!(Message::decode(&encoded), Ok(message));
}
