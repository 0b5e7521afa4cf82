//! What the store asks of a database.

use super::batch::Batch;
use super::label::Label;
use super::trouble::Trouble;

/// An ordered map of octets that outlives the process, and some labels beside it.
pub(super) trait Shelf {
    /// Shows every record, in the order of the keys.
    fn read(&self, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Trouble>;

    fn label(&self, label: Label) -> Result<Option<Box<[u8]>>, Trouble>;
}

/// A shelf that can be written to.
///
/// After an error an engine is of no more use: it is dropped, and what the disk holds then is found out by opening it
/// anew. It is the state before the batch, or that after it.
pub(super) trait Engine: Shelf + Send {
    /// Carries out the batch as a whole. When this returns, it survives a power cut.
    ///
    /// What is there already as it should be is not written again; if that is all of it, nothing is written.
    fn commit(&mut self, batch: &Batch) -> Result<Outcome, Trouble>;
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// All of it was there already.
    Unchanged,
}

/// Opens the engine, at the start and again after every error.
pub(super) type Opener = Box<dyn FnMut() -> Result<Box<dyn Engine>, Trouble> + Send>;
