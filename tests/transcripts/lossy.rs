//! The conversations of digest §24 over a net that loses one datagram, or brings one twice: each of them once, in both
//! directions.

use super::World;
use super::frames;
use super::world::predefine;

/// One exchange of a conversation.
enum Exchange {
    Asked(Asked),
    Told(Told),
    /// Something happens that no datagram carries, or one whose fate is another test's business.
    Meanwhile(fn(&mut World)),
}

use Exchange::Meanwhile;

/// The client asks and the gateway answers. A client that hears nothing asks again.
struct Asked {
    request: &'static str,
    /// As the client asks again.
    again: &'static str,
    broker: Broker,
    answer: &'static str,
    notice: Option<&'static str>,
    /// What is said of a request that comes again.
    notice_again: Option<&'static str>,
}

/// The gateway sends and the client answers. A gateway that hears nothing sends again.
struct Told {
    frame: &'static str,
    again: &'static str,
    answer: &'static str,
    /// What follows from an answer that comes twice.
    if_twice: Option<&'static str>,
}

/// What the broker is asked for by a request.
#[derive(Clone, Copy)]
enum Broker {
    Nothing,
    /// Asked once, however often the client asks.
    Publish(&'static str),
    /// Asked each time that the client asks, but not while it has not answered.
    Subscribe(&'static str, u8),
}

fn asked(request: &'static str, answer: &'static str) -> Asked {
    Asked { request, again: request, broker: Broker::Nothing, answer, notice: None, notice_again: None }
}

fn told(frame: &'static str, answer: &'static str) -> Told {
    Told { frame, again: frame, answer, if_twice: None }
}

impl Asked {
    fn again(self, again: &'static str) -> Self {
        Self { again, ..self }
    }

    fn of(self, broker: Broker) -> Self {
        Self { broker, ..self }
    }

    fn noted(self, notice: &'static str) -> Self {
        Self { notice: Some(notice), notice_again: self.notice_again.or(Some(notice)), ..self }
    }

    fn noted_again(self, notice: &'static str) -> Self {
        Self { notice_again: Some(notice), ..self }
    }
}

impl Told {
    fn again(self, again: &'static str) -> Self {
        Self { again, ..self }
    }

    fn if_twice(self, frame: &'static str) -> Self {
        Self { if_twice: Some(frame), ..self }
    }
}

impl From<Asked> for Exchange {
    fn from(asked: Asked) -> Self {
        Self::Asked(asked)
    }
}

impl From<Told> for Exchange {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Twice,
}

/// Has something happen to the datagram with one number.
struct Net {
    sent: usize,
    marked: Option<(usize, Fate)>,
}

impl Net {
    fn fate(&mut self) -> Fate {
        let number = self.sent;
        self.sent += 1;
        self.marked.filter(|(marked, _)| *marked == number).map_or(Fate::Arrives, |(_, fate)| fate)
    }
}

/// Plays a conversation once as it is, and then once for each datagram with that one lost, and with that one twice.
fn over_a_faulty_net(start: fn() -> World, conversation: &[Exchange]) {
    let mut net = Net { sent: 0, marked: None };
    play(start(), conversation, &mut net);
    for number in 0..net.sent {
        for fate in [Fate::Lost, Fate::Twice] {
            println!("datagram {number}: {fate:?}");
            play(start(), conversation, &mut Net { sent: 0, marked: Some((number, fate)) });
        }
    }
}

fn play(mut world: World, conversation: &[Exchange], net: &mut Net) {
    // The second copy of an answer, and what follows from it.
    let mut late = None;
    for exchange in conversation {
        match exchange {
            Exchange::Asked(asked) => {
                come_late(&mut world, &mut late);
                play_asked(&mut world, asked, net);
            }
            Exchange::Told(told) => {
                world.client("C").hears(told.frame);
                come_late(&mut world, &mut late);
                late = play_told(&mut world, told, net);
            }
            Meanwhile(happens) => happens(&mut world),
        }
    }
    come_late(&mut world, &mut late);
}

fn play_asked(world: &mut World, asked: &Asked, net: &mut Net) {
    let mut request = asked.request;
    let fate = net.fate();
    if fate == Fate::Lost {
        world.passes(10.0);
        request = asked.again;
    }
    if fate == Fate::Twice && !matches!(asked.broker, Broker::Nothing) {
        world.client("C").says(request);
        // Not known as a repetition yet: the broker is asked when the first copy comes, and answers after the second.
        let command = world.broker().gets(asked.broker.command());
        world.client("C").says(request);
        asked.broker.answers(world, &command);
        world.client("C").hears(asked.answer);
    } else {
        ask(world, request, asked.broker, asked.answer, asked.notice);
        if fate == Fate::Twice {
            ask(world, request, asked.broker, asked.answer, asked.notice_again);
        }
    }
    if net.fate() == Fate::Lost {
        world.passes(10.0);
        let broker = match asked.broker {
            Broker::Publish(_) => Broker::Nothing,
            Broker::Nothing | Broker::Subscribe(..) => asked.broker,
        };
        ask(world, asked.again, broker, asked.answer, asked.notice_again);
    }
}

fn ask(world: &mut World, request: &str, broker: Broker, answer: &str, notice: Option<&str>) {
    world.client("C").says(request);
    if !matches!(broker, Broker::Nothing) {
        let command = world.broker().gets(broker.command());
        broker.answers(world, &command);
    }
    world.client("C").hears(answer);
    if let Some(notice) = notice {
        world.notes(notice);
    }
}

/// The first copy of the frame has been heard, or lost on its way. Returns the answer's second copy.
fn play_told(world: &mut World, told: &Told, net: &mut Net) -> Option<(&'static str, Option<&'static str>)> {
    let fates = [net.fate(), net.fate()];
    if fates.contains(&Fate::Lost) {
        world.passes(10.0);
        world.client("C").hears(told.again);
    }
    world.client("C").says(told.answer);
    // A client that hears a frame twice answers it twice.
    fates.contains(&Fate::Twice).then_some((told.answer, told.if_twice))
}

fn come_late(world: &mut World, late: &mut Option<(&'static str, Option<&'static str>)>) {
    if let Some((answer, follows)) = late.take() {
        world.client("C").says(answer);
        if let Some(frame) = follows {
            world.client("C").hears(frame);
        }
    }
}

impl Broker {
    fn command(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Publish(command) | Self::Subscribe(command, _) => command,
        }
    }

    fn answers(self, world: &mut World, asked: &super::broker::Asked) {
        match self {
            Self::Nothing => {}
            Self::Publish(_) => world.broker().accepts(asked.clone()),
            Self::Subscribe(_, qos) => world.broker().grants(asked, qos),
        }
    }
}

fn connected() -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world
}

