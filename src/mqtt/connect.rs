//! CONNECT and what CONNACK answers.

use super::packet::PacketError;
use super::{Version, v4, v5};
use crate::wire::Qos;

/// What a client asks of the broker. Not to be shown: the password is in it.
#[derive(Clone)]
pub struct Connect<'a> {
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    pub password: Option<&'a str>,
    pub keep_alive: u16,
    /// The broker shall forget what it has of the client. In 3.1.1 it then keeps nothing after the connection either.
    pub clean: bool,
    /// For how many seconds the broker keeps the session after the connection (MQTT 5 only).
    pub session_expiry: Option<u32>,
    /// How many messages at QoS 1 and 2 may wait for us to acknowledge them (MQTT 5 only).
    pub receive_maximum: u16,
    /// Octets of the longest packet that is taken (MQTT 5 only).
    pub largest_packet: u32,
    pub will: Option<Will<'a>>,
}

/// What the broker publishes if the connection breaks.
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
}

/// The broker's answer. What it does not say is as if it had no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck {
    pub session_present: bool,
    /// A reason code of MQTT 5 (§3.2.2.2); the return codes of 3.1.1 are mapped to it. 0 accepts.
    pub reason: u8,
    pub receive_maximum: u16,
    pub max_qos: Qos,
    pub retain: bool,
    pub subscription_ids: bool,
    pub max_packet: Option<u32>,
    /// The keep-alive to use instead of the one in CONNECT.
    pub keep_alive: Option<u16>,
}

impl Connect<'_> {
    /// Writes the packet.
    ///
    /// # Errors
    ///
    /// [`PacketError::Unwritable`] if something in it is longer than MQTT allows.
    pub fn write(&self, version: Version) -> Result<Vec<u8>, PacketError> {
        match version {
            Version::V5 => v5::write_connect(self),
            Version::V311 => v4::write_connect(self),
        }
    }
}
