//! What `sub` prints of what it receives.

use std::io::{self, Write};

use jiff::Zoned;

use super::client::{Delivery, Topic};
use super::console::Console;
use super::format::{Format, PrintError, Received};
use crate::core::topics::{TopicFilter, TopicName};
use crate::wire::TopicId;

/// What is printed of each message.
#[derive(Clone, Debug)]
pub(super) enum Style {
    Payload,
    TopicAndPayload,
    Format(Format),
}

/// Which messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retained {
    Printed,
    Skipped,
    /// Retained messages come first: another one ends the output.
    Only,
}

/// Prints messages, one at a time and flushed.
#[derive(Debug)]
pub(super) struct Printer<W> {
    pub(super) out: W,
    pub(super) console: Console,
    pub(super) style: Style,
    /// What follows each message.
    pub(super) end: &'static str,
    pub(super) retained: Retained,
    pub(super) filter_out: Vec<TopicFilter>,
    pub(super) predefined_names: Vec<(TopicId, TopicName)>,
    /// How many messages may still be printed.
    pub(super) left: Option<u64>,
}

/// What becomes of the output after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    GoesOn,
    Complete,
    /// Nobody reads it any more.
    Closed,
}

impl<W: Write> Printer<W> {
    /// Prints a message, if it is one to print.
    pub(super) fn print(&mut self, delivery: &Delivery) -> io::Result<Output> {
        match self.retained {
            Retained::Only if !delivery.retain => return Ok(Output::Complete),
            Retained::Skipped if delivery.retain => return Ok(Output::GoesOn),
            Retained::Printed | Retained::Skipped | Retained::Only => {}
        }
        let topic = self.topic(&delivery.topic);
        if self.is_filtered_out(&topic) {
            return Ok(Output::GoesOn);
        }
        match self.write(&topic, delivery) {
            Ok(()) => {}
            Err(PrintError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Output::Closed),
            Err(PrintError::Io(error)) => return Err(error),
            Err(error @ PrintError::NotJson(_)) => self.console.error(error),
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(if self.left == Some(0) { Output::Complete } else { Output::GoesOn })
    }

    fn is_filtered_out(&self, topic: &[u8]) -> bool {
        // A gateway may send a short name that is no topic's; no filter matches it.
        let topic = if self.filter_out.is_empty() { None } else { TopicName::parse(topic).ok() };
        topic.is_some_and(|topic| self.filter_out.iter().any(|filter| filter.matches(&topic)))
    }

    fn write(&mut self, topic: &[u8], delivery: &Delivery) -> Result<(), PrintError> {
        let mut line = Vec::new();
        match &self.style {
            // As mosquitto_sub: of a message without a payload there is only the topic to see, on a line of its own.
            Style::TopicAndPayload if delivery.payload.is_empty() && !self.end.is_empty() => {
                line.extend([topic, b" (null)"].concat());
            }
            Style::Payload | Style::TopicAndPayload if delivery.payload.is_empty() => return Ok(()),
            Style::Payload => line.extend_from_slice(&delivery.payload),
            Style::TopicAndPayload => line.extend([topic, b" ", &delivery.payload].concat()),
            Style::Format(format) => {
                let received = Received {
                    topic,
                    payload: &delivery.payload,
                    qos: delivery.qos,
                    retain: delivery.retain,
                    msg_id: delivery.msg_id,
                };
                format.write(&mut line, &received, &Zoned::now())?;
            }
        }
        line.extend_from_slice(self.end.as_bytes());
        self.out.write_all(&line)?;
        Ok(self.out.flush()?)
    }

    fn topic(&self, topic: &Topic) -> Vec<u8> {
        match topic {
            Topic::Name(name) => name.as_str().into(),
            Topic::Short(name) => name.to_vec(),
            Topic::Predefined(id) => match self.predefined_names.iter().find(|(named, _)| named == id) {
                Some((_, name)) => name.as_str().into(),
                None => format!("predefined:{id}").into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MsgId, Qos};

    fn printer() -> Printer<Vec<u8>> {
        Printer {
            out: Vec::new(),
            console: Console { quiet: true, debug: false },
            style: Style::TopicAndPayload,
            end: "\n",
            retained: Retained::Printed,
            filter_out: Vec::new(),
            predefined_names: Vec::new(),
            left: None,
        }
    }

    fn named(name: &str, retain: bool) -> Delivery {
        let topic = Topic::Name(TopicName::parse(name.as_bytes()).unwrap());
        Delivery { topic, payload: "x".into(), qos: Qos::AtMostOnce, retain, msg_id: MsgId::NONE }
    }

    fn filter(filter: &str) -> TopicFilter {
        TopicFilter::parse(filter.as_bytes()).unwrap()
    }

    #[test]
    fn messages_are_printed_as_payload_as_topic_and_payload_or_in_a_format() {
        let mut printer = printer();
        printer.print(&named("a", false)).unwrap();
        printer.style = Style::Payload;
        printer.print(&named("a", false)).unwrap();
        printer.style = Style::Format(Format::parse("%t=%p/%q").unwrap());
        printer.end = "";
        printer.print(&named("a", false)).unwrap();
        assert_eq!(printer.out, b"a x\nx\na=x/0");
    }

    #[test]
    fn a_message_without_a_payload_is_printed_as_mosquitto_sub_prints_it() {
        let empty = Delivery { payload: "".into(), ..named("a", false) };
        let printed = |style, end| {
            let mut printer = Printer { style, end, ..printer() };
            printer.print(&empty).unwrap();
            printer.out
        };
        assert_eq!(printed(Style::TopicAndPayload, "\n"), b"a (null)\n");
        assert_eq!(printed(Style::TopicAndPayload, ""), b"");
        assert_eq!(printed(Style::Payload, "\n"), b"");
    }

    #[test]
    fn retained_messages_can_be_left_out_or_be_all_there_is() {
        let mut printer = Printer { retained: Retained::Skipped, ..printer() };
        assert_eq!(printer.print(&named("a", true)).unwrap(), Output::GoesOn);
        assert!(printer.out.is_empty());
        printer.retained = Retained::Only;
        assert_eq!(printer.print(&named("a", true)).unwrap(), Output::GoesOn);
        assert_eq!(printer.print(&named("b", false)).unwrap(), Output::Complete);
        assert_eq!(printer.out, b"a x\n");
    }

    #[test]
    fn only_what_is_printed_counts() {
        let mut printer = Printer { left: Some(2), filter_out: vec![filter("no/#")], ..printer() };
        assert_eq!(printer.print(&named("yes", false)).unwrap(), Output::GoesOn);
        assert_eq!(printer.print(&named("no", false)).unwrap(), Output::GoesOn);
        assert_eq!(printer.print(&named("no/no", false)).unwrap(), Output::GoesOn);
        assert_eq!(printer.print(&named("yes", false)).unwrap(), Output::Complete);
        assert_eq!(printer.out, b"yes x\nyes x\n");
    }

    #[test]
    fn predefined_and_short_topics_have_a_name_to_print() {
        let mut printer = printer();
        printer.predefined_names = vec![(TopicId(1), TopicName::parse(b"home/t").unwrap())];
        for topic in [Topic::Predefined(TopicId(1)), Topic::Predefined(TopicId(2)), Topic::Short(*b"ab")] {
            printer.print(&Delivery { topic, ..named("a", false) }).unwrap();
        }
        assert_eq!(printer.out, b"home/t x\npredefined:2 x\nab x\n");
    }

    #[test]
    fn a_closed_output_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let Printer { console, style, end, retained, filter_out, predefined_names, left, .. } = printer();
        let mut printer = Printer { out: Closed, console, style, end, retained, filter_out, predefined_names, left };
        assert_eq!(printer.print(&named("a", false)).unwrap(), Output::Closed);
    }
}
