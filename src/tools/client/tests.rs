//! Conversations with a gateway, octet by octet. `client` lines must be sent, `gateway` lines are received.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::core::topics::{TopicFilter, TopicName};
use crate::wire::{Qos, TopicId};

mod sleep;

const KEEP_ALIVE: u16 = 60;
const T_RETRY: Duration = Duration::from_secs(10);

struct Dialogue {
    client: Client,
    now: Instant,
    out: VecDeque<Output>,
}

impl Dialogue {
    fn new(adjust: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            client_id: "c1".to_owned(),
            clean_session: true,
            keep_alive: KEEP_ALIVE,
            t_retry: T_RETRY,
            n_retry: 3,
            max_frame: 1_400,
            will: None,
        };
        adjust(&mut settings);
        Self { client: Client::new(settings), now: Instant::ORIGIN, out: VecDeque::new() }
    }

    /// A client that has just connected.
    fn connected() -> Self {
        let mut dialogue = Self::new(|_| {});
        dialogue.ask(Request::Connect).client("08040401003c6331").gateway("030500").event(Event::Connected);
        dialogue
    }

    fn ask(&mut self, request: Request) -> &mut Self {
        self.try_to(request).unwrap();
        self
    }

    fn try_to(&mut self, request: Request) -> Result<(), RequestError> {
        let mut out = Vec::new();
        let result = self.client.request(self.now, request, &mut out);
        self.out.extend(out);
        result
    }

    fn gateway(&mut self, frame: &str) -> &mut Self {
        self.quiet();
        let mut out = Vec::new();
        self.client.receive(self.now, &hex::decode(frame).unwrap(), &mut out);
        self.out.extend(out);
        self
    }

    fn client(&mut self, frame: &str) -> &mut Self {
        match self.out.pop_front() {
            Some(Output::Send(sent)) => assert_eq!(hex::encode(sent), frame),
            other => panic!("{frame} should have been sent, not {other:?}"),
        }
        self
    }

    fn event(&mut self, event: Event) -> &mut Self {
        assert_eq!(self.out.pop_front(), Some(Output::Event(event)));
        self
    }

    fn quiet(&mut self) -> &mut Self {
        assert_eq!(self.out, []);
        self
    }

    /// Goes to the client's next deadline, which must lie `after` from now.
    fn wait(&mut self, after: Duration) -> &mut Self {
        self.quiet();
        let due = self.client.next_deadline().unwrap();
        assert_eq!(due - self.now, after);
        self.now = due;
        let mut out = Vec::new();
        self.client.tick(self.now, &mut out);
        self.out.extend(out);
        self
    }
}

fn named(name: &str) -> Topic {
    Topic::Name(TopicName::parse(name.as_bytes()).unwrap())
}

fn filter(filter: &str) -> Filter {
    Filter::Name(TopicFilter::parse(filter.as_bytes()).unwrap())
}

fn publish(topic: Topic, payload: &'static str, qos: impl Into<QosField>) -> Request {
    Request::Publish(Publication { topic, payload: payload.into(), qos: qos.into(), retain: false })
}

fn subscribe(filter: Filter, qos: Qos) -> Request {
    Request::Subscribe { filter, qos }
}

fn message(topic: Topic, payload: &'static str, qos: Qos, msg_id: u16) -> Event {
    Event::Message(Delivery { topic, payload: payload.into(), qos, retain: false, msg_id: MsgId(msg_id) })
}

fn refused(operation: Operation, code: ReturnCode) -> Event {
    Event::Refused(Refusal { operation, code })
}

#[test]
fn a_client_connects_registers_publishes_and_disconnects() {
    Dialogue::connected()
        .ask(publish(named("a/b/c"), "23.5", Qos::AtLeastOnce))
        .client("0b0a00000001612f622f63")
        .gateway("070b0001000100")
        .client("0b0c200001000232332e35")
        .gateway("070d0001000200")
        .event(Event::Published)
        .ask(Request::Disconnect)
        .client("0218")
        .gateway("0218")
        .event(Event::Disconnected)
        .quiet();
}

