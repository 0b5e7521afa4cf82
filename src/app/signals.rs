//! The signals by which an operating system asks a service to stop.

use std::io;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// To stop; with the signal's name.
    Stop(&'static str),
    Reload,
}

/// The signals of the process, once asked for: before, they end it.
#[cfg(unix)]
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// Never waited for. It ends a process whose file becomes larger than the system allows (`ulimit -f`), unless that
    /// listens: then it is the write that fails, and whoever writes says so.
    _file_too_large: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    /// Waits for the next signal. Can be dropped without losing one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

/// Ctrl-C and the end of the console, which are all that Windows has.
#[cfg(windows)]
pub(super) struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_close: tokio::signal::windows::CtrlClose,
    ctrl_shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self { ctrl_c: ctrl_c()?, ctrl_close: ctrl_close()?, ctrl_shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next signal. Can be dropped without losing one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.ctrl_c.recv() => Signal::Stop("Ctrl-C"),
            _ = self.ctrl_close.recv() => Signal::Stop("the console closes"),
            _ = self.ctrl_shutdown.recv() => Signal::Stop("the system shuts down"),
        }
    }
}
