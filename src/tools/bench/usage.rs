//! What a process or a thread costs: CPU time and memory, as Linux tells in /proc.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Process(u32),
    /// One thread of this process, by its folder in /proc.
    Thread(PathBuf),
}

impl Subject {
    /// Names the thread that asks; `None` where there is no /proc.
    pub(super) fn this_thread() -> Option<Self> {
        let name = fs::read_link("/proc/thread-self").ok()?;
        Some(Self::Thread(Path::new("/proc").join(name)))
    }

    /// Returns the CPU time used so far. A thread of a process that has ended does not count.
    pub(super) fn cpu(&self) -> Option<Duration> {
        match self {
            Self::Process(pid) => {
                let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
                let times = tasks.filter_map(|task| cpu_of_thread(&task.ok()?.path()));
                times.reduce(|sum, time| sum + time)
            }
            Self::Thread(folder) => cpu_of_thread(folder),
        }
    }

    /// Returns the octets of memory in use now; none for a thread, which shares its process's.
    pub(super) fn memory(&self) -> Option<u64> {
        self.memory_line("VmRSS:")
    }

    /// Returns the octets of memory that were in use at the worst.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        self.memory_line("VmHWM:")
    }

    /// Returns the octets that went to the disk so far; none for a thread.
    pub(super) fn written(&self) -> Option<u64> {
        match self {
            Self::Process(pid) => written(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?),
            Self::Thread(_) => None,
        }
    }

    fn memory_line(&self, name: &str) -> Option<u64> {
        match self {
            Self::Process(pid) => memory_line(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, name),
            Self::Thread(_) => None,
        }
    }
}

/// Returns the datagrams that the kernel has dropped because the queue of the UDP socket on this local port was full.
pub(super) fn dropped_datagrams(port: u16) -> Option<u64> {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let drops = tables.iter().flat_map(|table| dropped_in(table, port));
    drops.reduce(|sum, drops| sum + drops)
}

/// The scheduler's own account is in nanoseconds; /proc/PID/stat would be in hundredths of a second.
fn cpu_of_thread(folder: &Path) -> Option<Duration> {
    let account = fs::read_to_string(folder.join("schedstat")).ok()?;
    account.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn memory_line(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What was given to the system to write and taken back, because the file was deleted, is left out of account.
fn written(account: &str) -> Option<u64> {
    account.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// The drops of each socket on a port: the last column, behind `sl local_address ...`.
fn dropped_in(table: &str, port: u16) -> impl Iterator<Item = u64> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1)?.ends_with(&suffix).then_some(())?;
        columns.last()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_octets() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t      12 kB\n";
        assert_eq!(memory_line(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(memory_line(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(memory_line(status, "VmSwap:"), None);
    }

    #[test]
    fn what_went_to_the_disk_is_not_what_was_written_to_sockets() {
        let account = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(written(account), Some(4096));
    }

    #[test]
    fn dropped_datagrams_are_those_of_the_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             \u{20} 1: 0100007F:075B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 17\n\
             \u{20} 2: 00000000:075C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 99\n";
        assert_eq!(dropped_in(table, 1883).collect::<Vec<_>>(), [17]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_thread_and_this_process_have_used_cpu_time_and_memory() {
        let thread = Subject::this_thread().unwrap();
        assert!(thread.cpu().is_some());
        assert_eq!(thread.memory(), None);
        let process = Subject::Process(std::process::id());
        assert!(process.cpu() >= thread.cpu());
        // In this order: other tests use memory meanwhile.
        let memory = process.memory();
        assert!(memory > Some(1_000_000) && process.peak_memory() >= memory);
    }
}