#[test]
fn a_registered_topic_is_not_registered_again() {
    Dialogue::connected()
        .ask(publish(named("a/b/c"), "1", Qos::AtMostOnce))
        .client("0b0a00000001612f622f63")
        .gateway("070b0001000100")
        .client("080c000001000031")
        .event(Event::Published)
        .ask(publish(named("a/b/c"), "2", Qos::AtMostOnce))
        .client("080c000001000032")
        .event(Event::Published);
}

#[test]
fn a_client_with_a_will_gives_topic_and_message_when_asked() {
    Dialogue::new(|settings| {
        settings.client_id = "sensor-01".to_owned();
        settings.keep_alive = 30;
        settings.will = Some(Will {
            topic: TopicName::parse(b"will/t").unwrap(),
            message: "offline".into(),
            qos: Qos::AtLeastOnce,
            retain: true,
        });
    })
    .ask(Request::Connect)
    .client("0f040c01001e73656e736f722d3031")
    .gateway("0206")
    .client("09073077696c6c2f74")
    .wait(T_RETRY)
    .client("0f040c01001e73656e736f722d3031")
    .gateway("0206")
    .client("09073077696c6c2f74")
    .gateway("0208")
    .client("09096f66666c696e65")
    .gateway("030500")
    .event(Event::Connected);
}

#[test]
fn qos_2_goes_through_all_four_messages_and_repeats_the_one_that_was_lost() {
    Dialogue::connected()
        .ask(publish(Topic::Predefined(TopicId(1)), "23.5", Qos::ExactlyOnce))
        .client("0b0c410001000132332e35")
        .wait(T_RETRY)
        .client("0b0cc10001000132332e35")
        .gateway("040f0001")
        .client("04100001")
        .gateway("040f0001")
        .wait(T_RETRY)
        .client("04100001")
        .gateway("040e0001")
        .event(Event::Published);
}

#[test]
fn a_refused_qos_2_publish_is_told() {
    Dialogue::connected()
        .ask(publish(Topic::Predefined(TopicId(99)), "x", Qos::ExactlyOnce))
        .client("080c410063000178")
        .gateway("070d0063000102")
        .event(refused(Operation::Publish, ReturnCode::InvalidTopicId));
}

#[test]
fn an_id_that_the_gateway_has_forgotten_is_registered_again_once() {
    let mut dialogue = Dialogue::connected();
    dialogue
        .ask(publish(named("a"), "1", Qos::AtMostOnce))
        .client("070a0000000161")
        .gateway("070b0001000100")
        .client("080c000001000031")
        .event(Event::Published)
        .ask(publish(named("a"), "2", Qos::AtLeastOnce))
        .client("080c200001000232")
        .gateway("070d0001000202")
        .client("070a0000000361")
        .gateway("070b0007000300")
        .client("080c200007000432")
        .gateway("070d0007000402")
        .event(refused(Operation::Publish, ReturnCode::InvalidTopicId));
}

#[test]
fn a_qos_0_publish_can_be_refused_and_is_registered_next_time() {
    Dialogue::connected()
        .ask(publish(named("a"), "1", Qos::AtMostOnce))
        .client("070a0000000161")
        .gateway("070b0001000100")
        .client("080c000001000031")
        .event(Event::Published)
        .gateway("070d0001000002")
        .event(refused(Operation::Publish, ReturnCode::InvalidTopicId))
        .ask(publish(named("a"), "2", Qos::AtMostOnce))
        .client("070a0000000261");
}

#[test]
fn a_regack_without_a_usable_id_is_a_refusal() {
    for id in ["0000", "ffff"] {
        Dialogue::connected()
            .ask(publish(named("a"), "1", Qos::AtLeastOnce))
            .client("070a0000000161")
            .gateway(&format!("070b{id}000100"))
            .event(refused(Operation::Register, ReturnCode::InvalidTopicId))
            .quiet();
    }
}

#[test]
fn a_qos_0_publish_refused_at_the_very_end_is_still_told() {
    Dialogue::connected()
        .ask(publish(Topic::Predefined(TopicId(9)), "1", Qos::AtMostOnce))
        .client("080c010009000031")
        .event(Event::Published)
        .ask(Request::Disconnect)
        .client("0218")
        .gateway("070d0009000002")
        .event(refused(Operation::Publish, ReturnCode::InvalidTopicId))
        .gateway("0218")
        .event(Event::Disconnected);
}

