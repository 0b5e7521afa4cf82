//! What the log shows of the traffic.

use crate::support::{Gateway, Mosquitto, Node};

#[test]
fn at_trace_level_every_frame_in_and_out_is_in_the_log_in_words() {
    let broker = Mosquitto::start();
    let gateway = Gateway::before(&broker.url(), &["--log", "trace"]);
    let mut node = Node::udp(gateway.udp());
    node.connect("node-1");
    let topic_id = node.register("iot/home1/door");
    node.send(&format!("LL 0C 20 {topic_id} 0007 'open'"));
    let [] = node.expect(&format!("07 0D {topic_id} 0007 00"));
    node.send("06 FE 01 AABBCC 02 16");
    node.receive_any();
    node.send("03 17 00");
    node.expect_nothing();

    let address = node.address();
    for (way, words) in [
        ("<-", "CONNECT "),
        ("->", "CONNACK rc=0"),
        ("<-", "REGISTER "),
        ("->", "REGACK "),
        ("<-", "PUBLISH "),
        ("->", "PUBACK "),
        // What a forwarder has wrapped, and what is no message: with its octets.
        ("<-", "ENCAPS radius=1 node=aabbcc"),
        ("<-", "031700 ("),
        ("<-", "PINGREQ "),
        ("->", "PINGRESP"),
    ] {
        gateway.wait_for(&format!("{way} UDP {address} {words}"));
    }
    let published = gateway.wait_for(&format!("<- UDP {address} PUBLISH "));
    for field in ["qos=1", "msgid=7", "data=6f70656e"] {
        assert!(published.contains(field), "{field} is missing in {published:?}");
    }
}
