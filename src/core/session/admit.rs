//! Whether a CONNECT is acceptable, and which messages need one before them (MQTT-SN digest §7.6, §18).

use crate::core::notice::ConnectRefusal;
use crate::core::{BrokerReason, Limits, Settings};
use crate::wire::{Connect, Message, ReturnCode};

/// The only protocol id there is (MQTT-SN 1.2 §5.3.8).
const PROTOCOL_ID: u8 = 1;

/// Checks a CONNECT on its own merits. Returns its client id.
pub(in crate::core) fn admit<'a>(connect: &Connect<'a>, settings: &Settings) -> Result<&'a str, ConnectRefusal> {
    if connect.protocol_id != PROTOCOL_ID {
        return Err(ConnectRefusal::ProtocolId(connect.protocol_id));
    }
    if connect.client_id.is_empty() {
        return Err(ConnectRefusal::EmptyClientId);
    }
    let limit = settings.limits.client_id_octets;
    if connect.client_id.len() > limit {
        return Err(ConnectRefusal::LongClientId { limit });
    }
    let client_id = std::str::from_utf8(connect.client_id).ok().filter(|id| !id.contains('\0'));
    let client_id = client_id.ok_or(ConnectRefusal::UnreadableClientId)?;
    if settings.reserved_client_id.as_deref() == Some(client_id) {
        return Err(ConnectRefusal::GatewaysOwnId);
    }
    Ok(client_id)
}

/// Checks that there is room for a session that does not exist yet.
pub(in crate::core) fn admit_one_more(is_known: bool, sessions: usize, limits: &Limits) -> Result<(), ConnectRefusal> {
    let limit = limits.clients;
    if !is_known && sessions >= limit {
        return Err(ConnectRefusal::TooManyClients { limit });
    }
    Ok(())
}

/// Returns what the client is told. Congestion means that the same CONNECT may be good later.
pub(in crate::core) fn return_code(refusal: ConnectRefusal) -> ReturnCode {
    match refusal {
        ConnectRefusal::ProtocolId(_)
        | ConnectRefusal::EmptyClientId
        | ConnectRefusal::UnreadableClientId
        | ConnectRefusal::LongClientId { .. }
        | ConnectRefusal::GatewaysOwnId
        | ConnectRefusal::WillTopic { .. }
        | ConnectRefusal::WillQos => ReturnCode::NotSupported,
        ConnectRefusal::TooManyClients { .. }
        | ConnectRefusal::BrokerDown
        | ConnectRefusal::BrokerSilent
        | ConnectRefusal::StoreFails => ReturnCode::Congestion,
        // "Server unavailable", "server busy" and "quota exceeded" pass (MQTT-SN digest §17).
        ConnectRefusal::ByBroker { reason: BrokerReason(0x88 | 0x89 | 0x97) } => ReturnCode::Congestion,
        ConnectRefusal::ByBroker { .. } => ReturnCode::NotSupported,
    }
}

/// Whether a sender of this message believes in a session and waits for an answer.
pub(in crate::core) fn expects_session(message: &Message<'_>) -> bool {
    match message {
        Message::Register(_)
        | Message::Publish(_)
        | Message::PubRel(_)
        | Message::Subscribe(_)
        | Message::Unsubscribe(_)
        | Message::PingReq(_)
        | Message::Disconnect(_)
        | Message::WillTopicUpd(_)
        | Message::WillMsgUpd(_) => true,
        Message::Advertise(_)
        | Message::SearchGw(_)
        | Message::GwInfo(_)
        | Message::Connect(_)
        | Message::ConnAck(_)
        | Message::WillTopicReq(_)
        | Message::WillTopic(_)
        | Message::WillMsgReq(_)
        | Message::WillMsg(_)
        | Message::RegAck(_)
        | Message::PubAck(_)
        | Message::PubComp(_)
        | Message::PubRec(_)
        | Message::SubAck(_)
        | Message::UnsubAck(_)
        | Message::PingResp(_)
        | Message::WillTopicResp(_)
        | Message::WillMsgResp(_) => false,
    }
}
