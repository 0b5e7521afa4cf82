//! The nodes behind a dongle, as the framings name them.

use std::fmt;

/// A node's address on the radio behind a dongle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeAddress {
    /// The framing has none: whoever is at the other end of the line.
    None,
    Short(u16),
    Long(u64),
}

/// Hexadecimal, in the width of the address; nothing for none.
impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Short(address) => write!(f, "{address:04x}"),
            Self::Long(address) => write!(f, "{address:016x}"),
        }
    }
}

/// Whom a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Node(NodeAddress),
    /// All nodes within so many hops; 0 is as far as the radio reaches. The other end of the line, where there are no
    /// addresses.
    Everyone {
        radius: u8,
    },
}

impl Destination {
    /// Refuses every node with an address, for framings that know none.
    pub(super) fn without_address(self) -> Result<(), WrongAddress> {
        match self {
            Self::Node(NodeAddress::None) | Self::Everyone { .. } => Ok(()),
            Self::Node(NodeAddress::Short(_) | NodeAddress::Long(_)) => Err(WrongAddress),
        }
    }
}

/// An address that the framing does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the framing has no such address")]
pub struct WrongAddress;
