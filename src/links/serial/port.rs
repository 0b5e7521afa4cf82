//! Opening a port: raw, exclusive, without what the last user left in its buffers.

use serialport::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort, SerialPortBuilder, StopBits};
use tokio_serial::SerialStream;

use super::{PortError, SerialSettings};

/// Opens a port and closes it: whether a link with these settings could open. Resets most boards.
pub fn try_open(settings: &SerialSettings) -> Result<(), PortError> {
    open_with(settings, |builder| builder.clone().open()).map(drop)
}

pub(super) fn open(settings: &SerialSettings) -> Result<SerialStream, PortError> {
    let port = open_with(settings, SerialStream::open)?;
    // What arrived before the line had its settings is garbage. If it cannot be thrown away the decoder will do it.
    let _ = port.clear(ClearBuffer::Input);
    Ok(port)
}

fn open_with<P>(
    settings: &SerialSettings,
    open: impl FnOnce(&SerialPortBuilder) -> serialport::Result<P>,
) -> Result<P, PortError> {
    let device = device::prepare(&settings.port)?;
    let builder = serialport::new(&settings.port, settings.baud)
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(FlowControl::None);
    let result = open(&builder);
    // Closed only now: closing the only descriptor could reset the board once more.
    drop(device);
    result.map_err(|error| PortError::from_serialport(&settings.port, settings.baud, error))
}

#[cfg(unix)]
mod device {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

    use super::PortError;

    /// Opens the device before the library does: the system's own words for what is wrong are lost in the library's.
    pub(super) fn prepare(port: &str) -> Result<File, PortError> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open(port)
            .map_err(|error| PortError::from_system(port, &error))?;
        // Without HUPCL the lines keep their state when the gateway stops, and its next start does not reset the board.
        let mut settings = tcgetattr(&device).map_err(|error| PortError::from_system(port, &error.into()))?;
        settings.control_modes.remove(ControlModes::HUPCL);
        tcsetattr(&device, OptionalActions::Now, &settings)
            .map_err(|error| PortError::from_system(port, &error.into()))?;
        Ok(device)
    }
}

#[cfg(not(unix))]
mod device {
    use super::PortError;

    pub(super) struct Device;

    pub(super) fn prepare(_port: &str) -> Result<Device, PortError> {
        Ok(Device)
    }
}
