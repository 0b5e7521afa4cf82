//! The shell around the core: configuration, command line, the loop that carries out what the core wants.

pub mod cli;
pub mod config;
mod words;
