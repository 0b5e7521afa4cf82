//! The gateway's behaviour. Pure: no socket, clock, runtime, file or lock.
#![deny(clippy::disallowed_methods)]

pub mod deadlines;
mod io;
mod limits;
mod notice;
pub mod rates;
mod settings;
mod time;
pub mod topics;

pub use io::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, ConnId, Delivery, Frames, Input, LinkAddress, LinkId,
    Message, Output, Outputs, Peer, PublishOutcome, SubscribeOutcome, SubscriptionId, Token,
};
pub use limits::Limits;
pub use notice::Notice;
pub use settings::{LinkSettings, Settings, Timers};
pub use time::Instant;
