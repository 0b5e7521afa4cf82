//! The gateway's behaviour. Pure: no socket, clock, runtime, file or lock.
#![deny(clippy::disallowed_methods, clippy::wildcard_enum_match_arm)]

mod context;
pub mod deadlines;
mod discovery;
mod gateway;
mod io;
mod journal;
mod limits;
mod mapping;
mod notice;
mod outage;
mod predefined;
mod queueing;
pub mod rates;
mod records;
mod restore;
mod route;
mod session;
mod sessions;
mod settings;
mod stats;
mod status;
mod time;
pub mod topics;
mod upstream;

pub use gateway::Gateway;
pub use io::{
    BrokerCommand, BrokerEvent, BrokerOffer, BrokerReason, Cast, ConnId, ConnectSpec, Delivery, Frames, Input,
    LinkAddress, LinkId, LinkState, Message, Origin, Output, Outputs, PacketId, Peer, PublishOutcome, SubscribeOutcome,
    SubscriptionId, Token,
};
pub use journal::Durability;
pub use limits::Limits;
pub use mapping::PrefixTemplate;
pub use notice::{Bound, ConnectRefusal, LossReason, Notice, Outdated, Refused, Undeliverable};
pub use outage::{OutagePolicy, OutageRule, OutageSettings};
pub use queueing::{QueuePolicy, QueueRule};
pub use records::{
    ArrivalRecord, CheckpointRecord, ExchangeProgress, ExchangeRecord, FilterRecord, MessageRecord, NamingRecord,
    PresenceRecord, QueuedRecord, Record, RecordKey, RouteRecord, SessionNumber, SessionRecord, StoreOp, StoreToken,
    SubscriptionRecord, TopicRecord, UpstreamRecord, WillRecord,
};
pub use restore::Restored;
pub use route::Route;
pub use settings::{LinkSettings, Mode, Settings, Timers};
pub use stats::Stats;
pub use status::{ClientDetails, ClientPhase, ClientStatus};
pub use time::Instant;
