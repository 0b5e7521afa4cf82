//! Whose turn it is to connect: of all clients' connections only so many may be opening at once. A broker that comes
//! back is not to find all of them at its door in the same moment.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns at one broker, taken in the order in which they are asked for.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// One connection may be opening as long as it has this.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit);

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS))))
    }

    pub(super) async fn next(&self) -> Turn {
        Turn(Arc::clone(&self.0).acquire_owned().await.expect("the semaphore is never closed"))
    }
}
