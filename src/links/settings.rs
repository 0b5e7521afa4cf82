//! What a link is told before it opens.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::serial::{CharacterFormat, ControlLine, FlowControl, Inventory, PortName};
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
    /// Octets that the kernel holds until the network takes them; the system may allow less. 1 MiB by default.
    pub send_buffer: usize,
    /// Datagrams received or sent in one system call at most, where the system can (Linux). 64 by default.
    pub batch: usize,
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
        Self { listen, receive_buffer: 1 << 20, send_buffer: 1 << 20, batch: 64, multicast: Multicast::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialSettings {
    pub port: PortName,
    /// 9600 by default, like the Arduino examples and the serial bridge of mqtt-sn-tools. Behind a serial server it is
    /// the server that sets it, and this says only how long octets are on their way: 115200 by default.
    pub baud: u32,
    /// 8N1 by default.
    pub format: CharacterFormat,
    /// None by default.
    pub flow_control: FlowControl,
    /// Asserted by default: boards with USB of their own wait for it before they say anything.
    pub dtr: ControlLine,
    /// Asserted by default. Has no meaning with flow control, which moves the line itself.
    pub rts: ControlLine,
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
    /// Octets that may wait to be sent; a frame beyond them is refused. 16 KiB by default: at 9600 baud, 17 seconds.
    pub send_queue: usize,
    /// The machine's own by default.
    pub inventory: Inventory,
}

impl SerialSettings {
    /// Names a device of this machine, with the defaults.
    pub fn new(device: impl Into<String>) -> Self {
        Self::of(PortName::Device(device.into()))
    }

    /// Names a port, with the defaults.
    pub fn of(port: PortName) -> Self {
        let baud = match port {
            PortName::Device(_) | PortName::Usb(_) => 9_600,
            PortName::Tcp { .. } => 115_200,
        };
        Self {
            port,
            baud,
            format: CharacterFormat::default(),
            flow_control: FlowControl::default(),
            dtr: ControlLine::default(),
            rts: ControlLine::default(),
            framing: Framing::Raw,
            max_frame: Framing::Raw.frame_size().default,
            gap: Duration::from_millis(20),
            receive_gap: None,
            settle: Duration::from_millis(2_200),
            reopen_after: Duration::from_millis(500),
            reopen_at_most: Duration::from_secs(10),
            send_queue: 16 * 1024,
            inventory: Inventory::default(),
        }
    }
}

/// The port and how it speaks: `/dev/ttyUSB0, 9600 baud, raw`.
impl fmt::Display for SerialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, baud, format, framing, .. } = self;
        write!(f, "{port}, ")?;
        match port {
            PortName::Device(_) | PortName::Usb(_) => write!(f, "{baud} baud, ")?,
            PortName::Tcp { .. } => {}
        }
        if *format != CharacterFormat::default() {
            write!(f, "{format}, ")?;
        }
        framing.fmt(f)
    }
}
