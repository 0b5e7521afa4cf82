//! A site with everything in it: a broker, the cable to it, devices, someone who commands them, someone who collects
//! what they report. In the end what was promised is compared with what has arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::commander::Commander;
use super::device::{Diary, Habits};
use super::mosquitto::leave_a_session;
use super::process::until;
use super::{Cable, Device, Gateway, Mosquitto, MosquittoSub, mosquitto_pub};

pub struct Site {
    pub broker: Mosquitto,
    pub cable: Cable,
    devices: Vec<Device>,
    commander: Option<Commander>,
}

/// What a site has to show for itself in the end, by device.
#[derive(Debug)]
pub struct Outcome {
    pub diaries: BTreeMap<String, Diary>,
    /// What the collector got, in order.
    pub arrived: BTreeMap<String, Vec<String>>,
    /// What the broker acknowledged to the commander, in order.
    pub ordered: BTreeMap<String, Vec<String>>,
}

impl Site {
    /// A broker, its cable, and a collector's session that waits for all that is reported.
    pub fn new() -> Self {
        let broker = Mosquitto::start();
        leave_a_session(broker.port(), "collector", "2", "up/#");
        Self { cable: Cable::to(broker.port()), broker, devices: Vec::new(), commander: None }
    }

    /// Brings devices to life, and waits until all are connected, or asleep.
    pub fn populate(&mut self, gateway: SocketAddr, habits: impl IntoIterator<Item = Habits>) {
        self.devices.extend(habits.into_iter().map(|habits| Device::start(gateway, habits)));
        self.wait_until_idle();
    }

    /// Lets the devices report from now on.
    pub fn report(&self) {
        self.devices.iter().for_each(Device::report);
    }

    /// Waits until the devices have nothing to do.
    pub fn wait_until_idle(&self) {
        for device in &self.devices {
            until(&format!("{} has nothing to do", device.client_id), || device.is_idle().then_some(()));
        }
    }

    /// Lets someone command all devices from now on, at QoS 1 and 2 in turn.
    pub fn command(&mut self, pace: Duration) {
        let devices = self.devices.iter().map(|device| device.client_id.clone()).collect();
        self.commander = Some(Commander::start(self.broker.port(), devices, pace));
    }

    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Kills the broker, to which the gateway is connected, and starts it again.
    ///
    /// Mosquitto saves what it has acknowledged a moment later, and on the spot only when it is asked to. So that
    /// nothing is lost in that moment, nobody is connected in it: the cable has just been pulled out. To the gateway it
    /// is a broker that dies at any moment and has saved before it acknowledged.
    pub fn kill_broker(&mut self) {
        let _held = self.commander.as_ref().map(Commander::hold);
        // The words behind it depend on what the broker was at when the connection broke.
        let has_left = |line: &&String| line.contains(": Client mqttsn-gateway-1 ");
        let times_left = |broker: &Mosquitto| broker.log().iter().filter(has_left).count();
        let before = times_left(&self.broker);
        self.cable.pull_out();
        until("the broker notices", || (times_left(&self.broker) > before).then_some(()));
        self.broker.save_and_kill();
        self.broker.restart();
        self.cable.plug_in();
    }

    /// Lets all that has begun come to its end, ends the gateway, and compares.
    pub fn conclude(mut self, gateway: Gateway) -> Outcome {
        let ordered = self.commander.take().map(Commander::finish).unwrap_or_default();
        self.devices.iter().for_each(Device::rest);
        self.wait_until_idle();
        for device in &self.devices {
            let ordered: BTreeSet<&String> = ordered.get(&device.client_id).into_iter().flatten().collect();
            until(&format!("{} hears all its commands", device.client_id), || {
                let heard: BTreeSet<String> = device.diary().commands.into_iter().collect();
                ordered.iter().all(|command| heard.contains(*command)).then_some(())
            });
        }
        // Mosquitto (2.0.11) does not keep the order where a session's queue is emptied while more comes for it at QoS 1
        // and 2: nothing comes any more when the collector begins.
        until("the broker has all that was accepted", || (gateway.kept_for_broker() == 0).then_some(()));
        // What the gateway still has to say, it says before it ends.
        assert!(gateway.terminate().success());
        let collector =
            MosquittoSub::start(self.broker.port(), &["-c", "-q", "2", "-i", "collector", "-t", "up/#", "-v"]);
        let accepted: BTreeSet<String> = self.devices.iter().flat_map(accepted_as_printed).collect();
        until("all that was accepted arrives", || {
            let arrived = collector.messages().into_iter().collect();
            accepted.is_subset(&arrived).then_some(())
        });
        mosquitto_pub(self.broker.port(), &["-q", "2", "-t", "up/end", "-m", "end"]);
        collector.wait_for("up/end end");
        let mut arrived = BTreeMap::<String, Vec<String>>::new();
        for message in collector.messages() {
            let (topic, payload) = message.split_once(' ').expect("topic and payload");
            let device = topic.strip_prefix("up/").expect("it subscribes to nothing else");
            arrived.entry(device.to_owned()).or_default().push(payload.to_owned());
        }
        let diaries = self.devices.iter().map(|device| (device.client_id.clone(), device.diary())).collect();
        Outcome { diaries, arrived, ordered }
    }
}

impl Outcome {
    /// Asserts that what devices were told is true: readings have arrived, those at QoS 2 once, and in order.
    pub fn assert_readings(&self) {
        for (device, diary) in &self.diaries {
            let arrived = self.arrived.get(device).map_or(&[][..], Vec::as_slice);
            for reading in &diary.accepted {
                let times = arrived.iter().filter(|payload| **payload == reading.payload).count();
                assert!(
                    (1..=at_most(&reading.payload)).contains(&times),
                    "{} of {device} was accepted, and has arrived {times} times",
                    reading.payload
                );
            }
            for qos in ["q1", "q2"] {
                assert_in_order(&format!("readings of {device}"), arrived, qos);
            }
        }
    }

    /// Asserts that commands have come to the devices, those at QoS 2 once, and in order.
    pub fn assert_commands(&self) {
        for (device, ordered) in &self.ordered {
            let heard = &self.diaries[device].commands;
            for command in ordered {
                let times = heard.iter().filter(|heard| *heard == command).count();
                assert!((1..=at_most(command)).contains(&times), "{device} has heard {command} {times} times");
            }
            for qos in ["q1", "q2"] {
                assert_in_order(&format!("commands for {device}"), heard, qos);
            }
        }
    }

    /// Asserts that no device was answered as none should be.
    pub fn assert_undisturbed(&self) {
        for (device, diary) in &self.diaries {
            assert_eq!(diary.complaints, [""; 0], "{device}");
            assert_eq!(diary.disconnected, 0, "{device} was told to connect again");
        }
    }
}

/// How often a message may come that is promised at its QoS.
fn at_most(message: &str) -> usize {
    if message.starts_with("q2") { 1 } else { usize::MAX }
}

fn accepted_as_printed(device: &Device) -> Vec<String> {
    let Diary { accepted, .. } = device.diary();
    accepted.iter().map(|reading| format!("up/{} {}", device.client_id, reading.payload)).collect()
}

/// The first of each; a repetition may come late.
fn assert_in_order(what: &str, messages: &[String], qos: &str) {
    let mut seen = BTreeSet::new();
    for message in messages.iter().filter(|message| message.starts_with(qos)) {
        let newest = seen.last().copied();
        if seen.insert(message.as_str()) {
            assert!(newest < Some(message.as_str()), "{what}: {message} came after {newest:?}: {messages:?}");
        }
    }
}