#[test]
fn a_wildcard_subscription_learns_its_topics_from_the_gateway() {
    Dialogue::connected()
        .ask(subscribe(filter("a/+/c"), Qos::AtLeastOnce))
        .client("0a12200001612f2b2f63")
        .gateway("0813200000000100")
        .event(Event::Subscribed { granted: Qos::AtLeastOnce.into() })
        .gateway("0b0a01020001612f622f63")
        .client("070b0102000100")
        .gateway("080c200102000278")
        .event(message(named("a/b/c"), "x", Qos::AtLeastOnce, 2))
        .client("070d0102000200");
}

#[test]
fn a_message_under_an_unknown_id_is_refused_until_the_id_is_registered() {
    Dialogue::connected()
        .gateway("080c200102000278")
        .client("070d0102000202")
        .gateway("080c000102000078")
        .client("070d0102000002")
        .gateway("0b0a01020003612f622f63")
        .client("070b0102000300")
        .gateway("080ca00102000278")
        .event(message(named("a/b/c"), "x", Qos::AtLeastOnce, 2))
        .client("070d0102000200");
}

#[test]
fn a_registration_that_makes_no_sense_is_refused() {
    Dialogue::connected()
        .gateway("070a0001000123")
        .client("070b0001000103")
        .gateway("070a0000000261")
        .client("070b0000000202");
}

#[test]
fn short_and_predefined_topics_need_no_registration() {
    Dialogue::connected()
        .ask(subscribe(Filter::Short(*b"ab"), Qos::AtLeastOnce))
        .client("07122200016162")
        .gateway("0813206162000100")
        .event(Event::Subscribed { granted: Qos::AtLeastOnce.into() })
        .gateway("080c226162000478")
        .event(message(Topic::Short(*b"ab"), "x", Qos::AtLeastOnce, 4))
        .client("070d6162000400")
        .ask(subscribe(Filter::Predefined(TopicId(10)), Qos::AtLeastOnce))
        .client("0712210002000a")
        .gateway("081320000a000200")
        .event(Event::Subscribed { granted: Qos::AtLeastOnce.into() })
        .gateway("080c01000a000078")
        .event(message(Topic::Predefined(TopicId(10)), "x", Qos::AtMostOnce, 0));
}

#[test]
fn a_subscription_by_name_gives_the_id_of_its_messages() {
    Dialogue::connected()
        .ask(subscribe(filter("t"), Qos::AtMostOnce))
        .client("061200000174")
        .wait(T_RETRY)
        .client("061280000174")
        .gateway("0813000005000100")
        .event(Event::Subscribed { granted: Qos::AtMostOnce.into() })
        .gateway("080c000005000078")
        .event(message(named("t"), "x", Qos::AtMostOnce, 0));
}

#[test]
fn a_refused_subscription_is_told() {
    Dialogue::connected()
        .ask(subscribe(Filter::Predefined(TopicId(9)), Qos::AtMostOnce))
        .client("07120100010009")
        .gateway("0813000009000102")
        .event(refused(Operation::Subscribe, ReturnCode::InvalidTopicId));
}

#[test]
fn an_unsubscription_is_answered() {
    Dialogue::connected()
        .ask(Request::Unsubscribe(filter("a/#")))
        .client("0814000001612f23")
        .gateway("04150001")
        .event(Event::Unsubscribed);
}

#[test]
fn qos_minus_1_needs_no_session_and_no_answer() {
    let mut dialogue = Dialogue::new(|_| {});
    dialogue
        .ask(publish(Topic::Predefined(TopicId(10)), "x", QosField::MinusOne))
        .client("080c61000a000078")
        .event(Event::Published)
        .ask(publish(Topic::Short(*b"ab"), "x", QosField::MinusOne))
        .client("080c626162000078")
        .event(Event::Published)
        .quiet();
    assert_eq!(dialogue.client.next_deadline(), None);
    assert_eq!(dialogue.try_to(publish(named("a/b"), "x", QosField::MinusOne)), Err(RequestError::TopicNeedsSession));
}

