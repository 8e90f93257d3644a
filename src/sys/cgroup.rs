//! How often the kernel has killed in this cgroup for want of memory: `oom_kill` in memory.events (cgroup v2,
//! Documentation/admin-guide/cgroup-v2.rst) or in memory.oom_control (v1, cgroup-v1/memory.rst).

use std::fs;
use std::path::PathBuf;

/// Finds the count; `None` where there is no memory controller or no /proc.
pub fn oom_kills() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    candidates(&membership).into_iter().find_map(|path| count(&fs::read_to_string(path).ok()?))
}

/// The path in /proc/self/cgroup first; inside a container it may be the host's, and the mount shows only the
/// container's own cgroup, at its root.
fn candidates(membership: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        let (roots, file): (&[&str], _) = if controllers.split(',').any(|name| name == "memory") {
            (&["/sys/fs/cgroup/memory"], "memory.oom_control")
        } else if controllers.is_empty() {
            (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.events")
        } else {
            continue;
        };
        for root in roots {
            found.push(PathBuf::from(root).join(path).join(file));
            found.push(PathBuf::from(root).join(file));
        }
    }
    found
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        assert_eq!(count("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(count("oom_kill_disable 0\n"), None);
    }

    #[test]
    fn the_cgroup_of_either_version_is_found() {
        let paths = candidates("4:memory:/docker/ab\n1:name=systemd:/x\n0::/\n");
        assert_eq!(paths[0], PathBuf::from("/sys/fs/cgroup/memory/docker/ab/memory.oom_control"));
        assert_eq!(paths[1], PathBuf::from("/sys/fs/cgroup/memory/memory.oom_control"));
        assert_eq!(paths[2], PathBuf::from("/sys/fs/cgroup/memory.events"));
    }
}
