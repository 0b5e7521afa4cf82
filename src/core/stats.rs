//! What the core counts. Counters only grow; reading them costs nothing.

/// The core's counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames that came in, good or bad.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Frames dropped because they are not MQTT-SN 1.2.
    pub malformed: u64,
    /// Frames from senders without a session that would have needed one, and QoS -1 publishes where they are off.
    pub strays: u64,
    /// Of these, the ones left unanswered by the rate limit.
    pub strays_unanswered: u64,
    /// CONNECTs answered with a rejection, for whatever reason.
    pub clients_refused: u64,
    /// Messages taken from clients and handed to the broker connection.
    pub published: u64,
    /// Publishes from clients refused with a return code, or at QoS 0 and -1 dropped.
    pub publish_refused: u64,
    /// Of these, the QoS -1 publishes beyond their rate.
    pub anonymous_over_rate: u64,
    /// Publishes recognised as repetitions and not sent to the broker again.
    pub publish_repeated: u64,
    /// Wills of lost clients that were not published.
    pub wills_dropped: u64,
    /// Messages that were kept for the broker.
    pub kept: u64,
    /// Messages that the broker sent us.
    pub received: u64,
    /// Messages delivered to clients; at QoS 1 and 2 counted when the client has acknowledged.
    pub delivered: u64,
    /// Messages or registrations sent to a client again.
    pub retransmitted: u64,
    /// Messages dropped because a client's queue was full.
    pub queue_overflows: u64,
    /// Messages dropped because a newer one of their topic came and only the latest is to wait.
    pub superseded: u64,
    /// Messages dropped because they had waited longer than their queue rule or `[outage]` allows.
    pub expired: u64,
    /// Messages dropped because they do not fit into a frame of the client's link.
    pub too_large: u64,
    /// Messages dropped because the client refused the topic or the message, or never acknowledged it.
    pub undeliverable: u64,
    /// Frames dropped because too many waited for the store (`limits.withheld_frames`).
    pub withheld_dropped: u64,
    /// Messages acknowledged to the broker while a client had yet to take them.
    pub acknowledged_early: u64,
}
