use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use serialport::SerialPort;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_serial::SerialStream;

use super::*;
use crate::core::{Cast, Peer};
use crate::links::{LinkConfig, Links, Undelivered};
use crate::wire::framing::{Found, Framing, NoiseReason, Refusal, Signal};

const LINK: LinkId = LinkId(5);
const PEER: Peer = Peer { link: LINK, address: LinkAddress::NONE };

/// A pseudo-terminal: the node's end, and the path of the gateway's.
struct Terminal {
    node: SerialStream,
    path: String,
    /// Keeps the terminal alive while the gateway has it not open.
    _gateway: SerialStream,
}

impl Terminal {
    fn new() -> Self {
        let (node, gateway) = SerialStream::pair().unwrap();
        Self { node, path: gateway.name().unwrap(), _gateway: gateway }
    }

    /// Reads what the gateway has sent, until there are `count` octets.
    async fn read(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        timeout(LIMIT, self.node.read_exact(&mut octets)).await.expect("octets within 10 s").unwrap();
        octets
    }

    /// Reads what the gateway has sent, until there is a frame.
    async fn read_frame(&mut self, node: &mut Codec) -> Vec<u8> {
        let (mut frame, mut answer) = (Vec::new(), Vec::new());
        while frame.is_empty() {
            let octet = self.read(1).await;
            node.feed(&octet, |found| match found {
                Found::Frame(received) => frame.extend_from_slice(received.frame),
                Found::Answer(octets) => answer.extend_from_slice(octets),
                Found::Text(_) | Found::Noise(_) | Found::Receipt(_) => panic!("{found:?}"),
            });
        }
        self.write(&answer).await;
        frame
    }

    /// Whether the gateway has sent nothing that was not read yet.
    fn is_silent(&self) -> bool {
        self.node.bytes_to_read().unwrap() == 0
    }

    async fn write(&mut self, octets: &[u8]) {
        self.node.write_all(octets).await.unwrap();
    }
}

const LIMIT: Duration = Duration::from_secs(10);

/// Settings without the waiting that boards need.
fn settings(port: &str) -> SerialSettings {
    SerialSettings {
        baud: 115_200,
        max_frame: 300,
        gap: Duration::ZERO,
        settle: Duration::ZERO,
        reopen_after: Duration::from_millis(5),
        reopen_at_most: Duration::from_millis(20),
        ..SerialSettings::new(port)
    }
}

fn open(settings: SerialSettings) -> (Links, mpsc::Receiver<LinkEvent>) {
    let (events, inbox) = mpsc::channel(16);
    (Links::open(&[(LINK, LinkConfig::Serial(settings))], Direction::Uplink, &events).unwrap(), inbox)
}

async fn next(inbox: &mut mpsc::Receiver<LinkEvent>) -> LinkEvent {
    timeout(LIMIT, inbox.recv()).await.expect("an event within 10 s").expect("a live link")
}

async fn until_up(inbox: &mut mpsc::Receiver<LinkEvent>) {
    while !matches!(next(inbox).await, LinkEvent::Up { link: LINK, .. }) {}
}

/// Takes events up to the next frame, which is alone.
async fn next_frame(inbox: &mut mpsc::Receiver<LinkEvent>) -> (Peer, Vec<u8>) {
    loop {
        if let LinkEvent::Frames(batch) = next(inbox).await {
            assert_eq!(batch.len(), 1);
            return batch.iter().map(|frame| (frame.from, frame.bytes.to_vec())).next().unwrap();
        }
    }
}

/// Takes events up to the next batch, and the frames in it.
async fn frames(inbox: &mut mpsc::Receiver<LinkEvent>) -> Vec<Vec<u8>> {
    loop {
        if let LinkEvent::Frames(batch) = next(inbox).await {
            assert!(batch.iter().all(|frame| frame.from == PEER && frame.cast == Cast::Unicast));
            return batch.iter().map(|frame| frame.bytes.to_vec()).collect();
        }
    }
}

/// A PUBLISH that carries every octet there is, in the long form.
fn every_octet() -> Vec<u8> {
    let mut frame = vec![1, 1, 9, 0x0C, 0, 0, 1, 0, 0];
    frame.extend(0..=255);
    frame
}

