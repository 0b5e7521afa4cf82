//! Someone who sends commands to devices, and remembers those that the broker has acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::mosquitto::is_published;

/// Commands each device in turn, on `cmd/CLIENT_ID/q1` at QoS 1 and `cmd/CLIENT_ID/q2` at QoS 2.
pub struct Commander {
    orders: Arc<Mutex<Orders>>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
pub struct Orders {
    /// By device: the topic's last level and the payload.
    given: BTreeMap<String, Vec<String>>,
    is_over: bool,
}

impl Commander {
    pub fn start(broker_port: u16, devices: Vec<String>, pace: Duration) -> Self {
        let orders = Arc::<Mutex<Orders>>::default();
        let shared = Arc::clone(&orders);
        let thread = thread::spawn(move || {
            let each = devices.iter().cycle().enumerate();
            for (number, device) in each {
                let mut orders = lock(&shared);
                if orders.is_over {
                    return;
                }
                let qos = number / devices.len() % 2 + 1;
                let (topic, payload) = (format!("cmd/{device}/q{qos}"), format!("{number:05}"));
                if is_published(broker_port, &["-q", &qos.to_string(), "-t", &topic, "-m", &payload]) {
                    orders.given.entry(device.clone()).or_default().push(format!("q{qos} {payload}"));
                }
                drop(orders);
                thread::sleep(pace);
            }
        });
        Self { orders, thread }
    }

    /// Keeps commands back for as long as what is returned is held.
    pub fn hold(&self) -> MutexGuard<'_, Orders> {
        lock(&self.orders)
    }

    /// Ends, and returns the commands that were acknowledged.
    pub fn finish(self) -> BTreeMap<String, Vec<String>> {
        lock(&self.orders).is_over = true;
        self.thread.join().expect("the commander does not panic");
        std::mem::take(&mut lock(&self.orders).given)
    }
}

fn lock(orders: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    orders.lock().expect("nobody panics while it holds the lock")
}
