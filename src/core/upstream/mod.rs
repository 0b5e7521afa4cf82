//! Between the sessions and the broker: tokens, merged subscriptions, deliveries.
//!
//! Sessions see one interface, whatever the mode. Aggregating is the only one so far; a second mode makes
//! `Upstream` an enum with the same methods.

mod aggregating;
mod deliveries;
mod filters;

pub(super) use aggregating::{Aggregating as Upstream, PublishRefusal};
pub(super) use deliveries::Receipt;
pub(super) use filters::Recipient;
