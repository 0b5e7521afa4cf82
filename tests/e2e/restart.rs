//! The gateway ends, in order or on the spot, and another takes its place: devices notice nothing but a pause.

use crate::support::mosquitto::leave_a_session;
use crate::support::{Cable, Gateway, Home, Mosquitto, MosquittoSub, Node, mosquitto_pub};

/// The two ways to end.
const WAYS: [fn(Gateway) -> Home; 2] = [|gateway| gateway.kill().0, |gateway| gateway.terminate_at_home().0];

fn lasting(broker: &Mosquitto, config: &str) -> Gateway {
    let gateway = Home::lasting(config, &["--broker", &broker.url()]).start();
    gateway.wait_for_broker();
    gateway
}

/// Ends the gateway and starts it again; returns when it is connected to the broker.
fn again(gateway: Gateway, end: fn(Gateway) -> Home) -> Gateway {
    let gateway = end(gateway).start();
    gateway.wait_for_broker();
    gateway
}

/// The device is told the name behind a topic id, as after any time in which it may have forgotten it.
fn hears_the_name(node: &mut Node, topic_id: &str, name: &str) {
    let [msg_id] = node.expect(&format!("LL 0A {topic_id} ???? '{name}'"));
    node.send(&format!("07 0B {topic_id} {msg_id} 00"));
}

#[test]
fn topic_ids_and_subscriptions_are_the_same_after_a_restart() {
    for end in WAYS {
        let broker = Mosquitto::start();
        let gateway = lasting(&broker, "");
        let everything = MosquittoSub::start(broker.port(), &["-t", "iot/#", "-v"]);
        let mut node = Node::udp(gateway.udp());
        node.connect("door");
        node.register("iot/window");
        let door = node.register("iot/door");
        node.send("LL 12 20 0102 'cmd/door'");
        let [command] = node.expect("08 13 20 ???? 0102 00");

        let _gateway = again(gateway, end);
        node.ask(&format!("LL 0C 20 {door} 0001 'open'"), &format!("07 0D {door} 0001 00"));
        everything.wait_for("iot/door open");
        mosquitto_pub(broker.port(), &["-q", "1", "-t", "cmd/door", "-m", "lock"]);
        hears_the_name(&mut node, &command, "cmd/door");
        let [msg_id] = node.expect(&format!("LL 0C 20 {command} ???? 'lock'"));
        node.send(&format!("07 0D {command} {msg_id} 00"));
        node.expect_nothing();
    }
}

#[test]
fn a_sleeper_s_messages_wait_for_it_over_a_restart() {
    for end in WAYS {
        let broker = Mosquitto::start();
        let gateway = lasting(&broker, "");
        let mut node = Node::udp(gateway.udp());
        node.connect("valve");
        node.send("LL 12 40 0102 'cmd/valve'");
        let [command] = node.expect("08 13 40 ???? 0102 00");
        node.send("04 18 012C");
        let [] = node.expect("02 18");
        mosquitto_pub(broker.port(), &["-q", "1", "-t", "cmd/valve", "-m", "open"]);
        mosquitto_pub(broker.port(), &["-q", "2", "-t", "cmd/valve", "-m", "close"]);
        // The gateway has taken both over when it has acknowledged them; before that the broker would send them again.
        broker.wait_for("Received PUBACK from mqttsn-gateway-1");
        broker.wait_for("Received PUBCOMP from mqttsn-gateway-1");

        let _gateway = again(gateway, end);
        node.send("LL 16 'valve'");
        hears_the_name(&mut node, &command, "cmd/valve");
        let [first] = node.expect(&format!("LL 0C 20 {command} ???? 'open'"));
        node.send(&format!("07 0D {command} {first} 00"));
        let [second] = node.expect(&format!("LL 0C 40 {command} ???? 'close'"));
        node.send(&format!("04 0F {second}"));
        let [] = node.expect(&format!("04 10 {second}"));
        node.send(&format!("04 0E {second}"));
        let [] = node.expect("02 17");
    }
}

#[test]
fn a_will_is_published_though_the_gateway_was_killed_meanwhile() {
    let broker = Mosquitto::start();
    let gateway = lasting(&broker, "");
    let wills = MosquittoSub::start(broker.port(), &["-t", "wills/#", "-v"]);
    let mut node = Node::udp(gateway.udp());
    // To be heard of within a second.
    node.send("LL 04 0C 01 0001 'pump'");
    let [] = node.expect("02 06");
    node.send("LL 07 20 'wills/pump'");
    let [] = node.expect("02 08");
    node.send("LL 09 'gone'");
    let [] = node.expect("03 05 00");

    let _gateway = again(gateway, |gateway| gateway.kill().0);
    wills.wait_for("wills/pump gone");
}

#[test]
fn what_is_published_while_no_gateway_runs_arrives() {
    for end in WAYS {
        let broker = Mosquitto::start();
        let gateway = lasting(&broker, "");
        let mut node = Node::udp(gateway.udp());
        node.connect("lamp");
        node.send("LL 12 20 0102 'cmd/lamp'");
        let [command] = node.expect("08 13 20 ???? 0102 00");

        let home = end(gateway);
        mosquitto_pub(broker.port(), &["-q", "1", "-t", "cmd/lamp", "-m", "on"]);
        let _gateway = home.start();
        hears_the_name(&mut node, &command, "cmd/lamp");
        let [_] = node.expect(&format!("LL 0C 20 {command} ???? 'on'"));
    }
}

#[test]
fn a_device_that_the_store_does_not_know_is_told_to_connect_at_its_first_frame() {
    let broker = Mosquitto::start();
    let gateway = lasting(&broker, "");
    let mut known = Node::udp(gateway.udp());
    known.connect("known");
    let mut unknown = Node::udp(gateway.udp());

    let _gateway = again(gateway, |gateway| gateway.kill().0);
    unknown.send("LL 0C 20 0001 0001 'open'");
    let [] = unknown.expect("02 18");
    known.expect_nothing();
}

