//! `probe`: what a device on a serial port speaks.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::support::gateway::{program, run, text_of};
use crate::support::process::{PATIENCE, Process, until};
use crate::support::{Machine, Wire, frame};

#[test]
fn what_a_device_speaks_is_found_out_and_proposed_under_its_lasting_name() {
    let machine = Machine::new();
    let dongle = machine.plug("0001", "ttyUSB0");
    let (home, mut probe) = start(&machine, &[]);
    let mut device = open(dongle.node_end());
    probe.wait_for("listening to usb:10c4:ea60");
    // SLIP: END, the frame, END. As long as it takes, because the port may not be open yet.
    until("the probe ends", || {
        device.write_all(&frame::octets("C0 0A 04 04 01 003C 'uno1' C0")).expect("the line is there");
        device.write_all(&frame::octets("C0 08 0C 22 6162 0007 '1' C0")).expect("the line is there");
        probe.has_ended().then_some(())
    });
    assert!(probe.wait_for_end(PATIENCE).success());
    let text = probe.lines().join("\n");
    for expected in [
        " in framing slip",
        "CONNECT will=0 clean=1",
        &format!("[[serial]]\nport = \"{}\"\nbaud = 115200\nframing = \"slip\"\n", machine.by_id("0001").display()),
        ",baud=115200,framing=slip",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    drop(home);
}

#[test]
fn the_framings_of_radios_and_those_with_a_checksum_are_told_apart() {
    for wire in [Wire::SlipCrc, Wire::CobsCrc, Wire::Xbee] {
        let machine = Machine::new();
        let dongle = machine.plug("0001", "ttyUSB0");
        let (home, mut probe) = start(&machine, &["--baud", "57600"]);
        let mut device = open(dongle.node_end());
        probe.wait_for("listening to usb:10c4:ea60");
        until("the probe ends", || {
            for frame in ["0A 04 04 01 003C 'uno1'", "07 0C 61 0001 0000"] {
                device.write_all(&wire.up(3, &frame::octets(frame))).expect("the line is there");
            }
            probe.has_ended().then_some(())
        });
        assert!(probe.wait_for_end(PATIENCE).success());
        let text = probe.lines().join("\n");
        let named = format!("baud = 57600\nframing = \"{}\"\n", wire.name());
        assert!(text.contains(&named) && text.contains("clientid=\"uno1\""), "{text}");
        drop(home);
    }
}

#[test]
fn a_device_that_only_answers_is_asked_when_told_to() {
    let machine = Machine::new();
    let dongle = machine.plug("0001", "ttyUSB0");
    let (home, mut probe) = start(&machine, &["--active"]);
    let mut device = open(dongle.node_end());
    let mut answers = device.try_clone().expect("a file can be cloned");
    // PINGRESP for every PINGREQ in framing raw.
    let answering = thread::spawn(move || {
        let mut heard = Vec::new();
        let mut chunk = [0; 64];
        while let Ok(octets @ 1..) = device.read(&mut chunk) {
            heard.extend_from_slice(&chunk[..octets]);
            if let Some(at) = heard.windows(2).position(|pair| pair == [0x02, 0x16]) {
                heard.drain(..at + 2);
                let _ = answers.write_all(&[0x02, 0x17]);
            }
        }
    });
    assert!(probe.wait_for_end(PATIENCE * 2).success());
    let text = probe.lines().join("\n");
    assert!(text.contains(" in framing raw") && text.contains("PINGRESP"), "{text}");
    machine.pull(dongle);
    answering.join().expect("it ends with the line");
    drop(home);
}

#[test]
fn silence_is_told_with_what_to_try() {
    let machine = Machine::new();
    let _dongle = machine.plug("0001", "ttyUSB0");
    let flags = machine.flags();
    let output = run(&["probe", "usb:10c4:ea60", "--seconds", "1", &flags[0], &flags[1]]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Nothing was heard on ") && text.contains("--active"), "{text}");
}

#[test]
fn a_port_that_is_not_there_is_an_error_with_those_that_are() {
    let machine = Machine::new();
    let flags = machine.flags();
    let output = run(&["probe", "usb:10c4:ea60", &flags[0], &flags[1]]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Error: there is no serial port usb:10c4:ea60; this machine has none"), "{text}");
    let output = run(&["probe", "usb:dongle"]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
}

fn start(machine: &Machine, arguments: &[&str]) -> (TempDir, Process) {
    let home = TempDir::new().expect("a temporary directory");
    let mut command: Command = program(home.path());
    command.args(["probe", "usb:10c4:ea60"]).args(arguments).args(machine.flags());
    let probe = Process::start("probe", &mut command);
    (home, probe)
}

fn open(node_end: &Path) -> std::fs::File {
    OpenOptions::new().read(true).write(true).open(node_end).expect("the serial line is there")
}
