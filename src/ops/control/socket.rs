//! The gateway's end of the socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::{Answer, Asked, ListenError, Request, socket_path};

/// Who else calls waits until one of them has hung up.
const CALLERS_AT_ONCE: usize = 4;

/// Octets of a request, with a long client id in it.
const LONGEST_REQUEST: u64 = 128 * 1024;

/// How long a caller may take for its next request, and to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait after an accept that failed: there are no file descriptors left, and trying at once brings none.
const RECOVERY: Duration = Duration::from_secs(1);

/// A socket in the data directory of a running gateway. Dropping it takes it away.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Listens in a directory that belongs to this process: a socket that is there is a former one's. What is asked goes
    /// to `asked`. Must be called within a Tokio runtime.
    pub fn listen(dir: &Path, asked: mpsc::Sender<Asked>) -> Result<Self, ListenError> {
        let path = socket_path(dir);
        if SocketAddr::from_pathname(&path).is_err() {
            return Err(ListenError::TooLong(path));
        }
        match fs::symlink_metadata(&path) {
            Ok(there) if !there.file_type().is_socket() => return Err(ListenError::Taken(path)),
            Ok(_) => fs::remove_file(&path).map_err(|error| ListenError::Other { path: path.clone(), error })?,
            Err(_) => {}
        }
        let listener = bind(&path).map_err(|error| ListenError::Other { path: path.clone(), error })?;
        let task = tokio::spawn(serve(listener, asked));
        Ok(Self { path, task })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        // One that stays is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Nobody can connect before `listen`, and by then only the owner may.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(16)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let callers = Arc::new(Semaphore::new(CALLERS_AT_ONCE));
    while let Ok(place) = Arc::clone(&callers).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let asked = asked.clone();
                tokio::spawn(async move {
                    // A caller that hangs up, or says nothing, is not missed.
                    let _ = converse(stream, &asked).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("the control socket takes no connections at present: {error}");
                tokio::time::sleep(RECOVERY).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut stream).take(LONGEST_REQUEST);
        timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
        if line.last() != Some(&b'\n') {
            // The end, or more than a request can have.
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => ask(asked, request).await,
            Err(error) => Answer::Problem { text: format!("the request cannot be read: {error}") },
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        timeout(PATIENCE, stream.write_all(&text)).await??;
    }
}

async fn ask(asked: &mpsc::Sender<Asked>, request: Request) -> Answer {
    let stopping = || Answer::Problem { text: "the gateway is stopping".to_owned() };
    let (sender, answer) = oneshot::channel();
    if asked.send(Asked { request, answer: sender }).await.is_err() {
        return stopping();
    }
    answer.await.unwrap_or_else(|_| stopping())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use tempfile::TempDir;
    use tokio::task::spawn_blocking;

    use super::super::{CallError, Caller};
    use super::*;

    fn dir() -> TempDir {
        TempDir::new().unwrap()
    }

    /// Answers every request with that nobody has a session.
    fn nobody(dir: &Path) -> (ControlSocket, JoinHandle<()>) {
        let (sender, mut asked) = mpsc::channel::<Asked>(1);
        let socket = ControlSocket::listen(dir, sender).unwrap();
        let answering = tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                asked.answer.send(Answer::NoSession).unwrap();
            }
        });
        (socket, answering)
    }

    async fn raw(dir: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(socket_path(dir)).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_caller_gets_an_answer_to_each_request() {
        let dir = dir();
        let _nobody = nobody(dir.path());
        let path = dir.path().to_owned();
        let answers = spawn_blocking(move || {
            let mut caller = Caller::call(&path).unwrap().unwrap();
            let request = Request::Session { client_id: "c".repeat(1_000) };
            [caller.ask(&request).unwrap(), caller.ask(&Request::Sessions { from: 0 }).unwrap()]
        });
        assert_eq!(answers.await.unwrap(), [Answer::NoSession, Answer::NoSession]);
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_so_and_what_has_no_end_is_hung_up() {
        let dir = dir();
        let _nobody = nobody(dir.path());
        let answer = raw(dir.path(), b"{\"request\":\"reboot\"}\n").await;
        assert!(answer.contains("the request cannot be read: unknown variant `reboot`"), "{answer}");
        assert_eq!(raw(dir.path(), b"{\"request\"").await, "");
        let mut stream = UnixStream::connect(socket_path(dir.path())).await.unwrap();
        let endless = vec![b'x'; usize::try_from(LONGEST_REQUEST).unwrap() + 1];
        // The gateway may hang up before it has read all.
        let _ = stream.write_all(&endless).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_a_file_of_another_kind_is_not() {
        let dir = dir();
        drop(StdListener::bind(socket_path(dir.path())).unwrap());
        assert!(Caller::call(dir.path()).unwrap().is_none());
        drop(nobody(dir.path()));
        assert!(!socket_path(dir.path()).exists());
        fs::write(socket_path(dir.path()), "mine").unwrap();
        let (sender, _asked) = mpsc::channel(1);
        assert!(matches!(ControlSocket::listen(dir.path(), sender), Err(ListenError::Taken(_))));
        assert_eq!(fs::read(socket_path(dir.path())).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn only_the_owner_may_connect() {
        let dir = dir();
        let _nobody = nobody(dir.path());
        let mode = fs::metadata(socket_path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_says_so_and_nobody_can_be_called_there() {
        let dir = dir();
        let long = dir.path().join("d".repeat(120));
        fs::create_dir(&long).unwrap();
        let (sender, _asked) = mpsc::channel(1);
        let error = ControlSocket::listen(&long, sender).unwrap_err();
        assert!(error.to_string().contains("too long for a socket: choose a shorter data_dir"), "{error}");
        assert!(Caller::call(&long).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_gateway_that_stops_says_so() {
        let dir = dir();
        let (sender, asked) = mpsc::channel(1);
        let _socket = ControlSocket::listen(dir.path(), sender).unwrap();
        drop(asked);
        let answer = raw(dir.path(), b"{\"request\":\"sessions\",\"from\":0}\n").await;
        assert!(answer.contains("the gateway is stopping"), "{answer}");
    }

    #[test]
    fn a_gateway_that_hangs_up_is_no_answer() {
        let dir = dir();
        let listener = StdListener::bind(socket_path(dir.path())).unwrap();
        let mut caller = Caller::call(dir.path()).unwrap().unwrap();
        drop(listener.accept().unwrap());
        assert!(matches!(caller.ask(&Request::Sessions { from: 0 }), Err(CallError::Ended(_))));
    }
}
