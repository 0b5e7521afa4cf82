//! What the packets of both versions have in common when the library writes them.

use mqtt_protocol_core::mqtt::packet::{self, GenericPacketTrait};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::packet::PacketError;
use crate::wire::Qos;

/// Writes a packet that the library has built behind what is in `out`.
pub(super) fn write(
    name: &'static str,
    packet: Result<impl GenericPacketTrait, MqttError>,
    out: &mut Vec<u8>,
) -> Result<(), PacketError> {
    let packet = packet.map_err(PacketError::unwritable(name))?;
    out.extend_from_slice(&packet.to_continuous_buffer());
    Ok(())
}

pub(super) fn level(qos: Qos) -> packet::Qos {
    match qos {
        Qos::AtMostOnce => packet::Qos::AtMostOnce,
        Qos::AtLeastOnce => packet::Qos::AtLeastOnce,
        Qos::ExactlyOnce => packet::Qos::ExactlyOnce,
    }
}
