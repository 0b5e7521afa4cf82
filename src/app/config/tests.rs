use super::*;
use crate::core::{Durability, OutagePolicy, QueuePolicy};
use crate::wire::framing::Framing;
use std::time::Duration;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("gateway.toml", text, &Overrides::default())
}

/// The one message that a file brings.
fn complaint(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

fn with_flags(text: &str, overrides: Overrides) -> Result<Config, ConfigError> {
    Config::parse("gateway.toml", text, &overrides)
}

#[test]
fn an_unknown_key_names_its_line_the_nearest_key_and_the_known_ones() {
    assert_eq!(
        complaint("[[serial]]\nport = \"/dev/ttyUSB0\"\nbauds = 9600\n"),
        "gateway.toml:3:1: unknown key `bauds` in [[serial]]; did you mean `baud`?\n  \
         known keys: port, baud, framing, format, flow_control, dtr, rts, max_frame, gap, receive_gap, settle, \
         reopen_after, reopen_at_most, send_queue, qos_minus_one, advertise"
    );
    assert_eq!(
        complaint("[brokr]\nurl = \"mqtt://localhost\"\n"),
        "gateway.toml:1:2: unknown section [brokr]; did you mean [broker]?\n  \
         known sections: gateway, broker, udp, serial, store, outage, queue, predefined, timers, limits, log"
    );
    assert_eq!(
        complaint("[log]\nzzz = 1\n"),
        "gateway.toml:2:1: unknown key `zzz` in [log]\n  known keys: level, format"
    );
}

#[test]
fn a_key_above_the_first_section_names_the_section_where_it_belongs() {
    assert_eq!(
        complaint("id = 1\n[log]\nlevel = \"info\"\n"),
        "gateway.toml:1:1: unknown key `id` above the first section; it belongs into [gateway]\n  \
         write it below a line [gateway]"
    );
    assert!(complaint("max_frame = 128\n").contains("it belongs into [[udp]] or [[serial]]"));
    assert_eq!(
        complaint("zzz = 1\n"),
        "gateway.toml:1:1: unknown key `zzz` above the first section\n  \
         known sections: gateway, broker, udp, serial, store, outage, queue, predefined, timers, limits, log"
    );
}

#[test]
fn a_key_of_a_later_version_says_so() {
    assert_eq!(
        complaint("[[serial]]\nport = \"COM3\"\nframing = \"xbe\"\n"),
        "gateway.toml:3:11: `framing` in [[serial]] cannot be \"xbe\" (did you mean \"xbee\"?); use \"raw\" or \"slip\" \
         or \"slip-crc\" or \"cobs-crc\" or \"xbee\" or \"xbee-escaped\" or \"aquila\""
    );
    assert_eq!(
        complaint("[broker]\nurl = \"wss://broker.example\"\n"),
        "gateway.toml:2:7: broker URL scheme `wss` (MQTT over WebSockets) is not supported yet: \
         use mqtt:// or mqtts://\n  example: url = \"mqtt://localhost:1883\""
    );
    assert!(complaint("[admin]\nlisten = \"\"\n").contains("is not in this version yet; leave"));
}

#[test]
fn a_wrong_type_says_what_is_wanted_with_an_example() {
    assert_eq!(
        complaint("[[serial]]\nport = \"COM3\"\nbaud = \"9600\"\n"),
        "gateway.toml:3:8: `baud` in [[serial]] must be a whole number of at least 1, not \"9600\"\n  \
         example: baud = 9600"
    );
    assert_eq!(
        complaint("[gateway]\nid = 300\n"),
        "gateway.toml:2:6: `id` in [gateway] must be a whole number from 0 to 255, not 300\n  example: id = 1"
    );
    assert_eq!(
        complaint("[[udp]]\nqos_minus_one = \"yes\"\n"),
        "gateway.toml:2:17: `qos_minus_one` in [[udp]] must be true or false, not \"yes\"\n  \
         example: qos_minus_one = true"
    );
    assert_eq!(
        complaint("[udp]\nlisten = \"[::]:1883\"\n"),
        "gateway.toml:1:1: [[udp]] must be a list of sections, not a table\n  \
         write the section as [[udp]], with one `key = value` a line below it"
    );
    assert_eq!(
        complaint("[[serial]]\n"),
        "gateway.toml:1:1: [[serial]] needs `port`\n  example: port = \"/dev/ttyUSB0\""
    );
}

#[test]
fn a_duration_needs_its_unit() {
    assert_eq!(
        complaint("[timers]\nt_retry = 10\n"),
        "gateway.toml:2:11: `t_retry` in [timers] must be a duration with its unit, in quotes, not 10\n  \
         example: t_retry = \"10s\""
    );
    assert_eq!(
        complaint("[timers]\nidle_limit = \"soon\"\n"),
        "gateway.toml:2:14: `idle_limit` in [timers] must be a duration with its unit, in quotes, or \"never\", \
         not \"soon\"\n  example: idle_limit = \"1day\""
    );
    let config = parse("[timers]\nt_retry = \"1m 30s\"\nidle_limit = \"never\"\n").unwrap();
    assert_eq!((config.timers.t_retry, config.timers.idle_limit), (Duration::from_secs(90), None));
}

#[test]
fn a_limit_beyond_all_sense_is_refused_with_its_place() {
    assert_eq!(
        complaint("[limits]\nclients = 5\nlink_events = 9223372036854775807\n"),
        "gateway.toml:3:15: `link_events` in [limits] must be from 1 to 10000000, not 9223372036854775807\n  \
         example: link_events = 64"
    );
    let complaint_about_a_key = complaint("[limits]\nno_such_key = 1\n");
    let (_, keys) = complaint_about_a_key.split_once("known keys: ").unwrap();
    for key in keys.split(", ") {
        let complaint = complaint(&format!("[limits]\n{key} = 4294967296\n"));
        assert!(complaint.starts_with(&format!("gateway.toml:2:{}: `{key}` in [limits] must be", key.len() + 4)));
    }
}

#[test]
fn a_value_out_of_range_is_refused() {
    for (text, message) in [
        ("[gateway]\nid = 0", "`id` in [gateway] must be from 1 to 255"),
        ("[gateway]\nname = \"a/b\"", "\"a/b\" cannot be the gateway's name"),
        (
            "[limits]\nclients = 0",
            "`clients` in [limits] must be from 1 to 10000000, not 0\n  example: clients = 100000",
        ),
        ("[limits]\nstrays_per_second = 10000001", "`strays_per_second` in [limits] must be from 0 to 10000000"),
        ("[limits]\nclients = -1", "`clients` in [limits] must be a whole number, not -1"),
        ("[timers]\nt_retry = \"0s\"", "`t_retry` in [timers] must be longer than 0s"),
        ("[timers]\nkeep_alive_tolerance = 0.5", "`keep_alive_tolerance` in [timers] must be from 1.0 to 100.0"),
        ("[timers]\nkeep_alive_tolerance = nan", "`keep_alive_tolerance` in [timers] must be from 1.0 to 100.0"),
        ("[timers]\nidle_limit = \"0s\"", "`idle_limit` in [timers] must be longer than 0s"),
        ("[broker]\nkeep_alive = \"1500ms\"", "`keep_alive` in [broker] must be whole seconds from 1s to 65535s"),
        ("[broker]\nkeep_alive = \"1day\"", "`keep_alive` in [broker] must be whole seconds from 1s to 65535s"),
        ("[[udp]]\nmax_frame = 3", "`max_frame` in [[udp]] must be from 16 to 65535 octets"),
        ("[[udp]]\nlisten = \"1883\"", "\"1883\" is not an address to listen on"),
        ("[log]\nlevel = \"inof\"", "`level` in [log] is no level and no filter: \"inof\" is neither"),
        ("[log]\nformat = \"xml\"", "`format` in [log] cannot be \"xml\"; use \"text\" or \"json\""),
        ("[broker]\nprotocol = \"3.1\"", "`protocol` in [broker] cannot be \"3.1\" (did you mean \"3.1.1\"?)"),
        ("[[serial]]\nport = \"\"", "`port` in [[serial]] is empty"),
        ("[[serial]]\nport = \"usb:cp2102\"", "\"usb:cp2102\" names no USB adapter\n  write usb:VENDOR:PRODUCT"),
        ("[[serial]]\nport = \"tcp://10.0.0.1\"", "\"tcp://10.0.0.1\" names no serial server"),
        (
            "[[serial]]\nport = \"COM3\"\nformat = \"7E1\"",
            "`format` in [[serial]] cannot be \"7E1\"; it is one of 8N1, ",
        ),
        ("[[serial]]\nport = \"COM3\"\nflow_control = \"xon-xoff\"", "use \"none\" or \"rts-cts\"\n  XON and XOFF"),
        ("[[udp]]\nbatch = 0", "`batch` in [[udp]] must be from 1 to 1024 datagrams"),
        ("[[serial]]\nport = \"COM3\"\nsend_queue = 0", "`send_queue` in [[serial]] must be from 1 to"),
        ("[[serial]]\nport = \"COM3\"\nreopen_after = \"0s\"", "`reopen_after` in [[serial]] must be at least 10ms"),
        ("[[serial]]\nport = \"COM3\"\nframing = \"slip-crc16\"", "(did you mean \"slip-crc\"?)"),
        (
            "[[serial]]\nport = \"COM3\"\nframing = \"aquila\"\nmax_frame = 60",
            "`max_frame` in [[serial]] must be at most 59 octets with framing \"aquila\"",
        ),
        ("udp = []", "the gateway has neither a UDP listener nor a serial port"),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(message), "{complaint}");
    }
}

