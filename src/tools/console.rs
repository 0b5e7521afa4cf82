//! What a tool says on stderr: its troubles, and with `--debug` every frame.

use std::fmt::Display;
use std::io::{self, Write};

use crate::wire::Message;

/// stderr, as loud as the options want it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Console {
    pub(super) quiet: bool,
    pub(super) debug: bool,
}

impl Console {
    /// Says what went wrong.
    pub(super) fn error(&self, error: impl Display) {
        self.say(format_args!("Error: {error}"));
    }

    /// Says what goes on.
    pub(super) fn say(&self, text: impl Display) {
        if !self.quiet {
            write_line(text);
        }
    }

    /// Shows a frame that was sent.
    pub(super) fn sent(&self, frame: &[u8]) {
        self.frame("->", frame);
    }

    /// Shows a frame that was received.
    pub(super) fn received(&self, frame: &[u8]) {
        self.frame("<-", frame);
    }

    /// Shows what else came over a serial line.
    pub(super) fn chatter(&self, words: &str) {
        if self.debug {
            write_line(format_args!("<- {words}"));
        }
    }

    fn frame(&self, arrow: &str, frame: &[u8]) {
        if !self.debug {
            return;
        }
        match Message::decode(frame) {
            Ok(message) => write_line(format_args!("{arrow} {message}")),
            Err(error) => write_line(format_args!("{arrow} {}: {error}", hex::encode(frame))),
        }
    }
}

/// There is nobody left to tell that stderr is closed.
fn write_line(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
