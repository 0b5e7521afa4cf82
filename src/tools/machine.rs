//! Which machine's serial ports are meant.

use std::path::PathBuf;

use crate::links::serial::Inventory;

/// The machine, if it is not this one.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct MachineArgs {
    /// Where `dev`, `sys` and `proc` are: not shown, because only tests and unusual containers have them elsewhere
    #[arg(long, value_name = "DIR", hide = true)]
    sysroot: Option<PathBuf>,
}

impl MachineArgs {
    pub fn inventory(&self) -> Inventory {
        self.sysroot.as_ref().map_or_else(Inventory::default, Inventory::below)
    }
}
