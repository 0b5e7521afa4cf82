//! What the configuration makes of topics and queues.

use crate::support::{Gateway, Mosquitto, MosquittoSub, Node, mosquitto_pub};

#[test]
fn each_devices_topics_stand_behind_its_own_prefix() {
    let broker = Mosquitto::start();
    let gateway =
        Gateway::start_with_config("[broker]\ntopic_prefix = \"site/{client_id}/\"\n", &["--broker", &broker.url()]);
    gateway.wait_for_broker();
    let everything = MosquittoSub::start(broker.port(), &["-t", "site/#", "-v"]);

    let mut pump = Node::udp(gateway.udp());
    pump.connect("pump");
    let topic_id = pump.register("pressure");
    pump.send(&format!("LL 0C 00 {topic_id} 0000 '3.1'"));
    everything.wait_for("site/pump/pressure 3.1");

    pump.send("LL 12 20 0102 'speed'");
    let [topic_id] = pump.expect("08 13 20 ???? 0102 00");
    for (device, speed) in [("valve", "7"), ("pump", "9")] {
        mosquitto_pub(broker.port(), &["-t", &format!("site/{device}/speed"), "-m", speed]);
    }
    let [] = pump.expect(&format!("LL 0C 00 {topic_id} 0000 '9'"));
}

#[test]
fn only_the_latest_state_waits_for_a_sleeping_device() {
    let broker = Mosquitto::start();
    let gateway = Gateway::start_with_config(
        "[[queue]]\nfilter = \"state/#\"\npolicy = \"latest-only\"\n",
        &["--broker", &broker.url()],
    );
    gateway.wait_for_broker();
    let [mut sleeper, mut witness] = [("sleeper", "state/door"), ("witness", "state/end")].map(|(name, topic)| {
        let mut node = Node::udp(gateway.udp());
        node.connect(name);
        node.send(&format!("LL 12 20 0102 '{topic}'"));
        let [topic_id] = node.expect("08 13 20 ???? 0102 00");
        (node, topic_id)
    });
    let (sleeper, topic_id) = (&mut sleeper.0, &sleeper.1);
    sleeper.send("04 18 003C");
    let [] = sleeper.expect("02 18");

    for (topic, state) in [("state/door", "open"), ("state/door", "shut"), ("state/end", "end")] {
        mosquitto_pub(broker.port(), &["-q", "1", "-t", topic, "-m", state]);
    }
    // The broker keeps the order: what the witness gets last has passed the gateway last.
    let (witness, end) = (&mut witness.0, &witness.1);
    let [_] = witness.expect(&format!("LL 0C 20 {end} ???? 'end'"));

    sleeper.send("LL 16 'sleeper'");
    let [msg_id] = sleeper.expect(&format!("LL 0C 20 {topic_id} ???? 'shut'"));
    sleeper.send(&format!("07 0D {topic_id} {msg_id} 00"));
    let [] = sleeper.expect("02 17");
}
