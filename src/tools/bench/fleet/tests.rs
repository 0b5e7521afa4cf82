//! Fleets in front of a gateway that the test plays: frames go round without sockets, on a clock of numbers.

use super::*;
use crate::wire::{
    ConnAck, Disconnect, MsgId, PingResp, PubAck, PubComp, PubRec, PubRel, Publish, RegAck, ReturnCode, SubAck,
    TopicId, TopicRef,
};

const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    fleet: Fleet,
    now: Instant,
    /// What the devices have sent since the test last looked.
    sent: Vec<(u32, Vec<u8>)>,
}

impl Scene {
    fn new(adjust: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan { clients: 2, t_retry: SECOND, n_retry: 1, run: 7, ..Plan::local("test", SECOND * 10) };
        adjust(&mut plan);
        let mut scene = Self { fleet: Fleet::new(plan, Instant::ORIGIN), now: Instant::ORIGIN, sent: Vec::new() };
        scene.tick();
        scene
    }

    /// Devices that publish, and have joined; the measurement has begun.
    fn publishing(pace: Pace, adjust: impl FnOnce(&mut Plan)) -> Self {
        let mut scene = Self::new(|plan| {
            plan.up = Some(pace);
            adjust(plan);
        });
        // Somebody counts at the broker: the test.
        scene.fleet.tally.up.watched = true;
        scene.answer_all();
        assert!(scene.fleet.all_joined());
        scene.fleet.measure(scene.now);
        scene.passes(Duration::ZERO);
        scene
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tick();
    }

    fn tick(&mut self) {
        self.fleet.tick(self.now, None);
        self.take();
    }

    fn take(&mut self) {
        let frames = self.fleet.out().frames().map(|(device, frame)| (device, frame.to_vec()));
        self.sent.extend(frames.collect::<Vec<_>>());
        self.fleet.out().clear();
    }

    fn gateway(&mut self, device: u32, message: impl Into<Message<'static>>) {
        let mut frame = Vec::new();
        message.into().encode(&mut frame).unwrap();
        self.fleet.receive(device, &frame, self.now);
        self.take();
    }

    /// Plays a gateway that answers everything, until nobody asks any more.
    fn answer_all(&mut self) {
        while !self.sent.is_empty() {
            for (device, frame) in std::mem::take(&mut self.sent) {
                if let Some(answer) = answer(&frame) {
                    self.gateway(device, answer);
                }
            }
        }
    }

    /// Takes what the devices have sent, in words.
    fn heard(&mut self) -> Vec<String> {
        let frames = std::mem::take(&mut self.sent).into_iter();
        frames.map(|(device, frame)| format!("{device}: {}", words(&frame))).collect()
    }

    fn up(&self) -> &Flow {
        &self.fleet.tally().up
    }
}

fn words(frame: &[u8]) -> String {
    match Message::decode(frame).unwrap() {
        Message::Publish(publish) => {
            let again = if publish.dup { " again" } else { "" };
            let stamp = Stamp::read(publish.data).unwrap();
            format!("PUBLISH {} due {} ms{again}", stamp.sequence, stamp.due.since_origin().as_millis())
        }
        other => other.msg_type().to_string(),
    }
}

fn answer(frame: &[u8]) -> Option<Message<'static>> {
    let return_code = ReturnCode::Accepted;
    Some(match Message::decode(frame).unwrap() {
        Message::Connect(_) => ConnAck { return_code }.into(),
        Message::Register(it) => RegAck { topic_id: TopicId(9), msg_id: it.msg_id, return_code }.into(),
        Message::Subscribe(it) => SubAck { qos: it.qos, topic_id: TopicId(5), msg_id: it.msg_id, return_code }.into(),
        Message::Disconnect(_) => Disconnect { duration: None }.into(),
        Message::PingReq(_) => PingResp.into(),
        _ => return None,
    })
}

fn acknowledge(msg_id: u16) -> PubAck {
    PubAck { topic_id: TopicId(9), msg_id: MsgId(msg_id), return_code: ReturnCode::Accepted }
}

fn message_down(sequence: u32, qos: Qos, msg_id: u16) -> Publish<'static> {
    let mut payload = vec![0; Stamp::OCTETS];
    Stamp { run: 7, device: 0, sequence, due: Instant::ORIGIN }.write(&mut payload);
    let topic = TopicRef::Normal(TopicId(5));
    Publish { dup: false, qos: qos.into(), retain: false, topic, msg_id: MsgId(msg_id), data: payload.leak() }
}

