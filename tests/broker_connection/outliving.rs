//! QoS 2 across the end of the process: a connection that is dropped leaves no more behind than a `kill -9`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mqttsn_gateway::broker::{Protocol, SessionKeeper as _};
use mqttsn_gateway::core::{BrokerEvent, BrokerReason, ConnectSpec, Origin, PublishOutcome, SessionNumber};
use mqttsn_gateway::wire::Qos;

use crate::core::{Core, message, settings};
use crate::keeper::{Fate, MemoryKeeper};
use crate::mosquitto::Mosquitto;
use crate::outages::touchy_broker;
use crate::proxy::{PUBCOMP, PUBLISH, PUBREC, PUBREL, Packet, Proxy};

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];
/// As the core numbers what outlives it.
const TOKEN: u64 = 1 << 63 | 7;
const ACCEPTED: PublishOutcome = PublishOutcome::Accepted;

impl Core {
    /// Subscribes to `a` at QoS 2.
    async fn listen(&mut self) {
        self.subscribe(1, "a", Qos::ExactlyOnce).await;
    }

    /// Takes messages up to the payload `end`, acknowledges them, and returns the ones before it.
    async fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let received = self.message().await;
            self.ack(received.delivery);
            match std::str::from_utf8(&received.message.payload).unwrap() {
                "end" => return heard,
                other => heard.push(other.to_owned()),
            }
        }
    }

    async fn all_published(&mut self, messages: usize) {
        for _ in 0..messages {
            assert_eq!(self.published().await.1, ACCEPTED);
        }
    }

    /// Publishes to `a` at QoS 2 and waits for the answer.
    async fn says(&mut self, token: u64, payload: &'static str) {
        self.publish(token, message("a", payload, Qos::ExactlyOnce));
        assert_eq!(self.published().await, (token, ACCEPTED));
    }

    /// As [`Core::says`], and again if the message is lost with a session that is given up.
    async fn says_at_last(&mut self, token: u64) {
        loop {
            self.publish(token, message("a", "", Qos::ExactlyOnce));
            match self.published().await {
                (answered, PublishOutcome::Lost) => assert_eq!(answered, token),
                answer => return assert_eq!(answer, (token, ACCEPTED)),
            }
        }
    }
}

#[tokio::test]
async fn a_message_to_the_broker_arrives_once_whichever_packet_the_process_dies_after() {
    let stages =
        [Packet::ToBroker(PUBLISH), Packet::FromBroker(PUBREC), Packet::ToBroker(PUBREL), Packet::FromBroker(PUBCOMP)];
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.listen().await;
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        for stage in stages {
            let mut former = Core::kept(settings(&proxy.url(), protocol), &keeper);
            former.up().await;
            proxy.hold(stage);
            former.publish(TOKEN, message("a", "once", Qos::ExactlyOnce));
            proxy.holds().await;
            drop(former);
            assert_eq!(keeper.under_way(), [TOKEN], "{protocol:?} {stage:?}");
            let completed = keeper.completed().len();

            let mut core = Core::kept(settings(&proxy.url(), protocol), &keeper);
            assert!(core.up().await.0, "{protocol:?} {stage:?}: the session is taken up");
            assert_eq!(core.published().await, (TOKEN, ACCEPTED), "{protocol:?} {stage:?}");
            assert_eq!(keeper.under_way(), [0; 0]);
            assert_eq!(keeper.completed()[completed..], [TOKEN]);
            core.says(8, "end").await;
            assert_eq!(onlooker.heard().await, ["once"], "{protocol:?} {stage:?}: {}", broker.log());
            assert_eq!(core.end().await, []);
        }
        onlooker.end().await;
    }
}

