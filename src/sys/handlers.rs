//! What a process does about a signal, by the masks in /proc/PID/status (proc_pid_status(5)).

use crate::signal::{Signal, SignalSet};
use crate::sys::tree;
use std::fs;

/// What becomes of a signal (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What the kernel does by default: SIGTERM ends the process.
    Default,
    /// Nothing: SigIgn has its bit.
    Ignored,
    /// A handler is called: SigCgt has its bit. That does not mean that it does something sensible: some language
    /// runtimes install handlers for all signals.
    Caught,
}

/// What this process does about the signal; `None` if it has ended or cannot be read.
pub fn disposition(pid: i32, signal: Signal) -> Option<Disposition> {
    if !tree::is_usable() {
        return None;
    }
    parse(&fs::read(format!("/proc/{pid}/status")).ok()?, signal)
}

/// Whether the process's first thread (that has not ended) has the signal blocked: it may take the signal by
/// sigwaitinfo(2) or signalfd(2), which is as good as a handler. `None` as above.
pub fn is_blocked(pid: i32, signal: Signal) -> Option<bool> {
    if !tree::is_usable() {
        return None;
    }
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    if !has_ended(&status)? {
        return Some(mask(&status, b"SigBlk:")?.contains(signal));
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut alive = threads
        .filter_map(|thread| fs::read(thread.path().join("status")).ok())
        .filter(|status| has_ended(status) == Some(false));
    Some(mask(&alive.next()?, b"SigBlk:")?.contains(signal))
}

/// Whether the thread that the text is about has ended.
fn has_ended(status: &[u8]) -> Option<bool> {
    Some(matches!(value(status, b"State:")?.first()?, b'Z' | b'X'))
}

/// The signals for which this process has handlers: SigCgt. `None` as above.
pub fn caught(pid: i32) -> Option<SignalSet> {
    if !tree::is_usable() {
        return None;
    }
    mask(&fs::read(format!("/proc/{pid}/status")).ok()?, b"SigCgt:")
}

fn parse(status: &[u8], signal: Signal) -> Option<Disposition> {
    // A zombie's masks are shown as empty, which says nothing about what it did. What the first thread shares with
    // others that go on without it is still shown.
    if has_ended(status)? && matches!(value(status, b"Threads:"), None | Some(b"0" | b"1")) {
        return None;
    }
    let (ignored, caught) = (mask(status, b"SigIgn:")?, mask(status, b"SigCgt:")?);
    Some(match signal {
        signal if caught.contains(signal) => Disposition::Caught,
        signal if ignored.contains(signal) => Disposition::Ignored,
        _ => Disposition::Default,
    })
}

/// Signal 1 is the lowest bit.
fn mask(status: &[u8], key: &[u8]) -> Option<SignalSet> {
    let bits = u64::from_str_radix(std::str::from_utf8(value(status, key)?).ok()?, 16).ok()?;
    Some(SignalSet::from_bits(bits))
}

fn value<'a>(status: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key)).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    const STATUS: &[u8] = b"Name:\tx\nState:\tS (sleeping)\nSigBlk:\tffffffffffffffff\nSigIgn:\t8000000000001000\nSigCgt:\t0000000000004001\n";

    #[test]
    fn the_masks_are_read_from_bit_zero_on() {
        let of = |number| parse(STATUS, Signal::new(number).expect("a signal"));
        assert_eq!(of(1), Some(Disposition::Caught));
        assert_eq!(of(15), Some(Disposition::Caught));
        assert_eq!(of(13), Some(Disposition::Ignored));
        assert_eq!(of(64), Some(Disposition::Ignored));
        assert_eq!(of(2), Some(Disposition::Default));
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        let whole = String::from_utf8_lossy(STATUS).into_owned();
        let broken = [("SigIgn", "x"), ("SigCgt", "x"), ("State", "x"), ("4001", "400x"), ("\t0000000000004001", "")];
        for (part, instead) in broken.into_iter().chain([("S (", "Z (")]) {
            let status = whole.replace(part, instead);
            assert_ne!(status, whole);
            assert_eq!(parse(status.as_bytes(), Signal::HUP), None, "{status}");
        }
        assert_eq!(parse(b"", Signal::HUP), None);
    }

    #[test]
    fn processes_are_seen_to_handle_ignore_and_neither() {
        let script = "trap 'exit 0' USR1; trap '' USR2; echo ready; read line";
        let mut shell = Command::new("sh");
        let mut shell =
            shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("it answers");
        let pid = shell.id() as i32;
        let of = |signal| disposition(pid, signal);
        assert_eq!(of(Signal::USR1), Some(Disposition::Caught));
        assert_eq!(of(Signal::USR2), Some(Disposition::Ignored));
        assert_eq!(of(Signal::WINCH), Some(Disposition::Default));
        assert_eq!(is_blocked(pid, Signal::USR1), Some(false));
        drop(shell.stdin.take());
        // Reaped or not, it no longer tells anything.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while of(Signal::USR1).is_some() {
            assert!(std::time::Instant::now() < deadline, "it ends with its input");
            std::thread::yield_now();
        }
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "a zombie");
        shell.wait().expect("it has ended");
        assert_eq!(of(Signal::USR1), None);
    }
}