#[test]
fn devices_connect_a_few_at_a_time() {
    let mut scene = Scene::new(|plan| (plan.clients, plan.at_once) = (5, 2));
    assert_eq!(scene.heard(), ["0: CONNECT", "1: CONNECT"]);
    scene.gateway(0, ConnAck { return_code: ReturnCode::Accepted });
    scene.tick();
    assert_eq!(scene.heard(), ["2: CONNECT"]);
    assert_eq!(scene.fleet.joined(), 1);
}

#[test]
fn devices_connect_evenly_over_the_ramp() {
    let mut scene = Scene::new(|plan| (plan.clients, plan.ramp) = (10, SECOND));
    scene.heard();
    scene.passes(Duration::from_millis(150));
    assert_eq!(scene.heard(), ["0: CONNECT", "1: CONNECT"]);
    assert_eq!(scene.fleet.next_tick(), Instant::ORIGIN + Duration::from_millis(200));
    scene.passes(Duration::from_millis(850));
    assert_eq!(scene.heard().len(), 8);
}

#[test]
fn in_lockstep_the_answer_is_the_signal_for_the_next_message() {
    let mut scene = Scene::publishing(Pace::Lockstep, |_| {});
    assert_eq!(scene.heard(), ["0: PUBLISH 0 due 0 ms", "1: PUBLISH 0 due 0 ms"]);
    scene.now = scene.now + Duration::from_millis(2);
    scene.gateway(1, acknowledge(3));
    assert_eq!(scene.heard(), ["1: PUBLISH 1 due 2 ms"]);
    assert_eq!((scene.up().sent, scene.up().acknowledged), (3, 1));
    assert_eq!(scene.up().until_acknowledged.max(), Some(Duration::from_millis(2)));
    scene.passes(SECOND * 10);
    scene.heard();
    scene.gateway(1, acknowledge(4));
    assert_eq!(scene.heard(), [""; 0], "the time is over");
}

#[test]
fn an_answer_to_another_message_is_none() {
    let mut scene = Scene::publishing(Pace::Lockstep, |_| {});
    scene.heard();
    scene.gateway(0, acknowledge(2));
    assert_eq!(scene.heard(), [""; 0]);
    assert_eq!(scene.up().acknowledged, 0);
}

#[test]
fn what_is_acknowledged_but_never_seen_at_the_broker_is_lost() {
    let mut scene = Scene::publishing(Pace::Lockstep, |plan| plan.clients = 1);
    let (_, frame) = scene.sent.remove(0);
    scene.gateway(0, acknowledge(3));
    scene.fleet.rest();
    assert_eq!(scene.up().lost(), Some(2));
    let Ok(Message::Publish(publish)) = Message::decode(&frame) else { panic!("{frame:02x?}") };
    scene.fleet.arrived_at_broker(publish.data, scene.now);
    scene.fleet.arrived_at_broker(publish.data, scene.now);
    assert_eq!((scene.up().arrived, scene.up().duplicated, scene.up().lost()), (1, 1, Some(1)));
}

#[test]
fn messages_of_another_run_are_not_counted() {
    let mut scene = Scene::publishing(Pace::Lockstep, |_| {});
    let mut payload = [0; Stamp::OCTETS];
    Stamp { run: 8, device: 0, sequence: 0, due: Instant::ORIGIN }.write(&mut payload);
    scene.fleet.arrived_at_broker(&payload, scene.now);
    assert_eq!(scene.up().arrived, 0);
}

#[test]
fn an_unanswered_message_is_sent_again_and_then_given_up() {
    let mut scene = Scene::publishing(Pace::Lockstep, |plan| plan.clients = 1);
    scene.heard();
    scene.passes(SECOND);
    assert_eq!(scene.heard(), ["0: PUBLISH 0 due 0 ms again"]);
    scene.passes(SECOND);
    assert_eq!(scene.heard(), ["0: PUBLISH 1 due 2000 ms"]);
    assert_eq!((scene.up().retransmitted, scene.up().abandoned), (1, 1));
}

#[test]
fn at_a_rate_a_message_that_had_to_wait_carries_the_time_when_it_was_due() {
    let mut scene = Scene::publishing(Pace::PerSecond(10.0), |plan| plan.clients = 1);
    assert_eq!(scene.heard(), ["0: PUBLISH 0 due 0 ms"]);
    scene.passes(Duration::from_millis(250));
    assert_eq!(scene.heard(), [""; 0], "it waits for its answer");
    scene.gateway(0, acknowledge(3));
    assert_eq!(scene.heard(), ["0: PUBLISH 1 due 100 ms"]);
    scene.fleet.rest();
    assert_eq!(scene.up().withheld, 1);
}

