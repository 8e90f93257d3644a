//! What an init costs while nothing happens: memory, wake-ups, and its size on disk.

use crate::Effort;
use crate::contender::{Contender, Namespace};
use crate::process::{end_app_of, field};
use crate::table::{Row, Unit, interleave};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// Until start-up is over for certain.
const SETTLE: Duration = Duration::from_secs(1);

/// Memory one second after the start, and how often the kernel scheduled the init in the seconds after that.
pub(crate) fn at_rest(contenders: &[Contender], _: &Namespace, effort: &Effort) -> Result<Vec<Row>, String> {
    let mut inits = Vec::new();
    for contender in contenders.iter().filter(|contender| !contender.is_bare() && contender.takes_part()) {
        inits.push((contender.name, Idle::start(contender.command(&[], Path::new("/bin/sleep"), &["60"]))?));
    }
    let pid = |name: &str| {
        let found = inits.iter().find(|(known, _)| *known == name);
        found.map(|(_, idle)| idle.0.id()).ok_or_else(String::new)
    };
    std::thread::sleep(SETTLE);
    let memory = |label: &str, key: &str| {
        interleave(label, Unit::KiB, contenders, 1, |contender| {
            Ok(field(pid(contender.name)?, "smaps_rollup", key)? as f64)
        })
    };
    let mut rows =
        vec![memory("idle: RSS", "Rss"), memory("idle: anonymous memory", "Anonymous"), memory("idle: PSS", "Pss")];
    let switches =
        || interleave("", Unit::Count, contenders, 1, |contender| Ok(scheduled(pid(contender.name)?)? as f64));
    let before = switches();
    std::thread::sleep(effort.idle);
    rows.push(switches().minus(&before, &format!("idle: wake-ups in {} s", effort.idle.as_secs())));
    Ok(rows)
}

/// How often the kernel has scheduled any of its threads.
fn scheduled(pid: u32) -> Result<u64, String> {
    let problem = |error: std::io::Error| format!("/proc/{pid}/task: {error}");
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(problem)? {
        let status = format!("task/{}/status", thread.map_err(problem)?.file_name().to_string_lossy());
        sum += field(pid, &status, "voluntary_ctxt_switches")? + field(pid, &status, "nonvoluntary_ctxt_switches")?;
    }
    Ok(sum)
}

/// Bytes on disk; what a dynamic binary needs besides is not in it, and the note says so.
pub(crate) fn binary_size(contenders: &[Contender], _: &Namespace, _: &Effort) -> Result<Vec<Row>, String> {
    let mut row = interleave("binary size", Unit::KiB, contenders, 1, |contender| {
        let path = contender.program.as_ref().ok_or_else(String::new)?;
        let found = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(found.len() as f64 / 1024.0)
    });
    let dynamic: Vec<_> = contenders
        .iter()
        .filter(|contender| contender.program.as_deref().is_some_and(is_dynamic))
        .map(|contender| contender.name)
        .collect();
    if !dynamic.is_empty() {
        row.notes.push(format!("binary size: {} need libc.so besides", dynamic.join(" and ")));
    }
    Ok(vec![row])
}

/// Whether the 64-bit ELF file asks for a dynamic linker (elf(5): a program header of type PT_INTERP).
fn is_dynamic(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at + size).unwrap_or_default();
        field.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|header| number(first + header * size, 4) == libc::PT_INTERP as usize)
}

/// An init at rest over `sleep`; ends with its app.
struct Idle(Child);

impl Idle {
    fn start(mut command: Command) -> Result<Idle, String> {
        command.spawn().map(Idle).map_err(|error| format!("cannot be started: {error}"))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        end_app_of(self.0.id());
        let _ = self.0.wait();
    }
}
