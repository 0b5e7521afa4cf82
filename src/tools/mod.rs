//! The subcommands that are not the gateway.

pub mod client;
