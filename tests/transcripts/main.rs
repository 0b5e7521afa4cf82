//! The gateway's behaviour as dialogues on a virtual clock: clients speak in hex frames, a scripted broker answers.
//!
//! Silence is part of every dialogue: a frame, a broker command or a notice that a test does not ask for fails it at
//! the next thing that happens (see `world.rs`).
//!
//! The dialogues are compiled once for each mode, and once more with a store. Where these differ a step says so
//! (`gets_if_shared`, `gets_if_own`, `gets_if_kept`, `is_shared`, `keeps`); what makes sense in one of them only stands
//! in a file that is mounted there only.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "as in tests beside the code"
)]
#![allow(clippy::duplicate_mod, reason = "one dialogue, two modes")]

mod anything;
mod broker;
mod frames;
mod store;
mod words;
mod world;

/// All clients over one MQTT connection.
#[path = "."]
mod aggregating {
    use crate::{broker, frames, world};

    /// What the dialogues start from in this mode.
    type World = world::WorldOver<world::Aggregating>;

    mod connect;
    mod conversations;
    mod deliver;
    mod discovery;
    mod encapsulation;
    mod forget;
    mod limits;
    mod links;
    mod lossy;
    mod mapping;
    mod matrix;
    mod outages;
    mod publish;
    mod queueing;
    mod quirks;
    mod register;
    mod retry;
    mod sleep;
    mod storeless;
    mod strays;
    mod subscribe;
    mod takeover;
    mod will;

    // What one connection for all makes necessary.
    mod covers;
    mod retained;
    mod routing;
    mod shared_outages;
    mod shared_will;
}

/// All clients over one MQTT connection, with a store.
#[path = "."]
mod durable {
    use crate::{broker, frames, world};

    /// What the dialogues start from in this mode.
    type World = world::WorldOver<world::Durable>;

    mod connect;
    mod conversations;
    mod deliver;
    mod discovery;
    mod encapsulation;
    mod forget;
    mod limits;
    mod links;
    mod lossy;
    mod mapping;
    mod matrix;
    mod outages;
    mod publish;
    mod queueing;
    mod quirks;
    mod register;
    mod retry;
    mod sleep;
    mod strays;
    mod subscribe;
    mod takeover;
    mod will;

    mod covers;
    mod retained;
    mod routing;
    mod shared_outages;
    mod shared_will;

    // What a store promises.
    mod failing;
    mod kept;
    mod restart_broker;
    mod restart_exchanges;
    mod restarts;
    mod stored;
}

/// An MQTT connection for each client.
#[path = "."]
mod transparent {
    use crate::{broker, frames, world};

    /// What the dialogues start from in this mode.
    type World = world::WorldOver<world::Transparent>;

    mod connect;
    mod conversations;
    mod deliver;
    mod discovery;
    mod encapsulation;
    mod forget;
    mod limits;
    mod links;
    mod lossy;
    mod mapping;
    mod matrix;
    mod outages;
    mod publish;
    mod queueing;
    mod quirks;
    mod register;
    mod retry;
    mod sleep;
    mod storeless;
    mod strays;
    mod subscribe;
    mod takeover;
    mod will;

    // What a connection of its own makes possible.
    mod own_connection;
    mod own_outages;
    mod own_sessions;
}

/// An MQTT connection for each client, with a store.
#[path = "."]
mod durable_transparent {
    use crate::{broker, frames, world};

    /// What the dialogues start from in this mode.
    type World = world::WorldOver<world::DurableTransparent>;

    mod connect;
    mod conversations;
    mod deliver;
    mod discovery;
    mod encapsulation;
    mod limits;
    mod links;
    mod lossy;
    mod mapping;
    mod matrix;
    mod outages;
    mod publish;
    mod queueing;
    mod quirks;
    mod register;
    mod retry;
    mod sleep;
    mod strays;
    mod subscribe;
    mod takeover;
    mod will;

    mod own_connection;
    mod own_outages;
    mod own_restarts;
    mod own_sessions;
}
