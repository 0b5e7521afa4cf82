//! Topics: their names, their ids, and who wants which.

mod names;
mod registry;
mod tree;

pub use names::{TopicError, TopicFilter, TopicName};
pub use registry::{Full, Knowledge, Registry};
pub use tree::Tree;