#[test]
fn a_rate_of_zero_switches_off() {
    assert_eq!(parse("[limits]\nstrays_per_second = 0\n").unwrap().limits.strays_per_second, 0);
}

#[test]
fn a_predefined_topic_names_its_line_and_the_reason() {
    assert_eq!(
        complaint("[predefined]\n1 = \"a\"\n7 = \"home/+/temperature\"\n"),
        "gateway.toml:3:5: predefined topic 7 cannot be \"home/+/temperature\": \
         it contains a wildcard (+ or #), and one topic is named here, not many\n  \
         write one full topic name; a device subscribes to wildcards by name, not by id"
    );
    for id in ["0", "65535", "70000", "x", "-1"] {
        assert_eq!(
            complaint(&format!("[predefined]\n{id} = \"a\"\n")).lines().next().unwrap(),
            format!("gateway.toml:2:{}: \"{id}\" in [predefined] is not a topic id", id.len() + 4)
        );
    }
    assert!(complaint("[predefined]\n01 = \"a\"\n1 = \"b\"\n").contains("predefined topic 1 is defined twice"));
    assert!(
        complaint("[predefined]\n1 = \"a\"\n1 = \"b\"\n").contains("gateway.toml:3:1: the file cannot be understood")
    );
}

#[test]
fn two_listeners_on_one_address_are_refused() {
    assert_eq!(
        complaint("[[udp]]\nlisten = \"[::]:1883\"\n[[udp]]\nlisten = \"127.0.0.1:1883\"\n"),
        "gateway.toml:4:10: two UDP listeners want 127.0.0.1:1883; the other one listens on [::]:1883\n  \
         keep one of them; [::] takes IPv4 and IPv6 on all interfaces"
    );
    assert!(parse("[[udp]]\nlisten = \"127.0.0.1:1883\"\n[[udp]]\nlisten = \"127.0.0.2:1883\"\n").is_ok());
    assert!(parse("[[udp]]\nlisten = \"0.0.0.0:1883\"\n[[udp]]\nlisten = \"[::1]:1883\"\n").is_ok());
    assert!(parse("[[udp]]\nlisten = \"127.0.0.1:0\"\n[[udp]]\nlisten = \"127.0.0.1:0\"\n").is_ok());
}

