//! Where the sessions are: with a gateway that runs, or in the store that a stopped one has left.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{anyhow, bail};

use super::stored::Stored;
use crate::core::{Instant, StoreOp, StoreToken};
use crate::ops::control::{Answer, Caller, Request, SessionDetails, SessionSummary};
use crate::store::{OpenError, Store, StoreSettings};

/// Who has the sessions.
pub(super) struct Source {
    dir: PathBuf,
    holder: Holder,
}

enum Holder {
    Gateway(Caller),
    Store(Stored),
}

/// Whether the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GatewayState {
    Running,
    Stopped,
}

/// What a session has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten {
    pub(super) kept_for_broker: usize,
}

impl Source {
    /// Calls the gateway, or opens the store if it does not run.
    pub(super) fn find(dir: &Path) -> anyhow::Result<Self> {
        let holder = match Caller::call(dir)? {
            Some(gateway) => Holder::Gateway(gateway),
            None => Holder::Store(read(dir)?),
        };
        Ok(Self { dir: dir.to_owned(), holder })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn state(&self) -> GatewayState {
        match self.holder {
            Holder::Gateway(_) => GatewayState::Running,
            Holder::Store(_) => GatewayState::Stopped,
        }
    }

    /// Returns how many messages a stopped gateway keeps for the broker whose senders have no session any more.
    pub(super) fn ownerless(&self) -> usize {
        match &self.holder {
            Holder::Gateway(_) => 0,
            Holder::Store(stored) => stored.ownerless(),
        }
    }

    /// Returns all sessions. Of a gateway that runs they are read a page at a time, and may change in between.
    pub(super) fn list(&mut self) -> anyhow::Result<Vec<SessionSummary>> {
        let gateway = match &mut self.holder {
            Holder::Store(stored) => return Ok(stored.list()),
            Holder::Gateway(gateway) => gateway,
        };
        let (mut all, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            match gateway.ask(&Request::Sessions { from })? {
                Answer::Sessions { sessions, next: following } => {
                    all.extend(sessions);
                    next = following.filter(|following| *following > from);
                }
                other
                @ (Answer::Session(_) | Answer::NoSession | Answer::Forgotten { .. } | Answer::Problem { .. }) => {
                    return Err(unexpected(other));
                }
            }
        }
        Ok(all)
    }

    /// Returns all about one session, if there is one.
    pub(super) fn show(&mut self, client_id: &str) -> anyhow::Result<Option<SessionDetails>> {
        let gateway = match &mut self.holder {
            Holder::Store(stored) => return Ok(stored.show(client_id)),
            Holder::Gateway(gateway) => gateway,
        };
        match gateway.ask(&Request::Session { client_id: client_id.to_owned() })? {
            Answer::Session(session) => Ok(Some(*session)),
            Answer::NoSession => Ok(None),
            other @ (Answer::Sessions { .. } | Answer::Forgotten { .. } | Answer::Problem { .. }) => {
                Err(unexpected(other))
            }
        }
    }

    /// Ends a session, if there is one.
    pub(super) fn forget(&mut self, client_id: &str) -> anyhow::Result<Option<Forgotten>> {
        let gateway = match &mut self.holder {
            Holder::Store(stored) => return forget_stored(&self.dir, stored, client_id),
            Holder::Gateway(gateway) => gateway,
        };
        match gateway.ask(&Request::Forget { client_id: client_id.to_owned() })? {
            Answer::Forgotten { kept_for_broker } => Ok(Some(Forgotten { kept_for_broker })),
            Answer::NoSession => Ok(None),
            other @ (Answer::Sessions { .. } | Answer::Session(_) | Answer::Problem { .. }) => Err(unexpected(other)),
        }
    }
}

impl GatewayState {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }
}

fn read(dir: &Path) -> anyhow::Result<Stored> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match Store::read_only(dir) {
        Ok(restored) => Ok(Stored::new(restored, Instant::from_origin(since_epoch))),
        Err(OpenError::InUse { holder, .. }) => Err(mute(dir, holder)),
        Err(error @ OpenError::Missing { .. }) => Err(anyhow!(
            "{error}\n  --data-dir DIR names the directory, --config FILE the configuration that names it; relative \
             paths count from the directory in which the gateway is started"
        )),
        Err(error @ (OpenError::Disk { .. } | OpenError::Newer { .. } | OpenError::Older { .. })) => Err(error.into()),
    }
}

/// The store is taken, and nobody can be asked.
fn mute(dir: &Path, holder: Option<u32>) -> anyhow::Error {
    let process = holder.map(|process| format!(" (process {process})")).unwrap_or_default();
    let why = if cfg!(unix) {
        "it has no control socket: it may be about to start or to stop, or its log says why"
    } else {
        "on this system it cannot be asked while it runs; stop it first"
    };
    anyhow!("the gateway on {}{process} runs, and {why}", dir.display())
}

fn forget_stored(dir: &Path, stored: &Stored, client_id: &str) -> anyhow::Result<Option<Forgotten>> {
    let Some((number, kept_for_broker)) = stored.find(client_id) else { return Ok(None) };
    let (store, _) = Store::open(dir, StoreSettings::default())?;
    store.submit(vec![StoreOp::ForgetSession(number)], StoreToken::default());
    if let Err(error) = store.close() {
        bail!("the session of {client_id:?} is still there: {error}");
    }
    Ok(Some(Forgotten { kept_for_broker }))
}

fn unexpected(answer: Answer) -> anyhow::Error {
    match answer {
        Answer::Problem { text } => anyhow!("the gateway says: {text}"),
        other @ (Answer::Sessions { .. } | Answer::Session(_) | Answer::NoSession | Answer::Forgotten { .. }) => {
            anyhow!("the gateway answers something else than was asked: {other:?}")
        }
    }
}
