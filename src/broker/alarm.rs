//! One timer for all the times of a connection.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is moved to an earlier time when it has to be, and finds out that it is too early when it goes off. The
/// keep-alive of a busy connection thus costs nothing in most turns.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits for the time; without one for ever. May be dropped at any point and called again.
    pub(super) async fn ring(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        while Instant::now() < at {
            if self.0.is_elapsed() || self.0.deadline() > at {
                self.0.as_mut().reset(at);
            }
            self.0.as_mut().await;
        }
    }
}
