//! How often the kernel has killed in this cgroup for want of memory: `oom_kill` in memory.events (cgroup v2,
//! Documentation/admin-guide/cgroup-v2.rst) or in memory.oom_control (v1, cgroup-v1/memory.rst).
//!
//! The count of v2 includes the cgroups below, which the app may have made for its workers; memory.events.local would
//! leave them out. It is read at every start and every end of the app, so it is read with a few system calls into one
//! buffer.

use crate::sys::fds::read_file;

const MEMBERSHIP: &[u8] = b"/proc/self/cgroup";
/// In bytes. Both files are far shorter; a longer list of cgroups is cut off, and what is beyond is not found.
const BUFFER: usize = 4096;

/// The out-of-memory kills in this cgroup since this was made.
#[derive(Clone, Debug)]
pub struct OomKills {
    file: Vec<u8>,
    before: u64,
}

impl OomKills {
    /// Counts from now on; `None` where there is no memory controller or no /proc.
    pub fn from_now_on() -> Option<OomKills> {
        let mut membership = [0; BUFFER];
        let membership = read_file(MEMBERSHIP, &mut membership)?;
        candidates(membership, |file| Some(OomKills { file: file.to_vec(), before: read(file)? }))
    }

    /// How many processes the kernel has killed for want of memory; also 0 if it can no longer be read.
    pub fn count(&self) -> u64 {
        read(&self.file).unwrap_or_default().saturating_sub(self.before)
    }
}

fn read(file: &[u8]) -> Option<u64> {
    count(read_file(file, &mut [0; BUFFER])?)
}

/// The path in /proc/self/cgroup first; inside a container it may be the host's, and the mount shows only the
/// container's own cgroup, at its root.
fn candidates<T>(membership: &[u8], mut look: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    for line in membership.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (roots, file): (&[&[u8]], &[u8]) = if controllers.split(|byte| *byte == b',').any(|name| name == b"memory")
        {
            (&[b"/sys/fs/cgroup/memory"], b"/memory.oom_control")
        } else if controllers.is_empty() {
            (&[b"/sys/fs/cgroup", b"/sys/fs/cgroup/unified"], b"/memory.events")
        } else {
            continue;
        };
        for root in roots {
            let found = look(&[root, path, file].concat()).or_else(|| look(&[root, file].concat()));
            if found.is_some() {
                return found;
            }
        }
    }
    None
}

fn count(text: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "))?;
    line.iter().try_fold(0u64, |count, digit| {
        digit.is_ascii_digit().then(|| count.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        assert_eq!(count(b"low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count(b"oom_kill_disable 0\nunder_oom 0\noom_kill 15\n"), Some(15));
        assert_eq!(count(b"oom_kill_disable 0\n"), None);
        assert_eq!(count(b"oom_kill x\n"), None);
    }

    #[test]
    fn the_cgroup_of_either_version_is_found() {
        let mut paths = Vec::new();
        let none: Option<()> = candidates(b"4:memory:/docker/ab\n1:name=systemd:/x\n0::/\n", |path| {
            paths.push(String::from_utf8_lossy(path).into_owned());
            None
        });
        assert_eq!(none, None);
        assert_eq!(paths[0], "/sys/fs/cgroup/memory/docker/ab/memory.oom_control");
        assert_eq!(paths[1], "/sys/fs/cgroup/memory/memory.oom_control");
        assert!(paths.contains(&"/sys/fs/cgroup/memory.events".to_owned()));
    }

    #[test]
    fn the_count_begins_with_its_making() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = std::os::unix::ffi::OsStrExt::as_bytes(file.path().as_os_str()).to_vec();
        for (text, before, risen) in [
            ("oom 1\noom_kill 3\n", 1, 2),
            ("oom_kill_disable 0\noom_kill 3\n", 3, 0),
            ("oom_kill 0\n", 3, 0),
            ("", 3, 0),
        ] {
            std::fs::write(file.path(), text).expect("room");
            assert_eq!(OomKills { file: path.clone(), before }.count(), risen, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_read_and_another_is_none() {
        assert!(read_file(MEMBERSHIP, &mut [0; BUFFER]).is_some_and(|text| text.contains(&b':')));
        assert_eq!(read_file(b"/nowhere/at/all", &mut [0; 8]), None);
    }
}
