//! A client that others wrote.

use crate::support::{Gateway, Mosquitto, MosquittoSub, foreign, mosquitto_pub};

#[test]
fn a_foreign_client_publishes_at_every_qos() {
    let broker = Mosquitto::start();
    let config = "[predefined]\n7 = \"iot/home1/minus-one\"\n";
    let gateway = Gateway::start_with_config(config, &["--broker", &broker.url()]);
    gateway.wait_for_broker();
    let subscriber = MosquittoSub::start(broker.port(), &["-q", "2", "-t", "#", "-F", "%q %t %p"]);

    foreign::publish(gateway.udp(), "-1", "7", "a");
    foreign::publish(gateway.udp(), "0", "iot/home1/zero", "b");
    foreign::publish(gateway.udp(), "1", "iot/home1/one", "c");
    foreign::publish(gateway.udp(), "2", "iot/home1/two", "d");
    foreign::publish(gateway.udp(), "1", "st", "e");

    for message in ["0 iot/home1/minus-one a", "0 iot/home1/zero b", "1 iot/home1/one c", "2 iot/home1/two d", "1 st e"]
    {
        subscriber.wait_for(message);
    }
}

#[test]
fn a_foreign_client_subscribes_by_name_and_by_wildcard_and_at_every_qos() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &[]);
    let by_name = foreign::subscribe(gateway.udp(), "foreign-1", "0", "iot/home1/livingroom/led");
    // It takes what comes at QoS 1 and 2, but sends neither PUBACK nor PUBREC.
    let by_wildcard = foreign::subscribe(gateway.udp(), "foreign-2", "1", "iot/home1/+/led");

    let at_qos_2 = foreign::subscribe(gateway.udp(), "foreign-3", "2", "iot/home1/livingroom/led");

    mosquitto_pub(broker.port(), &["-t", "iot/home1/livingroom/led", "-m", "on", "-q", "2"]);

    by_name.wait_for("iot/home1/livingroom/led on");
    by_wildcard.wait_for("iot/home1/livingroom/led on");
    at_qos_2.wait_for("iot/home1/livingroom/led on");
}
