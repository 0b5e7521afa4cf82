//! The subcommands that are not the gateway.

pub mod bench;
pub mod client;
mod connection;
mod console;
pub mod decode;
mod format;
mod options;
mod printer;
pub mod publish;
#[cfg(test)]
mod scripted;
pub mod subscribe;
mod transport;
