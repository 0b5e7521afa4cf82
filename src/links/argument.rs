//! A serial port as people name it on the command line: `PORT[,baud=N][,framing=F]`.

use std::num::NonZeroU32;
use std::str::FromStr;

use super::SerialSettings;
use super::serial::{PortName, PortNameError};
use crate::wire::framing::{Framing, UnknownFraming};

/// A serial port, with what was said about it and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialArgument {
    pub port: PortName,
    pub baud: Option<NonZeroU32>,
    /// A framing's name, not looked up yet: what may be meant by a wrong one is known by whoever takes the argument.
    pub framing: Option<String>,
}

/// Why a text names no serial port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialArgumentError {
    #[error("the port's name comes first, as in /dev/ttyUSB0,baud=57600")]
    NoPort,
    #[error(transparent)]
    Port(#[from] PortNameError),
    #[error("baud={0} is not a baud rate; write a number, as in baud=57600")]
    Baud(String),
    #[error("{0:?} is unknown; behind the port stand baud=N and framing=F")]
    UnknownPart(String),
}

impl SerialArgument {
    /// Returns the settings that it asks for; what it does not say is the default.
    pub fn settings(&self) -> Result<SerialSettings, UnknownFraming> {
        let default = SerialSettings::of(self.port.clone());
        let framing: Framing = self.framing.as_deref().map_or(Ok(default.framing), str::parse)?;
        Ok(SerialSettings {
            baud: self.baud.map_or(default.baud, Into::into),
            framing,
            max_frame: framing.frame_size().default,
            ..default
        })
    }
}

impl FromStr for SerialArgument {
    type Err = SerialArgumentError;

    fn from_str(text: &str) -> Result<Self, SerialArgumentError> {
        let (port, parts) = text.split_once(',').map_or((text, None), |(port, parts)| (port, Some(parts)));
        if port.is_empty() {
            return Err(SerialArgumentError::NoPort);
        }
        let mut argument = Self { port: port.parse()?, baud: None, framing: None };
        for part in parts.into_iter().flat_map(|parts| parts.split(',')) {
            match part.split_once('=') {
                Some(("baud", baud)) => {
                    argument.baud = Some(baud.parse().map_err(|_| SerialArgumentError::Baud(baud.to_owned()))?);
                }
                Some(("framing", framing)) => argument.framing = Some(framing.to_owned()),
                Some(_) | None => return Err(SerialArgumentError::UnknownPart(part.to_owned())),
            }
        }
        Ok(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> SerialSettings {
        text.parse::<SerialArgument>().unwrap().settings().unwrap()
    }

    #[test]
    fn what_stands_behind_the_port_replaces_the_default() {
        assert_eq!(settings("COM3"), SerialSettings::new("COM3"));
        assert_eq!(
            settings("/dev/ttyUSB0,framing=slip-crc,baud=57600"),
            SerialSettings { baud: 57_600, framing: Framing::SlipCrc, ..SerialSettings::new("/dev/ttyUSB0") }
        );
        assert_eq!(settings("COM3,framing=aquila").max_frame, 59);
    }

    #[test]
    fn ports_of_every_kind_can_be_named() {
        assert_eq!(settings("usb:10c4:ea60:0001,baud=57600").port.to_string(), "usb:10c4:ea60:0001");
        assert_eq!(settings("tcp://[::1]:4000,framing=slip").port.to_string(), "tcp://[::1]:4000");
    }

    #[test]
    fn a_mistake_says_what_is_wrong_and_what_to_write() {
        let error = |text: &str| text.parse::<SerialArgument>().unwrap_err().to_string();
        assert_eq!(error(",baud=9600"), "the port's name comes first, as in /dev/ttyUSB0,baud=57600");
        assert!(error("usb:cp2102").contains("usb:VENDOR:PRODUCT"));
        assert_eq!(error("COM3,baud=fast"), "baud=fast is not a baud rate; write a number, as in baud=57600");
        assert_eq!(error("COM3,baud=0"), "baud=0 is not a baud rate; write a number, as in baud=57600");
        assert_eq!(error("COM3,speed=9600"), "\"speed=9600\" is unknown; behind the port stand baud=N and framing=F");
        assert_eq!(error("COM3,"), "\"\" is unknown; behind the port stand baud=N and framing=F");
        let unknown = "COM3,framing=morse".parse::<SerialArgument>().unwrap().settings().unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "unknown framing \"morse\"; known are raw, slip, slip-crc, cobs-crc, xbee, xbee-escaped, aquila"
        );
    }
}
