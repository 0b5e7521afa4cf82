//! Records as octets. A change of what is written needs a new number and a way from the old one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::key::Key;
use crate::core::Record;

/// The format of keys and records that this version writes.
pub(super) const FORMAT: u32 = 1;

/// A record that cannot be read. It is left where it is, for a version that can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Unreadable {
    /// What it would have been, as far as its key tells: `session 3`.
    pub what: String,
    pub reason: String,
}

/// Reads a record and checks that it lies where it belongs.
pub(super) fn read_record(key: &Key, value: &[u8]) -> Result<Record, Unreadable> {
    let unreadable = |reason: String| Unreadable { what: key.to_string(), reason };
    let record: Record = decode(value).map_err(unreadable)?;
    let belongs = Key::of(&record.key());
    if belongs != *key {
        return Err(unreadable(format!("it holds {belongs}")));
    }
    Ok(record)
}

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Box<[u8]> {
    postcard::to_stdvec(value).expect("plain values of known length can be encoded").into_boxed_slice()
}

pub(super) fn decode<T: DeserializeOwned>(octets: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(octets) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} octets too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::samples;
    use super::*;

    #[test]
    fn every_kind_of_record_comes_back_as_it_was() {
        for record in samples::every_kind() {
            assert_eq!(read_record(&Key::of(&record.key()), &encode(&record)), Ok(record));
        }
    }

    #[test]
    fn a_record_that_is_cut_short_or_too_long_is_refused() {
        for record in samples::every_kind() {
            let key = Key::of(&record.key());
            let octets = encode(&record);
            for end in 0..octets.len() {
                assert!(read_record(&key, &octets[..end]).is_err(), "{record:?} cut to {end}");
            }
            let longer = [&octets[..], &[0]].concat();
            assert_eq!(read_record(&key, &longer).unwrap_err().reason, "1 octets too many");
        }
    }

    #[test]
    fn a_record_under_the_key_of_another_is_refused() {
        let [one, other] = [1, 2].map(|place| samples::queued(3, place, b"on"));
        let error = read_record(&Key::of(&one.key()), &encode(&other)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "queued message 0000000000000001 of session 3: it holds queued message 0000000000000002 of session 3"
        );
    }

    /// What was written once has to be read for ever. If this fails, [`FORMAT`] needs a new number.
    #[test]
    fn records_on_disk_stay_what_they_are() {
        let octets: Vec<String> = samples::every_kind().iter().map(|record| hex::encode(encode(record))).collect();
        insta::assert_snapshot!(octets.join("\n"));
    }

    proptest! {
        #[test]
        fn no_octets_make_the_reader_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = read_record(&Key::from_octets(&key), &value);
        }
    }
}
