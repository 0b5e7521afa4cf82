//! What the store knows about itself and about the gateway it belongs to, beside the records.

/// A row of the table `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// The number of the format, four octets, the high one first: see [`FORMAT`](super::format::FORMAT).
    Format,
    /// The names of the links by their numbers.
    Links,
    /// The broker, and who the gateway is there.
    Broker,
    /// Whether the broker is known to hold what the records say.
    Session,
}

impl Label {
    /// Returns the name that the row has on disk.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Links => "links",
            Self::Broker => "broker",
            Self::Session => "session",
        }
    }
}
