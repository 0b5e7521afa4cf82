//! Network interfaces, by the name or address that people use.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::multicast::JoinError;

/// An interface as the system's calls want it named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// For IPv6.
    pub(super) index: u32,
    /// For IPv4; a machine may have an interface without it.
    pub(super) address: Option<Ipv4Addr>,
}

impl Interface {
    /// Finds an interface by its name, or by any of its addresses.
    pub(super) fn find(wanted: &str) -> Result<Self, JoinError> {
        choose(wanted, &all()?)
    }
}

fn all() -> io::Result<Vec<if_addrs::Interface>> {
    if_addrs::get_if_addrs()
}

fn choose(wanted: &str, entries: &[if_addrs::Interface]) -> Result<Interface, JoinError> {
    let address = wanted.parse::<IpAddr>().ok();
    let is_wanted = |entry: &&if_addrs::Interface| entry.name == wanted || Some(entry.ip()) == address;
    let Some(found) = entries.iter().find(is_wanted) else {
        let mut others: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
        others.sort();
        others.dedup();
        return Err(JoinError::NoInterface { wanted: wanted.to_owned(), others });
    };
    let of_same = entries.iter().filter(|entry| entry.name == found.name);
    let ipv4 = |ip| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    };
    Ok(Interface {
        name: found.name.clone(),
        index: found.index.unwrap_or(0),
        // The address that was named, if one was: an interface can have several.
        address: address.and_then(ipv4).or_else(|| of_same.filter_map(|entry| ipv4(entry.ip())).next()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_address_and_by_name() {
        let by_address = Interface::find("127.0.0.1").unwrap();
        assert_eq!(by_address.address, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(Interface::find(&by_address.name).unwrap(), by_address);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_beside_those_that_are() {
        let loopback = Interface::find("127.0.0.1").unwrap().name;
        let error = Interface::find("eth77").unwrap_err().to_string();
        assert!(error.starts_with("this machine has no interface eth77; it has "), "{error}");
        assert!(error.contains(&loopback), "{error}");
    }
}