#[test]
fn two_sections_for_one_serial_port_are_refused() {
    assert_eq!(
        complaint("[[serial]]\nport = \"COM3\"\n[[serial]]\nport = \"COM3\"\nbaud = 57600\n"),
        "gateway.toml:4:8: two [[serial]] sections want \"COM3\"\n  one port is one section; keep one of them"
    );
}

#[test]
fn a_serial_port_does_not_take_the_udp_listener_away() {
    let serial = "[[serial]]\nport = \"COM3\"\n";
    assert_eq!(parse(serial).unwrap().udp.len(), 1);
    assert_eq!(parse(&format!("udp = []\n{serial}")).unwrap().udp, []);
}

#[test]
fn the_client_id_holds_the_gateways_name() {
    assert_eq!(parse("[gateway]\nname = \"roof\"\n").unwrap().broker.client_id, "mqttsn-roof");
    assert_eq!(
        complaint("[broker]\nclient_id = \"{host}-1\"\n"),
        "gateway.toml:2:13: `client_id` in [broker] has the unknown placeholder {host}\n  \
         known placeholders: {name}, the gateway's name"
    );
}

#[test]
fn the_mode_comes_from_the_file_or_the_flag() {
    let file = "[gateway]\nmode = \"transparent\"\n";
    assert_eq!(parse(file).unwrap().core_settings().mode, Mode::Transparent);
    let overrides = Overrides { mode: Some("aggregating".into()), ..Overrides::default() };
    assert_eq!(with_flags(file, overrides).unwrap().mode, Mode::Aggregating);
}

