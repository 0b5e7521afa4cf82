//! Why a connection failed, and how that is put to a person.

use std::fmt::Display;
use std::io;

use super::ledger::KeepError;
use super::settings::{BrokerSettings, Protocol};
use super::tls::{self, HandshakeError};
use super::url::Scheme;
use crate::core::BrokerReason;
use crate::mqtt::Version;

/// Why a connection could not be made or broke.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    /// TLS failed before a byte of MQTT was sent.
    Tls(io::Error),
    /// CONNACK with a reason code of MQTT 5 (§3.2.2.2); those of 3.1.1 are mapped to it.
    Refused(BrokerReason),
    /// The broker closed the connection without a word.
    Closed,
    /// No answer to the attempt to connect.
    TimedOut,
    /// No answer to PINGREQ.
    Silent,
    /// DISCONNECT from the broker with a reason code of MQTT 5 (§3.14.2.1).
    Disconnected {
        reason: BrokerReason,
        text: Option<String>,
    },
    /// What is under way at QoS 2 cannot be kept, so nothing more of it may be sent.
    NotKept(KeepError),
    /// The broker takes less than when a message was sent that is to be sent again.
    TooLarge,
    /// What came back is not the MQTT that was expected.
    Garbage(String),
}

/// When it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Connecting,
    Up,
}

/// What the broker has said to a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unknown,
    /// It has accepted the connection, be it a former attempt.
    Accepted,
}

impl Failure {
    /// Tells what the connection itself reports from what stands between it and MQTT.
    pub(super) fn of_io(error: io::Error) -> Self {
        let error = match error.downcast::<HandshakeError>() {
            Ok(handshake) => return Self::Tls(handshake.into_inner()),
            Err(error) => error,
        };
        error.downcast::<KeepError>().map_or_else(Self::Io, Self::NotKept)
    }

    /// What came is not MQTT, or not the packet that MQTT has in its place.
    pub(super) fn garbage(problem: impl Display) -> Self {
        Self::Garbage(problem.to_string())
    }

    pub(super) fn disconnected(reason: u8, text: Option<String>) -> Self {
        Self::Disconnected { reason: BrokerReason(reason), text }
    }

    /// Returns whether there is nothing to be learned from what the broker has sent before it.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Io(_))
    }

    /// Returns the broker's word, if it said that it does not want the connection.
    ///
    /// To a connection that it has accepted before, trouble that will pass is no such word: trying again helps.
    pub(super) fn refusal(&self, standing: Standing) -> Option<BrokerReason> {
        match (self, standing) {
            (Self::Refused(reason), Standing::Unknown) => Some(*reason),
            (Self::Refused(reason) | Self::Disconnected { reason, .. }, _) => {
                Some(*reason).filter(|reason| !will_pass(*reason))
            }
            (
                Self::Io(_)
                | Self::Tls(_)
                | Self::Closed
                | Self::TimedOut
                | Self::Silent
                | Self::NotKept(_)
                | Self::TooLarge
                | Self::Garbage(_),
                _,
            ) => None,
        }
    }

    /// Returns whether an attempt to connect may have failed because the broker does not speak the version.
    ///
    /// A broker of the time before MQTT 5 answers with CONNACK 01, which is too short for MQTT 5, or closes.
    pub(super) fn may_be_the_version(&self) -> bool {
        match self {
            Self::Refused(_) => self.refuses_the_version(),
            Self::Closed | Self::Garbage(_) => true,
            Self::Io(error) => is_hang_up(error),
            Self::Tls(_)
            | Self::TimedOut
            | Self::Silent
            | Self::Disconnected { .. }
            | Self::NotKept(_)
            | Self::TooLarge => false,
        }
    }

    /// Returns whether the broker said itself that it does not speak the version.
    pub(super) fn refuses_the_version(&self) -> bool {
        matches!(self, Self::Refused(reason) if *reason == UNSUPPORTED_VERSION)
    }

    /// Returns whether the broker ended the connection itself, and may have done so for what it was sent. Silence, a
    /// broken network and the broker's own trouble have other causes.
    pub(super) fn may_be_the_packet(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Disconnected { reason, .. } => *reason == NO_REASON || !is_about_the_connection(*reason),
            // So it looks if the broker closes while it has not read all that was sent.
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
            ),
            Self::Tls(_)
            | Self::Refused(_)
            | Self::TimedOut
            | Self::Silent
            | Self::NotKept(_)
            | Self::TooLarge
            | Self::Garbage(_) => false,
        }
    }

    /// Says what was tried, what happened, and where it is known what to do about it.
    pub(super) fn explain(&self, moment: Moment, version: Version, settings: &BrokerSettings) -> String {
        let url = &settings.url;
        match (moment, self) {
            (_, Self::NotKept(error)) => {
                format!("ended the connection to {url}: what is under way at QoS 2 cannot be kept: {error}")
            }
            (_, Self::TooLarge) => {
                format!("ended the connection to {url}: it takes less than before, and a message is too large for it")
            }
            (Moment::Connecting, Self::Io(error)) => match tls::explain(error, settings) {
                Some(words) => format!("no TLS connection to {url}: {words}"),
                None if is_hang_up(error) => {
                    format!("cannot reach {url}: {}{}", io_words(error), scheme_hint(settings))
                }
                None => format!("cannot reach {url}: {}", io_words(error)),
            },
            (Moment::Connecting, Self::Tls(error)) => {
                format!("no TLS connection to {url}: {}", tls_words(error, settings))
            }
            (Moment::Connecting, Self::Refused(reason)) => {
                format!("the broker at {url} refused the connection: {}", refusal_words(*reason, version, settings))
            }
            (Moment::Connecting, Self::Closed) => {
                let hint = scheme_hint(settings);
                format!("the broker at {url} closed the connection without an answer to CONNECT ({version}){hint}")
            }
            (Moment::Connecting, Self::TimedOut | Self::Silent) => format!("cannot reach {url}: no answer"),
            (Moment::Connecting, Self::Disconnected { reason, text }) => {
                format!("the broker at {url} ended the connection: {}", disconnect_words(*reason, text, settings))
            }
            (Moment::Connecting, Self::Garbage(what)) => format!("{url} does not answer in {version}: {what}"),
            (Moment::Up, Self::Io(error)) => format!(
                "lost the connection to {url}: {}",
                tls::explain(error, settings).unwrap_or_else(|| io_words(error))
            ),
            (Moment::Up, Self::Tls(error)) => {
                format!("lost the connection to {url}: {}", tls_words(error, settings))
            }
            (Moment::Up, Self::Refused(reason)) => {
                format!("lost the connection to {url}: {}", refusal_words(*reason, version, settings))
            }
            (Moment::Up, Self::Closed) => format!("lost the connection to {url}: the broker closed it"),
            (Moment::Up, Self::TimedOut | Self::Silent) => {
                format!("lost the connection to {url}: the broker no longer answers")
            }
            (Moment::Up, Self::Disconnected { reason, text }) => format!(
                "lost the connection to {url}: the broker ended it: {}",
                disconnect_words(*reason, text, settings)
            ),
            (Moment::Up, Self::Garbage(what)) => format!("lost the connection to {url}: {what}"),
        }
    }
}

