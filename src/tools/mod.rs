//! The subcommands that are not the gateway.

pub mod bench;
pub mod client;
mod connection;
mod console;
pub mod decode;
mod format;
pub mod machine;
mod options;
pub mod ports;
mod printer;
pub mod probe;
pub mod publish;
#[cfg(test)]
mod scripted;
pub mod subscribe;
mod transport;
