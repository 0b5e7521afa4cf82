//! From the command line to a running gateway, and from the end of its work to an exit code.

use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::banner;
use super::cli::GatewayArgs;
use super::config::Config;
use super::connections::Connections;
use super::control::Requests;
use super::driver::{Driver, Ended, Sources};
use super::gathering::Gathering;
use super::keeping::Keeping;
use super::signals::Signals;
use super::{WRONG_USAGE, complain, runtime};
use crate::broker::{Broker, ClientSettings};
use crate::core::{SessionNumber, Settings};
use crate::links::{Links, OpenError};
use crate::ops::logging;
use crate::wire::framing::Direction;

/// How long tasks that are still in a system call may take to end; with the farewell less than five seconds.
const LAST_CALLS: Duration = Duration::from_millis(200);

/// Runs the gateway until a signal ends it.
pub fn run(args: &GatewayArgs) -> ExitCode {
    let config = match configuration(args) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let _log = match logging::parse_filter(&config.log.level) {
        Ok(filter) => logging::start(filter, config.log.format),
        Err(error) => return complain(&error.to_string()),
    };
    let gathering = Arc::new(Gathering::new(config.gather));
    let runtime = match runtime::gathering_event_loop(Arc::clone(&gathering)) {
        Ok(runtime) => runtime,
        Err(error) => return complain(&runtime::no_event_loop(&error)),
    };
    // As a task, because tasks wake one another without a word to the system, but not what the runtime waits for.
    let outcome = runtime.block_on(async { tokio::spawn(serve(config, gathering)).await });
    // Nobody aborts it.
    let outcome = outcome.unwrap_or_else(|panic| panic::resume_unwind(panic.into_panic()));
    runtime.shutdown_timeout(LAST_CALLS);
    match outcome {
        Ok(Ended::InOrder) => info!("stopped"),
        Ok(Ended::Late) => warn!("stopped without the broker's answer"),
        Ok(Ended::Hurried) => warn!("stopped at once: a second signal came"),
        Ok(Ended::Broken(part)) => {
            error!("stopped: {part} ended, which must not happen; the lines above may say why");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            error!("cannot start: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Reads the configuration, or says what is wrong with it and returns the exit code.
pub(super) fn configuration(args: &GatewayArgs) -> Result<Config, ExitCode> {
    let mut overrides = args.overrides();
    overrides.log = overrides.log.or_else(|| std::env::var("RUST_LOG").ok());
    Config::load(args.config.as_deref(), &overrides).map_err(|error| {
        let code = complain(&error.to_string());
        if error.is_about_a_flag() { ExitCode::from(WRONG_USAGE) } else { code }
    })
}

async fn serve(mut config: Config, gathering: Arc<Gathering>) -> anyhow::Result<Ended> {
    let signals = Signals::listen().context("the system does not let us listen for signals")?;
    if let Some(address) = config.embedded_broker {
        embedded::start(address, &mut config)?;
    }
    let (link_sender, link_events) = mpsc::channel(config.queues.link_events);
    let links = Links::open(&config.links(), Direction::Uplink, &link_sender).map_err(with_remedy)?;
    // From now on the links hold the only senders, so that the channel ends with them.
    drop(link_sender);
    banner::show(&config, &links);
    let (mut keeping, legacy, durability) = Keeping::open(&config)?;
    let (broker_sender, broker_events) = mpsc::channel(config.queues.broker_events);
    let broker = Broker::new(config.broker.clone(), client_settings(&config))?;
    let own = keeping.keeper(SessionNumber::GATEWAY);
    keeping.doubt_session().await;
    let connections = Connections::start(broker, own, broker_sender);
    let settings = Settings { durability, ..config.core_settings() };
    let driver = Driver::new(settings, links, connections, (keeping, legacy), banner::broker_remedy(&config));
    let requests = Requests::listen(&config, durability);
    Ok(driver.run(Sources { links: link_events, broker: broker_events, requests, signals, gathering }).await)
}

/// What devices' own connections to the broker are told.
fn client_settings(config: &Config) -> ClientSettings {
    ClientSettings {
        client_id: config.devices.client_id.clone(),
        username: config.devices.username.clone(),
        session_expiry: config.timers.session_expiry,
        connects_at_once: config.limits.broker_connects_at_once,
        ..ClientSettings::default()
    }
}

fn with_remedy(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::InUse { .. } => anyhow::anyhow!(
            "{error}\n  the port is in use; choose another with --udp ADDRESS:PORT, or with `listen` in [[udp]]"
        ),
        OpenError::NoSuchAddress { .. } | OpenError::NoPermission { .. } | OpenError::Other { .. } => error.into(),
    }
}

#[cfg(feature = "embedded-broker")]
mod embedded {
    use std::net::SocketAddr;

    use super::Config;
    use crate::broker::EmbeddedBroker;

    /// Starts the embedded broker and makes it the one to connect to.
    pub(super) fn start(address: SocketAddr, config: &mut Config) -> anyhow::Result<()> {
        let broker = EmbeddedBroker::start(address).map_err(|error| {
            anyhow::anyhow!(
                "{error}\n  if a broker runs there already, leave --embedded-broker out to use it; \
                 otherwise choose another port, as in --embedded-broker=127.0.0.1:1884"
            )
        })?;
        let local = broker.gateway_addr();
        config.embedded_broker = Some(broker.addr());
        config.broker.url.host = local.ip().to_string();
        config.broker.url.port = local.port();
        config.broker.protocol = EmbeddedBroker::PROTOCOL;
        config.broker.retained = EmbeddedBroker::RETAINED;
        Ok(())
    }
}

#[cfg(not(feature = "embedded-broker"))]
mod embedded {
    use std::net::SocketAddr;

    use super::Config;

    pub(super) fn start(_: SocketAddr, _: &mut Config) -> anyhow::Result<()> {
        anyhow::bail!("this build has no embedded broker; name one with --broker URL")
    }
}