#[test]
fn connect_register_publish_disconnect() {
    over_a_faulty_net(
        World::with_broker,
        &[
            asked("08040401003c6331 CONNECT", "030500").noted("connected c1").into(),
            asked("0b0a00000001612f622f63 REGISTER", "070b0001000100").into(),
            asked("0b0c200001000732332e35 PUBLISH QoS 1", "070d0001000700")
                .again("0b0ca00001000732332e35 DUP")
                .of(Broker::Publish("PUBLISH q1 a/b/c 23.5"))
                .into(),
            asked("0218 DISCONNECT", "0218").noted("disconnected c1").noted_again("stray C").into(),
        ],
    );
}

#[test]
fn connect_with_a_will_and_delete_it() {
    over_a_faulty_net(
        World::with_broker,
        &[
            Meanwhile(|world| {
                world.client("C").says("0f040c01001e73656e736f722d3031 CONNECT will clean");
            }),
            told("0206 WILLTOPICREQ", "09073077696c6c2f74 WILLTOPIC QoS 1 retain will/t").into(),
            told("0208 WILLMSGREQ", "09096f66666c696e65 WILLMSG offline").into(),
            Meanwhile(|world| {
                world.client("C").hears("030500 CONNACK");
                world.notes("connected sensor-01");
            }),
            asked("021a WILLTOPICUPD empty: delete the will", "031b00").into(),
            Meanwhile(|world| {
                world.passes(45.0);
                world.client("C").hears("0218 and no will is published");
                world.notes("lost sensor-01: KeepAlive");
            }),
        ],
    );
}

