//! All simulated devices of a run: who joins when, who sends when, and what arrived where. No sockets, no clock.

use std::time::Duration;

use super::device::{Context, Device, Heard};
use super::mqtt::MqttConnection;
use super::outbox::Outbox;
use super::plan::{Downlink, Pace, Plan, Role};
use super::schedule::Schedule;
use super::seen::Seen;
use super::stamp::Stamp;
use super::tally::{Flow, Tally};
use crate::core::Instant;
use crate::wire::{Message, Qos};

/// How often every device is looked at: what it may do then is late by this much at most.
const SWEEP: Duration = Duration::from_millis(100);
/// How long one message to all may take before the next is sent all the same.
const LOCKSTEP_PATIENCE: Duration = Duration::from_secs(1);
/// Octets that may wait on the way to the broker; beyond, messages are sent later than they are due.
const BROKER_BACKLOG: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Fleet {
    plan: Plan,
    devices: Vec<Device>,
    stage: Stage,
    tally: Tally,
    out: Outbox,
    /// Devices that were told to connect, and those that are where their role wants them.
    called: u32,
    joined: u32,
    /// By the device that sent, and by the device that received.
    seen_up: Vec<Seen>,
    seen_down: Vec<Seen>,
    /// Messages that the broker was given for devices.
    down_sent: u32,
    swept_at: Instant,
}

#[derive(Debug)]
enum Stage {
    Joining {
        since: Instant,
    },
    /// Nothing new is begun; what is on its way may arrive.
    Resting,
    Measuring {
        until: Instant,
        up: Option<Sending>,
        down: Option<Sending>,
    },
    /// Sleepers are woken, one after the other: so many were, so many have taken their messages.
    Collecting {
        woken: u32,
        done: u32,
    },
}

#[derive(Debug)]
enum Sending {
    /// When the last message to all went out.
    Lockstep {
        last: Option<Instant>,
    },
    Scheduled(Schedule),
}

