//! An MQTT-SN gateway. The modules stand in the order of the data's way; `docs/architecture.md` draws it.

#[cfg(feature = "app")]
pub mod broker;
pub mod core;
pub mod wire;
