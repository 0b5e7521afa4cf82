//! What comes out of the gateway, in words: short enough to stand in a test, and independent of the log's wording.

use mqttsn_gateway::core::{Bound, BrokerCommand, ConnectSpec, Message, Notice, Peer};
use mqttsn_gateway::wire::Qos;

/// The name that the test gave to a client.
pub(crate) fn peer(peer: Peer) -> String {
    String::from_utf8(peer.address.octets().to_vec()).unwrap()
}

pub(crate) fn notice(notice: &Notice) -> String {
    match notice {
        Notice::ClientConnected { client_id, clean_session: true, .. }
        | Notice::ClientAwake { client_id, clean_session: true, .. } => format!("connected {client_id}"),
        Notice::ClientConnected { client_id, clean_session: false, .. }
        | Notice::ClientAwake { client_id, clean_session: false, .. } => format!("connected {client_id}, persistent"),
        Notice::ConnectRefused { peer: from, why, .. } => format!("CONNECT of {} refused: {why:?}", peer(*from)),
        Notice::ClientMoved { client_id, from, to } => {
            format!("moved {client_id} from {} to {}", peer(*from), peer(*to))
        }
        Notice::ClientReplaced { client_id, by, .. } => format!("replaced {client_id} by {by}"),
        Notice::ClientAsleep { client_id, seconds } => format!("asleep {client_id} for {seconds} s"),
        Notice::ClientDisconnected { client_id } => format!("disconnected {client_id}"),
        Notice::ClientLost { client_id, reason } => format!("lost {client_id}: {reason:?}"),
        Notice::HandshakeAbandoned { client_id } => format!("abandoned {client_id}"),
        Notice::WillPublished { client_id, topic } => format!("will of {client_id} to {}", topic.as_str()),
        Notice::WillDropped { client_id, topic } => format!("will of {client_id} to {} dropped", topic.as_str()),
        Notice::SessionExpired { client_id } => format!("expired {client_id}"),
        Notice::SessionForgotten { client_id } => format!("forgotten {client_id}"),
        Notice::Refused { client_id, what } => format!("refused {client_id}: {what:?}"),
        Notice::AnonymousRefused { peer: from, what } => format!("anonymous {} refused: {what:?}", peer(*from)),
        Notice::Undeliverable { client_id, topic, why } => {
            format!("undeliverable {client_id} {}: {why:?}", topic.as_str())
        }
        Notice::Unacknowledged { client_id, topic } => format!("{client_id} does not acknowledge {}", topic.as_str()),
        Notice::QueueOverflow { client_id } => format!("overflow {client_id}"),
        Notice::SubscriptionLost { filter, reason } => format!("subscription lost {}: {reason:?}", filter.as_str()),
        Notice::GatewayHeard { peer: from, gw_id } => format!("gateway {} heard at {}", gw_id.0, peer(*from)),
        Notice::GatewayGone { gw_id, .. } => format!("gateway {} gone", gw_id.0),
        Notice::Stray { peer: from } => format!("stray {}", peer(*from)),
        Notice::KeptRefused { topic, .. } => format!("dropped what was kept on {}", topic.as_str()),
        Notice::Outdated { client_id, topic, bound, why } => {
            let (to, topic) = (if *bound == Bound::ForBroker { "from" } else { "for" }, topic.as_str());
            format!("outdated {topic} {to} {client_id}: {why:?}")
        }
        Notice::KeptHandedOver { messages, superseded, took } => {
            let superseded = if *superseded > 0 { format!(" without {superseded}") } else { String::new() };
            format!("handed over {messages}{superseded} in {took:?}")
        }
        Notice::Malformed { peer: from, error } => format!("malformed from {}: {}", peer(*from), error.label()),
    }
}

pub(crate) fn command(command: &BrokerCommand) -> String {
    match command {
        BrokerCommand::Publish { message, expires_in, .. } => {
            let expiry = expires_in.map(|left| format!(", expires in {left:?}")).unwrap_or_default();
            format!("PUBLISH {}{expiry}", message_words(message))
        }
        BrokerCommand::Subscribe { filter, qos, .. } => format!("SUBSCRIBE {} {}", qos_words(*qos), filter.as_str()),
        BrokerCommand::Unsubscribe { filter } => format!("UNSUBSCRIBE {}", filter.as_str()),
        BrokerCommand::Ack { delivery } => format!("ACK {}", delivery.0),
        BrokerCommand::Disconnect => "DISCONNECT".to_owned(),
    }
}

/// What a client's own connection says to the broker: `CONNECT c1 clean`, `CONNECT c1, will q1 t offline`.
pub(crate) fn connect(spec: &ConnectSpec) -> String {
    let clean = if spec.clean_session { " clean" } else { "" };
    let will = spec.will.as_ref().map(|will| format!(", will {}", message_words(will))).unwrap_or_default();
    format!("CONNECT {}{clean}{will}", spec.client_id)
}

fn message_words(message: &Message) -> String {
    let retain = if message.retain { " retain" } else { "" };
    let payload = String::from_utf8_lossy(&message.payload);
    format!("{}{retain} {} {payload}", qos_words(message.qos), message.topic.as_str()).trim_end().to_owned()
}

fn qos_words(qos: Qos) -> &'static str {
    match qos {
        Qos::AtMostOnce => "q0",
        Qos::AtLeastOnce => "q1",
        Qos::ExactlyOnce => "q2",
    }
}
