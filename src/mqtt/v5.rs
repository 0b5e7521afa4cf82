//! The packets of MQTT 5 that are the library's.

use mqtt_protocol_core::mqtt::packet::v5_0;
use mqtt_protocol_core::mqtt::packet::{
    MaximumPacketSize, Property, ReceiveMaximum, RetainHandling, SessionExpiryInterval, SubEntry, SubOpts,
    SubscriptionIdentifier,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::connect::{ConnAck, Connect};
use super::library::{self, level};
use super::packet::PacketError;
use crate::wire::Qos;

pub(super) fn write_connect(connect: &Connect<'_>) -> Result<Vec<u8>, PacketError> {
    let build = || -> Result<v5_0::Connect, MqttError> {
        let mut properties: Vec<Property> = vec![
            ReceiveMaximum::new(connect.receive_maximum)?.into(),
            MaximumPacketSize::new(connect.largest_packet)?.into(),
        ];
        if let Some(seconds) = connect.session_expiry {
            properties.push(SessionExpiryInterval::new(seconds)?.into());
        }
        let mut packet = v5_0::Connect::builder()
            .client_id(connect.client_id)?
            .clean_start(connect.clean)
            .keep_alive(connect.keep_alive)
            .props(properties);
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

#[expect(clippy::wildcard_enum_match_arm, reason = "the other properties make no difference to us")]
pub(super) fn read_connack(body: &[u8]) -> Result<ConnAck, PacketError> {
    let (packet, _) = v5_0::Connack::parse(body).map_err(PacketError::library("CONNACK"))?;
    let mut connack = ConnAck {
        session_present: packet.session_present(),
        reason: packet.reason_code() as u8,
        receive_maximum: u16::MAX,
        max_qos: Qos::ExactlyOnce,
        retain: true,
        subscription_ids: true,
        max_packet: None,
        keep_alive: None,
    };
    for property in packet.props() {
        match property {
            Property::ReceiveMaximum(most) => connack.receive_maximum = most.val(),
            Property::MaximumQos(qos) if qos.val() == 0 => connack.max_qos = Qos::AtMostOnce,
            Property::MaximumQos(_) => connack.max_qos = Qos::AtLeastOnce,
            Property::RetainAvailable(available) => connack.retain = available.val() != 0,
            Property::SubscriptionIdentifierAvailable(available) => connack.subscription_ids = available.val() != 0,
            Property::MaximumPacketSize(octets) => connack.max_packet = Some(octets.val()),
            Property::ServerKeepAlive(seconds) => connack.keep_alive = Some(seconds.val()),
            _ => {}
        }
    }
    Ok(connack)
}

pub(super) fn write_subscribe(
    packet: u16,
    filter: &str,
    qos: Qos,
    id: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), PacketError> {
    let build = || -> Result<v5_0::Subscribe, MqttError> {
        let options = SubOpts::new().set_qos(level(qos)).set_rh(RetainHandling::SendRetained);
        let mut packet = v5_0::Subscribe::builder().packet_id(packet).entries(vec![SubEntry::new(filter, options)?]);
        if let Some(id) = id {
            packet = packet.props(vec![SubscriptionIdentifier::new(id)?.into()]);
        }
        packet.build()
    };
    library::write("SUBSCRIBE", build(), out)
}

pub(super) fn read_suback(body: &[u8]) -> Result<(u16, u8), PacketError> {
    let (packet, _) = v5_0::Suback::parse(body).map_err(PacketError::library("SUBACK"))?;
    let first = packet.reason_codes().first().copied().ok_or(PacketError::Malformed("SUBACK"))?;
    Ok((packet.packet_id(), first as u8))
}

pub(super) fn write_unsubscribe(packet: u16, filter: &str, out: &mut Vec<u8>) -> Result<(), PacketError> {
    let unsubscribe = v5_0::Unsubscribe::builder().packet_id(packet).entries([filter]);
    library::write("UNSUBSCRIBE", unsubscribe.and_then(|packet| packet.build()), out)
}

/// Returns the reason code and the broker's own words.
pub(super) fn read_disconnect(body: &[u8]) -> Result<(u8, Option<String>), PacketError> {
    let (packet, _) = v5_0::Disconnect::parse(body).map_err(PacketError::library("DISCONNECT"))?;
    let text = packet.props().as_ref().into_iter().flatten().find_map(|property| match property {
        Property::ReasonString(text) => Some(text.val().to_owned()),
        _ => None,
    });
    Ok((packet.reason_code().map_or(0, |reason| reason as u8), text))
}
