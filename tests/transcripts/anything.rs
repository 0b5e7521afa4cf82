//! Whatever comes in, in whatever order, the promises hold that need no story around them. Over both modes.

use mqttsn_gateway::core::Mode;
use proptest::prelude::*;
use proptest::sample::Index;

use super::frames;
use judge::{Clients, FILTERS, Judge, PEERS, Step, TOPICS, WILL};

mod judge;

/// A message that a client may send.
fn plausible_frame(client: u8) -> BoxedStrategy<Vec<u8>> {
    let msg_id = 0..4_u16;
    let topic_id = prop_oneof![8 => 1..4_u16, 1 => 0..6_u16, 1 => Just(10), 1 => Just(0x6162), 1 => Just(0xFFFF)];
    let named = prop_oneof![
        4 => (Just(0x00), 1..4_u16),
        2 => Just((0x01, 10)),
        4 => Just((0x02, 0x6162)),
        1 => (0..4_u8, topic_id.clone()),
    ];
    let qos = prop::sample::select(vec![0x00_u8, 0x10, 0x20, 0x30, 0x40, 0x60, 0xA0, 0xC0]);
    let acks = prop::sample::select(vec![0x0D_u8, 0x0B]);
    let handshakes = prop::sample::select(vec![0x0E_u8, 0x0F, 0x10]);
    let id = format!("c{client}");
    let own_id = id.clone();
    let topic_field = |flags: u8| [&[flags], WILL.as_bytes()].concat();
    prop_oneof![
        6 => (prop::sample::select(vec![0x00, 0x04, 0x08, 0x0C]), prop::sample::select(vec![0_u16, 1, 60]))
            .prop_map(move |(flags, keep_alive)| frames::connect(&id, flags, keep_alive)),
        3 => (prop::sample::select(vec![0x07_u8, 0x1A]), prop::sample::select(vec![0x00_u8, 0x20, 0x50, 0x60]))
            .prop_map(move |(kind, flags)| frames::frame(kind, &[&topic_field(flags)])),
        2 => (prop::sample::select(vec![0x09_u8, 0x1C]), any::<u8>())
            .prop_map(|(kind, octet)| frames::frame(kind, &[&[octet]])),
        2 => (0..TOPICS.len(), msg_id.clone()).prop_map(|(topic, id)| frames::register(TOPICS[topic], id)),
        3 => (0..FILTERS.len(), 0..4_u8, msg_id.clone())
            .prop_map(|(filter, qos, id)| frames::subscribe(FILTERS[filter], qos, id)),
        2 => (0..FILTERS.len(), msg_id.clone()).prop_map(|(filter, id)| frames::unsubscribe(FILTERS[filter], id)),
        1 => (1..3_u8, topic_id.clone(), msg_id.clone())
            .prop_map(|(kind, id, msg)| frames::frame(0x12, &[&[0x20 | kind], &msg.to_be_bytes(), &id.to_be_bytes()])),
        6 => (named, qos, msg_id, 0..2_u8)
            .prop_map(|((kind, topic), qos, msg, data)| frames::publish(qos | kind, topic, msg, &[data])),
        4 => (acks, topic_id, 0..8_u16, 0..5_u8).prop_map(|(kind, topic, msg, code)| {
            frames::frame(kind, &[&topic.to_be_bytes(), &msg.to_be_bytes(), &[code]])
        }),
        4 => (handshakes, 0..8_u16).prop_map(|(kind, msg)| frames::frame(kind, &[&msg.to_be_bytes()])),
        4 => prop::sample::select(vec![
            "0216", "0217", "0218", "04180005", "0418ffff", "021a", "030101", "0207", "0500070384", "030207",
        ])
        .prop_map(frames::parse),
        3 => Just(frames::frame(0x16, &[own_id.as_bytes()])),
    ]
    .boxed()
}