const UNSUPPORTED_VERSION: BrokerReason = BrokerReason(0x84);

/// MQTT 5 §3.14.2.1: also what a DISCONNECT without a reason code means.
const NO_REASON: BrokerReason = BrokerReason(0x00);

/// Returns whether a reason is the broker's present state and not what the connection is or did: server unavailable,
/// busy or shutting down, keep alive timeout, connection rate exceeded (MQTT 5 §2.4); or no reason at all.
fn will_pass(reason: BrokerReason) -> bool {
    matches!(reason.0, 0x00 | 0x88 | 0x89 | 0x8B | 0x8D | 0x9F)
}

/// Returns whether a reason has nothing to do with any packet: the broker's present state, the session taken over, an
/// operator, another server to use (MQTT 5 §2.4).
fn is_about_the_connection(reason: BrokerReason) -> bool {
    will_pass(reason) || matches!(reason.0, 0x8E | 0x98 | 0x9C | 0x9D)
}

/// What to look at when the broker ends one connection after the other: an old one does not say that another has taken
/// over.
pub(super) fn cut_short_hint(settings: &BrokerSettings) -> String {
    format!(
        ", and so it was several times in a row; perhaps another gateway uses client id `{}` too (give each gateway its \
         own name or client_id)",
        settings.client_id
    )
}

/// What to look at when the other side hangs up on a CONNECT.
fn scheme_hint(settings: &BrokerSettings) -> &'static str {
    match settings.url.scheme {
        Scheme::Mqtt => "; if the port is for TLS, write mqtts:// in the URL",
        Scheme::Mqtts => "",
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof];
    kinds.contains(&error.kind())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most kinds say enough themselves")]
fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused (is the broker running, and is the port right?)".into(),
        _ if is_hang_up(error) => "the other side closed the connection".into(),
        io::ErrorKind::TimedOut => "no answer".into(),
        _ => error.to_string(),
    }
}

fn tls_words(error: &io::Error, settings: &BrokerSettings) -> String {
    tls::explain(error, settings).unwrap_or_else(|| {
        let words = io_words(error);
        if is_hang_up(error) { format!("{words}; {}", tls::wrong_port(settings)) } else { words }
    })
}

/// MQTT 5 §3.2.2.2 in words.
fn refusal_words(reason: BrokerReason, version: Version, settings: &BrokerSettings) -> String {
    match reason.0 {
        0x84 => match settings.protocol {
            Protocol::Auto => format!("it does not speak {version}"),
            Protocol::V5 | Protocol::V311 => {
                format!("it does not speak {version} (set the broker's protocol to \"auto\")")
            }
        },
        0x85 => format!("it does not accept the client id `{}` (set another client_id)", settings.client_id),
        0x86 | 0x87 if settings.username().is_none() => {
            "not authorised (it wants a username and password, and none is set)".into()
        }
        0x86 => "bad user name or password (check username and password)".into(),
        0x87 => "not authorised (check username and password, and the broker's access list)".into(),
        0x88 => "it is not available at the moment".into(),
        0x89 => "it is busy".into(),
        0x8A => "this client is banned".into(),
        0x95 => "the CONNECT packet is too large for it".into(),
        0x97 => "a quota is used up".into(),
        0x9C | 0x9D => "it says to use another server: change the broker's url".into(),
        0x9F => "too many connections per second".into(),
        code => format!("reason code 0x{code:02X}"),
    }
}

