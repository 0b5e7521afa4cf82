//! The broker's side: MQTT connections that keep themselves up, behind one interface for all protocol versions.
//!
//! [`Connection`] is what the application holds: commands go in, batches of events come out. Behind it one task per
//! connection (`driver`) runs the event loop of the MQTT library, keeps what the broker has not answered (`outbound`)
//! and what the core has not acknowledged (`inbound`). A protocol version is one file, `v5` or `v4` (for 3.1.1), that
//! fills in the interface in `client`.
//!
//! The first connection of a process begins a new session at the broker, because the gateway remembers nothing of the
//! former one; each later one resumes it, so that QoS 1 and 2 hold across a lost connection in both directions.

mod backoff;
mod client;
mod connection;
mod driver;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod failure;
mod inbound;
mod outbound;
mod probe;
mod settings;
mod tls;
mod url;
mod v4;
mod v5;

pub use client::Version;
pub use connection::{Connection, Submitted};
#[cfg(feature = "embedded-broker")]
pub use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub use probe::{ProbeReport, probe};
pub use settings::{BrokerSettings, Protocol, SettingsError};
pub use tls::TlsError;
pub use url::{BrokerUrl, Scheme, UrlError};
