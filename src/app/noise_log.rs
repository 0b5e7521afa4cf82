//! What a serial line brings beside frames, in words, and no more often than a person can read.

use std::time::Duration;

use crate::core::Instant;
use crate::links::SerialSettings;
use crate::links::serial::PortName;
use crate::wire::framing::NoiseReason;

/// What has been received on one line since the log was last told.
#[derive(Debug)]
pub(super) struct NoiseLog {
    octets: u64,
    in_frames: u64,
    /// Nothing is said before; each time the wait doubles.
    quiet_until: Instant,
    wait: Duration,
}

/// Noise on one line, and what was good meanwhile.
pub(super) struct Noise<'a> {
    pub(super) octets: u64,
    pub(super) in_frames: u64,
    pub(super) first: &'a [u8],
    pub(super) reason: NoiseReason,
}

const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// From so many octets on their share says something.
const ENOUGH: u64 = 32;
/// If at least this part of the octets is noise, it is not the line that is bad.
const MISMATCH_PERCENT: u64 = 80;

impl NoiseLog {
    pub(super) fn new() -> Self {
        Self { octets: 0, in_frames: 0, quiet_until: Instant::ORIGIN, wait: FIRST_WAIT }
    }

    /// Adds noise, and returns what is to be said if it is time to say something.
    pub(super) fn add(&mut self, now: Instant, noise: &Noise<'_>, line: &SerialSettings) -> Option<String> {
        self.octets = self.octets.saturating_add(noise.octets);
        self.in_frames = self.in_frames.saturating_add(noise.in_frames);
        if now < self.quiet_until {
            return None;
        }
        let all = self.octets.saturating_add(self.in_frames);
        let (first, reason) = (hex::encode(noise.first), noise.reason);
        let what = format!("{} of {all} octets received are no frames ({reason}; {first}..)", self.octets);
        let is_mismatch = all >= ENOUGH && self.octets.saturating_mul(100) / all.max(1) >= MISMATCH_PERCENT;
        let said = if is_mismatch { format!("{what}: {}", suspicion(noise.first, line)) } else { what };
        self.octets = 0;
        self.in_frames = 0;
        self.quiet_until = now + self.wait;
        self.wait = self.wait.saturating_mul(2).min(LONGEST_WAIT);
        Some(said)
    }
}

/// What is probably wrong, and what to do.
fn suspicion(first: &[u8], SerialSettings { port, baud, framing, .. }: &SerialSettings) -> String {
    let find_out = format!("stop the gateway and run `mqttsn-gateway probe {port}` to find out");
    match port {
        PortName::Tcp { .. } if is_telnet(first) => {
            "the serial server speaks telnet; have it hand raw octets through".to_owned()
        }
        PortName::Tcp { .. } => {
            format!(
                "the device probably has another framing than {framing}, or the server another baud rate; {find_out}"
            )
        }
        PortName::Device(_) | PortName::Usb(_) => {
            format!(
                "the device probably has another baud rate than {baud}, or another framing than {framing}; {find_out}"
            )
        }
    }
}

/// Telnet begins with the offers that its two sides make each other (RFC 854).
fn is_telnet(first: &[u8]) -> bool {
    matches!(first, [0xFF, 0xFB..=0xFE, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: Noise<'_> = Noise { octets: 40, in_frames: 0, first: &[0xF8, 0x00], reason: NoiseReason::NotAMessage };

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn nothing_but_noise_is_a_wrong_baud_rate_or_framing() {
        let line = SerialSettings::new("/dev/ttyUSB0");
        assert_eq!(
            NoiseLog::new().add(at(1), &NOISE, &line).unwrap(),
            "40 of 40 octets received are no frames (no MQTT-SN message; f800..): the device probably has another \
             baud rate than 9600, or another framing than raw; stop the gateway and run `mqttsn-gateway probe /dev/ttyUSB0` to find out"
        );
        let server = SerialSettings::of("tcp://h:1".parse().unwrap());
        assert!(
            NoiseLog::new().add(at(1), &NOISE, &server).unwrap().contains(": the device probably has another framing")
        );
        let telnet = Noise { first: &[0xFF, 0xFD, 0x03], ..NOISE };
        assert!(NoiseLog::new().add(at(1), &telnet, &server).unwrap().contains("speaks telnet"));
    }

    #[test]
    fn noise_between_frames_is_only_told() {
        let line = SerialSettings::new("/dev/ttyUSB0");
        assert_eq!(
            NoiseLog::new().add(at(1), &Noise { in_frames: 160, ..NOISE }, &line).unwrap(),
            "40 of 200 octets received are no frames (no MQTT-SN message; f800..)"
        );
        let few = NoiseLog::new().add(at(1), &Noise { octets: 3, ..NOISE }, &line).unwrap();
        assert!(!few.contains("baud"), "{few}");
    }

    #[test]
    fn noise_that_goes_on_is_summed_up_ever_more_rarely() {
        let line = SerialSettings::new("/dev/ttyUSB0");
        let mut log = NoiseLog::new();
        let mut said = Vec::new();
        for second in 0..3_600 {
            if let Some(words) = log.add(at(second), &Noise { octets: 1, in_frames: 9, ..NOISE }, &line) {
                said.push((second, words.split(" octets").next().unwrap().to_owned()));
            }
        }
        let expected = [
            (0, "1 of 10"),
            (10, "10 of 100"),
            (30, "20 of 200"),
            (70, "40 of 400"),
            (150, "80 of 800"),
            (310, "160 of 1600"),
            (630, "320 of 3200"),
            (1_230, "600 of 6000"),
            (1_830, "600 of 6000"),
            (2_430, "600 of 6000"),
            (3_030, "600 of 6000"),
        ];
        assert_eq!(said, expected.map(|(second, words)| (second, words.to_owned())));
    }
}
