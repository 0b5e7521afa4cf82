//! The nodes behind a dongle as addresses of a link.

use crate::core::LinkAddress;
use crate::wire::framing::{Framing, NodeAddress};

/// Returns as whom a client at the far end of a line sends and receives: it is node and dongle in one.
pub fn sole_node(framing: Framing) -> LinkAddress {
    link_address(framing.sole_node())
}

/// Wraps a node's address.
pub(super) fn link_address(node: NodeAddress) -> LinkAddress {
    let address = match node {
        NodeAddress::None => Some(LinkAddress::NONE),
        NodeAddress::Short(address) => LinkAddress::new(&address.to_be_bytes()),
        NodeAddress::Long(address) => LinkAddress::new(&address.to_be_bytes()),
    };
    address.expect("8 octets fit into a link address")
}

/// Unwraps it, or returns `None` for the address of another kind of link.
pub(super) fn node(address: LinkAddress) -> Option<NodeAddress> {
    let octets = address.octets();
    if octets.is_empty() {
        return Some(NodeAddress::None);
    }
    let short = octets.try_into().ok().map(u16::from_be_bytes).map(NodeAddress::Short);
    short.or_else(|| octets.try_into().ok().map(u64::from_be_bytes).map(NodeAddress::Long))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for address in [NodeAddress::None, NodeAddress::Short(0x0102), NodeAddress::Long(3)] {
            assert_eq!(node(link_address(address)), Some(address));
        }
        assert_eq!(node(LinkAddress::new(&[1, 2, 3]).unwrap()), None);
    }
}