#[test]
fn devices_with_connections_of_their_own_have_names_of_their_own() {
    let text = "[gateway]\nname = \"roof\"\n[broker]\n\
                device_client_id = \"{name}-{client_id}\"\ndevice_username = \"{client_id}\"\n";
    let devices = parse(text).unwrap().devices;
    assert_eq!(devices, Devices { client_id: "roof-{client_id}".into(), username: Some("{client_id}".into()) });
    for (text, message) in [
        ("device_client_id = \"{name}\"", "needs {client_id}: devices with one id throw each other out"),
        ("device_client_id = \"{id}-{client_id}\"", "`device_client_id` in [broker] has the unknown placeholder {id}"),
        ("device_username = \"{user}\"", "`device_username` in [broker] has the unknown placeholder {user}"),
    ] {
        let complaint = complaint(&format!("[broker]\n{text}\n"));
        assert!(complaint.contains(message), "{complaint}");
    }
}

#[test]
fn a_topic_prefix_may_name_the_client() {
    let config = parse("[broker]\ntopic_prefix = \"site/{client_id}/\"\n").unwrap();
    assert_eq!(config.core_settings().topic_prefix.as_str(), "site/{client_id}/");
    assert_eq!(
        complaint("[broker]\ntopic_prefix = \"site/{name}/\"\n"),
        "gateway.toml:2:16: `topic_prefix` in [broker] has the unknown placeholder {name}\n  \
         known placeholders: {client_id}, the device's client id"
    );
    assert_eq!(
        complaint("[broker]\ntopic_prefix = \"site/#\"\n"),
        "gateway.toml:2:16: `topic_prefix` in [broker] cannot be \"site/#\": \
         it contains a wildcard (+ or #), and one topic is named here, not many\n  \
         example: topic_prefix = \"site/{client_id}/\""
    );
}

#[test]
fn queue_rules_keep_their_order_and_their_words_are_checked() {
    let text = "[[queue]]\nfilter = \"cmd/#\"\npolicy = \"drop-newest\"\nmax_age = \"1h\"\n[[queue]]\nfilter = \"#\"\n";
    let rules = parse(text).unwrap().core_settings().queue;
    let [commands, rest] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!((commands.policy, commands.max_age), (QueuePolicy::DropNewest, Some(Duration::from_secs(3_600))));
    assert_eq!((rest.filter.as_str(), rest.policy, rest.max_age), ("#", QueuePolicy::DropOldest, None));
    for (text, message) in [
        ("policy = \"drop-newest\"", "[[queue]] needs `filter`\n  example: filter = \"cmd/#\""),
        ("filter = \"a/#/b\"", "`filter` in [[queue]] cannot be \"a/#/b\": '#' must stand alone in the last level"),
        ("filter = \"$share/g/a\"", "no topic is named $share/..."),
        ("filter = \"a\"\npolicy = \"newest\"", "`policy` in [[queue]] cannot be \"newest\""),
        ("filter = \"a\"\nmax_age = \"0s\"", "`max_age` in [[queue]] must be longer than 0s"),
        ("filter = \"a\"\n[[queue]]\nfilter = \"a\"", "two [[queue]] sections are about \"a\""),
    ] {
        let complaint = complaint(&format!("[[queue]]\n{text}\n"));
        assert!(complaint.contains(message), "{complaint}");
    }
}

