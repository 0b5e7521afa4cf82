//! Devices on UDP in front of a real broker.

use crate::support::process::PATIENCE;
use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, frame, mosquitto_pub};

#[test]
fn what_a_udp_node_publishes_appears_under_every_filter_that_matches() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let by_level = MosquittoSub::start(broker.port(), &["-t", "iot/home1/+/temperature", "-v"]);
    let by_tree = MosquittoSub::start(broker.port(), &["-t", "iot/home1/#", "-v"]);

    let mut node = Node::udp(gateway.udp());
    node.connect("thermometer");
    let topic_id = node.register("iot/home1/livingroom/temperature");
    node.send(&format!("LL 0C 00 {topic_id} 0000 '21.5'"));

    by_level.wait_for("iot/home1/livingroom/temperature 21.5");
    by_tree.wait_for("iot/home1/livingroom/temperature 21.5");
}

#[test]
fn a_command_reaches_the_node_that_subscribed_to_a_wildcard_after_a_register() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("led");
    node.subscribe_to_wildcard("iot/home1/+/led");

    mosquitto_pub(broker.port(), &["-t", "iot/home1/livingroom/led", "-m", "on"]);

    let [topic_id, msg_id] = node.expect("LL 0A ???? ???? 'iot/home1/livingroom/led'");
    node.send(&format!("07 0B {topic_id} {msg_id} 00"));
    let [] = node.expect(&format!("LL 0C 00 {topic_id} 0000 'on'"));
    node.expect_nothing();
}

#[test]
fn no_topic_from_a_stranger_costs_the_others_their_broker() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    node.connect("thermometer");
    let topic_id = node.register("iot/t");

    // Mosquitto closes the connection for each of these.
    let mut stranger = Node::udp(gateway.udp());
    stranger.send("08 0C 62 0102 0000 'x'");
    stranger.connect("stranger");
    for topic in ["61 01 62", "61 7F 62", "61 C2 85 62", "EF BF BE"] {
        stranger.send(&format!("LL 0A 0000 0001 {topic}"));
        let [] = stranger.expect("07 0B 0000 0001 03");
        stranger.send(&format!("LL 12 20 0002 {topic}"));
        let [] = stranger.expect("08 13 00 0000 0002 03");
    }
    let own = stranger.register("$SYS/x");
    stranger.send(&format!("LL 0C 20 {own} 0003 'x'"));
    let [] = stranger.expect(&format!("07 0D {own} 0003 03"));

    node.send(&format!("LL 0C 20 {topic_id} 0001 '21.5'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
    subscriber.wait_for("iot/t 21.5");
}

#[test]
fn a_message_at_qos_2_is_exchanged_with_four_frames_and_arrives_once() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let subscriber = MosquittoSub::start(broker.port(), &["-q", "2", "-t", "iot/#", "-v", "-C", "2"]);

    let mut node = Node::udp(gateway.udp());
    node.connect("meter");
    let topic_id = node.register("iot/home1/meter");
    node.send(&format!("LL 0C 40 {topic_id} 0001 '4711'"));
    let [] = node.expect("04 0F 0001");
    // The PUBREC was lost on the way: the same message again.
    node.send(&format!("LL 0C C0 {topic_id} 0001 '4711'"));
    let [] = node.expect("04 0F 0001");
    node.send("04 10 0001");
    let [] = node.expect("04 0E 0001");
    // Another one of the same kind, for between different ones there is no order.
    node.send(&format!("LL 0C 40 {topic_id} 0002 'end'"));
    let [] = node.expect("04 0F 0002");
    node.send("04 10 0002");
    let [] = node.expect("04 0E 0002");

    let messages = subscriber.wait_for_end(PATIENCE);
    assert_eq!(messages, ["iot/home1/meter 4711", "iot/home1/meter end"]);
}

#[test]
fn a_stranger_publishes_at_qos_minus_1_by_predefined_id_and_by_short_name() {
    let broker = Mosquitto::start();
    let config = "[predefined]\n10 = \"iot/home1/hall/motion\"\n";
    let gateway = Gateway::start_with_config(config, &["--broker", &broker.url()]);
    gateway.wait_for_broker();
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "#", "-v"]);

    let mut stranger = Node::udp(gateway.udp());
    stranger.send("LL 0C 61 000A 0000 'moved'");
    stranger.send("LL 0C 62 'hm' 0000 'short'");

    subscriber.wait_for("iot/home1/hall/motion moved");
    subscriber.wait_for("hm short");
}

