//! Messages from the broker, and the core's acknowledgements.

use mqttsn_gateway::broker::{BrokerSettings, Protocol};
use mqttsn_gateway::core::{BrokerEvent, PublishOutcome};
use mqttsn_gateway::wire::Qos;

use crate::core::{Core, message, settings};
use crate::mosquitto::Mosquitto;

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

/// With a window of one the broker sends nothing more until it is told. MQTT 5 takes the window from the client,
/// 3.1.1 from the broker's configuration.
const WINDOW_OF_ONE: &str = "max_inflight_messages 1";

fn with_window_of_one(broker: &Mosquitto, protocol: Protocol) -> BrokerSettings {
    BrokerSettings { in_flight: 1, ..settings(&broker.url(), protocol) }
}

fn payload(received: &crate::core::Received) -> &str {
    std::str::from_utf8(&received.message.payload).unwrap()
}

#[tokio::test]
async fn the_broker_is_told_when_the_core_says_so_and_not_before() {
    let broker = Mosquitto::with(|_| format!("allow_anonymous true\n{WINDOW_OF_ONE}"));
    for protocol in BOTH {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut core = Core::start(with_window_of_one(&broker, protocol));
            core.up().await;
            core.subscribe(1, "a", qos).await;
            core.publish(1, message("a", "first", qos));
            core.publish(2, message("a", "second", qos));
            core.published().await;
            core.published().await;
            let first = core.message().await;
            assert_eq!(payload(&first), "first");
            let is_repeated = first.origin.map(|origin| origin.duplicate);
            assert_eq!(is_repeated, (qos == Qos::ExactlyOnce).then_some(false));
            // A round trip, in which a message would have come.
            core.subscribe(2, "b", Qos::AtMostOnce).await;
            let early = |event: &BrokerEvent| match event {
                BrokerEvent::Message { .. } => Some(true),
                BrokerEvent::Published { token, .. } if token.0 == 3 => Some(false),
                _ => None,
            };
            core.publish(3, message("c", "", Qos::AtLeastOnce));
            assert!(!core.next_that(early).await, "{protocol:?} {qos:?}: sent before it was told");
            core.ack(first.delivery);
            let second = core.message().await;
            assert_eq!(payload(&second), "second");
            core.ack(second.delivery);
            assert_eq!(core.end().await, []);
        }
    }
}

#[tokio::test]
async fn a_message_survives_a_restart_of_the_broker_and_is_given_out_once() {
    for protocol in BOTH {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut broker = Mosquitto::with_persistence(WINDOW_OF_ONE);
            let mut core = Core::start(with_window_of_one(&broker, protocol));
            core.up().await;
            core.subscribe(1, "a", qos).await;
            core.publish(1, message("a", "first", qos));
            core.publish(2, message("a", "second", qos));
            core.publish(3, message("a", "third", qos));
            for _ in 0..3 {
                core.published().await;
            }
            let first = core.message().await;
            broker.stop();
            assert!(core.down().await.contains("lost the connection"), "{protocol:?} {qos:?}");
            broker.resume();
            let (session_present, _) = core.up().await;
            assert!(session_present, "{protocol:?} {qos:?}");
            // The broker repeats the first message until it is told, and then sends the second.
            core.ack(first.delivery);
            let second = core.message().await;
            assert_eq!(payload(&second), "second", "{protocol:?} {qos:?}");
            // Acknowledged while the broker is away, this one is not given out again either.
            broker.stop();
            core.down().await;
            core.ack(second.delivery);
            broker.resume();
            core.up().await;
            assert_eq!(payload(&core.message().await), "third", "{protocol:?} {qos:?}");
        }
    }
}

#[tokio::test]
async fn deliveries_of_a_lost_session_are_void() {
    for protocol in BOTH {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut broker = Mosquitto::start();
            let mut core = Core::start(settings(&broker.url(), protocol));
            core.up().await;
            core.subscribe(1, "a", qos).await;
            core.publish(1, message("a", "first", qos));
            core.published().await;
            let first = core.message().await;
            broker.kill();
            core.down().await;
            broker.resume();
            assert!(!core.up().await.0, "the broker has forgotten");
            core.ack(first.delivery);
            core.subscribe(1, "a", qos).await;
            core.publish(2, message("a", "second", qos));
            assert_eq!(core.published().await, (2, PublishOutcome::Accepted));
            let second = core.message().await;
            assert_eq!(payload(&second), "second");
            core.ack(second.delivery);
            assert_eq!(core.end().await, [], "{protocol:?} {qos:?}");
        }
    }
}

#[tokio::test]
async fn a_new_process_does_not_inherit_the_former_ones_session() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let mut former = Core::start(settings(&broker.url(), protocol));
        former.up().await;
        former.subscribe(1, "a", Qos::AtLeastOnce).await;
        // As in a crash: without DISCONNECT.
        drop(former);
        let mut core = Core::start(settings(&broker.url(), protocol));
        assert!(!core.up().await.0, "{protocol:?}");
        core.publish(1, message("a", "", Qos::AtLeastOnce));
        core.published().await;
        core.subscribe(2, "b", Qos::AtLeastOnce).await;
        assert_eq!(core.end().await, [], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_core_that_takes_no_events_stops_the_broker_and_loses_nothing() {
    const MANY: usize = 5_000;
    let broker = Mosquitto::with(|_| "allow_anonymous true\nmax_queued_messages 0".to_owned());
    let mut core = Core::start(settings(&broker.url(), Protocol::V5));
    core.up().await;
    core.subscribe(1, "a", Qos::AtLeastOnce).await;
    let mut other = Core::onlooker(&broker.url()).await;
    for number in 0..MANY {
        other.publish(number.try_into().unwrap(), message("a", number.to_string(), Qos::AtLeastOnce));
    }
    for _ in 0..MANY {
        assert_eq!(other.published().await.1, PublishOutcome::Accepted);
    }
    for number in 0..MANY {
        let received = core.message().await;
        assert_eq!(payload(&received), number.to_string());
        core.ack(received.delivery);
    }
}
