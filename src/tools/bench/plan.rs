//! What a run is to do: the options, checked and spelt out.

use std::time::Duration;

use super::mqtt::BrokerAddress;
use super::usage::Subject;
use crate::tools::transport::Target;
use crate::wire::Qos;

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What the table is headed with.
    pub(super) name: String,
    pub(super) gateway: Target,
    /// Behind so many forwarders the devices share as many sockets; `None`: each device has its own.
    pub(super) forwarders: Option<u32>,
    /// Where arrivals are counted and messages for devices come from.
    pub(super) broker: Option<BrokerAddress>,
    /// Whose CPU time and memory are measured.
    pub(super) subject: Option<Subject>,
    pub(super) clients: u32,
    /// How many of them sleep: the first ones.
    pub(super) sleepers: u32,
    /// What the devices publish.
    pub(super) up: Option<Pace>,
    /// What the devices subscribe to and get.
    pub(super) down: Option<Downlink>,
    pub(super) qos: Qos,
    /// Octets of a payload.
    pub(super) size: usize,
    pub(super) duration: Duration,
    /// The time over which the clients connect; zero: as fast as the gateway answers.
    pub(super) ramp: Duration,
    /// Connects and wake-ups that may be unanswered at a time.
    pub(super) at_once: u32,
    pub(super) keep_alive: u16,
    pub(super) wake_every: Duration,
    pub(super) t_retry: Duration,
    pub(super) n_retry: u8,
    /// The first level of all topics.
    pub(super) topic: String,
    pub(super) client_prefix: String,
    /// Drawn for each run, see [`Stamp`](super::stamp::Stamp).
    pub(super) run: u32,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// Each sender waits for the answer to its last message.
    Lockstep,
    /// So many a second, all senders together, whatever the answers do.
    PerSecond(f64),
}

/// What comes from the broker to the devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Downlink {
    /// Each message to every device.
    ToAll(Pace),
    /// So many a second, each to one device, in turn.
    ToEach(f64),
    /// So many to every device that sleeps, before the measurement; they are collected after it.
    Queued(u32),
}

/// What one device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Awake,
    Sleeper,
}

impl Plan {
    /// Makes a run in which the clients connect and nothing else happens, with the defaults of the options.
    pub(super) fn local(name: &str, duration: Duration) -> Self {
        Self {
            name: name.to_owned(),
            gateway: Target::Udp { host: "127.0.0.1".to_owned(), port: 1883 },
            forwarders: None,
            broker: None,
            subject: None,
            clients: 100,
            sleepers: 0,
            up: None,
            down: None,
            qos: Qos::AtLeastOnce,
            size: 32,
            duration,
            ramp: Duration::ZERO,
            at_once: 100,
            keep_alive: 60,
            wake_every: Duration::from_secs(60),
            t_retry: Duration::from_secs(3),
            n_retry: 3,
            topic: "bench".to_owned(),
            client_prefix: "bench-".to_owned(),
            run: fastrand::u32(..),
        }
    }

    pub(super) fn role(&self, device: u32) -> Role {
        if device < self.sleepers { Role::Sleeper } else { Role::Awake }
    }

    /// Returns the devices that publish: all that do not sleep.
    pub(super) fn publishers(&self) -> u32 {
        self.clients - self.sleepers
    }

    pub(super) fn client_id(&self, device: u32) -> String {
        format!("{}{:x}-{device}", self.client_prefix, self.run)
    }

    /// Returns the topic that a device publishes to.
    pub(super) fn topic_up(&self, device: u32) -> String {
        format!("{}/{:x}/up/{device}", self.topic, self.run)
    }

    /// Returns the filter for all that the devices publish.
    pub(super) fn filter_up(&self) -> String {
        format!("{}/{:x}/up/#", self.topic, self.run)
    }

    /// Returns the topic of messages for a device.
    pub(super) fn topic_down(&self, downlink: Downlink, device: u32) -> String {
        match downlink {
            Downlink::ToAll(_) | Downlink::Queued(_) => format!("{}/{:x}/down", self.topic, self.run),
            Downlink::ToEach(_) => format!("{}/{:x}/down/{device}", self.topic, self.run),
        }
    }

    /// Returns the topic to which a device subscribes, if it does.
    pub(super) fn subscription(&self, device: u32) -> Option<String> {
        let downlink = self.down?;
        let subscribes = match downlink {
            Downlink::ToAll(_) | Downlink::ToEach(_) => true,
            Downlink::Queued(_) => self.role(device) == Role::Sleeper,
        };
        subscribes.then(|| self.topic_down(downlink, device))
    }
}
