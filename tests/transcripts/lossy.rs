//! The conversations over a net that loses one datagram: each of them once, in both directions.

use super::World;

/// One exchange of a conversation.
enum Exchange {
    /// The client asks and the gateway answers. A client that hears nothing asks again.
    Asked { request: &'static str, again: &'static str, broker: Broker, answer: &'static str, notice: Notice },
    /// The gateway sends and the client answers. A gateway that hears nothing sends again.
    Told { frame: &'static str, again: &'static str, answer: &'static str },
    /// Something happens that no datagram carries.
    Meanwhile(fn(&mut World)),
}

use Exchange::{Asked, Meanwhile, Told};

/// What the broker is asked for by a request.
#[derive(Clone, Copy)]
enum Broker {
    Nothing,
    /// Asked once, however often the client asks.
    Publish(&'static str),
    /// Asked each time.
    Subscribe(&'static str, u8),
}

/// What is said of a request that arrives, and of one that arrives again.
#[derive(Clone, Copy)]
struct Notice {
    first: Option<&'static str>,
    again: Option<&'static str>,
}

const SILENT: Notice = Notice { first: None, again: None };

/// Loses the datagram with one number.
struct Net {
    sent: usize,
    lost: Option<usize>,
}

impl Net {
    fn loses_this_one(&mut self) -> bool {
        let number = self.sent;
        self.sent += 1;
        self.lost == Some(number)
    }
}

/// Plays a conversation once without a loss, and then once for each datagram with that one lost.
fn over_a_lossy_net(start: fn() -> World, conversation: &[Exchange]) {
    let mut net = Net { sent: 0, lost: None };
    play(start(), conversation, &mut net);
    for lost in 0..net.sent {
        println!("datagram {lost} is lost");
        play(start(), conversation, &mut Net { sent: 0, lost: Some(lost) });
    }
}

fn play(mut world: World, conversation: &[Exchange], net: &mut Net) {
    for exchange in conversation {
        match exchange {
            Asked { request, again, broker, answer, notice } => {
                let mut says = *request;
                if net.loses_this_one() {
                    world.passes(10.0);
                    says = again;
                }
                ask(&mut world, says, *broker, answer, notice.first);
                if net.loses_this_one() {
                    world.passes(10.0);
                    let broker = match broker {
                        Broker::Publish(_) => Broker::Nothing,
                        Broker::Nothing | Broker::Subscribe(..) => *broker,
                    };
                    ask(&mut world, again, broker, answer, notice.again);
                }
            }
            Told { frame, again, answer } => {
                world.client("C").hears(frame);
                for _ in 0..2 {
                    if net.loses_this_one() {
                        world.passes(10.0);
                        world.client("C").hears(again);
                    }
                }
                world.client("C").says(answer);
            }
            Meanwhile(happens) => happens(&mut world),
        }
    }
}

fn ask(world: &mut World, request: &str, broker: Broker, answer: &str, notice: Option<&str>) {
    world.client("C").says(request);
    match broker {
        Broker::Nothing => {}
        Broker::Publish(command) => {
            let publish = world.broker().gets(command);
            world.broker().accepts(publish);
        }
        Broker::Subscribe(command, qos) => {
            let subscribe = world.broker().gets(command);
            world.broker().grants(&subscribe, qos);
        }
    }
    world.client("C").hears(answer);
    if let Some(notice) = notice {
        world.notes(notice);
    }
}

#[test]
fn connect_register_publish_disconnect() {
    over_a_lossy_net(
        World::with_broker,
        &[
            Asked {
                request: "08040401003c6331 CONNECT",
                again: "08040401003c6331",
                broker: Broker::Nothing,
                answer: "030500",
                notice: Notice { first: Some("connected c1"), again: Some("connected c1") },
            },
            Asked {
                request: "0b0a00000001612f622f63 REGISTER",
                again: "0b0a00000001612f622f63",
                broker: Broker::Nothing,
                answer: "070b0001000100",
                notice: SILENT,
            },
            Asked {
                request: "0b0c200001000732332e35 PUBLISH QoS 1",
                again: "0b0ca00001000732332e35 DUP",
                broker: Broker::Publish("PUBLISH q1 a/b/c 23.5"),
                answer: "070d0001000700",
                notice: SILENT,
            },
            Asked {
                request: "0b0c400001000832332e35 PUBLISH QoS 2",
                again: "0b0cc00001000832332e35 DUP",
                broker: Broker::Publish("PUBLISH q2 a/b/c 23.5"),
                answer: "040f0008",
                notice: SILENT,
            },
            Asked {
                request: "04100008 PUBREL",
                again: "04100008",
                broker: Broker::Nothing,
                answer: "040e0008",
                notice: SILENT,
            },
            Asked {
                request: "0218 DISCONNECT",
                again: "0218",
                broker: Broker::Nothing,
                answer: "0218",
                notice: Notice { first: Some("disconnected c1"), again: Some("stray C") },
            },
        ],
    );
}

fn connected() -> World {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world
}

#[test]
fn a_wildcard_subscription_and_its_messages() {
    over_a_lossy_net(
        connected,
        &[
            Asked {
                request: "0a1240000d612f2b2f63 SUBSCRIBE",
                again: "0a12c0000d612f2b2f63 DUP",
                broker: Broker::Subscribe("SUBSCRIBE q2 a/+/c", 2),
                answer: "0813400000000d00",
                notice: SILENT,
            },
            Meanwhile(|world| world.broker().publishes("a/b/c", 1, "x")),
            Told { frame: "0b0a00010001612f622f63", again: "0b0a00010001612f622f63", answer: "070b0001000100" },
            Told { frame: "080c200001000278", again: "080ca00001000278", answer: "070d0001000200" },
            Meanwhile(|world| {
                world.broker().gets("ACK 1");
            }),
            Meanwhile(|world| world.broker().publishes("a/b/c", 2, "y")),
            Told { frame: "080c400001000379", again: "080cc00001000379", answer: "040f0003" },
            Told { frame: "04100003", again: "04100003", answer: "040e0003" },
            Meanwhile(|world| {
                world.broker().gets("ACK 2");
            }),
        ],
    );
}

#[test]
fn an_unsubscribe_and_a_sleep() {
    over_a_lossy_net(
        connected,
        &[
            Asked {
                request: "081400000d612f62 UNSUBSCRIBE",
                again: "081400000d612f62",
                broker: Broker::Nothing,
                answer: "0415000d",
                notice: SILENT,
            },
            Asked {
                request: "0418012c DISCONNECT with a duration",
                again: "0418012c",
                broker: Broker::Nothing,
                answer: "0218",
                notice: Notice { first: Some("asleep c1 for 300 s"), again: Some("asleep c1 for 300 s") },
            },
            Asked {
                request: "04166331 PINGREQ",
                again: "04166331",
                broker: Broker::Nothing,
                answer: "0217",
                notice: SILENT,
            },
        ],
    );
}

/// A sleeper for whom a message waits.
fn asleep_with_a_message() -> World {
    let mut world = connected();
    world.client("C").subscribes("a/b", 1, 1);
    world.client("C").sleeps("c1", 300);
    world.broker().publishes("a/b", 1, "x");
    world.broker().gets("ACK 1");
    world
}

#[test]
fn a_flush_whose_publish_is_lost() {
    let mut world = asleep_with_a_message();
    world.client("C").says("04166331").hears("080c200001000178 lost");
    world.passes(10.0);
    world.client("C").hears("080ca00001000178").says("070d0001000100").hears("0217");
}

#[test]
fn a_flush_whose_puback_is_lost() {
    let mut world = asleep_with_a_message();
    world.client("C").says("04166331").hears("080c200001000178 its PUBACK is lost");
    world.passes(10.0);
    world.client("C").hears("080ca00001000178").says("070d0001000100").hears("0217");
}

#[test]
fn a_flush_whose_pingresp_is_lost() {
    let mut world = asleep_with_a_message();
    world.client("C").says("04166331").hears("080c200001000178");
    world.client("C").says("070d0001000100").hears("0217 lost");
    world.passes(10.0);
    world.client("C").says("04166331").hears("0217");
}
