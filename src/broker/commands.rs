//! The way of commands from the application to a connection's task: in batches, with one wake for each batch.
//!
//! The queue takes memory for what is in it only, because most connections have nothing to do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::core::BrokerCommand;

/// An empty queue keeps the memory of so many commands, whatever it was used for last.
const KEPT_AT_LEAST: usize = 4;

/// Makes a queue for so many commands.
pub(super) fn queue(room: usize) -> (Sender, Receiver) {
    let shared = Arc::new(Shared { state: Mutex::default(), room, receiver: AtomicWaker::new() });
    (Sender(Arc::clone(&shared)), Receiver { shared, batch: VecDeque::new() })
}

#[derive(Debug)]
pub(super) struct Sender(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Receiver {
    shared: Arc<Shared>,
    /// Taken from the queue, in order.
    batch: VecDeque<BrokerCommand>,
}

/// Why a command was not taken.
#[derive(Debug)]
pub(super) enum Unsent {
    Full(BrokerCommand),
    /// The receiver is gone.
    Closed(BrokerCommand),
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    room: usize,
    receiver: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<BrokerCommand>,
    ends: Ends,
}

/// Who is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ends {
    #[default]
    Both,
    OnlyOne,
}

impl Sender {
    /// Hands a command over. Never blocks for longer than the other end needs to take a batch.
    pub(super) fn send(&self, command: BrokerCommand) -> Result<(), Unsent> {
        let mut state = self.0.lock();
        match state.ends {
            Ends::Both => {}
            Ends::OnlyOne => return Err(Unsent::Closed(command)),
        }
        if state.waiting.len() >= self.0.room {
            return Err(Unsent::Full(command));
        }
        state.waiting.push_back(command);
        let is_first = state.waiting.len() == 1;
        drop(state);
        if is_first {
            self.0.receiver.wake();
        }
        Ok(())
    }
}

impl Receiver {
    /// Ready when there is a command to take, or never will be.
    pub(super) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        if !self.batch.is_empty() {
            return Poll::Ready(());
        }
        self.shared.receiver.register(context.waker());
        let state = self.shared.lock();
        if state.waiting.is_empty() && state.ends == Ends::Both { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Takes the next command.
    pub(super) fn take(&mut self) -> Taken {
        if let Some(command) = self.batch.pop_front() {
            return Taken::Command(command);
        }
        let mut state = self.shared.lock();
        if state.waiting.is_empty() {
            return match state.ends {
                Ends::Both => Taken::Nothing,
                Ends::OnlyOne => Taken::Closed,
            };
        }
        std::mem::swap(&mut self.batch, &mut state.waiting);
        // A queue that is far larger than what comes is given back: the next burst makes it large again, and most
        // connections are quiet.
        if state.waiting.capacity() > KEPT_AT_LEAST.max(4 * self.batch.len()) {
            state.waiting = VecDeque::new();
        }
        drop(state);
        self.batch.pop_front().map_or(Taken::Nothing, Taken::Command)
    }
}

/// What is to be found in a queue.
#[derive(Debug)]
pub(super) enum Taken {
    Command(BrokerCommand),
    Nothing,
    /// Nothing, and nothing will come: the sender is gone.
    Closed,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().ends = Ends::OnlyOne;
        self.receiver.wake();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::core::Delivery;

    fn ack(number: u64) -> BrokerCommand {
        BrokerCommand::Ack { delivery: Delivery(number) }
    }

    fn is_ready(receiver: &Receiver) -> bool {
        receiver.poll_ready(&Context::from_waker(Waker::noop())).is_ready()
    }

    fn taken(receiver: &mut Receiver) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Taken::Command(BrokerCommand::Ack { delivery }) = receiver.take() {
            numbers.push(delivery.0);
        }
        numbers
    }

    #[test]
    fn commands_come_in_order_and_not_beyond_the_room() {
        let (sender, mut receiver) = queue(2);
        assert!(!is_ready(&receiver));
        sender.send(ack(1)).unwrap();
        sender.send(ack(2)).unwrap();
        assert!(matches!(sender.send(ack(3)), Err(Unsent::Full(_))));
        assert!(is_ready(&receiver));
        assert_eq!(taken(&mut receiver), [1, 2]);
        sender.send(ack(4)).unwrap();
        assert_eq!(taken(&mut receiver), [4]);
        assert!(!is_ready(&receiver));
    }

    #[test]
    fn a_large_queue_is_given_back_when_few_commands_come() {
        let (sender, mut receiver) = queue(10_000);
        let memory = |receiver: &Receiver| receiver.batch.capacity() + receiver.shared.lock().waiting.capacity();
        for _ in 0..2 {
            (0..1_000).for_each(|number| sender.send(ack(number)).unwrap());
            assert_eq!(taken(&mut receiver).len(), 1_000);
        }
        assert!(memory(&receiver) >= 2_000, "a busy connection keeps it");
        for _ in 0..3 {
            sender.send(ack(1)).unwrap();
            assert_eq!(taken(&mut receiver), [1]);
        }
        assert!(memory(&receiver) <= 2 * KEPT_AT_LEAST);
    }

    #[test]
    fn what_was_sent_before_the_end_is_there_and_then_the_end() {
        let (sender, mut receiver) = queue(2);
        sender.send(ack(1)).unwrap();
        drop(sender);
        assert!(is_ready(&receiver));
        assert_eq!(taken(&mut receiver), [1]);
        assert!(matches!(receiver.take(), Taken::Closed));
        let (sender, receiver) = queue(2);
        drop(receiver);
        assert!(matches!(sender.send(ack(1)), Err(Unsent::Closed(_))));
    }
}