#[test]
fn the_store_is_configured_and_its_mistakes_named() {
    let text = "[gateway]\ndata_dir = \"/var/lib/x\"\n[store]\non_failure = \"continue\"\ncommit_every = \"1s\"\n";
    let keeping = parse(text).unwrap().keeping;
    assert_eq!(keeping.dir.as_deref(), Some(Path::new("/var/lib/x")));
    assert_eq!((keeping.durability, keeping.settings.commit_every), (Durability::BestEffort, Duration::from_secs(1)));
    let keeping = parse("[gateway]\ndata_dir = \"\"\n").unwrap().keeping;
    assert_eq!((keeping.dir, keeping.durability), (None, Durability::Nothing));
    for (text, message) in [
        (
            "on_failure = \"ignore\"",
            ":2:14: `on_failure` in [store] cannot be \"ignore\"; use \"refuse\" or \"continue\"",
        ),
        (
            "on_failure = true",
            ":2:14: `on_failure` in [store] must be text in quotes, not true\n  example: on_failure =",
        ),
        (
            "commit_every = 20",
            "`commit_every` in [store] must be a duration with its unit, in quotes, not 20\n  example: ",
        ),
        (
            "commit_every = \"1h\"",
            ":2:16: `commit_every` in [store] must be from 0s to 10s\n  acknowledgements wait as",
        ),
        (
            "commit_bytes = 100_000_000",
            ":2:16: `commit_bytes` in [store] must be from 0 to 16777216, not 100000000\n  beyond that",
        ),
        (
            "comit_every = \"1s\"",
            ":2:1: unknown key `comit_every` in [store]; did you mean `commit_every`?\n  known keys: ",
        ),
    ] {
        let complaint = complaint(&format!("[store]\n{text}\n"));
        assert!(complaint.contains(message), "{complaint}");
    }
}

#[test]
fn outage_rules_keep_their_order_and_have_what_they_do_not_name_from_the_section() {
    let text = "[outage]\nqos0 = \"latest\"\nmax_age = \"1h\"\nmessages = 5\nbytes = 6\n\
                [[outage.topic]]\nfilter = \"cmd/#\"\npolicy = \"drop\"\nmax_age = \"never\"\n\
                [[outage.topic]]\nfilter = \"#\"\n";
    let outage = parse(text).unwrap().outage;
    assert_eq!((outage.policy, outage.qos0), (OutagePolicy::Keep, OutagePolicy::Latest));
    assert_eq!((outage.max_age, outage.messages, outage.octets), (Some(Duration::from_secs(3_600)), 5, 6));
    let [commands, rest] = outage.rules.as_slice() else { panic!("{outage:?}") };
    assert_eq!((commands.policy, commands.qos0, commands.max_age), (Some(OutagePolicy::Drop), None, Some(None)));
    assert_eq!((rest.filter.as_str(), rest.policy, rest.max_age), ("#", None, None));
}

