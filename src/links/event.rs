//! What the links tell the gateway.

use std::time::Duration;

use super::FrameBatch;
use super::serial::{PortError, PortInfo};
use super::udp::{JoinError, Membership};
use crate::core::LinkId;
use crate::wire::framing::{NoiseReason, Refusal};

#[derive(Debug)]
pub enum LinkEvent {
    Frames(FrameBatch),
    /// The link is open: frames can come and go.
    ///
    /// `port` is the serial port that it is, as this machine knows it.
    Up {
        link: LinkId,
        port: Option<Box<PortInfo>>,
    },
    /// The link is gone or could not be opened, and will be tried again.
    Down {
        link: LinkId,
        reason: DownReason,
        retry_in: Duration,
    },
    /// What is sent to a multicast group is received.
    Joined {
        link: LinkId,
        membership: Membership,
    },
    /// It is not, and will be tried again. What is sent to the link itself is received all the same.
    NotJoined {
        link: LinkId,
        membership: Membership,
        reason: JoinError,
        retry_in: Duration,
    },
    /// What the other end of a serial line says in words, such as a boot banner. At most 20 lines a second.
    Text {
        link: LinkId,
        line: String,
    },
    /// The kernel dropped datagrams because it had no room for more of them. At most one event in 5 seconds, for all
    /// that are known of since the last.
    Overflowed {
        link: LinkId,
        datagrams: u64,
    },
    /// A dongle did not send frames that it was given. At most one event a second, for all frames since the last.
    Undelivered {
        link: LinkId,
        frames: u64,
        reason: Undelivered,
    },
    /// Octets on a serial line that made no sense. At most one event a second, for all octets since the last.
    Noise {
        link: LinkId,
        octets: u64,
        /// Octets of the frames that were received meanwhile.
        in_frames: u64,
        first: Vec<u8>,
        reason: NoiseReason,
        stage: Stage,
    },
}

/// How far a serial port is after its opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Boards start up now, and some say so at a baud rate of their own.
    Settling,
    Settled,
}

/// Why a link is down.
#[derive(Debug, thiserror::Error)]
pub enum DownReason {
    #[error(transparent)]
    CannotOpen(#[from] PortError),
    #[error("{0}")]
    Lost(String),
}

/// Why a frame did not get from a dongle to its node. MQTT-SN sends again what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the dongle has not said that it took it")]
    Unconfirmed,
}
