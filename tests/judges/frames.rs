//! A good spread of everything we can write.

use mqttsn_gateway::wire::*;

/// A message as we wrote it.
pub(crate) struct Frame {
    pub(crate) message: Message<'static>,
    /// The node of the forwarder encapsulation; empty around a bare message.
    pub(crate) node_id: &'static [u8],
    pub(crate) radius: u8,
    pub(crate) octets: Vec<u8>,
}

impl Frame {
    fn bare(message: Message<'static>) -> Self {
        let mut octets = Vec::new();
        message.encode(&mut octets).unwrap();
        Self { message, node_id: &[], radius: 0, octets }
    }

    fn encapsulated(message: Message<'static>, node_id: &'static [u8], radius: u8) -> Self {
        let mut octets = Vec::new();
        Envelope::wrap(node_id, radius, &mut octets).unwrap();
        message.encode(&mut octets).unwrap();
        Self { message, node_id, radius, octets }
    }

    pub(crate) fn is_empty_will_topic(&self) -> bool {
        matches!(
            self.message,
            Message::WillTopic(WillTopic { will: None }) | Message::WillTopicUpd(WillTopicUpd { will: None })
        )
    }
}

/// Every message bare and through forwarders.
pub(crate) fn all() -> Vec<Frame> {
    const NODE_IDS: [&[u8]; 5] =
        [b"\x07", b"\x1A\x2B", b"\x0A\x00\x00\x01", b"\x00\x12\x4B\0\x01\x02\xAA\xBB", &[0x5A; 252]];
    let nodes = || NODE_IDS.into_iter().cycle().zip([0, 1, 2, 3].into_iter().cycle());
    let encapsulated = messages()
        .into_iter()
        .zip(nodes())
        .map(|(message, (node_id, radius))| Frame::encapsulated(message, node_id, radius));
    messages().into_iter().map(Frame::bare).chain(encapsulated).collect()
}

fn messages() -> Vec<Message<'static>> {
    [discovery(), connection(), wills(), registration(), publishing(), subscription(), keeping_alive()].concat()
}

const QOS: [QosField; 3] =
    [QosField::Level(Qos::AtMostOnce), QosField::Level(Qos::AtLeastOnce), QosField::Level(Qos::ExactlyOnce)];
const RETURN_CODES: [ReturnCode; 4] =
    [ReturnCode::Accepted, ReturnCode::Congestion, ReturnCode::InvalidTopicId, ReturnCode::NotSupported];
const TEXT: &[u8] = &[b't'; 65_000];

fn discovery() -> Vec<Message<'static>> {
    vec![
        Advertise { gw_id: GwId(1), duration: 900 }.into(),
        Advertise { gw_id: GwId(255), duration: 65_535 }.into(),
        SearchGw { radius: 0 }.into(),
        SearchGw { radius: 255 }.into(),
        GwInfo { gw_id: GwId(1), gw_add: b"" }.into(),
        GwInfo { gw_id: GwId(7), gw_add: b"\x06\xC0\xA8\x01\x01\x27\x10" }.into(),
    ]
}

fn connection() -> Vec<Message<'static>> {
    let mut messages = Vec::new();
    for (will, clean_session) in [(false, false), (false, true), (true, false), (true, true)] {
        for client_id in [&b"uno1"[..], "capteur-é".as_bytes(), &TEXT[..23], &TEXT[..300]] {
            messages.push(Connect { will, clean_session, protocol_id: 1, duration: 60, client_id }.into());
        }
    }
    for return_code in RETURN_CODES {
        messages.push(ConnAck { return_code }.into());
    }
    messages.push(Disconnect { duration: None }.into());
    messages.push(Disconnect { duration: Some(300) }.into());
    messages
}

