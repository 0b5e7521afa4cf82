//! What the scenes are made of: programs, a serial line, devices. Waiting is always for an event, with a bound.

pub mod cable;
pub mod commander;
pub mod device;
pub mod dongle;
pub mod foreign;
pub mod frame;
pub mod gateway;
pub mod machine;
pub mod mosquitto;
pub mod node;
pub mod port;
pub mod process;
pub mod serial_line;
pub mod site;
pub mod sketch;
pub mod wire;

pub use cable::Cable;
pub use device::Device;
pub use dongle::Dongle;
pub use gateway::{Gateway, Home};
pub use machine::Machine;
pub use mosquitto::{Mosquitto, MosquittoSub, mosquitto_pub};
pub use node::{Behind, Node};
pub use serial_line::SerialLine;
pub use wire::Wire;
