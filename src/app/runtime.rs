//! The event loop that the gateway and the client tools run on: one thread.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use super::complain;
use super::gathering::Gathering;

/// Makes the event loop.
pub(super) fn event_loop() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Makes an event loop that rests under load before it waits for more.
pub(super) fn gathering_event_loop(gathering: Arc<Gathering>) -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().on_thread_park(move || gathering.rest()).build()
}

/// Runs a client tool to its end.
pub fn run(tool: impl Future<Output = ExitCode>) -> ExitCode {
    match event_loop() {
        Ok(runtime) => runtime.block_on(tool),
        Err(error) => complain(&no_event_loop(&error)),
    }
}

pub(super) fn no_event_loop(error: &io::Error) -> String {
    format!("the system gives no event loop: {error}")
}
