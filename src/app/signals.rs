//! The signals by which an operating system asks a service to stop.

use std::io;

use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// To stop; with the signal's name.
    Stop(&'static str),
    Reload,
}

/// Signals that wait to be acted on; more of them say nothing new.
const WAITING: usize = 4;

/// The signals of the process, once asked for: before, they end it.
///
/// A task waits for them and tells them over one channel: the gateway's loop looks for them in every turn, and to ask the
/// system's side of each signal would cost it more than the frame that it has just handled.
pub(super) struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// Begins to listen. Must be called within a Tokio runtime.
    pub(super) fn listen() -> io::Result<Self> {
        let mut system = SystemSignals::listen()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move { while sender.send(system.next().await).await.is_ok() {} });
        Ok(Self(receiver))
    }

    /// Waits for the next signal. Can be dropped without losing one.
    pub(super) async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            // The task ends with the runtime.
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
struct SystemSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// Never waited for. It ends a process whose file becomes larger than the system allows (`ulimit -f`), unless that
    /// listens: then it is the write that fails, and whoever writes says so.
    _file_too_large: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl SystemSignals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

/// Ctrl-C and the end of the console, which are all that Windows has.
#[cfg(windows)]
struct SystemSignals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_close: tokio::signal::windows::CtrlClose,
    ctrl_shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl SystemSignals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self { ctrl_c: ctrl_c()?, ctrl_close: ctrl_close()?, ctrl_shutdown: ctrl_shutdown()? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.ctrl_c.recv() => Signal::Stop("Ctrl-C"),
            _ = self.ctrl_close.recv() => Signal::Stop("the console closes"),
            _ = self.ctrl_shutdown.recv() => Signal::Stop("the system shuts down"),
        }
    }
}
