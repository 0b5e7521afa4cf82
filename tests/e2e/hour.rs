//! The broker is away for an hour, in which a minute takes a tenth of a second: 100 sensors go on reporting, three of
//! them asleep with commands waiting, and the gateway is killed twice.

use std::time::Duration;

use crate::support::device::{Habits, Sleep};
use crate::support::process::until;
use crate::support::site::Site;
use crate::support::{Device, Home, mosquitto_pub};

const MINUTE: Duration = Duration::from_millis(100);
const SENSORS: usize = 100;
const SLEEPERS: usize = 3;

/// A command is either good for a day or for twenty minutes.
const AGE_LIMITS: &str = r#"
[[queue]]
filter = "cmd/+/today"
max_age = "144s"

[[queue]]
filter = "cmd/+/now"
max_age = "2s"
"#;

#[test]
fn an_hour_without_a_broker_costs_no_reading_and_no_command_that_is_still_good() {
    let mut site = Site::new();
    let gateway = Home::lasting(AGE_LIMITS, &["--broker", &site.cable.url()]).start();
    gateway.wait_for_broker();
    let habits = |number: usize| Habits {
        client_id: format!("sensor-{number:03}"),
        qos: vec![1],
        pace: MINUTE,
        readings: 60,
        sleep: if number < SLEEPERS { Sleep::UntilTold } else { Sleep::Never },
    };
    site.populate(gateway.udp(), (0..SENSORS).map(habits));
    for sleeper in &site.devices()[..SLEEPERS] {
        for (good_for, what) in [("now", "blink"), ("today", "update")] {
            let topic = format!("cmd/{}/{good_for}", sleeper.client_id);
            mosquitto_pub(site.broker.port(), &["-q", "1", "-t", &topic, "-m", what]);
        }
    }
    let has_heard = |line: &&String| line.contains("Received PUBACK from mqttsn-gateway-1");
    until("the gateway has the commands", || {
        (site.broker.log().iter().filter(has_heard).count() == 2 * SLEEPERS).then_some(())
    });

    site.cable.pull_out();
    site.report();
    let mut gateway = gateway;
    for minutes in [20, 40] {
        wait_for_readings(site.devices(), SENSORS * minutes);
        gateway = gateway.kill().0.start();
    }
    wait_for_readings(site.devices(), SENSORS * 60);
    site.wait_until_idle();
    site.cable.plug_in();
    site.devices()[..SLEEPERS].iter().for_each(Device::wake);
    for sleeper in &site.devices()[..SLEEPERS] {
        until("the sleeper hears its command", || (!sleeper.diary().commands.is_empty()).then_some(()));
    }

    let outcome = site.conclude(gateway);
    outcome.assert_undisturbed();
    for (sensor, diary) in &outcome.diaries {
        let accepted: Vec<&str> = diary.accepted.iter().map(|reading| reading.payload.as_str()).collect();
        assert_eq!(accepted.len(), 60, "{sensor}");
        let mut arrived: Vec<&str> = outcome.arrived[sensor].iter().map(String::as_str).collect();
        // The gateway was killed after it had kept the reading and before it had said so: QoS 1 lets it come twice.
        let may_repeat = |reading: &str| diary.accepted.iter().any(|known| known.payload == reading && known.sent > 1);
        arrived.dedup_by(|next, last| next == last && may_repeat(next));
        assert_eq!(arrived, accepted, "{sensor}");
        assert_eq!(diary.refused, 0, "{sensor}");
    }
    for diary in outcome.diaries.values().take(SLEEPERS) {
        assert_eq!(diary.commands, ["today update"]);
    }
}

fn wait_for_readings(devices: &[Device], wanted: usize) {
    until(&format!("{wanted} readings are accepted"), || {
        let accepted: usize = devices.iter().map(|device| device.diary().accepted.len()).sum();
        (accepted >= wanted).then_some(())
    });
}
