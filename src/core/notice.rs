//! What a person should know, as values; the shell puts them into words.

use bytestring::ByteString;

use super::Peer;
use crate::wire::DecodeError;

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    ClientConnected {
        client_id: ByteString,
        peer: Peer,
    },
    /// A frame that is not MQTT-SN, or not as MQTT-SN 1.2 has it.
    Malformed {
        peer: Peer,
        error: DecodeError,
    },
}
