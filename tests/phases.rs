//! The legal transitions, as a table: in each phase every kind of input, where it leads, and what the gateway says.
//!
//! The table is a snapshot: it is not a specification, but nobody changes it without a reviewer seeing it.
#![expect(clippy::unwrap_used, reason = "a test program: failing loudly is its purpose")]

use std::time::Duration;

use mqttsn_gateway::core::topics::TopicName;
use mqttsn_gateway::core::{
    BrokerCommand, BrokerEvent, BrokerOffer, Cast, ConnId, Gateway, Input, Instant, LinkAddress, LinkId, LinkState,
    Message, Mode, Output, Outputs, Peer, PublishOutcome, Settings, SubscribeOutcome, SubscriptionId,
};
use mqttsn_gateway::wire::{self, Message as Frame, MsgType, Qos};

/// The link that the client is on.
const LINK: LinkId = LinkId(0);

/// Each phase, and the inputs that lead there from nothing.
const PHASES: [(&str, &[&str]); 11] = [
    ("none", &[]),
    ("handshake, will topic asked for", &["CONNECT will"]),
    ("handshake, will message asked for", &["CONNECT will", "WILLTOPIC"]),
    ("active", &["CONNECT", "broker up", "SUBSCRIBE", "broker granted"]),
    ("active, message in flight", &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "broker message"]),
    ("asleep", &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "DISCONNECT 60 s"]),
    (
        "asleep, message waiting",
        &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "DISCONNECT 60 s", "broker message"],
    ),
    (
        "awake",
        &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "DISCONNECT 60 s", "broker message", "PINGREQ id"],
    ),
    ("active, link down", &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "link down"]),
    (
        "active, message in flight, link down",
        &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "broker message", "link down"],
    ),
    ("away", &["CONNECT", "broker up", "SUBSCRIBE", "broker granted", "DISCONNECT"]),
];

/// Every kind of input: its name, and the frame in hex if it is one.
const INPUTS: [(&str, &str); 42] = [
    ("ADVERTISE", "0500010384"),
    ("SEARCHGW", "030100"),
    ("GWINFO", "030202"),
    ("CONNECT", "0704000100 3c63"),
    ("CONNECT clean", "0704040100 3c63"),
    ("CONNECT will", "0704080100 3c63"),
    ("CONNACK", "030500"),
    ("WILLTOPICREQ", "0206"),
    ("WILLTOPIC", "0407 2077"),
    ("WILLTOPIC empty", "0207"),
    ("WILLMSGREQ", "0208"),
    ("WILLMSG", "0309 78"),
    ("REGISTER", "090a0000 0007 612f62"),
    ("REGACK", "070b0001000100"),
    ("PUBLISH -1", "080c62 7878 0000 31"),
    ("PUBLISH 0", "080c02 7878 0000 31"),
    ("PUBLISH 1", "080c22 7878 0007 31"),
    ("PUBLISH 2", "080c42 7878 0007 31"),
    ("PUBACK", "070d7878000100"),
    ("PUBACK congestion", "070d7878000101"),
    ("PUBREC", "040f0001"),
    ("PUBREL", "04100007"),
    ("PUBCOMP", "040e0001"),
    ("SUBSCRIBE", "071222 0009 7878"),
    ("SUBACK", "08132000010009 00"),
    ("UNSUBSCRIBE", "071402 0008 7878"),
    ("UNSUBACK", "04150008"),
    ("PINGREQ", "0216"),
    ("PINGREQ id", "0316 63"),
    ("PINGRESP", "0217"),
    ("DISCONNECT", "0218"),
    ("DISCONNECT 60 s", "0418003c"),
    ("WILLTOPICUPD", "041a 2077"),
    ("WILLMSGUPD", "031c 78"),
    ("WILLTOPICRESP", "031b00"),
    ("WILLMSGRESP", "031d00"),
    ("broker message", ""),
    ("broker down", ""),
    ("link down", ""),
    ("link up", ""),
    ("silence until the next deadline", ""),
    ("silence for 10 minutes", ""),
];

#[test]
fn aggregating() {
    insta::assert_snapshot!(table(Mode::Aggregating));
}

#[test]
fn transparent() {
    insta::assert_snapshot!(table(Mode::Transparent));
}

#[test]
fn every_message_type_is_in_the_table() {
    for msg_type in MsgType::ALL {
        let is_it = |(_, hex): &(&str, &str)| hex.get(2..4) == Some(&format!("{:02x}", msg_type.code()));
        assert!(INPUTS.iter().any(is_it), "{msg_type}");
    }
}

fn table(mode: Mode) -> String {
    let mut table = String::new();
    for (phase, way) in PHASES {
        table += &format!("{phase}\n");
        for (input, _) in INPUTS {
            let mut rig = Rig::new(mode);
            way.iter().for_each(|input| rig.input(input));
            rig.said.clear();
            rig.input(input);
            table += format!("  {input:32} {:9} {}\n", rig.phase(), rig.said.join(", ")).trim_end();
            table += "\n";
        }
    }
    table
}

/// A gateway, one client `c`, and the broker.
struct Rig {
    gateway: Gateway,
    now: Instant,
    out: Outputs,
    /// The client's own connection, or the one of all.
    conn: ConnId,
    asked: Option<BrokerCommand>,
    said: Vec<String>,
}

