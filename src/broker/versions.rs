//! Which MQTT version to try next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::failure::{Failure, Moment};
use super::settings::Protocol;
use crate::mqtt::Version;

/// The version that the broker was last seen to speak, shared by the connections to it: what one has found out the
/// next one need not.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<AtomicU8>);

impl Proven {
    pub(super) fn set(&self, version: Version) {
        let level = match version {
            Version::V5 => 5,
            Version::V311 => 4,
        };
        self.0.store(level, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Version> {
        match self.0.load(Ordering::Relaxed) {
            5 => Some(Version::V5),
            4 => Some(Version::V311),
            _ => None,
        }
    }
}

/// Returns the version of the first attempt.
pub(super) fn first_version(protocol: Protocol, proven: Option<Version>) -> Version {
    match protocol {
        Protocol::Auto => proven.unwrap_or(Version::V5),
        Protocol::V5 => Version::V5,
        Protocol::V311 => Version::V311,
    }
}

/// Chooses the version of the next attempt after a failure.
pub(super) fn next_version(
    protocol: Protocol,
    version: Version,
    proven: Option<Version>,
    moment: Moment,
    failure: &Failure,
) -> Version {
    match (protocol, moment) {
        (Protocol::V5 | Protocol::V311, _) | (Protocol::Auto, Moment::Up) => return version,
        (Protocol::Auto, Moment::Connecting) => {}
    }
    let refused_outright = failure.refuses_the_version();
    match (version, proven) {
        // A broker that has spoken MQTT 5 and closes now is starting or stopping, not growing older.
        (Version::V5, Some(Version::V5)) if !refused_outright => Version::V5,
        (Version::V5, _) if failure.may_be_the_version() => Version::V311,
        (Version::V5, _) => Version::V5,
        (Version::V311, Some(Version::V311)) if !refused_outright => Version::V311,
        (Version::V311, _) => Version::V5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::BrokerReason;

    fn next(version: Version, proven: Option<Version>, failure: &Failure) -> Version {
        next_version(Protocol::Auto, version, proven, Moment::Connecting, failure)
    }

    #[test]
    fn auto_falls_back_when_the_broker_may_not_speak_mqtt_5() {
        let refused = Failure::Refused(BrokerReason(0x84));
        let unreachable = Failure::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(next(Version::V5, None, &refused), Version::V311);
        assert_eq!(next(Version::V5, None, &Failure::Closed), Version::V311);
        assert_eq!(next(Version::V5, None, &Failure::Refused(BrokerReason(0x87))), Version::V5);
        assert_eq!(next(Version::V5, None, &unreachable), Version::V5);
    }

    #[test]
    fn auto_remembers_what_worked() {
        let refused = Failure::Refused(BrokerReason(0x84));
        assert_eq!(next(Version::V5, Some(Version::V5), &Failure::Closed), Version::V5);
        assert_eq!(next(Version::V311, Some(Version::V311), &Failure::Closed), Version::V311);
        assert_eq!(next(Version::V311, Some(Version::V311), &refused), Version::V5);
        assert_eq!(next(Version::V311, None, &Failure::Closed), Version::V5);
    }

    #[test]
    fn a_chosen_version_stays() {
        let refused = Failure::Refused(BrokerReason(0x84));
        for (protocol, version) in [(Protocol::V5, Version::V5), (Protocol::V311, Version::V311)] {
            assert_eq!(next_version(protocol, version, None, Moment::Connecting, &refused), version);
        }
    }
}