impl Fleet {
    /// Makes the devices. They join from now on, whenever [`Fleet::tick`] is called.
    pub(super) fn new(plan: Plan, now: Instant) -> Self {
        let clients = plan.clients as usize;
        let watched = plan.broker.is_some();
        let answered = Flow { answered: true, ..Flow::default() };
        let tally = Tally {
            connects: answered.clone(),
            pings: answered,
            up: Flow { watched, answered: plan.qos > Qos::AtMostOnce, ..Flow::default() },
            down: Flow { watched, ..Flow::default() },
            ..Tally::default()
        };
        Self {
            devices: (0..clients).map(|_| Device::new()).collect(),
            stage: Stage::Joining { since: now },
            tally,
            out: Outbox::default(),
            called: 0,
            joined: 0,
            seen_up: vec![Seen::default(); if plan.up.is_some() { clients } else { 0 }],
            seen_down: vec![Seen::default(); if plan.down.is_some() { clients } else { 0 }],
            down_sent: 0,
            swept_at: now,
            plan,
        }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Frames that wait to be sent.
    pub(super) fn out(&mut self) -> &mut Outbox {
        &mut self.out
    }

    /// Returns how many devices are active, or asleep where they should be.
    pub(super) fn joined(&self) -> u32 {
        self.joined
    }

    pub(super) fn all_joined(&self) -> bool {
        self.joined == self.plan.clients
    }

    /// Whether no exchange waits for its answer, and no message for its arrival.
    pub(super) fn is_settled(&self) -> bool {
        let all_arrived = |flow: &Flow| flow.lost().is_none_or(|lost| lost == 0);
        // What waits for sleepers arrives when they are woken.
        let waits = matches!(self.plan.down, Some(Downlink::Queued(_)));
        all_arrived(&self.tally.up)
            && (waits || all_arrived(&self.tally.down))
            && !self.devices.iter().any(Device::is_busy)
    }

    /// Whether every sleeper was woken and has its messages.
    pub(super) fn has_collected(&self) -> bool {
        match self.stage {
            Stage::Collecting { done, .. } => done >= self.plan.sleepers && self.is_settled(),
            Stage::Joining { .. } | Stage::Resting | Stage::Measuring { .. } => true,
        }
    }

    /// Lets the devices do what the plan is about, until then.
    pub(super) fn measure(&mut self, now: Instant) {
        let duration = self.plan.duration;
        let sending = |pace: Pace, senders| match pace {
            Pace::Lockstep => Sending::Lockstep { last: None },
            Pace::PerSecond(rate) => Sending::Scheduled(Schedule::new(now, duration, rate, senders)),
        };
        let up = self.plan.up.map(|pace| sending(pace, self.plan.publishers()));
        let down = match self.plan.down {
            Some(Downlink::ToAll(pace)) => Some(sending(pace, 1)),
            Some(Downlink::ToEach(rate)) => Some(sending(Pace::PerSecond(rate), self.plan.clients)),
            Some(Downlink::Queued(_)) | None => None,
        };
        let is_lockstep = matches!(up, Some(Sending::Lockstep { .. }));
        self.stage = Stage::Measuring { until: now + duration, up, down };
        if is_lockstep {
            (self.plan.sleepers..self.plan.clients).for_each(|device| self.publish_if_due(device, now));
        }
    }

    /// Begins nothing new any more.
    pub(super) fn rest(&mut self) {
        if let Stage::Measuring { up: Some(Sending::Scheduled(schedule)), .. } = &self.stage {
            self.tally.up.withheld = schedule.come_due().saturating_sub(self.tally.up.sent);
        }
        self.stage = Stage::Resting;
    }

    /// Wakes the sleepers, so that they take what waits for them.
    pub(super) fn collect(&mut self) {
        self.stage = Stage::Collecting { woken: 0, done: 0 };
    }

    /// Gives the broker the messages that are to wait for sleepers.
    pub(super) fn queue_messages(&mut self, now: Instant, broker: &mut MqttConnection) {
        if let Some(downlink @ Downlink::Queued(messages)) = self.plan.down {
            for _ in 0..messages {
                self.publish_down(broker, downlink, 0, self.down_sent, now);
                self.down_sent += 1;
                self.tally.down.sent += u64::from(self.plan.sleepers);
            }
        }
    }

    /// Has every device leave.
    pub(super) fn leave(&mut self, now: Instant) {
        self.stage = Stage::Resting;
        for device in 0..self.plan.clients {
            self.with_device(device, now, Device::leave);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant, broker: Option<&mut MqttConnection>) {
        if now - self.swept_at >= SWEEP {
            self.swept_at = now;
            for device in 0..self.called {
                self.with_device(device, now, Device::tick);
                self.publish_if_due(device, now);
            }
        }
        match &self.stage {
            Stage::Joining { since } => self.let_in(*since, now),
            Stage::Measuring { .. } => {
                self.publish_scheduled(now);
                if let Some(broker) = broker {
                    self.publish_to_devices(now, broker);
                }
            }
            Stage::Collecting { .. } => self.wake_some(now),
            Stage::Resting => {}
        }
    }

    /// Returns when [`Fleet::tick`] has something to do at the latest, if nothing arrives before.
    pub(super) fn next_tick(&self) -> Instant {
        let sweep = self.swept_at + SWEEP;
        match &self.stage {
            Stage::Joining { since } if self.called < self.plan.clients && !self.plan.ramp.is_zero() => {
                sweep.min(*since + self.plan.ramp * self.called / self.plan.clients)
            }
            Stage::Measuring { until, up, down } => {
                let due = [up, down].into_iter().flatten().filter_map(|sending| match sending {
                    Sending::Lockstep { .. } => None,
                    Sending::Scheduled(schedule) => schedule.next_due(),
                });
                due.chain([sweep, *until]).min().unwrap_or(sweep)
            }
            Stage::Joining { .. } | Stage::Resting | Stage::Collecting { .. } => sweep,
        }
    }

    /// Takes a frame that came for a device.
    pub(super) fn receive(&mut self, device: u32, frame: &[u8], now: Instant) {
        let Ok(message) = Message::decode(frame) else { return };
        let was_asleep = self.devices.get(device as usize).is_some_and(Device::is_asleep);
        let Some(heard) = self.with_device(device, now, |it, context| it.receive(context, &message)) else { return };
        match heard {
            Heard::Message(payload) => self.arrived_at_device(device, payload, now),
            Heard::Other => self.publish_if_due(device, now),
        }
        if let Stage::Collecting { done, .. } = &mut self.stage
            && !was_asleep
            && self.devices[device as usize].is_asleep()
        {
            *done += 1;
        }
    }

    /// Takes a message that came out at the broker.
    pub(super) fn arrived_at_broker(&mut self, payload: &[u8], now: Instant) {
        let Some(stamp) = self.stamp(payload) else { return };
        let Some(device) = self.devices.get(stamp.device as usize) else { return };
        let Some(seen) = self.seen_up.get_mut(stamp.device as usize) else { return };
        note_arrival(&mut self.tally.up, seen, &stamp, device.begun(), now);
    }

    fn arrived_at_device(&mut self, device: u32, payload: &[u8], now: Instant) {
        let Some(stamp) = self.stamp(payload) else { return };
        let Some(seen) = self.seen_down.get_mut(device as usize) else { return };
        note_arrival(&mut self.tally.down, seen, &stamp, self.down_sent, now);
    }

    fn stamp(&self, payload: &[u8]) -> Option<Stamp> {
        Stamp::read(payload).filter(|stamp| stamp.run == self.plan.run)
    }

    /// Lets devices connect, as many as the ramp or the answers allow.
    fn let_in(&mut self, since: Instant, now: Instant) {
        let clients = self.plan.clients;
        let allowed = if self.plan.ramp.is_zero() {
            self.joined + self.plan.at_once
        } else {
            let share = (now - since).as_secs_f64() / self.plan.ramp.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the clients")]
            let allowed = (f64::from(clients) * share.min(1.0)).ceil() as u32;
            allowed
        };
        while self.called < allowed.min(clients) {
            self.called += 1;
            self.with_device(self.called - 1, now, Device::connect);
        }
    }

    fn publish_scheduled(&mut self, now: Instant) {
        loop {
            let Stage::Measuring { up: Some(Sending::Scheduled(schedule)), .. } = &mut self.stage else { return };
            let Some((sender, ..)) = schedule.pop(now) else { return };
            self.publish_if_due(self.plan.sleepers + sender, now);
        }
    }

    /// Has a device publish what it owes, one message after the other, unless it waits for an answer.
    fn publish_if_due(&mut self, device: u32, now: Instant) {
        loop {
            let Stage::Measuring { until, up: Some(up), .. } = &self.stage else { return };
            let it = &self.devices[device as usize];
            if !it.is_free() || self.plan.role(device) == Role::Sleeper {
                return;
            }
            let due = match up {
                Sending::Lockstep { .. } => (now < *until).then_some(now),
                Sending::Scheduled(schedule) => schedule.overdue(device - self.plan.sleepers, it.begun(), now),
            };
            let Some(due) = due else { return };
            self.with_device(device, now, |it, context| it.publish(context, due));
        }
    }

    fn publish_to_devices(&mut self, now: Instant, broker: &mut MqttConnection) {
        let is_through = self.tally.down.arrived >= self.tally.down.sent;
        let Some(downlink) = self.plan.down else { return };
        while broker.backlog() < BROKER_BACKLOG {
            let Stage::Measuring { until, down: Some(down), .. } = &mut self.stage else { return };
            let (device, sequence, due) = match down {
                Sending::Scheduled(schedule) => match schedule.pop(now) {
                    Some(next) => next,
                    None => return,
                },
                Sending::Lockstep { last } => {
                    let goes_on = is_through || last.is_some_and(|last| now - last >= LOCKSTEP_PATIENCE);
                    if !goes_on || *last == Some(now) || now >= *until {
                        return;
                    }
                    *last = Some(now);
                    (0, self.down_sent, now)
                }
            };
            self.publish_down(broker, downlink, device, sequence, due);
            self.down_sent += 1;
            self.tally.down.sent += match downlink {
                Downlink::ToAll(_) => u64::from(self.plan.clients),
                Downlink::ToEach(_) | Downlink::Queued(_) => 1,
            };
        }
    }

    fn publish_down(&self, broker: &mut MqttConnection, to: Downlink, device: u32, sequence: u32, due: Instant) {
        let mut payload = vec![0; self.plan.size];
        Stamp { run: self.plan.run, device, sequence, due }.write(&mut payload);
        broker.publish(&self.plan.topic_down(to, device), self.plan.qos, &payload);
    }

    fn wake_some(&mut self, now: Instant) {
        while let Stage::Collecting { woken, done } = &mut self.stage
            && *woken < self.plan.sleepers
            && *woken - (*done).min(*woken) < self.plan.at_once
        {
            *woken += 1;
            let device = *woken - 1;
            self.with_device(device, now, Device::wake_up);
        }
    }

    /// Lets one device act, and keeps the number of those that have joined.
    fn with_device<T>(
        &mut self,
        id: u32,
        now: Instant,
        act: impl FnOnce(&mut Device, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let device = self.devices.get_mut(id as usize)?;
        let had_joined = device.has_joined();
        let Self { plan, tally, out, .. } = self;
        let result = act(device, &mut Context { now, id, plan, tally, out });
        self.joined = self.joined + u32::from(device.has_joined()) - u32::from(had_joined);
        Some(result)
    }
}

fn note_arrival(flow: &mut Flow, seen: &mut Seen, stamp: &Stamp, sent: u32, now: Instant) {
    match seen.note(stamp.sequence, sent) {
        Some(true) => flow.arrive(stamp.due, now),
        Some(false) => flow.duplicated += 1,
        None => {}
    }
}

#[cfg(test)]
mod tests;