#[tokio::test]
async fn a_message_from_the_broker_is_taken_once_whichever_packet_the_process_dies_after() {
    let stages = [Packet::ToBroker(PUBREC), Packet::FromBroker(PUBREL), Packet::ToBroker(PUBCOMP)];
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        for stage in stages {
            let mut former = Core::kept(settings(&proxy.url(), protocol), &keeper);
            former.up().await;
            former.listen().await;
            proxy.hold(stage);
            onlooker.says(1, "once").await;
            let received = former.message().await;
            former.ack(received.delivery);
            proxy.holds().await;
            drop(former);

            let mut core = Core::kept(settings(&proxy.url(), protocol), &keeper);
            assert!(core.up().await.0, "{protocol:?} {stage:?}: the session is taken up");
            onlooker.says(2, "end").await;
            assert_eq!(core.heard().await, [""; 0], "{protocol:?} {stage:?}: {}", broker.log());
            assert_eq!(core.end().await, []);
        }
        onlooker.end().await;
    }
}

#[tokio::test]
async fn a_message_that_was_not_acknowledged_comes_again_and_says_so() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut former = Core::kept(settings(&broker.url(), protocol), &keeper);
        former.up().await;
        former.listen().await;
        onlooker.says(1, "twice").await;
        let first = former.message().await;
        drop(former);
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        core.up().await;
        let second = core.message().await;
        assert_eq!(second.message, first.message);
        let again = first.origin.map(|origin| Origin { duplicate: true, ..origin });
        assert_eq!(second.origin, again, "{protocol:?}");
        core.ack(second.delivery);
        onlooker.says(2, "end").await;
        assert_eq!(core.heard().await, [""; 0]);
        core.end().await;
        onlooker.end().await;
    }
}

#[tokio::test]
async fn exactly_once_holds_whichever_commit_the_process_dies_in() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.listen().await;
        // Of one message there are three commits: before PUBLISH, before PUBREL, and when it is done.
        for fate in (1..=3).flat_map(|number| [Fate::DiesBefore(number), Fate::DiesAfter(number)]) {
            let keeper = Arc::new(MemoryKeeper::new());
            let mut former = Core::kept(settings(&broker.url(), protocol), &keeper);
            former.up().await;
            keeper.has_been_asked(1).await;
            let (Fate::DiesBefore(last) | Fate::DiesAfter(last)) = fate else { unreachable!("see above") };
            keeper.set_fate(fate);
            former.publish(TOKEN, message("a", "once", Qos::ExactlyOnce));
            keeper.has_been_asked(last).await;
            drop(former);
            keeper.set_fate(Fate::Kept);

            // As the core does, which keeps the message until it hears of it.
            let (under_way, completed) = (keeper.under_way(), keeper.completed());
            let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
            core.up().await;
            match (&under_way[..], &completed[..]) {
                ([TOKEN], []) => assert_eq!(core.published().await, (TOKEN, ACCEPTED)),
                ([], [TOKEN]) => {}
                ([], []) => core.says(TOKEN, "once").await,
                other => panic!("{protocol:?} {fate:?}: {other:?}"),
            }
            core.says(8, "end").await;
            assert_eq!(onlooker.heard().await, ["once"], "{protocol:?} {fate:?}: {}", broker.log());
            assert_eq!(core.end().await, [], "{protocol:?} {fate:?}");
        }
        onlooker.end().await;
    }
}

#[tokio::test]
async fn many_messages_arrive_once_each_although_the_process_dies_again_and_again() {
    const MANY: u64 = 200;
    let broker = Mosquitto::with(|_| "allow_anonymous true\nmax_queued_messages 0".to_owned());
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.listen().await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut outstanding: BTreeSet<u64> = (0..MANY).collect();
        for life in 0.. {
            for token in keeper.completed() {
                outstanding.remove(&token);
            }
            if outstanding.is_empty() {
                break;
            }
            let (under_way, number) = (keeper.under_way(), 1 + life % 7);
            keeper.set_fate(if life % 2 == 0 { Fate::DiesBefore(number) } else { Fate::DiesAfter(number) });
            let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
            for token in outstanding.iter().filter(|token| !under_way.contains(token)) {
                core.publish(*token, message("a", token.to_string(), Qos::ExactlyOnce));
            }
            tokio::select! {
                () = keeper.has_been_asked(number) => {}
                () = core.all_published(outstanding.len()) => {}
            }
        }
        keeper.set_fate(Fate::Kept);
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        core.up().await;
        core.says(TOKEN, "end").await;
        let mut heard: Vec<u64> = onlooker.heard().await.iter().map(|text| text.parse().unwrap()).collect();
        heard.sort_unstable();
        assert_eq!(heard, Vec::from_iter(0..MANY), "{protocol:?}");
        core.end().await;
        onlooker.end().await;
    }
}

