//! The broker's address as people write it: `mqtt://host:port`.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use thiserror::Error;
use url::{Host, Url};

/// Where the broker is and whether the way there is encrypted.
///
/// Shown without the user name and the password that may stand in it.
#[derive(Clone, Debug)]
pub struct BrokerUrl {
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub username: Option<String>,
    pub password: Option<SecretString>,
}

/// How the broker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TCP.
    Mqtt,
    /// TLS over TCP.
    Mqtts,
}

/// Why a text names no broker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("broker URL `{0}` has no scheme: write `mqtt://{0}`")]
    NoScheme(String),
    #[error("broker URL scheme `{0}` is unknown: use mqtt:// or mqtts://")]
    UnknownScheme(String),
    #[error("broker URL scheme `{0}` (MQTT over WebSockets) is not supported yet: use mqtt:// or mqtts://")]
    WebSocket(String),
    #[error("broker URL has no host: write `mqtt://HOST` or `mqtt://HOST:PORT`")]
    NoHost,
    #[error("broker URL has port 0, which no broker listens on")]
    PortZero,
    #[error("broker URL ends in `{0}`, which means nothing for MQTT: leave it out")]
    Surplus(String),
    #[error("the {0} in the broker URL is not UTF-8 once %XX is decoded")]
    NotUtf8(&'static str),
    #[error("broker URL: {0}")]
    Syntax(url::ParseError),
}

impl Scheme {
    /// Returns the port that the scheme implies.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
        }
    }
}

impl BrokerUrl {
    /// Returns `host:port` with the brackets that an IPv6 address needs.
    pub fn authority(&self) -> String {
        if self.is_ipv6() { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // Without `//` the parser would take `localhost:1883` for scheme `localhost`.
        if !text.contains("://") {
            return Err(UrlError::NoScheme(text.to_owned()));
        }
        let url = Url::parse(text).map_err(|error| {
            if error == url::ParseError::EmptyHost { UrlError::NoHost } else { UrlError::Syntax(error) }
        })?;
        let scheme = match url.scheme() {
            "mqtt" | "tcp" => Scheme::Mqtt,
            "mqtts" | "ssl" => Scheme::Mqtts,
            web @ ("ws" | "wss") => return Err(UrlError::WebSocket(web.to_owned())),
            other => return Err(UrlError::UnknownScheme(other.to_owned())),
        };
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Domain(name)) if !name.is_empty() => decoded(name, "host")?,
            Some(Host::Domain(_)) | None => return Err(UrlError::NoHost),
        };
        let port = url.port().unwrap_or_else(|| scheme.default_port());
        if port == 0 {
            return Err(UrlError::PortZero);
        }
        let surplus = &url[url::Position::BeforePath..];
        if !matches!(surplus, "" | "/") {
            return Err(UrlError::Surplus(surplus.to_owned()));
        }
        let username = Some(url.username()).filter(|name| !name.is_empty());
        Ok(Self {
            scheme,
            host,
            port,
            username: username.map(|name| decoded(name, "user name")).transpose()?,
            password: url.password().map(|word| decoded(word, "password")).transpose()?.map(SecretString::from),
        })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

fn decoded(text: &str, what: &'static str) -> Result<String, UrlError> {
    Ok(percent_decode_str(text).decode_utf8().map_err(|_| UrlError::NotUtf8(what))?.into_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<BrokerUrl>().unwrap().to_string()
    }

    fn refused(text: &str) -> String {
        text.parse::<BrokerUrl>().unwrap_err().to_string()
    }

    #[test]
    fn the_scheme_implies_the_port() {
        assert_eq!(shown("mqtt://localhost"), "mqtt://localhost:1883");
        assert_eq!(shown("mqtts://broker.example/"), "mqtts://broker.example:8883");
        assert_eq!(shown("mqtt://10.0.0.1:11883"), "mqtt://10.0.0.1:11883");
        assert_eq!(shown("mqtt://[::1]:1884"), "mqtt://[::1]:1884");
    }

    #[test]
    fn credentials_are_taken_and_never_shown() {
        let url: BrokerUrl = "mqtt://gate%40way:pa%2Fss@host".parse().unwrap();
        assert_eq!(url.username.as_deref(), Some("gate@way"));
        assert_eq!(url.password.as_ref().unwrap().expose_secret(), "pa/ss");
        assert_eq!(url.to_string(), "mqtt://host:1883");
        assert!(!format!("{url:?}").contains("pa/ss"));
    }

    #[test]
    fn a_url_that_names_no_broker_is_refused_with_the_remedy() {
        assert_eq!(
            refused("localhost:1883"),
            "broker URL `localhost:1883` has no scheme: write `mqtt://localhost:1883`"
        );
        assert_eq!(refused("http://host"), "broker URL scheme `http` is unknown: use mqtt:// or mqtts://");
        assert!(refused("wss://host").contains("not supported yet"));
        for no_host in ["mqtt://", "mqtt://:1883", "mqtt:///topic"] {
            assert!(no_host.parse::<BrokerUrl>().is_err(), "{no_host}");
        }
        assert!(refused("mqtt://host/path?x=1").contains("`/path?x=1`"));
        assert!(refused("mqtt://host:0").contains("port 0"));
        assert!(refused("mqtt://host:99999").contains("port"));
    }
}
