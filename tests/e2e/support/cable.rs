//! A cable between the gateway and the broker, which can be pulled out.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what goes between its two ends, while it is plugged in.
pub struct Cable {
    address: SocketAddr,
    plug: Arc<Mutex<Plug>>,
}

#[derive(Debug)]
enum Plug {
    /// With the connections that go over it; both ends of each.
    In(Vec<TcpStream>),
    Out,
}

impl Cable {
    /// A cable to the broker on this port of 127.0.0.1, plugged in.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let plug = Arc::new(Mutex::new(Plug::In(Vec::new())));
        let shared = Arc::clone(&plug);
        // Ends with the test program.
        thread::spawn(move || {
            for gateway in listener.incoming().flatten() {
                // Without a broker at the other end the connection breaks at once.
                if let Plug::In(connections) = &mut *shared.lock().expect("nobody panics while it holds the lock") {
                    let _ = join(gateway, port, connections);
                }
            }
        });
        Self { address, plug }
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Breaks all connections; new ones break at once.
    pub fn pull_out(&self) {
        let mut plug = self.plug.lock().expect("nobody panics while it holds the lock");
        if let Plug::In(connections) = std::mem::replace(&mut *plug, Plug::Out) {
            for end in connections {
                // It may have ended before.
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    pub fn plug_in(&self) {
        let mut plug = self.plug.lock().expect("nobody panics while it holds the lock");
        if matches!(*plug, Plug::Out) {
            *plug = Plug::In(Vec::new());
        }
    }
}

fn join(gateway: TcpStream, port: u16, connections: &mut Vec<TcpStream>) -> io::Result<()> {
    let broker = TcpStream::connect(("127.0.0.1", port))?;
    gateway.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    connections.extend([gateway.try_clone()?, broker.try_clone()?]);
    let (to_gateway, to_broker) = (gateway.try_clone()?, broker.try_clone()?);
    thread::spawn(move || pass(gateway, to_broker));
    thread::spawn(move || pass(broker, to_gateway));
    Ok(())
}

/// Passes octets on until one end is closed, and then closes the other.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = [0; 16384];
    while let Ok(octets @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..octets]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