#[test]
fn a_connect_with_a_will_whose_first_or_last_datagrams_are_lost() {
    let mut world = World::with_broker();
    let connect = "0f040c01001e73656e736f722d3031";
    world.client("C").says(connect).hears("0206 lost, and the client asks again before the gateway does");
    world.passes(9.0);
    world.client("C").says(connect).hears("0206").says("09073077696c6c2f74").hears("0208");
    world.client("C").says("09096f66666c696e65").hears("030500 lost");
    world.notes("connected sensor-01");
    world.passes(10.0);
    world.client("C").says(connect).hears("0206").says("09073077696c6c2f74").hears("0208");
    world.client("C").says("09096f66666c696e65").hears("030500");
    world.notes("connected sensor-01");
}

#[test]
fn delete_only_the_stored_will_at_connect() {
    over_a_faulty_net(
        || {
            let mut world = World::with_broker();
            world.client("C").connects_with_will("sensor-01", super::world::Session::Persistent, "will/t", "offline");
            world
        },
        &[
            Meanwhile(|world| {
                world.client("C").says("0f040801001e73656e736f722d3031 CONNECT will=1 clean=0");
            }),
            told("0206 WILLTOPICREQ", "0207 WILLTOPIC empty").into(),
            Meanwhile(|world| {
                world.client("C").hears("030500 CONNACK");
                world.notes("connected sensor-01, persistent");
            }),
            asked("0216 PINGREQ", "0217").into(),
            Meanwhile(|world| {
                world.passes(45.0);
                world.client("C").hears("0218 and no will is published");
                world.notes("lost sensor-01: KeepAlive");
            }),
        ],
    );
}

#[test]
fn qos_2_both_ways_and_a_refused_one() {
    over_a_faulty_net(
        || {
            let mut world = connected();
            world.client("C").subscribes("a/b/c", 2, 1);
            world
        },
        &[
            asked("0b0c400001000832332e35 PUBLISH QoS 2", "040f0008 PUBREC")
                .again("0b0cc00001000832332e35 DUP")
                .of(Broker::Publish("PUBLISH q2 a/b/c 23.5"))
                .into(),
            asked("04100008 PUBREL", "040e0008 PUBCOMP").into(),
            asked("080c400063000978 PUBLISH QoS 2 on unknown id 99, MsgId 9", "070d0063000902")
                .again("080cc00063000978")
                .noted("refused c1: UnknownTopicId { topic: Normal(TopicId(99)) }")
                .into(),
            Meanwhile(|world| {
                world.broker().publishes("a/b/c", 2, "y");
                world.broker().gets_if_kept("ACK 1");
            }),
            told("080c400001000179 PUBLISH QoS 2", "040f0001 PUBREC")
                .again("080cc00001000179")
                .if_twice("04100001")
                .into(),
            Meanwhile(|world| world.broker().gets_unless_kept("ACK 1")),
            told("04100001 PUBREL", "040e0001 PUBCOMP").into(),
        ],
    );
}

#[test]
fn a_wildcard_subscription_whose_client_forgets_the_id() {
    over_a_faulty_net(
        connected,
        &[
            asked("0a1220000d612f2b2f63 SUBSCRIBE QoS 1", "0813200000000d00 SUBACK")
                .again("0a12a0000d612f2b2f63 DUP")
                .of(Broker::Subscribe("SUBSCRIBE q1 a/+/c", 1))
                .into(),
            Meanwhile(|world| world.broker().publishes("a/b/c", 1, "x")),
            told("0b0a00010001612f622f63 REGISTER", "070b0001000100 REGACK").into(),
            told("080c200001000278 PUBLISH", "070d0001000202 PUBACK invalid topic id").again("080ca00001000278").into(),
            told("0b0a00010003612f622f63 REGISTER", "070b0001000300 REGACK").into(),
            told("080ca00001000278 PUBLISH again, DUP", "070d0001000200 PUBACK").into(),
            Meanwhile(|world| {
                world.broker().gets("ACK 1");
            }),
            Meanwhile(|world| {
                world.client("C").says("0a1400000e612f2b2f63 UNSUBSCRIBE").hears("0415000e lost");
                world.broker().gets("UNSUBSCRIBE a/+/c");
                world.client("C").says("0a1400000e612f2b2f63 again").hears("0415000e");
                world.broker().gets_if_own("UNSUBSCRIBE a/+/c");
            }),
        ],
    );
}