impl Rig {
    fn new(mode: Mode) -> Self {
        let mut rig = Self {
            gateway: Gateway::new(Settings { mode, ..Settings::default() }),
            now: Instant::from_origin(Duration::from_secs(10)),
            out: Outputs::default(),
            conn: ConnId::OWN,
            asked: None,
            said: Vec::new(),
        };
        rig.up(ConnId::OWN);
        rig
    }

    fn phase(&self) -> String {
        self.gateway.clients().next().map_or_else(|| "none".to_owned(), |client| client.phase.to_string())
    }

    fn input(&mut self, input: &str) {
        let frame = INPUTS.iter().find(|(name, _)| *name == input).map_or("", |(_, hex)| hex);
        match input {
            "broker up" if self.conn != ConnId::OWN => self.up(self.conn),
            "broker up" => {}
            "broker granted" => {
                let Some(BrokerCommand::Subscribe { token, qos, .. }) = self.asked else { panic!("nothing asked") };
                self.broker(BrokerEvent::Subscribed { token, outcome: SubscribeOutcome::Granted(qos) });
            }
            "broker message" => self.broker(BrokerEvent::Message {
                delivery: Some(mqttsn_gateway::core::Delivery(1)),
                origin: None,
                message: Message {
                    topic: TopicName::parse(b"xx").unwrap(),
                    payload: "1".into(),
                    qos: Qos::AtLeastOnce,
                    retain: false,
                },
                subscriptions: vec![SubscriptionId(1)],
            }),
            "broker down" => self.broker(BrokerEvent::Down { reason: "gone".to_owned(), refusal: None }),
            "link down" => self.handle(Input::Link { link: LINK, state: LinkState::Down }),
            "link up" => self.handle(Input::Link { link: LINK, state: LinkState::Up }),
            "silence until the next deadline" => {
                let Some(deadline) = self.gateway.next_deadline() else { return };
                self.now = deadline;
                self.handle(Input::Deadline);
            }
            "silence for 10 minutes" => {
                let until = self.now + Duration::from_secs(600);
                while let Some(deadline) = self.gateway.next_deadline().filter(|deadline| *deadline <= until) {
                    self.now = deadline;
                    self.handle(Input::Deadline);
                }
            }
            _ => {
                let octets = hex(frame);
                let from = Peer { link: LINK, address: LinkAddress::new(b"c").unwrap() };
                self.handle(Input::Frame { from, cast: Cast::Unicast, bytes: &octets });
            }
        }
    }

    fn up(&mut self, conn: ConnId) {
        let max_qos = Qos::ExactlyOnce;
        let offer = BrokerOffer { max_qos, retain: true, subscription_ids: true, max_packet: None };
        let event = BrokerEvent::Up { session_present: false, offer };
        self.handle(Input::Broker { conn, event });
    }

    fn broker(&mut self, event: BrokerEvent) {
        self.handle(Input::Broker { conn: self.conn, event });
    }

    fn handle(&mut self, input: Input<'_>) {
        let mut published = Vec::new();
        self.gateway.handle(self.now, input, &mut self.out);
        let (outputs, frames) = self.out.drain();
        for output in outputs {
            let said = match output {
                Output::Send { frame, .. } => name(frames.octets(&frame)),
                Output::Broadcast { frame, .. } => format!("to all: {}", name(frames.octets(&frame))),
                Output::Connect { conn, .. } => {
                    self.conn = conn;
                    "broker: connect".to_owned()
                }
                Output::Broker { conn, command } => {
                    let said = command_name(&command).to_owned();
                    match command {
                        BrokerCommand::Publish { token: Some(token), .. } => published.push((conn, token)),
                        BrokerCommand::Subscribe { .. } => self.asked = Some(command),
                        BrokerCommand::Publish { token: None, .. }
                        | BrokerCommand::Unsubscribe { .. }
                        | BrokerCommand::Ack { .. }
                        | BrokerCommand::Disconnect => {}
                    }
                    said
                }
                Output::Notice(_) | Output::Persist { .. } => continue,
            };
            self.said.push(said);
        }
        self.out.clear();
        for (conn, token) in published {
            let event = BrokerEvent::Published { token, outcome: PublishOutcome::Accepted };
            self.handle(Input::Broker { conn, event });
        }
    }
}

fn name(frame: &[u8]) -> String {
    let message = Frame::decode(frame).unwrap();
    let return_code = match message {
        Frame::ConnAck(wire::ConnAck { return_code })
        | Frame::PubAck(wire::PubAck { return_code, .. })
        | Frame::SubAck(wire::SubAck { return_code, .. })
        | Frame::RegAck(wire::RegAck { return_code, .. })
        | Frame::WillMsgResp(wire::WillMsgResp { return_code })
        | Frame::WillTopicResp(wire::WillTopicResp { return_code }) => format!(" {}", u8::from(return_code)),
        _ => String::new(),
    };
    format!("{}{return_code}", message.msg_type())
}

fn command_name(command: &BrokerCommand) -> &'static str {
    match command {
        BrokerCommand::Publish { .. } => "broker: publish",
        BrokerCommand::Subscribe { .. } => "broker: subscribe",
        BrokerCommand::Unsubscribe { .. } => "broker: unsubscribe",
        BrokerCommand::Ack { .. } => "broker: acknowledge",
        BrokerCommand::Disconnect => "broker: disconnect",
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
