//! The kernel's buffers of UDP links, in words: that they are smaller than wanted, and that one was too small.

use std::fmt;

use crate::links::udp::{Buffer, Buffers, RECEIVE_LIMIT, SEND_LIMIT, limit};

/// What to say of buffers at the start, if the system gave less than was asked for.
pub(super) fn short(link: &str, Buffers { receive, send }: Buffers) -> impl Iterator<Item = String> {
    let all = [("receive_buffer", receive, RECEIVE_LIMIT), ("send_buffer", send, SEND_LIMIT)];
    all.into_iter().filter(|(_, Buffer { asked, given }, _)| given < asked).map(move |(key, buffer, limit)| {
        let Buffer { asked, given } = buffer;
        format!(
            "{link}: the system gives {} for `{key}` and not {}; `sysctl -w {limit}={asked}` allows it",
            Octets(given),
            Octets(asked)
        )
    })
}

/// What to say when the kernel had no room for datagrams.
pub(super) fn overflowed(link: &str, datagrams: u64, Buffer { given, .. }: Buffer) -> String {
    let allowed =
        limit(RECEIVE_LIMIT).map(|octets| format!("; the system allows {}: sysctl {RECEIVE_LIMIT}", Octets(octets)));
    format!(
        "{link}: the kernel dropped {datagrams} datagrams because the gateway could not keep up; raise \
         `receive_buffer` in [[udp]] (now {}{})",
        Octets(given),
        allowed.unwrap_or_default()
    )
}

/// Octets in the largest unit that leaves no rest.
struct Octets(usize);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        match self.0 {
            octets if octets >= MIB && octets.is_multiple_of(MIB) => write!(f, "{} MiB", octets / MIB),
            octets if octets >= KIB && octets.is_multiple_of(KIB) => write!(f, "{} KiB", octets / KIB),
            octets => write!(f, "{octets} octets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_buffer_that_the_system_cut_is_named_with_the_remedy() {
        let receive = Buffer { asked: MIB, given: 212_992 };
        let said: Vec<_> =
            short("UDP [::]:1883", Buffers { receive, send: Buffer { asked: MIB, given: MIB } }).collect();
        let expected = "UDP [::]:1883: the system gives 208 KiB for `receive_buffer` and not 1 MiB; \
                        `sysctl -w net.core.rmem_max=1048576` allows it";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn an_overflow_names_the_link_the_key_and_its_value() {
        let said = overflowed("UDP [::]:1883", 1_234, Buffer { asked: MIB, given: 1_000_000 });
        let start = "UDP [::]:1883: the kernel dropped 1234 datagrams because the gateway could not keep up; \
                     raise `receive_buffer` in [[udp]] (now 1000000 octets";
        assert!(said.starts_with(start), "{said}");
    }
}
