//! How a line is driven: the form of a character, flow control, and the lines beside the data.

use std::fmt;
use std::str::FromStr;

/// How an octet becomes bits on the line, as people write it: `8N1`. MQTT-SN needs all eight data bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CharacterFormat {
    pub parity: Parity,
    pub stop_bits: StopBits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parity {
    #[default]
    None,
    Even,
    Odd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopBits {
    #[default]
    One,
    Two,
}

/// How the receiver holds the sender back. Not by XON and XOFF: frames contain these octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowControl {
    #[default]
    None,
    RtsCts,
}

/// The state in which a control line (DTR, RTS) is held while the port is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlLine {
    #[default]
    Asserted,
    Released,
}

impl CharacterFormat {
    /// Every format there is.
    pub const ALL: [Self; 6] = [
        Self { parity: Parity::None, stop_bits: StopBits::One },
        Self { parity: Parity::Even, stop_bits: StopBits::One },
        Self { parity: Parity::Odd, stop_bits: StopBits::One },
        Self { parity: Parity::None, stop_bits: StopBits::Two },
        Self { parity: Parity::Even, stop_bits: StopBits::Two },
        Self { parity: Parity::Odd, stop_bits: StopBits::Two },
    ];

    /// Returns the name that stands in the configuration.
    pub fn name(self) -> &'static str {
        match (self.parity, self.stop_bits) {
            (Parity::None, StopBits::One) => "8N1",
            (Parity::Even, StopBits::One) => "8E1",
            (Parity::Odd, StopBits::One) => "8O1",
            (Parity::None, StopBits::Two) => "8N2",
            (Parity::Even, StopBits::Two) => "8E2",
            (Parity::Odd, StopBits::Two) => "8O2",
        }
    }

    /// Returns the bits that an octet takes on the line, start bit included.
    pub(super) fn bits(self) -> u32 {
        let parity = match self.parity {
            Parity::None => 0,
            Parity::Even | Parity::Odd => 1,
        };
        let stop = match self.stop_bits {
            StopBits::One => 1,
            StopBits::Two => 2,
        };
        1 + 8 + parity + stop
    }
}

impl FlowControl {
    pub const ALL: [Self; 2] = [Self::None, Self::RtsCts];

    /// Returns the name that stands in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::RtsCts => "rts-cts",
        }
    }
}

/// A name that is none of those known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown name {0:?}")]
pub struct UnknownName(pub String);

impl FromStr for CharacterFormat {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl FromStr for FlowControl {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|flow| flow.name() == name).ok_or_else(|| UnknownName(name.to_owned()))
    }
}

impl fmt::Display for CharacterFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Parity> for serialport::Parity {
    fn from(parity: Parity) -> Self {
        match parity {
            Parity::None => Self::None,
            Parity::Even => Self::Even,
            Parity::Odd => Self::Odd,
        }
    }
}

impl From<StopBits> for serialport::StopBits {
    fn from(stop_bits: StopBits) -> Self {
        match stop_bits {
            StopBits::One => Self::One,
            StopBits::Two => Self::Two,
        }
    }
}

impl From<FlowControl> for serialport::FlowControl {
    fn from(flow_control: FlowControl) -> Self {
        match flow_control {
            FlowControl::None => Self::None,
            FlowControl::RtsCts => Self::Hardware,
        }
    }
}

impl ControlLine {
    pub(super) fn is_asserted(self) -> bool {
        match self {
            Self::Asserted => true,
            Self::Released => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_the_name_that_it_is_read_by() {
        for format in CharacterFormat::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("8e1".parse(), Ok(CharacterFormat { parity: Parity::Even, stop_bits: StopBits::One }));
        assert_eq!("7E1".parse::<CharacterFormat>(), Err(UnknownName("7E1".to_owned())));
        assert_eq!(CharacterFormat::default().name(), "8N1");
        assert_eq!(CharacterFormat::default().bits(), 10);
        assert_eq!("8O2".parse::<CharacterFormat>().unwrap().bits(), 12);
    }

    #[test]
    fn every_flow_control_has_the_name_that_it_is_read_by() {
        for flow in FlowControl::ALL {
            assert_eq!(flow.name().parse(), Ok(flow));
        }
        assert_eq!("xon-xoff".parse::<FlowControl>(), Err(UnknownName("xon-xoff".to_owned())));
    }
}