fn wills() -> Vec<Message<'static>> {
    let mut messages = vec![
        WillTopicReq.into(),
        WillMsgReq.into(),
        WillTopic { will: None }.into(),
        WillTopicUpd { will: None }.into(),
    ];
    for qos in QOS {
        for (retain, topic) in [(false, &b"will/t"[..]), (true, &TEXT[..400])] {
            let will = Some(WillTopicFields { qos, retain, topic });
            messages.push(WillTopic { will }.into());
            messages.push(WillTopicUpd { will }.into());
        }
    }
    for message in [&b"offline"[..], b"", b"\x00\xFF\x10", &TEXT[..1000]] {
        messages.push(WillMsg { message }.into());
        messages.push(WillMsgUpd { message }.into());
    }
    for return_code in RETURN_CODES {
        messages.push(WillTopicResp { return_code }.into());
        messages.push(WillMsgResp { return_code }.into());
    }
    messages
}

fn registration() -> Vec<Message<'static>> {
    let mut messages = Vec::new();
    for topic_name in [&b"t"[..], "maison/température".as_bytes(), &TEXT[..249], &TEXT[..250]] {
        messages.push(Register { topic_id: TopicId(258), msg_id: MsgId(2571), topic_name }.into());
    }
    for return_code in RETURN_CODES {
        messages.push(RegAck { topic_id: TopicId(0xFFFE), msg_id: MsgId(1), return_code }.into());
    }
    messages
}

fn publishing() -> Vec<Message<'static>> {
    let mut messages = Vec::new();
    let publish =
        |dup, qos, retain, topic, data| Publish { dup, qos, retain, topic, msg_id: MsgId(0x0102), data }.into();
    for topic in [TopicRef::Normal(TopicId(1)), TopicRef::Predefined(TopicId(0xFFFE)), TopicRef::Short(*b"ab")] {
        for qos in QOS {
            for (dup, retain) in [(false, false), (false, true), (true, false), (true, true)] {
                messages.push(publish(dup, qos, retain, topic, b"23.5"));
            }
        }
    }
    for topic in [TopicRef::Predefined(TopicId(10)), TopicRef::Short(*b"T1")] {
        messages.push(publish(false, QosField::MinusOne, true, topic, b"on"));
    }
    // Around the change from the short header to the long one, and the longest that a datagram on IPv4 holds.
    for octets in (246..=251).chain([0, 1, 1015, 64_999]) {
        messages.push(publish(false, QOS[1], false, TopicRef::Normal(TopicId(1)), &TEXT[..octets]));
    }
    messages.push(publish(false, QOS[0], false, TopicRef::Normal(TopicId(1)), b"\x00\xFF\x01\x80"));
    for return_code in RETURN_CODES {
        messages.push(PubAck { topic_id: TopicId(99), msg_id: MsgId(7), return_code }.into());
    }
    for msg_id in [MsgId(1), MsgId(0xABCD), MsgId(0xFFFF)] {
        messages.push(PubRec { msg_id }.into());
        messages.push(PubRel { msg_id }.into());
        messages.push(PubComp { msg_id }.into());
    }
    messages
}

fn subscription() -> Vec<Message<'static>> {
    let mut messages = Vec::new();
    for topic in [
        FilterRef::Name(b"a/+/c"),
        FilterRef::Name(b"#"),
        FilterRef::Name(b"ab"),
        FilterRef::Name("é/#".as_bytes()),
        FilterRef::Name(&TEXT[..293]),
        FilterRef::Predefined(TopicId(10)),
        FilterRef::Short(*b"ab"),
    ] {
        for qos in QOS {
            for dup in [false, true] {
                messages.push(Subscribe { dup, qos, msg_id: MsgId(0x0B0C), topic }.into());
            }
        }
        messages.push(Unsubscribe { msg_id: MsgId(30), topic }.into());
    }
    for return_code in RETURN_CODES {
        for qos in QOS {
            messages.push(SubAck { qos, topic_id: TopicId(0x0102), msg_id: MsgId(11), return_code }.into());
        }
    }
    messages.push(UnsubAck { msg_id: MsgId(30) }.into());
    messages
}

fn keeping_alive() -> Vec<Message<'static>> {
    vec![
        PingReq { client_id: b"" }.into(),
        PingReq { client_id: b"sensor-01" }.into(),
        PingReq { client_id: &TEXT[..300] }.into(),
        PingResp.into(),
    ]
}
