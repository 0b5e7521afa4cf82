//! The broker's side: MQTT connections that keep themselves up, behind one interface for all protocol versions.
//!
//! A [`Broker`] makes connections, the gateway's own and in transparent mode one for each client. [`Connection`] is
//! what the application holds: commands go in, batches of events come out. Behind it one task per connection (`driver`)
//! goes from one attempt to connect to the next (`line`, `opening`), reads and writes the present one (`link`,
//! `outbox`), and keeps the session (`session`): what the broker has not answered (`outbound`, and `requests` for
//! subscriptions) and what the core has not acknowledged (`inbound`). The packets are `mqtt`'s.
//!
//! After a loss a connection resumes its session, so that QoS 1 and 2 hold across a lost connection in both directions.
//! Given a [`SessionKeeper`] it also takes up the session of the process before, and QoS 2 holds across the end of the
//! process, however it ends (`ledger`). Without one the gateway's own connection begins with a new session at the
//! broker, because the gateway remembers nothing of the former one. A client's connection begins as the client's clean
//! flag says.

mod access;
mod alarm;
mod backoff;
mod commands;
mod connection;
mod dial;
mod driver;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod failure;
mod in_flight;
mod inbound;
mod ledger;
mod line;
mod link;
mod load;
mod opening;
mod outbound;
mod outbox;
mod probe;
mod purpose;
mod requests;
mod session;
mod settings;
mod suspicion;
mod tls;
mod turns;
mod url;
mod versions;
mod window;

pub use access::{Broker, Events};
pub use connection::{Connection, Submitted};
#[cfg(feature = "embedded-broker")]
pub use embedded::{EmbeddedBroker, EmbeddedBrokerError};
pub use ledger::{Checkpoint, CheckpointError, KeepError, Keeping, SessionKeeper};
pub use probe::{ProbeReport, probe};
pub use settings::{BrokerSettings, ClientSettings, Protocol, RetainedMessages, SettingsError};
pub use tls::TlsError;
pub use url::{BrokerUrl, Scheme, UrlError};

pub use crate::mqtt::Version;
