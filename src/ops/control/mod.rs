//! How a running gateway is asked: a socket in its data directory, for the user it runs as and nobody else.
//!
//! A connection carries lines of JSON: a [`Request`] and its [`Answer`], any number of times. The requests go through a
//! bounded channel to whoever owns the sessions, so that a question is one input among others and stalls nobody: a long
//! answer comes in pages.

use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

mod message;

#[cfg(unix)]
mod caller;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod socket;

pub use message::{
    Answer, QueuedMessage, Request, SessionDetails, SessionState, SessionSummary, SubscribedFilter, TopicName,
    WillTerms,
};

#[cfg(unix)]
pub use caller::Caller;
#[cfg(not(unix))]
pub use elsewhere::{Caller, ControlSocket};
#[cfg(unix)]
pub use socket::ControlSocket;

/// A request on its way to whoever can answer it. Dropped without an answer it tells that the gateway is stopping.
#[derive(Debug)]
pub struct Asked {
    pub request: Request,
    pub answer: oneshot::Sender<Answer>,
}

/// Why a running gateway cannot be asked. It does its work all the same.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("the path {} is too long for a socket: choose a shorter data_dir, or a relative one", .0.display())]
    TooLong(PathBuf),
    #[error("{} is there and is no socket: move it away", .0.display())]
    Taken(PathBuf),
    #[error("{}: {error}", .path.display())]
    Other { path: PathBuf, error: std::io::Error },
    #[error("this system has no sockets in directories")]
    NotHere,
}

/// Why there is no answer from a gateway that runs.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no permission to ask the gateway at {}: run this as the user that the gateway runs as, or with sudo", .0.display())]
    NoPermission(PathBuf),
    #[error("the gateway at {} does not answer: its log may say why", .0.display())]
    Silent(PathBuf),
    #[error("the gateway at {} has ended the conversation: it is stopping, or its log says why", .0.display())]
    Ended(PathBuf),
    #[error("the gateway at {} answers what this version does not understand ({error}): use the gateway's own program", .path.display())]
    Garbled { path: PathBuf, error: serde_json::Error },
    #[error("the gateway at {} cannot be asked: {error}", .path.display())]
    Other { path: PathBuf, error: std::io::Error },
}

fn socket_path(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}
