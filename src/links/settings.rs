//! What a link is told before it opens.

use std::net::SocketAddr;
use std::time::Duration;

use crate::wire::framing::Framing;

/// One link to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkConfig {
    Udp(UdpSettings),
    Serial(SerialSettings),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpSettings {
    /// `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// Octets that the kernel holds while the gateway is busy; the system may allow less. 1 MiB by default: some
    /// thousands of sensor readings.
    pub receive_buffer: usize,
    /// None by default: nobody's network should get a new sender unasked.
    pub multicast: Multicast,
}

/// The multicast groups over which clients find a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicast {
    pub groups: Vec<SocketAddr>,
    /// By name or address; none is the one that the system chooses.
    pub interfaces: Vec<String>,
    /// The most routers a frame may pass, the first network counted: 1 by default, which stays on that network.
    pub ttl: u8,
}

impl Default for Multicast {
    fn default() -> Self {
        Self { groups: Vec::new(), interfaces: Vec::new(), ttl: 1 }
    }
}

impl LinkConfig {
    /// Returns what the configuration calls the link, the same at every start.
    pub fn name(&self) -> String {
        match self {
            Self::Udp(udp) => format!("udp {}", udp.listen),
            Self::Serial(serial) => format!("serial {}", serial.port),
        }
    }
}

impl UdpSettings {
    /// Listens on an address, with the defaults.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, receive_buffer: 1 << 20, multicast: Multicast::default() }
    }
}

/// A serial port: 8 data bits, no parity, 1 stop bit, no flow control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialSettings {
    /// `/dev/serial/by-id/...`, `/dev/ttyUSB0`, `COM3`.
    pub port: String,
    /// 9600 by default, like the Arduino examples and the serial bridge of mqtt-sn-tools.
    pub baud: u32,
    pub framing: Framing,
    /// Octets of the longest frame to send, without what the framing adds: 255 by default, as much as a raw line and
    /// most firmware takes. Frames that are received may have 255 octets in any case.
    pub max_frame: usize,
    /// Silence after each frame sent, for firmware that takes all octets it finds waiting as one message.
    /// 20 ms by default.
    pub gap: Duration,
    /// Silence within a frame received after which it is given up; `None` by default: what the framing suggests.
    /// Radios that cut a frame into air packets may need a second.
    pub receive_gap: Option<Duration>,
    /// How long nothing is sent after opening, unless something is heard before: opening resets most boards, and
    /// what is sent while their boot loader runs is lost, or kept by it. 2.2 s by default.
    pub settle: Duration,
    /// How long to wait before the port is opened again; doubles with every failure. 0.5 s by default.
    pub reopen_after: Duration,
    /// Where the doubling ends. 10 s by default.
    pub reopen_at_most: Duration,
}

impl SerialSettings {
    /// Names a port, with the defaults.
    pub fn new(port: impl Into<String>) -> Self {
        Self {
            port: port.into(),
            baud: 9_600,
            framing: Framing::Raw,
            max_frame: Framing::Raw.frame_size().default,
            gap: Duration::from_millis(20),
            receive_gap: None,
            settle: Duration::from_millis(2_200),
            reopen_after: Duration::from_millis(500),
            reopen_at_most: Duration::from_secs(10),
        }
    }
}
