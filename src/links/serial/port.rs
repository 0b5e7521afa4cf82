//! Opening a port: raw, exclusive, without what the last user left in its buffers.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use serialport::{ClearBuffer, DataBits, SerialPort, SerialPortBuilder};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_serial::SerialStream;

use super::inventory::{PortInfo, UsbDevice};
use super::line::FlowControl;
use super::name::PortName;
use super::{PortError, SerialSettings, network};

/// An open port: octets in, octets out.
#[derive(Debug)]
pub enum Port {
    Terminal {
        stream: SerialStream,
        flow_control: FlowControl,
    },
    /// A serial server.
    Network(TcpStream),
}

/// A port that has been opened, and which one it is if this machine knows it.
#[derive(Debug)]
pub struct Opened {
    pub port: Port,
    pub info: Option<PortInfo>,
}

/// Opens a port and closes it: whether a link with these settings could open. Resets most boards.
pub fn try_open(settings: &SerialSettings) -> Result<(), PortError> {
    match &settings.port {
        PortName::Tcp { host, port } => network::connect(&settings.port.to_string(), host, *port).map(drop),
        PortName::Device(_) | PortName::Usb(_) => {
            let device = settings.inventory.resolve(&settings.port, None)?;
            open_terminal(settings, &device, |builder| builder.clone().open()).map(drop)
        }
    }
}

/// Opens the port. An adapter that was open before as `former` is found again under another number.
///
/// It may take its time, and must be called within a Tokio runtime.
pub fn open(settings: &SerialSettings, former: Option<&UsbDevice>) -> Result<Opened, PortError> {
    match &settings.port {
        PortName::Tcp { host, port } => {
            let name = settings.port.to_string();
            let stream = network::connect(&name, host, *port)?;
            let stream = TcpStream::from_std(stream).map_err(|error| PortError::from_network(&name, &error))?;
            Ok(Opened { port: Port::Network(stream), info: None })
        }
        PortName::Device(_) | PortName::Usb(_) => {
            let device = settings.inventory.resolve(&settings.port, former)?;
            let mut stream = open_terminal(settings, &device, SerialStream::open)?;
            set_control_lines(&mut stream, settings);
            // What arrived before the line had its settings is garbage. If it cannot be thrown away the decoder will do it.
            let _ = stream.clear(ClearBuffer::Input);
            let port = Port::Terminal { stream, flow_control: settings.flow_control };
            Ok(Opened { port, info: settings.inventory.describe(&device) })
        }
    }
}

impl Port {
    /// Changes the baud rate and keeps the port open, so that the board is not reset. A serial server keeps its own.
    pub fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        match self {
            Self::Terminal { stream, .. } => {
                stream.set_baud_rate(baud)?;
                // What is left was received at the other rate.
                stream.clear(ClearBuffer::Input).map_err(io::Error::from)
            }
            Self::Network(_) => Ok(()),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Self::Terminal { stream, flow_control: FlowControl::RtsCts } = self {
            // Closing would wait for a device that does not take its octets, and block everything meanwhile.
            let _ = stream.clear(ClearBuffer::Output);
        }
    }
}

impl AsyncRead for Port {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Terminal { stream, .. } => Pin::new(stream).poll_read(cx, buffer),
            Self::Network(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Terminal { stream, .. } => Pin::new(stream).poll_write(cx, octets),
            Self::Network(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Terminal { stream, .. } => Pin::new(stream).poll_flush(cx),
            Self::Network(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Terminal { stream, .. } => Pin::new(stream).poll_shutdown(cx),
            Self::Network(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

fn open_terminal<P>(
    settings: &SerialSettings,
    device: &Path,
    open: impl FnOnce(&SerialPortBuilder) -> serialport::Result<P>,
) -> Result<P, PortError> {
    let name = shown(settings, device);
    let system_says = |error: &io::Error| PortError::from_system(&name, device, &settings.inventory, error);
    let witness = device::prepare(device).map_err(|error| system_says(&error))?;
    let builder = serialport::new(device.to_string_lossy(), settings.baud)
        .data_bits(DataBits::Eight)
        .parity(settings.format.parity.into())
        .stop_bits(settings.format.stop_bits.into())
        .flow_control(settings.flow_control.into());
    let result = open(&builder);
    // Closed only now: closing the only descriptor could reset the board once more.
    drop(witness);
    result.map_err(|error| PortError::from_serialport(&name, device, &settings.inventory, settings.baud, error))
}

/// Opening asserts both lines on most systems; whoever wants them otherwise gets it now. Where a port has no such lines,
/// as pseudo-terminals have not, there is nothing to set.
fn set_control_lines(port: &mut SerialStream, settings: &SerialSettings) {
    let _ = port.write_data_terminal_ready(settings.dtr.is_asserted());
    match settings.flow_control {
        FlowControl::None => drop(port.write_request_to_send(settings.rts.is_asserted())),
        // The driver moves it.
        FlowControl::RtsCts => {}
    }
}

/// The port as it was named, and where that leads.
fn shown(settings: &SerialSettings, device: &Path) -> String {
    match &settings.port {
        PortName::Device(name) if Path::new(name) == device => name.clone(),
        name @ (PortName::Device(_) | PortName::Usb(_) | PortName::Tcp { .. }) => {
            format!("{name} ({})", device.display())
        }
    }
}

#[cfg(unix)]
mod device {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

    /// Opens the device before the library does: the system's own words for what is wrong are lost in the library's.
    pub(super) fn prepare(device: &Path) -> io::Result<File> {
        let device =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(device)?;
        // Without HUPCL the lines keep their state when the gateway stops, and its next start does not reset the board.
        let mut settings = tcgetattr(&device)?;
        settings.control_modes.remove(ControlModes::HUPCL);
        tcsetattr(&device, OptionalActions::Now, &settings)?;
        Ok(device)
    }
}

#[cfg(not(unix))]
mod device {
    use std::io;
    use std::path::Path;

    pub(super) struct Device;

    pub(super) fn prepare(_device: &Path) -> io::Result<Device> {
        Ok(Device)
    }
}