#[tokio::test]
async fn every_octet_survives_both_ways_in_every_framing() {
    for framing in Framing::ALL {
        let mut terminal = Terminal::new();
        let (mut links, mut inbox) = open(SerialSettings { framing, ..settings(&terminal.path) });
        until_up(&mut inbox).await;
        let mut node = Codec::new(framing, Direction::Downlink, 300);
        let sole = Destination::Node(framing.sole_node());
        let mut wire = Vec::new();
        node.encode(sole, &every_octet(), &mut wire).unwrap();

        terminal.write(&wire).await;
        let (from, frame) = next_frame(&mut inbox).await;
        assert_eq!(frame, every_octet(), "{framing}");

        links.send(from, &every_octet()).unwrap();
        assert_eq!(terminal.read_frame(&mut node).await, every_octet(), "{framing}");
        links.broadcast(LINK, 0, &[2, 0x17]).unwrap();
        assert_eq!(terminal.read_frame(&mut node).await, [2, 0x17], "{framing}");
    }
}

#[tokio::test]
async fn a_frame_from_a_radio_has_its_node_and_the_strength_of_its_signal() {
    let mut terminal = Terminal::new();
    let (mut links, mut inbox) = open(SerialSettings { framing: Framing::Aquila, ..settings(&terminal.path) });
    until_up(&mut inbox).await;
    terminal.write(SEARCH_GW_OVER_AQUILA).await;
    let LinkEvent::Frames(batch) = next(&mut inbox).await else { panic!("a frame comes first") };
    let frame = batch.iter().next().unwrap();
    assert_eq!(frame.signal, Some(Signal { rssi_dbm: -66, lqi: Some(0xBE) }));
    assert_eq!(links.describe_peer(frame.from), format!("serial {} node 0003", terminal.path));
    assert_eq!(links.send(PEER, &[2, 0x17]), Err(SendError::WrongAddress));
}

/// From node 3, as the firmware of the dongle sent it.
const SEARCH_GW_OVER_AQUILA: &[u8] =
    &[0xC0, 0xBE, 0xBE, 0x08, 0xFE, 0x01, 0x03, 0x00, 0x03, 0x01, 0x00, 0x45, 0x8A, 0xC0];
const AQUILA_ACK: &[u8] = &[0xC0, 0x00, 0x00, 0x02, 0x01, 0x43, 0x76, 0xC0];
const AQUILA_NACK: &[u8] = &[0xC0, 0x00, 0x00, 0x02, 0x00, 0x62, 0x66, 0xC0];

#[tokio::test]
async fn a_dongle_with_receipts_gets_a_frame_when_it_has_dealt_with_the_one_before() {
    let mut terminal = Terminal::new();
    let (mut links, mut inbox) = open(SerialSettings { framing: Framing::Aquila, ..settings(&terminal.path) });
    until_up(&mut inbox).await;
    terminal.write(SEARCH_GW_OVER_AQUILA).await;
    let (from, _) = next_frame(&mut inbox).await;
    links.send(from, &[2, 0x17]).unwrap();
    links.send(from, &[3, 2, 1]).unwrap();
    // C0 05 FE 01 03 00 02 17, the checksum, C0.
    assert_eq!(terminal.read(11).await[6..8], [2, 0x17]);
    // The frames of the node come in meanwhile.
    terminal.write(SEARCH_GW_OVER_AQUILA).await;
    next_frame(&mut inbox).await;
    assert!(terminal.is_silent());
    terminal.write(AQUILA_NACK).await;
    let event = next(&mut inbox).await;
    let reason = Undelivered::Refused(Refusal::Nack);
    assert!(matches!(event, LinkEvent::Undelivered { frames: 1, reason: r, .. } if r == reason), "{event:?}");
    assert_eq!(terminal.read(12).await[6..9], [3, 2, 1]);
    terminal.write(AQUILA_ACK).await;
    links.send(from, &[2, 0x17]).unwrap();
    terminal.read(11).await;
}

#[tokio::test(start_paused = true)]
async fn a_dongle_that_sends_no_receipt_is_waited_for_in_vain_and_told_of() {
    let mut terminal = Terminal::new();
    let (mut links, mut inbox) = open(SerialSettings { framing: Framing::Aquila, ..settings(&terminal.path) });
    until_up(&mut inbox).await;
    let peer = Peer { address: sole_node(Framing::Aquila), ..PEER };
    links.send(peer, &[2, 0x17]).unwrap();
    links.send(peer, &[3, 2, 1]).unwrap();
    let event = next(&mut inbox).await;
    let reason = Undelivered::Unconfirmed;
    assert!(matches!(event, LinkEvent::Undelivered { frames: 1, reason: r, .. } if r == reason), "{event:?}");
    tokio::time::resume();
    terminal.read(11 + 12).await;
}

