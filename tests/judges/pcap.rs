//! Writes datagrams to a capture file: pcap, link type "raw IP", IPv4, UDP.

const MAGIC: u32 = 0xA1B2_C3D4;
const SNAP_LENGTH: u32 = 262_144;
const LINK_TYPE_RAW_IP: u32 = 101;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// Returns a capture file with these datagrams, from `port` to `port`.
pub(crate) fn of_datagrams<'a>(port: u16, datagrams: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(MAGIC.to_be_bytes());
    file.extend([0, 2, 0, 4]);
    file.extend([0; 8]);
    file.extend(SNAP_LENGTH.to_be_bytes());
    file.extend(LINK_TYPE_RAW_IP.to_be_bytes());
    for datagram in datagrams {
        let packet = packet(port, datagram);
        let length = u32::try_from(packet.len()).unwrap().to_be_bytes();
        file.extend([0; 8]);
        file.extend(length);
        file.extend(length);
        file.extend(packet);
    }
    file
}

fn packet(port: u16, datagram: &[u8]) -> Vec<u8> {
    let octets = |size: usize| u16::try_from(size).unwrap().to_be_bytes();
    let [ip_high, ip_low] = octets(IP_HEADER + UDP_HEADER + datagram.len());
    let mut packet = vec![0x45, 0, ip_high, ip_low, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    packet.extend(port.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend(octets(UDP_HEADER + datagram.len()));
    packet.extend([0, 0]);
    packet.extend(datagram);
    packet
}
