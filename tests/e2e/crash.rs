//! The gateway is killed at any moment, again and again, and so is the broker. In the end what devices were told is
//! true: what was accepted has arrived, and at QoS 2 once.
//!
//! The moments are drawn from a seed, which is printed: `CRASH_SEED=7 cargo test --test e2e crash` kills at the same
//! ones again. `CRASH_KILLS=1000` goes on for longer.

use std::time::Duration;

use fastrand::Rng;

use crate::support::device::{Habits, Sleep};
use crate::support::site::Site;
use crate::support::{Gateway, Home};

/// Kills of the gateway in each test. There are three of them.
const KILLS: usize = 25;

#[test]
fn what_was_accepted_survives_every_death_of_gateway_and_broker_with_mqtt_5() {
    let mut trial = Trial::new("mqtt-5", "[broker]\nprotocol = \"5\"\n");
    trial.run(KILLS, BrokersFate::Dies);
    trial.conclude();
}

#[test]
fn what_was_accepted_survives_every_death_of_gateway_and_broker_with_mqtt_3() {
    let mut trial = Trial::new("mqtt-3.1.1", "[broker]\nprotocol = \"3.1.1\"\n");
    trial.run(KILLS, BrokersFate::Dies);
    trial.conclude();
}

/// What is kept for a device is kept by the broker here, which stays alive.
#[test]
fn what_was_accepted_survives_every_death_of_a_transparent_gateway() {
    let mut trial = Trial::new("transparent", "[gateway]\nmode = \"transparent\"\n");
    trial.run(KILLS / 2, BrokersFate::Lives);
    trial.conclude();
}

/// A site whose gateway is killed.
struct Trial {
    site: Site,
    gateway: Option<Gateway>,
    rng: Rng,
    kills: usize,
    broker_kills: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokersFate {
    Lives,
    Dies,
}

impl Trial {
    fn new(name: &str, config: &str) -> Self {
        let seed = number_from("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
        eprintln!("{name}: CRASH_SEED={seed}");
        let mut site = Site::new();
        let config = format!("{config}[timers]\nt_retry = \"1s\"\n");
        let gateway = Home::lasting(&config, &["--broker", &site.cable.url()]).start();
        gateway.wait_for_broker();
        let habits = |number: u64| Habits {
            client_id: format!("device-{number}"),
            qos: vec![1, 2],
            pace: Duration::from_millis(5 * number),
            readings: usize::MAX,
            sleep: if number > 4 { Sleep::WakesEvery(Duration::from_millis(150)) } else { Sleep::Never },
        };
        site.populate(gateway.udp(), (1..=6).map(habits));
        site.report();
        site.command(Duration::from_millis(25));
        Self { site, gateway: Some(gateway), rng: Rng::with_seed(seed), kills: 0, broker_kills: 0 }
    }

    fn run(&mut self, kills: usize, fate: BrokersFate) {
        let kills = number_from("CRASH_KILLS").map_or(kills, |kills| usize::try_from(kills).expect("a small number"));
        while self.kills < kills {
            match self.rng.u8(..10) {
                0..3 => self.kill_at_the_start(),
                3..5 => self.kill_without_a_broker(),
                5 if fate == BrokersFate::Dies => self.kill_the_broker(),
                _ => self.kill_after(800),
            }
        }
    }

    fn kill_after(&mut self, at_most: u64) {
        self.pause(at_most);
        let home = self.kill();
        self.gateway = Some(home.start());
    }

    /// Again and again, before it has come to anything.
    fn kill_at_the_start(&mut self) {
        let home = self.kill();
        for _ in 0..self.rng.usize(1..4) {
            self.kills += 1;
            let log = home.start_and_kill(Duration::from_millis(self.rng.u64(..40)));
            assert_in_order(&log);
        }
        self.gateway = Some(home.start());
    }

    /// While devices are answered by the gateway alone.
    fn kill_without_a_broker(&mut self) {
        self.site.cable.pull_out();
        self.kill_after(300);
        self.pause(200);
        if self.rng.bool() {
            self.kill_after(100);
        }
        self.site.cable.plug_in();
        self.kill_after(300);
    }

    fn kill_the_broker(&mut self) {
        let gateway = self.kill().start();
        gateway.wait_for_broker();
        self.gateway = Some(gateway);
        self.pause(300);
        self.site.kill_broker();
        self.broker_kills += 1;
    }

    fn kill(&mut self) -> Home {
        self.kills += 1;
        let gateway = self.gateway.take().expect("one runs");
        let (home, log) = gateway.kill();
        assert_in_order(&log);
        home
    }

    fn pause(&mut self, at_most: u64) {
        std::thread::sleep(Duration::from_millis(self.rng.u64(..at_most)));
    }

    fn conclude(self) {
        let Self { site, gateway, kills, broker_kills, .. } = self;
        let outcome = site.conclude(gateway.expect("one runs"));
        let accepted: usize = outcome.diaries.values().map(|diary| diary.accepted.len()).sum();
        let arrived: usize = outcome.arrived.values().map(Vec::len).sum();
        let commands: usize = outcome.ordered.values().map(Vec::len).sum();
        let heard: usize = outcome.diaries.values().map(|diary| diary.commands.len()).sum();
        eprintln!(
            "the gateway killed {kills} times, the broker {broker_kills} times: {accepted} readings accepted, {arrived} \
             arrived; {commands} commands given, {heard} heard"
        );
        outcome.assert_readings();
        outcome.assert_commands();
        outcome.assert_undisturbed();
    }
}

/// Asserts that a gateway saw nothing it had to complain about.
fn assert_in_order(log: &[String]) {
    let trouble = |line: &&String| line.contains("panicked") || line.contains("ERROR");
    assert_eq!(log.iter().find(trouble), None);
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
