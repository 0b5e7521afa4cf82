//! What the store counts.

/// Counted since the start of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Commits that wrote something.
    pub commits: u64,
    /// Changes that were asked for.
    pub ops: u64,
    /// Changes that went to the disk, after those of one key had become one.
    pub changes: u64,
    /// Attempts to write or to open the file again that failed.
    pub failures: u64,
    /// Calls of a [`Writer`](super::Writer) that were refused because too much was waiting.
    pub refused: u64,
    /// Octets that wait for the disk at present.
    pub backlog: usize,
}
