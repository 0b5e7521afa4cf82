//! Whether we may open a device, and who may if we may not.

use std::path::Path;

#[cfg(unix)]
pub(super) fn may_open(device: &Path) -> bool {
    use rustix::fs::{Access, access};

    access(device, Access::READ_OK | Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
pub(super) fn may_open(_device: &Path) -> bool {
    true
}

/// Returns the name of the group that a device belongs to.
#[cfg(unix)]
pub(super) fn group_of(device: &Path) -> Option<String> {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    let id = fs::metadata(device).ok()?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(not(unix))]
pub(super) fn group_of(_device: &Path) -> Option<String> {
    None
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_device_is_found() {
        use std::os::unix::fs::MetadataExt;

        let gid = std::fs::metadata("/dev/null").unwrap().gid();
        let group = group_of(Path::new("/dev/null")).unwrap();
        assert!(std::fs::read_to_string("/etc/group").unwrap().contains(&format!("{group}:x:{gid}:")), "{group}");
    }
}
