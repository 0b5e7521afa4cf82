//! One timer for all the times of a connection.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A timer that is moved to an earlier time when it has to be, and finds out that it is too early when it goes off. The
/// keep-alive of a busy connection thus costs nothing in most turns.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep(Duration::MAX)))
    }

    /// Waits for the time; without one for ever. May be dropped at any point and called again.
    pub(super) async fn ring(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        loop {
            // The clock is read only where the timer does not say what time it is.
            if self.0.is_elapsed() || self.0.deadline() > at {
                if Instant::now() >= at {
                    return;
                }
                self.0.as_mut().reset(at);
            }
            self.0.as_mut().await;
        }
    }
}
