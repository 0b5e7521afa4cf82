//! How a serial port is named: a device of this machine, a USB adapter by what it is, or a serial server on the network.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The name of a serial port, as it stands in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortName {
    /// `/dev/serial/by-id/...`, `/dev/ttyUSB0`, `COM3`.
    Device(String),
    /// `usb:10c4:ea60`, `usb:10c4:ea60:0001`.
    Usb(UsbMatch),
    /// `tcp://192.0.2.7:4000`: a serial server that hands the octets through, such as ser2net or a bridge on an ESP.
    Tcp { host: Host, port: u16 },
}

/// What a USB adapter must be to be the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbMatch {
    pub ids: UsbIds,
    /// `None` fits every serial number, and adapters without one.
    pub serial: Option<String>,
}

/// The numbers by which a USB device says what it is. Written in hexadecimal: `10c4:ea60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsbIds {
    pub vendor: u16,
    pub product: u16,
}

/// Why a text names no serial port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortNameError {
    #[error("the port has no name; `mqttsn-gateway ports` shows those of this machine")]
    Empty,
    #[error(
        "{0:?} names no USB adapter; write usb:VENDOR:PRODUCT or usb:VENDOR:PRODUCT:SERIAL with the ids in hexadecimal, \
         as in usb:10c4:ea60:0001 (`mqttsn-gateway ports` shows them)"
    )]
    Usb(String),
    #[error("{0:?} names no serial server; write tcp://HOST:PORT, as in tcp://192.168.1.20:4000")]
    Network(String),
}

impl FromStr for PortName {
    type Err = PortNameError;

    fn from_str(text: &str) -> Result<Self, PortNameError> {
        if text.is_empty() {
            return Err(PortNameError::Empty);
        }
        if let Some(adapter) = text.strip_prefix("usb:") {
            return usb(adapter).map(Self::Usb).ok_or_else(|| PortNameError::Usb(text.to_owned()));
        }
        if text.contains("://") {
            return server(text).ok_or_else(|| PortNameError::Network(text.to_owned()));
        }
        Ok(Self::Device(text.to_owned()))
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => f.write_str(device),
            Self::Usb(wanted) => wanted.fmt(f),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Display for UsbMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usb:{}", self.ids)?;
        self.serial.as_ref().map_or(Ok(()), |serial| write!(f, ":{serial}"))
    }
}

impl fmt::Display for UsbIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

/// Reads what stands behind `usb:`. A serial number may have colons in it.
fn usb(text: &str) -> Option<UsbMatch> {
    let mut parts = text.splitn(3, ':');
    let ids = UsbIds { vendor: hex_id(parts.next()?)?, product: hex_id(parts.next()?)? };
    match parts.next() {
        Some("") => None,
        serial => Some(UsbMatch { ids, serial: serial.map(str::to_owned) }),
    }
}

/// Reads an id as `ports`, `lsusb` and sysfs write it.
pub(super) fn hex_id(text: &str) -> Option<u16> {
    (text.len() == 4 && text.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| u16::from_str_radix(text, 16).ok())
        .flatten()
}

fn server(text: &str) -> Option<PortName> {
    let url = Url::parse(text).ok()?;
    let has_more = !url.username().is_empty()
        || url.password().is_some()
        || !matches!(url.path(), "" | "/")
        || url.query().is_some()
        || url.fragment().is_some();
    if url.scheme() != "tcp" || has_more {
        return None;
    }
    let port = url.port().filter(|port| *port != 0)?;
    // Of a scheme that it does not know, the library takes every host for a name.
    let host = match url.host()? {
        Host::Domain(name) => Host::parse(name).ok()?,
        address @ (Host::Ipv4(_) | Host::Ipv6(_)) => address.to_owned(),
    };
    Some(PortName::Tcp { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_understood_and_written_as_it_was() {
        for name in [
            "/dev/ttyUSB0",
            "/dev/serial/by-id/usb-Silicon_Labs_CP2102_0001-if00-port0",
            "COM3",
            "usb:10c4:ea60",
            "usb:10c4:ea60:0001",
            "usb:0403:6001:A:B",
            "tcp://192.168.1.20:4000",
            "tcp://bridge.local:23",
            "tcp://[fe80::1]:4000",
        ] {
            assert_eq!(name.parse::<PortName>().unwrap().to_string(), name);
        }
        assert_eq!("usb:10C4:EA60".parse::<PortName>().unwrap().to_string(), "usb:10c4:ea60");
        let PortName::Tcp { host: Host::Ipv4(address), .. } = "tcp://10.0.0.1:1/".parse().unwrap() else {
            panic!("no address");
        };
        assert_eq!(address.to_string(), "10.0.0.1");
    }

    #[test]
    fn what_names_no_port_says_what_would() {
        let error = |text: &str| text.parse::<PortName>().unwrap_err();
        assert_eq!(error(""), PortNameError::Empty);
        for text in ["usb:", "usb:10c4", "usb:10c4:", "usb:10c4:ea6", "usb:10c4:+a60", "usb:10c4:ea60:", "usb:cp2102:x"]
        {
            assert_eq!(error(text), PortNameError::Usb(text.to_owned()));
            assert!(error(text).to_string().contains("usb:10c4:ea60:0001"));
        }
        for text in [
            "tcp://",
            "tcp://bridge",
            "tcp://:4000",
            "tcp://bridge:0",
            "tcp://bridge:70000",
            "tcp://bridge:4000/tty",
            "tcp://me@bridge:4000",
            "rfc2217://bridge:4000",
        ] {
            assert_eq!(error(text), PortNameError::Network(text.to_owned()));
        }
    }
}
