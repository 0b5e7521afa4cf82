//! `probe`: listens to a serial port over the likely baud rates and framings, and proposes the configuration.

mod hearing;
mod report;

use std::io;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgAction;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::console::Console;
use super::machine::MachineArgs;
use crate::links::SerialSettings;
use crate::links::serial::{self, Opened, Port, PortName};
use crate::wire::framing::{Codec, Destination, Direction, Framing};
use crate::wire::{Advertise, GwId, Message, PingReq};
use hearing::Hearing;
use report::Verdict;

/// Which port, and how it is listened to.
#[derive(clap::Args, Clone, Debug)]
pub struct ProbeArgs {
    /// The port: /dev/ttyUSB0, /dev/serial/by-id/..., COM3, usb:10c4:ea60, tcp://HOST:PORT
    #[arg(value_name = "PORT")]
    port: PortName,
    /// Ask as well: send ADVERTISE and PINGREQ at every baud rate and in every framing. Devices may answer, and those
    /// that look for a gateway may try to connect
    #[arg(long)]
    active: bool,
    /// Try only this baud rate; can be given several times
    #[arg(long, value_name = "N", action = ArgAction::Append)]
    baud: Vec<NonZeroU32>,
    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    #[command(flatten)]
    machine: MachineArgs,
}

/// A baud rate. Behind a serial server it is the server's, whatever it is.
type Rate = Option<u32>;

/// What devices in the field have, the most frequent first.
const USUAL_RATES: [u32; 7] = [115_200, 9_600, 57_600, 38_400, 19_200, 230_400, 4_800];
/// How long one rate is listened to before the next has its turn, if there is so much time. Devices repeat a CONNECT for
/// minutes.
const TURN: Duration = Duration::from_secs(4);
/// Silence after which an unfinished frame will not be finished.
const GAP: Duration = Duration::from_millis(300);
/// Octets of the longest question.
const MAX_QUESTION: usize = 5;
/// Between two questions: what a device has to say to one should not run into the next.
const PAUSE: Duration = Duration::from_millis(60);

/// What was heard.
struct Probed {
    /// What to call the port in a configuration.
    name: String,
    hearings: Vec<(Rate, Hearing)>,
    seconds: u64,
    /// Whether questions were asked.
    asked: bool,
}

/// Probes the port; the exit code is 1 if nothing was found.
pub async fn run(args: ProbeArgs) -> ExitCode {
    let console = Console { quiet: false, debug: false };
    let probed = match probe(&args, console).await {
        Ok(probed) => probed,
        Err(error) => {
            console.error(error);
            return ExitCode::FAILURE;
        }
    };
    match report::write(&probed, &mut io::stdout().lock()) {
        Ok(Verdict::Found) => ExitCode::SUCCESS,
        Ok(Verdict::NotFound) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            console.error(format_args!("the report cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn probe(args: &ProbeArgs, console: Console) -> anyhow::Result<Probed> {
    let rates = rates(args);
    let settings = SerialSettings {
        baud: rates.first().copied().flatten().unwrap_or(USUAL_RATES[0]),
        inventory: args.machine.inventory(),
        ..SerialSettings::of(args.port.clone())
    };
    let Opened { mut port, info } = open(settings).await?;
    let name = info.map_or_else(|| args.port.to_string(), |info| info.proposed_name());
    let mut hearings: Vec<(Rate, Hearing)> = rates.iter().map(|rate| (*rate, Hearing::new())).collect();
    let time = Duration::from_secs(args.seconds);
    let turn = TURN.min(time / u32::try_from(rates.len()).unwrap_or(u32::MAX).max(1));
    let end = Instant::now() + time;
    console.say(format_args!("listening to {} for up to {} s ...", args.port, args.seconds));
    'rounds: loop {
        for (rate, hearing) in &mut hearings {
            if Instant::now() >= end {
                break 'rounds;
            }
            if let Some(baud) = *rate
                && let Err(error) = port.set_baud(baud)
            {
                console.say(format_args!("  {baud} baud: {error}"));
                continue;
            }
            let before = hearing.octets();
            if args.active {
                ask(&mut port).await?;
            }
            listen(&mut port, hearing, end.min(Instant::now() + turn)).await?;
            if let Some(baud) = rate {
                console.say(format_args!("  {baud} baud: {} octets", hearing.octets() - before));
            }
            if hearing.is_certain() {
                break 'rounds;
            }
        }
    }
    Ok(Probed { name, hearings, seconds: args.seconds, asked: args.active })
}

fn rates(args: &ProbeArgs) -> Vec<Rate> {
    match args.port {
        PortName::Tcp { .. } => vec![None],
        PortName::Device(_) | PortName::Usb(_) if args.baud.is_empty() => USUAL_RATES.map(Some).to_vec(),
        PortName::Device(_) | PortName::Usb(_) => args.baud.iter().map(|baud| Some(baud.get())).collect(),
    }
}

/// Opens the port on another thread: a driver may take its time.
async fn open(settings: SerialSettings) -> anyhow::Result<Opened> {
    Ok(tokio::task::spawn_blocking(move || serial::open(&settings, None)).await??)
}

/// Listens until the time is up, or nothing new can be learned.
async fn listen(port: &mut Port, hearing: &mut Hearing, end: Instant) -> Result<(), PortGone> {
    let mut buffer = vec![0; 4_096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left.min(GAP), port.read(&mut buffer)).await {
            Ok(Ok(0)) => {
                return Err(PortGone("it was unplugged, or the serial server closed the connection".to_owned()));
            }
            Ok(Ok(octets)) => hearing.feed(&buffer[..octets]),
            Ok(Err(error)) => return Err(PortGone(error.to_string())),
            Err(_) => hearing.idle(),
        }
        if hearing.is_certain() || Instant::now() >= end {
            hearing.idle();
            return Ok(());
        }
    }
}

/// Says in every framing that there is a gateway, and asks who is there.
async fn ask(port: &mut Port) -> Result<(), PortGone> {
    let questions: [Message<'_>; 2] =
        [Advertise { gw_id: GwId(1), duration: 900 }.into(), PingReq { client_id: &[] }.into()];
    let mut frame = Vec::new();
    let mut octets = Vec::new();
    for question in questions {
        for framing in Framing::ALL {
            frame.clear();
            octets.clear();
            let mut codec = Codec::new(framing, Direction::Uplink, MAX_QUESTION);
            let everyone = Destination::Everyone { radius: 0 };
            // These are as short as messages can be, and every framing can address everyone.
            if question.encode(&mut frame).is_ok() && codec.encode(everyone, &frame, &mut octets).is_ok() {
                port.write_all(&octets).await.map_err(|error| PortGone(error.to_string()))?;
                sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

/// The port was lost in the middle of the probe.
#[derive(Debug, thiserror::Error)]
#[error("the port is gone: {0}")]
struct PortGone(String);
