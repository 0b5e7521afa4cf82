//! The gateway's behaviour. Pure: no socket, clock, runtime, file or lock.
#![deny(clippy::disallowed_methods, clippy::wildcard_enum_match_arm)]

mod context;
pub mod deadlines;
mod gateway;
mod io;
mod limits;
mod notice;
mod predefined;
pub mod rates;
mod route;
mod session;
mod sessions;
mod settings;
mod stats;
mod time;
pub mod topics;
mod upstream;

pub use gateway::Gateway;
pub use io::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, ConnId, Delivery, Frames, Input, LinkAddress, LinkId,
    Message, Output, Outputs, Peer, PublishOutcome, SubscribeOutcome, SubscriptionId, Token,
};
pub use limits::Limits;
pub use notice::{ConnectRefusal, LossReason, Notice, Refused, Undeliverable};
pub use route::Route;
pub use settings::{LinkSettings, Settings, Timers};
pub use stats::Stats;
pub use time::Instant;
