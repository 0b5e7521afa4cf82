//! A gateway for tests that follows a script over UDP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Each frame that must come, and what is then answered; all in hexadecimal.
pub(super) type Script<'a> = &'a [(&'a str, &'a [&'a str])];

/// A socket on loopback that nobody has told anyone of yet.
pub(super) struct Scripted {
    socket: UdpSocket,
}

impl Scripted {
    pub(super) async fn on(host: &str) -> Self {
        Self { socket: UdpSocket::bind((host, 0)).await.unwrap() }
    }

    pub(super) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Follows the script, and panics where the client does not.
    pub(super) async fn play(&self, script: Script<'_>) {
        for (expected, answers) in script {
            let from = self.expect(expected).await;
            for answer in *answers {
                self.socket.send_to(&hex::decode(answer).unwrap(), from).await.unwrap();
            }
        }
    }

    async fn expect(&self, expected: &str) -> SocketAddr {
        let mut frame = [0; 1_500];
        let received = timeout(Duration::from_secs(20), self.socket.recv_from(&mut frame)).await;
        let (length, from) = received.unwrap_or_else(|_| panic!("{expected} has not come")).unwrap();
        assert_eq!(hex::encode(&frame[..length]), *expected);
        from
    }
}
