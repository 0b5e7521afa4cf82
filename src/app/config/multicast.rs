//! The multicast groups of a UDP listener.

use std::net::{Ipv6Addr, SocketAddr};

use super::Udp;
use super::problem::Problem;
use crate::links::{Multicast, udp};

pub(super) fn check(
    index: usize,
    listen: SocketAddr,
    groups: Vec<String>,
    interfaces: Vec<String>,
    ttl: u8,
) -> Result<Multicast, Problem> {
    let mut multicast = Multicast { groups: Vec::new(), interfaces, ttl };
    for text in groups {
        let group = group(index, &text, !multicast.interfaces.is_empty())?;
        let is_dual_stack = listen.ip() == Ipv6Addr::UNSPECIFIED;
        if group.is_ipv4() != listen.is_ipv4() && !is_dual_stack {
            let version = if group.is_ipv4() { "IPv4" } else { "IPv6" };
            let text = format!("{group} is an {version} group, and the listener at {listen} has no {version}");
            return Err(Problem::in_entry("udp", index, "multicast", text)
                .hint(format!("leave the group out, or listen on [::]:{}", listen.port())));
        }
        if multicast.groups.contains(&group) {
            let text = format!("{group} stands twice in `multicast`");
            return Err(Problem::in_entry("udp", index, "multicast", text).hint("keep one of them"));
        }
        multicast.groups.push(group);
    }
    if multicast.interfaces.iter().any(String::is_empty) {
        return Err(Problem::in_entry("udp", index, "multicast_interfaces", "an interface in [[udp]] has no name")
            .hint("write a name that `ip address` shows, such as eth0, or an address of this machine"));
    }
    if ttl == 0 {
        return Err(Problem::in_entry("udp", index, "multicast_ttl", "`multicast_ttl` in [[udp]] must be at least 1")
            .hint("1 stays on the local network; each router on the way takes one more"));
    }
    Ok(multicast)
}

fn group(index: usize, text: &str, names_interface: bool) -> Result<SocketAddr, Problem> {
    let at = |text: String| Problem::in_entry("udp", index, "multicast", text);
    let group: SocketAddr = text.parse().map_err(|_| {
        at(format!("{text:?} is not a multicast group with its port"))
            .hint("examples: \"225.1.1.1:1883\", \"[ff1e:feed:caca:dead::1]:1883\"")
    })?;
    if !group.ip().is_multicast() {
        return Err(at(format!("{} is not a multicast address", group.ip()))
            .hint("IPv4 has 224.0.0.0 to 239.255.255.255 for groups, IPv6 has what begins with ff"));
    }
    if matches!(group, SocketAddr::V6(v6) if v6.scope_id() != 0) {
        return Err(at(format!("{text:?} names an interface")).hint("name it in `multicast_interfaces`"));
    }
    if matches!(group, SocketAddr::V6(v6) if udp::is_of_one_link(*v6.ip())) && !names_interface {
        return Err(at(format!("{text:?} is a group of one link, and no interface is named"))
            .hint("name it beside it, as `ip address` shows it: multicast_interfaces = [\"eth0\"]"));
    }
    if group.port() == 0 {
        return Err(at(format!("{text:?} has no port")).hint("1883 is the usual one"));
    }
    Ok(group)
}

/// Refuses a listener that would hear the same frames of a group as another one: devices would be answered twice.
pub(super) fn check_apart(index: usize, others: &[Udp], listener: &Udp) -> Result<(), Problem> {
    let ours = &listener.settings.multicast;
    for other in others.iter().map(|other| &other.settings.multicast) {
        let shares_interface = ours.interfaces.is_empty()
            || other.interfaces.is_empty()
            || ours.interfaces.iter().any(|interface| other.interfaces.contains(interface));
        if let Some(group) = ours.groups.iter().find(|group| shares_interface && other.groups.contains(group)) {
            let text = format!("two UDP listeners want the group {group} on the same interface");
            return Err(Problem::in_entry("udp", index, "multicast", text)
                .hint("keep one of them, or name different interfaces in `multicast_interfaces`"));
        }
    }
    Ok(())
}