#[test]
fn at_qos_0_nothing_is_waited_for() {
    let mut scene = Scene::publishing(Pace::PerSecond(10.0), |plan| {
        (plan.clients, plan.qos) = (1, Qos::AtMostOnce);
    });
    scene.passes(Duration::from_millis(250));
    assert_eq!(scene.heard().len(), 3);
    assert!(!scene.fleet.devices[0].is_busy());
}

#[test]
fn at_qos_2_a_message_is_acknowledged_when_it_is_complete() {
    let mut scene = Scene::publishing(Pace::Lockstep, |plan| (plan.clients, plan.qos) = (1, Qos::ExactlyOnce));
    scene.heard();
    scene.gateway(0, PubRec { msg_id: MsgId(3) });
    assert_eq!(scene.heard(), ["0: PUBREL"]);
    assert_eq!(scene.up().acknowledged, 0);
    scene.gateway(0, PubComp { msg_id: MsgId(3) });
    assert_eq!(scene.up().acknowledged, 1);
    assert_eq!(scene.heard(), ["0: PUBLISH 1 due 0 ms"]);
}

#[test]
fn a_refused_message_is_counted_and_offered_again_later() {
    let mut scene = Scene::publishing(Pace::Lockstep, |plan| plan.clients = 1);
    scene.heard();
    scene.gateway(0, PubAck { return_code: ReturnCode::Congestion, ..acknowledge(3) });
    assert_eq!(scene.heard(), [""; 0]);
    assert_eq!((scene.up().refused, scene.up().acknowledged), (1, 0));
    scene.passes(SECOND);
    assert_eq!(scene.heard(), ["0: PUBLISH 0 due 0 ms again"]);
}

#[test]
fn messages_for_devices_are_acknowledged_and_counted_once() {
    let down = Downlink::ToAll(Pace::Lockstep);
    let mut scene = Scene::new(|plan| plan.down = Some(down));
    scene.answer_all();
    scene.fleet.down_sent = 2;
    scene.gateway(0, message_down(0, Qos::AtLeastOnce, 11));
    scene.gateway(0, message_down(0, Qos::AtLeastOnce, 11));
    assert_eq!(scene.heard(), ["0: PUBACK", "0: PUBACK"]);
    assert_eq!((scene.fleet.tally().down.arrived, scene.fleet.tally().down.duplicated), (1, 1));
    scene.gateway(1, message_down(0, Qos::ExactlyOnce, 12));
    scene.gateway(1, message_down(0, Qos::ExactlyOnce, 12));
    scene.gateway(1, PubRel { msg_id: MsgId(12) });
    assert_eq!(scene.heard(), ["1: PUBREC", "1: PUBREC", "1: PUBCOMP"]);
    assert_eq!((scene.fleet.tally().down.arrived, scene.fleet.tally().down.duplicated), (2, 1));
}

#[test]
fn a_device_that_the_gateway_throws_out_connects_again() {
    let mut scene = Scene::new(|plan| plan.clients = 1);
    scene.answer_all();
    scene.gateway(0, Disconnect { duration: None });
    assert_eq!((scene.fleet.tally().sessions_lost, scene.fleet.joined()), (1, 0));
    scene.passes(SECOND);
    assert_eq!(scene.heard(), ["0: CONNECT"]);
}

#[test]
fn an_active_device_pings_once_in_a_keep_alive_period() {
    let mut scene = Scene::new(|plan| (plan.clients, plan.keep_alive) = (1, 60));
    scene.answer_all();
    scene.passes(SECOND * 60);
    assert_eq!(scene.heard(), ["0: PINGREQ"]);
    scene.gateway(0, PingResp);
    assert_eq!(scene.fleet.tally().pings.acknowledged, 1);
    scene.passes(SECOND * 59);
    assert_eq!(scene.heard(), [""; 0]);
}

#[test]
fn sleepers_wake_up_in_time_and_when_their_messages_are_collected() {
    let mut scene = Scene::new(|plan| {
        (plan.clients, plan.sleepers, plan.at_once) = (3, 3, 1);
        (plan.down, plan.wake_every) = (Some(Downlink::Queued(1)), SECOND * 30);
    });
    while !scene.fleet.all_joined() {
        scene.answer_all();
        scene.tick();
    }
    scene.passes(SECOND * 29);
    assert_eq!(scene.heard(), [""; 0], "a device asleep says nothing");
    scene.fleet.collect();
    scene.tick();
    assert_eq!(scene.heard(), ["0: PINGREQ"]);
    assert!(!scene.fleet.has_collected());
    while !scene.fleet.has_collected() {
        scene.gateway(scene.fleet.tally().pings.acknowledged.try_into().unwrap(), PingResp);
        scene.tick();
    }
    assert_eq!(scene.fleet.tally().pings.acknowledged, 3);
}