/// MQTT 5 §3.14.2.1 in words, with what the broker added.
fn disconnect_words(reason: BrokerReason, text: &Option<String>, settings: &BrokerSettings) -> String {
    let words = match reason.0 {
        0x00 => "without a reason".into(),
        0x87 => "not authorised".into(),
        0x89 => "it is busy".into(),
        0x8B => "it is shutting down".into(),
        0x8D => "it heard nothing from us for too long".into(),
        0x8E => format!(
            "another client connected with the client id `{}` (give each gateway its own client_id)",
            settings.client_id
        ),
        0x93 => "too many unacknowledged messages".into(),
        0x95 => "a packet was too large for it".into(),
        0x96 => "too many messages per second".into(),
        0x97 => "a quota is used up".into(),
        0x98 => "by its operator".into(),
        0x9C | 0x9D => "it says to use another server: change the broker's url".into(),
        code => format!("reason code 0x{code:02X}"),
    };
    match text {
        Some(text) => format!("{words} (\"{text}\")"),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(failure: &Failure) -> String {
        let settings = BrokerSettings::new("mqtt://user:word@localhost".parse().unwrap(), "gateway");
        failure.explain(Moment::Connecting, Version::V5, &settings)
    }

    #[test]
    fn a_failure_says_what_was_tried_and_what_to_do() {
        assert_eq!(
            explained(&Failure::Io(io::ErrorKind::ConnectionRefused.into())),
            "cannot reach mqtt://localhost:1883: connection refused (is the broker running, and is the port right?)"
        );
        assert_eq!(
            explained(&Failure::Refused(BrokerReason(0x87))),
            "the broker at mqtt://localhost:1883 refused the connection: \
             not authorised (check username and password, and the broker's access list)"
        );
        assert!(explained(&Failure::Refused(BrokerReason(0x85))).contains("`gateway`"));
    }

    #[test]
    fn what_stands_between_the_network_and_mqtt_is_told_by_its_own_name() {
        let keeping = KeepError::new("the disk is full");
        let failure = Failure::of_io(io::Error::other(keeping));
        assert!(explained(&failure).ends_with("what is under way at QoS 2 cannot be kept: the disk is full"));
        assert!(!failure.may_be_the_packet() && !failure.may_be_the_version());
        let handshake = HandshakeError::new(io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(Failure::of_io(io::Error::other(handshake)), Failure::Tls(_)));
        assert!(matches!(Failure::of_io(io::ErrorKind::TimedOut.into()), Failure::Io(_)));
    }

    #[test]
    fn trouble_of_the_brokers_own_refuses_nobody_whom_it_has_accepted() {
        let refused = |reason, standing| Failure::Refused(BrokerReason(reason)).refusal(standing);
        let ended = |reason| Failure::Disconnected { reason: BrokerReason(reason), text: None };
        assert_eq!(refused(0x89, Standing::Unknown), Some(BrokerReason(0x89)));
        assert_eq!(refused(0x89, Standing::Accepted), None);
        assert_eq!(refused(0x87, Standing::Accepted), Some(BrokerReason(0x87)));
        assert_eq!(ended(0x8E).refusal(Standing::Accepted), Some(BrokerReason(0x8E)));
        assert_eq!(ended(0x8B).refusal(Standing::Accepted), None);
        assert_eq!(Failure::Closed.refusal(Standing::Unknown), None);
    }

    #[test]
    fn only_a_broker_that_hangs_up_casts_suspicion_on_what_it_was_sent() {
        let ended = |reason| Failure::Disconnected { reason: BrokerReason(reason), text: None };
        let io = |kind: io::ErrorKind| Failure::Io(kind.into());
        for failure in [Failure::Closed, ended(0x00), ended(0x81), ended(0x8F), io(io::ErrorKind::ConnectionReset)] {
            assert!(failure.may_be_the_packet(), "{failure:?}");
        }
        for failure in [
            Failure::Silent,
            Failure::TimedOut,
            ended(0x8B),
            ended(0x8E),
            io(io::ErrorKind::TimedOut),
            io(io::ErrorKind::NetworkUnreachable),
        ] {
            assert!(!failure.may_be_the_packet(), "{failure:?}");
        }
    }

    #[test]
    fn only_what_an_old_broker_does_suggests_an_older_version() {
        assert!(Failure::Refused(UNSUPPORTED_VERSION).may_be_the_version());
        assert!(Failure::Closed.may_be_the_version());
        assert!(Failure::Garbage(String::new()).may_be_the_version());
        assert!(!Failure::Refused(BrokerReason(0x87)).may_be_the_version());
        assert!(!Failure::Io(io::ErrorKind::ConnectionRefused.into()).may_be_the_version());
        assert!(!Failure::TimedOut.may_be_the_version());
    }
}