#[test]
fn short_and_predefined_topics() {
    over_a_faulty_net(
        || {
            let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
            world.client("C").connects("c1");
            world
        },
        &[
            asked("07122200116162 SUBSCRIBE short ab", "0813206162001100")
                .again("0712a200116162")
                .of(Broker::Subscribe("SUBSCRIBE q1 ab", 1))
                .into(),
            Meanwhile(|world| world.broker().publishes("ab", 1, "x")),
            told("080c226162000178 PUBLISH short ab", "070d6162000100 PUBACK").again("080ca26162000178").into(),
            Meanwhile(|world| {
                world.broker().gets("ACK 1");
            }),
            asked("0712210010000a SUBSCRIBE pre-defined 10", "081320000a001000")
                .again("0712a10010000a")
                .of(Broker::Subscribe("SUBSCRIBE q1 pre/defined", 1))
                .into(),
        ],
    );
}

#[test]
fn sleep_one_buffered_message_and_active_again() {
    over_a_faulty_net(
        || {
            let mut world = World::with_broker();
            world.client("C").sends(&frames::connect("sensor-01", 0x00, 300)).hears("030500");
            world.notes("connected sensor-01, persistent");
            world.client("C").subscribes("a/b", 1, 1);
            world
        },
        &[
            asked("0418012c DISCONNECT duration 300", "0218").noted("asleep sensor-01 for 300 s").into(),
            Meanwhile(|world| {
                world.broker().publishes("a/b", 1, "23.5");
                world.broker().gets_if_shared("ACK 1");
                world.client("C").says("0b1673656e736f722d3031 PINGREQ");
            }),
            told("0b0c200001000132332e35 PUBLISH", "070d0001000100 PUBACK").again("0b0ca00001000132332e35").into(),
            Meanwhile(|world| {
                world.client("C").hears("0217 PINGRESP: asleep again");
                world.broker().gets_if_own("ACK 1");
            }),
            asked("0b1673656e736f722d3031 PINGREQ", "0217").into(),
            asked("0f040001012c73656e736f722d3031 CONNECT clean=0", "030500")
                .noted("connected sensor-01, persistent")
                .into(),
        ],
    );
}

#[test]
fn a_flush_that_needs_a_register_and_brings_qos_2() {
    over_a_faulty_net(
        || {
            let mut world = connected();
            world.client("C").subscribes("a/+", 2, 0);
            world.client("C").sleeps("c1", 300);
            world.broker().publishes("a/b", 2, "x");
            world.broker().gets_if_shared("ACK 1");
            world.client("C").says("04166331 PINGREQ");
            world
        },
        &[
            told("090a00010001612f62 REGISTER", "070b0001000100 REGACK").into(),
            told("080c400001000278 PUBLISH QoS 2", "040f0002 PUBREC")
                .again("080cc00001000278")
                .if_twice("04100002")
                .into(),
            Meanwhile(|world| world.broker().gets_if_own("ACK 1")),
            told("04100002 PUBREL", "040e0002 PUBCOMP").into(),
            Meanwhile(|world| {
                world.client("C").hears("0217 PINGRESP");
            }),
        ],
    );
}

#[test]
fn a_session_lost_in_a_gateway_restart() {
    let mut world = World::with_broker();
    world.client("C").says("0b0c200001000732332e35").hears("0218 lost");
    world.notes("stray C");
    world.client("C").says("0b0c200001000732332e35 came twice: one answer is enough");
    world.passes(10.0);
    world.client("C").says("0b0ca00001000732332e35").hears("0218");
    world.notes("stray C");
    world.client("C").connects("c1");
}

#[test]
fn discovery_and_a_client_behind_a_forwarder() {
    over_a_faulty_net(
        World::with_broker,
        &[
            asked("05fe001a2b08040401003c6e31 CONNECT", "05fe001a2b030500").noted("connected n1").into(),
            asked("05fe001a2b0216 PINGREQ", "05fe001a2b0217").into(),
        ],
    );
    let mut world = World::with_broker();
    for _ in 0..2 {
        world.client("C").says("030101 SEARCHGW, lost or twice").hears("030201");
        world.everyone_hears(1, "030201");
        world.passes(5.0);
    }
}
