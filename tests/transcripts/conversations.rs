//! The byte-exact conversations of the digest (§24), as far as they are built: no will, no discovery.

use super::World;
use super::frames;
use super::world::predefine;

#[test]
fn connect_register_publish_disconnect() {
    let mut world = World::with_broker();
    world.client("C").says("08040401003c6331               CONNECT clean, keep-alive 60, c1");
    world.client("C").hears("030500                         CONNACK accepted");
    world.notes("connected c1");
    world.client("C").says("0b0a00000001612f622f63         REGISTER MsgId 1 a/b/c");
    world.client("C").hears("070b0001000100                 REGACK id 1");
    world.client("C").says("0b0c200001000732332e35         PUBLISH QoS 1 id 1 MsgId 7 23.5");
    let publish = world.broker().gets("PUBLISH q1 a/b/c 23.5");
    world.broker().accepts(publish);
    world.client("C").hears("070d0001000700                 PUBACK");
    world.client("C").says("0218                           DISCONNECT");
    world.client("C").hears("0218                           DISCONNECT");
    world.notes("disconnected c1");
}

#[test]
fn qos_2_both_ways_and_a_refused_one() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    world.client("C").subscribes("a/b/c", 2, 1);
    world.client("C").says("0b0c400001000832332e35         PUBLISH QoS 2 MsgId 8");
    let publish = world.broker().gets("PUBLISH q2 a/b/c 23.5");
    world.broker().accepts(publish);
    world.client("C").hears("040f0008                       PUBREC");
    world.client("C").says("04100008                       PUBREL");
    world.client("C").hears("040e0008                       PUBCOMP");
    world.client("C").says("080c400063000978               PUBLISH QoS 2 on unknown id 99, MsgId 9");
    world.client("C").hears("070d0063000902                 PUBACK invalid topic id");
    world.notes("refused c1: UnknownTopicId { topic: Normal(TopicId(99)) }");

    world.broker().publishes("a/b/c", 2, "23.5");
    world.broker().gets_if_kept("ACK 1");
    world.client("C").hears("0b0c400001000132332e35         PUBLISH QoS 2 MsgId 1");
    world.client("C").says("040f0001                       PUBREC");
    world.client("C").hears("04100001                       PUBREL");
    world.broker().gets_unless_kept("ACK 1");
    world.client("C").says("040e0001                       PUBCOMP");
}

#[test]
fn a_wildcard_subscription_whose_client_forgets_the_id() {
    let mut world = World::with_broker();
    world.client("C").connects("c1");
    for id in 1..=257 {
        world.client("C").registers(&format!("other/{id}"), id);
    }
    world.client("C").says("0a1220000d612f2b2f63           SUBSCRIBE QoS 1 MsgId 13 a/+/c");
    let asked = world.broker().gets("SUBSCRIBE q1 a/+/c");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813200000000d00               SUBACK QoS 1 id 0000");
    world.broker().publishes("a/b/c", 1, "x");
    world.client("C").hears("0b0a01020001612f622f63         REGISTER id 258 MsgId 1 a/b/c");
    world.client("C").says("070b0102000100                 REGACK accepted");
    world.client("C").hears("080c200102000278               PUBLISH QoS 1 id 258 MsgId 2");
    world.client("C").says("070d0102000202                 PUBACK invalid topic id");
    world.client("C").hears("0b0a01020003612f622f63         REGISTER again");
    world.client("C").says("070b0102000300                 REGACK");
    world.client("C").hears("080ca00102000278               PUBLISH again, DUP");
    world.client("C").says("070d0102000200                 PUBACK");
    world.broker().gets("ACK 1");
}

#[test]
fn short_and_predefined_topics() {
    let mut world = World::with_settings(predefine(&[(10, "pre/defined")]));
    world.client("C").connects("c1");
    world.client("C").registers("other", 1);
    world.client("C").subscribes("other", 1, 1);
    for msg_id in 1..=3 {
        world.broker().publishes("other", 1, "x");
        world.client("C").hears(&format!("080c200001{msg_id:04x}78")).says(&format!("070d0001{msg_id:04x}00"));
        world.broker().gets(&format!("ACK {msg_id}"));
    }
    world.client("C").says("07122200116162                 SUBSCRIBE QoS 1 short ab MsgId 17");
    let asked = world.broker().gets("SUBSCRIBE q1 ab");
    world.broker().grants(&asked, 1);
    world.client("C").hears("0813206162001100               SUBACK, id field = the two octets");
    world.broker().publishes("ab", 1, "x");
    world.client("C").hears("080c226162000478               PUBLISH QoS 1 short ab MsgId 4");
    world.client("C").says("070d6162000400                 PUBACK");
    world.broker().gets("ACK 4");
    world.client("C").says("0712210010000a                 SUBSCRIBE QoS 1 pre-defined 10 MsgId 16");
    let asked = world.broker().gets("SUBSCRIBE q1 pre/defined");
    world.broker().grants(&asked, 1);
    world.client("C").hears("081320000a001000               SUBACK id 10");
    world.client("D").says("080c61000a000078               PUBLISH QoS -1 pre-defined 10");
    world.broker().gets("PUBLISH q0 pre/defined x");
}

#[test]
fn sleep_one_buffered_message_and_active_again() {
    let mut world = World::with_broker();
    world.client("C").sends(&frames::connect("sensor-01", 0x00, 300)).hears("030500");
    world.notes("connected sensor-01, persistent");
    world.client("C").subscribes("other", 1, 1);
    for msg_id in 1..=6 {
        world.broker().publishes("other", 1, "x");
        world.client("C").hears(&format!("080c200001{msg_id:04x}78")).says(&format!("070d0001{msg_id:04x}00"));
        world.broker().gets(&format!("ACK {msg_id}"));
    }
    world.client("C").says("0418012c                       DISCONNECT duration 300");
    world.client("C").hears("0218                           DISCONNECT");
    world.notes("asleep sensor-01 for 300 s");
    world.broker().publishes("other", 1, "23.5");
    world.broker().gets_if_shared("ACK 7");
    world.client("C").says("0b1673656e736f722d3031         PINGREQ sensor-01");
    world.client("C").hears("0b0c200001000732332e35         PUBLISH QoS 1 id 1 MsgId 7");
    world.client("C").says("070d0001000700                 PUBACK");
    world.client("C").hears("0217                           PINGRESP: asleep again, timer restarts");
    world.broker().gets_if_own("ACK 7");
    world.client("C").says("0f040001012c73656e736f722d3031 CONNECT clean=0, keep-alive 300");
    world.client("C").hears("030500                         CONNACK");
    world.notes("connected sensor-01, persistent");
}

#[test]
fn a_session_lost_in_a_gateway_restart() {
    let mut world = World::with_broker();
    world.client("C").says("0b0c200001000732332e35         PUBLISH from an address without session");
    world.client("C").hears("0218                           DISCONNECT: connect again");
    world.notes("stray C");
}

#[test]
fn a_client_behind_a_forwarder() {
    let mut world = World::with_broker();
    world.client("F").says("05fe001a2b08040401003c6e31     encapsulated CONNECT n1");
    world.client("F").hears("05fe001a2b030500               encapsulated CONNACK");
    world.notes("connected n1");
    world.client("F").says("05fe001a2b0216                 encapsulated PINGREQ");
    world.client("F").hears("05fe001a2b0217                 encapsulated PINGRESP");
}
