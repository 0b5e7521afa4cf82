//! Every frame in and out in words, at `trace`; where that is off, a frame costs one comparison.

use std::fmt;

use tracing::trace;

use crate::wire::framing::Signal;
use crate::wire::{Envelope, Message};

/// Forwarders that are looked through.
const MAX_NESTING: usize = 2;

pub(super) fn trace_incoming(frame: &[u8], signal: Option<Signal>, from: impl Fn() -> String) {
    match signal {
        None => trace!("<- {} {}", from(), Decoded(frame)),
        Some(signal) => trace!("<- {} ({signal}) {}", from(), Decoded(frame)),
    }
}

pub(super) fn trace_outgoing(frame: &[u8], to: impl Fn() -> String) {
    trace!("-> {} {}", to(), Decoded(frame));
}

/// A frame in words, or what is wrong with it and its octets.
struct Decoded<'a>(&'a [u8]);

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened = Envelope::open(self.0, MAX_NESTING)
            .and_then(|envelope| Ok((Message::decode(envelope.message())?, envelope)));
        match opened {
            Ok((message, envelope)) => {
                envelope.layers().try_for_each(|layer| write!(f, "{layer} "))?;
                write!(f, "{message}")
            }
            Err(error) => write!(f, "{} ({error})", hex::encode(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_shown_in_words_or_in_hexadecimal() {
        assert_eq!(Decoded(&[0x02, 0x17]).to_string(), "PINGRESP");
        assert!(Decoded(&[0x05, 0xFE, 0x01, 0xAA, 0xBB, 0x02, 0x17]).to_string().ends_with(" PINGRESP"));
        assert!(Decoded(&[0x03, 0x17]).to_string().starts_with("0317 ("));
    }
}