#[test]
fn a_qos_2_message_that_comes_twice_is_delivered_once() {
    Dialogue::connected()
        .gateway("080c426162000778")
        .event(message(Topic::Short(*b"ab"), "x", Qos::ExactlyOnce, 7))
        .client("040f0007")
        .gateway("080cc26162000778")
        .client("040f0007")
        .gateway("04100007")
        .client("040e0007")
        .gateway("04100007")
        .client("040e0007")
        .gateway("080c426162000778")
        .event(message(Topic::Short(*b"ab"), "x", Qos::ExactlyOnce, 7))
        .client("040f0007");
}

#[test]
fn an_answer_that_is_not_asked_for_changes_nothing() {
    Dialogue::connected()
        .gateway("070d0001000900")
        .gateway("070b0001000900")
        .gateway("0813000001000900")
        .gateway("040f0009")
        .gateway("030500")
        .gateway("030501")
        .gateway("0206")
        .gateway("0500010384")
        .quiet();
}

#[test]
fn an_answer_with_another_id_does_not_settle_the_open_request() {
    Dialogue::connected()
        .ask(publish(Topic::Short(*b"ab"), "x", Qos::AtLeastOnce))
        .client("080c226162000178")
        .gateway("070d6162000900")
        .gateway("04150001")
        .gateway("070d6162000100")
        .event(Event::Published);
}

#[test]
fn silence_is_broken_by_a_ping_before_the_keep_alive_ends() {
    let mut dialogue = Dialogue::connected();
    dialogue.wait(Duration::from_secs(45)).client("0216").gateway("0217").wait(Duration::from_secs(45)).client("0216");
}

#[test]
fn a_gateway_that_does_not_answer_pings_is_given_up() {
    let mut dialogue = Dialogue::connected();
    dialogue.wait(Duration::from_secs(45)).client("0216");
    for _ in 0..3 {
        dialogue.wait(T_RETRY).client("0216");
    }
    dialogue.wait(T_RETRY).event(Event::Lost(Loss::NoAnswer { to: MsgType::PingReq, times: 4 })).quiet();
    assert_eq!(dialogue.client.next_deadline(), None);
}

#[test]
fn a_short_keep_alive_repeats_its_pings_faster_than_t_retry() {
    let mut dialogue = Dialogue::new(|settings| settings.keep_alive = 4);
    dialogue.ask(Request::Connect).client("0804040100046331");
    dialogue.gateway("030500").event(Event::Connected).wait(Duration::from_secs(3)).client("0216");
    dialogue.wait(Duration::from_secs(1)).client("0216");
}

#[test]
fn keep_alive_0_sends_no_pings() {
    let mut dialogue = Dialogue::new(|settings| settings.keep_alive = 0);
    dialogue.ask(Request::Connect).client("0804040100006331").gateway("030500").event(Event::Connected);
    assert_eq!(dialogue.client.next_deadline(), None);
}

#[test]
fn a_ping_from_the_gateway_is_answered() {
    Dialogue::connected().gateway("0216").client("0217");
}

#[test]
fn connect_is_sent_again_and_then_given_up() {
    let mut dialogue = Dialogue::new(|_| {});
    dialogue.ask(Request::Connect).client("08040401003c6331");
    for _ in 0..3 {
        dialogue.wait(T_RETRY).client("08040401003c6331");
    }
    dialogue.wait(T_RETRY).event(Event::Lost(Loss::NoAnswer { to: MsgType::Connect, times: 4 })).quiet();
}

#[test]
fn a_refused_connection_is_told_with_its_return_code() {
    let mut dialogue = Dialogue::new(|_| {});
    dialogue
        .ask(Request::Connect)
        .client("08040401003c6331")
        .gateway("0218")
        .quiet()
        .gateway("030501")
        .event(refused(Operation::Connect, ReturnCode::Congestion));
    assert_eq!(dialogue.try_to(Request::Disconnect), Err(RequestError::NotConnected));
}