#[test]
fn a_late_subscriber_gets_the_retained_message_though_another_has_subscribed_before() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut early = Node::udp(gateway.udp());
    early.connect("early");
    early.send("LL 12 20 0001 'iot/home1/mode'");
    let [topic_id] = early.expect("08 13 20 ???? 0001 00");

    mosquitto_pub(broker.port(), &["-t", "iot/home1/mode", "-m", "eco", "-q", "1", "-r"]);
    let [msg_id] = early.expect(&format!("LL 0C 20 {topic_id} ???? 'eco'"));
    early.send(&format!("07 0D {topic_id} {msg_id} 00"));

    let mut late = Node::udp(gateway.udp());
    late.connect("late");
    late.send("LL 12 20 0001 'iot/home1/mode'");
    let [topic_id] = late.expect("08 13 20 ???? 0001 00");
    let [msg_id] = late.expect(&format!("LL 0C 30 {topic_id} ???? 'eco'"));
    late.send(&format!("07 0D {topic_id} {msg_id} 00"));
    late.expect_nothing();
    // The subscription of the early one was not new: it does not get the message again.
    early.expect_nothing();
}

#[test]
fn a_node_that_unsubscribed_gets_nothing_more() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("led");
    node.send("LL 12 00 0001 'iot/home1/led'");
    let [topic_id] = node.expect("08 13 00 ???? 0001 00");
    mosquitto_pub(broker.port(), &["-t", "iot/home1/led", "-m", "on"]);
    let [] = node.expect(&format!("LL 0C 00 {topic_id} 0000 'on'"));

    node.send("LL 14 00 0002 'iot/home1/led'");
    let [] = node.expect("04 15 0002");
    // A second subscription shows when the messages of the first would have come.
    node.send("LL 12 00 0003 'iot/home1/end'");
    let [end_id] = node.expect("08 13 00 ???? 0003 00");
    mosquitto_pub(broker.port(), &["-t", "iot/home1/led", "-m", "off"]);
    mosquitto_pub(broker.port(), &["-t", "iot/home1/end", "-m", "end"]);
    let [] = node.expect(&format!("LL 0C 00 {end_id} 0000 'end'"));
}

#[test]
fn an_unknown_sender_is_told_to_connect_again() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut stranger = Node::udp(gateway.udp());
    stranger.send("LL 0C 20 0001 0007 '23.5'");
    let [] = stranger.expect("02 18");
}

#[test]
fn garbage_does_not_disturb_a_session() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");
    let topic_id = node.register("iot/home1/door");

    let garbage: &[&[u8]] = &[
        b"",
        b"\x00",
        b"\x01",
        b"\x01\x00",
        b"\x01\xff\xff\x0c",
        b"\x05\x03abc",
        b"\x07\x0d\x00",
        b"\x03\x18\x00",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xA5; 1400],
    ];
    let mut stranger = Node::udp(gateway.udp());
    for octets in garbage {
        node.send_octets(octets);
        stranger.send_octets(octets);
    }

    node.send(&format!("LL 0C 20 {topic_id} 0001 'open'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
    subscriber.wait_for("iot/home1/door open");
}

#[test]
fn a_payload_beyond_the_short_header_goes_both_ways() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let mut node = Node::udp(gateway.udp());
    node.connect("camera");
    node.send("LL 12 20 0001 'iot/home1/picture'");
    let [topic_id] = node.expect("08 13 20 ???? 0001 00");

    // 9 octets of header and 600 of payload.
    let picture = "x".repeat(600);
    node.send(&format!("01 0261 0C 20 {topic_id} 0002 '{picture}'"));
    let mut frames = [node.receive_any(), node.receive_any()];
    frames.sort_by_key(Vec::len);
    assert_eq!(frame::hex(&frames[0]), format!("070D{topic_id}000200"));
    let unknown = frame::matches(&format!("01 0261 0C 20 {topic_id} ???? '{picture}'"), &frames[1]);
    let msg_id = &unknown.expect("the picture as it was sent")[0];
    node.send(&format!("07 0D {topic_id} {msg_id} 00"));
    node.expect_nothing();
}

#[test]
fn an_mqtt_3_1_1_connection_serves_as_well() {
    let broker = Mosquitto::start();
    let config = format!("[broker]\nurl = \"{}\"\nprotocol = \"3.1.1\"\n", broker.url());
    let gateway = Gateway::start_with_config(&config, &[]);
    gateway.wait_for_broker();
    // Mosquitto's log has `p2` for 3.1.1 and `p5` for 5.
    broker.wait_for("as mqttsn-gateway-1 (p2, c");
    let subscriber = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);

    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");
    let topic_id = node.register("iot/home1/door");
    node.send(&format!("LL 0C 20 {topic_id} 0001 'open'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0001 00"));
    subscriber.wait_for("iot/home1/door open");

    node.subscribe_to_wildcard("iot/home1/+/led");
    mosquitto_pub(broker.port(), &["-t", "iot/home1/hall/led", "-m", "on", "-q", "1"]);
    let [topic_id, msg_id] = node.expect("LL 0A ???? ???? 'iot/home1/hall/led'");
    node.send(&format!("07 0B {topic_id} {msg_id} 00"));
    let [msg_id] = node.expect(&format!("LL 0C 20 {topic_id} ???? 'on'"));
    node.send(&format!("07 0D {topic_id} {msg_id} 00"));
    node.expect_nothing();
}
