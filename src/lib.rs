//! An MQTT-SN gateway. The modules stand in the order of the data's way; `docs/architecture.md` draws it.

#[cfg(feature = "app")]
pub mod links;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod wire;

pub mod core;

#[cfg(feature = "app")]
pub mod broker;
#[cfg(feature = "app")]
pub mod mqtt;

#[cfg(feature = "app")]
pub mod store;

#[cfg(feature = "app")]
pub mod app;
#[cfg(feature = "app")]
pub mod ops;
#[cfg(feature = "app")]
pub mod tools;