#[test]
fn a_mistake_about_outages_names_its_section_and_line() {
    for (text, message) in [
        (
            "[outage]\npolicy = \"kep\"",
            ":2:10: `policy` in [outage] cannot be \"kep\" (did you mean \"keep\"?); use \"keep\"",
        ),
        (
            "[outage]\nmessages = 0",
            ":2:12: `messages` in [outage] must be from 1 to 100000000, not 0\n  policy = \"drop\"",
        ),
        (
            "[outage]\nbytes = \"1M\"",
            ":2:9: `bytes` in [outage] must be a whole number, not \"1M\"\n  example: bytes = ",
        ),
        ("[outage]\nmax_age = \"0s\"", ":2:11: `max_age` in [outage] must be longer than 0s"),
        ("[outage]\nmax_aeg = \"1s\"", ":2:1: unknown key `max_aeg` in [outage]; did you mean `max_age`?"),
        (
            "[outage]\ntopic = \"a\"",
            ":2:9: [[outage.topic]] must be a list of sections, not \"a\"\n  write the section as ",
        ),
        (
            "[outage.topic]\nfilter = \"a\"",
            ": [[outage.topic]] must be a list of sections, not a table\n  write the section as ",
        ),
        ("[[outage.topics]]\nfilter = \"a\"", ":1:10: unknown key `topics` in [outage]; did you mean `topic`?"),
        (
            "[[outage.topic]]\npolicy = \"keep\"",
            ":1:1: [[outage.topic]] needs `filter`\n  example: filter = \"telemetry/#\"",
        ),
        (
            "[[outage.topic]]\nfilter = \"a\"\npolcy = \"keep\"",
            ":3:1: unknown key `polcy` in [[outage.topic]]; did you mean `policy`?\n  \
             known keys: filter, policy, qos0, max_age",
        ),
        (
            "[[outage.topic]]\nfilter = \"a\"\npolicy = 1",
            ":3:10: `policy` in [[outage.topic]] must be text in quotes, not 1\n  example: policy = \"keep\"",
        ),
        (
            "[[outage.topic]]\nfilter = \"a\"\n[[outage.topic]]\nfilter = \"b\"\nqos0 = \"lates\"",
            ":5:8: `qos0` in [[outage.topic]] cannot be \"lates\" (did you mean \"latest\"?); \
             use \"keep\" or \"latest\" or \"drop\"",
        ),
        (
            "[[outage.topic]]\nfilter = \"a\"\nmax_age = \"0s\"",
            ":3:11: `max_age` in [[outage.topic]] must be longer than 0s\n  max_age = \"never\"",
        ),
        (
            "[[outage.topic]]\nfilter = \"a\"\nmax_age = 5",
            ":3:11: `max_age` in [[outage.topic]] must be a duration with its unit, in quotes, or \"never\", not 5\n  \
             example: max_age = ",
        ),
        ("[[outage.topic]]\nfilter = \"a/#/b\"", ":2:10: `filter` in [[outage.topic]] cannot be \"a/#/b\""),
        (
            "[[outage.topic]]\nfilter = \"a\"\n[[outage.topic]]\nfilter = \"a\"",
            ":4:10: two [[outage.topic]] sections are about \"a\", and the first decides\n  keep one of them",
        ),
    ] {
        let complaint = complaint(&format!("{text}\n"));
        assert!(complaint.contains(message), "{complaint}\nlacks {message}");
    }
}