#[tokio::test]
async fn a_broker_that_has_forgotten_the_session_makes_what_was_under_way_lost() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start();
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut former = Core::kept(settings(&proxy.url(), protocol), &keeper);
        former.up().await;
        proxy.hold(Packet::FromBroker(PUBREC));
        former.publish(TOKEN, message("a", "", Qos::ExactlyOnce));
        proxy.holds().await;
        drop(former);
        broker.kill();
        broker.resume();
        let mut core = Core::kept(settings(&proxy.url(), protocol), &keeper);
        assert!(!core.up().await.0);
        assert_eq!(core.published().await, (TOKEN, PublishOutcome::Lost), "{protocol:?}");
        assert_eq!((keeper.under_way(), keeper.completed()), (vec![], vec![]));
        core.says(8, "").await;
        assert_eq!(core.end().await, []);
    }
}

/// Nothing is sent that would overtake what has to be sent again.
#[tokio::test]
async fn what_waits_behind_a_message_that_is_lost_with_the_session_is_given_back() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start();
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut core = Core::kept(settings(&proxy.url(), protocol), &keeper);
        core.up().await;
        proxy.hold(Packet::FromBroker(PUBREC));
        core.publish(TOKEN, message("a", "", Qos::ExactlyOnce));
        proxy.holds().await;
        broker.kill();
        core.down().await;
        core.publish(8, message("a", "", Qos::ExactlyOnce));
        core.publish(9, message("a", "", Qos::AtLeastOnce));
        broker.resume();
        let mut answers = BTreeMap::new();
        while answers.len() < 3 {
            answers.extend([core.published().await]);
        }
        assert_eq!(
            answers,
            [(TOKEN, PublishOutcome::Lost), (8, PublishOutcome::Lost), (9, ACCEPTED)].into(),
            "{protocol:?}"
        );
        assert!(!core.up().await.0);
        core.says(10, "").await;
        assert_eq!(core.end().await, []);
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_sent_and_is_not_lost() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.listen().await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        core.up().await;
        keeper.has_been_asked(1).await;
        keeper.set_fate(Fate::Fails);
        core.publish(TOKEN, message("a", "once", Qos::ExactlyOnce));
        let reason = core.down().await;
        assert!(reason.contains("what is under way at QoS 2 cannot be kept: the disk is full"), "{reason}");
        keeper.set_fate(Fate::Kept);
        assert_eq!(core.published().await, (TOKEN, ACCEPTED), "{protocol:?}");
        core.says(8, "end").await;
        assert_eq!(onlooker.heard().await, ["once"], "{protocol:?}");
        core.end().await;
        onlooker.end().await;
    }
}

#[tokio::test]
async fn nothing_is_written_for_qos_0_and_1() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let keeper = Arc::new(MemoryKeeper::new());
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        core.up().await;
        keeper.has_been_asked(1).await;
        core.subscribe(1, "a", Qos::AtLeastOnce).await;
        for token in 0..100 {
            let qos = if token % 2 == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
            core.publish(token, message("a", "", qos));
            core.published().await;
            let received = core.message().await;
            if received.delivery.is_some() {
                core.ack(received.delivery);
            }
        }
        core.end().await;
        assert_eq!(keeper.asked(), 1, "{protocol:?}: that there is a session");
    }
}

#[tokio::test]
async fn a_session_that_is_not_the_keepers_is_not_taken_up() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut former = Core::kept(settings(&broker.url(), protocol), &Arc::new(MemoryKeeper::new()));
        former.up().await;
        drop(former);
        let keeper = Arc::new(MemoryKeeper::new());
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        assert!(!core.up().await.0, "{protocol:?}");
        core.end().await;
        assert!(keeper.load().is_some(), "{protocol:?}");
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        assert!(core.up().await.0, "{protocol:?}: it lasts when the gateway ends in order");
        core.end().await;
    }
}

