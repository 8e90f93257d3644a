//! A process that may be sent a signal.
//!
//! The first argument of kill(2) has four meanings: a number above 0 is a process, 0 is the caller's own group, -1 is
//! every process that there is, and a number below that is a group. So a number that was read wrongly, or negated once
//! too often, ends other people's processes; and the group that PID 1 leads, negated, is everybody. A [`Pid`] is above
//! 1 by its type: it is never one of those, and it names a group as safely as a process. (The `Pid` of nix may be any
//! number.)
//!
//! Children have one, and so has what graceful signals by number. What is only looked at or mentioned, as the sender of
//! a signal or a parent in /proc, is a plain number: PID 1 and 0 are among them.

use std::fmt;
use std::num::NonZeroI32;

/// The number of a process that is not PID 1, or of the group that it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// `None` for PID 1 and for what names no single process.
    pub const fn new(number: i32) -> Option<Pid> {
        if number <= 1 {
            return None;
        }
        match NonZeroI32::new(number) {
            Some(number) => Some(Pid(number)),
            None => None,
        }
    }

    /// The number, as the kernel uses it.
    pub const fn number(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kill_takes_for_several_processes_is_no_pid() {
        for number in [i32::MIN, -2, -1, 0, 1] {
            assert_eq!(Pid::new(number), None, "{number}");
        }
        for number in [2, 4_194_304, i32::MAX] {
            assert_eq!(Pid::new(number).map(Pid::number), Some(number));
        }
        assert_eq!(Pid::new(42).map(|pid| pid.to_string()).as_deref(), Some("42"));
    }
}