/// A frame, plausible or damaged, now and then through a forwarder or two.
fn frame(client: u8) -> BoxedStrategy<Vec<u8>> {
    let damaged =
        (plausible_frame(client), any::<Index>(), any::<u8>(), 0..3_u8).prop_map(|(mut octets, at, new, how)| {
            match how {
                0 => {
                    let at = at.index(octets.len());
                    octets[at] = new;
                }
                1 => octets.truncate(at.index(octets.len())),
                _ => octets.push(new),
            }
            octets
        });
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    let bare = prop_oneof![12 => plausible_frame(client), 2 => damaged, 1 => noise].boxed();
    let wrap = |octets: Vec<u8>| [&[4, 0xFE, 0, 7], &octets[..]].concat();
    prop_oneof![38 => bare.clone(), 2 => bare.clone().prop_map(wrap), 1 => bare.prop_map(wrap).prop_map(wrap)].boxed()
}

fn step(clients: Clients) -> impl Strategy<Value = Step> {
    let said = move |peer| {
        let octets = clients.at(peer).prop_flat_map(frame);
        (octets, prop::bool::weighted(0.05)).prop_map(move |(octets, to_all)| Step::Frame { peer, octets, to_all })
    };
    prop_oneof![
        12 => (0..PEERS).prop_flat_map(said),
        8 => (0..PEERS).prop_map(|peer| Step::Replies { peer }),
        3 => (0..PEERS).prop_map(|peer| Step::Repeats { peer }),
        8 => (any::<Index>(), 0..12_u8).prop_map(|(which, how)| Step::Answer { which, how }),
        6 => (0..TOPICS.len(), 0..3_u8, any::<bool>(), 0..110_u8, prop::collection::vec(any::<Index>(), 0..3))
            .prop_map(|(topic, qos, retain, size, ids)| Step::Message { topic, qos, retain, size, ids }),
        6 => (any::<Index>(), any::<bool>()).prop_map(|(which, session_present)| Step::Up { which, session_present }),
        2 => (any::<Index>(), prop::option::weighted(0.3, any::<u8>()))
            .prop_map(|(which, reason)| Step::Down { which, reason }),
        4 => any::<Index>().prop_map(|which| Step::Closed { which }),
        2 => any::<bool>().prop_map(|is_up| Step::Link { is_up }),
        1 => (0..100_u32).prop_map(|seconds| Step::Passes { seconds }),
        2 => Just(Step::Deadline),
    ]
}

/// Plays the steps, then lets everyone fall silent while the broker accepts all it owes: nothing may be left over.
fn play(mode: Mode, clients: Clients, steps: Vec<Step>) {
    let mut judge = Judge::new(mode, clients);
    for peer in 0..PEERS {
        judge.take(Step::Frame { peer, octets: frames::connect(&format!("c{peer}"), 0x00, 60), to_all: false });
        judge.admit_all();
        judge.take(Step::Frame { peer, octets: frames::subscribe("#", 2, 1), to_all: false });
        judge.accept_all();
    }
    steps.into_iter().for_each(|step| judge.take(step));
    judge.falls_silent();
}

fn steps(clients: Clients) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(clients), 1..120)
}

proptest! {
    #[test]
    fn whatever_comes_in_over_one_connection_the_promises_hold(steps in steps(Clients::Settled)) {
        play(Mode::Aggregating, Clients::Settled, steps);
    }

    #[test]
    fn whatever_comes_in_over_many_connections_the_promises_hold(steps in steps(Clients::Settled)) {
        play(Mode::Transparent, Clients::Settled, steps);
    }

    #[test]
    fn whoever_speaks_from_wherever_over_one_connection_the_promises_hold(steps in steps(Clients::Roaming)) {
        play(Mode::Aggregating, Clients::Roaming, steps);
    }

    #[test]
    fn whoever_speaks_from_wherever_over_many_connections_the_promises_hold(steps in steps(Clients::Roaming)) {
        play(Mode::Transparent, Clients::Roaming, steps);
    }

    #[test]
    fn octets_without_sense_are_survived(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..50),
    ) {
        for mode in [Mode::Aggregating, Mode::Transparent] {
            let mut judge = Judge::new(mode, Clients::Settled);
            for octets in &frames {
                judge.take(Step::Frame { peer: 0, octets: octets.clone(), to_all: false });
            }
        }
    }
}
