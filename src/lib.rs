//! An MQTT-SN gateway. The modules stand in the order of the data's way; `docs/architecture.md` draws it.

pub mod core;
#[cfg(feature = "app")]
pub mod links;
#[cfg(feature = "app")]
pub mod tools;
pub mod wire;
