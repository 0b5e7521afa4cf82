//! The packets of MQTT 3.1.1, whose protocol level is 4, that are the library's.

use mqtt_protocol_core::mqtt::packet::{SubEntry, SubOpts, v3_1_1};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};

use super::connect::{ConnAck, Connect};
use super::library::{self, level};
use super::packet::PacketError;
use crate::wire::Qos;

pub(super) fn write_connect(connect: &Connect<'_>) -> Result<Vec<u8>, PacketError> {
    let build = || -> Result<v3_1_1::Connect, MqttError> {
        let mut packet = v3_1_1::Connect::builder()
            .client_id(connect.client_id)?
            .clean_session(connect.clean)
            .keep_alive(connect.keep_alive);
        if let Some(will) = &connect.will {
            packet = packet.will_message(will.topic, will.payload.to_vec(), level(will.qos), will.retain)?;
        }
        if let Some(name) = connect.username {
            packet = packet.user_name(name)?;
        }
        if let Some(word) = connect.password {
            packet = packet.password(word)?;
        }
        packet.build()
    };
    build().map(|packet| packet.to_continuous_buffer()).map_err(PacketError::unwritable("CONNECT"))
}

pub(super) fn read_connack(body: &[u8]) -> Result<ConnAck, PacketError> {
    let (packet, _) = v3_1_1::Connack::parse(body).map_err(PacketError::library("CONNACK"))?;
    Ok(ConnAck {
        session_present: packet.session_present(),
        // MQTT 3.1.1 §3.2.2.3, in the codes of MQTT 5.
        reason: match packet.return_code() {
            ConnectReturnCode::Accepted => 0x00,
            ConnectReturnCode::UnacceptableProtocolVersion => 0x84,
            ConnectReturnCode::IdentifierRejected => 0x85,
            ConnectReturnCode::ServerUnavailable => 0x88,
            ConnectReturnCode::BadUserNameOrPassword => 0x86,
            ConnectReturnCode::NotAuthorized => 0x87,
        },
        // What 3.1.1 offers without saying so.
        receive_maximum: u16::MAX,
        max_qos: Qos::ExactlyOnce,
        retain: true,
        subscription_ids: false,
        max_packet: None,
        keep_alive: None,
    })
}

pub(super) fn write_subscribe(packet: u16, filter: &str, qos: Qos, out: &mut Vec<u8>) -> Result<(), PacketError> {
    let build = || -> Result<v3_1_1::Subscribe, MqttError> {
        let entry = SubEntry::new(filter, SubOpts::new().set_qos(level(qos)))?;
        v3_1_1::Subscribe::builder().packet_id(packet).entries(vec![entry]).build()
    };
    library::write("SUBSCRIBE", build(), out)
}

pub(super) fn read_suback(body: &[u8]) -> Result<(u16, u8), PacketError> {
    let (packet, _) = v3_1_1::Suback::parse(body).map_err(PacketError::library("SUBACK"))?;
    let first = packet.return_codes().first().copied().ok_or(PacketError::Malformed("SUBACK"))?;
    Ok((packet.packet_id(), first as u8))
}

pub(super) fn write_unsubscribe(packet: u16, filter: &str, out: &mut Vec<u8>) -> Result<(), PacketError> {
    let unsubscribe = v3_1_1::Unsubscribe::builder().packet_id(packet).entries([filter]);
    library::write("UNSUBSCRIBE", unsubscribe.and_then(|packet| packet.build()), out)
}
