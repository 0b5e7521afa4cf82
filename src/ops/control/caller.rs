//! The end of the socket that asks.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Answer, CallError, Request, socket_path};

/// How long the gateway may take: it may have to wait for its disk, and for other callers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Octets of an answer: far more than a page of sessions has.
const LONGEST_ANSWER: u64 = 256 << 20;

/// A conversation with a running gateway.
#[derive(Debug)]
pub struct Caller {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Caller {
    /// Calls the gateway that runs on this data directory; `None` if none listens there.
    pub fn call(dir: &Path) -> Result<Option<Self>, CallError> {
        let path = socket_path(dir);
        // None can listen on a path that is too long.
        let Ok(address) = SocketAddr::from_pathname(&path) else { return Ok(None) };
        let stream = match UnixStream::connect_addr(&address) {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    // The second is what a gateway that was killed leaves behind.
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => Ok(None),
                    ErrorKind::PermissionDenied => Err(CallError::NoPermission(path)),
                    _ => Err(CallError::Other { path, error }),
                };
            }
        };
        let set_up = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        set_up.map_err(|error| CallError::Other { path: path.clone(), error })?;
        Ok(Some(Self { path, stream: BufReader::new(stream) }))
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, CallError> {
        let mut line = Vec::new();
        self.exchange(request, &mut line).map_err(|error| self.trouble(error))?;
        if line.last() != Some(&b'\n') {
            return Err(CallError::Ended(self.path.clone()));
        }
        serde_json::from_slice(&line).map_err(|error| CallError::Garbled { path: self.path.clone(), error })
    }

    fn exchange(&mut self, request: &Request, answer: &mut Vec<u8>) -> io::Result<()> {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        self.stream.get_mut().write_all(&text)?;
        (&mut self.stream).take(LONGEST_ANSWER).read_until(b'\n', answer)?;
        Ok(())
    }

    fn trouble(&self, error: io::Error) -> CallError {
        let path = self.path.clone();
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => CallError::Silent(path),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => CallError::Ended(path),
            _ => CallError::Other { path, error },
        }
    }
}
