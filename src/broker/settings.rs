//! What a broker connection is told before it starts, and the check that tells early what cannot work.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;

use super::tls::{self, TlsError};
use super::url::{BrokerUrl, Scheme};

/// Stands for a client's own id in [`ClientSettings`].
const CLIENT_ID: &str = "{client_id}";

/// How long the broker keeps a session, unless told otherwise.
const SESSION_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// How to reach the broker and as whom.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    pub url: BrokerUrl,
    pub protocol: Protocol,
    /// Unique at the broker: two connections with one client id throw each other out.
    pub client_id: String,
    /// Instead of the user name in the URL.
    pub username: Option<String>,
    /// Instead of the password in the URL.
    pub password: Option<SecretString>,
    /// PEM file with the certificates of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate that the gateway shows to the broker.
    pub cert: Option<PathBuf>,
    /// PEM file with that certificate's private key.
    pub key: Option<PathBuf>,
    /// Silence after which the connection is tested: whole seconds, 1 to 65535.
    pub keep_alive: Duration,
    /// Publishes, subscribes and unsubscribes that wait to be sent, at most. The next one is refused.
    pub queue: usize,
    /// Publishes at QoS 1 and 2 that may wait for the broker's answer at the same time; the broker may allow fewer.
    pub in_flight: u16,
    /// How long the broker keeps the session of a gateway that is away, where the gateway keeps its side of it. Only
    /// MQTT 5 can say it.
    pub session_expiry: Duration,
    pub retained: RetainedMessages,
}

/// When the broker sends its retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainedMessages {
    /// After each SUBSCRIBE, as MQTT has it (MQTT 5 §3.8.4).
    #[default]
    OnEachSubscribe,
    /// Only after the first SUBSCRIBE to a filter on a connection, as the embedded broker does.
    ///
    /// A subscription that is subscribed to again is then ended before, in the same write. Messages that the broker
    /// has for it and has not sent yet are lost with it, which does for trying out.
    OnFirstSubscribe,
}

/// What differs on the connections that clients have of their own.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The client id at the broker. `{client_id}` in it stands for the client's own.
    pub client_id: String,
    /// The user name at the broker instead of the gateway's, with the same placeholder. The password is the gateway's.
    pub username: Option<String>,
    /// How long the broker keeps the session of a client that is away. Only MQTT 5 can say it.
    pub session_expiry: Duration,
    /// As [`BrokerSettings::queue`], for each client.
    pub queue: usize,
    /// As [`BrokerSettings::in_flight`], for each client.
    pub in_flight: u16,
    /// How many clients' connections may be opening at the same time.
    pub connects_at_once: usize,
}

/// Which MQTT version to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 if the broker offers no more.
    Auto,
    V5,
    V311,
}