#[test]
fn without_a_data_dir_a_restart_forgets_and_devices_are_told_at_once() {
    let broker = Mosquitto::start();
    let gateway = lasting(&broker, "[gateway]\ndata_dir = \"\"\n");
    gateway.wait_for("nothing is kept on disk; a restart forgets every device");
    let mut node = Node::udp(gateway.udp());
    node.connect("door");
    let gateway = again(gateway, |gateway| gateway.terminate_at_home().0);
    node.send("02 16");
    let [] = node.expect("02 18");
    assert_eq!(std::fs::read_dir(gateway.home()).expect("it is there").count(), 1, "gateway.toml is alone");
}

#[test]
fn a_broker_that_has_lost_its_memory_is_asked_for_everything_again() {
    let mut broker = Mosquitto::start();
    let cable = Cable::to(broker.port());
    let gateway = Home::lasting("", &["--broker", &cable.url()]).start();
    gateway.wait_for_broker();
    let mut node = Node::udp(gateway.udp());
    node.connect("door");
    let door = node.register("iot/door");
    node.send("LL 12 20 0102 'cmd/door'");
    let [command] = node.expect("08 13 20 ???? 0102 00");

    // Neither the subscription nor the session is known any more when both come back.
    cable.pull_out();
    broker.kill();
    node.ask(&format!("LL 0C 20 {door} 0001 'open'"), &format!("07 0D {door} 0001 00"));
    let (home, _) = gateway.kill();
    broker.restart();
    let everything = MosquittoSub::start(broker.port(), &["-q", "1", "-t", "iot/#", "-v"]);
    let _gateway = home.start();
    cable.plug_in();

    everything.wait_for("iot/door open");
    broker.wait_for("cmd/door (QoS");
    mosquitto_pub(broker.port(), &["-q", "1", "-t", "cmd/door", "-m", "lock"]);
    hears_the_name(&mut node, &command, "cmd/door");
    let [_] = node.expect(&format!("LL 0C 20 {command} ???? 'lock'"));
}

#[test]
fn a_qos_2_command_that_ended_before_the_broker_came_back_is_not_given_again() {
    for mode in ["aggregating", "transparent"] {
        let broker = Mosquitto::start();
        let cable = Cable::to(broker.port());
        let config = format!("[gateway]\nmode = \"{mode}\"\n");
        let gateway = Home::lasting(&config, &["--broker", &cable.url()]).start();
        gateway.wait_for_broker();
        let mut node = Node::udp(gateway.udp());
        node.ask("LL 04 00 01 003C 'valve'", "03 05 00");
        node.send("LL 12 40 0102 'cmd/valve'");
        let [command] = node.expect("08 13 40 ???? 0102 00");
        mosquitto_pub(broker.port(), &["-q", "2", "-t", "cmd/valve", "-m", "turn"]);
        let [msg_id] = node.expect(&format!("LL 0C 40 {command} ???? 'turn'"));

        let (home, _) = gateway.kill();
        cable.pull_out();
        let gateway = home.start();
        hears_the_name(&mut node, &command, "cmd/valve");
        let [] = node.expect(&format!("LL 0C C0 {command} {msg_id} 'turn'"));
        node.send(&format!("04 0F {msg_id}"));
        let [] = node.expect(&format!("04 10 {msg_id}"));
        node.send(&format!("04 0E {msg_id}"));
        node.expect_nothing();

        cable.plug_in();
        gateway.wait_for_broker();
        // What comes behind it is the next that the device hears.
        mosquitto_pub(broker.port(), &["-q", "2", "-t", "cmd/valve", "-m", "back"]);
        let [_] = node.expect(&format!("LL 0C 40 {command} ???? 'back'"));
    }
}

/// The broker loses its memory, and its answer to CONNECT, which would tell, is the last that a gateway hears: the next
/// one finds the session that this CONNECT has begun.
#[test]
fn a_session_that_the_broker_has_begun_for_a_gateway_that_died_over_it_is_not_taken_for_the_former() {
    let mut broker = Mosquitto::start();
    let cable = Cable::to(broker.port());
    let gateway = Home::lasting("", &["--broker", &cable.url()]).start();
    gateway.wait_for_broker();
    let mut node = Node::udp(gateway.udp());
    node.connect("door");
    node.send("LL 12 20 0102 'cmd/door'");
    let [command] = node.expect("08 13 20 ???? 0102 00");

    cable.pull_out();
    let gateway = again_without_a_broker(gateway);
    broker.kill();
    broker.restart();
    leave_a_session(broker.port(), "mqttsn-gateway-1", "0", "nothing/of/interest");
    let (home, _) = gateway.kill();
    cable.plug_in();
    let _gateway = home.start();
    // It resumes the session.
    broker.wait_for("Sending CONNACK to mqttsn-gateway-1 (1, 0)");
    broker.wait_for("mqttsn-gateway-1 1 cmd/door");
    mosquitto_pub(broker.port(), &["-q", "1", "-t", "cmd/door", "-m", "lock"]);
    hears_the_name(&mut node, &command, "cmd/door");
    let [msg_id] = node.expect(&format!("LL 0C 20 {command} ???? 'lock'"));
    node.send(&format!("07 0D {command} {msg_id} 00"));
}

/// Ends the gateway on the spot and starts it again; returns when it has tried to connect.
fn again_without_a_broker(gateway: Gateway) -> Gateway {
    let gateway = gateway.kill().0.start();
    gateway.wait_for("no connection to the broker");
    gateway
}
