//! Where there are no sockets in directories: a running gateway cannot be asked.

use std::convert::Infallible;
use std::path::Path;

use tokio::sync::mpsc;

use super::{Answer, Asked, CallError, ListenError, Request};

/// There is none.
#[derive(Debug)]
pub struct ControlSocket(Infallible);

impl ControlSocket {
    pub fn listen(_: &Path, _: mpsc::Sender<Asked>) -> Result<Self, ListenError> {
        Err(ListenError::NotHere)
    }
}

/// There is none.
#[derive(Debug)]
pub struct Caller(Infallible);

impl Caller {
    pub fn call(_: &Path) -> Result<Option<Self>, CallError> {
        Ok(None)
    }

    pub fn ask(&mut self, _: &Request) -> Result<Answer, CallError> {
        match self.0 {}
    }
}