#[test]
fn multicast_groups_are_read_and_their_mistakes_named() {
    let text = "[[udp]]\nmulticast = [\"225.1.1.1:1883\", \"[ff1e:feed:caca:dead::1]:1883\"]\n\
                multicast_interfaces = [\"eth0\"]\nmulticast_ttl = 3\nadvertise = \"15m\"\n";
    let config = parse(text).unwrap();
    let multicast = &config.udp[0].settings.multicast;
    assert_eq!(multicast.groups.len(), 2);
    assert_eq!((multicast.interfaces.as_slice(), multicast.ttl), (&["eth0".to_owned()][..], 3));
    assert_eq!(config.udp[0].link.advertise, Some(Duration::from_secs(900)));
    for (text, message) in [
        ("multicast = \"225.1.1.1:1883\"", "`multicast` in [[udp]] must be a list in square brackets, not \"225."),
        ("multicast = [\"225.1.1.1\"]", "\"225.1.1.1\" is not a multicast group with its port"),
        ("multicast = [\"225.1.1.1:0\"]", "\"225.1.1.1:0\" has no port"),
        ("multicast = [\"192.168.1.1:1883\"]", "192.168.1.1 is not a multicast address"),
        ("multicast = [\"[ff02::1%2]:1883\"]", "name it in `multicast_interfaces`"),
        ("multicast = [\"[ff02::1]:1883\"]", "is a group of one link, and no interface is named"),
        ("multicast = [\"225.1.1.1:1\", \"225.1.1.1:1\"]", "225.1.1.1:1 stands twice in `multicast`"),
        ("multicast_interfaces = [\"\"]", "an interface in [[udp]] has no name"),
        ("multicast_ttl = 0", "`multicast_ttl` in [[udp]] must be at least 1"),
        ("advertise = \"15m\"", "`advertise` in [[udp]] needs `multicast` beside it"),
        ("advertise = \"1day\"", "`advertise` in [[udp]] must be whole seconds from 1s to 65535s, or \"never\""),
        ("advertise = \"500ms\"", "`advertise` in [[udp]] must be whole seconds from 1s to 65535s, or \"never\""),
        (
            "listen = \"0.0.0.0:1883\"\nmulticast = [\"[ff05::1]:1883\"]",
            "[ff05::1]:1883 is an IPv6 group, and the listener at 0.0.0.0:1883 has no IPv6",
        ),
        (
            "multicast = [\"225.1.1.1:1\"]\n[[udp]]\nlisten = \"[::]:2\"\nmulticast = [\"225.1.1.1:1\"]",
            "two UDP listeners want the group 225.1.1.1:1 on the same interface",
        ),
    ] {
        let complaint = complaint(&format!("[[udp]]\n{text}\n"));
        assert!(complaint.contains(message), "{complaint}");
    }
    let apart = |interface: &str| format!("multicast = [\"225.1.1.1:1\"]\nmulticast_interfaces = [{interface:?}]\n");
    let (a, b) = (apart("eth0"), apart("eth1"));
    assert!(parse(&format!("[[udp]]\n{a}[[udp]]\nlisten = \"[::]:2\"\n{b}")).is_ok());
}

#[test]
fn credentials_and_certificates_come_in_pairs() {
    for (text, message) in [
        ("url = \"mqtt://b\"\npassword = \"x\"", "`password` in [broker] needs `username` beside it"),
        ("username = \"u\"\npassword = \"x\"\npassword_file = \"y\"", "has both `password` and `password_file`"),
        ("username = \"u\"\npassword_file = \"/no/such/file\"", "the password cannot be read from \"/no/such/file\""),
        ("url = \"mqtts://b\"\ncert = \"c\"", "`cert` in [broker] needs `key` beside it"),
        ("url = \"mqtts://b\"\nkey = \"k\"", "`key` in [broker] needs `cert` beside it"),
        ("ca = \"ca.pem\"", "`ca` in [broker] has a meaning only with TLS"),
    ] {
        let complaint = complaint(&format!("[broker]\n{text}\n"));
        assert!(complaint.contains(message), "{complaint}");
    }
}

#[test]
fn a_password_file_ends_before_its_line_end() {
    use secrecy::ExposeSecret;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let text = format!("[broker]\nusername = \"u\"\npassword_file = {:?}\n", file.path().display().to_string());
    let password = parse(&text).unwrap().broker.password.unwrap();
    assert_eq!(password.expose_secret(), "s3cret");
}

#[test]
fn a_password_does_not_show() {
    let text = "[broker]\nusername = \"u\"\npassword = \"s3cret\"\n";
    assert!(!format!("{:?}", parse(text).unwrap()).contains("s3cret"));
    assert!(!complaint("[broker]\nusername = 3\npassword = \"s3cret\"\n").contains("s3cret"));
    assert!(!complaint("[broker]\npassword = 1234\n").contains("1234"));
}

