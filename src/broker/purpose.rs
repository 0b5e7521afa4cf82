//! What a connection is for, and what it asks of the broker for that.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::ledger::Ledger;
use super::settings::BrokerSettings;
use crate::core::Message;
use crate::mqtt::{Connect, Will};

/// How long the broker keeps the session of a gateway that forgets it with the process. One that is away longer begins
/// anew.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);

/// Octets of the largest packet that an MQTT 5 broker may send: far more than MQTT-SN can carry, little enough to hold.
pub(super) const LARGEST_INCOMING: u32 = 1 << 20;

/// What the connection is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// The gateway's own: a session that survives the loss of the connection, and with a ledger also this process.
    Gateway,
    /// One client's.
    Client(ClientSession),
    /// To see whether it works.
    Probe,
}

/// What a client asks of the broker in CONNECT.
#[derive(Clone, Debug)]
pub(super) struct ClientSession {
    pub(super) lifetime: Lifetime,
    pub(super) will: Option<Message>,
}

/// How long the broker keeps a client's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// It begins and ends with each connection.
    Connection,
    /// It is there from before if the broker has one, and stays for so many seconds after the connection (MQTT 5; for
    /// ever in 3.1.1, which has no expiry).
    Kept { seconds: u32 },
}

/// How far the session is.
///
/// Where the gateway remembers nothing of a former process, the first attempt of its own connection connects twice:
/// once to make the broker forget, and then for a session that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The broker may have a session of a former process.
    ToWipe,
    /// What the broker has of the session is ours, or it has to have nothing.
    Established,
}

/// How to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Resume the session if there is one.
    Resume,
    /// Forget what is under way: it is answered with `Lost`. The gateway's own session ends at the broker too.
    Afresh,
}

impl Purpose {
    pub(super) fn has_will(&self) -> bool {
        match self {
            Self::Client(session) => session.will.is_some(),
            Self::Gateway | Self::Probe => false,
        }
    }

    /// Where the session stands before an attempt that begins afresh, or is the first one.
    pub(super) fn stage(&self, ledger: Option<&Ledger>) -> Stage {
        match self {
            Self::Gateway if !ledger.is_some_and(Ledger::has_session) => Stage::ToWipe,
            Self::Gateway | Self::Client(_) | Self::Probe => Stage::Established,
        }
    }

    /// What CONNECT says.
    pub(super) fn connect<'a>(&'a self, settings: &'a BrokerSettings, ledger: Option<&Ledger>) -> Connect<'a> {
        let session_expiry = match (self, ledger) {
            (Self::Gateway, None) => Some(whole_seconds(SESSION_EXPIRY)),
            (Self::Gateway, Some(_)) => Some(whole_seconds(settings.session_expiry)),
            (Self::Client(ClientSession { lifetime: Lifetime::Kept { seconds }, .. }), _) => Some(*seconds),
            (Self::Client(ClientSession { lifetime: Lifetime::Connection, .. }) | Self::Probe, _) => None,
        };
        let will = match self {
            Self::Client(ClientSession { will, .. }) => will.as_ref(),
            Self::Gateway | Self::Probe => None,
        };
        let username = settings.username();
        Connect {
            client_id: &settings.client_id,
            username,
            // MQTT 3.1.1 has no password without a name.
            password: username.and_then(|_| settings.password()).map(|word| word.expose_secret()),
            keep_alive: settings.keep_alive_seconds(),
            clean: session_expiry.is_none(),
            session_expiry,
            receive_maximum: settings.in_flight,
            largest_packet: LARGEST_INCOMING,
            will: will.map(|Message { topic, payload, qos, retain }| Will {
                topic: topic.as_str(),
                payload,
                qos: *qos,
                retain: *retain,
            }),
        }
    }

    /// Seconds for which the broker shall keep the session after DISCONNECT, if they are others than in CONNECT.
    pub(super) fn expiry_at_end(&self, ledger: Option<&Ledger>) -> Option<u32> {
        match (self, ledger) {
            // The next process could not use the session.
            (Self::Gateway, None) | (Self::Probe, _) => Some(0),
            (Self::Gateway, Some(_)) | (Self::Client(_), _) => None,
        }
    }
}

/// Returns a time as MQTT 5 counts it. More than fits is for ever, which is what the largest number means (MQTT 5
/// §3.1.2.11.2).
pub(super) fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
