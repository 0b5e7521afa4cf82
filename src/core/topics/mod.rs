//! Topics: their names, their ids, and who wants which.

mod names;
mod tree;

pub use names::{TopicError, TopicFilter, TopicName};
pub use tree::Tree;
