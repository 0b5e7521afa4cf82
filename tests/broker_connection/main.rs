//! Broker connections against a real Mosquitto.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod clients;
mod core;
mod delivering;
mod embedded;
mod interrupted;
mod keeper;
mod mosquitto;
mod outages;
mod outliving;
#[path = "../e2e/support/port.rs"]
mod port;
mod proxy;
mod publishing;
mod reaching;
