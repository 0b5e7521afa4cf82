//! The bounds of everything that can grow.

/// Every bound of the core. What hits one is refused or dropped, counted, and said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients with a session, connected or not. The next CONNECT gets return code 1.
    pub clients: usize,
    /// Octets of a client id. A longer one gets return code 3.
    pub client_id_octets: usize,
    /// Topic names with an id, per client. The next REGISTER gets return code 1.
    pub topics_per_client: usize,
    /// Subscriptions per client. The next SUBSCRIBE gets return code 1.
    pub subscriptions_per_client: usize,
    /// QoS 1 and 2 publishes of one client that wait for the broker. The next one gets return code 1.
    pub publishes_per_client: usize,
    /// Publishes of all clients that wait for the broker. The next one gets return code 1.
    pub publishes_in_flight: usize,
    /// MQTT connections that may be opening at once; further ones wait their turn. Only in transparent mode.
    pub broker_connects_at_once: usize,
    /// Wills of lost clients that wait for the broker. The next one is dropped.
    pub wills_waiting: usize,
    /// Messages that wait for delivery to one client; when one more comes the oldest goes, or what its queue rule says.
    pub queued_messages_per_client: usize,
    /// Octets of topic and payload that wait for delivery to one client; when more come the same goes for them.
    pub queued_bytes_per_client: usize,
    /// Messages sent to a sleeping client each time it wakes up; the rest wait for the next time.
    pub messages_per_wake_up: usize,
    /// Messages from the broker that are not acknowledged to it because a client has yet to take them.
    /// Beyond it the oldest is acknowledged while it waits in memory, so that one slow client does not stop all.
    pub unacknowledged_deliveries: usize,
    /// Frames that wait for the store to have what they say. A further one is dropped, and its device asks again.
    pub withheld_frames: usize,
    /// QoS -1 publishes per second, all clients of a link together.
    pub qos_minus_one_per_second: u32,
    /// DISCONNECTs per second, in total, to senders without a session. One sender gets at most one a second.
    pub strays_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 100_000,
            client_id_octets: 256,
            topics_per_client: 1_000,
            subscriptions_per_client: 100,
            publishes_per_client: 16,
            publishes_in_flight: 4_096,
            broker_connects_at_once: 64,
            wills_waiting: 10_000,
            queued_messages_per_client: 100,
            queued_bytes_per_client: 65_536,
            messages_per_wake_up: 1_000,
            unacknowledged_deliveries: 16,
            withheld_frames: 10_000,
            qos_minus_one_per_second: 1_000,
            strays_per_second: 1_000,
        }
    }
}
