//! The tasks behind the links, each with the link that is deaf without it.

use std::collections::HashMap;
use std::future::pending;

use tokio::task::{Id, JoinSet};

use crate::core::LinkId;

/// Tasks that run as long as the links do; aborted when dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    links: HashMap<Id, LinkId>,
}

impl Tasks {
    pub(super) fn spawn(&mut self, link: LinkId, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.links.insert(handle.id(), link);
    }

    /// Waits until a task has ended, by a panic or otherwise, and returns its link. Can be dropped without losing one.
    pub(super) async fn next_ended(&mut self) -> LinkId {
        loop {
            let id = match self.running.join_next_with_id().await {
                Some(Ok((id, ()))) => id,
                Some(Err(error)) => error.id(),
                None => pending().await,
            };
            if let Some(link) = self.links.remove(&id) {
                return link;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn next_ended(tasks: &mut Tasks) -> LinkId {
        timeout(Duration::from_secs(10), tasks.next_ended()).await.expect("an end within 10 s")
    }

    #[tokio::test]
    async fn a_task_that_ends_names_its_link_whether_it_panicked_or_not() {
        let mut tasks = Tasks::default();
        tasks.spawn(LinkId(1), pending());
        tasks.spawn(LinkId(2), async { panic!("a mistake in this program") });
        assert_eq!(next_ended(&mut tasks).await, LinkId(2));
        tasks.spawn(LinkId(1), async {});
        assert_eq!(next_ended(&mut tasks).await, LinkId(1));
    }
}