/// Settings that cannot work, with the remedy.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("the broker's client_id is empty: give the gateway a name of its own")]
    ClientIdEmpty,
    #[error("the broker's client_id has {0} octets; MQTT allows 65535")]
    ClientIdTooLong(usize),
    #[error("the broker's client_id contains the character U+0000")]
    ClientIdNul,
    #[error(
        "the clients' client_id must contain {CLIENT_ID}: {0:?} would be the same for all, and they would throw each other out"
    )]
    SameForAllClients(String),
    #[error("a password for the broker needs a username beside it")]
    PasswordAlone,
    #[error("{0} is set, but {1} is not encrypted: use mqtts:// or leave it out")]
    TlsWithoutTls(&'static str, BrokerUrl),
    #[error("cert and key go together, but only {0} is set")]
    HalfIdentity(&'static str),
    #[error("the broker's keep_alive must be 1 s to 65535 s, not {0:?}")]
    KeepAlive(Duration),
    #[error("the broker's {0} must be at least 1")]
    Zero(&'static str),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl BrokerSettings {
    /// Makes settings for `url` with every other value at its default.
    pub fn new(url: BrokerUrl, client_id: impl Into<String>) -> Self {
        Self {
            url,
            protocol: Protocol::Auto,
            client_id: client_id.into(),
            username: None,
            password: None,
            ca: None,
            cert: None,
            key: None,
            keep_alive: Duration::from_secs(60),
            queue: 10_000,
            in_flight: 256,
            session_expiry: SESSION_EXPIRY,
            retained: RetainedMessages::default(),
        }
    }

    /// Checks everything that can be known without the broker, the TLS files included.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_values()?;
        tls::client_config(self)?;
        Ok(())
    }

    pub(super) fn check_values(&self) -> Result<(), SettingsError> {
        match self.client_id.len() {
            0 => return Err(SettingsError::ClientIdEmpty),
            1..=65_535 => {}
            octets => return Err(SettingsError::ClientIdTooLong(octets)),
        }
        if self.client_id.contains('\0') {
            return Err(SettingsError::ClientIdNul);
        }
        // MQTT 3.1.1 cannot say it (§3.1.2.9), and `auto` may end there.
        if self.password().is_some() && self.username().is_none() {
            return Err(SettingsError::PasswordAlone);
        }
        if self.url.scheme == Scheme::Mqtt {
            for (name, file) in [("ca", &self.ca), ("cert", &self.cert), ("key", &self.key)] {
                if file.is_some() {
                    return Err(SettingsError::TlsWithoutTls(name, self.url.clone()));
                }
            }
        }
        match (&self.cert, &self.key) {
            (Some(_), None) => return Err(SettingsError::HalfIdentity("cert")),
            (None, Some(_)) => return Err(SettingsError::HalfIdentity("key")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if !(1..=65_535).contains(&self.keep_alive.as_secs()) || self.keep_alive.subsec_nanos() != 0 {
            return Err(SettingsError::KeepAlive(self.keep_alive));
        }
        for (name, value) in [("queue", self.queue), ("in_flight", usize::from(self.in_flight))] {
            if value == 0 {
                return Err(SettingsError::Zero(name));
            }
        }
        Ok(())
    }

    pub(super) fn username(&self) -> Option<&str> {
        self.username.as_deref().or(self.url.username.as_deref())
    }

    pub(super) fn password(&self) -> Option<&SecretString> {
        self.password.as_ref().or(self.url.password.as_ref())
    }

    pub(super) fn keep_alive_seconds(&self) -> u16 {
        u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX)
    }
}

impl ClientSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !self.client_id.contains(CLIENT_ID) {
            return Err(SettingsError::SameForAllClients(self.client_id.clone()));
        }
        let in_flight = usize::from(self.in_flight);
        for (name, value) in
            [("queue", self.queue), ("in_flight", in_flight), ("connects_at_once", self.connects_at_once)]
        {
            if value == 0 {
                return Err(SettingsError::Zero(name));
            }
        }
        Ok(())
    }

    /// Returns the client that has this client id at the broker, if there can be one.
    pub fn client_called(&self, name: &str) -> Option<String> {
        let placeholders = self.client_id.matches(CLIENT_ID).count();
        let fixed = self.client_id.len() - placeholders * CLIENT_ID.len();
        let octets = name.len().checked_sub(fixed)?.checked_div(placeholders)?;
        let start = self.client_id.find(CLIENT_ID)?;
        let client_id = name.get(start..start + octets).filter(|client_id| !client_id.is_empty())?;
        (self.client_id.replace(CLIENT_ID, client_id) == name).then(|| client_id.to_owned())
    }

    /// Makes one client's settings out of the gateway's. The TLS files have been read, and are not named again.
    pub(super) fn of_client(&self, client_id: &str, gateway: &BrokerSettings) -> BrokerSettings {
        let username = self.username.as_ref().map(|template| template.replace(CLIENT_ID, client_id));
        BrokerSettings {
            client_id: self.client_id.replace(CLIENT_ID, client_id),
            username: username.or_else(|| gateway.username.clone()),
            queue: self.queue,
            in_flight: self.in_flight,
            ..gateway.clone()
        }
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            client_id: CLIENT_ID.to_owned(),
            username: None,
            session_expiry: SESSION_EXPIRY,
            queue: 64,
            in_flight: 16,
            connects_at_once: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> BrokerSettings {
        BrokerSettings::new(url.parse().unwrap(), "gateway")
    }

    fn refusal(change: impl FnOnce(&mut BrokerSettings)) -> String {
        let mut settings = settings("mqtt://host");
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_accepted() {
        settings("mqtt://host").check().unwrap();
        settings("mqtt://user:word@host").check().unwrap();
    }

    #[test]
    fn a_clients_settings_carry_its_id() {
        let clients = ClientSettings {
            client_id: "site-7/{client_id}".to_owned(),
            username: Some("{client_id}".to_owned()),
            ..ClientSettings::default()
        };
        let client = clients.of_client("{client_id}", &settings("mqtt://user:word@host"));
        assert_eq!((client.client_id.as_str(), client.username()), ("site-7/{client_id}", Some("{client_id}")));
        let client = ClientSettings::default().of_client("sensor", &settings("mqtt://user:word@host"));
        assert_eq!((client.client_id.as_str(), client.username()), ("sensor", Some("user")));
    }

    #[test]
    fn the_client_that_a_name_at_the_broker_belongs_to_is_found() {
        for (template, name, client) in [
            ("{client_id}", "gateway", Some("gateway")),
            ("site-7/{client_id}", "site-7/pump", Some("pump")),
            ("site-7/{client_id}", "gateway", None),
            ("{client_id}-{client_id}", "ab-ab", Some("ab")),
            ("{client_id}-{client_id}", "ab-cd", None),
            ("dev-{client_id}", "dev-", None),
            ("{client_id}-é", "é", None),
        ] {
            let clients = ClientSettings { client_id: template.to_owned(), ..ClientSettings::default() };
            assert_eq!(clients.client_called(name).as_deref(), client, "{template} {name}");
        }
    }

    #[test]
    fn one_client_id_for_all_clients_is_refused() {
        let clients = ClientSettings { client_id: "sensor".to_owned(), ..ClientSettings::default() };
        assert!(clients.check().unwrap_err().to_string().contains("must contain {client_id}: \"sensor\""));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        assert!(refusal(|s| s.client_id.clear()).contains("client_id is empty"));
        assert!(refusal(|s| s.client_id = "x".repeat(65_536)).contains("65536 octets"));
        assert!(refusal(|s| s.client_id = "a\0b".into()).contains("U+0000"));
        assert!(refusal(|s| s.password = Some("word".to_owned().into())).contains("needs a username"));
        assert!(refusal(|s| s.ca = Some("ca.pem".into())).contains("mqtt://host:1883 is not encrypted"));
        assert!(refusal(|s| s.keep_alive = Duration::ZERO).contains("keep_alive"));
        assert!(refusal(|s| s.queue = 0).contains("queue"));
        assert!(refusal(|s| s.in_flight = 0).contains("in_flight"));
        let mut half = settings("mqtts://host");
        half.cert = Some("cert.pem".into());
        assert!(half.check().unwrap_err().to_string().contains("only cert is set"));
    }
}