#[tokio::test]
async fn a_persistent_clients_messages_outlive_the_process_too() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let mut onlooker = Core::onlooker(&broker.url()).await;
        onlooker.listen().await;
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        let spec =
            ConnectSpec { session: SessionNumber(1), client_id: "sensor".into(), clean_session: false, will: None };
        let mut former = Core::kept_client(settings(&proxy.url(), protocol), spec.clone(), &keeper);
        former.up().await;
        proxy.hold(Packet::FromBroker(PUBCOMP));
        former.publish(TOKEN, message("a", "once", Qos::ExactlyOnce));
        proxy.holds().await;
        drop(former);
        let mut client = Core::kept_client(settings(&proxy.url(), protocol), spec, &keeper);
        assert!(client.up().await.0);
        assert_eq!(client.published().await, (TOKEN, ACCEPTED));
        client.says(8, "end").await;
        assert_eq!(onlooker.heard().await, ["once"], "{protocol:?}");
        assert_eq!(client.end().await, []);
        onlooker.end().await;
    }
}

#[tokio::test]
async fn a_broker_that_is_away_at_the_start_finds_everything_as_it_was() {
    for protocol in BOTH {
        let mut broker = Mosquitto::with_persistence("");
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut former = Core::kept(settings(&proxy.url(), protocol), &keeper);
        former.up().await;
        proxy.hold(Packet::FromBroker(PUBREC));
        former.publish(TOKEN, message("a", "once", Qos::ExactlyOnce));
        proxy.holds().await;
        drop(former);
        broker.stop();
        let mut core = Core::kept(settings(&broker.url(), protocol), &keeper);
        core.down().await;
        core.publish(8, message("a", "later", Qos::ExactlyOnce));
        broker.resume();
        assert!(core.up().await.0, "{protocol:?}");
        let answers = [core.published().await, core.published().await];
        assert_eq!(answers, [(TOKEN, ACCEPTED), (8, ACCEPTED)], "{protocol:?}");
        assert_eq!(core.end().await, Vec::<BrokerEvent>::new());
    }
}

#[tokio::test]
async fn a_message_of_an_earlier_process_that_the_broker_hangs_up_on_is_given_up() {
    let broker = Mosquitto::start();
    for protocol in BOTH {
        let proxy = Proxy::start(broker.addr()).await;
        let keeper = Arc::new(MemoryKeeper::new());
        let mut former = Core::kept(settings(&proxy.url(), protocol), &keeper);
        former.up().await;
        proxy.hold(Packet::ToBroker(PUBLISH));
        former.publish(TOKEN, message("forbidden", "", Qos::ExactlyOnce));
        proxy.holds().await;
        drop(former);
        let url = format!("mqtt://{}", touchy_broker(broker.addr(), b"forbidden").await);
        let mut core = Core::kept(settings(&url, protocol), &keeper);
        assert_eq!(core.published().await, (TOKEN, PublishOutcome::Lost), "{protocol:?}");
        core.says_at_last(8).await;
        core.end().await;
    }
}

#[tokio::test]
async fn a_message_under_way_that_has_become_too_large_for_the_broker_does_not_block_the_others() {
    let large = |qos| message("a", vec![b'x'; 300], qos);
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut broker = Mosquitto::with_persistence("");
        let proxy = Proxy::start(broker.addr()).await;
        let mut core = Core::kept(settings(&proxy.url(), Protocol::V5), &Arc::new(MemoryKeeper::new()));
        core.up().await;
        proxy.hold(Packet::ToBroker(PUBLISH));
        core.publish(TOKEN, large(qos));
        proxy.holds().await;
        broker.stop();
        broker.configure("max_packet_size 200");
        broker.resume();
        let (token, outcome) = core.published().await;
        let too_large = PublishOutcome::Refused(BrokerReason(0x95));
        assert_eq!(token, TOKEN);
        assert_eq!(outcome, if qos == Qos::ExactlyOnce { PublishOutcome::Lost } else { too_large });
        core.says_at_last(8).await;
        core.end().await;
    }
}