#[test]
fn flags_override_the_file_and_are_named_in_errors() {
    let file = "[broker]\nurl = \"mqtt://one\"\n[[udp]]\nlisten = \"127.0.0.1:1\"\n";
    let overrides = Overrides {
        broker: Some("mqtt://two:1884".into()),
        udp: vec!["127.0.0.1:2".into(), "127.0.0.1:3".into()],
        serial: vec!["/dev/ttyACM0,baud=57600,framing=slip".parse().unwrap()],
        ..Overrides::default()
    };
    let config = with_flags(file, overrides).unwrap();
    assert!(config.broker.url.to_string().contains("two:1884"));
    assert_eq!(config.udp.iter().map(|udp| udp.settings.listen.port()).collect::<Vec<_>>(), [2, 3]);
    let serial = &config.serial[0].settings;
    assert_eq!((serial.baud, serial.framing), (57_600, Framing::Slip));

    let refused = |overrides| with_flags(file, overrides).unwrap_err().to_string();
    assert_eq!(
        refused(Overrides { mode: Some("transparant".into()), ..Overrides::default() }),
        "--mode: `mode` in [gateway] cannot be \"transparant\" (did you mean \"transparent\"?); \
         use \"aggregating\" or \"transparent\""
    );
    assert!(refused(Overrides { udp: vec!["x".into()], ..Overrides::default() }).starts_with("--udp: \"x\" is not"));
    let twice = vec!["COM3".parse().unwrap(), "COM3,baud=1".parse().unwrap()];
    assert!(refused(Overrides { serial: twice, ..Overrides::default() }).starts_with("--serial: two"));
}

#[test]
fn the_embedded_broker_replaces_the_files_broker_and_its_credentials() {
    let file = "[broker]\nurl = \"mqtts://far\"\nusername = \"u\"\nclient_id = \"mine\"\n";
    let overrides = Overrides { embedded_broker: Some("0.0.0.0:1884".into()), ..Overrides::default() };
    let config = with_flags(file, overrides).unwrap();
    assert_eq!(config.embedded_broker, Some("0.0.0.0:1884".parse().unwrap()));
    assert_eq!(config.broker.client_id, "mine");
    assert!(config.broker.username.is_none());
}

#[test]
fn a_missing_file_says_which() {
    let error = Config::load(Some(Path::new("/no/such/gateway.toml")), &Overrides::default()).unwrap_err();
    assert!(error.to_string().starts_with("/no/such/gateway.toml: the file cannot be read: "), "{error}");
}

mod the_reference_file {
    use super::*;
    use mistakes::{REFERENCE, example};

    #[test]
    fn agrees_with_the_defaults() {
        let file = parse(REFERENCE).unwrap();
        let defaults = parse("").unwrap();
        assert_eq!(format!("{file:#?}"), format!("{defaults:#?}"));
    }

    #[test]
    fn lists_every_key() {
        // What the parser would accept, in its own words.
        let sections = [
            "gateway",
            "broker",
            "udp",
            "serial",
            "store",
            "outage",
            "outage.topic",
            "queue",
            "timers",
            "limits",
            "log",
        ];
        for section in sections {
            let is_list = matches!(section, "udp" | "serial" | "queue" | "outage.topic");
            let header = if is_list { format!("[[{section}]]") } else { format!("[{section}]") };
            let complaint = complaint(&format!("{header}\nno_such_key = 1\n"));
            let (_, known) = complaint.split_once("known keys: ").unwrap();
            let is_section = |key: &str| REFERENCE.contains(&format!("[{section}.{key}]"));
            for key in known.split(", ").filter(|key| !is_section(key)) {
                assert!(example(section, key).is_some(), "{key} of [{section}] is missing in gateway.toml");
            }
        }
    }

    #[test]
    fn has_commented_keys_that_work_when_uncommented() {
        let all = REFERENCE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.starts_with('[') || key.split(' ').nth(1) == Some("=") => key,
                _ => line,
            })
            .filter(|line| !line.starts_with("password_file"))
            .collect::<Vec<_>>()
            .join("\n")
            .replace("mqtt://localhost:1883", "mqtts://localhost:8883");
        let config = parse(&all).unwrap();
        let [serial] = config.serial.as_slice() else { panic!("one serial port") };
        let assumed = parse("[[serial]]\nport = \"/dev/ttyUSB0\"\n").unwrap();
        let serial = Serial { assumed: vec!["baud", "framing"], ..serial.clone() };
        let serial = Serial { settings: SerialSettings { receive_gap: None, ..serial.settings }, ..serial };
        assert_eq!(serial, assumed.serial[0]);
        assert_eq!(config.predefined.len(), 1);
        let assumed = parse("[[queue]]\nfilter = \"cmd/#\"\n").unwrap();
        assert_eq!(config.queue, assumed.queue);
    }
}
