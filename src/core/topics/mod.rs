//! Topics: their names, their ids, and who wants which.

mod names;

pub use names::{TopicError, TopicFilter, TopicName};
