//! The tree of 10,000 filters: finding who wants a topic, subscribing, unsubscribing.

use divan::{Bencher, black_box};
use mqttsn_gateway::core::topics::Tree;

const FILTERS: u32 = 10_000;

/// A building's worth of filters: most of them names, some with wildcards.
fn filter(number: u32) -> String {
    let (house, room, sensor) = (number / 100, number / 10 % 10, number % 10);
    match number % 20 {
        0 => format!("site/house{house}/room{room}/+"),
        1 => format!("site/house{house}/#"),
        2 => format!("site/+/room{room}/sensor{sensor}/house{house}"),
        _ => format!("site/house{house}/room{room}/sensor{sensor}"),
    }
}

fn tree() -> Tree<u32> {
    let mut tree = Tree::default();
    for number in 0..FILTERS {
        tree.insert(&filter(number), number);
    }
    tree
}

#[divan::bench]
fn find(bencher: Bencher<'_, '_>) {
    let mut tree = tree();
    let mut found = Vec::new();
    bencher.bench_local(|| {
        found.clear();
        tree.matches(black_box("site/house57/room3/sensor8"), &mut found);
        black_box(&found);
    });
}

#[divan::bench]
fn find_none(bencher: Bencher<'_, '_>) {
    let mut tree = tree();
    let mut found = Vec::new();
    bencher.bench_local(|| tree.matches(black_box("elsewhere/house57/room3/sensor8"), &mut found));
    assert!(found.is_empty());
}

#[divan::bench]
fn subscribe_and_unsubscribe(bencher: Bencher<'_, '_>) {
    let mut tree = tree();
    bencher.bench_local(|| {
        tree.insert(black_box("site/house57/room3/new"), 1);
        tree.remove(black_box("site/house57/room3/new"));
    });
}
