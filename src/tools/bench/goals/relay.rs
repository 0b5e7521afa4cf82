//! A way to the broker that can be cut and mended, so that the broker is away for the gateway and there for whoever
//! counts.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;

/// Carries TCP connections to a port of this machine, each way in a thread. It ends with the process.
#[derive(Debug)]
pub(super) struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// With the connections that it carries.
    Open(Vec<TcpStream>),
    Cut,
}

impl Relay {
    pub(super) fn to(broker: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on this machine")?;
        let port = listener.local_addr().context("cannot listen on this machine")?.port();
        let state = Arc::new(Mutex::new(State::Open(Vec::new())));
        let relay = Self { port, state: Arc::clone(&state) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever is not carried finds the connection closed.
                let _ = carry(client, broker, &state);
            }
        });
        Ok(relay)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections. Others end as soon as they begin.
    pub(super) fn cut(&self) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Cut);
        let State::Open(streams) = before else { return };
        for stream in streams {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries connections again.
    pub(super) fn mend(&self) {
        *lock(&self.state) = State::Open(Vec::new());
    }
}

fn carry(client: TcpStream, broker: u16, state: &Mutex<State>) -> io::Result<()> {
    let mut state = lock(state);
    let State::Open(streams) = &mut *state else { return Ok(()) };
    let server = TcpStream::connect(("127.0.0.1", broker))?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        from.set_nodelay(true)?;
        streams.push(from.try_clone()?);
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            // However it ends, it ends for both.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// Nothing is done under the lock that could leave the state half changed.
fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_cut_ends_what_was_carried_and_what_is_mended_carries_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::to(listener.local_addr().unwrap().port()).unwrap();
        let carries = || {
            let mut client = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
            client.write_all(b"x").unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.read_exact(&mut [0]).unwrap();
            client
        };
        let mut client = carries();
        relay.cut();
        assert_eq!(client.read(&mut [0]).unwrap_or_default(), 0);
        let mut other = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
        assert_eq!(other.read(&mut [0]).unwrap_or_default(), 0);
        relay.mend();
        carries();
    }
}