#[test]
fn a_disconnect_from_the_gateway_ends_the_session_and_the_client_can_connect_again() {
    Dialogue::connected()
        .ask(publish(named("a"), "1", Qos::AtLeastOnce))
        .client("070a0000000161")
        .gateway("070b0001000100")
        .client("080c200001000231")
        .gateway("0218")
        .event(Event::Lost(Loss::EndedByGateway))
        .ask(Request::Connect)
        .client("08040401003c6331")
        .gateway("030500")
        .event(Event::Connected)
        .ask(publish(named("a"), "1", Qos::AtLeastOnce))
        .client("070a0000000361");
}

#[test]
fn a_kept_session_keeps_the_meaning_of_the_gateways_ids() {
    Dialogue::new(|settings| settings.clean_session = false)
        .ask(Request::Connect)
        .client("08040001003c6331")
        .gateway("030500")
        .event(Event::Connected)
        .gateway("070a0005000161")
        .client("070b0005000100")
        .gateway("0218")
        .event(Event::Lost(Loss::EndedByGateway))
        .ask(Request::Connect)
        .client("08040001003c6331")
        .gateway("030500")
        .event(Event::Connected)
        .gateway("080c000005000078")
        .event(message(named("a"), "x", Qos::AtMostOnce, 0));
}

#[test]
fn goodbye_does_not_wait_long_for_an_answer() {
    Dialogue::connected()
        .ask(Request::Disconnect)
        .client("0218")
        .wait(GOODBYE)
        .client("0218")
        .wait(GOODBYE)
        .event(Event::Disconnected);
}

#[test]
fn one_request_is_open_at_a_time_but_qos_0_goes_in_between() {
    let mut dialogue = Dialogue::connected();
    dialogue.ask(publish(Topic::Short(*b"ab"), "x", Qos::AtLeastOnce)).client("080c226162000178");
    assert_eq!(dialogue.try_to(publish(Topic::Short(*b"ab"), "y", Qos::AtLeastOnce)), Err(RequestError::Busy));
    assert_eq!(dialogue.try_to(subscribe(filter("#"), Qos::AtMostOnce)), Err(RequestError::Busy));
    dialogue
        .ask(publish(Topic::Short(*b"ab"), "z", Qos::AtMostOnce))
        .client("080c02616200007a")
        .event(Event::Published);
    assert_eq!(dialogue.try_to(Request::Connect), Err(RequestError::AlreadyConnected));
}

#[test]
fn what_the_link_cannot_carry_is_refused_before_anything_is_sent() {
    let mut dialogue = Dialogue::connected();
    let big = Publication {
        topic: named("a/b"),
        payload: vec![0; 1_392].into(),
        qos: Qos::AtLeastOnce.into(),
        retain: false,
    };
    let too_large = RequestError::TooLarge { message: MsgType::Publish, octets: 1_401, limit: 1_400 };
    assert_eq!(dialogue.try_to(Request::Publish(big)), Err(too_large));
    dialogue.quiet();
    let long_name = publish(named(&"x".repeat(1_393)), "", Qos::AtMostOnce);
    let too_large = RequestError::TooLarge { message: MsgType::Register, octets: 1_401, limit: 1_400 };
    assert_eq!(dialogue.try_to(long_name), Err(too_large));
    dialogue.quiet();
}

#[test]
fn a_frame_that_is_no_message_is_told_and_changes_nothing() {
    let mut dialogue = Dialogue::connected();
    dialogue.gateway("0c0d0001");
    assert!(matches!(dialogue.out.pop_front(), Some(Output::Event(Event::Malformed(_)))));
    dialogue.quiet();
}

#[test]
fn no_gateway_can_make_a_client_panic() {
    proptest::proptest!(|(frames: Vec<(u8, Vec<u8>)>)| {
        let mut dialogue = Dialogue::connected();
        dialogue.ask(subscribe(filter("#"), Qos::ExactlyOnce));
        for (msg_type, body) in frames {
            let frame = [&[u8::try_from(body.len() + 2).unwrap_or(2), msg_type % 0x1E], &body[..]].concat();
            let mut out = Vec::new();
            dialogue.client.receive(dialogue.now, &frame, &mut out);
            if let Some(due) = dialogue.client.next_deadline() {
                dialogue.now = due;
                dialogue.client.tick(due, &mut out);
            }
            let _ = dialogue.client.request(dialogue.now, Request::Connect, &mut out);
        }
    });
}
