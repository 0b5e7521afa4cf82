//! The core, one message after the other, whole exchanges: a PUBLISH at QoS 1 with the broker's answer and the PUBACK.

use divan::Bencher;
use divan::counter::ItemsCount;
use mqttsn_gateway::core::Mode;
use mqttsn_gateway::wire::Qos;

use crate::rig::Rig;

const CLIENTS: u32 = 100;
const LEVELS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

#[divan::bench(args = LEVELS)]
fn up_aggregating(bencher: Bencher<'_, '_>, qos: Qos) {
    up(bencher, Mode::Aggregating, qos);
}

#[divan::bench(args = LEVELS)]
fn up_transparent(bencher: Bencher<'_, '_>, qos: Qos) {
    up(bencher, Mode::Transparent, qos);
}

fn up(bencher: Bencher<'_, '_>, mode: Mode, qos: Qos) {
    let mut rig = Rig::new(mode, CLIENTS);
    let mut clients = (0..CLIENTS as usize).cycle();
    bencher.bench_local(|| rig.publish(clients.next().unwrap(), qos));
}

#[divan::bench(args = LEVELS)]
fn down(bencher: Bencher<'_, '_>, qos: Qos) {
    let mut rig = Rig::with_subscribers(1, qos);
    bencher.bench_local(|| rig.deliver(qos));
}

/// One message to a thousand; the time is that of all.
#[divan::bench(args = LEVELS)]
fn fan_out(bencher: Bencher<'_, '_>, qos: Qos) {
    let mut rig = Rig::with_subscribers(1_000, qos);
    bencher.counter(ItemsCount::new(1_000u32)).bench_local(|| rig.deliver(qos));
}

#[divan::bench]
fn ping(bencher: Bencher<'_, '_>) {
    let mut rig = Rig::new(Mode::Aggregating, CLIENTS);
    let mut clients = (0..CLIENTS as usize).cycle();
    bencher.bench_local(|| rig.ping(clients.next().unwrap()));
    assert!(rig.frames_sent() > 0);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn connect_1000(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(1_000u32)).bench(|| Rig::new(Mode::Aggregating, 1_000));
}
