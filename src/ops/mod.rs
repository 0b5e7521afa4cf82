//! What the people who run the gateway see of it, and how they ask it.

pub mod control;
pub mod logging;