#[tokio::test]
async fn the_end_of_a_client_confirms_what_a_dongle_would() {
    let mut terminal = Terminal::new();
    let (events, mut inbox) = mpsc::channel(16);
    let settings = SerialSettings { framing: Framing::Aquila, ..settings(&terminal.path) };
    let _links = Links::open(&[(LINK, LinkConfig::Serial(settings))], Direction::Downlink, &events).unwrap();
    until_up(&mut inbox).await;
    terminal.write(&[0xC0, 0x05, 0xFE, 0x01, 0x03, 0x00, 0x03, 0x05, 0x00, 0x79, 0x58, 0xC0]).await;
    assert_eq!(next_frame(&mut inbox).await.1, [3, 5, 0]);
    assert_eq!(terminal.read(8).await, AQUILA_ACK);
}

#[tokio::test]
async fn a_port_that_was_unplugged_is_served_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let stable = folder.path().join("dongle");
    let plug = |terminal: &Terminal| symlink(Path::new(&terminal.path), &stable).unwrap();

    let terminal = Terminal::new();
    plug(&terminal);
    let (mut links, mut inbox) = open(settings(stable.to_str().unwrap()));
    until_up(&mut inbox).await;

    // In this order: another test may get the same terminal next.
    fs::remove_file(&stable).unwrap();
    drop(terminal);
    let lost = next(&mut inbox).await;
    assert!(matches!(&lost, LinkEvent::Down { link: LINK, reason: DownReason::Lost(_), .. }), "{lost:?}");
    let absent = next(&mut inbox).await;
    let LinkEvent::Down { reason: DownReason::CannotOpen(PortError::NotFound { .. }), .. } = absent else {
        panic!("{absent:?}");
    };
    assert_eq!(links.send(PEER, &[2, 0x17]), Err(SendError::Down));

    let mut terminal = Terminal::new();
    plug(&terminal);
    until_up(&mut inbox).await;
    terminal.write(&[2, 0x16]).await;
    assert_eq!(frames(&mut inbox).await, [[2, 0x16]]);
    links.send(PEER, &[2, 0x17]).unwrap();
    assert_eq!(terminal.read(2).await, [2, 0x17]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_adapter_is_found_again_under_another_number() {
    use super::machine::{CP2102, Machine};

    for name in ["usb:10c4:ea60:0001", "dev/ttyUSB0"] {
        let machine = Machine::new();
        let terminal = Terminal::new();
        machine.plug("ttyUSB0", Path::new(&terminal.path), &CP2102);
        let port = match name.strip_prefix("dev/") {
            Some(_) => PortName::Device(machine.path(name).display().to_string()),
            None => name.parse().unwrap(),
        };
        let (mut links, mut inbox) = open(SerialSettings { port, inventory: machine.inventory(), ..settings("") });
        until_up(&mut inbox).await;

        machine.pull("ttyUSB0", &CP2102);
        drop(terminal);
        while !matches!(next(&mut inbox).await, LinkEvent::Down { reason: DownReason::CannotOpen(_), .. }) {}
        let mut terminal = Terminal::new();
        machine.plug("ttyUSB7", Path::new(&terminal.path), &CP2102);
        let up = loop {
            match next(&mut inbox).await {
                LinkEvent::Up { port, .. } => break port.expect("a port of this machine"),
                LinkEvent::Down { .. } => {}
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(up.device, machine.path("dev/ttyUSB7"));
        terminal.write(&[2, 0x16]).await;
        assert_eq!(frames(&mut inbox).await, [[2, 0x16]]);
        links.send(PEER, &[2, 0x17]).unwrap();
        assert_eq!(terminal.read(2).await, [2, 0x17]);
    }
}

#[tokio::test]
async fn a_serial_server_is_served_lost_and_served_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let port: PortName = format!("tcp://{address}").parse().unwrap();
    let (mut links, mut inbox) = open(SerialSettings { port: port.clone(), ..settings("") });
    let (mut server, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    until_up(&mut inbox).await;
    server.write_all(&[2, 0x16]).await.unwrap();
    assert_eq!(frames(&mut inbox).await, [[2, 0x16]]);
    links.send(PEER, &[2, 0x17]).unwrap();
    let mut octets = [0; 2];
    server.read_exact(&mut octets).await.unwrap();
    assert_eq!(octets, [2, 0x17]);

    drop((server, listener));
    let lost = next(&mut inbox).await;
    let LinkEvent::Down { reason: DownReason::Lost(reason), .. } = &lost else { panic!("{lost:?}") };
    assert_eq!(reason, "the serial server has closed the connection");
    let refused = next(&mut inbox).await;
    let LinkEvent::Down { reason: DownReason::CannotOpen(error), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(error, PortError::ServerRefuses { port: port.to_string() });

    let listener = TcpListener::bind(address).await.unwrap();
    timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    until_up(&mut inbox).await;
}

#[tokio::test]
async fn a_serial_server_can_be_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = SerialSettings::of(format!("tcp://{address}").parse().unwrap());
    assert_eq!(try_open(&server), Ok(()));
    drop(listener);
    assert_eq!(try_open(&server), Err(PortError::ServerRefuses { port: format!("tcp://{address}") }));
}

#[tokio::test]
async fn a_port_in_use_is_told_from_one_that_is_not_there() {
    let terminal = Terminal::new();
    let user = serialport::new(&terminal.path, 9_600).open().unwrap();
    let error = try_open(&settings(&terminal.path)).unwrap_err();
    let PortError::Busy { holders, .. } = &error else { panic!("{error:?}") };
    assert!(holders.iter().any(|holder| holder.process == std::process::id()), "{error}");

    let (_links, mut inbox) = open(settings(&terminal.path));
    let down = next(&mut inbox).await;
    assert!(matches!(down, LinkEvent::Down { reason: DownReason::CannotOpen(PortError::Busy { .. }), .. }), "{down:?}");
    drop(user);
    until_up(&mut inbox).await;
}

#[test]
fn what_is_no_serial_port_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = try_open(&settings(file.path().to_str().unwrap())).unwrap_err();
    assert!(matches!(error, PortError::NotSerial { .. }), "{error:?}");
    let error = try_open(&settings("/dev/no-such-port")).unwrap_err();
    assert!(matches!(error, PortError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_free_port_can_be_tried_and_opened_after() {
    let terminal = Terminal::new();
    try_open(&settings(&terminal.path)).unwrap();
    let (_links, mut inbox) = open(settings(&terminal.path));
    until_up(&mut inbox).await;
}

#[tokio::test]
async fn closing_the_port_will_not_reset_the_board() {
    let terminal = Terminal::new();
    // Opened before the gateway takes the port for itself.
    let witness: File = OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(&terminal.path).unwrap();
    let hangs_up = || {
        let modes = rustix::termios::tcgetattr(&witness).unwrap().control_modes;
        modes.contains(rustix::termios::ControlModes::HUPCL)
    };
    let mut before = rustix::termios::tcgetattr(&witness).unwrap();
    before.control_modes.insert(rustix::termios::ControlModes::HUPCL);
    rustix::termios::tcsetattr(&witness, rustix::termios::OptionalActions::Now, &before).unwrap();
    assert!(hangs_up());
    let (_links, mut inbox) = open(settings(&terminal.path));
    until_up(&mut inbox).await;
    assert!(!hangs_up());
}

#[tokio::test]
async fn the_line_is_driven_as_configured() {
    use rustix::termios::ControlModes;

    let terminal = Terminal::new();
    let witness: File = OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(&terminal.path).unwrap();
    let (_links, mut inbox) = open(SerialSettings {
        format: "8N2".parse().unwrap(),
        flow_control: FlowControl::RtsCts,
        dtr: ControlLine::Released,
        ..settings(&terminal.path)
    });
    until_up(&mut inbox).await;
    let modes = rustix::termios::tcgetattr(&witness).unwrap().control_modes;
    assert!(modes.contains(ControlModes::CSTOPB | ControlModes::CRTSCTS), "{modes:?}");
    assert!(!modes.contains(ControlModes::PARENB), "{modes:?}");
}

#[tokio::test]
async fn what_the_queue_cannot_hold_is_refused() {
    let terminal = Terminal::new();
    let (mut links, mut inbox) = open(SerialSettings { settle: LIMIT, max_frame: 1_000, ..settings(&terminal.path) });
    assert_eq!(links.send(PEER, &[2, 0x17]), Err(SendError::Down));
    until_up(&mut inbox).await;
    assert_eq!(links.send(PEER, &[0; 1_001]), Err(SendError::TooLong { octets: 1_001, max: 1_000 }));
    // The port has to settle, so nothing leaves the queue.
    for _ in 0..16_384 / 1_000 {
        links.send(PEER, &[0; 1_000]).unwrap();
    }
    assert_eq!(links.send(PEER, &[0; 1_000]), Err(SendError::Full));
    while links.send(PEER, &[2, 0x17]).is_ok() {}
    assert_eq!(links.send(PEER, &[2, 0x17]), Err(SendError::Full));
}

#[tokio::test]
async fn a_board_that_is_heard_has_settled() {
    let mut terminal = Terminal::new();
    let (mut links, mut inbox) =
        open(SerialSettings { settle: Duration::from_secs(3_600), ..settings(&terminal.path) });
    until_up(&mut inbox).await;
    terminal.write(&[3, 1, 0]).await;
    assert_eq!(frames(&mut inbox).await, [[3, 1, 0]]);
    links.send(PEER, &[3, 2, 1]).unwrap();
    assert_eq!(terminal.read(3).await, [3, 2, 1]);
}

#[tokio::test]
async fn a_board_has_to_settle_every_time_its_port_is_opened() {
    let (mut first, mut second) = (Terminal::new(), Terminal::new());
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tty");
    symlink(&first.path, &path).unwrap();
    let settle = Duration::from_secs(3_600);
    let (mut links, mut inbox) = open(SerialSettings { settle, ..settings(path.to_str().unwrap()) });
    until_up(&mut inbox).await;
    for frame in [[3, 1, 0], [3, 1, 1]] {
        first.write(&frame).await;
        assert_eq!(frames(&mut inbox).await, [frame]);
    }

    fs::remove_file(&path).unwrap();
    symlink(&second.path, &path).unwrap();
    drop(first);
    until_up(&mut inbox).await;
    links.send(PEER, &[3, 2, 1]).unwrap();
    for line in ["ets Jul 29 2019", "rst:0x1 (POWERON_RESET)", "entry 0x400805e4"] {
        second.write(format!("{line}\r\n").as_bytes()).await;
        while !matches!(next(&mut inbox).await, LinkEvent::Text { line: said, .. } if said == line) {}
    }
    assert!(second.is_silent());
    second.write(&[3, 1, 0]).await;
    assert_eq!(second.read(3).await, [3, 2, 1]);
}

#[tokio::test]
async fn the_line_is_silent_after_each_frame_sent() {
    let gap = Duration::from_millis(40);
    let mut terminal = Terminal::new();
    let (mut links, mut inbox) = open(SerialSettings { gap, ..settings(&terminal.path) });
    until_up(&mut inbox).await;
    let start = Instant::now();
    for _ in 0..4 {
        links.send(PEER, &[2, 0x17]).unwrap();
    }
    terminal.read(8).await;
    assert!(start.elapsed() >= 3 * gap, "{:?}", start.elapsed());
}

#[tokio::test]
async fn text_and_noise_are_told_apart_from_frames() {
    let mut terminal = Terminal::new();
    let (_links, mut inbox) = open(settings(&terminal.path));
    until_up(&mut inbox).await;
    terminal.write(b"boot ok\r\n\xFF\xFF\xFF\x02\x16").await;
    let (mut seen_frame, mut seen_text, mut noise_octets) = (false, false, 0);
    while !(seen_frame && seen_text && noise_octets == 3) {
        match next(&mut inbox).await {
            LinkEvent::Frames(batch) => seen_frame = batch.iter().map(|frame| frame.bytes).eq([[2, 0x16]]),
            LinkEvent::Text { line, .. } => seen_text = line == "boot ok",
            LinkEvent::Noise { octets, first, .. } => {
                assert!(first.iter().all(|octet| *octet == 0xFF), "{first:?}");
                noise_octets += octets;
            }
            event @ (LinkEvent::Up { .. }
            | LinkEvent::Down { .. }
            | LinkEvent::Undelivered { .. }
            | LinkEvent::Joined { .. }
            | LinkEvent::NotJoined { .. }
            | LinkEvent::Overflowed { .. }) => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn half_a_frame_is_given_up_when_the_line_goes_quiet() {
    let mut terminal = Terminal::new();
    let receive_gap = Some(Duration::from_millis(20));
    let (_links, mut inbox) = open(SerialSettings { receive_gap, ..settings(&terminal.path) });
    until_up(&mut inbox).await;
    terminal.write(&[9, 0x0C, 0, 0]).await;
    let noise = next(&mut inbox).await;
    assert!(matches!(noise, LinkEvent::Noise { octets: 4, reason: NoiseReason::Unfinished, .. }), "{noise:?}");
    terminal.write(&[2, 0x16]).await;
    assert_eq!(frames(&mut inbox).await, [[2, 0x16]]);
}

#[tokio::test]
async fn a_link_and_its_peer_are_described() {
    let (links, _inbox) = open(SerialSettings::new("/dev/ttyUSB0"));
    assert_eq!(links.describe(LINK), "serial /dev/ttyUSB0, 9600 baud, raw");
    assert_eq!(links.describe_peer(PEER), "serial /dev/ttyUSB0");
    assert_eq!(links.local_addr(LINK), None);
}
