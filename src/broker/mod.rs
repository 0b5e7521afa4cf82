//! The broker's side: MQTT connections that keep themselves up, behind one interface for all protocol versions.
//!
//! A [`Broker`] makes connections, the gateway's own and in transparent mode one for each client. [`Connection`] is
//! what the application holds: commands go in, batches of events come out. Behind it one task per connection (`driver`)
//! runs the event loop of the MQTT library, keeps what the broker has not answered (`outbound`, and `requests` for
//! subscriptions) and what the core has not acknowledged (`inbound`). A protocol version is one file, `v5` or `v4` (for
//! 3.1.1), that fills in the interface in `client`.
//!
//! After a loss a connection resumes its session, so that QoS 1 and 2 hold across a lost connection in both directions.
//! Given a [`SessionKeeper`] it also takes up the session of the process before, and QoS 2 holds across the end of the
//! process, however it ends (`ledger`). Without one the gateway's own connection begins with a new session at the
//! broker, because the gateway remembers nothing of the former one. A client's connection begins as the client's clean
//! flag says.

mod access;
mod backoff;
mod client;
mod connection;
mod dial;
mod driver;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod failure;
mod inbound;
mod ledger;
mod outbound;
mod probe;
mod requests;
mod resume;
mod settings;
mod suspicion;
mod tls;
mod turns;
mod url;
mod v4;
mod v5;
mod versions;

pub use access::{Broker, Events};
pub use client::Version;
pub use connection::{Connection, Submitted};
#[cfg(feature = "embedded-broker")]
pub use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub use ledger::{Checkpoint, CheckpointError, KeepError, Keeping, SessionKeeper};
pub use probe::{ProbeReport, probe};
pub use settings::{BrokerSettings, ClientSettings, Protocol, RetainedMessages, SettingsError};
pub use tls::TlsError;
pub use url::{BrokerUrl, Scheme, UrlError};
