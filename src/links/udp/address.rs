//! Socket addresses as the core's opaque addresses, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::core::LinkAddress;

/// Packs an address into 6 octets (IPv4, port) or 22 (IPv6, scope, port). IPv4 that came through an IPv6 socket is IPv4.
pub fn link_address(address: SocketAddr) -> LinkAddress {
    let mut octets = [0; LinkAddress::MAX];
    let mut length = 0;
    let mut put = |part: &[u8]| {
        octets[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => put(&ip.octets()),
        IpAddr::V6(ip) => {
            put(&ip.octets());
            let scope = match address {
                SocketAddr::V4(_) => 0,
                SocketAddr::V6(v6) => v6.scope_id(),
            };
            put(&scope.to_be_bytes());
        }
    }
    put(&address.port().to_be_bytes());
    LinkAddress::new(&octets[..length]).expect("16 + 4 + 2 octets are no more than LinkAddress::MAX")
}

/// Unpacks an address that [`link_address`] has packed.
pub fn socket_address(address: LinkAddress) -> Option<SocketAddr> {
    match *address.octets() {
        [a, b, c, d, high, low] => {
            Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
        }
        [ref octets @ .., s1, s2, s3, s4, high, low] => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?);
            let scope = u32::from_be_bytes([s1, s2, s3, s4]);
            Some(SocketAddrV6::new(ip, u16::from_be_bytes([high, low]), 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for address in ["192.0.2.7:1883", "[2001:db8::7]:65535", "[fe80::1%7]:1"] {
            let address = address.parse().unwrap();
            assert_eq!(socket_address(link_address(address)), Some(address));
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped = "[::ffff:192.0.2.7]:1883".parse().unwrap();
        let plain = "192.0.2.7:1883".parse().unwrap();
        assert_eq!(link_address(mapped), link_address(plain));
    }

    #[test]
    fn octets_of_another_link_are_no_address() {
        assert_eq!(socket_address(LinkAddress::NONE), None);
        assert_eq!(socket_address(LinkAddress::new(&[1; 8]).unwrap()), None);
    }
}
