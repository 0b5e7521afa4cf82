//! What came of a probe, in words, with the lines to paste.

use std::io::{self, Write};

use super::hearing::{Fit, Hearing};
use super::{Probed, Rate};

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Found,
    NotFound,
}

/// Says what was found, and if nothing was, what to try.
pub(super) fn write(probed: &Probed, out: &mut impl Write) -> io::Result<Verdict> {
    let fits = probed.hearings.iter().filter_map(|(rate, hearing)| Some((rate, hearing, hearing.fit()?)));
    let best = fits.min_by_key(|(_, hearing, fit)| {
        (!hearing.is_certain(), fit.heard.noise * 1_000 / hearing.octets().max(1), u64::MAX - fit.heard.frames)
    });
    match best {
        Some((rate, hearing, fit)) => {
            found(probed, *rate, hearing, &fit, out)?;
            Ok(Verdict::Found)
        }
        None => {
            not_found(probed, out)?;
            Ok(Verdict::NotFound)
        }
    }
}

fn found(probed: &Probed, rate: Rate, hearing: &Hearing, fit: &Fit, out: &mut impl Write) -> io::Result<()> {
    let Fit { framing, heard, as_well } = fit;
    let frames = if heard.frames == 1 { "1 frame".to_owned() } else { format!("{} frames", heard.frames) };
    writeln!(out, "{frames} in framing {framing}{} among {} octets:", at(rate), hearing.octets())?;
    for message in &heard.messages {
        writeln!(out, "  {message}")?;
    }
    if heard.noise > 0 {
        writeln!(out, "{} octets were neither frame nor text.", heard.noise)?;
    }
    write_lines(&heard.lines, out)?;
    if !hearing.is_certain() {
        writeln!(out, "That is little to go by; with more frames it would be certain.")?;
    }
    for other in as_well {
        writeln!(out, "Framing {other} would fit as well.")?;
    }
    let name = &probed.name;
    let baud = rate.map(|baud| format!("baud = {baud}\n")).unwrap_or_default();
    writeln!(out, "\nIn gateway.toml:\n\n[[serial]]\nport = \"{name}\"\n{baud}framing = \"{framing}\"\n")?;
    let baud = rate.map(|baud| format!(",baud={baud}")).unwrap_or_default();
    writeln!(out, "Or on the command line:\n\n  mqttsn-gateway --serial {name}{baud},framing={framing}")
}

fn not_found(probed: &Probed, out: &mut impl Write) -> io::Result<()> {
    let heard: Vec<_> = probed.hearings.iter().filter(|(_, hearing)| hearing.octets() > 0).collect();
    if heard.is_empty() {
        writeln!(out, "Nothing was heard on {} in {} s.", probed.name, probed.seconds)?;
        let ask = if probed.asked { "" } else { ", or let --active ask it" };
        return writeln!(
            out,
            "Is the device powered, and its TX wired to our RX? It may speak rarely: press its reset button while the probe \
             runs, give the probe more time with --seconds{ask}."
        );
    }
    let text = heard.iter().find(|(_, hearing)| !hearing.lines().is_empty());
    if let Some((rate, hearing)) = text {
        writeln!(out, "There is text{}, and no frame:", at(*rate))?;
        write_lines(hearing.lines(), out)?;
        return writeln!(
            out,
            "So the baud rate is right, and the framing shows with the device's first message. \
             Is its MQTT-SN part running? Give the probe more time with --seconds."
        );
    }
    writeln!(out, "Octets were heard that no framing makes frames of:")?;
    for (rate, hearing) in heard {
        let rate = rate.map(|baud| format!("{baud:>7} baud: ")).unwrap_or_default();
        writeln!(out, "  {rate}{} octets, beginning {}", hearing.octets(), hex::encode(hearing.first()))?;
    }
    writeln!(
        out,
        "Does the device have another baud rate (try --baud N), or does it speak another protocol, such as AT commands?"
    )
}

fn write_lines(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "  text: {line:?}"))
}

fn at(rate: Rate) -> String {
    rate.map(|baud| format!(" at {baud} baud")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::framing::{Codec, Destination, Direction, Framing};

    fn probed(heard: &[(Rate, &[u8])]) -> Probed {
        let hearings = heard.iter().map(|(rate, octets)| {
            let mut hearing = Hearing::new();
            hearing.feed(octets);
            hearing.idle();
            (*rate, hearing)
        });
        Probed { name: "/dev/x".to_owned(), hearings: hearings.collect(), seconds: 30, asked: false }
    }

    fn said(heard: &[(Rate, &[u8])]) -> (Verdict, String) {
        let mut out = Vec::new();
        let verdict = write(&probed(heard), &mut out).unwrap();
        (verdict, String::from_utf8(out).unwrap())
    }

    fn pings(framing: Framing, count: usize) -> Vec<u8> {
        let (mut node, mut octets) = (Codec::new(framing, Direction::Downlink, 255), Vec::new());
        for _ in 0..count {
            node.encode(Destination::Node(framing.sole_node()), &[4, 0x16, b'c', b'1'], &mut octets).unwrap();
        }
        octets
    }

    #[test]
    fn what_was_found_can_be_pasted() {
        let (verdict, text) = said(&[(Some(9_600), &[0xF8; 40]), (Some(57_600), &pings(Framing::SlipCrc, 4))]);
        assert_eq!(verdict, Verdict::Found);
        assert!(text.starts_with("4 frames in framing slip-crc at 57600 baud among 32 octets:\n  PINGREQ"), "{text}");
        assert!(text.contains("\n[[serial]]\nport = \"/dev/x\"\nbaud = 57600\nframing = \"slip-crc\"\n"), "{text}");
        assert!(text.ends_with("  mqttsn-gateway --serial /dev/x,baud=57600,framing=slip-crc\n"), "{text}");
        assert!(!text.contains("little to go by"), "{text}");
    }

    #[test]
    fn one_frame_is_little_to_go_by() {
        let (verdict, text) = said(&[(None, &pings(Framing::Raw, 1))]);
        assert_eq!(verdict, Verdict::Found);
        assert!(text.starts_with("1 frame in framing raw among 4 octets:"), "{text}");
        assert!(text.contains("little to go by") && !text.contains("baud"), "{text}");
    }

    #[test]
    fn silence_text_and_noise_each_have_an_advice() {
        let (verdict, text) = said(&[(Some(9_600), &[])]);
        assert_eq!(verdict, Verdict::NotFound);
        assert!(text.starts_with("Nothing was heard on /dev/x in 30 s.") && text.contains("--active"), "{text}");
        let (_, text) = said(&[(Some(115_200), b"rst:0x1 (POWERON_RESET)\r\n")]);
        assert!(text.starts_with("There is text at 115200 baud, and no frame:\n  text: \"rst:0x1"), "{text}");
        let (_, text) = said(&[(Some(9_600), &[0xF8; 40])]);
        assert!(text.contains("9600 baud: 40 octets, beginning f8f8") && text.contains("--baud N"), "{text}");
    }
}
