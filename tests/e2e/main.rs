//! The whole gateway, from outside: the real program, a real broker, devices that speak in hexadecimal.
#![cfg(unix)]
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program: `pub` marks what the support offers to the scenes, and failing loudly is its purpose"
)]

mod absent;
mod arduino;
mod battery;
mod bench;
mod broker_loss;
mod configured;
mod crash;
mod discovery;
mod disk;
mod embedded;
mod foreign;
mod framings;
mod hour;
mod lifecycle;
mod log;
mod mistakes;
mod noise;
mod ports;
mod probe;
mod restart;
mod serial;
mod sessions;
mod support;
mod tools;
mod transparent;
mod udp;
